// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fields of on-disk structures at byte offsets, and patches of what differs.
//!
//! Every structure is read whole before its fields are, so a field beyond its end is a mistake in an offset, not bad
//! input; it reads as zeros, which every format's checks turn away, and nothing panics.

use uuid::Uuid;

use super::{Patch, SectorWrite};

pub(super) use super::sector::{bytes as array, le16, le32, le64, put};

pub(super) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

pub(super) fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array(bytes, at))
}

pub(super) fn uuid(bytes: &[u8], at: usize) -> Uuid {
    Uuid::from_bytes(array(bytes, at))
}

/// The text in `length` bytes at `at`, up to its first NUL; what is not UTF-8 is replaced.
pub(super) fn text(bytes: &[u8], at: usize, length: usize) -> String {
    let field = bytes.get(at..).unwrap_or_default();
    let field = field.get(..length).unwrap_or(field);
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sectors of `before` at `offset` that are to become those of `after`.
pub(super) fn write(offset: u64, before: &[u8], after: Vec<u8>) -> SectorWrite {
    SectorWrite { offset, before: before.to_vec(), after }
}

/// A patch of the writes that change something.
pub(super) fn patch(batches: impl IntoIterator<Item = Vec<SectorWrite>>) -> Patch {
    let changing = |mut batch: Vec<SectorWrite>| {
        batch.retain(|write| write.before != write.after);
        batch
    };
    Patch { batches: batches.into_iter().map(changing).filter(|batch| !batch.is_empty()).collect() }
}
