// SPDX-License-Identifier: MIT OR Apache-2.0
//! The template: disks that the host partitions and that one boot fills by template.sh, kept below target/guests.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

use crate::facts::Facts;
use crate::guests::{alone, run, workplace};
use crate::image::{self, mounted};
use crate::machine::Machine;
use crate::userland;

const TASK: &str = include_str!("template.sh");

/// Where the root file system begins on its disk, in bytes: sfdisk's first partition.
pub const ROOT_OFFSET: u64 = 1 << 20;

/// Its size, in bytes.
pub const ROOT_SIZE: u64 = 1400 << 20;

/// Where the EFI system partition begins, as mtools(1) has it.
pub const ESP_OFFSET: &str = "1401M";

/// The disks by name, with their size in MiB and what sfdisk(8) is to make of them. In the guest they are vda, vdb, ..
const DISKS: &[(&str, u64, &str)] = &[
    (
        "root",
        1600,
        "label: gpt\nstart=2048, size=1400M, type=linux\nsize=64M, type=uefi, name=esp\nsize=64M, type=swap\n\
         size=1M, type=21686148-6449-6E6F-744E-656564454649, name=bios-boot\n",
    ),
    (
        "gpt",
        1600,
        "label: gpt\nsize=64M\nsize=320M\nsize=128M\nsize=256M\nsize=64M\nsize=448M, type=lvm\nsize=64M, type=raid\n\
         size=32M, type=swap\n",
    ),
    ("mbr", 512, "label: dos\nsize=256M, type=linux\nsize=64M, type=raid\nsize=64M, type=linux\n"),
    ("whole", 64, ""),
];

/// What only costs time under emulation.
const IDLE: &[&str] = &["apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_reap.service", "getty@tty1.service"];

/// The template as its only boot left it.
pub struct Template {
    dir: PathBuf,
}

impl Template {
    /// The template, made if it is missing: some minutes of emulation, once.
    pub fn get() -> &'static Template {
        static TEMPLATE: OnceLock<Template> = OnceLock::new();
        TEMPLATE.get_or_init(|| {
            let userland = userland::tarball();
            alone("vm-template", || {
                let name = userland.file_stem().and_then(|name| name.to_str()).expect("a name");
                let hash = short_hash(&[name, TASK, include_str!("template.rs")]);
                let dir = workplace().join(format!("vm-template-{hash}"));
                if !dir.is_dir() {
                    remove_older();
                    let fresh = dir.with_extension("new");
                    make(&fresh, &userland);
                    fs::rename(&fresh, &dir).expect("naming the template");
                }
                Template { dir }
            })
        })
    }

    /// The disks, in the guest's order; the root comes first.
    pub fn disks(&self) -> Vec<PathBuf> {
        disks(&self.dir)
    }

    /// What the template said of itself.
    pub fn facts(&self) -> Facts {
        Facts::read(&self.dir.join("facts"), &self.dir.join("console.log"))
    }
}

fn disks(dir: &Path) -> Vec<PathBuf> {
    DISKS.iter().map(|(name, ..)| dir.join(format!("{name}.raw"))).collect()
}

fn make(dir: &Path, userland: &Path) {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir(dir).expect("making a directory");
    for (disk, (_, size, table)) in disks(dir).iter().zip(DISKS) {
        blank_disk(disk, *size, table);
    }
    let root = &disks(dir)[0];
    let offset = format!("offset={ROOT_OFFSET}");
    run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-E", &offset]).arg(root).arg("1400M"));
    mounted(root, "defaults", |tree| {
        run(Command::new("tar").args(["--numeric-owner", "--xattrs", "-xpf"]).arg(userland).arg("-C").arg(tree));
        // mmdebstrap takes these from the machine that it runs on.
        let _ = fs::remove_file(tree.join("etc/resolv.conf"));
        fs::write(tree.join("etc/hostname"), "template\n").expect("writing a file");
        fs::write(tree.join("etc/hosts"), "127.0.0.1 localhost\n127.0.1.1 template\n").expect("writing a file");
        fs::write(tree.join("etc/fstab"), "/dev/vda1 / ext4 defaults 0 1\n").expect("writing a file");
        for unit in IDLE {
            symlink("/dev/null", tree.join("etc/systemd/system").join(unit)).expect("masking a unit");
        }
        image::add_collector(tree);
        fs::write(tree.join("usr/local/lib/vm/task.sh"), TASK).expect("writing the task");
        take_kernel(tree, dir);
    });

    let mut template = Machine::template(disks(dir), (dir.join("kernel"), dir.join("initrd")));
    let facts = template.boot();
    assert_eq!(facts.get("task.status"), "0", "making the template\n{}", facts.story());
    template.move_logs_to(dir);

    mounted(root, "defaults", |tree| {
        fs::remove_file(tree.join("usr/local/lib/vm/task.sh")).expect("removing the task");
        // With mdadm.conf as it now is. In the guest this takes minutes.
        run(image::chroot(tree).args(["update-initramfs", "-u"]));
    });
}

/// Makes a disk of `size` MiB with the partitions that sfdisk is told of.
pub fn blank_disk(disk: &Path, size: u64, table: &str) {
    File::create(disk).and_then(|file| file.set_len(size << 20)).expect("making a disk");
    if !table.is_empty() {
        let script = disk.with_extension("sfdisk");
        fs::write(&script, table).expect("writing a partition table");
        let input = File::open(&script).expect("opening a partition table");
        run(Command::new("sfdisk").args(["--quiet", "--no-tell-kernel", "--no-reread"]).arg(disk).stdin(input));
    }
}

/// Copies kernel and initramfs to where QEMU reads them.
fn take_kernel(tree: &Path, dir: &Path) {
    for entry in fs::read_dir(tree.join("boot")).expect("reading /boot").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("vmlinuz-") {
            fs::copy(entry.path(), dir.join("kernel")).expect("copying the kernel");
        } else if name.starts_with("initrd.img-") {
            fs::copy(entry.path(), dir.join("initrd")).expect("copying the initramfs");
        }
    }
}

/// A template is more than a gigabyte, and one is enough.
fn remove_older() {
    for entry in fs::read_dir(workplace()).expect("reading target/guests").flatten() {
        if entry.file_name().to_string_lossy().starts_with("vm-template-") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Eight hexadecimal digits that stand for all the texts.
pub fn short_hash(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    hash.finalize()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}
