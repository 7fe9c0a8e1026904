// SPDX-License-Identifier: MIT OR Apache-2.0
//! Can the plan be carried out? Everything that can be known before the first change is looked at here.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::sys::statvfs::{FsFlags, Statvfs, fstatvfs};
use nix::unistd::{AccessFlags, faccessat};

use super::step::is_done;
use super::{device, firmware};
use crate::guest::Guest;
use crate::plan::key::Secret;
use crate::plan::show::title;
use crate::plan::{Change, Plan, State};
use crate::root::split;
use crate::stamp::JOURNAL;

/// Room for the journal and for directories that grow, in bytes.
const SLACK: u64 = 128 << 10;

/// Looks whether every step still finds what was planned on, and whether each file system can be written and has room.
pub fn check(plan: &Plan, guest: &Guest) -> Result<()> {
    let mut needs: BTreeMap<u64, (Statvfs, u64, String)> = BTreeMap::new();
    need(guest, JOURNAL, 0, &mut needs)?;
    for step in &plan.steps {
        if is_done(guest, None, &step.change)? {
            continue;
        }
        unchanged(guest, plan, &step.change).with_context(|| title(&step.change))?;
        for (path, size) in writes(guest, &step.change)? {
            need(guest, path, size, &mut needs).with_context(|| title(&step.change))?;
        }
    }
    for (free, size, path) in needs.values() {
        let available = free.blocks_available() * free.fragment_size();
        if available < size + SLACK {
            bail!("{available} bytes are free where /{path} is, and {} are needed", size + SLACK);
        }
    }
    Ok(())
}

/// Does the path still hold what the plan found there?
pub fn unchanged(guest: &Guest, plan: &Plan, change: &Change) -> Result<()> {
    let (path, before) = match change {
        Change::Write { path, before, .. }
        | Change::Remove { path, before }
        | Change::Link { path, before, .. }
        | Change::Keygen { path, before, .. } => (path, before),
        Change::Move { from, .. } | Change::Copy { from, .. } => {
            return if guest.root.stat(from)?.is_some() { Ok(()) } else { bail!("/{from} is gone") };
        }
        Change::SetId { format, places, .. } => return device::unchanged(*format, places),
        Change::Firmware(variable) => return firmware::unchanged(guest, plan, variable),
        // What has another secret by now is done.
        Change::Secret { .. } | Change::Run { .. } => return Ok(()),
        Change::Publish { .. } | Change::KeyStore { .. } | Change::Live(_) => return Ok(()),
    };
    // What an earlier step brings here cannot be seen yet.
    let brought = plan.steps.iter().any(|step| match &step.change {
        Change::Move { to, .. } | Change::Copy { to, .. } => path == to || path.starts_with(&format!("{to}/")),
        _ => false,
    });
    if brought {
        return Ok(());
    }
    let now = State::of(&guest.root, path)?;
    // Not PartialEq of the whole: a mode that changed is no reason to stop, other content is.
    let is = |state: &State| match (&now, state) {
        (State::File(now), State::File(before)) => now.bytes == before.bytes,
        (now, before) => now == before,
    };
    // What is written twice is as it was before the first time, or after it.
    let first = plan.steps.iter().find_map(|step| match &step.change {
        Change::Write { path: same, before, .. } if same == path => Some(before),
        _ => None,
    });
    let same = is(before) || first.is_some_and(is);
    if !same {
        bail!("/{path} has changed since the plan was made");
    }
    Ok(())
}

/// The paths that a change writes to, and how much.
fn writes<'c>(guest: &Guest, change: &'c Change) -> Result<Vec<(&'c str, u64)>> {
    Ok(match change {
        Change::Write { path, after, .. } => vec![(path, after.bytes.len() as u64)],
        Change::Keygen { path, .. } | Change::Publish { path, .. } => vec![(path, 16 << 10)],
        Change::Secret { path, secret: Secret::Certificate { certificate, .. }, .. } => {
            vec![(path, size(guest, path)? + (16 << 10)), (certificate, size(guest, certificate)? + (16 << 10))]
        }
        Change::Secret { path, .. } => vec![(path, size(guest, path)? + (16 << 10))],
        // How much the program writes, only it knows.
        Change::Run { path, .. } => vec![(path, size(guest, path)?)],
        Change::Link { path, .. } | Change::Remove { path, .. } => vec![(path, 0)],
        Change::Move { from, to } => vec![(from, 0), (to, 0)],
        Change::Copy { from, to } => vec![(to, size(guest, from)?)],
        // The ring is there three times for a moment: as it was, where it is made, as it is put back.
        Change::KeyStore { path, from, .. } => vec![(from, 2 * size(guest, path)? + (64 << 10))],
        Change::SetId { .. } | Change::Firmware(_) | Change::Live(_) => vec![],
    })
}

fn size(guest: &Guest, path: &str) -> Result<u64> {
    let Some(stat) = guest.root.stat(path)? else { return Ok(0) };
    if stat.kind != crate::root::Kind::Directory {
        return Ok(stat.size);
    }
    guest.root.list(path)?.iter().try_fold(0, |sum, name| Ok(sum + size(guest, &format!("{path}/{name}"))?))
}

fn need(guest: &Guest, path: &str, size: u64, needs: &mut BTreeMap<u64, (Statvfs, u64, String)>) -> Result<()> {
    // A directory that is missing is made below the nearest one that is there.
    let mut parent = split(path).0;
    let dir = loop {
        match guest.root.open_dir(parent) {
            Err(Errno::ENOENT) if !parent.is_empty() => parent = split(parent).0,
            dir => break dir.with_context(|| format!("opening /{parent}"))?,
        }
    };
    let free = fstatvfs(&dir)?;
    if free.flags().contains(FsFlags::ST_RDONLY) {
        bail!("/{parent} is on a read-only file system");
    }
    faccessat(&dir, ".", AccessFlags::W_OK, nix::fcntl::AtFlags::AT_EACCESS)
        .with_context(|| format!("/{parent} cannot be written"))?;
    // What is replaced is there beside its successor for a moment.
    let device = fstat(&dir)?.st_dev;
    needs.entry(device).or_insert((free, 0, parent.to_owned())).1 += size.next_multiple_of(4096) + 4096;
    Ok(())
}
