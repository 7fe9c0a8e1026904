// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file systems of the boot loader, which a boot mounts later than its ids change: what is to be mounted where, so that
//! what it reads can be seen.

use super::Disks;
use crate::disks::Format;
use crate::disks::swap::HIBERNATED;
use crate::formats::fstab;
use crate::root::Root;

/// Where boot loaders, and what they read, are mounted.
const POINTS: [&str; 4] = ["/boot", "/boot/efi", "/boot/firmware", "/efi"];

/// Options of vfat that say what its files look like, Documentation/filesystems/vfat.rst; the others are for mount(8).
const OF_VFAT: [&str; 10] =
    ["umask=", "fmask=", "dmask=", "uid=", "gid=", "codepage=", "iocharset=", "shortname=", "utf8", "quiet"];

/// A file system that reseal mounts for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// The device.
    pub device: String,
    /// The mount point, absolute.
    pub point: String,
    /// The type, as mount(2) has it.
    pub kind: String,
    /// What is its type's own among its options, as mount(2) has it.
    pub options: String,
    /// Must it be checked first? It was not unmounted cleanly, and has no journal.
    pub check: bool,
}

/// What fstab(5) has for the boot loader, is there, and is not mounted; outer mount points first.
pub fn wanted(root: &Root, disks: &Disks) -> Vec<Aside> {
    // A hibernated system knows what is on its disks: nothing may be mounted under it.
    let mut found = disks.parts().flat_map(|(_, part)| &part.found);
    if found.any(|found| found.format == Format::Swap && found.variant == HIBERNATED) {
        return Vec::new();
    }
    let fstab = root.read("etc/fstab").ok().flatten().unwrap_or_default();
    let mut wanted: Vec<Aside> = Vec::new();
    for entry in fstab::entries(&String::from_utf8_lossy(&fstab)) {
        let devices = disks.sought(root, &entry.source);
        let ([device], true) = (&devices[..], POINTS.contains(&entry.target.as_str())) else { continue };
        let Some((_, part)) = disks.parts().find(|(_, part)| part.path == *device) else { continue };
        let found = part.found.iter().find(|found| matches!(found.format, Format::Ext | Format::Xfs | Format::Fat));
        let Some(found) = found.filter(|_| !part.usage.mounted && !part.usage.read_only) else { continue };
        let kind = match found.format {
            Format::Ext => found.variant.as_str(),
            Format::Xfs => "xfs",
            _ => "vfat",
        };
        let is_own = |option: &&String| kind == "vfat" && OF_VFAT.iter().any(|own| option.starts_with(own));
        let options: Vec<&str> = entry.options.iter().filter(is_own).map(String::as_str).collect();
        if !wanted.iter().any(|earlier| earlier.point == entry.target || earlier.device == *device) {
            wanted.push(Aside {
                device: device.clone(),
                point: entry.target.clone(),
                kind: kind.to_owned(),
                options: options.join(","),
                check: kind == "vfat" && found.refusal.is_some(),
            });
        }
    }
    wanted.sort_by(|one, other| one.point.cmp(&other.point));
    wanted
}
