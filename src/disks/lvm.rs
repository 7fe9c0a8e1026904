// SPDX-License-Identifier: MIT OR Apache-2.0
//! LVM2: the ids of a physical volume, its volume group and its logical volumes, switched by one sector.
//!
//! Structures are those of lib/format_text/layout.h and lib/label/label.h of LVM2. The label names the physical volume
//! and where its metadata is; the metadata is text that names the group, the volume again, and the logical volumes. A
//! copy of it with the new ids is written to free space between the label and the first extent, then the label's sector
//! is pointed at it: before that all is old, after it all is new.

mod metadata;

use std::collections::BTreeMap;

use super::fields::{array, le32, le64, patch, put, write};
use super::{Blocks, Format, Found, Id, Patch, Trouble, read};
use metadata::Metadata;

const SECTOR: usize = 512;
const LABEL: &[u8; 8] = b"LABELONE";
const LABEL_TYPE: &[u8; 8] = b"LVM2 001";
/// `FMTT_MAGIC`.
const AREA_MAGIC: &[u8; 16] = b" LVM2 x[5A%r0N*>";
/// The label is in one of the first four sectors; pvcreate(8) begins metadata at the first page behind them.
const PAGE: u64 = 4096;
/// Room that a metadata area must have: what a small group's text grows to in a few years.
const AREA_MIN: u64 = 64 << 10;
/// `MDA_SIZE` has no upper limit; what is read here does.
const TEXT_MAX: u64 = 16 << 20;

/// The ids that a volume group of one physical volume shall have, each of 32 letters and digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// The physical volume's.
    pub physical_volume: String,
    /// The volume group's; of no account where the physical volume is in none.
    pub volume_group: String,
    /// The logical volumes', by name; one that is not named keeps its id.
    pub logical_volumes: BTreeMap<String, String>,
}

/// What stands on the device.
///
/// # Errors
/// [`Trouble::Damaged`] when label or metadata is not sound, [`Trouble::Unreadable`] when it cannot be read.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    let Some(label) = Label::find(blocks)? else { return Ok(None) };
    let mut ids = vec![Id { name: "uuid".into(), value: dashed(&label.id) }];
    let mut name = None;
    let refusal = match label.metadata(blocks) {
        Ok(live) => {
            if let Some((_, metadata)) = live {
                ids.push(Id { name: "vg-uuid".into(), value: metadata.group_id.clone() });
                for (volume, id) in &metadata.logical_volumes {
                    ids.push(Id { name: format!("lv-uuid-{volume}"), value: id.clone() });
                }
                name = Some(metadata.group);
            }
            None
        }
        Err(Trouble::Refused(why)) => Some(why),
        Err(trouble) => return Err(trouble),
    };
    Ok(Some(Found { format: Format::Lvm, variant: "LVM2 001".into(), ids, label: name, refusal }))
}

/// The writes that give a physical volume and what is on it the ids `new`; none when it has them.
///
/// The group may be active, but nothing may change its metadata between this and the last write. The text with the old
/// ids stays behind in space that is now free.
///
/// # Errors
/// [`Trouble::Refused`] for a group of several physical volumes, one that is exported, shared or clustered, a metadata
/// area that is ignored, being written or not alone, a boot loader area, and without free space for a second copy;
/// [`Trouble::Damaged`] and [`Trouble::Unreadable`] as [`probe`], also when there is no label.
pub fn plan(blocks: &(impl Blocks + ?Sized), new: &Ids) -> Result<Patch, Trouble> {
    let all = [&new.physical_volume, &new.volume_group].into_iter().chain(new.logical_volumes.values());
    if !all.clone().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        return Err(Trouble::Refused("an id of LVM has 32 letters and digits".into()));
    }
    let label = Label::find(blocks)?.ok_or_else(|| damaged("it has no label"))?;
    let mut sector = label.sector.clone();
    put(&mut sector, label.header, new.physical_volume.as_bytes());
    let Some((area, live)) = label.metadata(blocks)? else {
        return Ok(patch([vec![label.changed(sector)]]));
    };
    let Some(text) = live.renamed(new)? else { return Ok(Patch::default()) };
    let (start, size) = area.beside(label.extents, text.len())?;
    let mut copy = vec![0; SECTOR];
    put(&mut copy, 4, AREA_MAGIC);
    put(&mut copy, 20, &1_u32.to_le_bytes());
    put(&mut copy, 24, &start.to_le_bytes());
    put(&mut copy, 32, &size.to_le_bytes());
    // One raw_locn: offset in the area, length, checksum.
    put(&mut copy, 40, &(SECTOR as u64).to_le_bytes());
    put(&mut copy, 48, &(text.len() as u64).to_le_bytes());
    put(&mut copy, 56, &crc(&text).to_le_bytes());
    let sum = crc(copy.get(4..).unwrap_or_default());
    put(&mut copy, 0, &sum.to_le_bytes());
    copy.extend(&text);
    copy.resize(copy.len().next_multiple_of(SECTOR), 0);
    put(&mut sector, label.areas, &start.to_le_bytes());
    put(&mut sector, label.areas + 8, &size.to_le_bytes());
    Ok(patch([vec![write(start, &read(blocks, start, copy.len())?, copy)], vec![label.changed(sector)]]))
}

/// The sector that names the physical volume.
struct Label {
    offset: u64,
    sector: Vec<u8>,
    /// Where the physical volume's header begins in it.
    header: usize,
    /// Where the list of metadata areas begins in it.
    areas: usize,
    id: String,
    /// Where the first extent begins, in bytes.
    extents: u64,
    /// Metadata areas, start and size in bytes.
    listed: Vec<(u64, u64)>,
    /// What the header's extension says of a boot loader area.
    loader: bool,
}

