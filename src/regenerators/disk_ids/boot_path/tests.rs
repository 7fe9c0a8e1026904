// SPDX-License-Identifier: MIT OR Apache-2.0
//! A root on a real ext4, in a real table, as the early stage of a boot finds it.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use super::grub::knows_seed;
use super::*;
use crate::guest::Guest;
use crate::guest::boot::{self, Link};
use crate::guest::disks::Disks;
use crate::plan::draft::{Past, Purpose};
use crate::plan::{Change, Plan, Step, Via, derive::Seed};
use crate::policy::Policy;
use crate::regenerators::{self, OnError};

const MENU: &str = "set root='hd0,gpt1'\nsearch --no-floppy --fs-uuid --set=root $\n\
                    menuentry 'Debian' $menuentry_id_option 'gnulinux-simple-$' {\n\tlinux /boot/vmlinuz root=UUID=$ ro quiet\n}\n";

/// A guest below `dir` whose disk is an image there.
struct Clone {
    dir: tempfile::TempDir,
    uuid: String,
}

impl Clone {
    fn new(features: &str) -> Clone {
        Clone::with(32, |image| {
            let make = ["-q", "-F", "-t", "ext4", "-O", features, "-E", "offset=1048576"];
            run(Command::new("mke2fs").args(make).arg(image).arg("32M"));
        })
    }

    fn on_btrfs() -> Clone {
        Clone::with(120, |image| {
            let part = image.with_extension("part");
            fs::File::create(&part).unwrap().set_len(120 << 20).unwrap();
            run(Command::new("mkfs.btrfs").arg("-q").arg(&part));
            let copy = ["bs=1M", "seek=1", "conv=notrunc,sparse", "status=none"];
            run(Command::new("dd")
                .args(copy)
                .arg(format!("if={}", part.display()))
                .arg(format!("of={}", image.display())));
        })
    }

    /// `make` puts a file system of so many MiB into the first partition, which begins at 1 MiB.
    fn with(size: u64, make: impl FnOnce(&Path)) -> Clone {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("disk");
        fs::File::create(&image).unwrap().set_len((size + 8) << 20).unwrap();
        let table = dir.path().join("table");
        fs::write(&table, format!("label: gpt\nstart=2048, size={size}M\nsize=1M\n")).unwrap();
        run(Command::new("sfdisk").arg("-q").arg(&image).stdin(fs::File::open(&table).unwrap()));
        fs::OpenOptions::new().write(true).open(&image).unwrap().write_all_at(b"GRUB", 0x180).unwrap();
        make(&image);
        let mut clone = Clone { dir, uuid: String::new() };
        clone.uuid = clone
            .guest()
            .disks
            .parts()
            .find_map(|(_, part)| {
                let mut found = part.found.iter().filter(|found| !found.format.is_table());
                found.next().and_then(|found| found.ids.iter().find(|id| id.name == "uuid")).map(|id| id.value.clone())
            })
            .unwrap();
        clone.put("boot/grub/grub.cfg", MENU);
        clone.put("boot/initrd.img-6.1", "");
        clone.put("usr/sbin/mkinitramfs", "");
        let id = clone.partition(2);
        clone.put("etc/fstab", &format!("UUID=$ / ext4 errors=remount-ro 0 1\nPARTUUID={id} none swap sw 0 0\n"));
        clone.put("proc/cmdline", "BOOT_IMAGE=/boot/vmlinuz root=UUID=$ ro quiet\n");
        clone
    }

    fn partition(&self, number: u32) -> String {
        let guest = self.guest();
        let mut parts = guest.disks.parts().filter(|(_, part)| part.number == Some(number));
        parts.find_map(|(disk, part)| partition_id(disk, part)).unwrap()
    }

    fn put(&self, path: &str, content: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let fill = content.replace("$menuentry", "\0").replace('$', &self.uuid).replace('\0', "$menuentry");
        fs::write(path, fill).unwrap();
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("root")
    }

    fn guest(&self) -> Guest {
        fs::create_dir_all(self.root()).unwrap();
        let mut list = Disks::of_images(&[self.dir.path().join("disk")]).unwrap().list;
        for part in list.iter_mut().flat_map(|disk| &mut disk.parts).filter(|part| part.number == Some(1)) {
            part.usage.mounted = true;
            part.usage.carries.push("/".into());
            part.usage.mount_points.push("/".into());
        }
        Guest { disks: Disks::as_if_running(list), stage: Some(Stage::Early), ..Guest::open(&self.root()).unwrap() }
    }

    fn plan(&self) -> Plan {
        self.plan_of(Stage::Early)
    }

