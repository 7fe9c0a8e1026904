// SPDX-License-Identifier: MIT OR Apache-2.0
//! File systems of the boot loader, mounted where nobody else sees them, and taken away while their ids change.
//!
//! The mounts are in a mount namespace of this program's own, mount_namespaces(7): they go with it, however it ends.

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::tools;
use crate::guest::disks::Aside;

/// The mounts; dropping it takes them away.
#[derive(Debug)]
pub struct Mounted {
    /// What is mounted, outer mount points first.
    pub list: Vec<Aside>,
    /// What could not be mounted, and why.
    pub failed: Vec<(String, String)>,
}

impl Mounted {
    /// Mounts these in a mount namespace of this program's own. One that cannot be mounted is told in
    /// [`failed`](Mounted::failed).
    ///
    /// # Errors
    /// When the kernel gives no namespace.
    pub fn enter(wanted: Vec<Aside>) -> Result<Mounted> {
        unshare(CloneFlags::CLONE_NEWNS).context("making a mount namespace")?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("making mounts private")?;
        let mut mounted = Mounted { list: Vec::new(), failed: Vec::new() };
        for aside in wanted {
            if aside.check {
                // It ends with 1 where it mended something, fsck.fat(8); what it could not mend shows when it is mounted.
                let _ = tools::run("fsck.fat", &["-a", &aside.device]);
            }
            match attach(&aside) {
                Ok(()) => mounted.list.push(aside),
                Err(error) => mounted.failed.push((aside.point, format!("{error:#}"))),
            }
        }
        Ok(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = detach_all(&self.list) {
            tracing::warn!("{error:#}");
        }
    }
}

/// Does something while none of these is mounted; whatever comes of it, they are mounted again.
pub fn while_away(list: &[Aside], act: impl FnOnce() -> Result<()>) -> Result<()> {
    detach_all(list)?;
    let done = act();
    let back = list.iter().try_for_each(attach);
    done.and(back)
}

fn attach(aside: &Aside) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let (device, point) = (aside.device.as_str(), aside.point.as_str());
    mount(Some(device), point, Some(aside.kind.as_str()), flags, Some(aside.options.as_str()))
        .with_context(|| format!("mounting {device} at {point}"))
}

/// Unmounts all of them, or none.
fn detach_all(list: &[Aside]) -> Result<()> {
    for (number, aside) in list.iter().enumerate().rev() {
        let point = aside.point.as_str();
        if let Err(error) = umount2(point, MntFlags::UMOUNT_NOFOLLOW) {
            list[number + 1..].iter().try_for_each(attach)?;
            return Err(error).with_context(|| format!("unmounting {point}"));
        }
    }
    Ok(())
}
