// SPDX-License-Identifier: MIT OR Apache-2.0
//! A virtual machine: QEMU without KVM, disks of its own, and a power switch.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::facts::Facts;
use crate::guests::{outcome, run, workplace};

/// A boot takes 40 to 60 s, and some minutes on a machine that is busy; what is still at it after this long will never end.
const LIMIT: Duration = Duration::from_secs(900);

/// With any value, everything about a machine is kept, and where it is kept is printed.
const KEEP: &str = "RESEAL_VM_KEEP";

/// The kernel's command line, which the template has its boot loader give to it from then on. The console shows the whole
/// journal: that of a first boot does not outlive the machine-id it was written under, and a machine that hangs tells nothing
/// else. A dumb terminal keeps colours out of the lines that tests wait for; self-tests of ciphers take seconds under
/// emulation, and a timer that is late on a busy host is no reason to panic.
const APPEND: &str = "root=/dev/vda1 ro console=ttyS0 quiet mitigations=off no_timer_check cryptomgr.notests \
    systemd.show_status=1 systemd.journald.forward_to_console=1 systemd.journald.max_level_console=info TERM=dumb";

/// A virtual machine that is switched off.
pub struct Machine {
    name: String,
    disks: Vec<(PathBuf, &'static str)>,
    /// Kernel and initramfs of a machine that has no boot loader yet.
    kernel: Option<(PathBuf, PathBuf)>,
    /// Does its firmware boot by UEFI?
    pub by_efi: bool,
    /// The SMBIOS system UUID; serial numbers and the link's address are made from it.
    uuid: String,
    boots: u32,
    /// The most that each disk writes in a second, so that a cut meets a write.
    pub writes_per_second: Option<u32>,
    /// More options for QEMU.
    pub options: Vec<String>,
    dir: Option<TempDir>,
}

impl Machine {
    /// The machine that the template is made on, which works on the very disks.
    pub fn template(disks: Vec<PathBuf>, kernel: (PathBuf, PathBuf)) -> Machine {
        let disks = disks.into_iter().map(|disk| (disk, "raw")).collect();
        Machine::new("template", disks, Some(kernel))
    }

    /// A machine that gets a copy of the disks: a qcow2 overlay each.
    pub fn clone_of(name: &str, disks: &[PathBuf]) -> Machine {
        let mut machine = Machine::new(name, Vec::new(), None);
        for disk in disks {
            let overlay = machine.path(disk.file_name().expect("a name")).with_extension("qcow2");
            let mut create = Command::new("qemu-img");
            create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(disk).arg(&overlay);
            run(&mut create);
            machine.disks.push((overlay, "qcow2"));
        }
        machine
    }

