// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why ids are left as they are, and how they are set where they are not.

use std::cell::OnceCell;

use crate::disks::swap::HIBERNATED;
use crate::disks::{Format, Found, Id};
use crate::formats::anchor;
use crate::formats::fstab::{self, Source};
use crate::guest::disks::Part;
use crate::plan::draft::Draft;
use crate::plan::{Active, Stage, Via};

use super::boot_path::BootPath;
use super::firmware::Firmware;
use super::unit::{Member, Unit};

/// What of the running system is looked at once for all units.
pub struct Outlook {
    /// The kernel's command line, lower case.
    command_line: String,
    /// The firmware's boot entries.
    pub firmware: Firmware,
    /// Are they made to follow the partitions that they name?
    pub entries_follow: bool,
    /// Devices that fstab(5) and crypttab(5) name by a path.
    named: Vec<String>,
    /// What the boot loader reads.
    boot: OnceCell<BootPath>,
}

impl Outlook {
    /// Looks.
    pub fn of(draft: &Draft<'_>) -> Outlook {
        let read = |path: &str| draft.guest.root.read(path).ok().flatten().unwrap_or_default();
        let text = |path: &str| String::from_utf8_lossy(&read(path)).into_owned();
        let mut outlook = Outlook {
            command_line: String::new(),
            firmware: Firmware::default(),
            entries_follow: false,
            named: Vec::new(),
            boot: OnceCell::new(),
        };
        if !draft.guest.disks.are_running() {
            return outlook;
        }
        // A boot that follows a cut may have been by names that stand in for others.
        outlook.command_line = anchor::settled(&text("proc/cmdline")).to_lowercase();
        outlook.firmware = Firmware::of(&draft.guest.root);
        let sources = fstab::entries(&text("etc/fstab")).into_iter().map(|entry| entry.source);
        let sources = sources.chain(fstab::volumes(&text("etc/crypttab")).into_iter().map(|volume| volume.source));
        outlook.named = sources.filter_map(|s| if let Source::Device(path) = s { Some(path) } else { None }).collect();
        outlook
    }

    /// What the boot loader reads, read when it is first asked for.
    pub fn boot(&self, draft: &Draft<'_>) -> &BootPath {
        self.boot.get_or_init(|| BootPath::of(draft))
    }

    /// Does the kernel's command line quote it, in whatever spelling?
    pub fn on_command_line(&self, id: &Id) -> bool {
        let value = id.value.to_lowercase();
        let bare = value.replace('-', "");
        self.command_line.contains(&value) || bare.len() == 32 && self.command_line.contains(&bare)
    }

    /// Does a boot entry of the firmware name it that is not to follow, or the kernel's command line?
    fn boots_by(&self, id: &Id) -> bool {
        let follow = |guid: uuid::Uuid| self.entries_follow && self.firmware.can_follow(guid);
        let named = |guid: uuid::Uuid| self.firmware.names(guid) && !follow(guid);
        self.on_command_line(id) || uuid::Uuid::parse_str(&id.value).is_ok_and(named)
    }
}

/// The ids of a table that stay: those of partitions that firmware or kernel are told to look for.
pub fn kept(outlook: &Outlook, unit: &Unit<'_>) -> Vec<String> {
    match unit.format {
        Format::Gpt => unit.ids().filter(|id| outlook.boots_by(id)).map(|id| id.value.clone()).collect(),
        _ => Vec::new(),
    }
}

