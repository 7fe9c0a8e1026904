// SPDX-License-Identifier: MIT OR Apache-2.0
//! ext2, ext3 and ext4: the UUID in every superblock, one write each, and the checksum seed that makes that enough.
//!
//! Offsets are those of `struct ext4_super_block` in the kernel's fs/ext4/ext4.h. A superblock is one write of
//! 1024 bytes, two sectors: like the kernel, which writes it whole at every commit, this takes it that such a write
//! reaches the medium whole or not at all (it lies in one page, and in one sector of a 4K medium). Were it torn, the
//! backups, each consistent in itself, are what e2fsck goes on from.
//!
//! The backups come first and the primary last: what everybody reads is then the new id only when all is done, and
//! whoever finds it there may rightly skip the device. With `metadata_csum` every checksum in the filesystem begins
//! with the UUID, or with a seed in the superblock once `metadata_csum_seed` is on; that seed is made from the UUID
//! that the primary had, so old and new superblocks agree on every checksum there is.

mod check;
mod external;
mod features;

use std::collections::BTreeSet;

use uuid::Uuid;

use super::sector::{byte, bytes, changed, le16, le32, put, read_within, text};
use super::{Blocks, Format, Found, Group, Id, Patch, Trouble, crc};
use check::check;
use external::Journal;
use features::{compat, incompat, ro_compat};

/// The superblock's place and length in bytes.
const AT: u64 = 1024;
const LENGTH: usize = 1024;
const MAGIC: u16 = 0xef53;

const UUID: usize = 0x68;
const INCOMPAT: usize = 0x60;
const SEED: usize = 0x270;
const CHECKSUM: usize = 0x3fc;

/// May `metadata_csum_seed` be switched on, where the UUID could not be changed in one write without it?
///
/// GRUB up to 2.06 does not read a filesystem that has it (fixed in its commit 7fd5feff97c4), so on the one that
/// holds /boot that is for the caller to find out. Linux reads it since 4.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// It may.
    MayEnable,
    /// Then a filesystem that would need it is refused.
    MustNot,
}

/// A superblock as read, whose checksum, if it has one, is right.
struct Super(Vec<u8>);

impl Super {
    /// None where there is no superblock, or one with a wrong checksum.
    fn sound(sector: Vec<u8>) -> Option<Self> {
        let found = Self(sector);
        let sum = crc::crc32c_raw(!0, found.0.get(..CHECKSUM)?);
        let sound = !found.has_csum() || (byte(&found.0, 0x175) == 1 && le32(&found.0, CHECKSUM) == sum);
        (le16(&found.0, 0x38) == MAGIC && sound).then_some(found)
    }

    fn compat(&self, bits: u32) -> bool {
        le32(&self.0, 0x5c) & bits != 0
    }
    fn incompat(&self, bits: u32) -> bool {
        le32(&self.0, INCOMPAT) & bits != 0
    }
    fn ro_compat(&self, bits: u32) -> bool {
        le32(&self.0, 0x64) & bits != 0
    }
    fn has_csum(&self) -> bool {
        self.ro_compat(ro_compat::METADATA_CSUM)
    }
    fn uuid(&self) -> Uuid {
        Uuid::from_bytes(bytes(&self.0, UUID))
    }
    /// The UUID of the device that its journal is on, if that is another.
    fn external_journal(&self) -> Option<Uuid> {
        let uuid = Uuid::from_bytes(bytes(&self.0, 0xd0));
        (self.compat(compat::JOURNAL) && !uuid.is_nil()).then_some(uuid)
    }
    fn block_size(&self) -> u64 {
        1024 << le32(&self.0, 0x18).min(6)
    }
    fn first_block(&self) -> u64 {
        le32(&self.0, 0x14).into()
    }
    fn group_blocks(&self) -> u64 {
        le32(&self.0, 0x20).into()
    }
    fn blocks(&self) -> u64 {
        let high = if self.incompat(incompat::IS_64BIT) { le32(&self.0, 0x150) } else { 0 };
        u64::from(high) << 32 | u64::from(le32(&self.0, 0x4))
    }

    /// What the filesystem's checksums begin with (`s_csum_seed` in fs/ext4/super.c).
    fn seed(&self) -> u32 {
        if self.incompat(incompat::CSUM_SEED) {
            le32(&self.0, SEED)
        } else {
            crc::crc32c_raw(!0, &bytes::<16>(&self.0, UUID))
        }
    }

    /// This superblock under another UUID, with a seed if it shall have one.
    fn renamed(&self, uuid: Uuid, seed: Option<u32>) -> Vec<u8> {
        let mut sector = self.0.clone();
        put(&mut sector, UUID, uuid.as_bytes());
        if let Some(seed) = seed {
            put(&mut sector, INCOMPAT, &(le32(&self.0, INCOMPAT) | incompat::CSUM_SEED).to_le_bytes());
            put(&mut sector, SEED, &seed.to_le_bytes());
        }
        if self.has_csum() {
            let sum = crc::crc32c_raw(!0, &sector[..CHECKSUM]);
            put(&mut sector, CHECKSUM, &sum.to_le_bytes());
        }
        sector
    }

