// SPDX-License-Identifier: MIT OR Apache-2.0
//! Disks of clones: whole Debian machines in QEMU, with every kind of file system, container and reference.
//!
//! RESEAL_VM_KEEP=1 keeps all that a machine said, and its disks; RESEAL_VM_CUTS is the number of power cuts.

#[path = "vm/facts.rs"]
mod facts;
#[path = "vm/firmware.rs"]
mod firmware;
mod guests;
#[path = "vm/image.rs"]
mod image;
#[path = "vm/machine.rs"]
mod machine;
#[path = "vm/root.rs"]
mod root;
#[path = "vm/template.rs"]
mod template;
#[path = "vm/userland.rs"]
mod userland;
#[path = "vm/verdict.rs"]
mod verdict;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use firmware::{Booted, variables};
use guests::{Need, packages, ready};
use image::Image;
use machine::Machine;
use reseal::disks::device::{Device, Window};
use reseal::disks::luks;
use root::RootKind;
use template::Template;
use verdict::{boot_all, came_up, changed_nothing, share_nothing, share_only, shared};

const NEEDS: &[Need] = &[
    Need::Root,
    Need::Program("qemu-system-x86_64"),
    Need::Program("qemu-img"),
    Need::Program("sfdisk"),
    Need::Program("partx"),
    Need::Program("mcopy"),
    Need::Program("mke2fs"),
];

/// What the tests of roots on other file systems take.
fn for_roots() -> Vec<Need> {
    [NEEDS, &[Need::Program("mkfs.xfs"), Need::Program("mkfs.btrfs")]].concat()
}

/// The rig itself: a clone without reseal comes up with everything in place, and with nothing of its own.
#[test]
fn a_clone_without_reseal_shares_every_id() {
    if !ready("a_clone_without_reseal_shares_every_id", NEEDS) {
        return;
    }
    guests::own_mounts();
    let facts = Image::of_template().copy("plain").boot();
    came_up(&facts);
    let template = Template::get().facts().ids();
    assert_eq!(facts.ids(), template);
    eprintln!(
        "without reseal: up in {:.0} s, {} ids shared",
        facts.took.as_secs_f32(),
        shared(&template, &template).len()
    );
}

#[test]
fn two_clones_share_no_disk_identity_and_boot_to_running() {
    if !ready("two_clones_share_no_disk_identity_and_boot_to_running", NEEDS) {
        return;
    }
    guests::own_mounts();
    let image = Image::with_reseal(packages::deb());
    let template = Template::get().facts();
    // One firmware knows the boot sector, the other the EFI system partition.
    let mut clones = [image.copy("one"), image.copy("two")];
    clones[1].by_efi = true;
    let first = boot_all(&mut clones);
    for facts in &first {
        came_up(facts);
        share_nothing(facts, &template);
    }
    share_nothing(&first[0], &first[1]);
    let second = boot_all(&mut clones);
    for (first, second) in first.iter().zip(&second) {
        came_up(second);
        changed_nothing(first, second);
        let root = second.ids()[&("vda1".into(), "UUID".into())].clone();
        assert!(second.get("cmdline").contains(&format!("root=UUID={root} ")), "{}", second.story());
        eprintln!(
            "{} ids, none shared by two clones and their template; first boot {:.0} s, second {:.0} s",
            first.ids().len(),
            first.took.as_secs_f32(),
            second.took.as_secs_f32()
        );
    }
}

