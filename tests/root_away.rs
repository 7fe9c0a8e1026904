// SPDX-License-Identifier: MIT OR Apache-2.0
//! A root file system that is taken away for its ids, on loop devices, in mount namespaces of the tests' own.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use reseal::apply::{Request, RootMounts};
use reseal::disks::device::Device;
use reseal::disks::{self, Blocks as _, Format, Id};
use reseal::guest::mounts;
use reseal::plan::Place;

const NONE: Option<&str> = None;
const NEW: &str = "6b331ec4-b909-4b3b-b878-bdaa00000003";

fn tool(name: &str, arguments: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let output = Command::new(name).args(arguments).env("PATH", path).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Can this machine do it? If not, that is said loudly.
fn ready(test: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap();
    let has = |name: &str| ["/usr/sbin", "/sbin", "/usr/bin"].iter().any(|dir| Path::new(dir).join(name).exists());
    let why = if !nix::unistd::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
        "it takes root and loop devices"
    } else if !["xfs", "btrfs"].iter().all(|kind| known.lines().any(|line| line.trim() == *kind)) {
        "this kernel has no XFS or no btrfs"
    } else if !["mkfs.xfs", "mkfs.btrfs", "losetup", "xfs_repair", "btrfs"].iter().all(|name| has(name)) {
        "xfsprogs or btrfs-progs are not installed"
    } else {
        return true;
    };
    support::skip(test, why);
    false
}

/// A root on a loop device, with a file and something mounted in it.
struct Root {
    dir: tempfile::TempDir,
    device: String,
}

impl Root {
    fn new(kind: &str) -> Root {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let root = Root { device: attach(dir.path(), kind), dir };
        fs::create_dir(root.point()).unwrap();
        mount(Some(root.device.as_str()), &root.point(), Some(kind), MsFlags::empty(), NONE).unwrap();
        fs::create_dir(root.point().join("usr")).unwrap();
        fs::write(root.point().join("file"), "content").unwrap();
        let again = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_RELATIME;
        mount(NONE, &root.point(), NONE, again, NONE).unwrap();
        mount(Some("tmpfs"), &root.point().join("usr"), Some("tmpfs"), MsFlags::MS_NOEXEC, Some("mode=0700")).unwrap();
        root
    }

    fn point(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn ids(&self, format: Format) -> Vec<Id> {
        let device = Device::open(Path::new(&self.device)).unwrap();
        let found = disks::probe(&device, format).unwrap().unwrap();
        found.ids.into_iter().filter(|id| format.renews(id)).collect()
    }

    fn place(&self, format: Format) -> Place {
        let before = self.ids(format);
        let after = before.iter().map(|id| Id { value: NEW.into(), ..id.clone() }).collect();
        let size = Device::open(Path::new(&self.device)).unwrap().size();
        Place { device: self.device.clone(), offset: 0, size, before, after }
    }

    /// Its mounts: point below the root, type, flags, options.
    fn mounts(&self) -> Vec<(String, String, MsFlags, String)> {
        let all = mounts::of(&fs::read_to_string("/proc/thread-self/mountinfo").unwrap()).into_iter();
        let mine = all.filter(|one| Path::new(&one.point).starts_with(self.point()));
        mine.map(|one| (one.point.clone(), one.kind.clone(), one.flags(), one.options())).collect()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        for point in [self.point().join("usr"), self.point()] {
            let _ = umount2(&point, MntFlags::MNT_DETACH);
        }
        let _ = Command::new("losetup").args(["--detach", &self.device]).output();
    }
}

fn attach(dir: &Path, kind: &str) -> String {
    let image = dir.join("image");
    fs::File::create(&image).unwrap().set_len(320 << 20).unwrap();
    tool(&format!("mkfs.{kind}"), &["-q", image.to_str().unwrap()]);
    tool("losetup", &["--find", "--show", image.to_str().unwrap()])
}

#[test]
fn it_comes_back_as_it_was_under_another_id() {
    if !ready("it_comes_back_as_it_was_under_another_id") {
        return;
    }
    for (kind, format) in [("xfs", Format::Xfs), ("btrfs", Format::Btrfs)] {
        let root = Root::new(kind);
        let before = root.mounts();
        assert_eq!(before.len(), 2, "{before:?}");
        let request = Request::new(format, &[root.place(format)]);
        request.carry_out(&RootMounts::at(&root.point()).unwrap()).unwrap();
        assert!(root.ids(format).iter().all(|id| id.value == NEW));
        assert_eq!(root.mounts(), before);
        assert_eq!(fs::read_to_string(root.point().join("file")).unwrap(), "content");
        // Once more finds another id than it was asked to replace, and leaves everything in place.
        let mut other = root.place(format);
        other.before.iter_mut().for_each(|id| id.value = "6b331ec4-b909-4b3b-b878-bdaa00000004".into());
        other.after.clone_from(&other.before);
        let mounts = RootMounts::at(&root.point()).unwrap();
        let wrong = Request::new(format, &[other]).carry_out(&mounts).unwrap_err();
        assert!(format!("{wrong:#}").contains("has changed since the plan was made"), "{wrong:#}");
        assert_eq!(root.mounts(), before);
        for point in [root.point().join("usr"), root.point()] {
            umount2(&point, MntFlags::empty()).unwrap();
        }
        match format {
            Format::Xfs => tool("xfs_repair", &["-n", &root.device]),
            _ => tool("btrfs", &["check", &root.device]),
        };
    }
}

#[test]
fn a_root_that_is_busy_stays() {
    if !ready("a_root_that_is_busy_stays") {
        return;
    }
    let root = Root::new("xfs");
    let (before, ids) = (root.mounts(), root.ids(Format::Xfs));
    let open = fs::File::open(root.point().join("file")).unwrap();
    let request = Request::new(Format::Xfs, &[root.place(Format::Xfs)]);
    let busy = request.carry_out(&RootMounts::at(&root.point()).unwrap()).unwrap_err();
    assert!(format!("{busy:#}").contains("unmounting"), "{busy:#}");
    drop(open);
    assert_eq!((root.mounts(), root.ids(Format::Xfs)), (before, ids));
    assert!(RootMounts::at(Path::new("/proc/no-such")).is_err());
}

/// The kernel mounts no XFS whose UUID is that of another one.
#[test]
fn one_that_cannot_be_mounted_under_its_new_id_gets_the_old_one_back() {
    if !ready("one_that_cannot_be_mounted_under_its_new_id_gets_the_old_one_back") {
        return;
    }
    let root = Root::new("xfs");
    let (before, ids) = (root.mounts(), root.ids(Format::Xfs));
    let other = Root::new("xfs");
    let taken = Request::new(Format::Xfs, &[other.place(Format::Xfs)]);
    taken.carry_out(&RootMounts::at(&other.point()).unwrap()).unwrap();
    let request = Request::new(Format::Xfs, &[root.place(Format::Xfs)]);
    let error = request.carry_out(&RootMounts::at(&root.point()).unwrap()).unwrap_err();
    assert!(format!("{error:#}").contains("has its old ones again"), "{error:#}");
    assert_eq!((root.mounts(), root.ids(Format::Xfs)), (before, ids));
    assert_eq!(fs::read_to_string(root.point().join("file")).unwrap(), "content");
}
