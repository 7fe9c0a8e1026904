// SPDX-License-Identifier: MIT OR Apache-2.0
//! exFAT: the volume serial number in both boot regions, and the checksum of each.
//!
//! Offsets are those of Microsoft's exFAT specification 1.00, section 3. A region's boot sector and its checksum are
//! two sectors, so a cut between them leaves a region that is not valid; the backup region is renewed first and the
//! main one only after a flush, so that one of them always is. Linux reads the main region only
//! (`exfat_verify_boot_region` in fs/exfat/super.c): after a cut within its two writes the volume is not mounted until
//! this is done again, or fsck.exfat(8) has put the backup, which has the new number, in its place.

use super::sector::{byte, bytes, changed, le16, le32, le64, put, read_within};
use super::{Blocks, Format, Found, Id, Patch, Trouble};

const SERIAL: usize = 100;
/// Sectors that the checksum covers; the one after them holds it.
const COVERED: usize = 11;
const REGION: usize = 12;

/// A boot region: eleven sectors, and a twelfth full of their checksum.
struct Region {
    unit: usize,
    sectors: Vec<u8>,
}

impl Region {
    fn serial(&self) -> u32 {
        le32(&self.sectors, SERIAL)
    }

    fn stored(&self) -> &[u8] {
        &self.sectors[COVERED * self.unit..]
    }

    fn is_valid(&self) -> bool {
        self.stored() == self.checksum()
    }

    /// The checksum sector that belongs to this region: the flags and the percentage in use change without it.
    fn checksum(&self) -> Vec<u8> {
        let counted = self.sectors[..COVERED * self.unit].iter().enumerate().filter(|(at, _)| !uncounted(*at));
        let sum = counted.fold(0u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)));
        sum.to_le_bytes().repeat(self.unit / 4)
    }

    /// This region with another serial number and the checksum for it.
    fn renamed(&self, serial: u32) -> Self {
        let mut region = Self { unit: self.unit, sectors: self.sectors.clone() };
        put(&mut region.sectors, SERIAL, &serial.to_le_bytes());
        let sum = region.checksum();
        put(&mut region.sectors, COVERED * self.unit, &sum);
        region
    }

    /// Is all the same but the serial number, and what no checksum covers?
    fn is_copy_of(&self, other: &Self) -> bool {
        let covered = self.sectors.iter().zip(&other.sectors).take(COVERED * self.unit).enumerate();
        covered.filter(|(at, _)| !uncounted(*at) && !(SERIAL..SERIAL + 4).contains(at)).all(|(_, (a, b))| a == b)
    }
}

/// VolumeFlags and PercentInUse.
fn uncounted(at: usize) -> bool {
    matches!(at, 106 | 107 | 112)
}

/// What exFAT stands on this device. After a cut it is the valid region that counts.
///
/// # Errors
/// When the device cannot be read, and when no region is sound.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    let Some((main, backup)) = regions(blocks)? else { return Ok(None) };
    let valid = if main.is_valid() { &main } else { &backup };
    if !valid.is_valid() {
        return Err(Trouble::Damaged("the checksums of both exFAT boot regions are wrong".into()));
    }
    let serial = valid.serial();
    let id = Id { name: "serial".into(), value: format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff) };
    Ok(Some(Found {
        // The label stands in the root directory, not here.
        refusal: (!backup.is_copy_of(&main)).then(|| different().to_string()),
        ..Found::of(Format::Exfat, "exfat", vec![id])
    }))
}

/// The writes that give the volume the serial number `serial`.
///
/// # Errors
/// When the device cannot be read, and when the two boot regions differ in more than a cut of this change leaves.
pub fn plan(blocks: &(impl Blocks + ?Sized), serial: u32) -> Result<Patch, Trouble> {
    let (main, backup) = regions(blocks)?.ok_or_else(|| Trouble::Damaged("there is no exFAT boot sector".into()))?;
    if serial == 0 {
        return Err(Trouble::Refused("a serial number of zero is none".into()));
    }
    if !backup.is_copy_of(&main) {
        return Err(different());
    }
    let (new_main, new_backup) = (main.renamed(serial), backup.renamed(serial));
    let explained = match (main.is_valid(), backup.is_valid()) {
        (true, true) => true,
        // Cut within the first batch: one of the two sectors is new. The other may be of a third number, where this change
        // began with a backup region that another one, cut in its turn, had renewed.
        (true, false) => backup.serial() == serial || backup.stored() == new_backup.stored(),
        // Cut within the second one: one of the two sectors is new, and nothing says what the other was.
        (false, true) => backup.serial() == serial && (main.serial() == serial || main.stored() == new_main.stored()),
        (false, false) => false,
    };
    if !explained {
        return Err(Trouble::Damaged("the checksum of an exFAT boot region is wrong: `fsck.exfat` mends it".into()));
    }
    let unit = main.unit;
    let mut patch = Patch::default();
    patch.then(changed((REGION * unit) as u64, &backup.sectors, &new_backup.sectors, unit));
    patch.then(changed(0, &main.sectors, &new_main.sectors, unit));
    Ok(patch)
}

fn different() -> Trouble {
    Trouble::Refused("the two exFAT boot regions are not of one volume: `fsck.exfat` mends that".into())
}

/// Main and backup region, none where there is no exFAT.
fn regions(blocks: &(impl Blocks + ?Sized)) -> Result<Option<(Region, Region)>, Trouble> {
    let Some(start) = read_within(blocks, 0, 512)? else { return Ok(None) };
    if bytes(&start, 3) != *b"EXFAT   " || le16(&start, 510) != 0xaa55 || bytes(&start, 11) != [0; 53] {
        return Ok(None);
    }
    let damaged = |why: &str| Trouble::Damaged(format!("the exFAT boot sector is damaged: {why}"));
    let shift = byte(&start, 108);
    if !(9..=12).contains(&shift) || byte(&start, 105) != 1 {
        return Err(damaged("its sector size or revision cannot be"));
    }
    let unit = 1usize << shift;
    let length = le64(&start, 72).checked_mul(unit as u64);
    if length.is_none_or(|length| length > blocks.size()) {
        return Err(damaged("it is larger than the device"));
    }
    let region = |first: usize| -> Result<Region, Trouble> {
        let sectors = read_within(blocks, (first * unit) as u64, REGION * unit)?;
        Ok(Region { unit, sectors: sectors.ok_or_else(|| damaged("its boot regions are beyond the end"))? })
    };
    Ok(Some((region(0)?, region(REGION)?)))
}
