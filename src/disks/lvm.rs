// SPDX-License-Identifier: MIT OR Apache-2.0
//! LVM2: the ids of physical volumes, their volume group and its logical volumes, switched by one sector of each.
//!
//! Structures are those of lib/format_text/layout.h and lib/label/label.h of LVM2. A label names its physical volume
//! and where its metadata areas are; the metadata is text that names the group, all its physical volumes, and the
//! logical volumes. A copy of it with the new ids is written to free space beside every area in use, then the label's
//! sector is pointed at the copies: before that all of this physical volume is old, after it all is new.
//!
//! Between the labels of two physical volumes LVM sees two groups of one name, in each of which physical volumes are
//! missing: it activates neither of them by itself, and warns of the name. Nothing is lost; this planned again and
//! carried out makes them one, and should be before anything else gets to see the devices.

mod area;
mod label;
mod matched;
mod metadata;

use std::collections::BTreeMap;

use super::fields::{hex, patch, write};
use super::{Blocks, Format, Found, Group, Id, Kin, Patch, Trouble, read};
use area::Area;
use label::Label;
use metadata::Metadata;
use sha2::{Digest as _, Sha256};

/// The ids that a volume group shall have, each of 32 letters and digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// Those of its physical volumes, in the order of their devices.
    pub physical_volumes: Vec<String>,
    /// The volume group's; none for a physical volume that is in no group.
    pub volume_group: Option<String>,
    /// The logical volumes', by name; one that is not named keeps its id.
    pub logical_volumes: BTreeMap<String, String>,
}

/// What stands on the device. A physical volume without metadata in use is told its group by [`super::relate`].
///
/// # Errors
/// [`Trouble::Damaged`] when label or metadata is not sound, [`Trouble::Unreadable`] when it cannot be read.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    let Some(label) = Label::find(blocks)? else { return Ok(None) };
    let mut found = Found::of(Format::Lvm, "LVM2 001", vec![Id { name: "uuid".into(), value: dashed(&label.id) }]);
    match Volume::of(blocks, label) {
        Ok(volume) => match volume.metadata() {
            Some(metadata) => {
                found.ids.push(Id { name: "vg-uuid".into(), value: metadata.group_id.clone() });
                let named = metadata.logical_volumes.iter();
                found.ids.extend(named.map(|(name, id)| Id { name: format!("lv-uuid-{name}"), value: id.clone() }));
                found.label = Some(metadata.group.clone());
                if let members @ 2.. = metadata.physical_volumes.len() as u32 {
                    found.group = Some(Group { key: key(metadata), members });
                    found.kin = Kin::Names(metadata.physical_volumes.iter().map(|one| one.seat.clone()).collect());
                }
            }
            None if !volume.is_orphan() => {
                found.refusal = Some(elsewhere());
                found.kin = Kin::Seeks(volume.label.seat());
            }
            None => {}
        },
        Err(Trouble::Refused(why)) => found.refusal = Some(why),
        Err(trouble) => return Err(trouble),
    }
    Ok(Some(found))
}

/// The writes that give all physical volumes of a group, and what is on them, the ids `new`, for each in the order
/// given; none for one that has them.
///
/// The group may be active, but nothing may change its metadata between this and the last write. The text with the old
/// ids stays behind in space that is now free.
///
/// # Errors
/// [`Trouble::Refused`] when a physical volume is missing or there twice, for a group that is exported, shared,
/// clustered or partial, metadata that is being written or of different times, a boot loader area, and without free
/// space for a second copy; [`Trouble::Damaged`] and [`Trouble::Unreadable`] as [`probe`], also when there is no label.
pub fn plan_all(all: &[&(impl Blocks + ?Sized)], new: &Ids) -> Result<Vec<Patch>, Trouble> {
    let listed = new.physical_volumes.iter().chain(&new.volume_group).chain(new.logical_volumes.values());
    if !listed.clone().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        return Err(Trouble::Refused("an id of LVM has 32 letters and digits".into()));
    }
    let mut volumes = Vec::new();
    for blocks in all {
        let label = Label::find(*blocks)?.ok_or_else(|| damaged("it has no label"))?;
        volumes.push(Volume::of(*blocks, label)?);
    }
    if new.physical_volumes.len() != volumes.len() {
        return Err(Trouble::Refused("a group needs as many new ids as it has physical volumes".into()));
    }
    let Some(text) = matched::renamed(&volumes, new)? else {
        let ([volume], [id]) = (&volumes[..], &new.physical_volumes[..]) else {
            return Err(Trouble::Refused("these physical volumes are in no group together".into()));
        };
        if !volume.is_orphan() {
            return Err(Trouble::Refused(elsewhere()));
        }
        return Ok(vec![patch([vec![volume.label.changed(id, &[])]])]);
    };
    let planned = volumes.iter().zip(all).zip(&new.physical_volumes);
    planned.map(|((volume, blocks), id)| volume.switched(*blocks, id, &text)).collect()
}

