// SPDX-License-Identifier: MIT OR Apache-2.0
//! A journal on a device of its own: the filesystem that uses it, by its UUID.
//!
//! Offsets are those of `struct journal_superblock_s` in the kernel's include/linux/jbd2.h, whose numbers are big-endian.
//! It lies in the block behind the ext superblock that makes the device one, and its checksum, as that of every block of
//! the journal, begins with nothing of the filesystem's.

use uuid::Uuid;

use super::{Super, damaged};
use crate::disks::fields::be32;
use crate::disks::sector::{bytes, changed, put, read_within};
use crate::disks::{Blocks, Patch, Trouble, crc};

const MAGIC: u32 = 0xc03b_3998;
/// `JBD2_SUPERBLOCK_V2`.
const BLOCK_TYPE: u32 = 4;
const LENGTH: usize = 1024;
/// What holds the first user and the checksum.
const SECTOR: usize = 512;
const CHECKSUM: usize = 0xfc;
const USERS: usize = 0x100;
/// `JBD2_FEATURE_INCOMPAT_CSUM_V2` and `_V3`.
const FEATURES_CSUM: u32 = 0x8 | 0x10;
/// revoke, 64bit, async_commit, csum_v2, csum_v3, fast_commit.
const FEATURES_KNOWN: u32 = 0x3f;

pub(super) struct Journal {
    offset: u64,
    bytes: Vec<u8>,
}

impl Journal {
    /// The journal behind this superblock, if it is empty and of one filesystem.
    pub(super) fn of(blocks: &(impl Blocks + ?Sized), primary: &Super) -> Result<Journal, Trouble> {
        let refused = |why: &str| Err(Trouble::Refused(why.to_owned()));
        // `ext2fs_journal_sb_start` of libext2fs.
        let offset = primary.block_size() * if primary.block_size() == 1024 { 2 } else { 1 };
        let bytes = read_within(blocks, offset, LENGTH)?.ok_or_else(|| damaged("its journal is beyond the end"))?;
        let journal = Journal { offset, bytes };
        if be32(&journal.bytes, 0) != MAGIC || be32(&journal.bytes, 4) != BLOCK_TYPE {
            return Err(damaged("it has no journal"));
        }
        if be32(&journal.bytes, 0x28) & !FEATURES_KNOWN != 0 {
            return refused("this journal has features that are not known here: `tune2fs -U` on its filesystem");
        }
        if journal.has_checksum() && be32(&journal.bytes, CHECKSUM) != journal.checksum(&journal.bytes) {
            return Err(damaged("its journal has a wrong checksum"));
        }
        if be32(&journal.bytes, 0x1c) != 0 {
            return refused("this journal is not empty: mount and unmount its filesystem, or `e2fsck -p`, first");
        }
        if be32(&journal.bytes, 0x40) != 1 || journal.user().is_nil() {
            return refused("this journal is no filesystem's, or that of several");
        }
        Ok(journal)
    }

    /// The filesystem that uses it.
    pub(super) fn user(&self) -> Uuid {
        Uuid::from_bytes(bytes(&self.bytes, USERS))
    }

    /// The write that makes it the journal of the filesystem `uuid`.
    pub(super) fn renamed(&self, uuid: Uuid) -> Result<Patch, Trouble> {
        let mut after = self.bytes.clone();
        put(&mut after, USERS, uuid.as_bytes());
        if self.has_checksum() {
            let sum = self.checksum(&after);
            put(&mut after, CHECKSUM, &sum.to_be_bytes());
        }
        let mut patch = Patch::default();
        patch.then(changed(self.offset, &self.bytes, &after, SECTOR));
        Ok(patch)
    }

    fn has_checksum(&self) -> bool {
        be32(&self.bytes, 0x28) & FEATURES_CSUM != 0
    }

    /// `jbd2_superblock_csum`: over all of it, its own field as zeros.
    fn checksum(&self, superblock: &[u8]) -> u32 {
        let mut zeroed = superblock.to_vec();
        put(&mut zeroed, CHECKSUM, &[0; 4]);
        crc::crc32c_raw(!0, &zeroed)
    }
}
