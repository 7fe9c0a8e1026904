// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux software RAID: the array's UUID in the superblock and the write-intent bitmap of every member.
//!
//! Offsets are those of `struct mdp_superblock_1` and `mdp_super_t` in the kernel's include/uapi/linux/raid/md_p.h and
//! of `bitmap_super_t` in drivers/md/md-bitmap.h. The kernel writes the superblocks of a running array anew, so it must
//! be stopped. Members of different UUIDs are of different arrays, and a bitmap of another UUID keeps an array from
//! starting: no order of writes avoids that, so a change that a cut stops is to be finished before anything assembles.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::fields::{array, hex, le32, le64, patch, put, text, uuid, write};
use super::{Blocks, Format, Found, Group, Id, Patch, Trouble, read};

const MAGIC: u32 = 0xa92b_4efc;
const SECTOR: usize = 512;
/// The largest superblock of either version.
const LENGTH: usize = 4096;
const BITMAP_MAGIC: &[u8; 4] = b"bitm";
/// `BITMAP_MAJOR_LO` and `BITMAP_MAJOR_HI`; a cluster's bitmaps are of version 5.
const BITMAP_VERSIONS: [u32; 2] = [3, 4];
const BITMAP_UUID: usize = 8;

const FEATURE_BITMAP: u32 = 1;
/// `MD_FEATURE_RESHAPE_ACTIVE`, `_RESHAPE_BACKWARDS` and `_NEW_OFFSET`.
const FEATURES_RESHAPE: u32 = 4 | 32 | 64;
/// `MD_FEATURE_BITMAP_OFFSET`, `_BAD_BLOCKS` and `_RAID0_LAYOUT`. A journal and a partial parity log are bound to the
/// array's UUID by their own checksums.
const FEATURES_KNOWN: u32 = FEATURE_BITMAP | 8 | 4096;
/// `MD_DISK_ROLE_MAX`: above it are journals, faulty members and spares.
const ROLE_MAX: u16 = 0xff00;

/// What stands on the device.
///
/// # Errors
/// [`Trouble::Damaged`] when a superblock is not sound, [`Trouble::Unreadable`] when it cannot be read.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    let Some(member) = Member::find(blocks)? else { return Ok(None) };
    let refusal = match member.changeable(blocks) {
        Ok(_) => None,
        Err(Trouble::Refused(why)) => Some(why),
        Err(trouble) => return Err(trouble),
    };
    let mut ids = vec![Id { name: "uuid".into(), value: member.uuid().to_string() }];
    let mut label = None;
    if member.layout != Layout::Old {
        ids.push(Id { name: "uuid-sub".into(), value: uuid(&member.bytes, 168).to_string() });
        label = Some(text(&member.bytes, 32, 32)).filter(|name| !name.is_empty());
    }
    let group = Some(Group { key: member.key(), members: member.active().len() as u32 });
    Ok(Some(Found { label, refusal, group, ..Found::of(Format::Md, member.layout.name(), ids) }))
}

/// The writes that give an array, all of whose members these are, the UUID `new`, for each member in the order given.
///
/// Members of version 1 get the ids in `members`, one each; with none they keep theirs.
///
/// # Errors
/// [`Trouble::Refused`] while the array is reshaped or rebuilt, with a journal or another feature that is bound to the
/// UUID or not known here, and when an active member is missing; [`Trouble::Damaged`] and [`Trouble::Unreadable`] as
/// [`probe`], also for a device that is no member.
pub fn plan_all(all: &[&(impl Blocks + ?Sized)], new: Uuid, members: &[Uuid]) -> Result<Vec<Patch>, Trouble> {
    let mut found = Vec::new();
    for blocks in all {
        let member = Member::find(*blocks)?.ok_or_else(|| damaged("a device is no member"))?;
        let bitmap = member.changeable(*blocks)?;
        found.push((member, bitmap));
    }
    if !members.is_empty() && members.len() != all.len() {
        return Err(Trouble::Refused("an array needs as many new ids of members as it has members".into()));
    }
    whole(&found.iter().map(|(member, _)| member).collect::<Vec<_>>(), new)?;
    let patches = found.iter().enumerate().map(|(number, (member, bitmap))| {
        let (before, after) = (&member.bytes, member.renamed(new, members.get(number)));
        let (Some(before), Some(after)) = (before.get(..SECTOR), after.get(..SECTOR)) else { return Patch::default() };
        let mut batch = vec![write(member.offset, before, after.to_vec())];
        if let Some((offset, before)) = bitmap {
            let mut after = before.clone();
            put(&mut after, BITMAP_UUID, &member.layout.stored(new));
            batch.push(write(*offset, before, after));
        }
        patch([batch])
    });
    Ok(patches.collect())
}

