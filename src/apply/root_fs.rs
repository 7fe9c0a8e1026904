// SPDX-License-Identifier: MIT OR Apache-2.0
//! The root file system in the initramfs: entered by one process, and taken away by another while its ids change.
//!
//! Two processes, as the one that has the guest as its `/` keeps it busy: the inner one plans, writes files, and asks for
//! ids to be set; the outer one waits for it to end, unmounts, sets them, and mounts again.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
use nix::unistd::{chdir, chroot};
use serde::{Deserialize, Serialize};

use super::device;
use crate::disks::Format;
use crate::guest::initramfs;
use crate::guest::mounts::{self, Mount};
use crate::plan::{Place, Via};

/// include/uapi/linux/magic.h
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// What the inner process asks of the outer one; on the initramfs's /run, which both see and which goes with the boot.
const REQUEST: &str = "/run/reseal/root-ids";
/// How long the kernel may need to let go of a file system whose last process has just ended.
const LET_GO: Duration = Duration::from_secs(5);

/// Is the `/` of this process an initramfs? The kernel unpacks one into memory.
///
/// # Errors
/// When the kernel does not say.
pub fn is_initramfs() -> Result<bool> {
    let kind = statfs("/").context("looking at /")?.filesystem_type();
    Ok([TMPFS_MAGIC, RAMFS_MAGIC].contains(&kind))
}

/// Leaves the list of what this initramfs quotes, [`initramfs::LIST`].
///
/// # Errors
/// When it cannot be read, or the list not written.
pub fn tell_boot_of_initramfs() -> Result<()> {
    let path = Path::new("/").join(initramfs::LIST);
    let quotes = initramfs::quotes(Path::new("/")).context("reading the initramfs")?;
    let lines: String = quotes.iter().map(|(id, at)| format!("{id} {at}\n")).collect();
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        fs::write(&path, lines)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Ids to be set while the root file system is away.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    version: u32,
    format: Format,
    places: Vec<Place>,
    /// Why it was not done, when it was tried.
    pub failed: Option<String>,
}

impl Request {
    /// For these ids.
    pub fn new(format: Format, places: &[Place]) -> Request {
        Request { version: 1, format, places: places.to_vec(), failed: None }
    }

    /// Asks.
    pub(super) fn leave(format: Format, places: &[Place]) -> Result<()> {
        Request::new(format, places).save()
    }

