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

use std::collections::BTreeSet;

use uuid::Uuid;

use super::sector::{byte, bytes, changed, le16, le32, le64, put, read_within, text};
use super::{Blocks, Format, Found, Id, Patch, Trouble, crc};

/// The superblock's place and length in bytes.
const AT: u64 = 1024;
const LENGTH: usize = 1024;
const MAGIC: u16 = 0xef53;

const UUID: usize = 0x68;
const INCOMPAT: usize = 0x60;
const SEED: usize = 0x270;
const CHECKSUM: usize = 0x3fc;

/// `s_state`: unmounted cleanly; errors found.
const VALID: u16 = 1;
const ERRORS: u16 = 2;

mod compat {
    pub const JOURNAL: u32 = 0x4;
    pub const SPARSE_SUPER2: u32 = 0x200;
    pub const STABLE_INODES: u32 = 0x800;
}

mod incompat {
    pub const RECOVER: u32 = 0x4;
    pub const JOURNAL_DEV: u32 = 0x8;
    pub const MMP: u32 = 0x100;
    pub const EA_INODE: u32 = 0x400;
    pub const CSUM_SEED: u32 = 0x2000;
    pub const IS_64BIT: u32 = 0x80;
    /// filetype, recover, journal_dev, meta_bg, extent, 64bit, mmp, flex_bg, ea_inode, metadata_csum_seed, large_dir,
    /// inline_data, encrypt, casefold. What is missing was never in Linux (compression) or is Lustre's (dirdata).
    pub const KNOWN: u32 = 0x3e7de;
    /// What ext2 and ext3 may have: filetype, recover, meta_bg.
    pub const OLD: u32 = 0x16;
}

mod ro_compat {
    pub const SPARSE_SUPER: u32 = 0x1;
    pub const GDT_CSUM: u32 = 0x10;
    pub const BIGALLOC: u32 = 0x200;
    pub const METADATA_CSUM: u32 = 0x400;
    pub const ORPHANS: u32 = 0x10000;
    /// sparse_super, large_file, btree_dir, huge_file, uninit_bg, dir_nlink, extra_isize, quota, bigalloc,
    /// metadata_csum, read-only, project, verity, orphan_present.
    pub const KNOWN: u32 = 0x1b77f;
    /// What ext2 and ext3 may have: sparse_super, large_file, btree_dir.
    pub const OLD: u32 = 0x7;
}

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

