// SPDX-License-Identifier: MIT OR Apache-2.0
//! The MBR partition table: its disk signature, from which Linux makes each partition's `PARTUUID`.
//!
//! A partition is `SIGNATURE-NN` (`msdos_partition` in the kernel's block/partitions/msdos.c), logical ones too, so
//! the one sector is all there is to write.

use super::sector::{SECTOR, byte, changed, le16, le32, le64, put, read_within};
use super::{Blocks, Format, Found, Id, Patch, Trouble};

/// Where the disk signature stands.
const SIGNATURE: usize = 440;
/// The type of the entry that protects a GPT, alone or in a hybrid table.
const PROTECTIVE: u8 = 0xee;
/// The types of partitions that contain others.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];

/// The first sector of a disk that has an MBR and no GPT, or none.
fn find(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Vec<u8>>, Trouble> {
    let Some(sector) = read_within(blocks, 0, SECTOR)? else { return Ok(None) };
    let mut entries = sector[446..510].chunks_exact(16);
    // A boot sector of FAT, exFAT or NTFS ends in the same two bytes; code stands where an MBR has its entries.
    let is_table = entries.clone().all(|entry| byte(entry, 0) & 0x7f == 0) && entries.clone().any(|e| byte(e, 4) != 0);
    let is_volume = sector[3..11] == *b"NTFS    "
        || sector[3..11] == *b"EXFAT   "
        || !matches!(super::fat::probe(blocks), Ok(None));
    let is_gpt = entries.any(|entry| byte(entry, 4) == PROTECTIVE);
    Ok((le16(&sector, 510) == 0xaa55 && is_table && !is_volume && !is_gpt).then_some(sector))
}

/// What MBR stands on this disk; none where it only protects a GPT.
///
/// # Errors
/// When the disk cannot be read.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    let Some(sector) = find(blocks)? else { return Ok(None) };
    let signature = le32(&sector, SIGNATURE);
    let id = Id { name: "disk-id".into(), value: format!("{signature:08x}") };
    let refusal = check(blocks, &sector).err().map(|trouble| trouble.to_string());
    Ok(Some(Found { refusal, ..Found::of(Format::Mbr, "dos", vec![id]) }))
}

/// The write that gives the disk the signature `new`.
///
/// # Errors
/// When the disk cannot be read, when it has no MBR or a GPT, and when its partitions overlap or lie outside it.
pub fn plan(blocks: &(impl Blocks + ?Sized), new: u32) -> Result<Patch, Trouble> {
    let sector = find(blocks)?.ok_or_else(|| Trouble::Damaged("there is no MBR of its own right".into()))?;
    check(blocks, &sector)?;
    if new == 0 {
        return Err(Trouble::Refused("a disk signature of zero is none".into()));
    }
    let mut after = sector.clone();
    put(&mut after, SIGNATURE, &new.to_le_bytes());
    let mut patch = Patch::default();
    patch.then(changed(0, &sector, &after, SECTOR));
    Ok(patch)
}

/// Refuses a table whose partitions cannot be.
fn check(blocks: &(impl Blocks + ?Sized), sector: &[u8]) -> Result<(), Trouble> {
    // What Windows leaves on a disk that is not to be written (`copy-protected`).
    if le16(sector, 444) == 0x5a5a {
        return Err(Trouble::Refused("the MBR says that the disk is not to be written".into()));
    }
    // Entries count logical sectors, which nothing in the table tells the size of; the smallest is what all fit in.
    let sectors = blocks.size() / SECTOR as u64;
    let mut spans = Vec::new();
    for entry in sector[446..510].chunks_exact(16).filter(|entry| byte(entry, 4) != 0) {
        let (start, length) = (u64::from(le32(entry, 8)), u64::from(le32(entry, 12)));
        if start == 0 || length == 0 || start + length > sectors {
            return Err(Trouble::Damaged("a partition of the MBR is not on the disk".into()));
        }
        spans.push((start, start + length));
    }
    spans.sort_unstable();
    if spans.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return Err(Trouble::Damaged("two partitions of the MBR overlap".into()));
    }
    if sector[446..510].chunks_exact(16).filter(|entry| EXTENDED.contains(&byte(entry, 4))).count() > 1 {
        return Err(Trouble::Damaged("the MBR has two extended partitions".into()));
    }
    // A GPT whose protection was lost: Linux reads this table, other systems may not.
    for unit in [512, 4096] {
        if read_within(blocks, unit, 512)?.is_some_and(|header| le64(&header, 0) == u64::from_le_bytes(*b"EFI PART")) {
            return Err(Trouble::Refused(
                "a GPT without its protective MBR is there too: `gdisk` shows both and keeps the one that is meant"
                    .into(),
            ));
        }
    }
    Ok(())
}
