// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest: its file tree, and the facts about it that are gathered once.

pub mod boot;
pub mod disks;
pub mod initramfs;
pub mod instance;
pub mod links;
pub mod machine;
pub mod mounts;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use crate::plan::Stage;
use crate::root::{Root, trim};
use disks::Disks;
use links::Links;
use machine::{Machine, Place};

/// The system being reset.
#[derive(Debug)]
pub struct Guest {
    /// Its file tree.
    pub root: Root,
    /// Where it runs.
    pub machine: Machine,
    /// Its disks, where they were looked at.
    pub disks: Disks,
    /// Its network links, where they were looked at.
    pub links: Links,
    /// Is it the system that this program runs on?
    pub running: bool,
    /// Is GnuPG there to change its homes? On a tree that does not run, that of this machine does it.
    pub gnupg: bool,
    /// Is systemd its PID 1? sd_booted(3) looks at the same directory.
    pub systemd: bool,
    /// How far its boot has come, as the unit that runs says; none by hand.
    pub stage: Option<Stage>,
}

impl Guest {
    /// The guest below `path`, with the facts that its place allows: those of this machine only for `/`.
    ///
    /// # Errors
    /// When `path` cannot be opened as a directory.
    pub fn open(path: &Path) -> Result<Guest> {
        let root = Root::open(path)?;
        let running = root.is_running_system();
        let machine = if running { Machine::of_running_system() } else { Machine::offline() };
        let systemd = running && root.stat("run/systemd/system").is_ok_and(|found| found.is_some());
        // A container's links are its own, though they are no hardware.
        let links = if running { Links::of_running_system(&root).unwrap_or_default() } else { Links::default() };
        let gnupg = ["gpg", "gpg-agent", "gpgconf"].iter().all(|name| Path::new("/usr/bin").join(name).exists());
        Ok(Guest { root, machine, disks: Disks::default(), links, running, gnupg, systemd, stage: None })
    }

    /// The same guest with its disks read anew: what stood on them was gathered before a run.
    ///
    /// # Errors
    /// When its tree or a disk cannot be opened.
    pub fn again(&self) -> Result<Guest> {
        let root = Root::open(self.root.path())?;
        let disks = self.disks.again(&root)?;
        let links = if self.running { Links::of_running_system(&root)? } else { self.links.clone() };
        Ok(Guest { root, machine: self.machine.clone(), disks, links, ..*self })
    }

    /// Did the initramfs of this boot have reseal in it?
    pub fn initramfs_has_reseal(&self) -> bool {
        self.running && self.root.stat(initramfs::LIST).is_ok_and(|found| found.is_some())
    }

    /// Looks at the disks of the running system; those that a container sees are its host's.
    ///
    /// # Errors
    /// When /sys or /proc cannot be read.
    pub fn look_at_disks(&mut self) -> Result<()> {
        if self.running && self.machine.place != Place::Container {
            self.disks = Disks::of_running_system(&self.root, self.disks.aside.clone())?;
        }
        Ok(())
    }

    /// Root-relative paths that are mount points in the running system right now; none for a tree that does not run.
    ///
    /// PID 1 mounts a transient id over /etc/machine-id while the root is read-only, machine-id(5).
    pub fn mount_points(&self) -> BTreeSet<String> {
        if !self.running {
            return BTreeSet::new();
        }
        let mounts = self.root.read("proc/self/mountinfo").ok().flatten().unwrap_or_default();
        mounts::of(&String::from_utf8_lossy(&mounts)).iter().map(|mount| trim(&mount.point).to_owned()).collect()
    }
}
