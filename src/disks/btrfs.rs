// SPDX-License-Identifier: MIT OR Apache-2.0
//! btrfs: the filesystem's UUID in every superblock of every device, as `btrfstune -m` changes it.
//!
//! Offsets are those of `struct btrfs_super_block` in the kernel's include/uapi/linux/btrfs_tree.h. Every metadata block
//! carries the UUID that the filesystem was made with; with the feature metadata_uuid (Linux 5.0) the superblock keeps
//! that one apart, and the one that users see is in the superblocks alone. The log tree carries it no more than the
//! others, so one that is to be replayed does no harm. The UUID of a device, which blkid calls `UUID_SUB`, is in every
//! chunk of the chunk tree and stays.

use blake2::Blake2b;
use blake2::digest::consts::U32;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::fields::{array, le16, le64, patch, put, text, uuid, write};
use super::{Blocks, Format, Found, Group, Id, Patch, SectorWrite, Trouble, crc, read};

/// The superblock and its copies (`btrfs_sb_offset`); a write of one is as whole as the kernel's own.
const COPIES: [u64; 3] = [64 << 10, 64 << 20, 256 << 30];
const LENGTH: usize = 4096;
const MAGIC: &[u8; 8] = b"_BHRfS_M";
const CHECKSUM: usize = 32;
const FSID: usize = 0x20;
const INCOMPAT: usize = 0xbc;
const DEVICE_ID: usize = 0xc9;
const DEVICE_UUID: usize = 0x10b;
const METADATA_UUID: usize = 0x23b;

const FLAG_SEEDING: u64 = 1 << 32;
/// `BTRFS_SUPER_FLAG_CHANGING_FSID` and its second version, which `btrfstune -u` and `-m` set while they work.
const FLAGS_CHANGING_FSID: u64 = 0b11 << 35;
/// `BTRFS_HEADER_FLAG_WRITTEN` and `BTRFS_HEADER_FLAG_RELOC`.
const FLAGS_KNOWN: u64 = 0b11;
const INCOMPAT_METADATA_UUID: u64 = 1 << 10;
const INCOMPAT_ZONED: u64 = 1 << 12;
/// Up to `RAID1C34`, and `RAID_STRIPE_TREE` and `SIMPLE_QUOTA`.
const INCOMPAT_KNOWN: u64 = 0xfff | 1 << 14 | 1 << 16;

/// What stands on the device; whether the filesystem's other [`devices`] are there, [`plan_all`] sees.
///
/// # Errors
/// [`Trouble::Damaged`] when a superblock is not sound, [`Trouble::Unreadable`] when it cannot be read.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    if blocks.size() < COPIES[0] + LENGTH as u64 || array::<8>(&read(blocks, COPIES[0], LENGTH)?, 0x40) != *MAGIC {
        return Ok(None);
    }
    let device = Device::of(blocks)?;
    let primary = &device.primary;
    let refusal = match primary.changeable() {
        Ok(()) => None,
        Err(Trouble::Refused(why)) => Some(why),
        Err(trouble) => return Err(trouble),
    };
    let id = |name: &str, uuid: Uuid| Id { name: name.into(), value: uuid.to_string() };
    let mut ids = vec![id("uuid", primary.fsid()), id("uuid-sub", primary.device_uuid())];
    if primary.fsid() != primary.metadata_uuid() {
        ids.push(id("metadata-uuid", primary.metadata_uuid()));
    }
    let label = Some(text(&primary.bytes, 0x12b, 256)).filter(|label| !label.is_empty());
    // What the metadata blocks carry stays.
    let key = primary.metadata_uuid().to_string();
    let members = u32::try_from(primary.devices()).map_err(|_| damaged("it has too many devices"))?;
    let group = (members > 1).then_some(Group { key, members });
    Ok(Some(Found { label, refusal, group, ..Found::of(Format::Btrfs, "btrfs", ids) }))
}

/// How many devices the filesystem on this one has.
///
/// # Errors
/// As [`probe`], and [`Trouble::Damaged`] when there is no btrfs.
pub fn devices(blocks: &(impl Blocks + ?Sized)) -> Result<u64, Trouble> {
    Ok(Device::of(blocks)?.primary.devices())
}

