// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changes of the file tree: each is there completely, on disk, or not at all.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use anyhow::{Context as _, Result, bail};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, readlinkat, renameat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, fsync, symlinkat, unlinkat};

use super::rename::{Reader, is_on_fat, put_in_place};
use crate::root::{Kind, Meta, Root, Stat, split};

/// Extended attributes that describe the old content and not the file.
const OF_CONTENT: [&str; 3] = ["security.ima", "security.evm", "security.capability"];

/// Writes below a root.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'r> {
    root: &'r Root,
}

impl<'r> Writer<'r> {
    /// A writer below this root.
    pub fn new(root: &'r Root) -> Writer<'r> {
        Writer { root }
    }

    /// Puts a file in place of what stands at `path`: complete and synced under a temporary name in the same directory,
    /// with owner, mode and the extended attributes of the file it replaces, then renamed, then the directory synced.
    ///
    /// # Errors
    /// What the system calls give; the old file is untouched then.
    pub fn put(&self, path: &str, bytes: &[u8], meta: Meta) -> Result<()> {
        match self.replace(path, bytes, meta) {
            // PID 1 mounted a transient id over the file, machine-id(5).
            Err(error) if error.downcast_ref() == Some(&Errno::EBUSY) && self.root.is_running_system() => {
                beneath_mount(path, bytes, meta)
            }
            result => result,
        }
        .with_context(|| format!("writing /{path}"))
    }

    fn replace(&self, path: &str, bytes: &[u8], meta: Meta) -> Result<()> {
        let (parent, name) = split(path);
        let dir = self.dir(parent, meta)?;
        let temporary = temporary(name);
        remove_entry(&dir, temporary.as_ref())?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = openat(&dir, temporary.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let finish = || -> Result<()> {
            let mut file = File::from(made);
            file.write_all(bytes)?;
            set_owner(&file, meta)?;
            fchmod(&file, Mode::from_bits_truncate(meta.mode))?;
            copy_attributes(&dir, name, &file)?;
            fsync(&file)?;
            put_in_place(&dir, &temporary, name, self.reader(path))
        };
        finish().inspect_err(|_| {
            // The first error counts; a full disk gets its space back.
            let _ = unlinkat(&dir, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
        })
    }

    /// Puts a symbolic link in place of what stands at `path`.
    ///
    /// # Errors
    /// What the system calls give.
    pub fn link(&self, path: &str, target: &str) -> Result<()> {
        let link = || -> Result<()> {
            let (parent, name) = split(path);
            let dir = self.dir(parent, self.directory()?)?;
            let temporary = temporary(name);
            remove_entry(&dir, temporary.as_ref())?;
            symlinkat(target, &dir, temporary.as_str())?;
            put_in_place(&dir, &temporary, name, self.reader(path))
        };
        link().with_context(|| format!("linking /{path}"))
    }

    /// Removes what stands at `path`, a directory with all that is in it; links are not followed.
    ///
    /// # Errors
    /// What the system calls give.
    pub fn remove(&self, path: &str) -> Result<()> {
        let remove = || -> Result<()> {
            let (parent, name) = split(path);
            let dir = match self.root.open_dir(parent) {
                Err(Errno::ENOENT) => return Ok(()),
                dir => dir?,
            };
            remove_entry(&dir, name.as_ref())?;
            Ok(fsync(&dir)?)
        };
        remove().with_context(|| format!("removing /{path}"))
    }

    /// Renames; what stands at `to` is never replaced.
    ///
    /// # Errors
    /// What the system calls give.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        let rename = || -> Result<()> {
            let ((from_parent, from_name), (to_parent, to_name)) = (split(from), split(to));
            let (source, target) = (self.root.open_dir(from_parent)?, self.dir(to_parent, self.directory()?)?);
            if is_on_fat(&target)? && kind_of(&target, to_name.as_ref())?.is_none() {
                // There the new name may come to the disk without what it names, and the old name go before.
                self.copy(from, to)?;
                return self.remove(from);
            }
            renameat2(&source, from_name, &target, to_name, RenameFlags::RENAME_NOREPLACE)?;
            fsync(&target)?;
            Ok(fsync(&source)?)
        };
        rename().with_context(|| format!("renaming /{from} to /{to}"))
    }

    /// Copies a file or a directory of files; complete under `to`, or not there.
    ///
    /// # Errors
    /// When something else than files and directories is in it, and what the system calls give.
    pub fn copy(&self, from: &str, to: &str) -> Result<()> {
        let copy = || -> Result<()> {
            let ((from_parent, from_name), (to_parent, to_name)) = (split(from), split(to));
            let (source, target) = (self.root.open_dir(from_parent)?, self.dir(to_parent, self.directory()?)?);
            let temporary = temporary(to_name);
            remove_entry(&target, temporary.as_ref())?;
            copy_entry(&source, from_name.as_ref(), &target, temporary.as_ref())?;
            put_in_place(&target, &temporary, to_name, self.reader(to))
        };
        copy().with_context(|| format!("copying /{from} to /{to}"))
    }

    /// Makes a directory if it is missing, with these permission bits.
    ///
    /// # Errors
    /// What the system calls give.
    pub fn make_dir(&self, path: &str, meta: Meta) -> Result<()> {
        let (parent, name) = split(path);
        let make = || -> Result<()> {
            let dir = self.dir(parent, Meta { mode: 0o755, ..meta })?;
            make_one(&dir, name.as_ref(), meta)
        };
        make().with_context(|| format!("making the directory /{path}"))
    }

    /// Who reads the file. What is not mounted at this machine's `/` is unmounted before anything boots from it.
    fn reader(&self, path: &str) -> Reader {
        let boots = ["boot/", "efi/"].iter().any(|prefix| path.starts_with(prefix));
        if boots && self.root.is_running_system() { Reader::BootLoader } else { Reader::Kernel }
    }

    /// What a directory that is made on the way is like: owned as the guest's root directory is.
    fn directory(&self) -> Result<Meta> {
        let owner = self.root.stat("")?.map_or(Meta::root(0o755), |stat| stat.meta);
        Ok(Meta { mode: 0o755, ..owner })
    }

    /// Opens the directory `path`, making what is missing of it, owned as the file that goes into it.
    fn dir(&self, path: &str, meta: Meta) -> Result<OwnedFd> {
        match self.root.open_dir(path) {
            Err(Errno::ENOENT) if !path.is_empty() => {
                let (parent, name) = split(path);
                let above = self.dir(parent, meta)?;
                make_one(&above, name.as_ref(), Meta { mode: 0o755, ..meta })?;
                Ok(self.root.open_dir(path)?)
            }
            opened => Ok(opened?),
        }
    }
}

/// One name per file, so that the next run replaces what a killed one left.
fn temporary(name: &str) -> String {
    format!(".{name}.reseal")
}

fn make_one(dir: &OwnedFd, name: &OsStr, meta: Meta) -> Result<()> {
    match mkdirat(dir, name, Mode::S_IRWXU) {
        Err(Errno::EEXIST) => return Ok(()),
        made => made?,
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let made = openat(dir, name, flags, Mode::empty())?;
    set_owner(&made, meta)?;
    fchmod(&made, Mode::from_bits_truncate(meta.mode))?;
    Ok(fsync(dir)?)
}

/// An ordinary user may not even set the owner that a file has already.
fn set_owner(file: impl AsFd, meta: Meta) -> Result<()> {
    let is: Stat = fstat(&file)?.into();
    if (is.meta.uid, is.meta.gid) != (meta.uid, meta.gid) {
        fchown(file, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))?;
    }
    Ok(())
}

/// SELinux label, ACLs and the like of the file that is replaced.
fn copy_attributes(dir: &OwnedFd, name: &str, new: &File) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let kind = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).map(|stat| Stat::from(stat).kind);
    let Ok(Kind::File) = kind else { return Ok(()) };
    let old = openat(dir, name, flags, Mode::empty())?;
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(&old, &mut names) {
        // A file system without attributes.
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        length => length?,
    };
    for attribute in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if OF_CONTENT.iter().any(|known| known.as_bytes() == attribute) {
            continue;
        }
        let attribute = CString::new(attribute)?;
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::fgetxattr(&old, &attribute, &mut value)?;
        rustix::fs::fsetxattr(new, &attribute, &value[..length], rustix::fs::XattrFlags::empty())
            .with_context(|| format!("keeping the attribute {}", attribute.to_string_lossy()))?;
    }
    Ok(())
}

