// SPDX-License-Identifier: MIT OR Apache-2.0
//! What QEMU gives with `-fw_cfg name=opt/org.reseal/hostname,string=NAME`: `hostname`, `ip` and `instance` below
//! `opt/org.reseal`, QEMU's docs/specs/fw_cfg.rst.
//!
//! They are files where the kernel's module `qemu_fw_cfg` is loaded, which PID 1 sees to in a guest of QEMU (systemd's
//! src/core/kmod-setup.c), and udev by the device's alias elsewhere.

use anyhow::Result;

use super::{Told, bounded};
use crate::guest::Guest;

/// Where the module shows them.
const DIR: &str = "sys/firmware/qemu_fw_cfg/by_name/opt/org.reseal";

/// What they say.
pub fn read(guest: &Guest) -> Result<Vec<Told>> {
    let mut told = Told::by("QEMU's fw_cfg");
    for name in guest.root.list(DIR)? {
        let value = bounded(guest, &format!("{DIR}/{name}/raw"))?.unwrap_or_default();
        told.take(&name, &value)?;
    }
    Ok(vec![told])
}
