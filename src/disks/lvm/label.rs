// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sector that names a physical volume, and says where its extents and its metadata areas are.

use super::{crc, damaged};
use crate::disks::fields::{array, le32, le64, put, write};
use crate::disks::{Blocks, Seat, SectorWrite, Trouble, read};

pub(super) const SECTOR: usize = 512;
const MAGIC: &[u8; 8] = b"LABELONE";
const TYPE: &[u8; 8] = b"LVM2 001";
/// `PV_EXT_USED`.
const USED: u32 = 1;

/// Start and size, in bytes on the device.
pub(super) type Place = (u64, u64);

pub(super) struct Label {
    offset: u64,
    sector: Vec<u8>,
    /// Where the physical volume's header begins in it.
    header: usize,
    /// Where the list of metadata areas begins in it.
    areas: usize,
    pub id: String,
    /// The physical volume's size in bytes.
    pub size: u64,
    /// Where the first extent begins, in bytes.
    pub extents: u64,
    /// The metadata areas.
    pub listed: Vec<Place>,
    /// Does the header's extension name a boot loader area?
    pub loader: bool,
    /// Is it in a group? None from before this was written down.
    pub used: Option<bool>,
}

impl Label {
    pub(super) fn find(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Label>, Trouble> {
        for number in 0..4 {
            let offset = number * SECTOR as u64;
            if offset + SECTOR as u64 > blocks.size() {
                break;
            }
            let sector = read(blocks, offset, SECTOR)?;
            if sector.starts_with(MAGIC) && array::<8>(&sector, 24) == *TYPE {
                return Label::of(blocks.size(), number, sector).map(Some);
            }
        }
        Ok(None)
    }

    fn of(device: u64, number: u64, sector: Vec<u8>) -> Result<Label, Trouble> {
        // `pv_header` lies behind the label's own 32 bytes, in the same sector.
        let header = usize::try_from(le32(&sector, 20)).ok().filter(|header| (32..SECTOR).contains(header));
        let header = header.ok_or_else(|| damaged("its label points out of its sector"))?;
        if le64(&sector, 8) != number || le32(&sector, 16) != crc(sector.get(20..).unwrap_or_default()) {
            return Err(damaged("its label has a wrong checksum, or is not at its place"));
        }
        // Behind the id and the device's size: pairs of start and size, ended by a pair of zeros; first of extents,
        // then of metadata areas.
        let mut at = header + 40;
        let mut list = || {
            let mut pairs = Vec::new();
            let begins = at;
            while at + 16 <= SECTOR {
                let pair = (le64(&sector, at), le64(&sector, at + 8));
                at += 16;
                if pair == (0, 0) {
                    return Some((begins, pairs));
                }
                pairs.push(pair);
            }
            None
        };
        let lists = list().and_then(|extents| list().map(|areas| (extents.1, areas)));
        let Some((extents, (areas, listed))) = lists else { return Err(damaged("its label has no end")) };
        let id = sector.get(header..header + 32).map(|id| String::from_utf8_lossy(id).into_owned()).unwrap_or_default();
        let size = le64(&sector, header + 32);
        let fits = listed.iter().all(|(start, length)| start.checked_add(*length).is_some_and(|end| end <= device));
        let extents = extents.iter().map(|(start, _)| *start).min().unwrap_or(0);
        if id.len() != 32 || size > device || !fits || extents > device {
            return Err(damaged("its label has no id, or it is longer than its device"));
        }
        // struct pv_header_extension: version, flags since version 2, then the list of boot loader areas.
        let version = le32(&sector, at);
        let loader = version > 0 && le64(&sector, at.saturating_add(8)) != 0;
        let used = (version > 1).then(|| le32(&sector, at.saturating_add(4)) & USED != 0);
        Ok(Label { offset: number * SECTOR as u64, sector, header, areas, id, size, extents, listed, loader, used })
    }

    /// How the metadata of its group describes it.
    pub(super) fn seat(&self) -> Seat {
        Seat { id: self.id.clone(), size: self.size, start: self.extents }
    }

    /// The label with another id, and metadata areas moved from and to these places.
    pub(super) fn changed(&self, id: &str, moves: &[(Place, Place)]) -> SectorWrite {
        let mut sector = self.sector.clone();
        put(&mut sector, self.header, id.as_bytes());
        for (number, place) in self.listed.iter().enumerate() {
            if let Some((_, (start, size))) = moves.iter().find(|(from, _)| from == place) {
                put(&mut sector, self.areas + 16 * number, &start.to_le_bytes());
                put(&mut sector, self.areas + 16 * number + 8, &size.to_le_bytes());
            }
        }
        let sum = crc(sector.get(20..).unwrap_or_default());
        put(&mut sector, 16, &sum.to_le_bytes());
        write(self.offset, &self.sector, sector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_begin_on_the_device_and_the_first_is_the_lowest() {
        let label = |extents: &[u64]| {
            let mut sector = vec![0; SECTOR];
            put(&mut sector, 0, MAGIC);
            put(&mut sector, 8, &1_u64.to_le_bytes());
            put(&mut sector, 20, &32_u32.to_le_bytes());
            put(&mut sector, 32, &[b'x'; 32]);
            for (number, start) in extents.iter().enumerate() {
                put(&mut sector, 72 + 16 * number, &start.to_le_bytes());
            }
            let sum = crc(&sector[20..]);
            put(&mut sector, 16, &sum.to_le_bytes());
            Label::of(1 << 20, 1, sector)
        };
        assert_eq!(label(&[65536, 4096]).map(|label| label.extents).ok(), Some(4096));
        // What would be taken for free space would end beyond the device.
        assert!(matches!(label(&[1 << 40]), Err(Trouble::Damaged(_))));
    }
}
