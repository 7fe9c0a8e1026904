// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changes of the running system.

use anyhow::Result;
use nix::unistd::{gethostname, sethostname};

use super::links;
use super::tools;
use super::writer::Writer;
use crate::guest::Guest;
use crate::plan::Live;
use crate::root::Meta;

/// Rules of udev(7) that last until the next boot; after those that they add to.
const RULES: &str = "run/udev/rules.d/99-reseal.rules";
/// The longest that the boot waits for udev.
const SETTLE: &str = "--timeout=10";

/// Is the running system so already?
pub fn is_done(change: &Live, guest: &Guest) -> Result<bool> {
    Ok(match change {
        Live::Hostname { after, .. } => gethostname()?.to_string_lossy() == *after,
        // Nothing tells which id PID 1 holds, and having it read the file once more does no harm.
        Live::MachineId { .. } => false,
        Live::DeviceNames { rules } => guest.root.read(RULES)?.is_some_and(|now| now == rules.as_bytes()),
        Live::Units { .. } | Live::LinkSetup { .. } => false,
        // A link that has another name by now was set up anew.
        Live::LinkAddress { link, after, .. } => links::address(&guest.root, link)?.is_none_or(|now| now == *after),
    })
}

/// Does it.
pub fn carry_out(change: &Live, guest: &Guest) -> Result<()> {
    match change {
        Live::Hostname { after, .. } => Ok(sethostname(after)?),
        Live::MachineId { before, .. } => {
            // journald reads the id when it starts, and its runtime journal stands under it; PID 1 when it is
            // executed anew, which keeps every job and unit, systemctl(1).
            tools::run("systemctl", &["restart", "systemd-journald.service"])?;
            Writer::new(&guest.root).remove(&format!("run/log/journal/{before}"))?;
            tools::run("systemctl", &["daemon-reexec"])
        }
        Live::DeviceNames { rules } => {
            let owner = guest.root.stat("run/udev")?.map_or(Meta::root(0o644), |stat| stat.meta);
            Writer::new(&guest.root).put(RULES, rules.as_bytes(), Meta { mode: 0o644, ..owner })?;
            tools::run("udevadm", &["control", "--reload"])
        }
        Live::LinkAddress { link, before, after } => links::set_address(&guest.root, link, before, after),
        Live::LinkSetup { links } => links::set_up(links, SETTLE),
        Live::Units { start } => {
            // PID 1 learns the new names from udev, which works through what the changes on the disks set off.
            tools::run("udevadm", &["settle", SETTLE])?;
            tools::run("systemctl", &["daemon-reload"])?;
            if start.is_empty() {
                return Ok(());
            }
            let units: Vec<&str> = start.iter().map(String::as_str).collect();
            tools::run("systemctl", &[&["start", "--no-block", "--"], &units[..]].concat())
        }
    }
}