/// What ext2, ext3, ext4 or external journal stands on this device.
///
/// # Errors
/// When the device cannot be read, or its superblock is not sound.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    let Some(primary) = primary(blocks)? else { return Ok(None) };
    let refusal = match check(blocks, &primary) {
        Ok(()) => None,
        Err(Trouble::Refused(why)) => Some(why),
        Err(trouble) => return Err(trouble),
    };
    let id = Id { name: "uuid".into(), value: primary.uuid().to_string() };
    Ok(Some(Found {
        label: text(&bytes::<16>(&primary.0, 0x78)),
        refusal,
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
    let primary = primary(blocks)?.ok_or_else(|| Trouble::Damaged("there is no ext superblock".into()))?;
    check(blocks, &primary)?;
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

    let mut backups = Vec::new();
    for (group, offset) in backup_places(&primary)? {
        let Some(sector) = read_within(blocks, offset, LENGTH)? else { continue };
        let Some(backup) = Super::sound(sector) else { continue };
        if belongs(&backup, &primary, group) {
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

/// Refuses what is damaged, in use, or not to be changed by one write of the superblock.
fn check(blocks: &(impl Blocks + ?Sized), primary: &Super) -> Result<(), Trouble> {
    let refused = |why: &str| Err(Trouble::Refused(why.to_owned()));
    if le32(&primary.0, 0x4c) != 1 {
        return refused("it is of the first revision, without a UUID, or of one that is not known here");
    }
    if le32(&primary.0, INCOMPAT) & !incompat::KNOWN != 0 || le32(&primary.0, 0x64) & !ro_compat::KNOWN != 0 {
        return refused("it has features that are not known here");
    }
    if primary.incompat(incompat::JOURNAL_DEV) {
        return refused(
            "it is the external journal of another filesystem, which names it by this UUID: both change together by \
             `tune2fs -U` on that filesystem",
        );
    }
    geometry(blocks, primary)?;
    if primary.compat(compat::JOURNAL) && (le32(&primary.0, 0xe0) == 0 || bytes::<16>(&primary.0, 0xd0) != [0; 16]) {
        return refused("its journal is on another device, which names it by its UUID: `tune2fs -U` changes both");
    }
    if primary.compat(compat::STABLE_INODES) {
        return refused("stable_inodes is on: its encrypted files could not be read under another UUID");
    }
    let state = le16(&primary.0, 0x3a);
    if state & ERRORS != 0 {
        return refused("errors were found in it: `e2fsck -f` first");
    }
    if state & VALID == 0 || primary.incompat(incompat::RECOVER) || primary.ro_compat(ro_compat::ORPHANS) {
        return refused("it is mounted, or was not unmounted cleanly: mount and unmount it, or `e2fsck -p`, first");
    }
    if primary.incompat(incompat::MMP) && !multi_mount_clean(blocks, primary)? {
        return refused("its multi-mount protection says that it is in use, maybe by another machine");
    }
    if primary.has_csum() {
        return Ok(());
    }
    if primary.ro_compat(ro_compat::GDT_CSUM) {
        return refused(
            "the checksums of its group descriptors begin with the UUID (uninit_bg), so every one of them would \
             change with it, and a cut in between is no filesystem: `tune2fs -U` with it unmounted, or \
             `tune2fs -O metadata_csum` and then this",
        );
    }
    if primary.incompat(incompat::EA_INODE | incompat::CSUM_SEED) {
        return refused("it has ea_inode or metadata_csum_seed without metadata_csum: `tune2fs -U` with it unmounted");
    }
    Ok(())
}

/// Sizes that can be, and that fit the device.
fn geometry(blocks: &(impl Blocks + ?Sized), primary: &Super) -> Result<(), Trouble> {
    let log = le32(&primary.0, 0x18);
    let bits = 8 * primary.block_size();
    let bigalloc = primary.ro_compat(ro_compat::BIGALLOC);
    let cluster = le32(&primary.0, 0x1c).saturating_sub(log);
    let most = if bigalloc && cluster < 16 { bits << cluster } else { bits };
    let first = u64::from(log == 0 && !bigalloc);
    // The bounds are those of `ext4_block_group_meta_init` and `ext4_geometry_check`, the lower one that of mke2fs(8).
    if log > 6 || !(256..=most).contains(&primary.group_blocks()) || primary.first_block() != first {
        return Err(damaged("its block size and groups cannot be"));
    }
    let size = primary.blocks().checked_mul(primary.block_size());
    if primary.blocks() <= first || size.is_none_or(|size| size > blocks.size()) {
        return Err(damaged("it is larger than the device"));
    }
    Ok(())
}

/// Has the last user of a filesystem with multi-mount protection left it cleanly?
fn multi_mount_clean(blocks: &(impl Blocks + ?Sized), primary: &Super) -> Result<bool, Trouble> {
    // struct mmp_struct: s_mmp_magic, then s_mmp_seq, EXT4_MMP_SEQ_CLEAN when nobody has it.
    const MMP_MAGIC: u32 = 0x004d_4d50;
    const CLEAN: u32 = 0xff4d_4d50;
    let offset = le64(&primary.0, 0x168).checked_mul(primary.block_size());
    let block = match offset {
        Some(offset) => read_within(blocks, offset, 512)?,
        None => None,
    };
    let block = block.ok_or_else(|| damaged("its multi-mount block is beyond the end"))?;
    Ok(le32(&block, 0) == MMP_MAGIC && le32(&block, 4) == CLEAN)
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
