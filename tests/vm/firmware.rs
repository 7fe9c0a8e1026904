// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine whose UEFI firmware boots the kernel itself, by a boot entry that names the partition it is on.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::guests::{run, workplace};
use crate::machine::Slot;
use crate::template::{Template, blank_disk};

const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// Where the partition begins on its disk, in bytes.
const START: u64 = 1 << 20;
/// In MiB. There is no boot loader on it where firmware looks by itself.
const SIZE: u64 = 64;
const ROOT_SIZE: u64 = 160;
/// What the entry hands to the kernel; initrd= is read by its EFI stub.
const BY_ENTRY: &str = "initrd=\\initrd console=ttyS0 quiet panic=1 no_timer_check rdinit=/task task=apply";

/// Runs instead of the initramfs' own program, with its tools, up to where a root file system is there: reseal leaves the
/// disks alone where it sees none.
const TASK: &str = r#"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p /proc /sys /dev /run
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
modprobe virtio_pci
modprobe virtio_blk
modprobe ext4
modprobe efivarfs
while ! mount -t ext4 /dev/vda2 /root; do sleep 1; done
mount -t devtmpfs dev /root/dev
exec run-init /root /task
"#;

/// Runs on the root file system, with programs of the machine that the test runs on.
const GUEST: &str = r#"#!/bin/sh
export PATH=/usr/bin LC_ALL=C
exec >/dev/ttyS0 2>&1 </dev/null
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs run /run
mount -t efivarfs efivarfs /sys/firmware/efi/efivars
cd /sys/firmware/efi/efivars
show() {
    for file in Boot[0-9]* BootOrder* BootCurrent*; do
        echo "$1 ${file%%-*} $(od -An -v -tx1 "$file" | tr -d ' \n')"
    done
}
case $(cat /proc/cmdline) in
*task=install*)
    cat /entry >Boot0003-8be4df61-93ca-11d2-aa0d-00e098032b8c
    cat /order >BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c
    ;;
*)
    show before
    reseal apply --yes --renew --only disk-ids --set disk-ids.boot-entries=rewrite
    echo "status $?"
    ;;
esac
show after
sync
echo o >/proc/sysrq-trigger
sleep 60
"#;

/// The machine, switched off.
pub struct Booted {
    dir: TempDir,
    kernel: PathBuf,
    boots: u32,
}

impl Booted {
    /// A machine with a boot entry for its only partition, which holds kernel and initramfs.
    pub fn install() -> Booted {
        let dir = tempfile::Builder::new().prefix("vm-firmware-").tempdir_in(workplace()).expect("making a directory");
        let mut machine = Booted { kernel: from_template("kernel"), dir, boots: 0 };
        let (disk, initrd) = (machine.path("disk.raw"), machine.path("initrd"));
        blank_disk(
            &disk,
            SIZE + ROOT_SIZE + 4,
            &format!("label: gpt\nstart=2048, size={SIZE}M, type=uefi\nsize={ROOT_SIZE}M, type=linux\n"),
        );
        fs::copy(VARIABLES, machine.path("variables")).expect("copying the variables");
        machine.make_root(&entry(machine.guid()));
        let mut tree = fs::read(from_template("initrd")).expect("reading an initramfs");
        // The kernel looks for a segment that is not compressed at multiples of four only, init/initramfs.c.
        tree.resize(tree.len().next_multiple_of(4), 0);
        tree.extend(archive("task", TASK.as_bytes()));
        fs::write(&initrd, tree).expect("writing an initramfs");

        let said = machine.boot(Some("console=ttyS0 quiet panic=1 no_timer_check rdinit=/task task=install"));
        assert!(said.contains("after Boot0003 "), "no entry was made\n{said}");
        let at = format!("{}@@{START}", disk.display());
        run(Command::new("mkfs.vfat").args(["-F", "32", "--offset", "2048"]).arg(&disk).arg((SIZE << 10).to_string()));
        run(Command::new("mcopy").args(["-i", &at]).arg(&machine.kernel).arg("::/vmlinuz.efi"));
        run(Command::new("mcopy").args(["-i", &at]).arg(&initrd).arg("::/initrd"));
        machine
    }

    /// The GUID of its partition, as it stands on the disk.
    pub fn guid(&self) -> uuid::Uuid {
        let told = run(Command::new("partx").args(["-rgo", "UUID", "-n", "1"]).arg(self.path("disk.raw")));
        uuid::Uuid::parse_str(told.trim()).expect("a GUID")
    }

    /// Has the firmware boot it, and tells what was said.
    pub fn boot_by_entry(&mut self) -> String {
        self.boot(None)
    }