/// How the ids of a unit may be set.
///
/// # Errors
/// Why they must not be, a sentence that goes on after a colon.
pub fn way(draft: &Draft<'_>, outlook: &Outlook, unit: &Unit<'_>, tpm: bool) -> Result<Via, String> {
    if draft.guest.disks.hold_the_tree {
        return Err("the guest's own tree is on it; its first boot changes them".into());
    }
    let part = |of: &dyn Fn(&Member<'_>) -> bool| unit.members.iter().any(of);
    let mounted = unit.members.iter().find(|member| member.part.usage.mounted).map(|member| &member.part.usage);
    let carries = part(&|member| !member.part.usage.carries.is_empty());
    if carries {
        outlook.boot(draft).may_change(draft, outlook, unit)?;
    }
    if part(&|member| member.part.usage.network) {
        return Err("it is reached over a network, where other machines may use it by them".into());
    }
    if part(&|member| member.part.usage.read_only) {
        return Err("it is read-only".into());
    }
    if part(&|member| member.part.usage.resume) {
        return Err("the initramfs looks for a hibernated system there by its UUID".into());
    }
    if unit.format != Format::Gpt && !carries && unit.ids().any(|id| outlook.on_command_line(id)) {
        return Err("the kernel's command line quotes them".into());
    }
    if tpm && matches!(unit.format, Format::Luks | Format::Gpt) {
        return Err("a LUKS volume of this guest is opened by a TPM, whose measurements of the boot may not fit \
                    afterwards; the setting `tpm = \"renew\"` goes ahead"
            .into());
    }
    let hibernated = |found: &Found| found.format == Format::Swap && found.variant == HIBERNATED;
    if let Some((_, part)) = draft.guest.disks.parts().find(|(_, part)| part.found.iter().any(hibernated)) {
        return Err(format!(
            "{} holds the memory of a hibernated machine, which knows what is on its disks: boot and shut it down once, \
             or `mkswap`",
            part.place()
        ));
    }
    if let Some(other) = twin(draft, unit) {
        return Err(format!("{other} has the same, so that one of the two is a copy, and which cannot be told"));
    }
    if matches!(draft.guest.stage, Some(Stage::System | Stage::Keys)) {
        return Err("pending: the early stage of this boot did not see it, or could not change it".into());
    }
    let via = if draft.guest.disks.are_running() { in_use(draft, outlook, unit)? } else { Via::Sectors };
    // A file system that is mounted is told to be so by its own superblock.
    let refusal = unit.members.iter().find_map(|member| member.found.refusal.clone());
    if let (Some(refusal), None, false) = (refusal, mounted, via == Via::Aside) {
        return Err(refusal);
    }
    for member in unit.members.iter().filter(|_| !unit.format.is_table()) {
        // Two formats in one place: which of them is in use cannot be told from here.
        if member.part.found.iter().any(|other| other.format != unit.format && !other.format.is_table()) {
            return Err("another format's signature stands there too".into());
        }
    }
    match unit.members.first().and_then(|first| first.found.group.as_ref()) {
        Some(group) if (unit.members.len() as u64) < u64::from(group.members) => {
            Err(format!("it has {} devices, of which {} are here", group.members, unit.members.len()))
        }
        _ => Ok(via),
    }
}

/// Another device that holds one of the same ids, as when the template's disk is attached to its clone.
fn twin(draft: &Draft<'_>, unit: &Unit<'_>) -> Option<String> {
    let own = |path: &str, offset: u64| unit.members.iter().any(|m| m.part.path == path && m.part.offset == offset);
    let others = draft.guest.disks.parts().filter(|(_, part)| !own(&part.path, part.offset));
    let same = |part: &&Part| {
        let ids = part.found.iter().filter(|found| found.format == unit.format).flat_map(|found| &found.ids);
        ids.filter(|id| unit.format.renews(id)).any(|id| unit.ids().any(|own| own.value == id.value))
    };
    others.map(|(_, part)| part).find(same).map(|part| part.place())
}

/// Is it the root file system, in a format whose ids no kernel changes while it is mounted?
pub fn holds_the_root(unit: &Unit<'_>) -> bool {
    let is_root =
        |member: &Member<'_>| member.part.usage.mounted && member.part.usage.carries.iter().any(|at| at == "/");
    matches!(unit.format, Format::Xfs | Format::Btrfs) && unit.members.iter().any(is_root)
}

fn in_use(draft: &Draft<'_>, outlook: &Outlook, unit: &Unit<'_>) -> Result<Via, String> {
    let usages = || unit.members.iter().map(|member| &member.part.usage);
    if let Some(usage) = usages().find(|usage| usage.mounted) {
        let at = usage.mount_points.first().cloned().unwrap_or_default();
        return match unit.format {
            // One whose journal is on another device is named there by its UUID, which the kernel does not change.
            Format::Ext if unit.members.iter().all(|member| member.found.group.is_none()) => {
                Ok(Via::Kernel { mounted: at })
            }
            _ if draft.guest.stage == Some(Stage::Initrd) => Ok(Via::Root),
            _ if at == "/" && draft.guest.stage == Some(Stage::Early) => {
                Err(match draft.guest.initramfs_has_reseal() {
                    true => "the stage in the initramfs left them, and said why on the console".into(),
                    false => {
                        "it is mounted at /, and only an initramfs that has reseal in it changes them before that: \
                          `update-initramfs -u` puts it there"
                            .into()
                    }
                })
            }
            _ => Err(format!("it is mounted at {at}; a first boot changes them before that")),
        };
    }
    if usages().any(|usage| usage.aside) {
        return Ok(Via::Aside);
    }
    if usages().any(|usage| usage.swap) {
        return Ok(Via::Swap);
    }
    match unit.format {
        Format::Gpt | Format::Mbr => {
            let disk = unit.members.first().map(|member| member.disk);
            let parts = disk.into_iter().flat_map(|disk| &disk.parts).map(|part| &part.usage);
            let busy = parts.clone().any(|usage| usage.mounted || usage.swap || !usage.holders.is_empty());
            Ok(if busy { Via::Shared } else { Via::Sectors })
        }
        Format::Lvm => volume_group(draft, unit),
        Format::Md => array(draft, outlook, unit),
        _ if usages().any(|usage| !usage.holders.is_empty()) => {
            Err("it is open; a first boot changes them before that".into())
        }
        _ => Ok(Via::Sectors),
    }
}

/// Is any of these devices, or of their partitions, in use?
fn busy(draft: &Draft<'_>, devices: &[String]) -> Option<String> {
    let idle = |part: &Part| {
        !part.usage.mounted && !part.usage.swap && part.usage.holders.iter().all(|holder| devices.contains(holder))
    };
    let disks = draft.guest.disks.list.iter().filter(|disk| devices.contains(&disk.path));
    disks
        .flat_map(|disk| &disk.parts)
        .find(|part| !idle(part))
        .map(|part| part.usage.name.clone().unwrap_or(part.place()))
}

fn volume_group(draft: &Draft<'_>, unit: &Unit<'_>) -> Result<Via, String> {
    let holders: Vec<String> = unit.members.iter().flat_map(|member| member.part.usage.holders.clone()).collect();
    if holders.is_empty() {
        return Ok(Via::Sectors);
    }
    if let Some(busy) = busy(draft, &holders) {
        return Err(format!("{busy} of this group is in use; a first boot changes them before that"));
    }
    let groups = group_of(unit);
    let Some(name) = groups else { return Err("what stands on it has no name".into()) };
    let group = Active::VolumeGroup { name };
    Ok(Via::Stopped { stop: vec![group.clone()], start: vec![group] })
}

/// The name of the group that a physical volume belongs to.
fn group_of(unit: &Unit<'_>) -> Option<String> {
    unit.members.iter().find_map(|member| member.found.label.clone())
}

fn array(draft: &Draft<'_>, outlook: &Outlook, unit: &Unit<'_>) -> Result<Via, String> {
    // More than one, where a cut left old and new ids beside each other and each half was taken for an array.
    let mut devices: Vec<String> = unit.members.iter().flat_map(|member| member.part.usage.holders.clone()).collect();
    devices.sort();
    devices.dedup();
    let Some(first) = devices.first().cloned() else { return Ok(Via::Sectors) };
    if outlook.named.iter().any(|path| path.starts_with("/dev/md")) {
        // The name of an array is bound to its UUID by mdadm.conf(5), of which the initramfs has a copy.
        return Err(
            "fstab or crypttab name an array by its device, and the initramfs, which gives the name, by its UUID"
                .into(),
        );
    }
    // Only volume groups are stopped on an array; what they are is told by what stands on it.
    let on_it: Vec<&Part> =
        draft.guest.disks.parts().map(|(_, part)| part).filter(|p| devices.contains(&p.path)).collect();
    let above: Vec<String> = on_it.iter().flat_map(|part| part.usage.holders.clone()).collect();
    if let Some(busy) = busy(draft, &[&above[..], &devices[..]].concat()) {
        return Err(format!("{busy}, which is on it, is in use; a first boot changes them before that"));
    }
    let found = on_it.iter().flat_map(|part| &part.found).find(|found| found.format == Format::Lvm);
    let group = found.and_then(|found| found.label.clone()).map(|name| Active::VolumeGroup { name });
    if !above.is_empty() && group.is_none() {
        return Err("something stands on it that is not stopped here".into());
    }
    let group = group.filter(|_| !above.is_empty());
    let members: Vec<String> = unit.members.iter().map(|member| member.part.path.clone()).collect();
    let arrays = devices.into_iter().map(|device| Active::Array { device, members: members.clone() });
    let stop = group.iter().cloned().chain(arrays).collect();
    let start = std::iter::once(Active::Array { device: first, members: members.clone() }).chain(group).collect();
    Ok(Via::Stopped { stop, start })
}

#[cfg(test)]
mod tests;
