// SPDX-License-Identifier: MIT OR Apache-2.0
//! What changes as one: a file system, a table, or all devices that hold one array, volume group or btrfs together.

use anyhow::{Context as _, Result};

use crate::disks::device::{Device, Window};
use crate::disks::{self, Format, Found, Id, Patch};
use crate::guest::disks::{Disk, Disks, Part};
use crate::plan::draft::Draft;
use crate::plan::{Kind, Place};

/// One device of a unit.
#[derive(Debug, Clone, Copy)]
pub struct Member<'g> {
    /// The disk it is on.
    pub disk: &'g Disk,
    /// The part of it.
    pub part: &'g Part,
    /// What stands there.
    pub found: &'g Found,
}

/// What changes as one.
#[derive(Debug, Clone)]
pub struct Unit<'g> {
    /// Its format.
    pub format: Format,
    /// Its devices, at least one.
    pub members: Vec<Member<'g>>,
}

/// Everything of these formats, in the order of the disks.
pub fn all<'g>(disks: &'g Disks, formats: &[Format]) -> Vec<Unit<'g>> {
    let mut units: Vec<Unit<'g>> = Vec::new();
    for (disk, part) in disks.parts() {
        for found in part.found.iter().filter(|found| formats.contains(&found.format)) {
            let member = Member { disk, part, found };
            let with = units.iter_mut().find(|unit| unit.format == found.format && unit.takes(found));
            match with {
                Some(unit) => unit.members.push(member),
                None => units.push(Unit { format: found.format, members: vec![member] }),
            }
        }
    }
    units
}

impl<'g> Unit<'g> {
    fn takes(&self, found: &Found) -> bool {
        let key = |found: &Found| found.group.as_ref().map(|group| group.key.clone());
        found.group.is_some() && self.members.first().is_some_and(|first| key(first.found) == key(found))
    }

    /// Its devices, for a message.
    pub fn place(&self) -> String {
        let places: Vec<String> = self.members.iter().map(|member| member.part.place()).collect();
        places.join(", ")
    }

    /// What it is called, for a message: `ext4`, `LVM2 001`.
    pub fn variant(&self) -> &'g str {
        self.members.first().map_or("", |first| &first.found.variant)
    }

    /// The ids of a member that are given anew, as they are.
    pub fn before(&self, member: &Member<'_>) -> Vec<Id> {
        member.found.ids.iter().filter(|id| self.format.renews(id)).cloned().collect()
    }

    /// Every id that is given anew, as it is.
    pub fn ids(&self) -> impl Iterator<Item = &'g Id> {
        self.members.iter().flat_map(|member| &member.found.ids).filter(|id| self.format.renews(id))
    }

    /// The ids that each member is to have: what an earlier stage or run decided, or fresh ones; `keep` names those that
    /// stay. A fresh one depends on the old one alone, so that the names that devices have in a boot do not matter.
    pub fn after(&self, draft: &Draft<'_>, keep: &[String]) -> Vec<Vec<Id>> {
        let new = |id: Id| -> Id {
            if keep.contains(&id.value) {
                return id;
            }
            let decided = draft.decided_value(kind(self.format, &id), &id.value).and_then(|past| past.new.clone());
            let token = || format!("{}/{}/{}", self.format.name(), id.name, id.value);
            Id { value: decided.unwrap_or_else(|| self.format.fresh(draft.seed(), &token())), name: id.name }
        };
        self.members.iter().map(|member| self.before(member).into_iter().map(new).collect()).collect()
    }

    /// The places of a change to these ids.
    pub fn places(&self, after: Vec<Vec<Id>>) -> Vec<Place> {
        let place = |(member, after): (&Member<'_>, Vec<Id>)| Place {
            device: member.part.path.clone(),
            offset: member.part.offset,
            size: member.part.size,
            before: self.before(member),
            after,
        };
        self.members.iter().zip(after).map(place).collect()
    }

    /// Reads the first of its devices.
    ///
    /// # Errors
    /// When it cannot be opened, and what `read` says.
    pub fn read_first<T>(&self, read: impl FnOnce(&Window<'_, Device>) -> Result<T>) -> Result<T> {
        let member = self.members.first().context("it has no device")?;
        let device = Device::open(std::path::Path::new(&member.part.path))?;
        read(&member.window(&device))
    }

    /// The writes that a change to these ids takes: what a format refuses only when it plans shows here.
    ///
    /// # Errors
    /// When a device cannot be opened, and what the format says.
    pub fn trial(&self, after: &[Vec<Id>]) -> Result<Vec<Patch>> {
        let open = |member: &Member<'_>| Device::open(std::path::Path::new(&member.part.path));
        let open: Vec<Device> = self.members.iter().map(open).collect::<Result<_, _>>()?;
        let window = |(device, member)| Member::window(member, device);
        let windows: Vec<Window<'_, Device>> = open.iter().zip(&self.members).map(window).collect();
        Ok(disks::plan_all(&windows.iter().collect::<Vec<_>>(), self.format, after)?)
    }
}

impl Member<'_> {
    fn window<'d>(&self, device: &'d Device) -> Window<'d, Device> {
        Window::new(device, self.part.offset, self.part.size)
    }
}

/// The kind of identity that an id of a format is.
pub fn kind(format: Format, id: &Id) -> Kind {
    match format {
        Format::Swap => Kind::SwapUuid,
        Format::Luks => Kind::LuksUuid,
        Format::Lvm => Kind::LvmUuid,
        Format::Md => Kind::MdUuid,
        Format::Mbr => Kind::DiskId,
        Format::Gpt if id.name == "disk-guid" => Kind::DiskId,
        Format::Gpt => Kind::PartitionId,
        _ => Kind::FsUuid,
    }
}
