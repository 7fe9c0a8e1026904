// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a filesystem is sound, not in use, and such that one write of the superblock is all its new UUID takes.

use super::features::{compat, incompat, ro_compat};
use super::{INCOMPAT, Super, damaged};
use crate::disks::sector::{le16, le32, le64, read_within};
use crate::disks::{Blocks, Trouble};

/// `s_state`: unmounted cleanly; errors found.
const VALID: u16 = 1;
const ERRORS: u16 = 2;

/// Refuses what is damaged, in use, or not to be changed by one write of the superblock.
pub(super) fn check(blocks: &(impl Blocks + ?Sized), primary: &Super) -> Result<(), Trouble> {
    let refused = |why: &str| Err(Trouble::Refused(why.to_owned()));
    if le32(&primary.0, 0x4c) != 1 {
        return refused("it is of the first revision, without a UUID, or of one that is not known here");
    }
    if le32(&primary.0, INCOMPAT) & !incompat::KNOWN != 0 || le32(&primary.0, 0x64) & !ro_compat::KNOWN != 0 {
        return refused("it has features that are not known here");
    }
    geometry(blocks, primary)?;
    if primary.compat(compat::JOURNAL) && le32(&primary.0, 0xe0) == 0 && primary.external_journal().is_none() {
        return refused("its journal is on no device that it names: `e2fsck -f` first");
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
