// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the running system must be told when the ids of its disks change: old names stay alive, units are made anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;

use crate::formats::fstab::{self, Entry, Source, Volume};
use crate::formats::unit_name::escape_path;
use crate::plan::draft::Draft;
use crate::plan::{Kind, Live, Renewal, Severity, Stage};

/// Files that systemd makes units from, or that are units.
const SOURCES_OF_UNITS: [&str; 3] = ["etc/fstab", "etc/crypttab", "etc/systemd/system/"];

/// Looks at the disks once more when the volumes of crypttab(5) are open.
const VOLUMES: &str = "reseal-early-volumes.service";

/// Drafts what follows from the renewals and from the files that earlier regenerators drafted.
///
/// # Errors
/// When fstab(5) cannot be read.
pub fn plan(draft: &mut Draft<'_>) -> Result<()> {
    let guest = draft.guest;
    if !guest.disks.are_running() || matches!(guest.stage, Some(Stage::System | Stage::Keys)) {
        return Ok(());
    }
    let renewals: Vec<Renewal> = draft.renewals().into_iter().filter(|renewal| renewal.old != renewal.new).collect();
    let rules = rules(&renewals);
    if !rules.is_empty() && guest.root.stat("run/udev")?.is_some() {
        draft.live(Live::DeviceNames { rules }, "PID 1 waits for the old names, and unmounts what loses one");
    }
    // PID 1 of the system that is booted is not there yet in the initramfs.
    if !guest.systemd || guest.stage == Some(Stage::Initrd) {
        return Ok(());
    }
    let changed = draft.changed()?;
    let reads = |path: &String| SOURCES_OF_UNITS.iter().any(|source| path.starts_with(source));
    let mut start = Vec::new();
    if guest.stage == Some(Stage::Early) {
        let fstab = fstab::entries(&draft.text("etc/fstab")?.unwrap_or_default());
        if changed.iter().any(reads) {
            let new: BTreeSet<&str> = renewals.iter().filter_map(|renewal| renewal.new.as_deref()).collect();
            start = fstab.iter().filter_map(|entry| unit(entry, &new)).collect();
        }
        if volumes_wait(draft, &fstab)? {
            start.push(VOLUMES.to_owned());
        }
    }
    if !start.is_empty() || changed.iter().any(reads) {
        draft.live(Live::Units { start }, "it waits for the names in the old files");
    }
    Ok(())
}

/// Are there volumes that the boot opens later, and may what mounts what is inside wait until it was looked at?
fn volumes_wait(draft: &mut Draft<'_>, fstab: &[Entry]) -> Result<bool> {
    let text = draft.text("etc/crypttab")?.unwrap_or_default();
    let open: Vec<String> = draft.guest.disks.parts().filter_map(|(_, part)| part.usage.name.clone()).collect();
    let is_open = |volume: &Volume| open.contains(&format!("/dev/mapper/{}", volume.name));
    let volumes: Vec<Volume> =
        fstab::volumes(&text).into_iter().filter(|volume| is_opened_at_boot(volume) && !is_open(volume)).collect();
    if let Some(volume) = volumes.iter().find(|volume| waits_for_a_mount(volume, fstab)) {
        // The volume waits for a mount, which would wait for the volume.
        let name = &volume.name;
        let message =
            format!("what is inside of volumes keeps its ids: a file of {name} is on a file system of its own");
        draft.finding(Severity::Warning, "/etc/crypttab", message);
        return Ok(false);
    }
    Ok(!volumes.is_empty())
}

/// Does the boot open it, and is there anything in it that has an id?
fn is_opened_at_boot(volume: &Volume) -> bool {
    let left = ["noauto", "_netdev", "swap", "tmp", "plain"];
    !volume.options.iter().any(|option| left.contains(&option.as_str()))
}

/// Is its key, its header or itself a file that is mounted first?
fn waits_for_a_mount(volume: &Volume, fstab: &[Entry]) -> bool {
    let header = volume.options.iter().find_map(|option| option.strip_prefix("header="));
    let itself = if let Source::Other(path) = &volume.source { Some(path.as_str()) } else { None };
    let files = [volume.key.as_deref(), header, itself].into_iter().flatten();
    files
        .into_iter()
        .any(|file| fstab.iter().any(|entry| entry.target != "/" && file.starts_with(&format!("{}/", entry.target))))
}