/// Whether these are the active members of one array, each once.
fn whole(members: &[&Member], new: Uuid) -> Result<(), Trouble> {
    let refuse = |why: String| Err(Trouble::Refused(why));
    let Some(first) = members.first() else { return Ok(()) };
    let mut old = None;
    let mut numbers = Vec::new();
    for member in members {
        // A cut may have left some with the new UUID.
        if member.uuid() != new && *old.get_or_insert(member.uuid()) != member.uuid() || member.array() != first.array()
        {
            return refuse("these are members of more than one array".into());
        }
        if numbers.contains(&member.number()) {
            return refuse(format!("member {} is there twice: a clone of it is attached too", member.number()));
        }
        numbers.push(member.number());
    }
    for member in members {
        if let Some(missing) = member.active().into_iter().find(|number| !numbers.contains(number)) {
            return refuse(format!("member {missing} of this array is missing: all are needed"));
        }
    }
    let active = first.active();
    let events = members.iter().filter(|member| active.contains(&member.number())).map(|member| member.events());
    // The kernel takes members that are one event apart (md.c, `super_1_validate`).
    if events.clone().max().unwrap_or(0) - events.min().unwrap_or(0) > 1 {
        return refuse("the members of this array are of different times: assemble it and let it rebuild first".into());
    }
    Ok(())
}

/// Where the superblock lies, and of which version it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Version 1.1, at the start.
    Start,
    /// Version 1.2, after 4 KiB.
    Near,
    /// Version 1.0, 8 to 12 KiB before the end.
    End,
    /// Version 0.90, in the last whole 64 KiB.
    Old,
}

impl Layout {
    fn name(self) -> &'static str {
        match self {
            Layout::Start => "1.1",
            Layout::Near => "1.2",
            Layout::End => "1.0",
            Layout::Old => "0.90",
        }
    }

    fn offset(self, size: u64) -> Option<u64> {
        match self {
            Layout::Start => Some(0),
            Layout::Near => Some(4096),
            Layout::End => (size / 512).checked_sub(16).map(|sectors| (sectors & !7) * 512),
            Layout::Old => (size & !0xffff).checked_sub(0x10000),
        }
    }

    /// The UUID as it is kept: version 0.90 has four numbers, which everybody writes from the highest digit.
    fn stored(self, uuid: Uuid) -> [u8; 16] {
        let mut bytes = *uuid.as_bytes();
        if self == Layout::Old {
            bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse());
        }
        bytes
    }
}

struct Member {
    layout: Layout,
    offset: u64,
    bytes: Vec<u8>,
}

