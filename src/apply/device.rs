// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ids on devices and images: planned again from what stands there, written batch by batch, read back.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::Mode;

use super::journal;
use crate::disks::device::{Device, Window};
use crate::disks::{self, Format, Id, Patch};
use crate::guest::Guest;
use crate::plan::derive::hex;

/// Offset and size in bytes of what lies on the device.
type Place = (u64, u64);

/// Does it hold these ids, in every copy of them?
pub fn holds(device: &str, place: Place, format: Format, ids: &[Id]) -> Result<bool> {
    let open = Device::open(Path::new(device)).with_context(|| format!("opening {device}"))?;
    let window = Window::new(&open, place.0, place.1);
    let found = disks::probe(&window, format)?;
    Ok(found.is_some_and(|found| ids.iter().all(|id| found.ids.contains(id)))
        && disks::plan(&window, format, ids)?.batches.is_empty())
}

/// The loop device that an image is attached to, if it is: a mounted file system would write its own ids back.
fn attached(device: &str) -> Option<String> {
    let loops = std::fs::read_dir("/sys/block").ok()?.flatten();
    let mut loops = loops.filter(|entry| {
        let file = std::fs::read_to_string(entry.path().join("loop/backing_file"));
        file.is_ok_and(|file| file.trim_end_matches('\n') == device)
    });
    loops.next().map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// Is it what the plan found, and nobody's else? A cut leaves each id as it was, or as it shall be.
pub fn unchanged(device: &str, place: Place, format: Format, ids: [&[Id]; 2]) -> Result<()> {
    if let Some(name) = attached(device) {
        bail!("{device} is attached as /dev/{name}; `losetup -d /dev/{name}` lets it go");
    }
    let open = Device::open(Path::new(device)).with_context(|| format!("opening {device}"))?;
    let found = disks::probe(&Window::new(&open, place.0, place.1), format)?;
    let known = |id: &Id| !format.renews(id) || ids.iter().any(|list| list.contains(id));
    if !found.is_some_and(|found| found.ids.iter().all(known)) {
        bail!("{device} has changed since the plan was made");
    }
    Ok(())
}

/// Gives it these ids. The sectors that are written over are kept in the journal until the device is read back.
pub fn set(guest: &Guest, device: &str, place: Place, format: Format, ids: &[Id]) -> Result<()> {
    let patch = {
        let open = Device::open(Path::new(device)).with_context(|| format!("opening {device}"))?;
        disks::plan(&Window::new(&open, place.0, place.1), format, ids)?
    };
    journal::keep_sectors(guest, &sectors(device, place, &patch))?;
    write(device, place, &patch).with_context(|| format!("writing {device}"))?;
    if !holds(device, place, format, ids)? {
        bail!("{device} does not hold what was written to it");
    }
    Ok(())
}

/// Offsets on the device and the old bytes, a line each.
fn sectors(device: &str, place: Place, patch: &Patch) -> String {
    let mut text = format!("{device}\n");
    for write in patch.batches.iter().flatten() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {}", place.0 + write.offset, hex(&write.before));
    }
    text
}

fn write(device: &str, place: Place, patch: &Patch) -> Result<()> {
    // A block device that is mounted or part of a mapping cannot be opened exclusively, open(2).
    let flags = OFlag::O_RDWR | OFlag::O_EXCL | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(nix::fcntl::open(Path::new(device), flags, Mode::empty())?);
    // udev and losetup respect this lock, systemd's "Locking Block Device Access".
    let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
    for batch in &patch.batches {
        for write in batch {
            let at = place.0.checked_add(write.offset).context("a write beyond the device")?;
            let inside = write.offset.checked_add(write.after.len() as u64).is_some_and(|end| end <= place.1);
            let mut now = vec![0; write.before.len()];
            file.read_exact_at(&mut now, at)?;
            if !inside || now != write.before || write.before.len() != write.after.len() {
                bail!("the sectors at byte {at} are not what the plan found");
            }
            file.write_all_at(&write.after, at)?;
        }
        file.sync_data()?;
    }
    Ok(())
}
