// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest's file tree: an overlay on the userland, or on another guest of which it is the clone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{run, userland, workplace};

/// A guest that is switched off.
#[derive(Debug)]
pub struct Guest {
    /// Layers below this guest's own, topmost first.
    below: Vec<PathBuf>,
    root: PathBuf,
    dir: TempDir,
}

impl Guest {
    /// A fresh Debian, as its packages leave it: host keys, no machine-id.
    pub fn debian() -> Guest {
        Guest::on(vec![userland::tree()], None)
    }

    /// A copy of a guest of [`Guest::debian`] that was kept, which must not change as long as the copy lives.
    pub fn kept(layer: &Path) -> Guest {
        Guest::on(vec![layer.to_owned(), userland::tree()], None)
    }

    /// Keeps what this guest has beyond the userland, as a directory that is a layer of an overlay.
    pub fn keep(self, layer: &Path) {
        umount2(&self.root, MntFlags::empty()).expect("unmounting a guest");
        fs::rename(self.dir.path().join("disk/upper"), layer).expect("keeping a guest");
    }

    /// A copy of this guest as it is now, which must not change as long as the copy lives.
    pub fn copy(&self) -> Guest {
        Guest::on(self.layers(), None)
    }

    /// The same on a disk of `size` (as tmpfs knows it: "4m").
    pub fn copy_on_small_disk(&self, size: &str) -> Guest {
        Guest::on(self.layers(), Some(size))
    }

    fn layers(&self) -> Vec<PathBuf> {
        [vec![self.dir.path().join("disk/upper")], self.below.clone()].concat()
    }

    fn on(below: Vec<PathBuf>, size: Option<&str>) -> Guest {
        let dir = tempfile::Builder::new().prefix("guest-").tempdir_in(workplace()).expect("making a directory");
        let (disk, root) = (dir.path().join("disk"), dir.path().join("root"));
        for made in [&disk, &root, &dir.path().join("facts")] {
            fs::create_dir(made).expect("making a directory");
        }
        if let Some(size) = size {
            let options = format!("size={size}");
            mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), Some(&*options)).expect("mounting a tmpfs");
        }
        for made in ["upper", "work"] {
            fs::create_dir(disk.join(made)).expect("making a directory");
        }
        // mkdir(2) obeyed the umask, and this directory is the guest's "/".
        fs::set_permissions(disk.join("upper"), fs::Permissions::from_mode(0o755)).expect("changing a mode");
        let lower = below.iter().map(|layer| layer.to_str().expect("a path in UTF-8")).collect::<Vec<_>>().join(":");
        let options = format!(
            "lowerdir={lower},upperdir={},workdir={}",
            disk.join("upper").display(),
            disk.join("work").display()
        );
        mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(&*options)).expect("mounting an overlay");
        Guest { below, root, dir }
    }

    /// The guest's "/".
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The guest's /run/facts while it runs.
    pub fn facts(&self) -> PathBuf {
        self.dir.path().join("facts")
    }

    /// A path in the guest; `path` is relative to its root.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A file's text without white space at its ends; empty where there is no such file.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default().trim().to_owned()
    }

    /// Writes a file.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("making a directory");
        fs::write(&path, text).unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
    }

    /// Whether a path is there, be it a dangling link.
    pub fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// A program in a chroot, as image builders run it: no systemd, no /proc.
    pub fn chroot(&self, argv: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        command.arg(&self.root).args(argv).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Installs a .deb the way an image builder does.
    pub fn install_offline(&self, deb: &Path) {
        fs::copy(deb, self.path("var/cache/reseal.deb")).expect("copying the package");
        run(&mut self.chroot(&["dpkg", "--install", "/var/cache/reseal.deb"]));
    }

    /// The public host keys, by file name.
    pub fn host_keys(&self) -> BTreeMap<String, String> {
        let mut keys = BTreeMap::new();
        for entry in fs::read_dir(self.path("etc/ssh")).expect("reading /etc/ssh").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("ssh_host_") && name.ends_with(".pub") {
                let text = fs::read_to_string(entry.path()).expect("reading a public key");
                keys.insert(name, text.split_whitespace().nth(1).unwrap_or_default().to_owned());
            }
        }
        keys
    }

    /// Every file below a directory: its path, and a line that changes when it does. The time is not part of it.
    pub fn digest(&self, dir: &str) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        self.digest_into(dir, &mut found);
        found
    }

    fn digest_into(&self, dir: &str, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(self.path(dir)).expect("reading a directory").flatten() {
            let path = format!("{dir}/{}", entry.file_name().to_string_lossy());
            let meta = entry.metadata().expect("reading metadata");
            let kind = meta.file_type();
            let content = if kind.is_symlink() {
                fs::read_link(entry.path()).expect("reading a link").display().to_string()
            } else if kind.is_file() {
                let sum =
                    Sha256::digest(fs::read(entry.path()).unwrap_or_else(|error| panic!("reading {path}: {error}")));
                sum.iter().map(|byte| format!("{byte:02x}")).collect()
            } else {
                String::new()
            };
            found.insert(path.clone(), format!("{:o} {}:{} {content}", meta.mode(), meta.uid(), meta.gid()));
            if kind.is_dir() {
                self.digest_into(&path, found);
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // The namespace would take them along too, but TempDir removes the directory first.
        let _ = umount2(&self.root, MntFlags::MNT_DETACH);
        let _ = umount2(&self.dir.path().join("disk"), MntFlags::MNT_DETACH);
    }
}

/// The paths that differ between two digests.
pub fn differences(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let paths = before.keys().chain(after.keys()).collect::<std::collections::BTreeSet<_>>();
    paths.into_iter().filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}
