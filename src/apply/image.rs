// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's tree inside of images, mounted where nobody else sees it, and gone with this program however it ends.
//!
//! An image is another's word. Its file systems are mounted by what stands on the disk, with `nosuid,nodev,noexec`, each
//! from a loop device over its own part; its fstab(5) only says which of them lies where in the tree, and a mount point is
//! found without following a link. The mounts are in a mount namespace of this program's own, mount_namespaces(7).

mod claim;
mod loops;

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::guest::disks::{Branch, Disks, Missing, branches, candidates};
use crate::guest::mounts;
use crate::root::{Kind, Root};
use loops::Loop;

/// Where the tree is mounted, in this program's own namespace.
const AT: &str = "/run/reseal-image";
/// How everything is mounted until all of it is.
const LOOK: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC)
    .union(MsFlags::MS_NOATIME)
    .union(MsFlags::MS_RDONLY);
/// How many directories of a btrfs are looked into for the root.
const MOST_SUBVOLUMES: usize = 64;

/// A guest's tree; dropping it takes it away.
#[derive(Debug)]
pub struct Tree {
    /// What the guest's fstab names and is not there, or what it does not name.
    pub missing: Vec<Missing>,
    images: Vec<(String, Flock<File>)>,
    /// Loop devices by image and offset. A file system has one, however often it is mounted.
    devices: Vec<(String, u64, Loop)>,
    /// What may be mounted, by image and offset.
    checked: Vec<(String, u64)>,
    write: bool,
}

impl Tree {
    /// Mounts the guest that is on these disks, to be read, or to be changed as well; `None` where there is no guest.
    ///
    /// # Errors
    /// When an image is in use, when there are several roots, when the kernel does not mount what it shall, and when the
    /// tree is to be changed and a part of it is missing.
    pub fn mount(disks: &Disks, write: bool) -> Result<Option<Tree>> {
        let candidates = candidates(disks);
        if candidates.is_empty() {
            return Ok(None);
        }
        let images = disks.list.iter().map(|disk| claim::open(&disk.path, write)).collect::<Result<Vec<_>>>()?;
        unshare(CloneFlags::CLONE_NEWNS).context("making a mount namespace")?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("making mounts private")?;
        make_dir()?;
        let mut tree = Tree { missing: Vec::new(), images, devices: Vec::new(), checked: Vec::new(), write };
        let Some(root) = tree.find(&candidates)? else { return Ok(None) };
        let Some(fstab) = tree.looking(&root, |at| Root::open(at)?.read("etc/fstab"))? else { return Ok(None) };
        let text = String::from_utf8_lossy(&fstab.unwrap_or_default()).into_owned();
        let (branches, missing) = branches(disks, &root, &text);
        tree.missing = missing;
        if let Some(needed) = tree.missing.iter().find(|one| one.needed && write) {
            bail!("{} of this guest cannot be mounted: {}; nothing was changed", needed.subject, needed.why);
        }
        tree.attach(&root, Path::new(AT), write)?;
        for branch in branches {
            if let Err(error) = tree.attach_below(&branch) {
                let error = error.context(format!("mounting {} at {}", branch.name, branch.point));
                if write && !branch.optional {
                    return Err(error.context("the guest's tree is not whole, and nothing was changed"));
                }
                let (subject, why) = (branch.point, format!("{error:#}"));
                tree.missing.push(Missing { subject, why, needed: !branch.optional });
            }
        }
        if write {
            for point in points()? {
                let flags = LOOK.difference(MsFlags::MS_RDONLY) | MsFlags::MS_REMOUNT;
                mount(none, point.as_str(), none, flags, none).with_context(|| format!("making {point} writable"))?;
            }
        }
        Ok(Some(tree))
    }

    /// Why this program cannot mount anything here, if it cannot.
    pub fn impossible() -> Option<String> {
        if !nix::unistd::geteuid().is_root() {
            return Some("only root mounts what is inside an image".to_owned());
        }
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control");
        control.err().map(|error| format!("opening /dev/loop-control: {error}"))
    }

    /// Where it is mounted, for this program.
    pub fn path(&self) -> &Path {
        Path::new(AT)
    }

    /// The root among the candidates; none, or the only one.
    fn find(&mut self, candidates: &[Branch]) -> Result<Option<Branch>> {
        let mut roots: Vec<Branch> = Vec::new();
        for candidate in candidates {
            if self.looking(candidate, is_root)? == Some(true) {
                roots.push(candidate.clone());
                continue;
            }
            if candidate.kind != "btrfs" {
                continue;
            }
            let top = Branch { options: "subvolid=5".to_owned(), ..candidate.clone() };
            let inside = self.looking(&top, |at| {
                let top = Root::open(at)?;
                // A link could lead out of the image.
                let is_dir =
                    |name: &str| top.stat(name).is_ok_and(|it| it.is_some_and(|it| it.kind == Kind::Directory));
                let is = |name: &String| is_dir(name) && is_root(&at.join(name)).unwrap_or(false);
                let names = top.list("")?;
                Ok(names.into_iter().take(MOST_SUBVOLUMES).filter(is).collect::<Vec<_>>())
            })?;
            // A name with a comma would be two options.
            let names = inside.unwrap_or_default().into_iter().filter(|name| !name.contains(','));
            roots.extend(names.map(|name| Branch { options: format!("subvol={name}"), ..candidate.clone() }));
        }
        match &roots[..] {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            several => {
                let names: Vec<String> = several.iter().map(|b| format!("{} {}", b.name, b.options)).collect();
                bail!(
                    "{} are roots, and which is meant cannot be told; mount it, and name the tree with --root",
                    names.iter().map(|name| name.trim()).collect::<Vec<_>>().join(" and ")
                );
            }
        }
    }

