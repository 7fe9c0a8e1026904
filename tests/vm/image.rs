// SPDX-License-Identifier: MIT OR Apache-2.0
//! What clones are made of: the template's disks with a root of its own, which the host edits while no guest runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, umount2};
use tempfile::TempDir;

use crate::guests::{run, workplace};
use crate::machine::{Machine, fresh_uuid};
use crate::root::{self, RootKind};
use crate::template::{self, ESP_OFFSET, ROOT_OFFSET, ROOT_SIZE, Template};

const COLLECT: &str = include_str!("collect.sh");

/// Runs collect.sh once the guest is up.
const COLLECTOR: &str = "\
[Unit]
Description=Tell the test about this guest
ConditionPathExists=/dev/virtio-ports/facts
After=multi-user.target
[Service]
Type=exec
ExecStart=/bin/sh /usr/local/lib/vm/collect.sh
";

/// Disks that clones are overlays on.
pub struct Image {
    disks: Vec<PathBuf>,
    /// How its root is mounted.
    options: &'static str,
    dir: TempDir,
}

impl Image {
    /// The template as it is, that is, without reseal.
    pub fn of_template() -> Image {
        let template = Template::get();
        let dir = tempfile::Builder::new().prefix("vm-image-").tempdir_in(workplace()).expect("making a directory");
        let mut disks = template.disks();
        let root = dir.path().join("root.raw");
        run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(&disks[0]).arg(&root));
        disks[0] = root;
        let image = Image { disks, options: "defaults", dir };
        // The collector of these tests, not of those that made the template.
        image.edit(add_collector);
        image
    }

    /// The template with reseal installed into it while it was off: there is no stamp, so its clones reset themselves.
    pub fn with_reseal(deb: &Path) -> Image {
        let image = Image::of_template();
        image.install(deb);
        image
    }

    /// The same on another root file system.
    pub fn on(kind: RootKind, deb: &Path) -> Image {
        let mut image = Image::of_template();
        root::replace(&image.disks[0], kind, image.dir.path());
        image.options = kind.options();
        image.install(deb);
        image
    }

    /// Has dracut make the initramfs, with systemd in it, in place of initramfs-tools.
    pub fn use_dracut(&self) {
        self.edit(|root| {
            fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).expect("copying the name servers");
            run(chroot(root).args(["apt-get", "-q", "update"]));
            run(chroot(root).args(["apt-get", "-q", "-y", "--no-install-recommends", "install", "dracut"]));
            run(chroot(root).args(["apt-get", "clean"]));
            fs::remove_file(root.join("etc/resolv.conf")).expect("removing the name servers");
            let kernels = fs::read_dir(root.join("lib/modules")).expect("reading the kernels").flatten();
            for kernel in kernels.map(|kernel| kernel.file_name().to_string_lossy().into_owned()) {
                let image = format!("/boot/initrd.img-{kernel}");
                let drivers = ["--force-drivers", "virtio_pci virtio_blk"];
                run(chroot(root)
                    .args(["dracut", "--force", "--quiet"])
                    .args(drivers)
                    .args(["--kver", &kernel, &image]));
            }
        });
    }

    fn install(&self, deb: &Path) {
        self.edit(|root| {
            fs::copy(deb, root.join("var/cache/reseal.deb")).expect("copying the package");
            run(chroot(root).args(["dpkg", "--install", "/var/cache/reseal.deb"]));
            fs::remove_file(root.join("var/cache/reseal.deb")).expect("removing the package");
            assert!(!root.join("etc/reseal/stamp").exists(), "an offline installation left a stamp");
        });
    }

    /// Changes the root file system.
    pub fn edit(&self, change: impl FnOnce(&Path)) {
        mounted(&self.disks[0], self.options, change);
    }

    /// The id of its root file system.
    pub fn root_id(&self) -> String {
        let offset = ROOT_OFFSET.to_string();
        let probe = ["-p", "-s", "UUID", "-o", "value", "-O", &offset];
        run(Command::new("blkid").args(probe).arg(&self.disks[0])).trim().to_owned()
    }

    /// Seals it, as an image builder does.
    pub fn seal(&self) {
        self.edit(|root| {
            run(Command::new(root.join("usr/bin/reseal")).args(["seal", "--yes", "--root"]).arg(root));
        });
    }

    /// Moves directories of the root to file systems of their own, on a disk more.
    pub fn split(&mut self, dirs: &[(&str, u64)]) {
        let disk = self.dir.path().join("split.raw");
        let table = dirs.iter().map(|(_, size)| format!("size={size}M\n")).collect::<String>();
        let whole = dirs.iter().map(|(_, size)| size).sum::<u64>() + 4;
        template::blank_disk(&disk, whole, &format!("label: gpt\n{table}"));
        self.edit(|root| {
            for (dir, _) in dirs {
                fs::create_dir(root.join(dir).join("files")).expect("making a directory");
                fs::write(root.join(dir).join("files/name"), dir).expect("writing a file");
                let sum = run(Command::new("sha256sum").arg("files/name").current_dir(root.join(dir)));
                fs::write(root.join("usr/local/lib/vm/sums").join(dir), sum).expect("writing a sum");
            }
            let (mut lines, mut start) = (String::new(), 1);
            for (dir, size) in dirs {
                let mut mke2fs = Command::new("mke2fs");
                mke2fs.args(["-q", "-F", "-t", "ext4", "-E", &format!("offset={}", start << 20), "-d"]);
                let id = fresh_uuid();
                if *dir == "boot" {
                    self.boot_from(root, &id);
                }
                run(mke2fs.arg(root.join(dir)).args(["-U", &id]).arg(&disk).arg(format!("{size}M")));
                lines += &format!("UUID={id} /{dir} ext4 defaults 0 2\n");
                start += size;
            }
            // Before what is mounted below them.
            let fstab = fs::read_to_string(root.join("etc/fstab")).expect("reading fstab");
            let (head, tail) = fstab.split_once("0 1\n").expect("a line of the root");
            fs::write(root.join("etc/fstab"), format!("{head}0 1\n{lines}{tail}")).expect("writing fstab");
            for (dir, _) in dirs {
                fs::remove_dir_all(root.join(dir)).and_then(|()| fs::create_dir(root.join(dir))).expect("emptying it");
            }
        });
        self.disks.push(disk);
    }

    /// Has GRUB find /boot on a file system of its own, as grub-mkconfig(8) and grub-install(8) would say it. The image in
    /// the boot sector of the first disk is not for that; what the firmware reads on the EFI system partition is.
    fn boot_from(&self, root: &Path, id: &str) {
        let path = root.join("boot/grub/grub.cfg");
        let menu = fs::read_to_string(&path).expect("reading GRUB's menu").replace("\t/boot/", "\t/");
        let searches = menu.lines().map(|line| match line.rsplit_once(" --set=root ") {
            Some((search, _)) => format!("{search} --set=root {id}\n"),
            None => format!("{line}\n"),
        });
        fs::write(&path, searches.collect::<String>()).expect("writing GRUB's menu");
        let stub = self.dir.path().join("grub.cfg");
        let lines =
            format!("search.fs_uuid {id} root hd4,gpt2 \nset prefix=($root)'/grub'\nconfigfile $prefix/grub.cfg\n");
        fs::write(&stub, lines).expect("writing a file");
        let esp = format!("{}@@{ESP_OFFSET}", self.disks[0].display());
        run(Command::new("mcopy").args(["-o", "-i", &esp]).arg(&stub).arg("::/EFI/debian/grub.cfg"));
    }

    /// A new machine with a copy of these disks.
    pub fn copy(&self, name: &str) -> Machine {
        Machine::clone_of(name, &self.disks)
    }
}

