// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instance data: what the place in which a clone runs tells it of itself.
//!
//! Each source is one file below, and is asked in the order that policy gives. It may give a host name, addresses, and those
//! policy keys that the policy on disk allows: whoever may type into a hypervisor's forms is not root in the guest. All of
//! it is hostile until it is checked, in `told`. No network service is asked.

mod command_line;
mod credentials;
mod drive;
mod file;
mod fw_cfg;
mod smbios;
mod table;
mod told;
mod vmware;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::Guest;
use super::machine::Place;
use crate::formats::network::addressing::Addresses;
use crate::plan::Severity;
use crate::policy::instance::InstancePolicy;

pub use file::PATH as FILE;
pub use told::{Told, check_addresses, check_name};

/// The most that one piece of instance data may have, in bytes.
const LARGEST: usize = 64 << 10;

/// Where instance data may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// `reseal.hostname=` and `reseal.ip=` on the kernel's command line.
    CommandLine,
    /// Credentials of the system, systemd.exec(5).
    Credentials,
    /// Strings of the firmware's SMBIOS tables.
    Smbios,
    /// Files that QEMU gives its guest.
    FwCfg,
    /// VMware's `guestinfo`.
    Vmware,
    /// A small file system with a label of its own, `RESEAL`, `cidata` or `config-2`.
    Drive,
    /// A file in the guest.
    File,
    /// The table `[[instance.machine]]` of the policy.
    Policy,
}

impl Source {
    /// All, in the order of the default.
    pub const ALL: [Source; 8] = [
        Source::CommandLine,
        Source::Credentials,
        Source::Smbios,
        Source::FwCfg,
        Source::Vmware,
        Source::Drive,
        Source::File,
        Source::Policy,
    ];

    /// What stands in front of its errors.
    fn name(self) -> &'static str {
        match self {
            Source::CommandLine => "the kernel's command line",
            Source::Credentials => "credentials",
            Source::Smbios => "SMBIOS",
            Source::FwCfg => "QEMU's fw_cfg",
            Source::Vmware => "VMware's guestinfo",
            Source::Drive => "a config drive",
            Source::File => "a file",
            Source::Policy => "the policy",
        }
    }

    /// Does it speak of this guest? What a container sees of kernel and hardware is its host's, and a tree that does not
    /// run has neither.
    fn is_of(self, guest: &Guest) -> bool {
        match self {
            Source::File | Source::Policy => true,
            Source::Credentials => guest.machine.place != Place::Offline,
            Source::Drive => guest.machine.place != Place::Container,
            _ => !matches!(guest.machine.place, Place::Container | Place::Offline),
        }
    }

    fn read(self, guest: &Guest, policy: &InstancePolicy) -> Result<Vec<Told>> {
        match self {
            Source::CommandLine => command_line::read(guest),
            Source::Credentials => credentials::read(guest),
            Source::Smbios => smbios::read(guest),
            Source::FwCfg => fw_cfg::read(guest),
            Source::Vmware => vmware::read(guest),
            Source::Drive => drive::read(guest, policy.drive.as_deref()),
            Source::File => file::read(guest),
            Source::Policy => table::read(guest, &policy.machine),
        }
    }
}

/// A value, and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answer<T> {
    /// The value.
    pub value: T,
    /// Where it comes from, as it is told: `SMBIOS, type 11`.
    pub from: String,
}

/// What the clone is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Instance {
    /// The host name, of the first source that gives one.
    pub hostname: Option<Answer<String>>,
    /// Addresses, all of the first source that gives any; each says where it comes from.
    pub addresses: Vec<Addresses>,
    /// Policy keys such as `hostname.mode`, each of the first source that gives it.
    pub policy: BTreeMap<String, Answer<toml::Value>>,
    /// What could not be read or may not be set.
    #[serde(skip)]
    pub troubles: Vec<Trouble>,
}

/// What is wrong with instance data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// An error is malformed data, a warning what policy does not allow, a note what this user may not read.
    pub severity: Severity,
    /// The sentence; it names the source.
    pub message: String,
}

impl Instance {
    /// Asks the sources that policy names. One that has nothing to say is passed over in silence; one whose words are
    /// malformed is a [`Trouble`], and none of what it says counts.
    pub fn of(guest: &Guest, policy: &InstancePolicy) -> Instance {
        let mut instance = Instance::default();
        for source in policy.sources.iter().filter(|source| source.is_of(guest)) {
            match source.read(guest, policy).with_context(|| format!("reading {}", source.name())) {
                Ok(told) => told.into_iter().for_each(|told| instance.take(told, policy)),
                Err(error) => {
                    let denied = error.chain().any(|cause| cause.downcast_ref() == Some(&Errno::EACCES));
                    let severity = if denied { Severity::Note } else { Severity::Error };
                    instance.troubles.push(Trouble { severity, message: format!("{error:#}") });
                }
            }
        }
        instance
    }

    fn take(&mut self, told: Told, policy: &InstancePolicy) {
        let from = &told.from;
        let left =
            told.left.iter().map(|left| Trouble { severity: Severity::Note, message: format!("{from}: {left}") });
        self.troubles.extend(left);
        if self.hostname.is_none() {
            self.hostname = told.hostname.map(|value| Answer { value, from: from.clone() });
        }
        if self.addresses.is_empty() {
            self.addresses = told.addresses;
            self.addresses.iter_mut().for_each(|addresses| addresses.from.clone_from(from));
        }
        for (key, value) in told.policy {
            if policy.allow.iter().any(|allowed| allowed.as_str() == key) {
                self.policy.entry(key).or_insert_with(|| Answer { value, from: from.clone() });
            } else {
                let message =
                    format!("{from} sets the policy key {key}, which instance.allow does not name; it is ignored");
                self.troubles.push(Trouble { severity: Severity::Warning, message });
            }
        }
    }

    /// Lines for people, one for each answer.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(Answer { value, from }) = &self.hostname {
            lines.push(format!("host name {value}, from {from}"));
        }
        for told in &self.addresses {
            let mut words: Vec<String> = told.addresses.iter().map(ToString::to_string).collect();
            words.extend(told.dhcp4.then(|| "DHCP".to_owned()));
            words.extend(told.dhcp6.then(|| "DHCPv6".to_owned()));
            let link = &told.link;
            let mac = link.mac.map(|mac| mac.to_string());
            let facts: Vec<&str> = [&link.name, &mac, &link.path].into_iter().flatten().map(String::as_str).collect();
            let link = if facts.is_empty() { "the only link".to_owned() } else { format!("link {}", facts.join(" ")) };
            lines.push(format!("addresses of {link}: {}, from {}", words.join(" "), told.from));
        }
        for (key, Answer { value, from }) in &self.policy {
            lines.push(format!("policy key {key} = {value}, from {from}"));
        }
        lines
    }
}

/// The whole of a file that the kernel or PID 1 shows, in bounds.
fn bounded(guest: &Guest, path: &str) -> Result<Option<Vec<u8>>> {
    let bytes = guest.root.read(path)?;
    if bytes.as_ref().is_some_and(|bytes| bytes.len() > LARGEST) {
        bail!("/{path} has more than the {LARGEST} bytes that instance data may have");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
