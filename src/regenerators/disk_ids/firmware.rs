// SPDX-License-Identifier: MIT OR Apache-2.0
//! The firmware's boot entries, which name the partition they boot from by its GUID.
//!
//! A second entry with the new GUID is put beside each, then the table changes, then the entry itself, then the second one
//! goes: whatever moment the power is cut at, the firmware, which tries the entries of `BootOrder` one after the other (UEFI
//! Specification 2.10, 3.1.1), finds one that boots. The path of removable media would do as well, but nobody needs to have
//! put a boot loader there. An entry keeps its number, by which efibootmgr(8), `BootNext` and hypervisors know it.

use std::collections::{BTreeMap, BTreeSet};

use nix::sys::statvfs::{FsFlags, fstatvfs};
use uuid::Uuid;

use crate::formats::boot_entry::BootEntry;
use crate::plan::draft::Draft;
use crate::plan::{Firmware as Variable, Kind};
use crate::root::Root;

/// The list of entries, by their numbers.
const ORDER: &str = "BootOrder";
/// Of `BootOrder`, before the numbers: the attributes of the variable.
const ATTRIBUTES: usize = 4;

/// The variables about booting, as efivarfs shows them.
#[derive(Debug, Default)]
pub struct Firmware {
    variables: BTreeMap<String, Vec<u8>>,
    writable: bool,
}

impl Firmware {
    /// Reads them; none where this is no UEFI machine.
    pub fn of(root: &Root) -> Firmware {
        let mut firmware = Firmware::default();
        for file in root.list(Variable::DIR).unwrap_or_default() {
            let name = file.strip_suffix(Variable::GLOBAL).filter(|name| is_entry(name) || *name == ORDER);
            if let (Some(name), Ok(Some(value))) = (name, root.read(&format!("{}/{file}", Variable::DIR))) {
                firmware.variables.insert(name.to_owned(), value);
            }
        }
        let flags = root.open_dir(Variable::DIR).and_then(fstatvfs).map(|stat| stat.flags());
        firmware.writable = flags.is_ok_and(|flags| !flags.contains(FsFlags::ST_RDONLY));
        firmware
    }

    /// Does an entry name this partition?
    pub fn names(&self, guid: Uuid) -> bool {
        self.entries().any(|(_, value)| quotes(value, guid) > 0)
    }

    /// Can all that name it be made to follow a new GUID?
    pub fn can_follow(&self, guid: Uuid) -> bool {
        let follows = |value: &Vec<u8>| {
            let named = BootEntry::read(value).map_or(0, |entry| entry.partitions().filter(|it| *it == guid).count());
            named == quotes(value, guid)
        };
        self.writable && self.entries().all(|(_, value)| follows(value))
    }

    /// The entries of which nothing is unusual.
    fn read(&self) -> impl Iterator<Item = (String, BootEntry)> {
        self.entries().filter_map(|(name, value)| Some((name.clone(), BootEntry::read(value)?)))
    }

    /// Sets a variable, and notes the change unless it is none.
    fn set(&mut self, name: &str, value: Option<Vec<u8>>, steps: &mut Vec<Variable>) {
        let was = match &value {
            Some(value) => self.variables.insert(name.to_owned(), value.clone()),
            None => self.variables.remove(name),
        };
        if was != value {
            steps.push(Variable::new(name, was, value));
        }
    }

    fn entries(&self) -> impl Iterator<Item = (&String, &Vec<u8>)> {
        self.variables.iter().filter(|(name, _)| is_entry(name))
    }

    /// The numbers in `BootOrder`, as entries are named.
    fn order(&self) -> Vec<String> {
        let numbers = self.variables.get(ORDER).and_then(|value| value.get(ATTRIBUTES..)).unwrap_or_default();
        numbers.chunks_exact(2).map(|pair| format!("Boot{:04X}", u16::from_le_bytes([pair[0], pair[1]]))).collect()
    }

    fn order_of(&self, names: &[String]) -> Vec<u8> {
        let mut value = self.variables.get(ORDER).and_then(|now| now.get(..ATTRIBUTES)).unwrap_or_default().to_vec();
        for name in names {
            value.extend(u16::from_str_radix(&name[4..], 16).unwrap_or_default().to_le_bytes());
        }
        value
    }

