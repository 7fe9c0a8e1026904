// SPDX-License-Identifier: MIT OR Apache-2.0
//! Giving a new file the name of an old one so that a power cut leaves either.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::fsync;

use super::kernel;

/// `MSDOS_SUPER_MAGIC`, linux/magic.h.
const FAT: u64 = 0x4d44;

/// Is it a directory of a FAT file system, as the EFI system partition is?
pub fn is_on_fat(dir: &OwnedFd) -> Result<bool> {
    // Its type is signed on some machines, and wider than 32 bits on others.
    Ok(rustix::fs::fstatfs(dir)?.f_type as u64 == FAT)
}

/// Who reads a file after a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The kernel, which plays the journal of the file system first.
    Kernel,
    /// A boot loader too, which reads past the journal.
    BootLoader,
}

/// Gives what stands in a directory under a temporary name, complete and synced, its own name, in place of what has it.
///
/// # Errors
/// What the system calls give.
pub fn put_in_place(dir: &OwnedFd, temporary: &str, name: &str, reader: Reader) -> Result<()> {
    let open = |name: &str| {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        openat(dir, name, flags, Mode::empty())
    };
    if !is_on_fat(dir)? {
        // To a boot loader the name is the old file's until the journal is written back, and the old file's blocks are
        // nobody else's while it is open.
        let old = if reader == Reader::BootLoader { open(name).ok() } else { None };
        renameat(dir, temporary, dir, name)?;
        fsync(dir)?;
        if reader == Reader::BootLoader {
            kernel::write_back(dir).context("writing the journal back")?;
        }
        drop(old);
        return Ok(());
    }
    // FAT has no journal, and vfat_rename() of Linux's fs/fat/namei_vfat.c leaves three things to be written: the entry of
    // the temporary name goes, that of the other gets the new clusters, and the old clusters are given back. In any other
    // order than this a cut leaves the name with clusters that are given back, or two names with the same ones, and
    // fsck.fat(8) then empties the file: a directory writes its entries when it is synced, a file its own entry, and the old
    // clusters are not given back while somebody has the old file open.
    let new = open(temporary)?;
    let old = match open(name) {
        Err(Errno::ENOENT) => None,
        old => Some(old?),
    };
    renameat(dir, temporary, dir, name)?;
    // A name that is new has an entry without clusters until its file is synced.
    if old.is_some() {
        fsync(dir)?;
    }
    fsync(&new)?;
    fsync(dir)?;
    drop(old);
    Ok(())
}
