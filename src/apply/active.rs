// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel has put together from devices, stopped while their ids change, and started again.

use anyhow::{Context as _, Result};

use super::tools;
use crate::plan::Active;

/// Does something while these are stopped; whatever comes of it, they are started again.
pub fn while_stopped(stop: &[Active], start: &[Active], act: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut done = Ok(());
    for (number, active) in stop.iter().enumerate() {
        done = self::stop(active);
        if done.is_err() {
            // Those before it run again; this one never stopped.
            let stopped = &stop[..number];
            start.iter().filter(|active| stopped.contains(active)).try_for_each(self::start)?;
            return done;
        }
    }
    let done = done.and_then(|()| act());
    let started = start.iter().try_for_each(self::start);
    done.and(started)
}

/// Does something while this swap space is not in use.
pub fn while_swap_is_off(devices: &[&str], act: impl FnOnce() -> Result<()>) -> Result<()> {
    for device in devices {
        tools::run("swapoff", &[device])?;
    }
    let done = act();
    for device in devices {
        tools::run("swapon", &[device])?;
    }
    done
}

/// lvm(8) writes /etc/lvm/backup when it activates a group; what stands there is the plan's to change.
const NO_BACKUP: &str = "backup { backup = 0 archive = 0 }";

fn stop(active: &Active) -> Result<()> {
    match active {
        Active::VolumeGroup { name } => activate("n", name),
        Active::Array { device, .. } => tools::run("mdadm", &["--stop", device]),
    }
    .context("stopping what stands on it")
}

fn start(active: &Active) -> Result<()> {
    match active {
        Active::VolumeGroup { name } => activate("ay", name),
        Active::Array { device, members } => {
            let members: Vec<&str> = members.iter().map(String::as_str).collect();
            tools::run("mdadm", &[&["--assemble", "--run", device], &members[..]].concat())
        }
    }
    .context("starting what stands on it")
}

fn activate(how: &str, group: &str) -> Result<()> {
    tools::run("vgchange", &["--config", NO_BACKUP, "--activate", how, "--sysinit", "--", group])
}
