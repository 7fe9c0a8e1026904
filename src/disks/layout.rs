// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the partitions of a device lie, and whether a machine boots from it.

use super::sector::{le32, le64};
use super::{Blocks, Trouble, read};

/// Most partitions that are looked at; the tables of real disks have 128 places (UEFI 5.3) or fewer.
const MOST: usize = 256;

/// A partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1, as the kernel counts.
    pub number: u32,
    /// Byte offset on the device.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
    /// Does firmware or a boot loader start from it?
    pub boots: bool,
}

/// The partitions by the device's own table, none without one.
///
/// # Errors
/// When the device cannot be read, or a partition lies outside it or over another.
pub fn partitions(blocks: &(impl Blocks + ?Sized)) -> Result<Vec<Partition>, Trouble> {
    let mut found = match gpt(blocks)? {
        Some(found) => found,
        None => mbr(blocks)?,
    };
    found.sort_by_key(|partition| partition.offset);
    for pair in found.windows(2) {
        if pair[0].offset.checked_add(pair[0].size).is_none_or(|end| end > pair[1].offset) {
            return Err(Trouble::Damaged(format!("partitions {} and {} overlap", pair[0].number, pair[1].number)));
        }
    }
    if let Some(last) = found.last()
        && last.offset.checked_add(last.size).is_none_or(|end| end > blocks.size())
    {
        return Err(Trouble::Damaged(format!("partition {} reaches beyond the device", last.number)));
    }
    found.sort_by_key(|partition| partition.number);
    Ok(found)
}

/// Type GUIDs of the EFI system partition (UEFI 5.3.3) and of GRUB's BIOS boot partition, in the bytes on disk.
const BOOTS: [[u8; 16]; 2] = [
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b],
    *b"Hah!IdontNeedEFI",
];