/// The writes that give a filesystem on one device the UUID `new`; none when it has it everywhere.
///
/// # Errors
/// As [`plan_all`].
pub fn plan(blocks: &(impl Blocks + ?Sized), new: Uuid) -> Result<Patch, Trouble> {
    plan_all(&[blocks], new).map(|mut patches| patches.pop().unwrap_or_default())
}

/// The writes that give a filesystem the UUID `new`, for each of its devices in the order given.
///
/// The last batch of each is its primary superblock. A cut between those of two devices leaves a filesystem whose
/// devices do not find each other until this is planned again and carried out, so with several devices the plan must
/// be in a journal, and carried out before anything mounts them.
///
/// # Errors
/// [`Trouble::Refused`] for a seed device, a filesystem whose UUID is being changed already, one marked as in error,
/// one on a zoned device, a feature that is not known here, and when a device is missing; [`Trouble::Damaged`] and
/// [`Trouble::Unreadable`] as [`probe`].
pub fn plan_all(all: &[&(impl Blocks + ?Sized)], new: Uuid) -> Result<Vec<Patch>, Trouble> {
    let devices = all.iter().map(|blocks| Device::of(*blocks)).collect::<Result<Vec<_>, _>>()?;
    let mut seen = Vec::new();
    for Device { primary, .. } in &devices {
        primary.changeable()?;
        let first = devices.first().map_or(primary, |device| &device.primary);
        if primary.metadata_uuid() != first.metadata_uuid() || primary.devices() != first.devices() {
            return Err(Trouble::Refused("these are devices of more than one btrfs".into()));
        }
        if seen.contains(&primary.device_id()) {
            return Err(Trouble::Refused(format!(
                "the device {} of this btrfs is there twice: a clone of it is attached too",
                primary.device_id()
            )));
        }
        seen.push(primary.device_id());
        if primary.devices() != all.len() as u64 {
            return Err(Trouble::Refused(format!(
                "this btrfs has {} devices, of which {} are at hand: all are needed, and none of a seed",
                primary.devices(),
                all.len()
            )));
        }
    }
    Ok(devices
        .iter()
        .map(|Device { primary, mirrors }| {
            patch([mirrors.iter().map(|mirror| mirror.renamed(new)).collect(), vec![primary.renamed(new)]])
        })
        .collect())
}

/// The superblocks of one device.
struct Device {
    primary: Superblock,
    mirrors: Vec<Superblock>,
}

impl Device {
    fn of(blocks: &(impl Blocks + ?Sized)) -> Result<Device, Trouble> {
        let primary = Superblock::at(blocks, COPIES[0])?;
        // The device's own size: what lies beyond it was left behind when it was made smaller.
        let size = le64(&primary.bytes, DEVICE_ID + 8);
        if size > blocks.size() {
            return Err(damaged("it is longer than its device"));
        }
        if primary.devices() == 0 || primary.device_id() == 0 {
            return Err(damaged("it has no device"));
        }
        // On a zoned device the superblock wanders through two zones.
        if le64(&primary.bytes, INCOMPAT) & INCOMPAT_ZONED != 0 {
            return Ok(Device { primary, mirrors: Vec::new() });
        }
        let mut mirrors = Vec::new();
        for offset in COPIES.into_iter().skip(1).take_while(|offset| offset + LENGTH as u64 <= size) {
            let mirror = Superblock::at(blocks, offset)?;
            let same = mirror.metadata_uuid() == primary.metadata_uuid()
                && mirror.device_id() == primary.device_id()
                && mirror.device_uuid() == primary.device_uuid();
            if !same {
                return Err(damaged(&format!("the superblock at {offset} is of another filesystem")));
            }
            mirrors.push(mirror);
        }
        Ok(Device { primary, mirrors })
    }
}

struct Superblock {
    offset: u64,
    bytes: Vec<u8>,
}

