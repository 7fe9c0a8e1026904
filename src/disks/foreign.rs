// SPDX-License-Identifier: MIT OR Apache-2.0
//! Formats that are recognised and never changed: what they are called, their id, and what would change it.
//!
//! Where magics and ids stand is taken from libblkid's libblkid/src/superblocks/ in util-linux, but for what names another
//! source. A magic is all that is looked at: one beside a format that is known here may be left over from before.

mod kinds;
mod odd;

use serde::Serialize;
use uuid::Uuid;

use super::fields::{hex, text};
use super::{Blocks, Trouble, read};

/// A format that is not changed here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Foreign {
    /// As its own tools name it.
    pub name: String,
    /// Its id, as blkid(8) writes it, where it is in reach.
    pub id: Option<String>,
    /// What would give it another id, a clause without a full stop; or that nothing does.
    pub remedy: String,
}

/// Which of these formats stands on the device.
///
/// # Errors
/// When the device cannot be read.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Foreign>, Trouble> {
    let blocks: &dyn Blocks = &blocks;
    for kind in &kinds::KINDS {
        for mark in kind.marks {
            if let Some(at) = mark.found(blocks)? {
                let id = kind.id.of(blocks, at)?;
                return Ok(Some(Foreign { name: kind.name.into(), id, remedy: kind.remedy.into() }));
            }
        }
    }
    Ok(odd::zfs(blocks)?.map(|id| Foreign { name: "ZFS".into(), id: Some(id), remedy: odd::ZFS_REMEDY.into() }))
}

/// One format.
struct Kind {
    name: &'static str,
    /// Any of them will do.
    marks: &'static [Mark],
    id: Reading,
    remedy: &'static str,
}

/// Bytes at a place, and others near them where those are few.
struct Mark {
    place: Place,
    bytes: &'static [u8],
    also: Option<(u64, &'static [u8])>,
}

/// A place on the device, in bytes.
#[derive(Clone, Copy)]
enum Place {
    Start(u64),
    /// So many whole blocks of this size before the end, and so many bytes on.
    End {
        block: u64,
        back: u64,
        on: u64,
    },
}

/// How the id is kept; places are counted from the magic's.
enum Reading {
    /// It has none.
    Nothing,
    /// 16 bytes as they are written; zeros are none.
    Uuid(i64),
    /// Digits and dashes.
    Text(i64, usize),
    /// Some bytes in hexadecimal.
    Hex(i64, usize),
    /// Otherwise.
    By(fn(&dyn Blocks) -> Result<Option<String>, Trouble>),
}

impl Mark {
    const fn at(offset: u64, bytes: &'static [u8]) -> Mark {
        Mark { place: Place::Start(offset), bytes, also: None }
    }

