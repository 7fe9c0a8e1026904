// SPDX-License-Identifier: MIT OR Apache-2.0
//! Will the GRUB that is installed find and read a file system whose ids have changed?

use anyhow::Result;

use crate::disks::device::{Device, Window};
use crate::disks::{Blocks as _, Format, ext};
use crate::plan::draft::Draft;

use super::super::unit::Unit;

/// The first version whose XFS driver knows `meta_uuid`, which a change of the UUID sets (grub-core/fs/xfs.c).
const META_UUID: (u32, u32) = (2, 4);

/// Does GRUB read what it has to, when the ids are others? `files` are those of the boot loader.
///
/// # Errors
/// Why that is not sure, a sentence that goes on after a colon.
pub fn reads<'f>(draft: &Draft<'_>, unit: &Unit<'_>, files: impl Iterator<Item = &'f str>) -> Result<(), String> {
    match unit.format {
        Format::Ext if needs_seed(unit).map_err(|error| format!("{error:#}"))? => reads_seed(draft, files),
        Format::Xfs if holds_boot(draft, unit) => reads_meta_uuid(draft, files),
        _ => Ok(()),
    }
}

pub(super) fn reads_meta_uuid<'f>(draft: &Draft<'_>, mut files: impl Iterator<Item = &'f str>) -> Result<(), String> {
    for dir in ["boot/grub", "boot/grub2"] {
        let modules = draft.glob(&format!("{dir}/*/normal.mod")).map_err(|error| format!("{error:#}"))?;
        if modules.is_empty() && files.any(|path| path.starts_with(&format!("{dir}/grub.cfg"))) {
            return Err(
                "an XFS gets the feature meta_uuid, and whether GRUB can read that is not known: its modules are \
                        not below /boot"
                    .into(),
            );
        }
        for path in modules {
            let module = draft.read(&path).map_err(|error| format!("{error:#}"))?.unwrap_or_default();
            if version(&module).is_none_or(|version| version < META_UUID) {
                return Err(format!(
                    "an XFS gets the feature meta_uuid, and the GRUB that is installed cannot read that, as /{path} says: \
                     `grub-install` of 2.04 or later"
                ));
            }
        }
    }
    Ok(())
}

/// The version that the module `normal` shows above the menu: a string of its own, `2.06-13+deb12u1`.
fn version(module: &[u8]) -> Option<(u32, u32)> {
    module.split(|byte| *byte == 0).find_map(|text| {
        let text = std::str::from_utf8(text).ok()?;
        let (major, rest) = text.split_once('.')?;
        let minor = &rest[..rest.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(rest.len())];
        let plausible = (major == "2" || major == "0") && minor.len() == 2;
        plausible.then(|| Some((major.parse().ok()?, minor.parse().ok()?)))?
    })
}

/// Is /boot in it?
fn holds_boot(draft: &Draft<'_>, unit: &Unit<'_>) -> bool {
    unit.members.iter().any(|member| member.part.usage.carries.iter().any(|at| at == "/boot"))
        || !draft.guest.disks.parts().any(|(_, part)| part.usage.carries.iter().any(|at| at == "/boot"))
}

/// Does the boot sector of its own disk lead to what GRUB reads of it? Then GRUB knows it by its partition; one that was
/// installed on another disk searches for its UUID, in an image that is compressed.
pub fn is_in_front(draft: &Draft<'_>, unit: &Unit<'_>) -> Result<(), String> {
    let menus = ["boot/grub/grub.cfg", "boot/grub2/grub.cfg"];
    let has_grub = menus.iter().any(|menu| draft.exists(menu).unwrap_or(true));
    if !holds_boot(draft, unit) || !has_grub {
        return Ok(());
    }
    // What lies on a volume group, a container or an array is found by the ids of those, which stay.
    let is_stacked = |path: &str| ["/dev/dm-", "/dev/md"].iter().any(|start| path.starts_with(start));
    for member in unit.members.iter().filter(|member| !is_stacked(&member.disk.path)) {
        let mut sector = [0; 512];
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", member.disk.path);
        let disk = Device::open(std::path::Path::new(&member.disk.path)).map_err(|error| wrong(&error))?;
        disk.read_at(0, &mut sector).map_err(|error| wrong(&error))?;
        // grub-core/boot/i386/pc/boot.S holds its name for its messages.
        if memchr::memmem::find(&sector, b"GRUB").is_none() {
            return Err(format!("the GRUB that reads it is not on {}, and may search for its UUID", member.disk.path));
        }
    }
    Ok(())
}

/// Can the boot loader read a file system that has metadata_csum_seed? Only GRUB's own driver has to, and that of GRUB
/// 2.06 and before refuses it (mended by its commit 7fd5feff97c4, which distributions have taken over).
fn reads_seed<'f>(draft: &Draft<'_>, mut files: impl Iterator<Item = &'f str>) -> Result<(), String> {
    for dir in ["boot/grub", "boot/grub2"] {
        let modules = draft.glob(&format!("{dir}/*/ext2.mod")).map_err(|error| format!("{error:#}"))?;
        if modules.is_empty() && files.any(|path| path.starts_with(&format!("{dir}/grub.cfg"))) {
            return Err("it needs metadata_csum_seed first, and whether GRUB can read that is not known: its modules \
                        are not below /boot"
                .into());
        }
        for path in modules {
            let module = draft.read(&path).map_err(|error| format!("{error:#}"))?.unwrap_or_default();
            if !knows_seed(&module) {
                return Err(format!(
                    "it needs metadata_csum_seed first, and the GRUB that is installed cannot read that, as \
                     /{path} says: `grub-install` of 2.12 or later"
                ));
            }
        }
    }
    Ok(())
}

/// Does a module of GRUB's take a file system with metadata_csum_seed? grub-core/fs/ext2.c masks the features that it
/// knows away, and what is left makes it refuse: the complement of those it knows stands in the code.
pub(super) fn knows_seed(module: &[u8]) -> bool {
    /// filetype, recover, meta_bg, extents, 64bit, flex_bg: what every GRUB since 2.00 knows.
    const ALWAYS: u32 = 0x2d6;
    /// Beside those mmp, encrypt, large_dir, and metadata_csum_seed.
    const SOMETIMES: u32 = 0x16100;
    const SEED: u32 = 0x2000;
    let words = module.windows(4).filter_map(|bytes| Some(!u32::from_le_bytes(*bytes.first_chunk()?)));
    let mut masks = words.filter(|mask| mask & ALWAYS == ALWAYS && mask & !(ALWAYS | SOMETIMES) == 0);
    // Were there two, it would not be known which of them it is.
    masks.next().is_some_and(|first| first & SEED != 0 && masks.all(|other| other == first))
}

fn needs_seed(unit: &Unit<'_>) -> Result<bool> {
    for member in &unit.members {
        let device = Device::open(std::path::Path::new(&member.part.path))?;
        if ext::needs_seed(&Window::new(&device, member.part.offset, member.part.size))? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_string_that_the_menu_shows() {
        let of = |module: &str| version(module.as_bytes());
        assert_eq!(of("\0GNU GRUB  version %s\x002.06-13+deb12u1\0normal\0"), Some((2, 6)));
        assert_eq!(of("\x002.02~beta2\0"), Some((2, 2)));
        assert_eq!(of("\x002.12\0"), Some((2, 12)));
        assert_eq!(of("GNU GRUB  version %s\0"), None);
    }
}