impl Label {
    fn find(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Label>, Trouble> {
        for number in 0..4 {
            let offset = number * SECTOR as u64;
            if offset + SECTOR as u64 > blocks.size() {
                break;
            }
            let sector = read(blocks, offset, SECTOR)?;
            if sector.starts_with(LABEL) && array::<8>(&sector, 24) == *LABEL_TYPE {
                return Label::of(blocks.size(), number, sector).map(Some);
            }
        }
        Ok(None)
    }

    fn of(size: u64, number: u64, sector: Vec<u8>) -> Result<Label, Trouble> {
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
        let fits = listed.iter().all(|(start, length)| start.checked_add(*length).is_some_and(|end| end <= size));
        let extents = extents.iter().map(|(start, _)| *start).min().unwrap_or(0);
        if id.len() != 32 || le64(&sector, header + 32) > size || !fits || extents > size {
            return Err(damaged("its label has no id, or it is longer than its device"));
        }
        // struct pv_header_extension: version, flags, then the list of boot loader areas.
        let loader = le32(&sector, at) > 0 && le64(&sector, at.saturating_add(8)) != 0;
        Ok(Label { offset: number * SECTOR as u64, sector, header, areas, id, extents, listed, loader })
    }

    /// The live metadata and its area; none for a physical volume that is in no group.
    fn metadata(&self, blocks: &(impl Blocks + ?Sized)) -> Result<Option<(Area, Metadata)>, Trouble> {
        let refuse =
            |why: &str| Err(Trouble::Refused(format!("{why}: use vgimportclone, or pvchange -u and vgchange -u")));
        if self.loader {
            return refuse("this physical volume has a boot loader area");
        }
        let [(start, size)] = self.listed[..] else {
            return refuse("this physical volume has no metadata area, or more than one");
        };
        let header = read(blocks, start, SECTOR)?;
        let sound = array::<16>(&header, 4) == *AREA_MAGIC
            && le32(&header, 0) == crc(header.get(4..).unwrap_or_default())
            && (le64(&header, 24), le64(&header, 32)) == (start, size)
            && size > SECTOR as u64;
        if !sound {
            return Err(damaged("its metadata area has a wrong checksum or another place"));
        }
        let (offset, length) = (le64(&header, 40), le64(&header, 48));
        if le64(&header, 64) != 0 {
            return refuse("its metadata is being written");
        }
        if offset == 0 {
            return Ok(None);
        }
        // RAW_LOCN_IGNORED.
        if le32(&header, 60) & 1 != 0 {
            return refuse("its metadata area is ignored");
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
        let metadata = Metadata::parse(&text, &dashed(&self.id))?;
        Ok(Some((Area { start, text: (start + offset, start + offset + first), wraps: length - first }, metadata)))
    }

    fn changed(&self, mut sector: Vec<u8>) -> super::SectorWrite {
        let sum = crc(sector.get(20..).unwrap_or_default());
        put(&mut sector, 16, &sum.to_le_bytes());
        write(self.offset, &self.sector, sector)
    }
}

/// What of the space before the first extent is in use.
struct Area {
    start: u64,
    /// From and to, in bytes on the device.
    text: (u64, u64),
    /// What of the text is at the start of the ring again.
    wraps: u64,
}

impl Area {
    /// Start and size of the longest run of pages before `extents` that are in no use, where `length` bytes of text fit
    /// as often as LVM needs, twice. All there is between the label and the first extent is LVM's own.
    fn beside(&self, extents: u64, length: usize) -> Result<(u64, u64), Trouble> {
        let head = (self.start, self.start + SECTOR as u64 + self.wraps);
        let full = || {
            Trouble::Refused("there is no room for a second copy of this group's metadata: use vgimportclone".into())
        };
        // An area behind the extents has them before it, not free space.
        if head.1 > extents || self.text.1 > extents {
            return Err(full());
        }
        let mut used = [head, self.text];
        used.sort_unstable();
        let edges = [(0, PAGE), used[0], used[1], (extents, extents)];
        let gaps = edges.windows(2).filter_map(|pair| {
            let from = pair[0].1.next_multiple_of(PAGE);
            let to = pair[1].0 / PAGE * PAGE;
            to.checked_sub(from).map(|size| (from, size))
        });
        let longest = gaps.max_by_key(|(from, size)| (*size, u64::MAX - from));
        longest.filter(|(_, size)| *size >= AREA_MIN.max(SECTOR as u64 + 2 * length as u64)).ok_or_else(full)
    }
}

/// As LVM writes ids in text: 6-4-4-4-4-4-6.
fn dashed(id: &str) -> String {
    let mut text = String::new();
    for (at, letter) in id.chars().enumerate() {
        if matches!(at, 6 | 10 | 14 | 18 | 22 | 26) {
            text.push('-');
        }
        text.push(letter);
    }
    text
}

/// `calc_crc` of lib/misc/crc.c: CRC-32 with a start of its own, and nothing inverted at the end.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xf597_a6cf, |register, byte| {
        (0..8).fold(register ^ u32::from(*byte), |register, _| {
            if register & 1 == 1 { (register >> 1) ^ 0xedb8_8320 } else { register >> 1 }
        })
    })
}

fn damaged(what: &str) -> Trouble {
    Trouble::Damaged(format!("this LVM physical volume is not sound, {what}: see pvck(8)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_begin_on_the_device_and_the_first_is_the_lowest() {
        let label = |extents: &[u64]| {
            let mut sector = vec![0; SECTOR];
            put(&mut sector, 0, LABEL);
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