    fn boot(&mut self, append: Option<&str>) -> String {
        let _slot = Slot::take();
        self.boots += 1;
        let log = self.path(format!("console-{}", self.boots));
        let mut qemu = Command::new("timeout");
        qemu.args(["450", "qemu-system-x86_64", "-accel", "tcg,tb-size=256", "-cpu", "qemu64", "-m", "512"]);
        qemu.args(["-machine", "q35,graphics=off", "-nodefaults", "-display", "none", "-no-reboot"]);
        qemu.arg("-serial").arg(format!("file:{}", log.display()));
        let flash = |unit: u8, rest: &str, file: &Path| {
            format!("if=pflash,format=raw,unit={unit},{rest}file={}", file.display())
        };
        qemu.arg("-drive").arg(flash(0, "readonly=on,", Path::new(CODE)));
        qemu.arg("-drive").arg(flash(1, "", &self.path("variables")));
        qemu.arg("-drive").arg(format!("if=virtio,format=raw,file={}", self.path("disk.raw").display()));
        if let Some(append) = append {
            qemu.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(self.path("initrd")).args(["-append", append]);
        }
        let told = File::create(self.path("qemu.log")).expect("making a log");
        let status = qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(told).status().expect("starting QEMU");
        let said = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
        assert!(status.success(), "never switched itself off: {status}\n{said}");
        said
    }

    /// The second partition: reseal, and what GUEST takes.
    fn make_root(&self, entry: &[u8]) {
        let root = self.path("root");
        for dir in ["usr/bin", "etc", "proc", "sys", "dev", "run", "tmp"] {
            fs::create_dir_all(root.join(dir)).expect("making a directory");
        }
        let put = |name: &str, content: &[u8]| {
            let file = root.join(name);
            fs::create_dir_all(file.parent().expect("a directory")).expect("making a directory");
            fs::write(&file, content).expect("writing a file");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("changing a mode");
        };
        put("task", GUEST.as_bytes());
        put("entry", entry);
        put("order", &[7, 0, 0, 0, 3, 0]);
        std::os::unix::fs::symlink("usr/bin", root.join("bin")).expect("linking /bin");
        let reseal = self.path("reseal");
        run(Command::new("strip").arg("-o").arg(&reseal).arg(env!("CARGO_BIN_EXE_reseal")));
        let programs = ["sh", "cat", "mount", "od", "sleep", "sync", "tr"].map(|name| Path::new("/usr/bin").join(name));
        for program in programs.iter().chain([&reseal]) {
            let told = run(Command::new("ldd").arg(program));
            for library in told.split_whitespace().filter(|word| word.starts_with('/')) {
                put(&library[1..], &fs::read(library).expect("reading a library"));
            }
            let name = program.file_name().expect("a name").to_string_lossy();
            put(&format!("usr/bin/{name}"), &fs::read(program).expect("reading a program"));
        }
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-F", "-t", "ext4", "-E", &format!("offset={}", START + (SIZE << 20)), "-d"]);
        run(mke2fs.arg(root).arg(self.path("disk.raw")).arg(format!("{ROOT_SIZE}M")));
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// What the template's only boot began with: kernel and initramfs.
fn from_template(name: &str) -> PathBuf {
    Template::get().disks()[0].with_file_name(name)
}

/// The variables that a boot printed under a word, by their names.
pub fn variables(said: &str, word: &str) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut variables = std::collections::BTreeMap::new();
    for line in said.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [first, name, hex] = words[..]
            && first == word
            && hex.len() % 2 == 0
        {
            let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
            variables.insert(name.to_owned(), bytes.collect::<Result<_, _>>().expect("hexadecimal digits"));
        }
    }
    variables
}

/// `HD(1,GPT,guid)/File(\vmlinuz.efi)`, with the kernel's command line behind it.
fn entry(guid: uuid::Uuid) -> Vec<u8> {
    let wide = |text: &str| text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let place = [(START / 512).to_le_bytes(), (SIZE << 11).to_le_bytes()].concat();
    let drive = [&[4, 1, 42, 0, 1, 0, 0, 0][..], &place, &guid.to_bytes_le(), &[2, 2]].concat();
    let name = wide("\\vmlinuz.efi");
    let file = [&[4, 4][..], &(name.len() as u16 + 4).to_le_bytes(), &name].concat();
    let path = [&drive[..], &file, &[0x7f, 0xff, 4, 0]].concat();
    let size = (path.len() as u16).to_le_bytes();
    [&[7, 0, 0, 0, 1, 0, 0, 0][..], &size, &wide("guest"), &path, &wide(BY_ENTRY)].concat()
}

/// A segment of an initramfs with one file that may be executed: cpio's "newc", as
/// Documentation/driver-api/early-userspace/buffer-format.rst of the kernel has it.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for (number, mode, name, content) in [(1, 0o100_755, name, content), (2, 0, "TRAILER!!!", &[])] {
        let fields = [number, mode, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
        all.extend(b"070701");
        fields.iter().for_each(|field| all.extend(format!("{field:08x}").bytes()));
        for part in [[name.as_bytes(), &[0]].concat(), content.to_vec()] {
            all.extend(part);
            all.resize(all.len().next_multiple_of(4), 0);
        }
    }
    all
}
