// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keys, by the fingerprint or whole.

use md5::Digest as _;
use sha2::{Digest as _, Sha256};

use super::{Edge, Form, List, Spelling};
use crate::plan::derive::hex;
use crate::scan::base64;
use crate::scan::ssh::{self, Sought};

/// An SSH key of which the SHA-256 fingerprint is known: that, and every key that has it.
pub fn ssh_fingerprint(all: &mut List, digest: &[u8; 32]) {
    all.exact(Form::Plain, &base64::encode(digest), Edge::Any);
    all.any_case(Form::Hex, &hex(digest), Edge::Any);
    all.raw(Form::Raw, digest);
    for (form, start, kind) in ssh::starts() {
        let key = Some(Sought { digest: *digest, kind });
        let (value, text) = (all.value, start.to_vec());
        all.list.push(Spelling { value, form, text, any_case: false, edge: Edge::Any, key });
    }
}

/// An SSH key that is known whole.
pub fn ssh_key(all: &mut List, blob: &[u8]) {
    ssh_fingerprint(all, &Sha256::digest(blob).into());
    let digest: [u8; 16] = md5::Md5::digest(blob).into();
    let digits = digest.map(|byte| format!("{byte:02x}"));
    all.any_case(Form::Md5, &digits.join(":"), Edge::Any);
    all.any_case(Form::Md5, &digits.concat(), Edge::Any);
}

/// An OpenPGP key, by its fingerprint: 20 bytes, or 32 in version 6.
pub fn pgp(all: &mut List, fingerprint: &[u8]) {
    let digits = hex(fingerprint);
    all.any_case(Form::Plain, &digits, Edge::Any);
    all.raw(Form::Raw, fingerprint);
    let groups: Vec<&str> = (0..digits.len() / 4).map(|group| &digits[group * 4..group * 4 + 4]).collect();
    all.any_case(Form::Grouped, &groups.join(" "), Edge::Any);
    let (left, right) = groups.split_at(groups.len() / 2);
    all.any_case(Form::Grouped, &format!("{}  {}", left.join(" "), right.join(" ")), Edge::Any);
    // RFC 9580, section 5.5.4: the last eight bytes in version 4, the first in version 6.
    let id = if fingerprint.len() == 20 { &fingerprint[12..] } else { &fingerprint[..8] };
    all.any_case(Form::KeyId, &hex(id), Edge::Any);
    all.raw(Form::KeyId, id);
}
