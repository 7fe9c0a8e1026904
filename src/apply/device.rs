// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ids on devices and images: planned again from what stands there, written batch by batch, read back.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::Mode;

use super::{active, aside, journal, kernel};
use crate::disks::device::{Device, Window};
use crate::disks::{self, Format, Id, Patch, SectorWrite};
use crate::guest::Guest;
use crate::plan::derive::hex;
use crate::plan::{Place, Via};

/// These devices did not take the ids that they shall have.
#[derive(Debug, thiserror::Error)]
#[error("setting ids on {}", .0.join(", "))]
pub struct DeviceFailed(pub(super) Vec<String>);

/// Do all places hold the ids that they shall have, in every copy of them?
pub fn holds(format: Format, places: &[Place], via: &Via) -> Result<bool> {
    for place in places {
        if !ids(format, place)?.is_some_and(|found| place.after.iter().all(|id| found.contains(id))) {
            return Ok(false);
        }
    }
    // A file system that is mounted is not to be planned; what everybody reads is written last.
    Ok(matches!(via, Via::Kernel { .. } | Via::Aside | Via::Root)
        || patches(format, places)?.iter().all(Patch::is_empty))
}

/// The loop device that an image is attached to, if it is: a mounted file system would write its own ids back.
pub fn attached(device: &str) -> Option<String> {
    let loops = std::fs::read_dir("/sys/block").ok()?.flatten();
    let mut loops = loops.filter(|entry| {
        let file = std::fs::read_to_string(entry.path().join("loop/backing_file"));
        file.is_ok_and(|file| file.trim_end_matches('\n') == device)
    });
    loops.next().map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// Are they what the plan found, and nobody's else? A cut leaves each id as it was, or as it shall be.
pub fn unchanged(format: Format, places: &[Place]) -> Result<()> {
    for place in places {
        let device = &place.device;
        if let Some(name) = attached(device) {
            bail!("{device} is attached as /dev/{name}; `losetup -d /dev/{name}` lets it go");
        }
        let known = |id: &Id| !format.renews(id) || place.before.contains(id) || place.after.contains(id);
        if !ids(format, place)?.is_some_and(|found| found.iter().all(known)) {
            bail!("{device} has changed since the plan was made");
        }
    }
    Ok(())
}

/// Gives them these ids, in the way that the plan names. The sectors that are written over are kept in the journal until
/// the devices are read back.
pub fn set(guest: &Guest, format: Format, places: &[Place], via: &Via) -> Result<()> {
    let devices = places.iter().map(|place| place.device.clone()).collect();
    set_all(guest, format, places, via).context(DeviceFailed(devices))
}

/// Gives devices that nobody uses these ids. No journal can be written, as it lies on them: the formats that this is for are
/// whole after each single write.
pub fn set_directly(format: Format, places: &[Place]) -> Result<()> {
    unchanged(format, places)?;
    write(|_| Ok(()), format, places, OFlag::O_EXCL)?;
    if !holds(format, places, &Via::Sectors)? {
        bail!("what was written does not stand there");
    }
    Ok(())
}

fn set_all(guest: &Guest, format: Format, places: &[Place], via: &Via) -> Result<()> {
    let keep = |sectors: &str| journal::keep_sectors(guest, sectors);
    match via {
        Via::Sectors => write(keep, format, places, OFlag::O_EXCL)?,
        Via::Shared => write(keep, format, places, OFlag::empty())?,
        Via::Aside => aside::while_away(&guest.disks.aside, || write(keep, format, places, OFlag::O_EXCL))?,
        Via::Root => bail!("only the initramfs can take the root file system away"),
        Via::Kernel { mounted } => {
            for place in places {
                kernel::set(place, mounted)?;
            }
        }
        Via::Swap => {
            let devices: Vec<&str> = places.iter().map(|place| place.device.as_str()).collect();
            active::while_swap_is_off(&devices, || write(keep, format, places, OFlag::O_EXCL))?;
        }
        Via::Stopped { stop, start } => {
            active::while_stopped(stop, start, || write(keep, format, places, OFlag::O_EXCL))?;
        }
    }
    if !holds(format, places, via)? {
        bail!("what was written does not stand there");
    }
    Ok(())
}

fn ids(format: Format, place: &Place) -> Result<Option<Vec<Id>>> {
    let open = open(place)?;
    let window = Window::new(&open, place.offset, place.size);
    Ok(disks::probe(&window, format)?.map(|found| found.ids))
}

fn open(place: &Place) -> Result<Device> {
    Device::open(Path::new(&place.device)).with_context(|| format!("opening {}", place.device))
}

/// The writes for each place, made from what stands on all of them.
fn patches(format: Format, places: &[Place]) -> Result<Vec<Patch>> {
    let open: Vec<Device> = places.iter().map(open).collect::<Result<_>>()?;
    let windows: Vec<_> =
        open.iter().zip(places).map(|(device, place)| Window::new(device, place.offset, place.size)).collect();
    let windows: Vec<_> = windows.iter().collect();
    let ids: Vec<Vec<Id>> = places.iter().map(|place| place.after.clone()).collect();
    Ok(disks::plan_all(&windows, format, &ids)?)
}

/// Writes what gives the places their ids; `keep` is first given the sectors that are written over.
fn write(keep: impl FnOnce(&str) -> Result<()>, format: Format, places: &[Place], exclusive: OFlag) -> Result<()> {
    let patches = patches(format, places)?;
    keep(&sectors(places, &patches))?;
    // An image may hold several of them, and is opened once.
    let mut files: BTreeMap<&str, Flock<File>> = BTreeMap::new();
    for place in places {
        if files.contains_key(place.device.as_str()) {
            continue;
        }
        // A block device that is mounted or part of a mapping cannot be opened exclusively, open(2).
        let flags = OFlag::O_RDWR | exclusive | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let open = nix::fcntl::open(Path::new(&place.device), flags, Mode::empty());
        let file = File::from(open.with_context(|| format!("opening {} for writing", place.device))?);
        // udev and losetup respect this lock, systemd's "Locking Block Device Access".
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno);
        files.insert(&place.device, lock.with_context(|| format!("locking {}", place.device))?);
    }
    // What makes the new ids valid stands in a patch's last batch: all that leads up to it is written everywhere first.
    let most = patches.iter().map(|patch| patch.batches.len()).max().unwrap_or(0);
    for turn in (0..most).rev() {
        for (place, patch) in places.iter().zip(&patches) {
            let Some(file) = files.get(place.device.as_str()) else { bail!("{} is not open", place.device) };
            let batch = patch.batches.len().checked_sub(turn + 1).map(|number| &patch.batches[number]);
            for one in batch.into_iter().flatten() {
                write_one(file, place, one).with_context(|| format!("writing {}", place.device))?;
            }
            if batch.is_some() {
                file.sync_data().with_context(|| format!("writing {}", place.device))?;
            }
        }
    }
    Ok(())
}

fn write_one(file: &File, place: &Place, write: &SectorWrite) -> Result<()> {
    let at = place.offset.checked_add(write.offset).context("a write beyond the device")?;
    let inside = write.offset.checked_add(write.after.len() as u64).is_some_and(|end| end <= place.size);
    let mut now = vec![0; write.before.len()];
    file.read_exact_at(&mut now, at)?;
    if !inside || now != write.before || write.before.len() != write.after.len() {
        bail!("the sectors at byte {at} are not what the plan found");
    }
    Ok(file.write_all_at(&write.after, at)?)
}

/// For each place its device, then offsets on it and the old bytes, a line each.
fn sectors(places: &[Place], patches: &[Patch]) -> String {
    let mut text = String::new();
    for (place, patch) in places.iter().zip(patches) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", place.device);
        for write in patch.batches.iter().flatten() {
            let _ = writeln!(text, "{} {}", place.offset + write.offset, hex(&write.before));
        }
    }
    text
}