    /// Looks at a file system, which nothing is written to. None where the kernel does not mount it.
    fn looking<T>(&mut self, branch: &Branch, look: impl FnOnce(&Path) -> Result<T>) -> Result<Option<T>> {
        let dir = Path::new(AT);
        if let Err(error) = self.attach(branch, dir, false) {
            tracing::warn!("{error:#}");
            return Ok(None);
        }
        let seen = look(dir);
        umount2(dir, MntFlags::empty()).context("unmounting the image")?;
        self.devices.clear();
        seen.map(Some)
    }

    fn attach_below(&mut self, branch: &Branch) -> Result<()> {
        // Held open, so that it stays what it was found to be.
        let point = beneath(Path::new(AT), &branch.point).with_context(|| format!("opening {}", branch.point))?;
        let write = self.write;
        self.attach(branch, Path::new(&format!("/proc/self/fd/{}", point.as_raw_fd())), write)
    }

    fn attach(&mut self, branch: &Branch, at: &Path, write: bool) -> Result<()> {
        let Some((_, image)) = self.images.iter().find(|(path, _)| *path == branch.image) else {
            bail!("{} is not open", branch.image);
        };
        let key = (branch.image.clone(), branch.place.0);
        if !self.checked.contains(&key) {
            claim::check(branch, image)?;
            self.checked.push(key.clone());
        }
        let device = match self.devices.iter().find(|(image, offset, _)| (image, *offset) == (&key.0, key.1)) {
            Some((_, _, device)) => device.path.clone(),
            None => {
                let device = loops::attach(image, branch.place, write)?;
                let path = device.path.clone();
                self.devices.push((key.0, key.1, device));
                path
            }
        };
        let with = |extra: &str| {
            let options = [branch.options.as_str(), extra].into_iter().filter(|part| !part.is_empty());
            let options = options.collect::<Vec<_>>().join(",");
            mount(Some(device.as_str()), at, Some(branch.kind.as_str()), LOOK, Some(options.as_str()))
        };
        let done = match with("") {
            // A journal that is not empty cannot be replayed where nothing is to be written.
            Err(errno) if !write && errno != Errno::ENODEV && branch.kind != "vfat" => with("norecovery"),
            done => done,
        };
        done.map_err(|errno| match errno {
            Errno::ENODEV => anyhow!("this kernel knows no {}", branch.kind),
            errno => errno.into(),
        })
        .with_context(|| format!("mounting {}", branch.name))?;
        Ok(())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Err(error) = unmount() {
            eprintln!("reseal: unmounting the image: {error}");
        }
        if self.write {
            for (path, image) in &self.images {
                if let Err(error) = image.sync_all() {
                    eprintln!("reseal: writing {path}: {error}");
                }
            }
        }
    }
}

/// The tree's mount points, outer ones first.
fn points() -> Result<Vec<String>> {
    let mounts = mounts::of(&fs::read_to_string("/proc/self/mountinfo")?);
    Ok(mounts.into_iter().map(|mount| mount.point).filter(|point| Path::new(point).starts_with(AT)).collect())
}

/// Takes the tree away. What is busy still goes with this program.
fn unmount() -> Result<()> {
    for point in points()?.iter().rev() {
        let gone = umount2(point.as_str(), MntFlags::UMOUNT_NOFOLLOW);
        if gone == Err(Errno::EBUSY) {
            umount2(point.as_str(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
        } else {
            gone?;
        }
    }
    Ok(())
}

/// It stays: where a directory is removed, what is mounted there in another namespace goes too, mount_namespaces(7).
fn make_dir() -> Result<()> {
    match fs::create_dir(AT) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("making {AT}"));
        }
        _ => {}
    }
    // Nothing is to be seen in it but in this program's namespace, and gpg(1) reaches homes through it as their owner.
    Ok(fs::set_permissions(AT, fs::Permissions::from_mode(0o711))?)
}

/// Is it the root of a Linux system? os-release(5) may be a link, which is not followed here.
fn is_root(at: &Path) -> Result<bool> {
    let root = Root::open(at)?;
    let is = |path: &str| root.stat(path).is_ok_and(|found| found.is_some());
    Ok(is("etc") && (is("etc/os-release") || is("usr/lib/os-release") || is("etc/fstab") && is("etc/passwd")))
}

/// A directory of the tree, without following a link on the way or at its end.
fn beneath(dir: &Path, point: &str) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let dir = nix::fcntl::open(dir, flags, nix::sys::stat::Mode::empty())?;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    match openat2(&dir, point.trim_matches('/'), OpenHow::new().flags(flags).resolve(resolve)) {
        Err(Errno::ELOOP) => bail!("there is a link on the way to it"),
        found => Ok(found?),
    }
}