fn gpt(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Vec<Partition>>, Trouble> {
    for unit in [512_u64, 4096] {
        if blocks.size() < 3 * unit {
            continue;
        }
        let header = read(blocks, unit, 92)?;
        if header.starts_with(b"EFI PART") {
            return entries(blocks, unit, &header).map(Some);
        }
    }
    Ok(None)
}

/// UEFI 5.3.2 and 5.3.3: the array's place, length and width stand at 72, 80 and 84 of the header.
fn entries(blocks: &(impl Blocks + ?Sized), unit: u64, header: &[u8]) -> Result<Vec<Partition>, Trouble> {
    let (at, count, width) = (le64(header, 72), le32(header, 80) as usize, le32(header, 84) as usize);
    if !(128..=4096).contains(&width) || count > 1024 {
        return Err(Trouble::Damaged(format!("the partition table claims {count} entries of {width} bytes")));
    }
    let start = at.checked_mul(unit).ok_or_else(|| Trouble::Damaged("the partition table has no place".into()))?;
    let table = read(blocks, start, count * width)?;
    let mut found = Vec::new();
    for (number, entry) in (1..).zip(table.chunks_exact(width)) {
        if entry[..16] == [0; 16] {
            continue;
        }
        let (first, last) = (le64(entry, 32), le64(entry, 40));
        let place = || Some((first.checked_mul(unit)?, last.checked_add(1)?.checked_sub(first)?.checked_mul(unit)?));
        let Some((offset, size)) = place() else {
            return Err(Trouble::Damaged(format!("partition {number} ends before it begins")));
        };
        found.push(Partition { number, offset, size, boots: BOOTS.iter().any(|boots| boots == &entry[..16]) });
        if found.len() > MOST {
            return Err(Trouble::Damaged(format!("more than {MOST} partitions")));
        }
    }
    Ok(found)
}

/// The four entries at 446, and the chain of logical partitions in an extended one.
fn mbr(blocks: &(impl Blocks + ?Sized)) -> Result<Vec<Partition>, Trouble> {
    let mut found = Vec::new();
    if blocks.size() < 512 {
        return Ok(found);
    }
    let sector = read(blocks, 0, 512)?;
    // A boot sector of FAT or NTFS has the same signature; its file system's name stands where a table has code.
    let is_file_system = [3, 54, 82]
        .iter()
        .any(|at| [&b"FAT"[..], b"NTFS", b"EXFAT"].iter().any(|name| sector[*at..].starts_with(name)));
    if sector[510..] != [0x55, 0xaa] || is_file_system {
        return Ok(found);
    }
    let mut extended = None;
    for (number, entry) in (1..).zip(sector[446..510].chunks_exact(16)) {
        let (active, kind) = (entry[0], entry[4]);
        let (start, length) = (u64::from(le32(entry, 8)), u64::from(le32(entry, 12)));
        match kind {
            0 => {}
            _ if active & 0x7f != 0 => return Ok(Vec::new()),
            0x05 | 0x0f | 0x85 => extended = Some(start),
            _ if length > 0 => {
                found.push(Partition { number, offset: start * 512, size: length * 512, boots: active == 0x80 });
            }
            _ => {}
        }
    }
    let Some(first) = extended else { return Ok(found) };
    let mut at = first;
    for number in 5..=MOST as u32 {
        let sector = read(blocks, at * 512, 512)?;
        if sector[510..] != [0x55, 0xaa] {
            return Ok(found);
        }
        let (own, next) = (&sector[446..462], &sector[462..478]);
        if own[4] != 0 && le32(own, 12) > 0 {
            let offset = (at + u64::from(le32(own, 8))) * 512;
            found.push(Partition { number, offset, size: u64::from(le32(own, 12)) * 512, boots: own[0] == 0x80 });
        }
        if next[4] == 0 || le32(next, 8) == 0 {
            return Ok(found);
        }
        at = first + u64::from(le32(next, 8));
    }
    Err(Trouble::Damaged(format!("the chain of logical partitions has more than {MOST} links")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(disk: &mut [u8], at: usize, kind: u8, start: u32, length: u32) {
        disk[at + 4] = kind;
        disk[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        disk[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
    }

    fn signed(disk: &mut [u8], sector: usize) {
        disk[sector * 512 + 510..sector * 512 + 512].copy_from_slice(&[0x55, 0xaa]);
    }

    #[test]
    fn primary_and_logical_partitions_of_an_mbr() {
        let mut disk = vec![0; 100 * 512];
        signed(&mut disk, 0);
        entry(&mut disk, 446, 0x83, 1, 9);
        disk[446] = 0x80;
        entry(&mut disk, 462, 0x05, 20, 80);
        signed(&mut disk, 20);
        entry(&mut disk, 20 * 512 + 446, 0x83, 2, 8);
        entry(&mut disk, 20 * 512 + 462, 0x05, 20, 20);
        signed(&mut disk, 40);
        entry(&mut disk, 40 * 512 + 446, 0x82, 2, 8);
        let found = partitions(disk.as_slice()).unwrap();
        let places: Vec<(u32, u64, u64, bool)> =
            found.iter().map(|p| (p.number, p.offset / 512, p.size / 512, p.boots)).collect();
        assert_eq!(places, [(1, 1, 9, true), (5, 22, 8, false), (6, 42, 8, false)]);
        // A chain that bites its tail ends with an error, not never.
        entry(&mut disk, 40 * 512 + 462, 0x05, 0, 20);
        entry(&mut disk, 40 * 512 + 462, 0x05, 20, 20);
        assert!(partitions(disk.as_slice()).is_err());
        // Neither does one of empty places.
        entry(&mut disk, 20 * 512 + 446, 0, 0, 0);
        entry(&mut disk, 40 * 512 + 446, 0, 0, 0);
        assert!(partitions(disk.as_slice()).is_err());
        entry(&mut disk, 446, 0x83, 1, 40);
        assert!(partitions(disk.as_slice()).is_err());
        assert_eq!(partitions([0; 10].as_slice()).unwrap(), []);
        assert_eq!(partitions(vec![0; 4096].as_slice()).unwrap(), []);
    }

    #[test]
    fn a_guid_partition_table_is_bounded() {
        let mut disk = vec![0; 100 * 512];
        disk[512..520].copy_from_slice(b"EFI PART");
        disk[512 + 72] = 2;
        disk[512 + 80] = 4;
        disk[512 + 84] = 128;
        let esp = 1024 + 128;
        disk[esp..esp + 16].copy_from_slice(&BOOTS[0]);
        disk[esp + 32] = 40;
        disk[esp + 40] = 49;
        let found = partitions(disk.as_slice()).unwrap();
        assert_eq!(found, [Partition { number: 2, offset: 40 * 512, size: 10 * 512, boots: true }]);
        for (at, value) in [(esp + 40, 20), (esp + 47, 255), (512 + 81, 255), (512 + 79, 255), (512 + 84, 5)] {
            let mut bad = disk.clone();
            bad[at] = value;
            assert!(partitions(bad.as_slice()).is_err(), "{at}");
        }
    }
}