    /// The name that blkid(8) has for it.
    fn variant(&self) -> &'static str {
        let new = le32(&self.0, INCOMPAT) & !incompat::OLD != 0 || le32(&self.0, 0x64) & !ro_compat::OLD != 0;
        match (self.incompat(incompat::JOURNAL_DEV), new, self.compat(compat::JOURNAL)) {
            (true, ..) => "jbd",
            (_, true, _) => "ext4",
            (_, _, true) => "ext3",
            _ => "ext2",
        }
    }
}

/// What ext2, ext3, ext4 or external journal stands on this device. A journal's own UUID stays, and is the key of the
/// group of both.
///
/// # Errors
/// When the device cannot be read, or its superblock is not sound.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    let Some(primary) = primary(blocks)? else { return Ok(None) };
    let is_journal = primary.incompat(incompat::JOURNAL_DEV);
    let changeable = if is_journal { Journal::of(blocks, &primary).map(|_| ()) } else { check(blocks, &primary) };
    let refusal = match changeable {
        Ok(()) => None,
        Err(Trouble::Refused(why)) => Some(why),
        Err(trouble) => return Err(trouble),
    };
    let name = if is_journal { "journal-uuid" } else { "uuid" };
    let id = Id { name: name.into(), value: primary.uuid().to_string() };
    let journal = if is_journal { Some(primary.uuid()) } else { primary.external_journal() };
    Ok(Some(Found {
        label: text(&bytes::<16>(&primary.0, 0x78)),
        refusal,
        group: journal.map(|uuid| Group { key: uuid.to_string(), members: 2 }),
        ..Found::of(Format::Ext, primary.variant(), vec![id])
    }))
}

/// The writes that give the filesystem, which is not mounted, the UUID `uuid`.
///
/// A backup superblock that is not sound, or is not this filesystem's, stays as it is: Linux before 6.2 left backups
/// with wrong checksums whenever a mounted filesystem was grown (its commit a408f33e895e), as every cloud image is.
///
/// # Errors
/// When the device cannot be read, when its superblock is not sound, when it was not unmounted cleanly, and when one
/// write would not do: `uninit_bg` without `metadata_csum`, an external journal, `stable_inodes`, or a checksum seed
/// that is needed and `seed` forbids.
pub fn plan(blocks: &(impl Blocks + ?Sized), uuid: Uuid, seed: Seed) -> Result<Patch, Trouble> {
    let primary = primary(blocks)?.ok_or_else(nothing)?;
    if primary.incompat(incompat::JOURNAL_DEV) || primary.external_journal().is_some() {
        return Err(Trouble::Refused(
            "the filesystem and its journal are on two devices, and the journal names the filesystem by its UUID: both \
             are needed"
                .into(),
        ));
    }
    planned(blocks, &primary, uuid, seed)
}

/// The writes that give a filesystem and its external journal, in either order, the UUID `uuid`: the filesystem's own, and
/// the journal's list of who uses it. The journal's UUID stays.
///
/// A cut between the two leaves a journal that names a UUID which nobody has: the kernel mounts the filesystem all the
/// same, and e2fsck(8) finds nothing wrong. Planned again, and carried out, the two agree.
///
/// # Errors
/// As [`plan`]; also for a journal that is not empty, or of several filesystems, and when the two do not belong together.
pub fn plan_both(all: [&(impl Blocks + ?Sized); 2], uuid: Uuid, seed: Seed) -> Result<[Patch; 2], Trouble> {
    let [first, second] = all;
    let primaries = [primary(first)?.ok_or_else(nothing)?, primary(second)?.ok_or_else(nothing)?];
    let [is_first, is_second] = primaries.each_ref().map(|primary| primary.incompat(incompat::JOURNAL_DEV));
    let [one, two] = &primaries;
    let (files, of_files, log, of_log) = match (is_first, is_second) {
        (false, true) => (first, one, second, two),
        (true, false) => (second, two, first, one),
        _ => return Err(Trouble::Refused("these are not a filesystem and its journal".into())),
    };
    let journal = Journal::of(log, of_log)?;
    // Once the filesystem has its new UUID, only the journal still knows the old one.
    let is_its = of_files.uuid() == uuid || [of_files.uuid(), uuid].contains(&journal.user());
    if of_files.external_journal() != Some(of_log.uuid()) || !is_its {
        return Err(Trouble::Refused("this journal is another filesystem's".into()));
    }
    let patches = [planned(files, of_files, uuid, seed)?, journal.renamed(uuid)?];
    Ok(if is_first {
        let [files, log] = patches;
        [log, files]
    } else {
        patches
    })
}

/// Must a checksum seed be switched on before the UUID can change?
///
/// # Errors
/// When the device cannot be read, or its superblock is not sound.
pub fn needs_seed(blocks: &(impl Blocks + ?Sized)) -> Result<bool, Trouble> {
    let primary = primary(blocks)?.ok_or_else(nothing)?;
    Ok(primary.has_csum() && !primary.incompat(incompat::CSUM_SEED))
}

