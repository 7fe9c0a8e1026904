// SPDX-License-Identifier: MIT OR Apache-2.0
//! bcache: the UUID of a backing or a cache device, in the one superblock that it has.
//!
//! Offsets are those of `struct cache_sb_disk` in the kernel's include/uapi/linux/bcache.h, rules those of `read_super`
//! and `bch_cached_dev_attach` in drivers/md/bcache/super.c. A cache set keeps the UUIDs of the backing devices that it
//! caches: one whose UUID it does not know gets a new place in it, which is a cold cache and no harm, as long as the set
//! holds nothing that is not on the backing device yet. The UUID of the set itself stays: the first half of it is in
//! every journal entry, every node of its tree and all of its priorities, as their magic number (`jset_magic`,
//! `bset_magic`, `pset_magic`).

use uuid::Uuid;

use super::fields::{array, le16, le64, patch, put, text, uuid, write};
use super::{Blocks, Format, Found, Id, Patch, Trouble, crc, read};

const AT: u64 = 4096;
const LENGTH: usize = 4096;
const SECTOR: usize = 512;
const MAGIC: [u8; 16] =
    [0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81];
const UUID: usize = 40;
const SET_UUID: usize = 56;
/// `SB_JOURNAL_BUCKETS`, numbers of 64 bits behind the fields.
const KEYS_MAX: u16 = 256;
const KEYS: usize = 208;

/// What stands on the device.
///
/// # Errors
/// [`Trouble::Damaged`] when the superblock is not sound, [`Trouble::Unreadable`] when it cannot be read.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    let Some(superblock) = Superblock::find(blocks)? else { return Ok(None) };
    let refusal = match superblock.changeable() {
        Ok(()) => None,
        Err(Trouble::Refused(why)) => Some(why),
        Err(trouble) => return Err(trouble),
    };
    let bytes = &superblock.0;
    let mut ids = vec![Id { name: "uuid".into(), value: uuid(bytes, UUID).to_string() }];
    if superblock.is_cache() || superblock.state() != State::Detached {
        ids.push(Id { name: "set-uuid".into(), value: uuid(bytes, SET_UUID).to_string() });
    }
    let variant = if superblock.is_cache() { "bcache cache" } else { "bcache backing" };
    let label = Some(text(bytes, 72, 32)).filter(|label| !label.is_empty());
    Ok(Some(Found { label, refusal, ..Found::of(Format::Bcache, variant, ids) }))
}

/// The write that gives the device, which is not registered with the kernel, the UUID `new`; none when it has it.
///
/// # Errors
/// [`Trouble::Refused`] for a backing device whose cache holds what is not on it yet, and for a version that is not
/// known here; [`Trouble::Damaged`] and [`Trouble::Unreadable`] as [`probe`], also when there is no superblock.
pub fn plan(blocks: &(impl Blocks + ?Sized), new: Uuid) -> Result<Patch, Trouble> {
    let superblock = Superblock::find(blocks)?.ok_or_else(|| damaged("it has no superblock"))?;
    superblock.changeable()?;
    if new.is_nil() {
        return Err(Trouble::Refused("a nil UUID is none".into()));
    }
    let mut after = superblock.0.clone();
    put(&mut after, UUID, new.as_bytes());
    let sum = checksum(&after);
    put(&mut after, 0, &sum.to_le_bytes());
    let (Some(before), Some(after)) = (superblock.0.get(..SECTOR), after.get(..SECTOR)) else {
        return Err(damaged("its superblock is short"));
    };
    Ok(patch([vec![write(AT, before, after.to_vec())]]))
}

struct Superblock(Vec<u8>);

/// `BDEV_STATE`.
#[derive(PartialEq, Eq)]
enum State {
    Detached,
    Attached,
    Dirty,
}

impl Superblock {
    fn find(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Superblock>, Trouble> {
        if blocks.size() < AT + LENGTH as u64 {
            return Ok(None);
        }
        let superblock = Superblock(read(blocks, AT, LENGTH)?);
        let bytes = &superblock.0;
        if array::<16>(bytes, 24) != MAGIC {
            return Ok(None);
        }
        // The superblock says its own sector.
        if le64(bytes, 8).checked_mul(512) != Some(AT) || superblock.keys() > KEYS_MAX {
            return Err(damaged("its superblock is of another place"));
        }
        if le64(bytes, 0) != checksum(bytes) {
            return Err(damaged("its superblock has a wrong checksum"));
        }
        if uuid(bytes, UUID).is_nil() {
            return Err(damaged("it has no UUID"));
        }
        // BDEV_DATA_START_DEFAULT.
        let begins = if matches!(superblock.version(), 4 | 6) { le64(bytes, 184) } else { 16 };
        if !superblock.is_cache() && (begins < 16 || begins.checked_mul(512).is_none_or(|at| at >= blocks.size())) {
            return Err(damaged("what it caches begins outside it"));
        }
        let buckets = le64(bytes, 184).checked_mul(u64::from(le16(bytes, 194))).and_then(|size| size.checked_mul(512));
        // Larger buckets than 16 bits count came with version 5.
        if matches!(superblock.version(), 0 | 3) && buckets.is_none_or(|size| size > blocks.size()) {
            return Err(damaged("it is longer than its device"));
        }
        Ok(Some(superblock))
    }

    fn version(&self) -> u64 {
        le64(&self.0, 16)
    }

    fn is_cache(&self) -> bool {
        matches!(self.version(), 0 | 3 | 5)
    }

    fn keys(&self) -> u16 {
        le16(&self.0, 206)
    }

    /// The two upper bits of the flags; stale is attached, to a cache that it was used without.
    fn state(&self) -> State {
        match le64(&self.0, 104) >> 61 & 3 {
            0 => State::Detached,
            2 => State::Dirty,
            _ => State::Attached,
        }
    }

    fn changeable(&self) -> Result<(), Trouble> {
        if self.version() > 6 || self.version() == 2 {
            return Err(Trouble::Refused(format!(
                "this bcache is of version {}, which is not known here",
                self.version()
            )));
        }
        if !self.is_cache() && self.state() == State::Dirty {
            return Err(Trouble::Refused(
                "its cache set holds writes that are not on it yet, and knows them by this UUID: write 1 to \
                 /sys/block/bcacheN/bcache/detach and wait until its state is `no cache`"
                    .into(),
            ));
        }
        Ok(())
    }
}

/// `csum_set`: over all that follows, up to the last of the keys.
fn checksum(superblock: &[u8]) -> u64 {
    let end = KEYS + 8 * usize::from(le16(superblock, 206).min(KEYS_MAX));
    crc::crc64(superblock.get(8..end).unwrap_or_default())
}

fn damaged(what: &str) -> Trouble {
    Trouble::Damaged(format!("this bcache is not sound, {what}: see bcache-super-show"))
}
