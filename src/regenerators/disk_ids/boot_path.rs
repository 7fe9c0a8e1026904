// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way from the firmware to `/`: may the id of a file system on it change, and what do its files hold meanwhile?

mod grub;

use anyhow::{Context as _, Result};

use super::refusal::Outlook;
use super::unit::Unit;
use crate::catalogue::{self, Catalogue};
use crate::disks::{Format, Id};
use crate::formats::anchor::{self, Changing, Name};
use crate::formats::encoding::AnyText;
use crate::formats::known_ids::KnownIds;
use crate::guest::Guest;
use crate::guest::disks::{Part, partition_id};
use crate::guest::initramfs;
use crate::plan::derive::Seed;
use crate::plan::draft::{Draft, Past, Purpose};
use crate::plan::{Kind, Stage};

/// systemd-remount-fs.service(8) makes the root writable by it, before ids change.
const FSTAB: &str = "etc/fstab";

/// The files that a boot loader reads and that can be seen, and fstab(5).
#[derive(Debug, Default)]
pub struct BootPath {
    files: Vec<(String, AnyText)>,
    /// What kept a file from being read.
    unread: Option<String>,
}

impl BootPath {
    /// Reads the files.
    pub fn of(draft: &Draft<'_>) -> BootPath {
        let mut found = BootPath::default();
        if let Err(error) = found.read(draft) {
            found.unread = Some(format!("{error:#}"));
        }
        found
    }

    fn read(&mut self, draft: &Draft<'_>) -> Result<()> {
        let formats = [catalogue::Format::Grub, catalogue::Format::DeviceTags];
        let entries = Catalogue::load(draft)?.references;
        for pattern in entries.iter().filter(|entry| formats.contains(&entry.format)).flat_map(|entry| &entry.paths) {
            if !(pattern.starts_with("/boot/") || pattern.starts_with("/efi/")) {
                continue;
            }
            for path in draft.glob(pattern)? {
                self.read_one(draft, path)?;
            }
        }
        self.read_one(draft, FSTAB.to_owned())
    }

    fn read_one(&mut self, draft: &Draft<'_>, path: String) -> Result<()> {
        if let Some(bytes) = draft.read(&path).with_context(|| format!("reading /{path}"))? {
            self.files.push((path, AnyText::read(bytes)));
        }
        Ok(())
    }

    /// May the ids of a unit that carries `/` change in this boot?
    ///
    /// # Errors
    /// Why not, a sentence that goes on after a colon.
    pub fn may_change(&self, draft: &Draft<'_>, outlook: &Outlook, unit: &Unit<'_>) -> Result<(), String> {
        let on_it: Vec<&str> =
            unit.members.iter().flat_map(|member| &member.part.usage.carries).map(String::as_str).collect();
        let is_aside = unit.members.iter().all(|member| member.part.usage.aside);
        match unit.format {
            Format::Ext if on_it == ["/"] => {}
            Format::Xfs | Format::Btrfs if on_it == ["/"] => {}
            Format::Ext | Format::Fat if on_it == ["/boot"] && is_aside => {}
            _ => {
                return Err(format!(
                    "{} is on it, and the boot path's quotes of them do not follow yet",
                    on_it.join(" and ")
                ));
            }
        }
        let on_it = on_it.join(" and ");
        if !draft.guest.stage.is_some_and(Stage::is_of_disks) {
            return Err(format!("{on_it} is on it; a first boot changes them"));
        }
        if !draft.quotes_follow {
            return Err(format!("{on_it} is on it, and `references` is left out, which the boot path needs"));
        }
        if let Some(why) = &self.unread {
            return Err(format!("{on_it} is on it, and the boot loader's files cannot all be read: {why}"));
        }
        let guest = draft.guest;
        let parts = || guest.disks.parts().map(|(_, part)| part);
        let is_seen = |part: &Part| part.usage.mounted || part.usage.aside;
        if parts().any(|part| part.usage.carries.iter().any(|at| at == "/boot") && !is_seen(part)) {
            return Err(format!("{on_it} is on it, and /boot, which may quote them, could not be looked into"));
        }
        let is_fat = |part: &Part| part.found.iter().any(|found| found.format == Format::Fat);
        let by_efi = guest.root.stat("sys/firmware/efi").is_ok_and(|found| found.is_some());
        if by_efi && !parts().any(|part| is_fat(part) && is_seen(part)) {
            return Err(format!(
                "{on_it} is on it, and the EFI system partition, which may quote them, could not be looked into"
            ));
        }
        if parts().any(|part| part.found.iter().any(|found| found.tpm)) {
            return Err(format!(
                "{on_it} is on it, and a TPM, which opens a LUKS volume here, may have measured the boot loader's files"
            ));
        }
        if by_efi {
            loaders(draft, unit)?;
        } else {
            grub::is_in_front(draft, unit)?;
        }
        for id in unit.ids() {
            if outlook.on_command_line(id) && !self.quotes(id) {
                return Err("the kernel's command line quotes them, and no file that is known here gives it".into());
            }
            initramfs(draft, id).map_err(|why| format!("{on_it} is on it, and {why}"))?;
        }
        grub::reads(draft, unit, self.files.iter().map(|(path, _)| path.as_str()))
    }

    fn quotes(&self, id: &Id) -> bool {
        let ids = KnownIds::new([(Kind::FsUuid, id.value.as_str(), "")]);
        let mut loader = self.files.iter().filter(|(path, _)| path != FSTAB);
        loader.any(|(_, file)| !ids.quotes(&anchor::settled(&file.text)).is_empty())
    }

