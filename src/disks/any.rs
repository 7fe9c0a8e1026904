// SPDX-License-Identifier: MIT OR Apache-2.0
//! All formats alike: what they are called, which of their ids are renewed, and who probes and plans them.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Blocks, Format, Found, Id, Patch, Trouble};
use super::{bcache, btrfs, exfat, ext, f2fs, fat, gpt, luks, lvm, mbr, md, ntfs, swap, xfs};
use crate::plan::derive::Seed;

impl Format {
    /// Every format that is probed for.
    pub const ALL: [Format; 14] = [
        Format::Ext,
        Format::Xfs,
        Format::Btrfs,
        Format::Swap,
        Format::Fat,
        Format::Exfat,
        Format::Ntfs,
        Format::F2fs,
        Format::Luks,
        Format::Lvm,
        Format::Md,
        Format::Bcache,
        Format::Gpt,
        Format::Mbr,
    ];

    /// Is it a partition table?
    pub fn is_table(self) -> bool {
        matches!(self, Format::Gpt | Format::Mbr)
    }

    /// Is this id given anew? Others, as XFS's `meta-uuid`, are only shown.
    pub fn renews(self, id: &Id) -> bool {
        match self {
            Format::Gpt | Format::Lvm => true,
            Format::Md => matches!(id.name.as_str(), "uuid" | "uuid-sub"),
            _ => matches!(id.name.as_str(), "uuid" | "serial" | "disk-id"),
        }
    }

    /// Is this id the same on all devices of a [`Group`](super::Group)? The others are each device's own.
    pub fn shares(self, id: &Id) -> bool {
        match self {
            Format::Btrfs | Format::Md => id.name == "uuid",
            Format::Lvm => id.name != "uuid",
            _ => false,
        }
    }

    /// A new value for an id, derived from the seed, as blkid(8) would write it.
    pub fn fresh(self, seed: &Seed, token: &str) -> String {
        let bytes = seed.derive(token);
        let number =
            |length: usize| bytes[..length].iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte)).max(1);
        match self {
            Format::Fat | Format::Exfat => format!("{:04X}-{:04X}", number(4) >> 16, number(4) & 0xffff),
            Format::Ntfs => format!("{:016X}", number(8)),
            Format::Mbr => format!("{:08x}", number(4)),
            Format::Lvm => lvm_id(&bytes),
            _ => seed.uuid(token).to_string(),
        }
    }
}

/// 32 letters and digits in groups, as LVM2 writes its ids (lib/uuid/uuid.c).
fn lvm_id(bytes: &[u8; 32]) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let digits: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % 62])).collect();
    let cuts = [0, 6, 10, 14, 18, 22, 26, 32];
    cuts.windows(2).map(|cut| &digits[cut[0]..cut[1]]).collect::<Vec<_>>().join("-")
}

/// The ids of a volume group, by their names in [`Found::ids`]; none when two devices shall have other ones.
fn lvm_ids(ids: &[Vec<Id>]) -> Option<lvm::Ids> {
    let bare = |id: &Id| id.value.replace('-', "");
    let physical_volumes = ids.iter().map(|ids| Some(value(ids, "uuid")?.replace('-', ""))).collect::<Option<_>>()?;
    let (mut volume_group, mut logical_volumes) = (None, BTreeMap::new());
    for id in ids.iter().flatten().filter(|id| id.name != "uuid") {
        let earlier = match id.name.strip_prefix("lv-uuid-") {
            Some(name) => logical_volumes.insert(name.to_owned(), bare(id)),
            None => volume_group.replace(bare(id)),
        };
        if earlier.is_some_and(|earlier| earlier != bare(id)) {
            return None;
        }
    }
    Some(lvm::Ids { physical_volumes, volume_group, logical_volumes })
}

/// What of this format stands on the device.
///
/// # Errors
/// When it cannot be read, or its signature is there and it is not sound.
pub fn probe(blocks: &(impl Blocks + ?Sized), format: Format) -> Result<Option<Found>, Trouble> {
    match format {
        Format::Ext => ext::probe(blocks),
        Format::Xfs => xfs::probe(blocks),
        Format::Btrfs => btrfs::probe(blocks),
        Format::Swap => swap::probe(blocks),
        Format::Fat => fat::probe(blocks),
        Format::Exfat => exfat::probe(blocks),
        Format::Ntfs => ntfs::probe(blocks),
        Format::Luks => luks::probe(blocks),
        Format::Gpt => gpt::probe(blocks),
        Format::Mbr => mbr::probe(blocks),
        Format::F2fs => f2fs::probe(blocks),
        Format::Lvm => lvm::probe(blocks),
        Format::Md => md::probe(blocks),
        Format::Bcache => bcache::probe(blocks),
    }
}

