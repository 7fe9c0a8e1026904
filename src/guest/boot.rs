// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way from the firmware to `/`, link by link, as it stands now: does everything that is named on it exist?

use anyhow::Result;
use serde::Serialize;

use super::Guest;
use super::disks::Part;
use crate::disks::Format;
use crate::formats::boot_refs::{self, Target};
use crate::formats::fstab::{self, Source};
use crate::root::trim;

/// One thing that is named on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Link {
    /// The file that names it; absolute.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What on the line names it: `root`, `search`, a mount point.
    pub by: String,
    /// What is named.
    pub target: String,
    /// Where it leads: devices or a file. Empty where it leads nowhere.
    pub found: Vec<String>,
    /// Is it in order: does it lead somewhere, and to one place only?
    pub good: bool,
}

/// Every link of these files of the boot loader, then of fstab(5) and crypttab(5).
///
/// # Errors
/// When a file cannot be read.
pub fn links(guest: &Guest, loader: &[(String, String)]) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    for (path, text) in loader {
        let refs = boot_refs::read(text);
        let found: Vec<Vec<String>> = refs.iter().map(|one| find(guest, &one.target)).collect();
        for (number, one) in refs.iter().enumerate() {
            // One of two searches is enough, whichever of the two.
            let other = match number.checked_sub(1).filter(|before| refs[*before].or_next) {
                Some(before) => Some(before),
                None => one.or_next.then_some(number + 1),
            };
            let led = &found[number];
            let by_other = other.and_then(|at| found.get(at)).is_some_and(|found| !found.is_empty());
            let good = is_unique(&one.target, led) || led.is_empty() && by_other;
            links.push(Link {
                file: format!("/{}", trim(path)),
                line: one.line,
                by: one.by.clone(),
                target: one.target.to_string(),
                found: led.clone(),
                good,
            });
        }
    }
    let text = |path: &str| -> Result<String> {
        Ok(String::from_utf8_lossy(&guest.root.read(path)?.unwrap_or_default()).into_owned())
    };
    let mut table = |file: &str, line: usize, by: &str, source: &Source| {
        if let Source::Other(_) = source {
            return;
        }
        let target = Target::Device(source.clone());
        let found = find(guest, &target);
        let good = is_unique(&target, &found);
        links.push(Link { file: file.into(), line, by: by.into(), target: target.to_string(), found, good });
    };
    for (line, text) in (1..).zip(text("etc/fstab")?.lines()) {
        for entry in fstab::entries(text).iter().filter(|entry| !entry.has("noauto") && !entry.has("nofail")) {
            table("/etc/fstab", line, &entry.target, &entry.source);
        }
    }
    for (line, text) in (1..).zip(text("etc/crypttab")?.lines()) {
        for volume in
            fstab::volumes(text).iter().filter(|volume| !volume.options.iter().any(|option| option == "noauto"))
        {
            table("/etc/crypttab", line, &volume.name, &volume.source);
        }
    }
    Ok(links)
}

/// A file stands in several places where /boot is one; a device must be one only, or nobody knows which is taken. The
/// devices of one array or btrfs are one.
fn is_unique(target: &Target, found: &[String]) -> bool {
    match target {
        Target::Device(Source::Uuid(_) | Source::Label(_)) | Target::Array(_) | Target::File(_) => !found.is_empty(),
        _ => found.len() == 1,
    }
}

fn find(guest: &Guest, target: &Target) -> Vec<String> {
    let bare = |id: &str| id.replace(['-', ':'], "").to_lowercase();
    let holding = |format: Format, is: &dyn Fn(&str) -> bool| -> Vec<String> {
        let holds = |part: &Part| {
            part.found.iter().any(|found| found.format == format && found.ids.iter().any(|id| is(&bare(&id.value))))
        };
        guest.disks.parts().filter(|(_, part)| holds(part)).map(|(_, part)| part.place()).collect()
    };
    match target {
        Target::Device(source) => {
            let mut found = guest.disks.sought(&guest.root, source);
            found.sort();
            found.dedup();
            found
        }
        Target::Luks(uuid) if uuid.is_empty() => Vec::new(),
        Target::Luks(uuid) => holding(Format::Luks, &|id| id.starts_with(&bare(uuid))),
        Target::Array(uuid) => holding(Format::Md, &|id| id == bare(uuid)),
        Target::Volume(name) => {
            let mapped = name.split('/').map(|part| part.replace('-', "--")).collect::<Vec<_>>().join("-");
            let path = format!("/dev/mapper/{mapped}");
            let is = |part: &Part| part.usage.name.as_ref() == Some(&path);
            guest.disks.parts().filter(|(_, part)| is(part)).map(|_| path.clone()).collect()
        }
        // The boot loader's root is that of the guest, or what is mounted at one of these.
        Target::File(path) => {
            let places = ["", "boot", "boot/efi", "efi", "boot/firmware"].map(|dir| format!("{dir}/{}", trim(path)));
            let exists = |place: &String| guest.root.stat(trim(place)).is_ok_and(|found| found.is_some());
            places.into_iter().filter(exists).map(|place| format!("/{}", trim(&place))).collect()
        }
    }
}
