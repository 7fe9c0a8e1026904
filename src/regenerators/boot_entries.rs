// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boot loader entries and directories that are named after the machine-id: pinned to their old name, or renamed.
//!
//! kernel-install(8) names what it installs by the *entry token*, which is the machine-id unless `/etc/kernel/entry-token`
//! says otherwise. A new machine-id alone would leave the installed entries orphaned at the next kernel update.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::formats::words;
use crate::plan::Severity;
use crate::plan::draft::Draft;

const TOKEN: &str = "etc/kernel/entry-token";

/// `machine-id.boot-entries`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The names stay, and the token says so.
    #[default]
    Pin,
    /// The names follow the id.
    Rename,
}

/// What of a boot partition bears the id.
#[derive(Debug, Default, PartialEq)]
struct Named {
    /// `loader/entries/<id>-*.conf` (Boot Loader Specification, type 1).
    entries: Vec<String>,
    /// `EFI/Linux/<id>-*.efi` (type 2), and Red Hat's rescue kernel and its initramfs.
    images: Vec<String>,
    /// `<id>/`, with the kernels of type 1 entries.
    directories: Vec<String>,
}

/// Drafts what becomes of everything that is named after `old`.
pub fn plan(mode: Mode, draft: &mut Draft<'_>, old: &str, new: Option<&str>) -> Result<()> {
    let mut named = Named::default();
    // An ESP is mounted at /efi, /boot/efi or /boot, and /boot/efi may be a link.
    let mut seen = Vec::new();
    for top in ["boot", "boot/efi", "efi"] {
        let place = draft.resolve(top)?;
        if !seen.contains(&place) && draft.is_dir(top)? {
            find(draft, &place, old, &mut named)?;
            seen.push(place);
        }
    }
    match (mode, new) {
        // A run that goes on after a cut finds less of the old names, and still has the rest to do.
        (Mode::Rename, Some(new)) => rename(draft, named, old, new),
        _ if named == Named::default() => Ok(()),
        _ => pin(draft, old),
    }
}

fn find(draft: &Draft<'_>, top: &str, id: &str, named: &mut Named) -> Result<()> {
    let glob = |pattern: String| draft.glob(&format!("{top}/{pattern}"));
    named.entries.extend(glob(format!("loader/entries/{id}-*.conf"))?);
    named.entries.extend(glob(format!("loader/entries/{id}.conf"))?);
    named.images.extend(glob(format!("EFI/Linux/{id}-*.efi"))?);
    named.images.extend(glob(format!("*-{id}"))?);
    named.images.extend(glob(format!("*-{id}.img"))?);
    named.directories.extend(glob(id.to_owned())?);
    Ok(())
}

fn pin(draft: &mut Draft<'_>, old: &str) -> Result<()> {
    if !draft.exists(TOKEN)? {
        draft.write(TOKEN, format!("{old}\n"), "boot loader entries keep the name that kernel updates look for")?;
    }
    let message = format!("boot loader entries stay named after the template's machine-id {old}");
    draft.finding(Severity::Note, "/etc/kernel/entry-token", message);
    Ok(())
}

/// Every new name exists, complete, before an old one goes: whatever is cut off, one set of entries boots.
fn rename(draft: &mut Draft<'_>, named: Named, old: &str, new: &str) -> Result<()> {
    let why = "boot loader entries are named after the machine-id";
    let renamed = |path: &str| {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        format!("{parent}/{}", name.replace(old, new))
    };
    for path in named.directories.iter().chain(&named.images) {
        let to = renamed(path);
        if !draft.exists(&to)? {
            draft.copy(path, &to, why)?;
        }
    }
    for path in &named.entries {
        if let Some(text) = draft.text(path)? {
            draft.write(&renamed(path), words::replace_hex(&text, old, new), why)?;
        }
    }
    for top in ["boot", "boot/efi", "efi"] {
        for path in ["loader/loader.conf", "grub2/grubenv", "grub/grubenv"] {
            let path = format!("{top}/{path}");
            if let Some(text) = draft.text(&path)?.filter(|text| text.contains(old)) {
                // Both ids have 32 characters, so that a grubenv keeps its 1024 bytes.
                draft.write(&path, words::replace_hex(&text, old, new), why)?;
            }
        }
    }
    for path in [TOKEN, "etc/machine-info"] {
        if let Some(text) = draft.text(path)?.filter(|text| text.contains(old)) {
            draft.write(path, words::replace_hex(&text, old, new), why)?;
        }
    }
    for path in named.entries.iter().chain(&named.directories).chain(&named.images) {
        draft.remove(path, why)?;
    }
    if named != Named::default() && draft.exists("sys/firmware/efi")? {
        let message = "an entry chosen in the firmware (LoaderEntryDefault) may still name the old id; bootctl set-default renews it";
        draft.finding(Severity::Note, "/sys/firmware/efi/efivars", message);
    }
    Ok(())
}