    fn plan_of(&self, stage: Stage) -> Plan {
        let past = Past::none(Seed::try_from("07".repeat(32)).unwrap());
        let guest = Guest { stage: Some(stage), ..self.guest() };
        regenerators::plan(&Policy::default(), &guest, past, Purpose::Reset, OnError::Stop).unwrap()
    }

    /// Why the root keeps its id.
    fn kept(&self) -> String {
        let plan = self.plan();
        assert!(!plan.steps.iter().any(|step| matches!(step.change, Change::SetId { format: Format::Ext, .. })));
        let about = plan.findings.iter().find(|finding| finding.message.contains("ids of the ext4"));
        about.unwrap_or_else(|| panic!("{:?}", plan.findings)).message.clone()
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn written<'p>(step: &'p Step, path: &str) -> Option<&'p str> {
    match &step.change {
        Change::Write { path: at, after, .. } if at == path => std::str::from_utf8(&after.bytes).ok(),
        _ => None,
    }
}

fn has_tools() -> bool {
    has("sfdisk") && has("mke2fs")
}

fn has(name: &str) -> bool {
    let ready = ["/usr/sbin", "/sbin", "/usr/bin"].iter().any(|dir| Path::new(dir).join(name).exists());
    if !ready {
        eprintln!("SKIPPED: boot_path: it takes {name}");
        assert!(std::env::var_os("RESEAL_TEST_REQUIRE").is_none(), "{name} is missing");
    }
    ready
}

/// Before the id changes the menu knows both, afterwards only the new one, and the table comes when nothing names a
/// partition any more. Every stop in between leaves a menu that boots, and ends in the same files.
#[test]
fn the_menu_goes_before_the_id_and_after_it() {
    if !has_tools() {
        return;
    }
    let clone = Clone::new("metadata_csum_seed");
    let plan = clone.plan();
    let menu = "boot/grub/grub.cfg";
    let at = |is: &dyn Fn(&Step) -> bool| -> Vec<usize> {
        (0..).zip(&plan.steps).filter(|(_, step)| is(step)).map(|(number, _)| number).collect()
    };
    let menus = at(&|step| written(step, menu).is_some());
    let ids = at(&|step| matches!(&step.change, Change::SetId { format: Format::Ext, .. }));
    let tables = at(&|step| matches!(&step.change, Change::SetId { format: Format::Gpt, .. }));
    let fstab = at(&|step| written(step, "etc/fstab").is_some());
    let ([first, last], [id], [table], [one, two, three]) = (&menus[..], &ids[..], &tables[..], &fstab[..]) else {
        panic!("{:?}", plan.steps)
    };
    assert!(first < id && id < last && last < table, "{:?}", plan.steps);
    // By fstab the root is made writable, and it names a partition of its own.
    assert!(one < id && id < two && two < table && table < three, "{:?}", plan.steps);
    let part = |at: usize| written(&plan.steps[at], "etc/fstab").unwrap().matches("PARTUUID=").count();
    assert_eq!((part(*one), part(*two), part(*three)), (2, 1, 1));
    assert!(plan.steps.iter().all(|step| step.stage == Stage::Early));

    let renewal = plan.renewals.iter().find(|renewal| renewal.old.as_deref() == Some(&clone.uuid)).unwrap();
    let new = renewal.new.clone().unwrap();
    let (both, end) = (written(&plan.steps[*first], menu).unwrap(), written(&plan.steps[*last], menu).unwrap());
    assert!(
        both.contains(&format!("--set=root {}\nsearch", clone.uuid))
            && both.contains(&format!("--set=root {new} # reseal\n"))
    );
    assert!(
        both.contains(" root=PARTUUID=") && both.contains(&format!(" reseal.root=UUID={} ro", clone.uuid)),
        "{both}"
    );
    assert_eq!(end, MENU.replace("$menuentry", "\0").replace('$', &new).replace('\0', "$menuentry"));

    // A boot that was cut off after the first file, by the names that it gave, plans to the same end.
    clone.put(menu, both);
    let line = both.lines().find_map(|line| line.trim().strip_prefix("linux ")).unwrap();
    clone.put("proc/cmdline", &format!("BOOT_IMAGE={line}\n"));
    let again = clone.plan();
    let menus: Vec<&str> = again.steps.iter().filter_map(|step| written(step, menu)).collect();
    assert_eq!(menus, [end], "{:?}", again.steps);
    let tables = again.steps.iter().filter(|step| matches!(&step.change, Change::SetId { format: Format::Gpt, .. }));
    assert_eq!(tables.count(), 1);
    assert_eq!(again.renewals, plan.renewals);

    // With the id changed and both files as they were left, they end before the table changes.
    clone.put("etc/fstab", written(&plan.steps[*one], "etc/fstab").unwrap());
    run(Command::new("tune2fs").args(["-U", &new]).arg(clone.dir.path().join("disk?offset=1048576")));
    let past = Past { decided: plan.renewals.clone(), ..Past::none(plan.seed) };
    let guest = clone.guest();
    let late = regenerators::plan(&Policy::default(), &guest, past, Purpose::Reset, OnError::Stop).unwrap();
    let names: Vec<String> = late.steps.iter().map(|step| crate::plan::show::title(&step.change)).collect();
    let at = |is: &dyn Fn(&Step) -> bool| late.steps.iter().position(is).unwrap_or_else(|| panic!("{names:?}"));
    let table = at(&|step| matches!(&step.change, Change::SetId { format: Format::Gpt, .. }));
    assert!(at(&|step| written(step, menu) == Some(end)) < table, "{names:?}");
    let settled = |text: &str| text.starts_with(&format!("UUID={new} / "));
    assert!(at(&|step| written(step, "etc/fstab").is_some_and(settled)) < table, "{names:?}");
}

