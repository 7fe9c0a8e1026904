// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the running system still has from the files as they were.

use anyhow::Result;

use super::{Moved, left};
use crate::formats::network::What;
use crate::guest::links::Configurator;
use crate::plan::draft::Draft;
use crate::plan::{Live, Severity};
use crate::regenerators::network::Survey;

/// Kernel images' companions, which hold a copy of what udev reads: initramfs-tools, dracut, mkinitcpio.
const INITRAMFS: [&str; 4] = ["boot/initrd.img-*", "boot/initramfs-*", "boot/initrd-*", "boot/*/*/initrd"];

/// Drafts what makes the running system follow, where that is safe, and says where it is not.
pub fn bring(draft: &mut Draft<'_>, survey: &Survey, moved: &[Moved]) -> Result<()> {
    tell_baked(draft, survey)?;
    survey.tell_running(draft);
    if !draft.guest.running {
        return Ok(());
    }
    let mut again = Vec::new();
    for moved in moved {
        let Some(link) = draft.guest.links.named(&moved.link).cloned() else { continue };
        if !link.is_free() {
            if moved.by_udev || moved.address.is_some() {
                let why = if link.carries.is_empty() {
                    "it is up".to_owned()
                } else {
                    format!("{} is reached through it", link.carries.join(" and "))
                };
                draft.finding(
                    Severity::Note,
                    &link.name,
                    format!("keeps its name and address until the next boot: {why}"),
                );
            }
            continue;
        }
        if let (Some(after), Some(before)) = (moved.address, link.mac)
            && before != after
            && moved.by_udev
        {
            let (before, after) = (before.to_string(), after.to_string());
            draft.live(Live::LinkAddress { link: link.name.clone(), before, after }, "the link is down");
        }
        if moved.by_udev && !again.contains(&link.name) {
            again.push(link.name);
        }
    }
    if !again.is_empty() && draft.guest.systemd {
        draft.live(Live::LinkSetup { links: again }, "names by the new address");
    }
    Ok(())
}

/// The initramfs holds the files of udev as they were when it was made, and applies them first.
fn tell_baked(draft: &mut Draft<'_>, survey: &Survey) -> Result<()> {
    let copied = survey.files.iter().find(|file| file.owner == Configurator::Udev && !file.edits.is_empty());
    let Some(file) = copied else { return Ok(()) };
    let line = file.definitions.iter().flat_map(|definition| definition.all(What::Match)).map(|item| item.line).next();
    let path = file.path.clone();
    for pattern in INITRAMFS {
        if let Some(image) = draft.glob(pattern)?.first() {
            let message = format!(
                "/{image} may hold a copy of this file as it was, which udev reads first; it goes when the image is made anew"
            );
            left(draft, &path, line.unwrap_or(1), &message);
            return Ok(());
        }
    }
    Ok(())
}
