// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's network links: what they are called, what addresses they have of their own, and what hangs on them.
//!
//! They are those of the running system, by sysfs. A tree that does not run has none: those of its machine come with its
//! first boot.

mod charge;
mod sysfs;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::formats::network::Mac;
use crate::root::Root;

pub use charge::{Charge, Configurator};

/// The guest's links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// In the order of their names; the loopback is left out.
    pub list: Vec<Link>,
    /// Were they looked at?
    pub seen: bool,
}

/// One link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Link {
    /// The name it has now, `eth0`.
    pub name: String,
    /// The address it has now.
    pub mac: Option<Mac>,
    /// The address that its device was made with.
    pub permanent_mac: Option<Mac>,
    /// `ID_PATH` of udev: where its device is, `pci-0000:00:03.0`.
    pub path: Option<String>,
    /// The driver of its device, `virtio_net`.
    pub driver: Option<String>,
    /// Did software make it?
    pub r#virtual: bool,
    /// Is it up?
    pub up: bool,
    /// Which of `/` and `/usr` are reached through it, or were in the initrd.
    pub carries: Vec<String>,
}

impl Links {
    /// Those of the running system, whose tree is `root`.
    ///
    /// # Errors
    /// When /sys or /proc cannot be read.
    pub fn of_running_system(root: &Root) -> Result<Links> {
        Ok(Links { list: sysfs::links(root)?, seen: true })
    }

    /// Links as a test has them.
    pub fn known(list: Vec<Link>) -> Links {
        Links { list, seen: true }
    }

    /// The links with a device and an address of its own: what a clone is told by.
    pub fn devices(&self) -> impl Iterator<Item = &Link> {
        self.list.iter().filter(|link| !link.r#virtual && link.permanent_mac.is_some())
    }

    /// The link of this name.
    pub fn named(&self, name: &str) -> Option<&Link> {
        self.list.iter().find(|link| link.name == name)
    }

    /// Has a link this address, now or from its device?
    pub fn has(&self, mac: Mac) -> bool {
        self.devices().any(|link| link.permanent_mac == Some(mac))
    }
}

impl Link {
    /// Its name, and where its device is: the subject under which its address stands in plan and records.
    pub fn subject(&self) -> String {
        match &self.path {
            Some(path) => format!("{} {path}", self.name),
            None => self.name.clone(),
        }
    }

    /// May it be changed while it runs? Not when it is up, or when `/` hangs on it.
    pub fn is_free(&self) -> bool {
        !self.up && self.carries.is_empty()
    }
}