/// The writes that switch the checksum seed on, under the same UUID, whether it is mounted or not: what the checksums begin
/// with stays the same number.
///
/// # Errors
/// When the device cannot be read, when its superblock is not sound, or has no checksums.
pub fn plan_seed(blocks: &(impl Blocks + ?Sized)) -> Result<Patch, Trouble> {
    let primary = primary(blocks)?.ok_or_else(nothing)?;
    if !primary.has_csum() {
        return Err(Trouble::Refused("it has no metadata_csum".into()));
    }
    written_everywhere(blocks, &primary, primary.uuid(), Some(primary.seed()))
}

fn nothing() -> Trouble {
    Trouble::Damaged("there is no ext superblock".into())
}

fn planned(blocks: &(impl Blocks + ?Sized), primary: &Super, uuid: Uuid, seed: Seed) -> Result<Patch, Trouble> {
    check(blocks, primary)?;
    if uuid.is_nil() {
        return Err(Trouble::Refused("a nil UUID is none".into()));
    }
    let seeded = primary.incompat(incompat::CSUM_SEED);
    let needs_seed = primary.has_csum() && !seeded && primary.uuid() != uuid;
    if needs_seed && seed == Seed::MustNot {
        return Err(Trouble::Refused(
            "its checksums begin with the UUID, and metadata_csum_seed, which would part the two, may not be switched \
             on: `tune2fs -O metadata_csum_seed` does it where the boot loader can read that"
                .into(),
        ));
    }
    let wanted = (seeded || needs_seed).then(|| primary.seed());

    written_everywhere(blocks, primary, uuid, wanted)
}

/// The writes that put this UUID and this seed into every superblock, the primary last.
fn written_everywhere(
    blocks: &(impl Blocks + ?Sized),
    primary: &Super,
    uuid: Uuid,
    wanted: Option<u32>,
) -> Result<Patch, Trouble> {
    let mut backups = Vec::new();
    for (group, offset) in backup_places(primary)? {
        let Some(sector) = read_within(blocks, offset, LENGTH)? else { continue };
        let Some(backup) = Super::sound(sector) else { continue };
        if belongs(&backup, primary, group) {
            let wanted = wanted.filter(|_| backup.has_csum());
            backups.extend(changed(offset, &backup.0, &backup.renamed(uuid, wanted), LENGTH));
        }
    }
    let mut patch = Patch::default();
    patch.then(backups);
    patch.then(changed(AT, &primary.0, &primary.renamed(uuid, wanted), LENGTH));
    Ok(patch)
}

fn damaged(why: &str) -> Trouble {
    Trouble::Damaged(format!("the ext superblock is damaged: {why}"))
}

/// The primary superblock, none where there is no such filesystem.
fn primary(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Super>, Trouble> {
    let Some(sector) = read_within(blocks, AT, LENGTH)? else { return Ok(None) };
    if le16(&sector, 0x38) != MAGIC {
        return Ok(None);
    }
    Super::sound(sector).map(Some).ok_or_else(|| damaged("its checksum is wrong"))
}

/// Group and byte offset of every backup superblock, as `ext2fs_bg_has_super` has it.
fn backup_places(primary: &Super) -> Result<Vec<(u64, u64)>, Trouble> {
    /// 8 TiB in groups of 128 MiB, were there a backup in each.
    const MOST: usize = 1 << 16;
    let groups = (primary.blocks() - primary.first_block()).div_ceil(primary.group_blocks());
    let chosen: Vec<u64> = if primary.compat(compat::SPARSE_SUPER2) {
        // Both may name one group; it is written once.
        let named: BTreeSet<u64> = [0x24c, 0x250].map(|at| le32(&primary.0, at).into()).into();
        named.into_iter().filter(|group| *group != 0).collect()
    } else if primary.ro_compat(ro_compat::SPARSE_SUPER) {
        let powers = |base: u64| std::iter::successors(Some(base), move |power| power.checked_mul(base));
        let powers = [3, 5, 7].into_iter().flat_map(|base| powers(base).take_while(|group| *group < groups));
        std::iter::once(1).chain(powers).collect()
    } else {
        (1..groups).take(MOST + 1).collect()
    };
    if chosen.len() > MOST {
        return Err(Trouble::Refused("it has more backup superblocks than are written in one go".into()));
    }
    let place = |group: u64| (primary.first_block() + group * primary.group_blocks()) * primary.block_size();
    Ok(chosen.into_iter().filter(|group| *group < groups).map(|group| (group, place(group))).collect())
}

/// Is this superblock, found at the start of `group`, the backup of that one? It may have any UUID: an older one that
/// a change left behind, too.
fn belongs(backup: &Super, primary: &Super, group: u64) -> bool {
    let shape = |found: &Super| {
        let fields = [0x14, 0x18, 0x1c, 0x20, 0x28, 0x4c].map(|at| le32(&found.0, at));
        (fields, le16(&found.0, 0x58), found.has_csum())
    };
    let seeds_agree = !backup.has_csum() || !backup.incompat(incompat::CSUM_SEED) || backup.seed() == primary.seed();
    shape(backup) == shape(primary) && u64::from(le16(&backup.0, 0x5a)) == group & 0xffff && seeds_agree
}