impl Member {
    fn find(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Member>, Trouble> {
        for layout in [Layout::Near, Layout::Start, Layout::End, Layout::Old] {
            let Some(offset) = layout.offset(blocks.size()) else { continue };
            if offset.saturating_add(LENGTH as u64) > blocks.size() {
                continue;
            }
            let member = Member { layout, offset, bytes: read(blocks, offset, LENGTH)? };
            let version = if layout == Layout::Old { 0 } else { 1 };
            // A superblock at the end of a partition is at the end of the disk too; version 1 says where it is.
            let here = layout == Layout::Old || le64(&member.bytes, 144).checked_mul(512) == Some(offset);
            if le32(&member.bytes, 0) == MAGIC && le32(&member.bytes, 4) == version && here {
                member.sound(blocks.size())?;
                return Ok(Some(member));
            }
        }
        Ok(None)
    }

    fn sound(&self, size: u64) -> Result<(), Trouble> {
        let fits = match self.layout {
            Layout::Old => le32(&self.bytes, 40) <= 27,
            _ => {
                let end = le64(&self.bytes, 128).checked_add(le64(&self.bytes, 136));
                self.length() <= LENGTH && end.and_then(|end| end.checked_mul(512)).is_some_and(|end| end <= size)
            }
        };
        if !fits {
            return Err(damaged("it is longer than its device, or has too many members"));
        }
        if le32(&self.bytes, self.checksum_at()) != self.checksum(&self.bytes) {
            return Err(damaged("its superblock has a wrong checksum"));
        }
        Ok(())
    }

    /// The sector of the bitmap that holds its UUID, if there is a bitmap and nothing forbids a change.
    fn changeable(&self, blocks: &(impl Blocks + ?Sized)) -> Result<Option<(u64, Vec<u8>)>, Trouble> {
        let reshaped = "this array is being reshaped: let that end first";
        let offset = if self.layout == Layout::Old {
            match le32(&self.bytes, 8) {
                90 => {}
                91 => return Err(Trouble::Refused(reshaped.into())),
                _ => return Err(damaged("its version is neither 0.90 nor 1")),
            }
            // MD_SB_BITMAP_PRESENT; MD_SB_CLUSTERED is bit 5.
            if le32(&self.bytes, 132) & 1 << 8 == 0 {
                return Ok(None);
            }
            self.offset.checked_add(LENGTH as u64)
        } else {
            let features = le32(&self.bytes, 8);
            if features & FEATURES_RESHAPE != 0 {
                return Err(Trouble::Refused(reshaped.into()));
            }
            if features & !FEATURES_KNOWN != 0 {
                return Err(Trouble::Refused(
                    "this array is being rebuilt, or has a journal or a feature that is not known here: \
                     use mdadm --assemble --update=uuid"
                        .into(),
                ));
            }
            if features & FEATURE_BITMAP == 0 {
                return Ok(None);
            }
            let sectors = i32::from_le_bytes(array(&self.bytes, 96));
            self.offset.checked_add_signed(i64::from(sectors) * 512)
        };
        let offset = offset.ok_or_else(|| damaged("its bitmap is not on the device"))?;
        // In the superblock it would be under that one's checksum.
        if offset < self.offset.saturating_add(LENGTH as u64) && offset.saturating_add(SECTOR as u64) > self.offset {
            return Err(damaged("its bitmap is in its superblock"));
        }
        let sector = read(blocks, offset, SECTOR)?;
        if !sector.starts_with(BITMAP_MAGIC) || !BITMAP_VERSIONS.contains(&le32(&sector, 4)) {
            return Err(damaged("its bitmap has no magic, or a version that is not known here"));
        }
        Ok(Some((offset, sector)))
    }

    fn uuid(&self) -> Uuid {
        let stored = match self.layout {
            Layout::Old => {
                let mut bytes = [0; 16];
                put(&mut bytes, 0, &array::<4>(&self.bytes, 20));
                put(&mut bytes, 4, &array::<12>(&self.bytes, 52));
                Uuid::from_bytes(bytes)
            }
            _ => uuid(&self.bytes, 16),
        };
        // Turning the numbers around is its own reverse.
        Uuid::from_bytes(self.layout.stored(stored))
    }

    /// What all members have alike: when it was made, its level, sizes, and number of members.
    fn array(&self) -> [Vec<u8>; 2] {
        let ranges = if self.layout == Layout::Old { [24..36, 40..44] } else { [64..88, 92..96] };
        ranges.map(|range| self.bytes.get(range).unwrap_or_default().to_vec())
    }

    /// A digest of what all members have alike and keep under another UUID, the array's name too.
    fn key(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(self.layout.name());
        self.array().iter().for_each(|part| digest.update(part));
        if self.layout != Layout::Old {
            digest.update(array::<32>(&self.bytes, 32));
        }
        hex(&digest.finalize())
    }

    fn number(&self) -> u32 {
        le32(&self.bytes, if self.layout == Layout::Old { 3968 } else { 160 })
    }

    /// The numbers of the members that hold a part of the array.
    fn active(&self) -> Vec<u32> {
        let active = |number: &u32| {
            let number = *number as usize;
            if self.layout == Layout::Old {
                // MD_DISK_ACTIVE and MD_DISK_SYNC, of 128 bytes for each member.
                le32(&self.bytes, 512 + 128 * number + 16) & 0b110 == 0b110
            } else {
                u16::from_le_bytes(array(&self.bytes, 256 + 2 * number)) < ROLE_MAX
            }
        };
        let count = if self.layout == Layout::Old { 27 } else { le32(&self.bytes, 220) };
        (0..count).filter(active).collect()
    }

    fn events(&self) -> u64 {
        le64(&self.bytes, if self.layout == Layout::Old { 156 } else { 200 })
    }

    fn renamed(&self, new: Uuid, member: Option<&Uuid>) -> Vec<u8> {
        let mut after = self.bytes.clone();
        let stored = self.layout.stored(new);
        if self.layout == Layout::Old {
            put(&mut after, 20, &array::<4>(&stored, 0));
            put(&mut after, 52, &array::<12>(&stored, 4));
        } else {
            put(&mut after, 16, &stored);
            if let Some(member) = member {
                put(&mut after, 168, member.as_bytes());
            }
        }
        let sum = self.checksum(&after);
        put(&mut after, self.checksum_at(), &sum.to_le_bytes());
        after
    }

    fn checksum_at(&self) -> usize {
        if self.layout == Layout::Old { 152 } else { 216 }
    }

    /// How much of it the checksum covers: for version 1 up to the last member's role.
    fn length(&self) -> usize {
        match self.layout {
            Layout::Old => LENGTH,
            _ => usize::try_from(le32(&self.bytes, 220)).unwrap_or(LENGTH).saturating_mul(2).saturating_add(256),
        }
    }

    /// `calc_sb_1_csum`: the sum of all numbers of 32 bits but the checksum, its upper half added to its lower.
    fn checksum(&self, bytes: &[u8]) -> u32 {
        let (words, rest) = bytes.get(..self.length()).unwrap_or_default().as_chunks::<4>();
        let sum: u64 = words.iter().map(|word| u64::from(u32::from_le_bytes(*word))).sum();
        let last = rest.first_chunk().map_or(0, |last| u64::from(u16::from_le_bytes(*last)));
        let sum = sum + last - u64::from(le32(bytes, self.checksum_at()));
        (sum as u32).wrapping_add((sum >> 32) as u32)
    }
}

fn damaged(what: &str) -> Trouble {
    Trouble::Damaged(format!("this software RAID is not sound, {what}: see mdadm --examine"))
}