fn kind_of(dir: &OwnedFd, name: &OsStr) -> Result<Option<Stat>> {
    match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(None),
        stat => Ok(Some(stat?.into())),
    }
}

fn remove_entry(dir: &OwnedFd, name: &OsStr) -> Result<()> {
    match kind_of(dir, name)?.map(|stat| stat.kind) {
        None => Ok(()),
        Some(Kind::Directory) => {
            let below = open_below(dir, name)?;
            for entry in names(&below)? {
                remove_entry(&below, &entry)?;
            }
            Ok(unlinkat(dir, name, UnlinkatFlags::RemoveDir)?)
        }
        Some(_) => Ok(unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?),
    }
}

fn copy_entry(from: &OwnedFd, name: &OsStr, to: &OwnedFd, new: &OsStr) -> Result<()> {
    let Some(stat) = kind_of(from, name)? else { bail!("{} is gone", name.display()) };
    match stat.kind {
        Kind::File => {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let mut source = File::from(openat(from, name, flags, Mode::empty())?);
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let mut target = File::from(openat(to, new, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
            std::io::copy(&mut source, &mut target)?;
            set_owner(&target, stat.meta)?;
            fchmod(&target, Mode::from_bits_truncate(stat.meta.mode))?;
            Ok(fsync(&target)?)
        }
        Kind::Directory => {
            make_one(to, new, stat.meta)?;
            let (source, target) = (open_below(from, name)?, open_below(to, new)?);
            for entry in names(&source)? {
                copy_entry(&source, &entry, &target, &entry)?;
            }
            Ok(fsync(&target)?)
        }
        Kind::Link => {
            let link = readlinkat(from, name)?;
            symlinkat(link.as_os_str(), to, new)?;
            let owner = (Some(Uid::from_raw(stat.meta.uid)), Some(Gid::from_raw(stat.meta.gid)));
            Ok(fchownat(to, new, owner.0, owner.1, AtFlags::AT_SYMLINK_NOFOLLOW)?)
        }
        Kind::Special => bail!("{} is a fifo, socket or device", name.display()),
    }
}

fn open_below(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(dir, name, flags, Mode::empty())?)
}

fn names(dir: &OwnedFd) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::openat(dir, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?.iter() {
        let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Writes the file that a mount hides: in a mount namespace of its own, where the mount is taken off; then takes the mount
/// off for everybody, so that there is no moment at which the path holds neither id (as systemd-machine-id-commit does).
fn beneath_mount(path: &str, bytes: &[u8], meta: Meta) -> Result<()> {
    let at = format!("/{path}");
    let write = || -> Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        umount2(at.as_str(), MntFlags::MNT_DETACH)?;
        let root = Root::open(std::path::Path::new("/"))?;
        Writer::new(&root).replace(path, bytes, meta)
    };
    // The namespace belongs to the thread, and goes with it.
    let written = std::thread::scope(|scope| scope.spawn(write).join());
    written.map_err(|_| anyhow::anyhow!("the thread that writes beneath the mount ended"))??;
    match umount2(at.as_str(), MntFlags::MNT_DETACH) {
        // Renaming over a mount point of another namespace takes the mount off there, too.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno).context("taking the mount off"),
    }
}
