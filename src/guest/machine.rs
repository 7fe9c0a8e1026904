// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine a guest runs on: what kind it is, and what tells it from the next one.
//!
//! Everything is read from `sys/`, `proc/` and `run/` below a [`Root`], so a directory with a few files in it is a
//! machine too. What cannot be read is absent; nothing here fails.

mod fingerprint;
mod hardware;
#[cfg(test)]
mod tests;
mod virt;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use self::fingerprint::{Fingerprint, Likeness, Part};
use crate::root::Root;

/// Longest fact that is kept, in characters. SMBIOS sets no limit; no honest serial number comes near.
const LONGEST_FACT: usize = 256;

/// What kind of place a guest runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A virtual machine.
    Vm,
    /// A container: it shares the kernel of its host.
    Container,
    /// Hardware with no hypervisor below it, or the Xen domain that drives the hardware.
    BareMetal,
    /// Nowhere: a mounted image or another file tree.
    Offline,
    /// It runs, but /proc and /sys tell nothing.
    Unknown,
}

/// A disk of the machine, virtual block devices left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Disk {
    /// The kernel's name, `vda`.
    pub name: String,
    /// The drive's serial number.
    pub serial: Option<String>,
    /// World-wide id as sysfs writes it: `naa.`, `eui.`, `t10.`, `uuid.` or `nvme.` and the rest.
    pub wwid: Option<String>,
}

/// A network interface with hardware behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Link {
    /// The kernel's name, `eth0`.
    pub name: String,
    /// The address it was made with, lower case, colons; absent where it now has another (random, set, borrowed).
    pub mac: Option<String>,
}

/// Where the guest runs, and on what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Machine {
    /// Virtual machine, container, bare metal, ...
    pub place: Place,
    /// systemd-detect-virt(1)'s word for it: `kvm`, `vmware`, `docker`, ... ; absent on bare metal.
    pub technology: Option<String>,
    /// 1 (the hypervisor owns the hardware) or 2 (it is a program on another system); only where the technology
    /// settles it.
    pub hypervisor_type: Option<u8>,
    /// The machine's UUID, lower case. From SMBIOS, or where there is none, what the hypervisor says in its place.
    pub smbios_uuid: Option<String>,
    /// Serial number of the machine.
    pub smbios_serial: Option<String>,
    /// Who made the machine.
    pub vendor: Option<String>,
    /// Model of the machine.
    pub product: Option<String>,
    /// Microsoft's VM generation id, lower case; a hypervisor changes it with every copy and every return to a
    /// snapshot. Only QEMU's is readable from user space.
    pub generation_id: Option<String>,
    /// In the order of their names.
    pub disks: Vec<Disk>,
    /// In the order of their names.
    pub links: Vec<Link>,
}

impl Machine {
    /// The machine of a guest that does not run.
    pub fn offline() -> Machine {
        Machine::at(Place::Offline)
    }

    /// The machine this program runs on.
    pub fn of_running_system() -> Machine {
        Root::open(Path::new("/")).map_or_else(|_| Machine::at(Place::Unknown), |root| Machine::detect(&root))
    }

    /// The machine that `sys/`, `proc/` and `run/` below `root` tell of. The CPU itself and sysinfo are only asked
    /// when `root` is the running system.
    pub fn detect(root: &Root) -> Machine {
        Machine::detect_on(root, virt::cpu(root).as_deref())
    }

    /// As [`Machine::detect`], on a CPU with this hypervisor signature.
    fn detect_on(root: &Root, cpu: Option<&str>) -> Machine {
        if let Some(word) = virt::container(root) {
            // What /sys shows in here is the host's hardware, shared by all its containers.
            return Machine { technology: Some(word.to_owned()), ..Machine::at(Place::Container) };
        }
        let technology = virt::virtual_machine(root, cpu);
        let place = match technology {
            Some(_) => Place::Vm,
            None if exists(root, "proc/cpuinfo") => Place::BareMetal,
            None => Place::Unknown,
        };
        Machine {
            place,
            technology: technology.map(str::to_owned),
            hypervisor_type: technology.and_then(|word| virt::hypervisor_type(word, cpu)),
            smbios_uuid: hardware::uuid(root),
            smbios_serial: hardware::serial(root),
            vendor: hardware::vendor(root),
            product: hardware::product(root),
            generation_id: hardware::generation_id(root),
            disks: hardware::disks(root),
            links: hardware::links(root),
        }
    }

    fn at(place: Place) -> Machine {
        Machine {
            place,
            technology: None,
            hypervisor_type: None,
            smbios_uuid: None,
            smbios_serial: None,
            vendor: None,
            product: None,
            generation_id: None,
            disks: Vec::new(),
            links: Vec::new(),
        }
    }

    /// What tells this machine from others; empty in a container and offline, where no hardware is looked at.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self)
    }

    /// The place in a few words: `virtual machine (kvm, type 1)`.
    pub fn describe(&self) -> String {
        let place = match self.place {
            Place::Vm => "virtual machine",
            Place::Container => "container",
            Place::BareMetal => "bare metal",
            Place::Offline => return "a file tree (offline)".to_owned(),
            Place::Unknown => "unknown machine",
        };
        match (&self.technology, self.hypervisor_type) {
            (Some(word), Some(number)) => format!("{place} ({word}, type {number})"),
            (Some(word), None) => format!("{place} ({word})"),
            (None, _) => place.to_owned(),
        }
    }
}

fn exists(root: &Root, path: &str) -> bool {
    matches!(root.stat(path), Ok(Some(_)))
}

/// The first line of a file, up to a NUL, [cleaned](clean).
fn line(root: &Root, path: &str) -> Option<String> {
    let content = root.read(path).ok()??;
    clean(content.split(|byte| matches!(byte, b'\n' | 0)).next()?)
}

/// Text from firmware, fit to be printed: no control characters, no blanks around it, not endless; `None` when
/// nothing is left.
fn clean(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.trim().chars().filter(|c| !c.is_control()).take(LONGEST_FACT).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