/// No later stage than the one in the initramfs can change the ids of these.
#[test]
fn a_root_that_only_the_initramfs_can_take_away_gets_an_id_of_its_own() {
    if !ready("a_root_that_only_the_initramfs_can_take_away_gets_an_id_of_its_own", &for_roots()) {
        return;
    }
    guests::own_mounts();
    let kinds = [RootKind::Xfs, RootKind::Btrfs];
    let images = kinds.map(|kind| Image::on(kind, packages::deb()));
    let template = Template::get().facts();
    let mut clones = [0, 1].map(|one: usize| images[one].copy(kinds[one].name()));
    let first = boot_all(&mut clones);
    for ((facts, kind), image) in first.iter().zip(kinds).zip(&images) {
        came_up(facts);
        share_nothing(facts, &template);
        let old = image.root_id();
        assert!(!facts.ids().values().any(|id| *id == old), "the root's is the template's\n{}", facts.story());
        let line = facts.get("fstab").lines().find(|line| line.contains(&format!(" / {} ", kind.name())));
        assert!(line.is_some_and(|line| line.contains(&facts.ids()[&("vda1".into(), "UUID".into())])));
    }
    share_nothing(&first[0], &first[1]);
    let second = boot_all(&mut clones);
    for ((first, second), kind) in first.iter().zip(&second).zip(kinds) {
        came_up(second);
        changed_nothing(first, second);
        eprintln!(
            "{}: {} ids, none shared; first boot {:.0} s, second {:.0} s",
            kind.name(),
            second.ids().len(),
            first.took.as_secs_f32(),
            second.took.as_secs_f32()
        );
    }
}

/// An initramfs that is a small system of its own, whose systemd has the root mounted as a unit of its own.
/// Debian's mdadm has dracut make another initramfs at every shutdown, which takes minutes.
#[test]
#[ignore = "it takes minutes; `tests/run --full` runs it"]
fn a_root_on_xfs_under_dracut() {
    if !ready("a_root_on_xfs_under_dracut", &for_roots()) {
        return;
    }
    guests::own_mounts();
    let image = Image::on(RootKind::Xfs, packages::deb());
    image.use_dracut();
    let template = Template::get().facts();
    let mut clone = image.copy("dracut");
    let first = clone.boot();
    came_up(&first);
    share_nothing(&first, &template);
    let old = image.root_id();
    assert!(!first.ids().values().any(|id| *id == old), "the root's is the template's\n{}", first.story());
    let second = clone.boot();
    came_up(&second);
    changed_nothing(&first, &second);
    eprintln!("dracut: first boot {:.0} s, second {:.0} s", first.took.as_secs_f32(), second.took.as_secs_f32());
}

#[test]
fn a_sealed_template_with_separate_var_boot_usr_and_home() {
    if !ready("a_sealed_template_with_separate_var_boot_usr_and_home", NEEDS) {
        return;
    }
    guests::own_mounts();
    let mut image = Image::with_reseal(packages::deb());
    image.seal();
    image.split(&[("var", 400), ("boot", 96), ("usr", 800), ("home", 32)]);
    let mut clones = [image.copy("split"), image.copy("split-too")];
    clones.iter_mut().for_each(|clone| clone.by_efi = true);
    let facts = boot_all(&mut clones);
    for facts in &facts {
        came_up(facts);
        for dir in ["/var", "/boot", "/usr", "/home"] {
            assert!(facts.mounts().contains_key(dir), "{}", facts.story());
        }
    }
    // The initramfs mounts /usr, before anything of reseal runs.
    share_only(&facts[0], &facts[1], &["vde3 UUID "]);
    let second = clones[0].boot();
    came_up(&second);
    changed_nothing(&facts[0], &second);
    eprintln!(
        "{} ids, none shared but that of /usr; second boot {:.0} s",
        second.ids().len(),
        second.took.as_secs_f32()
    );
}

/// Where the LUKS volume begins on the template's second disk, and its size, in bytes: sfdisk's fifth partition.
const LUKS: (u64, u64) = (769 << 20, 64 << 20);

