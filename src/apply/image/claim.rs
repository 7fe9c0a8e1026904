// SPDX-License-Identifier: MIT OR Apache-2.0
//! May an image be mounted: is it nobody else's, and is it all in the image?

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
use nix::libc;

use crate::apply::device::attached;
use crate::guest::disks::Branch;

/// Opens an image for itself: nobody else may have it in use.
pub fn open(path: &str, write: bool) -> Result<(String, Flock<File>)> {
    let kind = fs::metadata(path).with_context(|| format!("opening {path}"))?.file_type();
    if write && let Some(name) = attached(path) {
        bail!("{path} is attached as /dev/{name}; `losetup -d /dev/{name}` lets it go");
    }
    // A block device that is mounted, or a part of which is, cannot be opened exclusively, open(2).
    let exclusive = if write && kind.is_block_device() { libc::O_EXCL } else { 0 };
    let open = OpenOptions::new().read(true).write(write).custom_flags(libc::O_NONBLOCK | exclusive).open(path);
    let file = open.with_context(|| format!("opening {path}"))?;
    if write {
        no_machine_runs(&file).with_context(|| format!("looking whether {path} is in use"))?;
    }
    let lock = if write { FlockArg::LockExclusiveNonblock } else { FlockArg::LockSharedNonblock };
    let file = Flock::lock(file, lock).map_err(|(_, errno)| errno).with_context(|| format!("locking {path}"))?;
    Ok((path.to_owned(), file))
}

/// QEMU holds locks on bytes from 100 on of an image that a machine runs on, docs/system/images.
fn no_machine_runs(file: &File) -> Result<()> {
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 100,
        l_len: 200,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    if lock.l_type != libc::F_UNLCK as libc::c_short {
        bail!("another program, as a running machine, has it locked");
    }
    Ok(())
}

/// Must it not be mounted, because the kernel would take a device of this machine for a part of it?
pub fn check(branch: &Branch, image: &File) -> Result<()> {
    let (name, offset) = (&branch.name, branch.place.0);
    if branch.kind == "btrfs" {
        let mut id = [0; 16];
        // The UUID of btrfs_super_block, at 64 KiB; every device that was ever scanned and has the same counts as a part.
        image.read_exact_at(&mut id, offset + 0x10020)?;
        let id = uuid::Uuid::from_bytes(id);
        let here = [format!("/sys/fs/btrfs/{id}"), format!("/dev/disk/by-uuid/{id}")];
        if here.iter().any(|path| Path::new(path).exists()) {
            bail!("{name} holds a btrfs with the UUID {id}, which this machine has too");
        }
    }
    if branch.kind.starts_with("ext") {
        let mut block = [0; 1024];
        image.read_exact_at(&mut block, offset + 1024)?;
        let number = |at: usize| block[at..at + 4].iter().any(|byte| *byte != 0);
        // s_feature_compat's has_journal, s_journal_inum and s_journal_dev of struct ext4_super_block.
        if block[0x5c] & 4 != 0 && (!number(0xe0) || number(0xe4)) {
            bail!("{name} holds an ext4 whose journal is on another device");
        }
    }
    Ok(())
}