/// A physical volume: its label, and what its metadata areas hold.
struct Volume {
    label: Label,
    areas: Vec<Area>,
}

impl Volume {
    fn of(blocks: &(impl Blocks + ?Sized), label: Label) -> Result<Volume, Trouble> {
        if label.loader {
            return Err(Trouble::Refused(
                "this physical volume has a boot loader area: use vgimportclone, or pvchange -u and vgchange -u".into(),
            ));
        }
        let areas = label.listed.iter().map(|place| Area::read(blocks, *place, &label.id));
        let areas = areas.collect::<Result<_, _>>()?;
        Ok(Volume { label, areas })
    }

    fn metadata(&self) -> Option<&Metadata> {
        self.texts().next()
    }

    fn texts(&self) -> impl Iterator<Item = &Metadata> {
        self.areas.iter().filter_map(|area| area.live.as_ref()).map(|live| &live.metadata)
    }

    /// Is it in no group? A volume whose metadata is on others says so by a flag, LVM2 before 2.02.146 by nothing.
    fn is_orphan(&self) -> bool {
        let empty = self.areas.iter().any(|area| !area.ignored);
        self.metadata().is_none() && (self.label.used == Some(false) || self.label.used.is_none() && empty)
    }

    /// The copies of the new text beside each area that holds another, then the label.
    fn switched(&self, blocks: &(impl Blocks + ?Sized), id: &str, text: &[u8]) -> Result<Patch, Trouble> {
        let mut copies = Vec::new();
        let mut places = Vec::new();
        for area in &self.areas {
            let Some(live) = area.live.as_ref().filter(|live| live.metadata.text() != text) else { continue };
            let (start, size) = area.beside(live, &self.label, self.areas.len(), text.len())?;
            let copy = area::holding((start, size), text);
            copies.push(write(start, &read(blocks, start, copy.len())?, copy));
            places.push((area.place, (start, size)));
        }
        Ok(patch([copies, vec![self.label.changed(id, &places)]]))
    }
}

/// A digest of what stays: the group's name, the size of its extents, and where they are on each physical volume.
fn key(metadata: &Metadata) -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{}\n{}\n", metadata.group, metadata.extent));
    for one in &metadata.physical_volumes {
        digest.update(format!("{} {} {} {}\n", one.section, one.seat.size, one.seat.start, one.extents));
    }
    hex(&digest.finalize())
}

/// As LVM writes ids in text: 6-4-4-4-4-4-6.
fn dashed(id: &str) -> String {
    let mut text = String::new();
    for (at, letter) in id.chars().enumerate() {
        if matches!(at, 6 | 10 | 14 | 18 | 22 | 26) {
            text.push('-');
        }
        text.push(letter);
    }
    text
}

/// `calc_crc` of lib/misc/crc.c: CRC-32 with a start of its own, and nothing inverted at the end.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xf597_a6cf, |register, byte| {
        (0..8).fold(register ^ u32::from(*byte), |register, _| {
            if register & 1 == 1 { (register >> 1) ^ 0xedb8_8320 } else { register >> 1 }
        })
    })
}

fn elsewhere() -> String {
    "this physical volume has no metadata of its own, and the others of its group are not at hand".into()
}

fn damaged(what: &str) -> Trouble {
    Trouble::Damaged(format!("this LVM physical volume is not sound, {what}: see pvck(8)"))
}