/// Mounts the root file system of a disk for the time of a change. The caller's mount namespace must be its own.
pub fn mounted<T>(disk: &Path, options: &str, change: impl FnOnce(&Path) -> T) -> T {
    let point = tempfile::Builder::new().prefix("vm-mount-").tempdir_in(workplace()).expect("making a directory");
    let options = format!("{options},loop,offset={ROOT_OFFSET},sizelimit={ROOT_SIZE}");
    run(Command::new("mount").args(["-o", &options]).arg(disk).arg(point.path()));
    let mount = Mount(point);
    let proc = mount.0.path().join("proc");
    // A file system that nothing was unpacked into yet has no place for it.
    if proc.is_dir() {
        nix::mount::mount(Some("proc"), &proc, Some("proc"), MsFlags::empty(), None::<&str>).expect("mounting /proc");
    }
    change(mount.0.path())
}

/// Dropped also where a change panics: a temporary directory is emptied, whatever is mounted on it.
struct Mount(TempDir);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = umount2(&self.0.path().join("proc"), MntFlags::MNT_DETACH);
        // The disk is whole when this has returned; busy, it is only taken out of sight.
        let done = umount2(self.0.path(), MntFlags::empty());
        if done.is_err() {
            umount2(self.0.path(), MntFlags::MNT_DETACH).expect("unmounting a root");
        }
        assert!(done.is_ok() || std::thread::panicking(), "unmounting a root: {done:?}");
    }
}

/// A program in the mounted root, as image builders run it: /proc, mmdebstrap's device nodes, no systemd.
pub fn chroot(root: &Path) -> Command {
    let mut command = Command::new("chroot");
    command.arg(root).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Puts collect.sh and its unit below /usr/local, so that /etc is as Debian and the template made it.
pub fn add_collector(root: &Path) {
    let units = root.join("usr/local/lib/systemd/system");
    let wants = units.join("multi-user.target.wants");
    for dir in [&wants, &root.join("usr/local/lib/vm")] {
        fs::create_dir_all(dir).expect("making a directory");
    }
    fs::write(root.join("usr/local/lib/vm/collect.sh"), COLLECT).expect("writing the collector");
    fs::write(units.join("collect.service"), COLLECTOR).expect("writing a unit");
    let link = wants.join("collect.service");
    if !link.is_symlink() {
        symlink("../collect.service", link).expect("linking a unit");
    }
}