/// The writes that give the device these ids.
///
/// # Errors
/// [`Trouble`]; also for an id that the format does not have, or a value that it cannot take, and when the device is one
/// of several that are changed together.
pub fn plan(blocks: &(impl Blocks + ?Sized), format: Format, ids: &[Id]) -> Result<Patch, Trouble> {
    let mut patches = plan_all(&[blocks], format, &[ids.to_vec()])?;
    Ok(patches.pop().unwrap_or_default())
}

/// The writes that give the devices of one [`Group`](super::Group) these ids, for each device in the order given.
///
/// `ids` are the new ones of each device, of the names in [`Found::ids`] that are [renewed](Format::renews); those that
/// devices [share](Format::shares) are the same in each. A cut between the writes of two devices leaves old and new
/// beside each other, which most formats do not open: planned again with the same ids, and carried out, it is whole.
///
/// # Errors
/// As [`plan`], and when a device is missing, is there twice, or is of another group; and for several devices of a format
/// that stands alone.
pub fn plan_all<B: Blocks + ?Sized>(all: &[&B], format: Format, ids: &[Vec<Id>]) -> Result<Vec<Patch>, Trouble> {
    let bad = || Trouble::Refused(format!("{} cannot take the ids {ids:?}", format.name()));
    if all.len() != ids.len() || all.is_empty() {
        return Err(bad());
    }
    let shared = |name: &str| {
        let mut values = ids.iter().map(|ids| value(ids, name).and_then(|text| Uuid::parse_str(text).ok()));
        let first = values.next().flatten().ok_or_else(bad)?;
        if values.all(|value| value == Some(first)) { Ok(first) } else { Err(bad()) }
    };
    match format {
        Format::Btrfs if ids.iter().all(|ids| ids.len() == 1) => btrfs::plan_all(all, shared("uuid")?),
        Format::Md => {
            // Version 0.90 has none of them.
            let members = ids.iter().filter_map(|ids| value(ids, "uuid-sub"));
            let members = members.map(Uuid::parse_str).collect::<Result<Vec<_>, _>>().map_err(|_| bad())?;
            md::plan_all(all, shared("uuid")?, &members)
        }
        Format::Lvm => lvm::plan_all(all, &lvm_ids(ids).ok_or_else(bad)?),
        // The one write that sets the UUID can switch the checksum seed on, so that no checksum has to be made anew.
        Format::Ext if all.len() == 2 => {
            // The journal's own stays, so there is one new id.
            let [id] = &ids.concat()[..] else { return Err(bad()) };
            let uuid = Uuid::parse_str(&id.value).map_err(|_| bad())?;
            let [first, second] = all else { return Err(bad()) };
            Ok(ext::plan_both([*first, *second], uuid, ext::Seed::MayEnable)?.into())
        }
        _ => match (all, ids) {
            ([blocks], [ids]) => Ok(vec![plan_one(*blocks, format, ids)?]),
            _ => Err(Trouble::Refused(format!("{} has one device", format.name()))),
        },
    }
}

fn value<'a>(ids: &'a [Id], name: &str) -> Option<&'a str> {
    ids.iter().find(|id| id.name == name).map(|id| id.value.as_str())
}

fn plan_one(blocks: &(impl Blocks + ?Sized), format: Format, ids: &[Id]) -> Result<Patch, Trouble> {
    let bad = || Trouble::Refused(format!("{} cannot take the ids {ids:?}", format.name()));
    let only = || if let [id] = ids { Ok(id.value.as_str()) } else { Err(bad()) };
    let uuid = |text: &str| Uuid::parse_str(text).map_err(|_| bad());
    let number = |text: &str| u64::from_str_radix(&text.replace('-', ""), 16).map_err(|_| bad());
    let short = |text: &str| u32::try_from(number(text)?).map_err(|_| bad());
    match format {
        Format::Ext => ext::plan(blocks, uuid(only()?)?, ext::Seed::MayEnable),
        Format::Xfs => xfs::plan(blocks, uuid(only()?)?),
        Format::Swap => swap::plan(blocks, uuid(only()?)?),
        Format::Luks => luks::plan(blocks, uuid(only()?)?),
        Format::Fat => fat::plan(blocks, short(only()?)?),
        Format::Exfat => exfat::plan(blocks, short(only()?)?),
        Format::Ntfs => ntfs::plan(blocks, number(only()?)?),
        Format::Mbr => mbr::plan(blocks, short(only()?)?),
        Format::Gpt => {
            let (mut disk, mut partitions) = (None, BTreeMap::new());
            for id in ids {
                match id.name.strip_prefix("partition-").map(str::parse) {
                    Some(Ok(place)) => {
                        partitions.insert(place, uuid(&id.value)?);
                    }
                    _ => disk = Some(uuid(&id.value)?),
                }
            }
            gpt::plan(blocks, disk.ok_or_else(bad)?, &partitions)
        }
        Format::F2fs => f2fs::plan(blocks, uuid(only()?)?),
        Format::Bcache => bcache::plan(blocks, uuid(only()?)?),
        Format::Btrfs | Format::Md | Format::Lvm => Err(bad()),
    }
}
