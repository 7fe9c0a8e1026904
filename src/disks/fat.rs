// SPDX-License-Identifier: MIT OR Apache-2.0
//! FAT12, FAT16 and FAT32: the volume serial number in the boot sector, and in FAT32's copy of it.
//!
//! Offsets are those of Microsoft's FAT specification 1.03. There is no checksum, so each sector is whole by itself;
//! the copy, which is read only when the first is lost, comes first. A dirty mark is no hindrance: the serial number
//! stands in no other structure.

use super::sector::{SECTOR, byte, bytes, changed, le16, le32, put, read_within, text};
use super::{Blocks, Format, Found, Id, Patch, Trouble, read};

/// A boot sector, and FAT32's copy of it.
struct Volume {
    sector: Vec<u8>,
    copy: Option<(u64, Vec<u8>)>,
    variant: &'static str,
}

impl Volume {
    /// Where the fields stand that FAT32 has further on: extended boot signature, serial number, label.
    fn tail(&self) -> usize {
        if self.variant == "FAT32" { 66 } else { 38 }
    }
}

/// What FAT stands on this device.
///
/// # Errors
/// When the device cannot be read, or the volume is larger than it.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    let Some(volume) = find(blocks)? else { return Ok(None) };
    let tail = volume.tail();
    let serial = le32(&volume.sector, tail + 1);
    let label = text(&bytes::<11>(&volume.sector, tail + 5)).filter(|label| label != "NO NAME");
    let id = Id { name: "serial".into(), value: format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff) };
    Ok(Some(Found {
        label,
        refusal: check(&volume).err().map(|trouble| trouble.to_string()),
        ..Found::of(Format::Fat, volume.variant, vec![id])
    }))
}

/// The writes that give the volume the serial number `serial`, mounted or not.
///
/// # Errors
/// When the device cannot be read, when the boot sector or its copy is not sound, and when it has no serial number.
pub fn plan(blocks: &(impl Blocks + ?Sized), serial: u32) -> Result<Patch, Trouble> {
    let volume = find(blocks)?.ok_or_else(|| Trouble::Damaged("there is no FAT boot sector".into()))?;
    check(&volume)?;
    if serial == 0 {
        return Err(Trouble::Refused("a serial number of zero is none".into()));
    }
    let renamed = |sector: &[u8]| {
        let mut after = sector.to_vec();
        put(&mut after, volume.tail() + 1, &serial.to_le_bytes());
        after
    };
    let mut patch = Patch::default();
    if let Some((offset, copy)) = &volume.copy {
        patch.then(changed(*offset, copy, &renamed(copy), SECTOR));
    }
    patch.then(changed(0, &volume.sector, &renamed(&volume.sector), SECTOR));
    Ok(patch)
}

/// Refuses a volume without a serial number, and one whose copy is not one.
fn check(volume: &Volume) -> Result<(), Trouble> {
    // 0x28 has the serial number only, 0x29 label and type too.
    if !matches!(byte(&volume.sector, volume.tail()), 0x28 | 0x29) {
        return Err(Trouble::Refused("its boot sector is of the old kind, without a serial number".into()));
    }
    let Some((_, copy)) = &volume.copy else { return Ok(()) };
    // From the sector size to the copy's own place: all that says where anything is. What follows may differ by the
    // dirty mark, the serial number and the label.
    if le16(copy, 510) != 0xaa55 || copy[11..52] != volume.sector[11..52] || byte(copy, 66) != byte(&volume.sector, 66)
    {
        return Err(Trouble::Refused(
            "the copy of its boot sector is not one: `fsck.fat` shows the difference and mends it".into(),
        ));
    }
    Ok(())
}

/// The volume, none where no FAT begins: a boot sector has no magic number, so all its numbers must be possible.
fn find(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Volume>, Trouble> {
    let Some(sector) = read_within(blocks, 0, SECTOR)? else { return Ok(None) };
    // As fat_read_bpb in the kernel's fs/fat/inode.c, and the jump and end mark that every maker of FAT writes.
    let unit = u64::from(le16(&sector, 11));
    let cluster = u64::from(byte(&sector, 13));
    let reserved = u64::from(le16(&sector, 14));
    let fats = u64::from(byte(&sector, 16));
    let roots = u64::from(le16(&sector, 17));
    let possible = le16(&sector, 510) == 0xaa55
        && matches!(byte(&sector, 0), 0xeb | 0xe9)
        && [512, 1024, 2048, 4096].contains(&unit)
        && cluster.is_power_of_two()
        && reserved > 0
        && (1..=4).contains(&fats)
        && matches!(byte(&sector, 21), 0xf0 | 0xf8..);
    if !possible {
        return Ok(None);
    }
    let either = |short: u64, long: u64| if short == 0 { long } else { short };
    let is_fat32 = le16(&sector, 22) == 0;
    let fat = if is_fat32 { u64::from(le32(&sector, 36)) } else { u64::from(le16(&sector, 22)) };
    let total = either(u64::from(le16(&sector, 19)), u64::from(le32(&sector, 32)));
    let start = reserved + fats * fat + (roots * 32).div_ceil(unit);
    if fat == 0 || total <= start || is_fat32 != (roots == 0) {
        return Ok(None);
    }
    let clusters = (total - start) / cluster;
    let variant = match clusters {
        _ if is_fat32 => "FAT32",
        0..=4084 => "FAT12",
        _ => "FAT16",
    };
    // Entries of 12, 16 or 32 bits, two of them not clusters.
    let bits = match variant {
        "FAT32" => 32,
        "FAT16" => 16,
        _ => 12,
    };
    if clusters == 0 || (clusters + 2) * bits > fat * unit * 8 {
        return Err(Trouble::Damaged("the FAT is shorter than its clusters need".into()));
    }
    if total * unit > blocks.size() {
        return Err(Trouble::Damaged("the FAT volume is larger than the device".into()));
    }
    let at = u64::from(le16(&sector, 50));
    let copy = match at {
        _ if !is_fat32 => None,
        0 | 0xffff => None,
        at if at >= reserved => {
            return Err(Trouble::Damaged("the copy of the FAT boot sector is not among the reserved sectors".into()));
        }
        at => Some((at * unit, read(blocks, at * unit, SECTOR)?)),
    };
    Ok(Some(Volume { sector, copy, variant }))
}
