// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ids of disks and machines.

use uuid::Uuid;

use super::{Edge, Form, List};
use crate::formats::known_ids::DASH;

/// 128 bits, as machine-id(5), blkid(8), systemd-escape(1), mdadm(8) and a GPT write them.
pub fn uuid(all: &mut List, bytes: [u8; 16], given: &str) {
    let dashed = Uuid::from_bytes(bytes).hyphenated().to_string();
    let bare = dashed.replace('-', "");
    let is_dashed = given.contains('-');
    all.any_case(if is_dashed { Form::Plain } else { Form::Dashed }, &dashed, Edge::Any);
    all.any_case(if is_dashed { Form::Bare } else { Form::Plain }, &bare, Edge::Any);
    all.any_case(Form::Escaped, &dashed.replace('-', DASH), Edge::Any);
    let groups: Vec<&str> = (0..4).map(|group| &bare[group * 8..group * 8 + 8]).collect();
    all.any_case(Form::Colons, &groups.join(":"), Edge::Any);
    all.raw(Form::Raw, &bytes);
    all.raw(Form::GptBytes, &Uuid::from_bytes(bytes).to_bytes_le());
}

/// An id of LVM2, whose letters have two cases.
pub fn lvm(all: &mut List, id: &str) {
    all.exact(Form::Plain, id, Edge::Any);
    all.exact(Form::Bare, &id.replace('-', ""), Edge::Any);
    all.exact(Form::Escaped, &id.replace('-', DASH), Edge::Any);
}

/// A serial number of FAT or NTFS, the signature of an MBR, a partition's id made from it: too short for bytes to mean
/// anything, and for a longer number to be taken for it.
pub fn serial(all: &mut List, id: &str) {
    all.any_case(Form::Plain, id, Edge::Digits);
    all.any_case(Form::Escaped, &id.replace('-', DASH), Edge::Digits);
    if id.len() == 9 {
        all.any_case(Form::Bare, &id.replace('-', ""), Edge::Digits);
    }
    if id.len() == 16
        && let Ok(number) = u64::from_str_radix(id, 16)
    {
        all.raw(Form::Raw, &number.to_le_bytes());
    }
}