#[test]
fn the_root_keeps_its_id_where_the_boot_is_not_understood() {
    if !has_tools() {
        return;
    }
    let clone = Clone::new("metadata_csum_seed");
    let mut cases: Vec<(&str, &str, &str)> = vec![
        ("sys/firmware/efi/fw_platform_size", "64", "EFI system partition"),
        ("boot/grub/grub.cfg", "linux /vmlinuz 'root=UUID=$'\n", "/boot/grub/grub.cfg: line 1"),
        ("boot/grub/grub.cfg", "", "no file that is known here gives it"),
        ("etc/initramfs-tools/conf.d/root", "ROOT=UUID=$\n", "/etc/initramfs-tools/conf.d/root"),
    ];
    for (path, content, part) in cases.drain(..) {
        let before = fs::read(clone.root().join(path)).ok();
        clone.put(path, content);
        let why = clone.kept();
        assert!(why.contains(part), "{path}: {why}");
        match before {
            Some(before) => fs::write(clone.root().join(path), before).unwrap(),
            None => fs::remove_file(clone.root().join(path)).unwrap(),
        }
        let _ = fs::remove_dir(clone.root().join("sys/firmware/efi"));
    }
    let disk = fs::OpenOptions::new().write(true).open(clone.dir.path().join("disk")).unwrap();
    disk.write_all_at(b"LILO", 0x180).unwrap();
    assert!(clone.kept().contains("the GRUB that reads it is not on"));
    disk.write_all_at(b"GRUB", 0x180).unwrap();
    fs::remove_file(clone.root().join("usr/sbin/mkinitramfs")).unwrap();
    assert!(clone.kept().contains("only an initramfs of initramfs-tools"));
    clone.put("run/reseal/initramfs", "$ /etc/cmdline.d/95root-dev.conf\n");
    assert!(clone.kept().contains("/etc/cmdline.d/95root-dev.conf in the initramfs quotes them"));
    clone.put("run/reseal/initramfs", "");
    assert!(clone.kept().contains("/boot/initrd.img-6.1, which did not run in this boot, may quote them"));
    clone.put("proc/sys/kernel/osrelease", "6.1\n");
    assert!(clone.plan().steps.iter().any(|step| matches!(step.change, Change::SetId { format: Format::Ext, .. })));
}

/// A btrfs cannot change while it is mounted, so that the stage in the initramfs does it, and that alone.
#[test]
fn the_initramfs_does_what_no_later_stage_can() {
    if !has_tools() || !has("mkfs.btrfs") {
        return;
    }
    let clone = Clone::on_btrfs();
    let plan = clone.plan_of(Stage::Initrd);
    let set = |step: &Step| matches!(&step.change, Change::SetId { .. });
    let at: Vec<usize> = (0..plan.steps.len()).filter(|at| set(&plan.steps[*at])).collect();
    let [at] = at[..] else { panic!("{:?}", plan.steps) };
    let Change::SetId { format: Format::Btrfs, via: Via::Root, .. } = &plan.steps[at].change else {
        panic!("{:?}", plan.steps[at])
    };
    let menus: Vec<usize> =
        (0..plan.steps.len()).filter(|at| written(&plan.steps[*at], "boot/grub/grub.cfg").is_some()).collect();
    assert!(matches!(menus[..], [first, last] if first < at && at < last), "{:?}", plan.steps);
    assert!(plan.steps.iter().all(|step| step.stage == Stage::Initrd));

    let early = clone.plan();
    assert!(!early.steps.iter().any(|step| matches!(&step.change, Change::SetId { format: Format::Btrfs, .. })));
    let why = early.findings.iter().find(|finding| finding.message.contains("ids of the btrfs")).unwrap();
    assert!(why.message.contains("update-initramfs -u"), "{}", why.message);
    // What the kernel changes while it is mounted waits for the next stage.
    let ext4 = Clone::new("metadata_csum_seed").plan_of(Stage::Initrd);
    assert!(ext4.steps.is_empty() && ext4.renewals.is_empty(), "{:?}", ext4.steps);
}

