// SPDX-License-Identifier: MIT OR Apache-2.0
//! Volume keys of LUKS volumes, after the boot: cryptsetup-reencrypt(8) does the work and can be stopped at any time;
//! the header tells where it is, so that another run goes on.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::tools::Program;
use super::writer::Writer;
use crate::disks::Format;
use crate::disks::device::{Device, Window};
use crate::disks::luks::{VolumeKey, volume_key};
use crate::formats::scheduled_keys::{self, PATH, Scheduled};
use crate::guest::Guest;
use crate::guest::disks::Part;
use crate::root::Meta;

/// Works through the list that the last reset left: a volume that has a key of its own leaves it. Calls `tell` with each
/// device, and why it has none yet, if it has none.
///
/// # Errors
/// When the list cannot be read or written.
pub fn renew_volume_keys(guest: &Guest, mut tell: impl FnMut(&str, Option<&anyhow::Error>)) -> Result<()> {
    let Some(bytes) = guest.root.read(PATH)? else { return Ok(()) };
    let mut left = scheduled_keys::parse(&String::from_utf8_lossy(&bytes))?;
    let writer = Writer::new(&guest.root);
    for volume in left.clone() {
        let place = format!("UUID={}", volume.uuid);
        match find(guest, &volume).and_then(|part| reencrypt(part, &volume)) {
            Ok(()) => {
                left.retain(|other| *other != volume);
                tell(&place, None);
            }
            Err(error) => tell(&place, Some(&error)),
        }
        match left.is_empty() {
            true => writer.remove(PATH)?,
            false => writer.put(PATH, scheduled_keys::print(&left)?.as_bytes(), Meta::root(0o644))?,
        }
    }
    Ok(())
}

/// The one device that has this UUID, and that cryptsetup(8) will know whether it is open.
fn find<'g>(guest: &'g Guest, volume: &Scheduled) -> Result<&'g Part> {
    let is_it = |part: &&Part| {
        let mut luks = part.found.iter().filter(|found| found.format == Format::Luks);
        luks.any(|found| found.ids.iter().any(|id| id.value == volume.uuid))
    };
    let parts: Vec<&Part> = guest.disks.parts().map(|(_, part)| part).filter(is_it).collect();
    let [part] = parts[..] else { bail!("{} devices have this UUID", parts.len()) };
    // What is open under an older UUID is taken for closed, and encrypted under the feet of who uses it.
    let mapping = format!("CRYPT-LUKS2-{}-", volume.uuid.replace('-', ""));
    for holder in guest.disks.node(&part.path).map_or(&[][..], |node| &node.holders) {
        let holder = guest.disks.node(&format!("/dev/{holder}")).and_then(|node| node.mapping.clone());
        if !holder.is_some_and(|holder| holder.starts_with(&mapping)) {
            bail!("{} is in use under another UUID, until the next boot", part.path);
        }
    }
    Ok(part)
}

/// Encrypts a volume anew, or goes on with it.
fn reencrypt(part: &Part, volume: &Scheduled) -> Result<()> {
    let device = &part.path;
    let read = || -> Result<VolumeKey> {
        let open = Device::open(Path::new(device))?;
        let key = volume_key(&Window::new(&open, part.offset, part.size))?;
        key.with_context(|| format!("{device} is no LUKS2 volume any more"))
    };
    let key = read()?;
    let mut arguments = vec!["reencrypt", "--batch-mode", "--key-file", &volume.key_file];
    if key.under_way {
        arguments.push("--resume-only");
    } else if !key.digests.contains(&volume.digest) {
        return Ok(());
    } else if key.slots != 1 || key.has_tokens || !key.has_room {
        bail!("{device} has got more key slots or tokens since, or its header has no room left");
    }
    arguments.push(device);
    Program { name: "cryptsetup", arguments: &arguments, patient: true, ..Program::default() }.run()?;
    let key = read()?;
    if key.under_way || key.digests.contains(&volume.digest) {
        bail!("{device} still has the template's volume key");
    }
    Ok(())
}