    fn free_number(&self) -> Option<String> {
        (0..=u16::MAX).map(|number| format!("Boot{number:04X}")).find(|name| !self.variables.contains_key(name))
    }
}

/// `Boot0003`.
fn is_entry(name: &str) -> bool {
    name.strip_prefix("Boot").is_some_and(|number| number.len() == 4 && number.bytes().all(|it| it.is_ascii_hexdigit()))
}

/// How often the GUID stands there, as it stands on disk.
fn quotes(value: &[u8], guid: Uuid) -> usize {
    value.windows(16).filter(|bytes| *bytes == guid.to_bytes_le()).count()
}

/// Drafts what follows from the partitions' new GUIDs, and takes away what an earlier run left.
pub fn plan(draft: &mut Draft<'_>, firmware: &Firmware, follow: bool) {
    let guid = |id: &str| Uuid::parse_str(id).ok();
    let found = draft.guest.disks.parts().flat_map(|(_, part)| &part.found).flat_map(|found| &found.ids);
    let mut guids = Guids { there: found.filter_map(|id| guid(&id.value)).collect(), new: BTreeMap::new() };
    for renewal in draft.renewals().iter().filter(|renewal| follow && renewal.kind == Kind::PartitionId) {
        if let (Some(old), Some(new)) = (&renewal.old, &renewal.new)
            && let (Some(old), Some(new)) = (guid(old), guid(new))
            && old != new
            && firmware.can_follow(old)
        {
            guids.new.insert(old, new);
        }
    }
    let (beside, after) = steps(firmware, &guids);
    for (changes, settles, why) in [
        (beside, false, "boots from the partition under its new GUID while the old one goes"),
        (after, true, "names the partition it boots from by its new GUID"),
    ] {
        changes.into_iter().for_each(|change| draft.firmware(Variable { settles, ..change }, why));
    }
}

/// GUIDs of partitions.
struct Guids {
    /// Those on the disks, as they are.
    there: BTreeSet<Uuid>,
    /// Those that change, or have changed, each with its new one.
    new: BTreeMap<Uuid, Uuid>,
}

impl Guids {
    /// Is there such a partition once all is done?
    fn stays(&self, guid: Uuid) -> bool {
        self.there.contains(&guid) && !self.new.contains_key(&guid) || self.new.values().any(|new| *new == guid)
    }
}

/// What is changed before the GUIDs are, and what afterwards.
fn steps(firmware: &Firmware, guids: &Guids) -> (Vec<Variable>, Vec<Variable>) {
    let mut now = Firmware { variables: firmware.variables.clone(), writable: firmware.writable };
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut order = firmware.order();
    let originals: Vec<(String, BootEntry)> = firmware.read().filter(|(_, entry)| entry.unmarked().is_none()).collect();
    for (name, entry) in originals {
        let followed = entry.with(|guid| guids.new.get(&guid).copied());
        if followed == entry {
            continue;
        }
        let second = followed.marked();
        let pending = entry.partitions().any(|guid| guids.there.contains(&guid));
        let is_there = now.read().any(|(name, other)| other == second && order.contains(&name));
        let place = order.iter().position(|other| *other == name);
        if let (true, false, Some(place), Some(number)) = (pending, is_there, place, now.free_number()) {
            now.set(&number, Some(second.bytes()), &mut before);
            order.insert(place + 1, number);
            now.set(ORDER, Some(now.order_of(&order)), &mut before);
        }
        now.set(&name, Some(followed.bytes()), &mut after);
    }
    // One whose original has gone, or boots from nowhere, is all there is.
    let is_spare = |second: &BootEntry| {
        let Some(original) = second.unmarked() else { return false };
        let idle = !second.partitions().all(|guid| guids.stays(guid));
        now.read().any(|(_, other)| other == original || idle && other.is_like(&original))
    };
    let spare: Vec<String> = now.read().filter(|(_, entry)| is_spare(entry)).map(|(name, _)| name).collect();
    if firmware.writable && !spare.is_empty() {
        order.retain(|name| !spare.contains(name));
        now.set(ORDER, firmware.variables.get(ORDER).map(|_| now.order_of(&order)), &mut after);
        spare.iter().for_each(|name| now.set(name, None, &mut after));
    }
    (before, after)
}

#[cfg(test)]
mod tests;