#[test]
fn grub_is_asked_whether_it_reads_a_changed_xfs() {
    let dir = tempfile::tempdir().unwrap();
    let module = dir.path().join("boot/grub/i386-pc/normal.mod");
    fs::create_dir_all(module.parent().unwrap()).unwrap();
    let guest = Guest::open(dir.path()).unwrap();
    let asked = |content: Option<&str>| {
        match content {
            Some(content) => fs::write(&module, content).unwrap(),
            None => fs::remove_file(&module).unwrap(),
        }
        let draft = Draft::new(&guest, Purpose::Reset, Past::none(Seed::try_from("07".repeat(32)).unwrap()));
        grub::reads_meta_uuid(&draft, ["boot/grub/grub.cfg"].into_iter())
    };
    assert_eq!(asked(Some("GNU GRUB  version %s\x002.06-13+deb12u2\0")), Ok(()));
    assert!(asked(Some("GNU GRUB  version %s\x002.02~beta2\0")).is_err_and(|why| why.contains("2.04 or later")));
    assert!(asked(Some("\x7fELF")).is_err_and(|why| why.contains("normal.mod says")));
    assert!(asked(None).is_err_and(|why| why.contains("not below /boot")));
}

/// Without a checksum seed one has to be switched on, which GRUB must be able to read.
#[test]
fn grub_is_asked_whether_it_reads_a_checksum_seed() {
    if !has_tools() {
        return;
    }
    let clone = Clone::new("metadata_csum,^metadata_csum_seed");
    assert!(clone.kept().contains("whether GRUB can read that is not known"));
    let module = |mask: u32| {
        let path = clone.root().join("boot/grub/i386-pc/ext2.mod");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, [b"code", &(!mask).to_le_bytes()[..]].concat()).unwrap();
    };
    module(0x103d6);
    assert!(clone.kept().contains("cannot read that, as /boot/grub/i386-pc/ext2.mod says"));
    module(0x163d6);
    assert!(clone.plan().steps.iter().any(|step| matches!(step.change, Change::SetId { format: Format::Ext, .. })));
}

#[test]
fn a_module_tells_what_it_reads() {
    let module = |mask: u32| [&b"\x90\xf7\xc2"[..], &(!mask).to_le_bytes(), b"\x0f\x85"].concat();
    // Debian's 2.06-13, and 2.06 as it was released.
    assert!(knows_seed(&module(0x163d6)));
    assert!(!knows_seed(&module(0x103d6)));
    assert!(!knows_seed(&module(0x2d6)) && !knows_seed(b"\x7fELF") && !knows_seed(b""));
    assert!(!knows_seed(&[module(0x163d6), module(0x103d6)].concat()));
}

/// Link by link: as it was, in the form in between, and with an id that nothing has.
#[test]
fn the_boot_is_checked_link_by_link() {
    if !has_tools() {
        return;
    }
    let clone = Clone::new("metadata_csum_seed");
    clone.put("boot/vmlinuz", "");
    let links = || {
        let guest = clone.guest();
        boot::links(&guest, &boot_files(&guest).unwrap()).unwrap()
    };
    let told = |links: &[Link]| -> Vec<(String, usize, bool)> {
        links.iter().map(|link| (link.by.clone(), link.line, link.good)).collect()
    };
    let good = |by: &str, line: usize| (by.to_owned(), line, true);
    assert_eq!(told(&links()), [good("search", 2), good("linux", 4), good("root", 4), good("/", 1), good("none", 2)]);
    let plan = clone.plan();
    let both = plan.steps.iter().find_map(|step| written(step, "boot/grub/grub.cfg")).unwrap();
    clone.put("boot/grub/grub.cfg", both);
    let between = links();
    // The new id is not there yet, and one of the two searches is enough.
    assert_eq!(
        told(&between),
        [good("search", 2), good("search", 3), good("linux", 5), good("root", 5), good("/", 1), good("none", 2)]
    );
    assert!(between[1].found.is_empty() && between[3].target.starts_with("PARTUUID="));
    clone.put(
        "boot/grub/grub.cfg",
        "search --fs-uuid 11112222-3333-4444-8555-666677778888\nlinux /vmlinuz-gone root=PARTUUID=1-2\n",
    );
    assert_eq!(links().iter().filter(|link| !link.good).count(), 3);
}
