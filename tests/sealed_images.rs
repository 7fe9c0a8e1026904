// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guests inside of disk images, as root: sealed, given an identity and looked at, and nothing outside is touched.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";
const SYSFS: &str = "/sys/block";
/// Where each partition begins, in MiB.
const PARTS: [(u64, u64); 3] = [(1, 40), (41, 40), (81, 128)];

fn tool(name: &str, arguments: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let output = Command::new(name).args(arguments).env("PATH", path).env("LC_ALL", "C").stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {said}");
    said
}

fn reseal(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reseal")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Can the kernel of this machine mount what the test makes? If not, that is said loudly.
fn ready(test: &str, kinds: &[&str]) -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap();
    let missing =
        kinds.iter().find(|kind| !known.lines().any(|line| line.trim_start_matches("nodev").trim() == **kind));
    let programs = ["sfdisk", "mke2fs", "losetup", "debugfs", "ssh-keygen"];
    let found = |name: &&str| ["/usr/sbin", "/sbin", "/usr/bin"].iter().any(|dir| Path::new(dir).join(name).exists());
    let why = if !nix::unistd::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
        "it takes root and loop devices".to_owned()
    } else if let Some(kind) = missing {
        format!("this kernel has no {kind}")
    } else if let Some(name) = programs.iter().find(|name| !found(name)) {
        format!("{name} is not installed")
    } else {
        return true;
    };
    support::skip(test, &why);
    false
}

/// A template as it was cloned from: a machine-id, host keys, leases.
fn template(dir: &Path, fstab: &str) -> PathBuf {
    let root = dir.join("root");
    for name in ["etc/ssh", "var/lib/dhcp", "boot/efi", "srv", "home", "usr/lib", "root"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::write(root.join("etc/os-release"), "ID=debian\n").unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(root.join("etc/machine-id"), format!("{MACHINE_ID}\n")).unwrap();
    fs::write(root.join("etc/hostname"), "golden\n").unwrap();
    fs::write(root.join("etc/fstab"), fstab).unwrap();
    fs::write(root.join("var/lib/dhcp/dhclient.leases"), "lease { }\n").unwrap();
    let key = root.join("etc/ssh/ssh_host_ed25519_key");
    tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "root@golden", "-f", key.to_str().unwrap()]);
    root
}