    fn new(name: &str, disks: Vec<(PathBuf, &'static str)>, kernel: Option<(PathBuf, PathBuf)>) -> Machine {
        let dir = tempfile::Builder::new().prefix(&format!("vm-run-{name}-")).tempdir_in(workplace());
        let dir = Some(dir.expect("making a directory"));
        let uuid = fresh_uuid();
        Machine {
            name: name.into(),
            disks,
            kernel,
            by_efi: false,
            uuid,
            boots: 0,
            writes_per_second: None,
            options: Vec::new(),
            dir,
        }
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.as_ref().expect("a directory until it is dropped").path().join(name)
    }

    fn log(&self, kind: &str) -> PathBuf {
        self.path(format!("{kind}-{}", self.boots))
    }

    /// Boots the machine and waits until it has switched itself off.
    pub fn boot(&mut self) -> Facts {
        let _slot = Slot::take();
        let start = Instant::now();
        let mut running = self.switch_on();
        while running.is_on() {
            assert!(
                start.elapsed() < LIMIT,
                "{}: still up after {LIMIT:?}\n{}",
                self.name,
                Facts::read(Path::new("/nowhere"), &self.log("console")).story()
            );
            sleep(Duration::from_millis(50));
        }
        let (took, dir) = (start.elapsed(), self.log("facts"));
        fs::create_dir(&dir).expect("making a directory");
        let _ = Command::new("tar").arg("-xf").arg(dir.with_extension("tar")).arg("-C").arg(&dir).output();
        let _ = fs::remove_file(dir.with_extension("tar"));
        let mut facts = Facts::read(&dir, &self.log("console"));
        facts.took = took;
        assert!(facts.is_complete(), "{}: never came up\n{}", self.name, facts.story());
        if std::env::var_os(KEEP).is_some() {
            let _ = writeln!(std::io::stderr(), "{}: {}", self.name, dir.display());
        }
        facts
    }

    /// Boots the machine and cuts its power as soon as `now`, which is shown the whole console again and again, says so.
    /// False if it had switched itself off by then. Writes that had not been flushed may be lost, as on a real disk:
    /// QEMU keeps what it knows of new clusters in memory until the guest flushes.
    pub fn boot_and_cut(&mut self, mut now: impl FnMut(&str) -> bool) -> bool {
        let _slot = Slot::take();
        let start = Instant::now();
        let mut running = self.switch_on();
        let (mut log, mut seen) = (None, Vec::new());
        while running.is_on() {
            assert!(start.elapsed() < LIMIT, "{}: never ready for the cut", self.name);
            log = log.or_else(|| fs::File::open(self.log("console")).ok());
            if let Some(log) = &mut log {
                log.read_to_end(&mut seen).expect("reading the console");
            }
            if now(&String::from_utf8_lossy(&seen)) {
                return true;
            }
            sleep(Duration::from_millis(5));
        }
        false
    }

    /// The ids that stand on the disks while the machine is off: of partition tables, partitions, and what is in them.
    pub fn ids_at_rest(&self) -> Vec<String> {
        let (mut ids, raw) = (Vec::new(), self.path("at-rest.raw"));
        for (disk, format) in &self.disks {
            run(Command::new("qemu-img").args(["convert", "-f", format, "-O", "raw"]).arg(disk).arg(&raw));
            let partitions = outcome(Command::new("partx").args(["-rgo", "START,UUID"]).arg(&raw));
            let mut starts = vec![0];
            for line in String::from_utf8_lossy(&partitions.stdout).lines() {
                let (start, id) = line.split_once(' ').expect("a start and an id");
                starts.push(start.parse::<u64>().expect("a sector") * 512);
                ids.push(id.to_owned());
            }
            for start in starts {
                let mut blkid = Command::new("blkid");
                blkid.args(["-p", "-s", "UUID", "-s", "PTUUID", "-o", "value", "-O", &start.to_string()]).arg(&raw);
                ids.extend(String::from_utf8_lossy(&outcome(&mut blkid).stdout).lines().map(str::to_owned));
            }
            fs::remove_file(&raw).expect("removing a copy");
        }
        ids
    }

    /// A number from 0 up to 1 that each machine draws for itself.
    pub fn chance(&self) -> f64 {
        f64::from(u32::from_str_radix(&self.uuid[..8], 16).expect("a UUID")) / f64::from(u32::MAX)
    }

    fn switch_on(&mut self) -> Running {
        self.boots += 1;
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "qemu64", "-smp", "1", "-m", "768"]);
        qemu.args([
            "-machine",
            "pc,graphics=off",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
            "-uuid",
            &self.uuid,
        ]);
        if self.by_efi {
            let variables = self.path("variables");
            if !variables.exists() {
                fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).expect("copying the firmware's variables");
            }
            let code = "/usr/share/OVMF/OVMF_CODE_4M.fd";
            qemu.arg("-drive").arg(format!("if=pflash,format=raw,unit=0,readonly=on,file={code}"));
            qemu.arg("-drive").arg(format!("if=pflash,format=raw,unit=1,file={}", variables.display()));
        }
        if let Some((kernel, initrd)) = &self.kernel {
            qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd).args(["-append", APPEND]);
        }
        qemu.arg("-serial").arg(format!("file:{}", self.log("console").display()));
        qemu.args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=facts,name=facts"]);
        let facts = self.log("facts").with_extension("tar");
        qemu.arg("-chardev").arg(format!("file,id=facts,path={}", facts.display()));
        qemu.args(["-device", "virtio-rng-pci", "-netdev", "user,id=link,restrict=on"]);
        let mac = self.uuid.as_bytes()[..6].chunks(2).map(|pair| String::from_utf8_lossy(pair)).collect::<Vec<_>>();
        qemu.arg("-device").arg(format!("virtio-net-pci,netdev=link,romfile=,mac=52:54:00:{}", mac.join(":")));
        for (number, (disk, format)) in self.disks.iter().enumerate() {
            let limit = self.writes_per_second.map(|it| format!(",throttling.iops-write={it}")).unwrap_or_default();
            let file = disk.display();
            qemu.arg("-drive").arg(format!("if=none,id=disk{number},file={file},format={format},discard=unmap{limit}"));
            let serial = format!("{}{number}", &self.uuid[..8]);
            qemu.arg("-device").arg(format!("virtio-blk-pci,drive=disk{number},serial={serial}"));
        }
        qemu.args(&self.options);
        let log = fs::File::create(self.log("qemu")).expect("making a log");
        qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Running(qemu.spawn().expect("starting QEMU"))
    }

    /// Keeps what the last boot said elsewhere, as `facts` and `console.log`.
    pub fn move_logs_to(&self, dir: &Path) {
        fs::rename(self.log("facts"), dir.join("facts")).expect("moving the facts");
        fs::copy(self.log("console"), dir.join("console.log")).expect("copying the console's log");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let keep = std::env::var_os(KEEP).is_some();
        if !keep && !std::thread::panicking() {
            return;
        }
        if let Some(dir) = self.dir.take() {
            let dir = dir.keep();
            let _ = writeln!(std::io::stderr(), "{}: kept in {}", self.name, dir.display());
            // Logs tell what went wrong, disks fill the machine.
            for (disk, _) in self.disks.iter().filter(|(disk, _)| !keep && disk.starts_with(&dir)) {
                let _ = fs::remove_file(disk);
            }
        }
    }
}

/// A random UUID.
pub fn fresh_uuid() -> String {
    fs::read_to_string("/proc/sys/kernel/random/uuid").expect("drawing a UUID").trim().to_owned()
}

/// A machine that is switched on; dropping it cuts the power.
struct Running(Child);

impl Running {
    fn is_on(&mut self) -> bool {
        self.0.try_wait().expect("asking after QEMU").is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Leave to keep one processor busy: emulation does, and boots have a time limit.
pub struct Slot;

static FREE: (Mutex<Option<usize>>, Condvar) = (Mutex::new(None), Condvar::new());

impl Slot {
    pub fn take() -> Slot {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mut free = FREE.0.lock().expect("a lock");
        while *free.get_or_insert(processors) == 0 {
            free = FREE.1.wait(free).expect("a lock");
        }
        *free = free.map(|it| it - 1);
        Slot
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Ok(mut free) = FREE.0.lock() {
            *free = free.map(|it| it + 1);
        }
        FREE.1.notify_one();
    }
}
