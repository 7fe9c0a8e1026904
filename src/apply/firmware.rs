// SPDX-License-Identifier: MIT OR Apache-2.0
//! Variables of UEFI firmware, through efivarfs: Linux, Documentation/filesystems/efivarfs.rst.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::guest::Guest;
use crate::plan::{Change, Firmware, Plan};
use crate::root::split;

/// The firmware did not take a variable. What led up to it is taken away when a plan is made without it.
#[derive(Debug, thiserror::Error)]
#[error("setting the firmware's variable {0}")]
pub struct FirmwareFailed(String);

/// Is it as it shall be?
pub fn is_set(guest: &Guest, variable: &Firmware) -> Result<bool> {
    let now = guest.root.read(&variable.path())?;
    Ok(now.as_deref() == variable.after.as_ref().map(|content| &content.bytes[..]))
}

/// Is it as the plan found it, or as an earlier step of the plan finds it?
pub fn unchanged(guest: &Guest, plan: &Plan, variable: &Firmware) -> Result<()> {
    let now = guest.root.read(&variable.path())?;
    let of_it = |step: &crate::plan::Step| match &step.change {
        Change::Firmware(other) if other.name == variable.name => {
            now.as_deref() == other.before.as_ref().map(|content| &content.bytes[..])
        }
        _ => false,
    };
    if !plan.steps.iter().any(of_it) {
        bail!("the firmware's variable {} has changed since the plan was made", variable.name);
    }
    Ok(())
}

/// Sets or removes it, and reads it back. The firmware has it when the call returns.
pub fn set(guest: &Guest, variable: &Firmware) -> Result<()> {
    let set = || -> Result<()> {
        let path = variable.path();
        let (dir, name) = split(&path);
        let dir = guest.root.open_dir(dir)?;
        let open = |flags: OFlag| {
            let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            openat(&dir, name, flags, Mode::from_bits_truncate(0o644)).map(File::from)
        };
        match open(OFlag::O_RDONLY) {
            Ok(file) => may_change(&file)?,
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        match &variable.after {
            None => unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir)?,
            Some(content) => {
                let mut file = open(OFlag::O_WRONLY | OFlag::O_CREAT)?;
                // The attributes and the whole value in one call: a second one would be another value.
                let written = file.write(&content.bytes);
                if written.is_err() && variable.before.is_none() {
                    // A file that was made and never written is no variable.
                    let _ = unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir);
                }
                if written? != content.bytes.len() {
                    bail!("the firmware took a part of it");
                }
            }
        }
        match is_set(guest, variable)? {
            true => Ok(()),
            false => bail!("the firmware holds something else"),
        }
    };
    set().context(FirmwareFailed(variable.name.clone()))
}

/// Variables that the kernel does not know are made immutable, so that `rm -rf` does not take the machine's life.
fn may_change(file: &File) -> Result<()> {
    let mut flags: libc::c_long = 0;
    // SAFETY: FS_IOC_GETFLAGS and FS_IOC_SETFLAGS read and write an int, ioctl_iflags(2), which fits into the long that
    // their numbers speak of, and keep no pointer to it.
    let get = unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_GETFLAGS, &raw mut flags) };
    const IMMUTABLE: libc::c_long = 0x10;
    match Errno::result(get) {
        Ok(_) if flags & IMMUTABLE != 0 => {
            flags &= !IMMUTABLE;
            // SAFETY: as above.
            let set = unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_SETFLAGS, &raw const flags) };
            Errno::result(set).context("taking its protection away")?;
            Ok(())
        }
        // A file system without such flags protects nothing.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::derive::Seed;
    use crate::plan::{Stage, Step, VERSION};

    fn change(before: Option<&[u8]>, after: Option<&[u8]>) -> Firmware {
        Firmware::new("Boot0003", before.map(<[u8]>::to_vec), after.map(<[u8]>::to_vec))
    }

    fn plan(changes: &[Firmware]) -> Plan {
        let step = |change: &Firmware| Step {
            stage: Stage::Early,
            change: Change::Firmware(change.clone()),
            by: Vec::new(),
            why: String::new(),
        };
        let steps = changes.iter().map(step).collect();
        Plan {
            version: VERSION,
            seed: Seed::random(b"").unwrap(),
            renewals: Vec::new(),
            probes: Vec::new(),
            steps,
            findings: Vec::new(),
        }
    }

    #[test]
    fn a_variable_is_made_written_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let guest = Guest::open(dir.path()).unwrap();
        let steps = [
            change(None, Some(b"\x07\0\0\0one")),
            change(Some(b"\x07\0\0\0one"), Some(b"\x07\0\0\0two")),
            change(Some(b"\x07\0\0\0two"), None),
        ];
        let error = set(&guest, &steps[0]).unwrap_err();
        assert!(error.is::<FirmwareFailed>(), "{error:#}");
        std::fs::create_dir_all(dir.path().join(Firmware::DIR)).unwrap();
        let plan = plan(&steps);
        for step in &steps {
            assert!(!is_set(&guest, step).unwrap());
            unchanged(&guest, &plan, step).unwrap();
            set(&guest, step).unwrap();
            assert!(is_set(&guest, step).unwrap());
        }
        // Another value than any step finds; a link that leads elsewhere.
        let file = dir.path().join(steps[0].path());
        std::fs::write(&file, "other").unwrap();
        unchanged(&guest, &plan, &steps[0]).unwrap_err();
        std::fs::remove_file(&file).unwrap();
        std::fs::write(dir.path().join("outside"), "outside").unwrap();
        std::os::unix::fs::symlink("/outside", &file).unwrap();
        set(&guest, &steps[0]).unwrap_err();
        assert_eq!(std::fs::read(dir.path().join("outside")).unwrap(), b"outside");
    }
}
