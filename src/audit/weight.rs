// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much it matters that guests share an identity, by kind; and what is allowed to be shared.

use anyhow::{Result, bail};

use crate::plan::{Kind, Severity};

/// How much sharing an identity matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    /// Error: one guest can pass for the other, or both fail when both are up. Warning: they fail where they meet. Note: no
    /// more than a sign of a common origin.
    pub severity: Severity,
    /// What comes of it, a sentence without a full stop.
    pub why: &'static str,
}

/// The weight of a kind; of one that a later reseal knows, a warning.
pub fn weight(kind: &str) -> Weight {
    use Severity::{Error, Note, Warning};
    let (severity, why) = match kind {
        "machine-id" => (Error, "Both ask for the same DHCP lease, and their journals and D-Bus cannot be told apart"),
        "ssh-host-key" => (Error, "Whoever holds one guest can pass for the other and read what is sent to it"),
        "pgp-key" => (Error, "What one guest signs or decrypts, the other can"),
        "mac-address" => (Error, "On one network, neither is reached reliably"),
        "ip-address" => (Warning, "On one network, neither is reached reliably; in networks of their own it is right"),
        "hostname" => (Warning, "Logs, monitoring and DNS take them for one"),
        "residue" => (Warning, "Seeds, leases and agent ids of the template are still there"),
        "smbios-uuid" => {
            (Warning, "The hypervisor gave both the same machine, by which management and reseal know them")
        }
        "lvm-uuid" => (Warning, "Volume groups with one id cannot be active on one machine"),
        "md-uuid" => (Warning, "A rescue system or host that sees both puts one array together from two"),
        "luks-uuid" => {
            (Warning, "Where both disks meet only one is opened by its id; a copied header has the same volume key")
        }
        "fs-uuid" | "swap-uuid" => (Warning, "Where both disks meet, one is mounted in place of the other"),
        "disk-id" | "partition-id" => (Note, "Where both disks meet, PARTUUID= and boot entries mean either of them"),
        _ => (Warning, "Of a kind that this version of reseal does not know"),
    };
    Weight { severity, why }
}

/// What may be shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    kind: String,
    value: Option<String>,
}

impl Allowed {
    /// Understands `KIND` or `KIND=VALUE`.
    ///
    /// # Errors
    /// When there is no such kind.
    pub fn read(text: &str) -> Result<Allowed> {
        let (kind, value) = text.split_once('=').map_or((text, None), |(kind, value)| (kind, Some(value)));
        let is_kind = serde_json::from_value::<Kind>(kind.into()).is_ok() || kind == "smbios-uuid";
        if !is_kind {
            bail!("`{kind}` is no kind of identity, such as `hostname` or `ssh-host-key`");
        }
        Ok(Allowed { kind: kind.to_owned(), value: value.map(str::to_owned) })
    }

    /// May this be shared?
    pub fn covers(&self, kind: &str, value: &str) -> bool {
        self.kind == kind && self.value.as_deref().is_none_or(|allowed| allowed == value)
    }
}