/// The unit of a line that names a new id and is started at boot, systemd-fstab-generator(8). The boot's own job for it
/// was made from the old file, and checks no file system under the new name.
fn unit(entry: &Entry, new: &BTreeSet<&str>) -> Option<String> {
    let (Source::Uuid(id) | Source::PartUuid(id)) = &entry.source else { return None };
    let tag = if matches!(entry.source, Source::Uuid(_)) { "uuid" } else { "partuuid" };
    if !new.contains(id.as_str()) || entry.has("noauto") || entry.has("x-systemd.automount") {
        return None;
    }
    match entry.target.as_str() {
        "/" | "/usr" => None,
        _ if entry.is_swap() => Some(format!("{}.swap", escape_path(&format!("/dev/disk/by-{tag}/{id}")))),
        at if at.starts_with('/') => Some(format!("{}.mount", escape_path(at))),
        _ => None,
    }
}

/// Rules that add a link of the old name wherever there is one of the new, as 60-persistent-storage.rules of systemd,
/// 69-lvm.rules and 63-md-raid-arrays.rules make them.
fn rules(renewals: &[Renewal]) -> String {
    let mut rules = String::new();
    for renewal in renewals {
        let (Some(old), Some(new)) = (&renewal.old, &renewal.new) else { continue };
        let (property, link) = match renewal.kind {
            Kind::FsUuid | Kind::SwapUuid | Kind::LuksUuid => ("ID_FS_UUID", "disk/by-uuid/"),
            Kind::PartitionId => ("ID_PART_ENTRY_UUID", "disk/by-partuuid/"),
            Kind::LvmUuid => ("ID_FS_UUID", "disk/by-id/lvm-pv-uuid-"),
            Kind::MdUuid => ("MD_UUID", "disk/by-id/md-uuid-"),
            _ => continue,
        };
        let (old, new) = match renewal.kind {
            Kind::MdUuid => (four_words(old), four_words(new)),
            _ => (old.clone(), new.clone()),
        };
        let plain = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-:".contains(&byte));
        if plain(&old) && plain(&new) {
            // Writing to a String cannot fail.
            let _ = writeln!(rules, "SUBSYSTEM==\"block\", ENV{{{property}}}==\"{new}\", SYMLINK+=\"{link}{old}\"");
        }
    }
    rules
}

/// As mdadm(8) writes an array's UUID: four words of eight digits with colons between them.
fn four_words(uuid: &str) -> String {
    let digits: Vec<char> = uuid.chars().filter(|digit| *digit != '-').collect();
    digits.chunks(8).map(|word| word.iter().collect::<String>()).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_new_ids_are_started() {
        let new = BTreeSet::from(["b-1", "c-2"]);
        let text = "UUID=b-1 /srv/a-b ext4 defaults 0 2\nUUID=b-1 / ext4 defaults\nPARTUUID=c-2 none swap sw\n\
                    UUID=b-1 /auto xfs x-systemd.automount\nUUID=b-1 /no xfs noauto\nUUID=other /x xfs defaults\n";
        let units: Vec<String> = fstab::entries(text).iter().filter_map(|entry| unit(entry, &new)).collect();
        assert_eq!(units, ["srv-a\\x2db.mount", "dev-disk-by\\x2dpartuuid-c\\x2d2.swap"]);
    }

    #[test]
    fn a_volume_that_waits_for_a_mount_holds_no_mount_up() {
        let fstab = fstab::entries("UUID=a / ext4 defaults\nUUID=b /keys ext4 defaults\n");
        let waits = |line: &str| fstab::volumes(line).iter().any(|volume| waits_for_a_mount(volume, &fstab));
        assert!(
            waits("x UUID=c /keys/x luks") && waits("x UUID=c none luks,header=/keys/h") && waits("x /keys/img none")
        );
        assert!(!waits("x UUID=c /etc/keys/x luks") && !waits("x UUID=c none luks"));
        let opened = |line: &str| fstab::volumes(line).iter().any(is_opened_at_boot);
        assert!(opened("x UUID=c none luks,discard") && !opened("x UUID=c none luks,noauto"));
        assert!(!opened("x /dev/vdb /dev/urandom swap"));
    }

    #[test]
    fn a_value_that_is_no_id_makes_no_rule() {
        let of = |old: &str| {
            let (subject, old) = ("x".into(), Some(old.to_owned()));
            rules(&[Renewal { kind: Kind::FsUuid, subject, old, new: Some("new-1".into()) }])
        };
        assert_eq!(of("old-1"), "SUBSYSTEM==\"block\", ENV{ID_FS_UUID}==\"new-1\", SYMLINK+=\"disk/by-uuid/old-1\"\n");
        assert_eq!(of("x\", RUN+=\"/bin/sh"), "");
    }
}