/// A GPT disk: an EFI system partition, ext4 for /boot, and ext4 with this tree.
fn disk(dir: &Path, root: &Path) -> PathBuf {
    let image = dir.join("guest.raw");
    fs::File::create(&image).unwrap().set_len(220 << 20).unwrap();
    let table = dir.join("table");
    let types = ["C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "BC13C2FF-59E6-4262-A352-B275FD6F7172", "linux"];
    let lines =
        PARTS.iter().zip(types).map(|((start, size), kind)| format!("start={start}MiB,size={size}MiB,type={kind}\n"));
    fs::write(&table, format!("label: gpt\n{}", lines.collect::<String>())).unwrap();
    let mut sfdisk = Command::new("/usr/sbin/sfdisk");
    sfdisk.arg("-q").arg(&image).stdin(fs::File::open(&table).unwrap());
    assert!(sfdisk.status().unwrap().success());
    let boot = dir.join("boot");
    fs::create_dir_all(boot.join("efi")).unwrap();
    fs::write(boot.join("vmlinuz"), "kernel").unwrap();
    make(&image, 0, "mkfs.fat", &["-F", "32"]);
    make(&image, 1, "mke2fs", &["-q", "-t", "ext4", "-L", "boot", "-d", boot.to_str().unwrap()]);
    make(&image, 2, "mke2fs", &["-q", "-t", "ext4", "-U", ROOT, "-d", root.to_str().unwrap()]);
    image
}

const ROOT: &str = "6b331ec4-b909-4b3b-b878-bdaa00000001";
const FSTAB: &str = "UUID=6b331ec4-b909-4b3b-b878-bdaa00000001 / ext4 errors=remount-ro 0 1\n\
                     LABEL=boot /boot ext4 defaults 0 2\n/dev/sda1 /boot/efi vfat umask=0077 0 1\n";

/// Makes a file system in a partition.
fn make(image: &Path, number: usize, program: &str, arguments: &[&str]) {
    let part = image.with_extension("part");
    fs::File::create(&part).unwrap().set_len(PARTS[number].1 << 20).unwrap();
    tool(program, &[arguments, &[part.to_str().unwrap()]].concat());
    let open = fs::OpenOptions::new().write(true).open(image).unwrap();
    open.write_all_at(&fs::read(&part).unwrap(), PARTS[number].0 << 20).unwrap();
}

/// A partition as a file of its own.
fn part(image: &Path, number: usize) -> PathBuf {
    let path = image.with_extension("read");
    let (start, size) = PARTS[number];
    let mut bytes = vec![0; (size << 20) as usize];
    fs::File::open(image).unwrap().read_exact_at(&mut bytes, start << 20).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// A file of the root partition, as the vendor's tool reads it; empty where there is none.
fn cat(image: &Path, path: &str) -> String {
    let output = Command::new("debugfs").args(["-R", &format!("cat {path}")]).arg(part(image, 2)).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Every entry below a directory with its content: what the run must not change.
fn picture(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(picture(&entry.path()));
        }
        found.insert(entry.path(), fs::read(entry.path()).unwrap_or_default());
    }
    found
}

/// Nothing is left of the run: no loop device, no mount, no directory.
fn nothing_is_left(image: &Path) {
    let backing = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
    // The kernel takes a device away when its last user has gone, a little later.
    let mut attached = true;
    for _ in 0..200 {
        attached = fs::read_dir(SYSFS).unwrap().flatten().any(|entry| backing(entry).trim() == image.to_str().unwrap());
        if !attached {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(!attached, "a loop device is left");
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains("reseal-image"), "a mount is left");
}

fn sound(image: &Path) {
    for number in [1, 2] {
        tool("e2fsck", &["-fn", part(image, number).to_str().unwrap()]);
    }
}

#[test]
fn an_image_is_looked_at_sealed_and_given_an_identity() {
    let test = "an_image_is_looked_at_sealed_and_given_an_identity";
    if !ready(test, &["ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = disk(dir.path(), &template(dir.path(), FSTAB));
    let path = image.to_str().unwrap();
    let before = fs::read(&image).unwrap();
    let seen = json(&reseal(&["inspect", "--format", "json", "--image", path]));
    let values: Vec<&str> =
        seen["identities"].as_array().unwrap().iter().map(|id| id["value"].as_str().unwrap()).collect();
    for value in [MACHINE_ID, "golden", ROOT] {
        assert!(values.contains(&value), "{value}: {values:?}");
    }
    let found = reseal(&["scan", "--old", &format!("machine-id={MACHINE_ID}"), "--format", "json", "--image", path]);
    assert_eq!(found.status.code(), Some(4), "{}", complaint(&found));
    assert!(String::from_utf8_lossy(&found.stdout).contains("/etc/machine-id"));
    let checked = reseal(&["boot-check", "--image", path]);
    assert!(checked.status.success(), "{checked:?}");
    let planned = json(&reseal(&["seal", "--dry-run", "--format", "json", "--image", path]));
    assert!(planned["steps"].as_array().unwrap().len() > 2);
    assert!(fs::read(&image).unwrap() == before, "what only looks writes nothing");
    let inventory = dir.path().join("template.json");
    fs::write(&inventory, serde_json::to_vec(&seen).unwrap()).unwrap();

    let sealed = json(&reseal(&["seal", "--format", "json", "--image", path]));
    assert!(!sealed["steps"].as_array().unwrap().is_empty());
    nothing_is_left(&image);
    sound(&image);
    assert!(!cat(&image, "/etc/machine-id").contains(MACHINE_ID));
    assert_eq!(cat(&image, "/etc/ssh/ssh_host_ed25519_key") + &cat(&image, "/var/lib/dhcp/dhclient.leases"), "");
    assert!(cat(&image, "/etc/reseal/sealed").contains(MACHINE_ID), "the template's values are there for its clones");
    assert_eq!(cat(&image, "/etc/fstab"), FSTAB);

    // Two clones of it, each for itself.
    let clone = dir.path().join("clone.raw");
    fs::copy(&image, &clone).unwrap();
    let ids: Vec<String> = [&image, &clone]
        .map(|image| {
            let path = image.to_str().unwrap();
            let done = json(&reseal(&["apply", "--format", "json", "--image", path]));
            let told = done["findings"].to_string();
            assert!(told.contains("its first boot changes them"), "{told}");
            let verified = reseal(&[
                "verify",
                "--format",
                "json",
                "--image",
                path,
                "--allow",
                "fs-uuid",
                "--allow",
                "hostname",
                "--allow",
                "partition-id",
                "--allow",
                "disk-id",
                "--against",
                inventory.to_str().unwrap(),
            ]);
            assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
            nothing_is_left(image);
            sound(image);
            cat(image, "/etc/machine-id")
        })
        .into();
    assert!(ids.iter().all(|id| id.trim().len() == 32) && ids[0] != ids[1] && ids[0].trim() != MACHINE_ID, "{ids:?}");
    let again = json(&reseal(&["apply", "--format", "json", "--image", path]));
    assert_eq!(again["steps"], serde_json::json!([]), "it is done once");
}

/// The whole disk is one btrfs, and the root is a subvolume, as Debian's and Fedora's installers make it.
#[test]
fn subvolumes_are_put_where_fstab_has_them() {
    let test = "subvolumes_are_put_where_fstab_has_them";
    if !ready(test, &["btrfs"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let fstab = "LABEL=guest / btrfs subvol=@rootfs 0 0\nLABEL=guest /var btrfs noatime,subvol=/@var 0 0\n";
    let root = template(dir.path(), fstab);
    let image = dir.path().join("btrfs.raw");
    fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
    let path = image.to_str().unwrap();
    tool("mkfs.btrfs", &["-q", "-L", "guest", path]);
    // The mounts are this thread's own.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    let top = dir.path().join("top");
    fs::create_dir(&top).unwrap();
    let with = |act: &dyn Fn()| {
        let device = tool("losetup", &["--find", "--show", path]);
        let mounted = mount(Some(device.trim()), &top, Some("btrfs"), MsFlags::empty(), None::<&str>);
        mounted.unwrap();
        act();
        umount2(&top, MntFlags::empty()).unwrap();
        tool("losetup", &["-d", device.trim()]);
    };
    with(&|| {
        for name in ["@rootfs", "@var"] {
            tool("btrfs", &["-q", "subvolume", "create", top.join(name).to_str().unwrap()]);
        }
        tool("cp", &["-a", &format!("{}/.", root.display()), top.join("@rootfs").to_str().unwrap()]);
        tool("cp", &["-a", root.join("var/lib").to_str().unwrap(), top.join("@var").to_str().unwrap()]);
        fs::write(top.join("@rootfs/var/lib/dhcp/dhclient.leases"), "hidden").unwrap();
        symlink("/", top.join("@host")).unwrap();
    });
    json(&reseal(&["seal", "--format", "json", "--image", path]));
    nothing_is_left(&image);
    tool("btrfs", &["check", path]);
    with(&|| {
        assert_ne!(fs::read_to_string(top.join("@rootfs/etc/machine-id")).unwrap().trim(), MACHINE_ID);
        assert!(!top.join("@var/lib/dhcp/dhclient.leases").exists(), "/var is the subvolume");
        assert!(
            top.join("@rootfs/var/lib/dhcp/dhclient.leases").exists(),
            "what lies under a mount is not the guest's"
        );
    });
}

/// What the image says of mount points, devices and links ends inside the image, or nowhere.
#[test]
fn a_hostile_image_reaches_nothing_outside() {
    let test = "a_hostile_image_reaches_nothing_outside";
    if !ready(test, &["ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    fs::create_dir_all(victim.join("deep/etc")).unwrap();
    for name in ["machine-id", "secret", "deep/etc/machine-id"] {
        fs::write(victim.join(name), "the host's own secret\n").unwrap();
    }
    // A device of this machine with a file system that the image would like to have.
    let host = dir.path().join("host.raw");
    fs::File::create(&host).unwrap().set_len(16 << 20).unwrap();
    tool(
        "mke2fs",
        &["-q", "-t", "ext4", "-L", "hosts", "-U", "6b331ec4-b909-4b3b-b878-bdaa000000ff", host.to_str().unwrap()],
    );
    let device = tool("losetup", &["--find", "--show", host.to_str().unwrap()]).trim().to_owned();
    let (before, disk_before) = (picture(&victim), fs::read(&host).unwrap());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let away = victim.to_str().unwrap();
    let up = format!("/../../../../../..{away}");
    let lines = [
        ("LABEL=boot /srv ext4 OPTIONS 0 0", "link on the way"),
        ("LABEL=boot /home/inner ext4 OPTIONS 0 0", "link on the way"),
        (&*format!("LABEL=boot {up} ext4 OPTIONS 0 0"), "plain path"),
        (&*format!("{device} /boot ext4 OPTIONS 0 0"), "not in the image"),
        ("UUID=6b331ec4-b909-4b3b-b878-bdaa000000ff /boot ext4 OPTIONS 0 0", "not in the image"),
        (&*format!("{away} /boot none bind,OPTIONS 0 0"), "no disk"),
        (&*format!("overlay /boot overlay OPTIONS,lowerdir={away},upperdir={away} 0 0"), ""),
        ("LABEL=boot /boot/efi/missing ext4 OPTIONS 0 0", "No such file"),
    ];
    for (line, why) in lines {
        for optional in [false, true] {
            let _ = fs::remove_dir_all(dir.path().join("root"));
            let options = if optional { "nofail" } else { "defaults" };
            let fstab = format!("UUID={ROOT} / ext4 defaults 0 1\n{}\n", line.replace("OPTIONS", options));
            let root = template(dir.path(), &fstab);
            fs::remove_dir(root.join("srv")).unwrap();
            fs::remove_dir(root.join("home")).unwrap();
            symlink(away, root.join("srv")).unwrap();
            symlink(format!("../../../../../../../..{away}"), root.join("home")).unwrap();
            symlink(format!("{away}/deep"), root.join("opt")).unwrap();
            fs::remove_file(root.join("var/lib/dhcp/dhclient.leases")).unwrap();
            symlink(format!("{away}/secret"), root.join("var/lib/dhcp/dhclient.leases")).unwrap();
            fs::remove_file(root.join("etc/hostname")).unwrap();
            symlink(format!("/proc/1/root{away}/secret"), root.join("etc/hostname")).unwrap();
            let image = disk(dir.path(), &root);
            let path = image.to_str().unwrap();
            let untouched = fs::read(&image).unwrap();
            let seen = reseal(&["inspect", "--format", "json", "--image", path]);
            assert!(!String::from_utf8_lossy(&seen.stdout).contains("the host's own secret"), "{line}");
            assert!(fs::read(&image).unwrap() == untouched);
            let sealed = reseal(&["seal", "--format", "json", "--image", path]);
            let said = complaint(&sealed) + &String::from_utf8_lossy(&sealed.stdout);
            assert!(said.contains(why), "{line}: {said}");
            // What fstab needs and cannot be had would stay as the template had it.
            assert_eq!(sealed.status.success(), optional || why.is_empty(), "{line}: {said}");
            if !sealed.status.success() {
                assert!(fs::read(&image).unwrap() == untouched, "{line}: refused, and changed");
            }
            nothing_is_left(&image);
            sound(&image);
            assert!(picture(&victim) == before, "{line}: a file of the host was changed");
        }
    }
    assert!(fs::read(&host).unwrap() == disk_before, "a disk of the host was changed");
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);
    tool("losetup", &["-d", &device]);
}

#[test]
fn what_is_in_use_or_not_told_apart_is_refused() {
    let test = "what_is_in_use_or_not_told_apart_is_refused";
    if !ready(test, &["ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = template(dir.path(), FSTAB);
    let image = disk(dir.path(), &root);
    let path = image.to_str().unwrap();
    let before = fs::read(&image).unwrap();
    // As QEMU locks what a machine runs on.
    let held = fs::OpenOptions::new().read(true).write(true).open(&image).unwrap();
    let lock = nix::libc::flock { l_type: 0, l_whence: 0, l_start: 203, l_len: 1, l_pid: 0 };
    nix::fcntl::fcntl(&held, nix::fcntl::FcntlArg::F_OFD_SETLK(&lock)).unwrap();
    let refused = reseal(&["seal", "--image", path]);
    assert!(refused.status.code() == Some(1) && complaint(&refused).contains("running machine"), "{refused:?}");
    drop(held);
    let device = tool("losetup", &["--find", "--show", path]).trim().to_owned();
    let refused = reseal(&["seal", "--image", path]);
    assert!(complaint(&refused).contains("is attached as"), "{refused:?}");
    tool("losetup", &["-d", &device]);
    assert!(fs::read(&image).unwrap() == before);
    // A second system beside the first.
    make(&image, 1, "mke2fs", &["-q", "-t", "ext4", "-d", root.to_str().unwrap()]);
    let refused = reseal(&["seal", "--image", path]);
    assert!(complaint(&refused).contains("cannot be told"), "{refused:?}");
    // None at all, and a format that is unpacked first.
    make(&image, 1, "mke2fs", &["-q", "-t", "ext4"]);
    make(&image, 2, "mke2fs", &["-q", "-t", "ext4"]);
    let refused = reseal(&["seal", "--image", path]);
    assert!(refused.status.code() == Some(2) && complaint(&refused).contains("no root of a guest"), "{refused:?}");
    let packed = dir.path().join("packed.qcow2");
    fs::write(&packed, b"QFI\xfb\0\0\0\x03 and so on").unwrap();
    let refused = reseal(&["seal", "--image", packed.to_str().unwrap()]);
    assert!(complaint(&refused).contains("qemu-nbd"), "{refused:?}");
    nothing_is_left(&image);
}

/// Killed at any moment, nothing of the run is left on this machine, and the next run ends the work.
#[test]
fn a_killed_run_leaves_nothing_attached() {
    let test = "a_killed_run_leaves_nothing_attached";
    if !ready(test, &["ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = disk(dir.path(), &template(dir.path(), FSTAB));
    let path = image.to_str().unwrap();
    let template = fs::read(&image).unwrap();
    for round in 0..8u64 {
        fs::write(&image, &template).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_reseal"));
        let mut child =
            child.args(["seal", "--image", path]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5 + round * 15));
        child.kill().unwrap();
        child.wait().unwrap();
        nothing_is_left(&image);
        let done = reseal(&["seal", "--image", path]);
        assert!(done.status.success(), "{}", complaint(&done));
        nothing_is_left(&image);
        sound(&image);
        assert!(!cat(&image, "/etc/machine-id").contains(MACHINE_ID));
    }
}
