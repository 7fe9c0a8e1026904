// SPDX-License-Identifier: MIT OR Apache-2.0
//! Table `[instance]`: who may tell a clone who it is, and how much of the policy.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::formats::network::Mac;
use crate::formats::network::addressing::Addresses;
use crate::guest::instance::{Source, check_addresses, check_name};
use crate::guest::machine::Machine;

/// What instance data may ever set: whether and how an identity is renewed. Not among them is what names a path, removes a key or
/// a file, or says what runs: whoever fills in a hypervisor's form is not root in the guest.
const ALLOWABLE: [&str; 16] = [
    "disk-ids.mode",
    "fs-uuids.mode",
    "hostname.mode",
    "hostname.name",
    "luks.mode",
    "lvm.mode",
    "mac-address.by-order",
    "mac-address.copied",
    "mac-address.pinned",
    "mac-address.vendor",
    "machine-id.dbus",
    "machine-id.mode",
    "md.mode",
    "ssh-host-keys.types",
    "static-ip.mode",
    "swap.mode",
];

/// The annotated `[instance]` table of the shipped policy and the reference.
pub const INSTANCE_EXAMPLE: &str = r#"[instance]
# Who is asked for the clone's host name and addresses; the first that gives one is believed. "command-line":
# reseal.hostname=NAME and reseal.ip= (in the syntax of the kernel's ip=) on the kernel's command line. "credentials" of
# systemd: reseal.hostname, reseal.ip, reseal.instance. "smbios": strings of type 11 or 1, reseal:hostname=NAME and so on,
# or io.systemd.credential:reseal.hostname=NAME. "fw-cfg" of QEMU: opt/org.reseal/hostname and so on. "vmware":
# guestinfo.reseal.hostname and so on. "drive": a disk or CD with the label RESEAL (instance.toml), cidata (NoCloud's
# meta-data and network-config) or config-2 (OpenStack). "file": /etc/reseal/instance.toml. "policy": the table below.
sources = ["command-line", "credentials", "smbios", "fw-cfg", "vmware", "drive", "file", "policy"]
# Policy keys that instance data may set, in its table [policy]: ["hostname.mode"], say. The modes of all regenerators,
# hostname.name, ssh-host-keys.types, machine-id.dbus and the settings of mac-address can be allowed, nothing else.
allow = []
# The config drive, a device or an image file in the guest, instead of what has such a label:
# drive = "/dev/vdb"
# One table for each machine that is known by its hardware; every fact given must hold:
# [[instance.machine]]
# match = { smbios-uuid = "...", serial = "...", mac = "52:54:00:12:34:56" }
# hostname = "web-1"
# addresses = [{ link = { name = "eth0" }, addresses = ["192.0.2.7/24"], gateways = ["192.0.2.1"] }]
"#;

/// Table `[instance]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct InstancePolicy {
    /// Who is asked, in this order.
    pub sources: Vec<Source>,
    /// Policy keys that instance data may set.
    pub allow: Vec<AllowedKey>,
    /// The config drive, if it is not to be looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drive: Option<String>,
    /// What is said of machines that are known by their hardware.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machine: Vec<Entry>,
}

impl Default for InstancePolicy {
    fn default() -> InstancePolicy {
        InstancePolicy { sources: Source::ALL.to_vec(), allow: Vec::new(), drive: None, machine: Vec::new() }
    }
}

impl InstancePolicy {
    /// Nobody is asked.
    pub fn nobody() -> InstancePolicy {
        InstancePolicy { sources: Vec::new(), ..InstancePolicy::default() }
    }
}

/// A policy key that instance data may set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AllowedKey(String);

impl AllowedKey {
    /// `table.key`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AllowedKey {
    type Error = anyhow::Error;

    fn try_from(key: String) -> Result<AllowedKey> {
        if !ALLOWABLE.contains(&key.as_str()) {
            bail!("instance data may not set `{key}`; what can be allowed is {}", ALLOWABLE.join(", "));
        }
        Ok(AllowedKey(key))
    }
}

impl From<AllowedKey> for String {
    fn from(key: AllowedKey) -> String {
        key.0
    }
}

/// One machine, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", try_from = "Unchecked")]
pub struct Entry {
    /// Which machine.
    pub r#match: Match,
    /// Its host name.
    pub hostname: Option<String>,
    /// What its links are told.
    pub addresses: Vec<Addresses>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Unchecked {
    r#match: Match,
    hostname: Option<String>,
    #[serde(default)]
    addresses: Vec<Addresses>,
}

impl TryFrom<Unchecked> for Entry {
    type Error = anyhow::Error;

    fn try_from(entry: Unchecked) -> Result<Entry> {
        let Unchecked { r#match, hostname, addresses } = entry;
        if r#match == Match::default() {
            bail!("an entry of instance.machine without any fact to match would match every machine");
        }
        hostname.iter().try_for_each(|name| check_name(name))?;
        addresses.iter().try_for_each(check_addresses)?;
        Ok(Entry { r#match, hostname, addresses })
    }
}

/// Facts that tell a machine; every one that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Match {
    /// The UUID of SMBIOS, in any case.
    pub smbios_uuid: Option<String>,
    /// The serial number of SMBIOS.
    pub serial: Option<String>,
    /// The permanent address of one of its links.
    pub mac: Option<Mac>,
}

impl Match {
    /// Is it this machine?
    pub fn is_of(&self, machine: &Machine) -> bool {
        let uuid = |wanted: &String| machine.smbios_uuid.as_ref().is_some_and(|uuid| uuid.eq_ignore_ascii_case(wanted));
        let serial = |wanted: &String| machine.smbios_serial.as_ref() == Some(wanted);
        let mac = |wanted: &Mac| {
            let mut all = machine.links.iter().filter_map(|link| link.mac.as_ref()?.parse::<Mac>().ok());
            all.any(|mac| mac == *wanted)
        };
        *self != Match::default()
            && self.smbios_uuid.as_ref().is_none_or(uuid)
            && self.serial.as_ref().is_none_or(serial)
            && self.mac.as_ref().is_none_or(mac)
    }
}
