// SPDX-License-Identifier: MIT OR Apache-2.0
//! F2FS: the UUID in both superblocks, where no checksum is seeded with it.
//!
//! Offsets are those of `struct f2fs_super_block` in the kernel's include/linux/f2fs_fs.h. With inode_checksum the UUID
//! is the seed of every inode's checksum (fs/f2fs/super.c, `f2fs_fill_super`: `s_chksum_seed`), so changing it takes
//! making the filesystem anew.

use uuid::Uuid;

use super::fields::{le16, le32, le64, patch, put, uuid, write};
use super::{Blocks, Format, Found, Id, Patch, Trouble, read};

const MAGIC: u32 = 0xf2f5_2010;
/// Where the superblock is in each of the first two blocks.
const START: u64 = 1024;
const LENGTH: usize = 3072;
const SECTOR: usize = 512;
const UUID: usize = 108;

const FEATURE_ENCRYPT: u32 = 0x1;
const FEATURE_INODE_CHECKSUM: u32 = 0x20;
const FEATURE_SB_CHECKSUM: u32 = 0x800;
/// Up to `F2FS_FEATURE_RO`.
const FEATURES_KNOWN: u32 = 0x7fff;

/// What stands at the start of the device.
///
/// # Errors
/// [`Trouble::Damaged`] when a superblock is not sound, [`Trouble::Unreadable`] when it cannot be read.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    if blocks.size() < START + LENGTH as u64 || le32(&read(blocks, START, LENGTH)?, 0) != MAGIC {
        return Ok(None);
    }
    let [(_, first), _] = superblocks(blocks)?;
    let ids = vec![Id { name: "uuid".into(), value: uuid(&first, UUID).to_string() }];
    // The label is UTF-16 of up to 512 units.
    let units = (0..512).map(|unit| le16(&first, 124 + 2 * unit)).take_while(|unit| *unit != 0).collect::<Vec<_>>();
    let label = Some(String::from_utf16_lossy(&units)).filter(|label| !label.is_empty());
    let variant = format!("{}.{}", le16(&first, 4), le16(&first, 6));
    Ok(Some(Found { label, refusal: refusal(&first), ..Found::of(Format::F2fs, &variant, ids) }))
}

/// The writes that give the filesystem the UUID `new`; none when both superblocks have it.
///
/// # Errors
/// [`Trouble::Refused`] with checksums, with encryption, which may derive its vectors from the UUID, or with a feature
/// that is not known here; [`Trouble::Damaged`] and [`Trouble::Unreadable`] as [`probe`].
pub fn plan(blocks: &(impl Blocks + ?Sized), new: Uuid) -> Result<Patch, Trouble> {
    let superblocks = superblocks(blocks)?;
    if let Some(why) = superblocks.iter().find_map(|(_, superblock)| refusal(superblock)) {
        return Err(Trouble::Refused(why));
    }
    // The kernel takes the first that is sound, so that is the last to change.
    let renamed = |(offset, superblock): &(u64, Vec<u8>)| {
        let before = superblock.get(..SECTOR).unwrap_or_default();
        let mut after = before.to_vec();
        put(&mut after, UUID, new.as_bytes());
        vec![write(*offset, before, after)]
    };
    Ok(patch(superblocks.iter().rev().map(renamed)))
}

/// Both superblocks and where they are.
fn superblocks(blocks: &(impl Blocks + ?Sized)) -> Result<[(u64, Vec<u8>); 2], Trouble> {
    let damaged = |what: &str| Trouble::Damaged(format!("this F2FS is not sound, {what}: see fsck.f2fs(8)"));
    let first = read(blocks, START, LENGTH)?;
    let shift = le32(&first, 16);
    if le32(&first, 0) != MAGIC || !(12..=16).contains(&shift) {
        return Err(damaged("its superblock has no magic or no block size"));
    }
    let length = le64(&first, 36).checked_mul(1 << shift);
    if length.is_none_or(|length| length == 0 || length > blocks.size()) {
        return Err(damaged("it is longer than its device"));
    }
    let offset = (1 << shift) + START;
    let second = read(blocks, offset, LENGTH)?;
    // All that mkfs.f2fs lays out, and the features.
    if first.get(..UUID) != second.get(..UUID) || le32(&first, 2180) != le32(&second, 2180) {
        return Err(damaged("its superblocks differ"));
    }
    Ok([(START, first), (offset, second)])
}

fn refusal(superblock: &[u8]) -> Option<String> {
    let features = le32(superblock, 2180);
    if features & (FEATURE_INODE_CHECKSUM | FEATURE_SB_CHECKSUM) != 0 {
        return Some("this F2FS has checksums made with its UUID: only mkfs.f2fs -U gives it another".into());
    }
    if features & FEATURE_ENCRYPT != 0 {
        return Some("this F2FS is encrypted, and its files may be bound to its UUID".into());
    }
    (features & !FEATURES_KNOWN != 0).then(|| "this F2FS has features that are not known here".into())
}