    /// The magic's place, if it is there.
    fn found(&self, blocks: &dyn Blocks) -> Result<Option<u64>, Trouble> {
        let Some(at) = self.place.on(blocks.size()) else { return Ok(None) };
        let also = self.also.is_none_or(|(on, _)| at.checked_add(on).is_some());
        if !also || some(blocks, at, self.bytes.len())?.is_none_or(|found| found != self.bytes) {
            return Ok(None);
        }
        if let Some((on, bytes)) = self.also
            && some(blocks, at + on, bytes.len())?.is_none_or(|found| found != bytes)
        {
            return Ok(None);
        }
        Ok(Some(at))
    }
}

impl Place {
    fn on(self, size: u64) -> Option<u64> {
        match self {
            Place::Start(offset) => Some(offset),
            Place::End { block, back, on } => (size / block).checked_sub(back)?.checked_mul(block)?.checked_add(on),
        }
    }
}

impl Reading {
    fn of(&self, blocks: &dyn Blocks, magic: u64) -> Result<Option<String>, Trouble> {
        let bytes = |on: i64, length: usize| match magic.checked_add_signed(on) {
            Some(at) => some(blocks, at, length),
            None => Ok(None),
        };
        let number = |found: Vec<u8>| <[u8; 16]>::try_from(found).ok().filter(|bytes| *bytes != [0; 16]);
        Ok(match self {
            Reading::Nothing => None,
            Reading::Uuid(on) => bytes(*on, 16)?.and_then(number).map(|id| Uuid::from_bytes(id).to_string()),
            Reading::Text(on, length) => bytes(*on, *length)?.and_then(|found| written(&found)),
            Reading::Hex(on, length) => bytes(*on, *length)?.map(|found| hex(&found)),
            Reading::By(read) => read(blocks)?,
        })
    }
}

/// Letters, digits and dashes up to the first byte that ends them; none if there is anything else, or nothing.
fn written(bytes: &[u8]) -> Option<String> {
    let found = text(bytes, 0, bytes.len());
    let found = found.trim();
    let plain = !found.is_empty() && found.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    plain.then(|| match Uuid::try_parse(found) {
        Ok(uuid) => uuid.to_string(),
        Err(_) => found.to_owned(),
    })
}

/// The bytes there, none beyond the end.
fn some(blocks: &dyn Blocks, at: u64, length: usize) -> Result<Option<Vec<u8>>, Trouble> {
    if at.checked_add(length as u64).is_none_or(|end| end > blocks.size()) {
        return Ok(None);
    }
    Ok(Some(read(blocks, at, length)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(disk: &[u8]) -> Option<String> {
        probe(disk).unwrap().map(|foreign| foreign.name)
    }

    #[test]
    fn every_mark_is_found_at_its_place_and_only_whole() {
        for kind in &kinds::KINDS {
            for mark in kind.marks {
                let mut disk = vec![0; 4 << 20];
                let at = mark.place.on(disk.len() as u64).unwrap() as usize;
                disk[at..at + mark.bytes.len()].copy_from_slice(mark.bytes);
                if let Some((on, bytes)) = mark.also {
                    let at = at + on as usize;
                    assert_eq!(name(&disk), None, "{}", kind.name);
                    disk[at..at + bytes.len()].copy_from_slice(bytes);
                }
                assert_eq!(name(&disk).as_deref(), Some(kind.name));
                disk[at + mark.bytes.len() - 1] ^= 0x80;
                assert_eq!(name(&disk), None, "{}", kind.name);
            }
            assert!(!kind.remedy.ends_with('.'), "{}", kind.name);
        }
    }

    #[test]
    fn a_short_or_empty_device_is_nothing() {
        for size in (0..200).map(|step| step * 331).chain([1 << 20, 4 << 20]) {
            assert_eq!(name(&vec![0; size]), None);
            // A magic, and nothing behind it.
            let mut disk = vec![0xff; size];
            for kind in &kinds::KINDS {
                for mark in kind.marks {
                    let Some(at) = mark.place.on(size as u64) else { continue };
                    let at = usize::try_from(at).unwrap().min(size);
                    let fits = mark.bytes.len().min(size - at);
                    disk[at..at + fits].copy_from_slice(&mark.bytes[..fits]);
                }
            }
            let _ = probe(disk.as_slice()).unwrap();
        }
    }

    #[test]
    fn what_is_no_id_is_not_shown_as_one() {
        assert_eq!(written(b"0a1b-2c\0rest").as_deref(), Some("0a1b-2c"));
        assert_eq!(
            written(b"0123456789ABCDEF0123456789abcdef").as_deref(),
            Some("01234567-89ab-cdef-0123-456789abcdef")
        );
        for bytes in [&b"\0"[..], b"", b"   ", b"a\x1b[1m", b"\xff\xfe"] {
            assert_eq!(written(bytes), None);
        }
        let mut disk = vec![0; 1 << 20];
        disk[..8].copy_from_slice(b"dmvdo001");
        assert_eq!(probe(disk.as_slice()).unwrap().unwrap().id, None);
    }
}
