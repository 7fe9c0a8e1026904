// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sectors: numbers at offsets, and a write for each one that shall hold something else.

use std::io;

use super::{Blocks, Patch, SectorWrite, read};

/// The smallest unit, in bytes, that reaches a medium whole.
pub const SECTOR: usize = 512;

/// `N` bytes at `at`; zeros beyond the end, where nobody looks: every format reads a structure whole before its fields.
#[must_use]
pub fn bytes<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    if let Some(found) = at.checked_add(N).and_then(|end| from.get(at..end)) {
        field.copy_from_slice(found);
    }
    field
}

/// The byte at `at`.
#[must_use]
pub fn byte(from: &[u8], at: usize) -> u8 {
    u8::from_le_bytes(bytes(from, at))
}

/// The little-endian 16-bit number at `at`.
#[must_use]
pub fn le16(from: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes(from, at))
}

/// The little-endian 32-bit number at `at`.
#[must_use]
pub fn le32(from: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes(from, at))
}

/// The little-endian 64-bit number at `at`.
#[must_use]
pub fn le64(from: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes(from, at))
}

/// Puts `field` at `at`; nothing where that is beyond the end.
pub fn put(into: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = at.checked_add(field.len()).and_then(|end| into.get_mut(at..end)) {
        place.copy_from_slice(field);
    }
}

/// Text up to its first NUL and without the spaces that pad it, none when nothing is left.
#[must_use]
pub fn text(field: &[u8]) -> Option<String> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let text = String::from_utf8_lossy(&field[..end]).trim_end().to_owned();
    (!text.is_empty()).then_some(text)
}

/// `length` bytes at `offset`, none where the device ends before.
///
/// # Errors
/// As [`Blocks::read_at`].
pub fn read_within(blocks: &(impl Blocks + ?Sized), offset: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
    match offset.checked_add(length as u64) {
        Some(end) if end <= blocks.size() => read(blocks, offset, length).map(Some),
        _ => Ok(None),
    }
}

/// The writes that make `before`, which stands at `offset`, into `after`: one for each unit of `unit` bytes that
/// differs. Both are of one length, a multiple of `unit`.
#[must_use]
pub fn changed(offset: u64, before: &[u8], after: &[u8], unit: usize) -> Vec<SectorWrite> {
    (offset..)
        .step_by(unit)
        .zip(before.chunks(unit).zip(after.chunks(unit)))
        .filter(|(_, (before, after))| before != after)
        .map(|(offset, (before, after))| SectorWrite { offset, before: before.to_vec(), after: after.to_vec() })
        .collect()
}

impl Patch {
    /// Adds a batch, unless there is nothing in it.
    pub fn then(&mut self, batch: Vec<SectorWrite>) {
        if !batch.is_empty() {
            self.batches.push(batch);
        }
    }

    /// Nothing to write: the ids are the new ones already.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sectors_that_differ_are_written() {
        let before = vec![0; 2048];
        let mut after = before.clone();
        put(&mut after, 512, &[1]);
        put(&mut after, 2047, &[1]);
        put(&mut after, 2048, &[1]);
        let writes = changed(4096, &before, &after, SECTOR);
        assert_eq!(writes.iter().map(|write| write.offset).collect::<Vec<_>>(), [4608, 5632]);
        assert!(writes.iter().all(|write| write.before.len() == 512 && write.after.len() == 512));
    }

    #[test]
    fn beyond_the_end_there_is_nothing() {
        assert_eq!(le32(&[1, 2, 3], 0), 0);
        assert_eq!(le16(&[1, 2, 3], usize::MAX), 0);
        assert_eq!(read_within(&[0u8; 16][..], u64::MAX, 16).unwrap(), None);
        assert_eq!(text(b"A LABEL   \0x"), Some("A LABEL".into()));
        assert_eq!(text(b"\0x"), None);
    }
}
