// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changes of the running system.

use anyhow::Result;
use nix::unistd::{gethostname, sethostname};

use super::tools;
use super::writer::Writer;
use crate::guest::Guest;
use crate::plan::Live;

/// Is the running system so already?
pub fn is_done(change: &Live) -> Result<bool> {
    Ok(match change {
        Live::Hostname { after, .. } => gethostname()?.to_string_lossy() == *after,
        // Nothing tells which id PID 1 holds, and having it read the file once more does no harm.
        Live::MachineId { .. } => false,
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
    }
}
