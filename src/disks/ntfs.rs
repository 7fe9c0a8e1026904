// SPDX-License-Identifier: MIT OR Apache-2.0
//! NTFS: the volume serial number in the first sector, and in its copy in the last.
//!
//! Offsets are those of `struct NTFS_BOOT` in the kernel's fs/ntfs3/ntfs.h. There is no checksum, so each sector is
//! whole by itself; the copy, which is read only when the first is lost, comes first.

use super::sector::{SECTOR, byte, bytes, changed, le16, le64, put, read_within};
use super::{Blocks, Format, Found, Id, Patch, Trouble};

const SERIAL: usize = 72;

/// The boot sector, where its copy should be, and what is there.
struct Volume {
    sector: Vec<u8>,
    at: u64,
    copy: Vec<u8>,
}

/// What NTFS stands on this device.
///
/// # Errors
/// When the device cannot be read, and when the volume is larger than it.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    let Some(volume) = find(blocks)? else { return Ok(None) };
    let id = Id { name: "serial".into(), value: format!("{:016X}", le64(&volume.sector, SERIAL)) };
    Ok(Some(Found {
        // The label stands in the file $Volume, not here.
        refusal: check(&volume).err().map(|trouble| trouble.to_string()),
        ..Found::of(Format::Ntfs, "ntfs", vec![id])
    }))
}

/// The writes that give the volume, which is not mounted, the serial number `serial`.
///
/// # Errors
/// When the device cannot be read, and when the copy of the boot sector is not one.
pub fn plan(blocks: &(impl Blocks + ?Sized), serial: u64) -> Result<Patch, Trouble> {
    let volume = find(blocks)?.ok_or_else(|| Trouble::Damaged("there is no NTFS boot sector".into()))?;
    check(&volume)?;
    if serial == 0 {
        return Err(Trouble::Refused("a serial number of zero is none".into()));
    }
    let renamed = |sector: &[u8]| {
        let mut after = sector.to_vec();
        put(&mut after, SERIAL, &serial.to_le_bytes());
        after
    };
    let mut patch = Patch::default();
    patch.then(changed(volume.at, &volume.copy, &renamed(&volume.copy), SECTOR));
    patch.then(changed(0, &volume.sector, &renamed(&volume.sector), SECTOR));
    Ok(patch)
}

/// Refuses a last sector that does not say the same of where everything is.
fn check(volume: &Volume) -> Result<(), Trouble> {
    // Without the jump before the name, and without what only a BIOS asks for: tracks, heads, sectors before.
    let same = [3..24, 36..SERIAL, 510..512].into_iter().all(|part| volume.copy[part.clone()] == volume.sector[part]);
    if same {
        Ok(())
    } else {
        Err(Trouble::Refused("its last sector is not a copy of the first: `chkdsk` mends it".into()))
    }
}

/// The volume, none where no NTFS begins.
fn find(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Volume>, Trouble> {
    let Some(sector) = read_within(blocks, 0, SECTOR)? else { return Ok(None) };
    if bytes(&sector, 3) != *b"NTFS    " || le16(&sector, 510) != 0xaa55 {
        return Ok(None);
    }
    let damaged = |why: &str| Trouble::Damaged(format!("the NTFS boot sector is damaged: {why}"));
    let unit = u64::from(le16(&sector, 11));
    // Sectors in a cluster: a power of two, or more than 0x80 for an exponent (`true_sectors_per_clst`).
    let cluster = match byte(&sector, 13) {
        count @ ..=0x80 => u64::from(count),
        exponent => 1 << 0u8.wrapping_sub(exponent).min(32),
    };
    if !(512..=4096).contains(&unit) || !unit.is_power_of_two() || !cluster.is_power_of_two() {
        return Err(damaged("its sector or cluster size cannot be"));
    }
    let total = le64(&sector, 40);
    let clusters = total / cluster;
    if [48, 56].into_iter().any(|at| le64(&sector, at) == 0 || le64(&sector, at) >= clusters) {
        return Err(damaged("its file table is beyond its end"));
    }
    // The volume does not count its own last sector, where the copy is.
    let at = total.checked_mul(unit).ok_or_else(|| damaged("its size cannot be"))?;
    let copy = read_within(blocks, at, SECTOR)?.ok_or_else(|| damaged("it is larger than the device"))?;
    Ok(Some(Volume { sector, at, copy }))
}
