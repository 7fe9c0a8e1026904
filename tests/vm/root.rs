// SPDX-License-Identifier: MIT OR Apache-2.0
//! The template's root on another file system, with a GRUB that reads it: what an installation that chose it would have.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::guests::run;
use crate::image::{chroot, mounted};
use crate::machine::fresh_uuid;
use crate::template::{ESP_OFFSET, ROOT_OFFSET, ROOT_SIZE};

/// Where the partition for GRUB's image begins, in bytes: behind the root, the EFI system partition and the swap space.
const GRUB_OFFSET: u64 = (1 + 1400 + 64 + 64) << 20;
const SECTOR: u64 = 512;

/// A file system for a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootKind {
    /// XFS.
    Xfs,
    /// btrfs, with the root in the subvolume that Debian's installer makes.
    Btrfs,
}

impl RootKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            RootKind::Xfs => "xfs",
            RootKind::Btrfs => "btrfs",
        }
    }

    /// How it is mounted.
    pub fn options(self) -> &'static str {
        match self {
            RootKind::Xfs => "defaults",
            RootKind::Btrfs => "subvol=@rootfs",
        }
    }

    /// Where the root is on it, as GRUB sees it.
    fn prefix(self) -> &'static str {
        match self {
            RootKind::Xfs => "",
            RootKind::Btrfs => "/@rootfs",
        }
    }
}

/// Makes the file system in place of the root of `disk`, with all that is on it.
pub fn replace(disk: &Path, kind: RootKind, dir: &Path) {
    let kept = dir.join("root.tar");
    let tar = ["--numeric-owner", "--xattrs", "--acls", "--one-file-system"];
    let old = mounted(disk, "defaults", |tree| {
        run(Command::new("tar").args(tar).arg("-cf").arg(&kept).arg("-C").arg(tree).arg("."));
        root_id(&fs::read_to_string(tree.join("etc/fstab")).expect("reading fstab"))
    });
    let id = fresh_uuid();
    make(disk, kind, &id);
    mounted(disk, kind.options(), |tree| {
        run(Command::new("tar").args(tar).arg("-xpf").arg(&kept).arg("-C").arg(tree));
        follow(tree, kind, &old, &id);
        let modules = tree.join("etc/initramfs-tools/modules");
        let list = fs::read_to_string(&modules).expect("reading the list of modules");
        fs::write(modules, format!("{list}{}\n", kind.name())).expect("writing the list of modules");
        install_grub(tree, kind, disk);
    });
    fs::remove_file(kept).expect("removing an archive");
    stub(disk, kind, &id, dir);
}

fn root_id(fstab: &str) -> String {
    let line = fstab.lines().find(|line| line.contains(" / ext4 ")).expect("a line of the root");
    line.split_whitespace().next().and_then(|tag| tag.strip_prefix("UUID=")).expect("the root's id").to_owned()
}

fn make(disk: &Path, kind: RootKind, id: &str) {
    let attach = ["--find", "--show", "--offset", &ROOT_OFFSET.to_string(), "--sizelimit", &ROOT_SIZE.to_string()];
    let name = run(Command::new("losetup").args(attach).arg(disk));
    let device = Attached(PathBuf::from(name.trim()));
    match kind {
        RootKind::Xfs => {
            run(Command::new("mkfs.xfs").args(["-q", "-f", "-m", &format!("uuid={id}")]).arg(&device.0));
        }
        RootKind::Btrfs => {
            run(Command::new("mkfs.btrfs").args(["-q", "-f", "-U", id]).arg(&device.0));
        }
    }
    drop(device);
    if kind == RootKind::Btrfs {
        mounted(disk, "defaults", |top| {
            run(Command::new("btrfs").args(["subvolume", "create"]).arg(top.join("@rootfs")))
        });
    }
}

/// A loop device; dropping it lets it go.
struct Attached(PathBuf);

impl Drop for Attached {
    fn drop(&mut self) {
        run(Command::new("losetup").arg("--detach").arg(&self.0));
    }
}

/// What the installer and grub-mkconfig(8) would have written.
fn follow(tree: &Path, kind: RootKind, old: &str, id: &str) {
    let fstab = tree.join("etc/fstab");
    let text = fs::read_to_string(&fstab).expect("reading fstab");
    let line = format!("UUID={old} / ext4 errors=remount-ro 0 1");
    assert!(text.contains(&line), "{text}");
    let new = format!("UUID={id} / {} {} 0 0", kind.name(), kind.options());
    fs::write(&fstab, text.replace(&line, &new)).expect("writing fstab");

    let path = tree.join("boot/grub/grub.cfg");
    let mut menu = fs::read_to_string(&path).expect("reading GRUB's menu").replace(old, id);
    menu = menu.replace("insmod ext2", &format!("insmod {}", kind.name()));
    if kind == RootKind::Btrfs {
        menu = menu.replace("\t/boot/", "\t/@rootfs/boot/").replace(" ro ", " ro rootflags=subvol=@rootfs ");
    }
    fs::write(path, menu).expect("writing GRUB's menu");
}

/// As grub-install(8), for a disk that this machine does not have: the image goes where the old one was, and its first sector
/// (grub-core/boot/i386/pc/diskboot.S) learns how long it is.
fn install_grub(tree: &Path, kind: RootKind, disk: &Path) {
    let prefix = format!("--prefix=(hd0,gpt1){}/boot/grub", kind.prefix());
    let make = ["grub-mkimage", "--format=i386-pc", "--output=/boot/grub/i386-pc/core.img", &prefix];
    run(chroot(tree).args(make).args(["biosdisk", "part_gpt", kind.name()]));
    let mut image = fs::read(tree.join("boot/grub/i386-pc/core.img")).expect("reading GRUB's image");
    let sectors = (image.len() as u64).div_ceil(SECTOR);
    assert!(sectors * SECTOR <= 1 << 20, "GRUB's image is too long");
    // A list of blocks: where the rest begins, how many sectors, and where it goes in memory, which stays.
    image[500..508].copy_from_slice(&(GRUB_OFFSET / SECTOR + 1).to_le_bytes());
    image[508..510].copy_from_slice(&u16::try_from(sectors - 1).expect("a short image").to_le_bytes());
    let disk = OpenOptions::new().write(true).open(disk).expect("opening a disk");
    disk.write_all_at(&image, GRUB_OFFSET).expect("writing GRUB's image");
    for name in fs::read_dir(tree.join("usr/lib/grub/i386-pc")).expect("reading GRUB's modules").flatten() {
        let to = tree.join("boot/grub/i386-pc").join(name.file_name());
        if !to.exists() {
            fs::copy(name.path(), to).expect("copying a module");
        }
    }
}

/// What the EFI system partition says.
fn stub(disk: &Path, kind: RootKind, id: &str, dir: &Path) {
    let file = dir.join("grub.cfg");
    let prefix = kind.prefix();
    let lines = format!(
        "search.fs_uuid {id} root hd0,gpt1 \nset prefix=($root)'{prefix}/boot/grub'\nconfigfile $prefix/grub.cfg\n"
    );
    fs::write(&file, lines).expect("writing a file");
    let esp = format!("{}@@{ESP_OFFSET}", disk.display());
    run(Command::new("mcopy").args(["-o", "-i", &esp]).arg(&file).arg("::/EFI/debian/grub.cfg"));
}