    /// What each file holds while the ids of a unit change to these.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn anchored(
        &self,
        draft: &Draft<'_>,
        unit: &Unit<'_>,
        after: &[Vec<Id>],
    ) -> Result<Vec<(String, Vec<u8>)>, String> {
        let mut all = Vec::new();
        for (member, after) in unit.members.iter().zip(after) {
            for (old, new) in unit.before(member).iter().zip(after) {
                let partition = partition_id(member.disk, member.part).map(Name::Partition);
                let name = partition.or_else(|| member.part.usage.name.clone().map(Name::Mapping));
                let change = Changing { old: old.value.clone(), new: new.value.clone(), name };
                for (path, file) in &self.files {
                    let wrong = |why: String| format!("/{path}: {why}");
                    let drafted = draft.anchored(path).map_err(|error| wrong(format!("{error:#}")))?;
                    // A cut may have left the file in this form, for the same change.
                    let base = drafted.map_or_else(|| anchor::settled(&file.text), |it| AnyText::read(it.clone()).text);
                    let is_table = path == FSTAB;
                    let anchored = if is_table { anchor::anchored_fstab } else { anchor::anchored };
                    if let Some(text) = anchored(&base, &change).map_err(wrong)? {
                        all.push((path.clone(), file.encode(&text)));
                    }
                }
            }
        }
        Ok(all)
    }
}

/// The files of a guest that a boot loader reads, with their texts.
///
/// # Errors
/// When one cannot be read.
pub fn boot_files(guest: &Guest) -> Result<Vec<(String, String)>> {
    let mut found = BootPath::default();
    found.read(&Draft::new(guest, Purpose::Reset, Past::none(Seed::random(b"")?)))?;
    let files = found.files.into_iter().filter(|(path, _)| path != FSTAB);
    Ok(files.map(|(path, file)| (path, file.text)).collect())
}

/// May a file be in the form that holds while ids change? It is read before any of reseal runs.
pub fn may_be_anchored(path: &str) -> bool {
    path.starts_with("boot/") || path.starts_with("efi/") || path == FSTAB
}

/// Is it sure that no program of the boot loader quotes it? The image that grub-install(8) makes searches for the UUID of
/// the file system that it is to read; those that are signed read a file that does.
fn loaders(draft: &Draft<'_>, unit: &Unit<'_>) -> Result<(), String> {
    for pattern in ["boot/efi/EFI/*/*", "efi/EFI/*/*", "boot/EFI/*/*"] {
        for path in draft.glob(pattern).map_err(|error| format!("{error:#}"))? {
            if !path.to_ascii_lowercase().ends_with(".efi") {
                continue;
            }
            let program = draft.read(&path).map_err(|error| format!("{error:#}"))?.unwrap_or_default();
            if let Some(id) = unit.ids().find(|id| memchr::memmem::find(&program, id.value.as_bytes()).is_some()) {
                return Err(format!("/{path} searches for {}: `grub-install` would have to follow", id.value));
            }
        }
    }
    Ok(())
}

/// Is it sure that no initramfs quotes it? That of initramfs-tools(7) holds the root's UUID only where its configuration
/// says so; dracut's and mkinitcpio's may wait for it. One that has reseal in it has left a list of what it quotes.
fn initramfs(draft: &Draft<'_>, id: &Id) -> Result<(), String> {
    let glob = |pattern: &str| draft.glob(pattern).map_err(|error| format!("{error:#}"));
    let images = ["boot/initrd*", "boot/initramfs*"].map(glob);
    if images.iter().all(|images| images.as_ref().is_ok_and(Vec::is_empty)) {
        return Ok(());
    }
    if !draft.exists("usr/sbin/mkinitramfs").map_err(|error| format!("{error:#}"))? {
        let list = initramfs::left(&draft.guest.root).ok_or(
            "only an initramfs of initramfs-tools, or one that has reseal in it, is known not to wait for them",
        )?;
        if let Some(path) = list.get(&id.value.to_lowercase()) {
            return Err(format!("{path} in the initramfs quotes them"));
        }
        return other_kernels(draft, images.into_iter().flatten().flatten());
    }
    let ids = KnownIds::new([(Kind::FsUuid, id.value.as_str(), "")]);
    for pattern in
        ["etc/initramfs-tools/initramfs.conf", "etc/initramfs-tools/conf.d/*", "usr/share/initramfs-tools/conf.d/*"]
    {
        for path in glob(pattern)? {
            let text = draft.read(&path).map_err(|error| format!("{error:#}"))?.map(AnyText::read);
            if text.is_some_and(|file| !ids.quotes(&file.text).is_empty()) {
                return Err(format!("/{path}, of which the initramfs has a copy, quotes them"));
            }
        }
    }
    Ok(())
}

/// An initramfs that did not run has left no list. One for rescue is for every machine, dracut.conf(5), `hostonly="no"`.
fn other_kernels(draft: &Draft<'_>, mut images: impl Iterator<Item = String>) -> Result<(), String> {
    let release = draft.guest.root.read("proc/sys/kernel/osrelease").ok().flatten().unwrap_or_default();
    let release = String::from_utf8_lossy(&release).trim().to_owned();
    let ran = |image: &String| !release.is_empty() && image.contains(&release);
    match images.find(|image| !ran(image) && !image.contains("rescue")) {
        Some(image) => Err(format!("/{image}, which did not run in this boot, may quote them")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