    /// What was asked for, if anything.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn pending() -> Result<Option<Request>> {
        match fs::read(REQUEST) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| format!("reading {REQUEST}"))?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {REQUEST}")),
        }
    }

    /// The devices that it is about.
    pub fn devices(&self) -> Vec<String> {
        self.places.iter().map(|place| place.device.clone()).collect()
    }

    /// Leaves why it failed for the inner process, which takes back what it has prepared.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn fail(mut self, why: String) -> Result<()> {
        self.failed = Some(why);
        self.save()
    }

    /// Forgets it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn settle() -> Result<()> {
        match fs::remove_file(REQUEST) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn save(&self) -> Result<()> {
        let write = || -> Result<()> {
            fs::create_dir_all(Path::new(REQUEST).parent().unwrap_or(Path::new("/")))?;
            Ok(fs::write(REQUEST, serde_json::to_vec(self)?)?)
        };
        write().with_context(|| format!("writing {REQUEST}"))
    }

    /// Unmounts the root, sets the ids, and mounts it again as it was. One that cannot be mounted under its new ids gets
    /// its old ones back.
    ///
    /// # Errors
    /// When the ids are not as asked for; the root is mounted unless the error says otherwise.
    pub fn carry_out(&self, root: &RootMounts) -> Result<()> {
        root.detach()?;
        let set = self.free().and_then(|()| device::set_directly(self.format, &self.places));
        match (set, root.attach()) {
            (done, Ok(())) => done,
            (Err(error), Err(again)) => Err(again.context(format!("{error:#}"))),
            (Ok(()), Err(error)) => {
                let back =
                    |place: &Place| Place { before: place.after.clone(), after: place.before.clone(), ..place.clone() };
                device::set_directly(self.format, &self.places.iter().map(back).collect::<Vec<_>>())?;
                root.attach()?;
                Err(error.context("it could not be mounted under its new ids, and has its old ones again"))
            }
        }
    }

    /// Waits until nobody has the devices open exclusively: a file system goes a moment later than its last mount.
    fn free(&self) -> Result<()> {
        let started = Instant::now();
        for place in &self.places {
            let exclusive = OFlag::O_RDONLY | OFlag::O_EXCL | OFlag::O_CLOEXEC;
            while let Err(error) = open(Path::new(&place.device), exclusive, Mode::empty()) {
                if started.elapsed() >= LET_GO {
                    return Err(error).with_context(|| format!("waiting for {} to be free", place.device));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

/// The root file system where the initramfs has mounted it, and what is mounted in it.
#[derive(Debug)]
pub struct RootMounts {
    /// The root first.
    list: Vec<Mount>,
}

impl RootMounts {
    /// Looks.
    ///
    /// # Errors
    /// When nothing is mounted there, or only a part of a file system.
    pub fn at(point: &Path) -> Result<RootMounts> {
        let text = fs::read_to_string("/proc/thread-self/mountinfo").context("reading /proc/thread-self/mountinfo")?;
        let all = mounts::of(&text).into_iter();
        let list: Vec<Mount> = all.filter(|mount| Path::new(&mount.point).starts_with(point)).collect();
        if list.first().is_none_or(|first| Path::new(&first.point) != point) {
            bail!("nothing is mounted at {}", point.display());
        }
        Ok(RootMounts { list })
    }

    /// Makes it what it was before the inner process made it writable.
    ///
    /// # Errors
    /// When it is busy.
    pub fn as_it_was(&self) -> Result<()> {
        let Some(root) = self.list.first().filter(|root| root.is_read_only()) else { return Ok(()) };
        let flags = root.flags() | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, root.point.as_str(), None::<&str>, flags, None::<&str>)
            .with_context(|| format!("making {} read-only", root.point))
    }

    fn detach(&self) -> Result<()> {
        for (number, one) in self.list.iter().enumerate().rev() {
            if let Err(error) = umount2(one.point.as_str(), MntFlags::UMOUNT_NOFOLLOW) {
                self.list[number + 1..].iter().try_for_each(attach)?;
                return Err(error).with_context(|| format!("unmounting {}", one.point));
            }
        }
        Ok(())
    }

    fn attach(&self) -> Result<()> {
        self.list.iter().try_for_each(attach)
    }
}

fn attach(one: &Mount) -> Result<()> {
    let options = one.options();
    mount(Some(one.source.as_str()), one.point.as_str(), Some(one.kind.as_str()), one.flags(), Some(options.as_str()))
        .with_context(|| format!("mounting {} at {}", one.source, one.point))
}

/// Makes the guest that is mounted at `root` the `/` of this process, writable, with the kernel's own file systems in it, in
/// a mount namespace that goes with the process.
///
/// # Errors
/// When the kernel refuses.
pub fn enter(root: &Path) -> Result<()> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).context("making a mount namespace")?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("making mounts private")?;
    mount(none, root, none, MsFlags::MS_REMOUNT, none)
        .with_context(|| format!("making {} writable", root.display()))?;
    for name in ["dev", "proc", "run", "sys"] {
        let (from, to): (PathBuf, PathBuf) = (Path::new("/").join(name), root.join(name));
        let kind = fs::symlink_metadata(&to).with_context(|| format!("looking at {}", to.display()))?.file_type();
        if !kind.is_dir() {
            bail!("{} is no directory", to.display());
        }
        mount(Some(&from), &to, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
            .with_context(|| format!("mounting {} at {}", from.display(), to.display()))?;
    }
    chroot(root).and_then(|()| chdir("/")).with_context(|| format!("entering {}", root.display()))
}

/// Is a step one that only the outer process can do?
pub(super) fn is_meant(via: &Via) -> bool {
    matches!(via, Via::Root)
}