/// Asks each source alone, beside the boot that has asked them all; then says what the guest is called. Then changes a file on
/// a FAT, and keeps what stands on the disk before the kernel writes more of it by itself.
const ASK: &str = "\
# Volume keys are renewed in the background. What is killed on the way, the next run goes on with.
under_way() {
    cryptsetup luksDump /dev/vdb5 | grep -c online-reencrypt
}
while [ -e /etc/reseal/volume-keys.toml ] && ! under_way; do :; done
systemctl kill --signal=KILL reseal-volume-keys || true
until systemctl -q is-failed reseal-volume-keys; do sleep 1; done
under_way >luks.killed || true
systemctl reset-failed
systemctl start reseal-volume-keys

for source in smbios fw-cfg drive; do
    reseal --set \"instance.sources=[\\\"$source\\\"]\" inspect --format json >told.$source
done
hostname >told.name
timeout 300 sh -c 'while systemctl -q is-active reseal-volume-keys; do sleep 1; done'
ls /etc/reseal >reseal.files
cryptsetup luksDump --dump-json-metadata /dev/vdb5 >luks.json

id=0123456789abcdef0123456789abcdef
mkdir -p /tmp/tree/etc /tmp/tree/boot/efi
echo $id >/tmp/tree/etc/machine-id
truncate -s 40M /tmp/fat
mkfs.vfat -F 32 /tmp/fat
mount -o loop /tmp/fat /tmp/tree/boot/efi
mkdir -p /tmp/tree/boot/efi/loader/entries
echo machine-id $id >/tmp/tree/boot/efi/loader/entries/$id-6.conf
sync
reseal --root /tmp/tree apply --yes
cp /tmp/fat /tmp/cut
umount /tmp/tree/boot/efi
fsck.fat -n /tmp/cut >fat.check || true
mount -o loop,ro /tmp/cut /tmp/tree/boot/efi
cat /tmp/tree/boot/efi/loader/entries/* >fat.entry
umount /tmp/tree/boot/efi
cat /tmp/tree/etc/machine-id >fat.id
";

#[test]
fn a_guest_is_told_its_name_and_addresses_by_its_machine() {
    let needs = [NEEDS, &[Need::Program("genisoimage")]].concat();
    if !ready("a_guest_is_told_its_name_and_addresses_by_its_machine", &needs) {
        return;
    }
    guests::own_mounts();
    let image = Image::with_reseal(packages::deb());
    image.edit(|root| {
        std::fs::write(root.join("usr/local/lib/vm/task.sh"), ASK).expect("writing the task");
        let policy = "[luks]\nvolume-key = \"reencrypt\"\n";
        std::fs::create_dir_all(root.join("etc/reseal/policy.d")).expect("making a directory");
        std::fs::write(root.join("etc/reseal/policy.d/luks.toml"), policy).expect("writing a policy");
    });
    let dir = tempfile::tempdir().expect("making a directory");
    let (files, drive) = (dir.path().join("files"), dir.path().join("drive.iso"));
    std::fs::create_dir(&files).expect("making a directory");
    std::fs::write(files.join("meta-data"), "local-hostname: of-drive\n").expect("writing a file");
    let network = "version: 2\nethernets:\n  eth0: {addresses: [192.0.2.13/24], gateway4: 192.0.2.1}\n";
    std::fs::write(files.join("network-config"), network).expect("writing a file");
    let mut genisoimage = std::process::Command::new("genisoimage");
    guests::run(genisoimage.args(["-quiet", "-J", "-r", "-V", "cidata", "-o"]).arg(&drive).arg(&files));
    let mut clone = image.copy("told");
    clone.options = [
        "-smbios",
        "type=11,value=reseal:hostname=of-smbios,value=io.systemd.credential:reseal.ip=192.0.2.11::192.0.2.1:24",
        "-fw_cfg",
        "name=opt/org.reseal/hostname,string=of-fw-cfg",
        "-fw_cfg",
        "name=opt/org.reseal/ip,string=192.0.2.12::192.0.2.1:255.255.255.0",
        "-drive",
        &format!("if=none,id=told,file={},format=raw,readonly=on", drive.display()),
        "-device",
        "virtio-blk-pci,drive=told",
    ]
    .map(str::to_owned)
    .to_vec();
    let facts = clone.boot();
    for (source, name, address) in [
        ("smbios", "of-smbios", "192.0.2.11/24"),
        ("fw-cfg", "of-fw-cfg", "192.0.2.12/24"),
        ("drive", "of-drive", "192.0.2.13/24"),
    ] {
        let told: serde_json::Value = serde_json::from_str(facts.get(&format!("told.{source}"))).expect("an inventory");
        let told = &told["instance"];
        assert_eq!(told["hostname"]["value"], name, "{told:#}\n{}", facts.story());
        assert_eq!(told["addresses"][0]["addresses"][0], address, "{told:#}");
        assert_eq!(told["addresses"][0]["gateways"][0], "192.0.2.1", "{told:#}");
    }
    // The first in the order of the default: PID 1 has made a credential only of the address.
    assert_eq!(facts.get("told.name"), "of-smbios", "{}", facts.story());
    came_up(&facts);
    let (entry, check) = (facts.get("fat.entry"), facts.get("fat.check"));
    assert_eq!(facts.get("task.status"), "0", "{}", facts.story());
    assert!(
        !facts.get("fat.id").is_empty() && entry == format!("machine-id {}", facts.get("fat.id")),
        "{entry}\n{check}"
    );
    assert!(!check.contains("runcat") && !check.contains("share"), "{check}");
    let of_template = Device::open(&Template::get().disks()[1]).expect("opening the template's disk");
    let volume = Window::new(&of_template, LUKS.0, LUKS.1);
    let old = &luks::volume_key(&volume).expect("a volume").expect("of version 2").digests[0];
    assert_eq!(facts.get("luks.killed"), "1", "it was not under way when it was killed\n{}", facts.story());
    let json = facts.get("luks.json");
    assert!(
        json.contains("\"digest\"") && !json.contains(&old.replace('/', "\\/")) && !json.contains(old),
        "{json}\n{}",
        facts.story()
    );
    assert!(!facts.get("reseal.files").contains("volume-keys"), "{}", facts.story());
    eprintln!("told by SMBIOS, fw_cfg and a config drive in one boot of {:.0} s", facts.took.as_secs_f32());
}

#[test]
fn a_power_cut_at_any_moment_is_survived() {
    if !ready("a_power_cut_at_any_moment_is_survived", NEEDS) {
        return;
    }
    guests::own_mounts();
    let whole = ["Starting reseal", "Finished reseal.service"];
    let survivors = survive(&Image::with_reseal(packages::deb()), cuts(), whole, Duration::from_secs(20));
    eprintln!("{survivors} power cuts survived");
}

/// As above, while the stage in the initramfs is at work on a root that only it can change.
#[test]
fn a_power_cut_in_the_initramfs_is_survived() {
    if !ready("a_power_cut_in_the_initramfs_is_survived", &for_roots()) {
        return;
    }
    guests::own_mounts();
    let whole = ["reseal: looking at the root", "Welcome to Debian"];
    let survived = [RootKind::Xfs, RootKind::Btrfs].map(|kind| {
        let survivors = survive(&Image::on(kind, packages::deb()), cuts().div_ceil(3), whole, Duration::from_secs(4));
        format!("{survivors} on {}", kind.name())
    });
    eprintln!("power cuts in the initramfs survived: {}", survived.join(", "));
}

/// How many power cuts.
fn cuts() -> u32 {
    std::env::var("RESEAL_VM_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(5)
}

/// Boots so many copies, and cuts the power of each somewhere between two texts on its console, evenly over that time, which
/// is taken to be `first` until a machine has shown how long it is. All come up at the next boot, and share nothing.
fn survive(image: &Image, cuts: u32, whole: [&str; 2], first: Duration) -> usize {
    let template = Template::get().facts();
    let root = image.root_id();
    let old = template.ids().into_values().chain([root.clone()]).collect::<Vec<_>>();
    let window = Mutex::new(first);
    let next = Mutex::new(0..cuts);
    let survivors = std::thread::scope(|scope| {
        let work = || {
            let mut survivors = Vec::new();
            while let Some(cut) = { next.lock().expect("a lock").next() } {
                let mut clone = image.copy(&format!("cut-{cut}"));
                let point = (f64::from(cut) + clone.chance()) / f64::from(cuts);
                let when = cut_power(&mut clone, point, whole, &window);
                let at_rest = clone.ids_at_rest();
                let new = at_rest.iter().filter(|id| !old.contains(id)).count();
                let facts = clone.boot();
                eprintln!(
                    "cut {when}, {new} of {} ids new; up again in {:.0} s",
                    at_rest.len(),
                    facts.took.as_secs_f32()
                );
                came_up(&facts);
                share_nothing(&facts, &template);
                assert!(!facts.ids().into_values().any(|id| id == root), "{}", facts.story());
                survivors.push(facts);
            }
            survivors
        };
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().flat_map(|worker| worker.join().expect("a survivor")).collect::<Vec<_>>()
    });
    for (number, one) in survivors.iter().enumerate() {
        survivors[..number].iter().for_each(|other| share_nothing(one, other));
    }
    assert_eq!(survivors.len(), cuts as usize);
    survivors.len()
}

/// The only way that this machine boots is an entry of its firmware that names the partition.
#[test]
fn a_boot_entry_of_the_firmware_follows_its_partition() {
    let mut needs = NEEDS.to_vec();
    needs.extend(["mkfs.vfat", "mcopy", "strip", "/usr/share/OVMF/OVMF_CODE_4M.fd"].map(Need::Program));
    if !ready("a_boot_entry_of_the_firmware_follows_its_partition", &needs) {
        return;
    }
    guests::own_mounts();
    let mut machine = Booted::install();
    let old = machine.guid();
    let first = machine.boot_by_entry();
    let new = machine.guid();
    assert!(old != new && first.contains("status 0"), "{first}");
    let names = |value: &[u8], guid: uuid::Uuid| value.windows(16).any(|bytes| bytes == guid.to_bytes_le());
    let (before, after) = (variables(&first, "before"), variables(&first, "after"));
    assert!(before.values().any(|value| names(value, old)), "{first}");
    assert!(names(&after["Boot0003"], new) && !after.values().any(|value| names(value, old)), "{first}");
    // The same entries in the same order.
    assert_eq!(before["BootOrder"], after["BootOrder"], "{first}");
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "{first}");
    // By the new GUID, and once more.
    let second = machine.boot_by_entry();
    assert_eq!(variables(&second, "before")["BootCurrent"][4..], [3, 0], "{second}");
    assert!(second.contains("status 0") && machine.guid() != new, "{second}");
    machine.boot_by_entry();
}

/// Boots a machine and cuts its power at a point (0 to 1) of the time that reseal needs; says when that was.
fn cut_power(machine: &mut Machine, point: f64, whole: [&str; 2], window: &Mutex<Duration>) -> String {
    // Slow disks spread the writes over the time.
    machine.writes_per_second = Some(60);
    let mut begun = None;
    let mut when = String::new();
    let was_cut = machine.boot_and_cut(|console| {
        if !console.contains(whole[0]) {
            return false;
        }
        let after = begun.get_or_insert_with(Instant::now).elapsed();
        let mut window = window.lock().expect("a lock");
        let done = console.contains(whole[1]);
        if done {
            *window = after;
        }
        when = format!("{:.1} s after the start, {}", after.as_secs_f32(), if done { "done" } else { "under way" });
        done || after >= window.mul_f64(point)
    });
    assert!(was_cut, "the machine was off before its power could be cut");
    machine.writes_per_second = None;
    when
}