impl Superblock {
    fn at(blocks: &(impl Blocks + ?Sized), offset: u64) -> Result<Superblock, Trouble> {
        let superblock = Superblock { offset, bytes: read(blocks, offset, LENGTH)? };
        let bytes = &superblock.bytes;
        if array::<8>(bytes, 0x40) != *MAGIC || le64(bytes, 0x30) != offset {
            return Err(damaged(&format!("there is no superblock at {offset}")));
        }
        if array::<CHECKSUM>(bytes, 0) != checksum(bytes)? {
            return Err(damaged(&format!("the superblock at {offset} has a wrong checksum")));
        }
        Ok(superblock)
    }

    fn changeable(&self) -> Result<(), Trouble> {
        let refuse = |why: &str| Err(Trouble::Refused(why.into()));
        let flags = le64(&self.bytes, 0x38);
        if flags & FLAG_SEEDING != 0 {
            return refuse("it is a seed device of btrfs: others are built on its UUID");
        }
        if flags & FLAGS_CHANGING_FSID != 0 {
            return refuse("btrfstune was stopped while it changed the UUID of this btrfs: run it again to its end");
        }
        if flags & !FLAGS_KNOWN != 0 {
            return refuse("this btrfs is marked as in error, or as something not known here: see btrfs check");
        }
        let incompat = le64(&self.bytes, INCOMPAT);
        if incompat & INCOMPAT_ZONED != 0 {
            return refuse("this btrfs is on a zoned device: use btrfstune -m");
        }
        if incompat & !INCOMPAT_KNOWN != 0 {
            return refuse("this btrfs has features that are not known here: use btrfstune -m of its own btrfs-progs");
        }
        Ok(())
    }

    fn fsid(&self) -> Uuid {
        uuid(&self.bytes, FSID)
    }

    /// What the metadata blocks carry.
    fn metadata_uuid(&self) -> Uuid {
        let apart = le64(&self.bytes, INCOMPAT) & INCOMPAT_METADATA_UUID != 0;
        uuid(&self.bytes, if apart { METADATA_UUID } else { FSID })
    }

    fn devices(&self) -> u64 {
        le64(&self.bytes, 0x88)
    }

    fn device_id(&self) -> u64 {
        le64(&self.bytes, DEVICE_ID)
    }

    fn device_uuid(&self) -> Uuid {
        uuid(&self.bytes, DEVICE_UUID)
    }

    /// This superblock with the UUID `new`.
    fn renamed(&self, new: Uuid) -> SectorWrite {
        let mut after = self.bytes.clone();
        let metadata = self.metadata_uuid();
        let incompat = le64(&after, INCOMPAT);
        let (incompat, stored) = if metadata == new {
            (incompat & !INCOMPAT_METADATA_UUID, Uuid::nil())
        } else {
            (incompat | INCOMPAT_METADATA_UUID, metadata)
        };
        put(&mut after, FSID, new.as_bytes());
        put(&mut after, INCOMPAT, &incompat.to_le_bytes());
        put(&mut after, METADATA_UUID, stored.as_bytes());
        // `at` has checked that the checksum is of a known type.
        if let Ok(sum) = checksum(&after) {
            put(&mut after, 0, &sum);
        }
        write(self.offset, &self.bytes, after)
    }
}

/// The checksum over what follows its own field, by the type that the superblock names.
fn checksum(superblock: &[u8]) -> Result<[u8; CHECKSUM], Trouble> {
    let rest = superblock.get(CHECKSUM..).unwrap_or_default();
    let mut sum = [0; CHECKSUM];
    match le16(superblock, 0xc4) {
        0 => put(&mut sum, 0, &(!crc::crc32c_raw(!0, rest)).to_le_bytes()),
        1 => put(&mut sum, 0, &xxhash_rust::xxh64::xxh64(rest, 0).to_le_bytes()),
        2 => put(&mut sum, 0, &Sha256::digest(rest)),
        3 => put(&mut sum, 0, &<Blake2b<U32> as blake2::Digest>::digest(rest)),
        other => {
            return Err(Trouble::Refused(format!(
                "this btrfs has checksums of type {other}, which is not known here: use btrfstune -m"
            )));
        }
    }
    Ok(sum)
}

fn damaged(what: &str) -> Trouble {
    Trouble::Damaged(format!("this btrfs is not sound, {what}: see btrfs check"))
}
