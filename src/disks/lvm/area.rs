// SPDX-License-Identifier: MIT OR Apache-2.0
//! A metadata area: a header, and a ring in which the text of each version follows the last one's.

use super::label::{Label, Place, SECTOR};
use super::metadata::Metadata;
use super::{crc, damaged};
use crate::disks::fields::{array, le32, le64, put};
use crate::disks::{Blocks, Trouble, read};

/// `FMTT_MAGIC`.
const MAGIC: &[u8; 16] = b" LVM2 x[5A%r0N*>";
/// `RAW_LOCN_IGNORED`.
const IGNORED: u32 = 1;
/// The label is in one of the first four sectors; pvcreate(8) begins metadata at the first page behind them.
const PAGE: u64 = 4096;
/// Room that a metadata area must have: what a small group's text grows to in a few years.
const LEAST: u64 = 64 << 10;
/// What pvcreate(8) gives an area; one behind the extents is made no longer, unless it was.
const USUAL: u64 = 1 << 20;
/// `MDA_SIZE` has no upper limit; what is read here does.
const TEXT_MAX: u64 = 16 << 20;

pub(super) struct Area {
    pub place: Place,
    /// Is it left alone by LVM? pvchange(8), `--metadataignore`.
    pub ignored: bool,
    pub live: Option<Live>,
}

/// The text of the current version.
pub(super) struct Live {
    pub metadata: Metadata,
    /// From and to, in bytes on the device.
    text: (u64, u64),
    /// What of the text is at the start of the ring again.
    wraps: u64,
}

impl Area {
    pub(super) fn read(blocks: &(impl Blocks + ?Sized), place: Place, id: &str) -> Result<Area, Trouble> {
        let (start, size) = place;
        let header = read(blocks, start, SECTOR)?;
        let sound = array::<16>(&header, 4) == *MAGIC
            && le32(&header, 0) == crc(header.get(4..).unwrap_or_default())
            && (le64(&header, 24), le64(&header, 32)) == place
            && size > SECTOR as u64;
        if !sound {
            return Err(damaged("its metadata area has a wrong checksum or another place"));
        }
        // Two of raw_locn: offset, length, checksum, flags; the second while a version is being written.
        let (offset, length) = (le64(&header, 40), le64(&header, 48));
        if le64(&header, 64) != 0 {
            return Err(Trouble::Refused("its metadata is being written: see vgck(8), `--updatemetadata`".into()));
        }
        let ignored = le32(&header, 60) & IGNORED != 0;
        if offset == 0 || ignored {
            return Ok(Area { place, ignored, live: None });
        }
        if offset < SECTOR as u64 || offset >= size || length > (size - SECTOR as u64).min(TEXT_MAX) {
            return Err(damaged("its metadata is not inside its area"));
        }
        // The area is a ring behind its header.
        let first = length.min(size - offset);
        let mut text = read(blocks, start + offset, first as usize)?;
        text.extend(read(blocks, start + SECTOR as u64, (length - first) as usize)?);
        if crc(&text) != le32(&header, 56) {
            return Err(damaged("its metadata has a wrong checksum"));
        }
        let metadata = Metadata::parse(&text, id)?;
        let text = (start + offset, start + offset + first);
        Ok(Area { place, ignored, live: Some(Live { metadata, text, wraps: length - first }) })
    }

    /// The longest run of pages on this side of the extents that are in no use, where `length` bytes of text fit as
    /// often as LVM needs, twice. All there is between label and first extent, and between last extent and end, is LVM's
    /// own.
    pub(super) fn beside(&self, live: &Live, label: &Label, areas: usize, length: usize) -> Result<Place, Trouble> {
        let full = || {
            Trouble::Refused("there is no room for a second copy of this group's metadata: use vgimportclone".into())
        };
        let head = (self.place.0, self.place.0 + SECTOR as u64 + live.wraps);
        let before = self.place.0 < label.extents;
        let (from, to) = if before {
            (PAGE, label.extents)
        } else {
            (live.metadata.end(&label.id).ok_or_else(|| damaged("its extents have no end"))?, label.size)
        };
        // pvcreate(8) makes one area on either side.
        let others = label.listed.iter().filter(|(start, _)| (*start < label.extents) == before).count();
        if areas > 2 || others > 1 || head.0 < from || head.1.max(live.text.1) > to {
            return Err(full());
        }
        let mut used = [head, live.text];
        used.sort_unstable();
        let edges = [(0, from), used[0], used[1], (to, to)];
        let gaps = edges.windows(2).filter_map(|pair| {
            let from = pair[0].1.next_multiple_of(PAGE);
            let to = pair[1].0 / PAGE * PAGE;
            to.checked_sub(from).map(|size| (from, size))
        });
        let longest = gaps.max_by_key(|(from, size)| (*size, u64::MAX - from));
        let (from, size) =
            longest.filter(|(_, size)| *size >= LEAST.max(SECTOR as u64 + 2 * length as u64)).ok_or_else(full)?;
        if before {
            return Ok((from, size));
        }
        let wanted = size.min(USUAL.max(self.place.1).max(SECTOR as u64 + 2 * length as u64)) / PAGE * PAGE;
        Ok((from + size - wanted, wanted))
    }
}

/// The start of an area that holds this text, in whole sectors.
pub(super) fn holding((start, size): Place, text: &[u8]) -> Vec<u8> {
    let mut copy = vec![0; SECTOR];
    put(&mut copy, 4, MAGIC);
    put(&mut copy, 20, &1_u32.to_le_bytes());
    put(&mut copy, 24, &start.to_le_bytes());
    put(&mut copy, 32, &size.to_le_bytes());
    // One raw_locn: offset in the area, length, checksum.
    put(&mut copy, 40, &(SECTOR as u64).to_le_bytes());
    put(&mut copy, 48, &(text.len() as u64).to_le_bytes());
    put(&mut copy, 56, &crc(text).to_le_bytes());
    let sum = crc(copy.get(4..).unwrap_or_default());
    put(&mut copy, 0, &sum.to_le_bytes());
    copy.extend(text);
    copy.resize(copy.len().next_multiple_of(SECTOR), 0);
    copy
}
