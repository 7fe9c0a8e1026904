// SPDX-License-Identifier: MIT OR Apache-2.0
//! Units that are named after a device: `dev-disk-by\x2duuid-ID.swap`, its drop-in directory, links to it.
//!
//! systemd finds a unit, and what belongs to it, by its name alone (systemd.unit(5)), and names the unit of a device after
//! its path (systemd-escape(1)). The content of units follows as that of every file that names devices.

use anyhow::Result;

use super::disks::Disks;
use crate::catalogue::Reference;
use crate::formats::device_tags::{self, Rules};
use crate::plan::Severity;
use crate::plan::draft::Draft;
use crate::root::{Kind, split};

const WHY: &str = "the unit is named after a device";

/// Renames what these paths name and is named after a renewed id; what a directory holds after the directory.
pub fn rename(draft: &mut Draft<'_>, reference: &Reference, disks: &Disks) -> Result<()> {
    let renamed = |text: &str| {
        let rules = Rules { fields: &[], named: &disks.named };
        disks.ids.replace(text, |quote| {
            reference.kinds.contains(&quote.spelling.kind) && device_tags::is_meant(quote, rules)
        })
    };
    for pattern in &reference.paths {
        for path in super::glob(draft, pattern) {
            let (parent, name) = split(&path);
            let to = format!("{parent}/{}", renamed(name));
            let Some(stat) = draft.stat(&path)? else { continue };
            match stat.kind {
                Kind::Directory if to != path => match draft.exists(&to)? {
                    false => draft.rename(&path, &to, WHY)?,
                    true => {
                        let message = format!("keeps the name of a device that is gone: /{to} exists");
                        draft.finding(Severity::Warning, &format!("/{path}"), message);
                    }
                },
                Kind::Link => {
                    let Some(target) = draft.read_link(&path)? else { continue };
                    let new_target = renamed(&target);
                    if to != path || new_target != target {
                        draft.link(&to, &new_target, WHY)?;
                    }
                    if to != path {
                        draft.remove(&path, WHY)?;
                    }
                }
                Kind::File if to != path => match draft.read(&path) {
                    Ok(Some(bytes)) => {
                        draft.put(&to, bytes, stat.meta, WHY)?;
                        draft.remove(&path, WHY)?;
                    }
                    Ok(None) => {}
                    Err(error) => super::unreadable(draft, &path, &error),
                },
                _ => {}
            }
        }
    }
    Ok(())
}
