// SPDX-License-Identifier: MIT OR Apache-2.0
//! Disk images as an ordinary user has them: the program gives them new ids, the vendors' tools judge.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs a vendor's tool; none, and a loud word, where it is missing.
fn tool(test: &str, name: &str, arguments: &[&str]) -> Option<String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    match Command::new(name).args(arguments).env("PATH", path).env("LC_ALL", "C").stdin(Stdio::null()).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name} {arguments:?}: {said}");
            Some(said)
        }
        Err(error) => {
            support::skip(test, &format!("{name}: {error}"));
            None
        }
    }
}

fn reseal(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reseal")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A GPT disk with ext4, swap and FAT32, each at 1 MiB times its number times 40; `None` where a tool is missing.
fn disk(test: &str, dir: &Path, boots: bool) -> Option<PathBuf> {
    let image = dir.join("disk.raw");
    fs::File::create(&image).unwrap().set_len(160 << 20).unwrap();
    let path = image.to_str().unwrap();
    let esp = if boots { "3:ef00" } else { "3:0700" };
    let table = ["-n", "1:40M:+36M", "-n", "2:80M:+36M", "-t", "2:8200", "-n", "3:120M:+36M", "-t", esp, path];
    tool(test, "sgdisk", &table)?;
    let files = dir.join("files");
    fs::create_dir_all(files.join("deep")).unwrap();
    fs::write(files.join("deep/file"), "precious").unwrap();
    for (number, name, arguments) in [
        (1u64, "mke2fs", &["-q", "-t", "ext4", "-d", files.to_str().unwrap()][..]),
        (2, "mkswap", &[]),
        (3, "mkfs.fat", &["-F", "32"]),
    ] {
        let part = dir.join(format!("part-{number}"));
        fs::File::create(&part).unwrap().set_len(36 << 20).unwrap();
        tool(test, name, &[arguments, &[part.to_str().unwrap()]].concat())?;
        copy_at(&fs::read(&part).unwrap(), &image, number * (40 << 20));
    }
    Some(image)
}

fn copy_at(bytes: &[u8], image: &Path, offset: u64) {
    use std::os::unix::fs::FileExt as _;
    fs::OpenOptions::new().write(true).open(image).unwrap().write_all_at(bytes, offset).unwrap();
}

/// A partition of the image as a file of its own.
fn part(image: &Path, number: usize) -> PathBuf {
    let bytes = fs::read(image).unwrap();
    let path = image.with_extension(number.to_string());
    fs::write(&path, &bytes[number * (40 << 20)..][..36 << 20]).unwrap();
    path
}

fn blkid(test: &str, path: &Path, tag: &str) -> Option<String> {
    Some(tool(test, "blkid", &["-p", "-o", "value", "-s", tag, path.to_str().unwrap()])?.trim().to_owned())
}

#[test]
fn every_id_of_a_data_disk_is_renewed_and_every_quote_of_it() {
    let test = "every_id_of_a_data_disk_is_renewed_and_every_quote_of_it";
    let dir = tempfile::tempdir().unwrap();
    let Some(image) = disk(test, dir.path(), false) else { return };
    let old: Vec<String> = (1..=3).map(|number| blkid(test, &part(&image, number), "UUID").unwrap()).collect();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    let fstab = format!(
        "UUID={} /data ext4 defaults 0 2\nUUID={} none swap sw 0 0\nUUID={}\t/fat vfat umask=077 0 1\n",
        old[0], old[1], old[2]
    );
    fs::write(root.join("etc/fstab"), &fstab).unwrap();
    let (image_path, root_path) = (image.to_str().unwrap(), root.to_str().unwrap());
    let inspected = json(&reseal(&["inspect", "--image", image_path, "--format", "json"]));
    let values: Vec<&str> =
        inspected["identities"].as_array().unwrap().iter().map(|id| id["value"].as_str().unwrap()).collect();
    assert!(old.iter().all(|id| values.contains(&id.as_str())), "{values:?}");
    let before = fs::read(&image).unwrap();
    json(&reseal(&["--dry-run", "--image", image_path, "--root", root_path, "--format", "json"]));
    assert!(fs::read(&image).unwrap() == before, "a dry run writes nothing");

    let done = json(&reseal(&["apply", "--image", image_path, "--root", root_path, "--format", "json"]));
    let renewals = done["renewals"].as_array().unwrap();
    let disk_ids = renewals.iter().filter(|r| r["subject"].as_str().unwrap().contains("disk.raw"));
    assert_eq!(disk_ids.count(), 7, "three contents, three partitions, one disk: {renewals:?}");
    let new: Vec<String> = (1..=3).map(|number| blkid(test, &part(&image, number), "UUID").unwrap()).collect();
    assert!(new.iter().all(|id| !old.contains(id)), "{old:?} {new:?}");
    let expected = (0..3).fold(fstab, |text, number| text.replace(&old[number], &new[number]));
    assert_eq!(fs::read_to_string(root.join("etc/fstab")).unwrap(), expected);
    tool(test, "e2fsck", &["-fn", part(&image, 1).to_str().unwrap()]);
    tool(test, "fsck.fat", &["-n", part(&image, 3).to_str().unwrap()]);
    let verified = tool(test, "sgdisk", &["-v", image_path]).unwrap();
    assert!(verified.contains("No problems found"), "{verified}");
    let content = tool(test, "debugfs", &["-R", "cat deep/file", part(&image, 1).to_str().unwrap()]).unwrap();
    assert!(content.contains("precious"), "{content}");
    // A cut that left the new entries in the backup table alone: the same ids end the work, to the same bytes.
    let whole = fs::read(&image).unwrap();
    let mut cut = before.clone();
    let entries = cut.len() - 33 * 512..cut.len() - 512;
    assert!(cut[entries.clone()] != whole[entries.clone()]);
    cut[entries.clone()].copy_from_slice(&whole[entries]);
    fs::write(&image, &cut).unwrap();
    let resumed = json(&reseal(&["apply", "--image", image_path, "--root", root_path, "--format", "json"]));
    assert!(fs::read(&image).unwrap() == whole, "{}", resumed["findings"]);
    // With the guest's tree beside it the run is remembered, and done once.
    let after = fs::read(&image).unwrap();
    let again = json(&reseal(&["apply", "--image", image_path, "--root", root_path, "--format", "json"]));
    assert_eq!(again["steps"], serde_json::json!([]));
    assert!(fs::read(&image).unwrap() == after);
    // Alone, an image is renewed as often as it is asked for.
    json(&reseal(&["apply", "--image", image_path, "--format", "json"]));
    assert!(blkid(test, &part(&image, 1), "UUID").unwrap() != new[0]);
}

#[test]
fn an_image_alone_is_not_sealed_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("zeros");
    fs::write(&image, vec![0; 1 << 20]).unwrap();
    let temporary = dir.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    for (command, status) in [("seal", 2), ("apply", 0), ("inspect", 0)] {
        let mut call = Command::new(env!("CARGO_BIN_EXE_reseal"));
        let output =
            call.args([command, "--image", image.to_str().unwrap()]).env("TMPDIR", &temporary).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    }
}

#[test]
fn a_disk_that_boots_a_machine_is_left_alone() {
    let test = "a_disk_that_boots_a_machine_is_left_alone";
    let dir = tempfile::tempdir().unwrap();
    let Some(image) = disk(test, dir.path(), true) else { return };
    let before = fs::read(&image).unwrap();
    let refused = reseal(&["apply", "--image", image.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("boots a machine"));
    assert!(fs::read(&image).unwrap() == before);
    assert!(reseal(&["apply", "--force", "--image", image.to_str().unwrap()]).status.success());
    assert!(fs::read(&image).unwrap() != before);
}

#[test]
fn what_is_damaged_or_unknown_is_told_and_not_written() {
    let test = "what_is_damaged_or_unknown_is_told_and_not_written";
    let dir = tempfile::tempdir().unwrap();
    let Some(image) = disk(test, dir.path(), false) else { return };
    let mut bytes = fs::read(&image).unwrap();
    // A superblock whose checksum is wrong, and a partition table whose first entry was hit.
    bytes[(40 << 20) + 1024 + 0x10] ^= 1;
    bytes[1024 + 60] ^= 1;
    fs::write(&image, &bytes).unwrap();
    let shown = json(&reseal(&["--dry-run", "--image", image.to_str().unwrap(), "--format", "json"]));
    let formats: Vec<&str> =
        shown["steps"].as_array().unwrap().iter().filter_map(|step| step["format"].as_str()).collect();
    assert!(!formats.contains(&"ext") && !formats.contains(&"gpt"), "{shown}");
    assert!(shown["findings"].as_array().unwrap().len() >= 2, "{shown}");
    let unknown = dir.path().join("zeros");
    fs::write(&unknown, vec![0; 1 << 20]).unwrap();
    let shown = json(&reseal(&["--dry-run", "--image", unknown.to_str().unwrap(), "--format", "json"]));
    assert_eq!(shown["steps"], serde_json::json!([]));
    assert_eq!(reseal(&["--dry-run", "--image", "/dev/zero"]).status.code(), Some(1));
    assert_eq!(reseal(&["--dry-run", "--image", "/nonexistent"]).status.code(), Some(1));
}

#[test]
fn an_mbr_disk_gets_a_signature_and_its_partitions_ids_with_it() {
    let test = "an_mbr_disk_gets_a_signature_and_its_partitions_ids_with_it";
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("mbr.raw");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let script = dir.path().join("table");
    fs::write(
        &script,
        "label: dos\nlabel-id: 0x1a2b3c4d\nstart=2048, size=20480, type=83\nstart=40960, size=20480, type=82\n",
    )
    .unwrap();
    let shell = format!("sfdisk -q {} < {}", image.display(), script.display());
    if tool(test, "sh", &["-c", &format!("command -v sfdisk || exit 0; {shell}")]).unwrap().is_empty() {
        return support::skip(test, "sfdisk is not installed");
    }
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/fstab"), "PARTUUID=1a2b3c4d-01 /srv ext4 defaults 0 2\n").unwrap();
    json(&reseal(&["apply", "--format", "json", "--image", image.to_str().unwrap(), "--root", root.to_str().unwrap()]));
    let id = tool(test, "sfdisk", &["--disk-id", image.to_str().unwrap()]).unwrap();
    let id = id.trim().strip_prefix("0x").unwrap();
    assert_ne!(id, "1a2b3c4d");
    assert_eq!(
        fs::read_to_string(root.join("etc/fstab")).unwrap(),
        format!("PARTUUID={id}-01 /srv ext4 defaults 0 2\n")
    );
}

/// The process is killed at random moments; the file system is sound after every kill, and the next run ends the work.
#[test]
fn a_killed_run_leaves_every_file_system_sound() {
    let test = "a_killed_run_leaves_every_file_system_sound";
    let dir = tempfile::tempdir().unwrap();
    let Some(image) = disk(test, dir.path(), false) else { return };
    let old = blkid(test, &part(&image, 1), "UUID").unwrap();
    let template = fs::read(&image).unwrap();
    let root = dir.path().join("root");
    for round in 0..12u64 {
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/fstab"), format!("UUID={old} /srv ext4 defaults 0 2\n")).unwrap();
        fs::write(&image, &template).unwrap();
        let arguments = ["apply", "--image", image.to_str().unwrap(), "--root", root.to_str().unwrap()];
        let mut child =
            Command::new(env!("CARGO_BIN_EXE_reseal")).args(arguments).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(1000 + round * 1500));
        child.kill().unwrap();
        child.wait().unwrap();
        tool(test, "e2fsck", &["-fn", part(&image, 1).to_str().unwrap()]);
        let done = reseal(&arguments);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        tool(test, "e2fsck", &["-fn", part(&image, 1).to_str().unwrap()]);
        let new = blkid(test, &part(&image, 1), "UUID").unwrap();
        assert_ne!(new, old);
        assert_eq!(fs::read_to_string(root.join("etc/fstab")).unwrap(), format!("UUID={new} /srv ext4 defaults 0 2\n"));
        let verified = tool(test, "sgdisk", &["-v", image.to_str().unwrap()]).unwrap();
        assert!(verified.contains("No problems found"), "{verified}");
    }
}

#[test]
fn a_volume_group_of_one_disk_gets_ids_of_its_own() {
    let test = "a_volume_group_of_one_disk_gets_ids_of_its_own";
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("lvm.raw");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let path = image.to_str().unwrap();
    if !nix::unistd::geteuid().is_root() {
        return support::skip(test, "LVM's tools take a loop device, which needs root");
    }
    let Some(attached) = tool(test, "losetup", &["-f", "--show", path]) else { return };
    let device = attached.trim().to_owned();
    let config =
        format!("devices {{ filter=[\"a|{device}|\",\"r|.*|\"] use_devicesfile=0 }} backup {{ backup=0 archive=0 }}");
    let make = |name: &str, arguments: &[&str]| {
        let path = "/usr/sbin:/usr/bin:/sbin:/bin";
        let options = ["--config", &config, "--driverloaded", "n", "-q"];
        Command::new(name)
            .args([&options[..], arguments].concat())
            .env("PATH", path)
            .output()
            .map(|output| (output.status, output))
    };
    let steps = [
        ("pvcreate", vec![device.as_str()]),
        ("vgcreate", vec!["group", &device]),
        ("lvcreate", vec!["-an", "-Zn", "-l", "4", "-n", "volume", "group"]),
    ];
    let made: Vec<_> = steps.iter().map(|(name, arguments)| make(name, arguments)).collect();
    // Somebody else may be at work on it.
    let refused = reseal(&["apply", "--image", path]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is attached as"), "{refused:?}");
    tool(test, "losetup", &["-d", &device]);
    for result in made {
        match result {
            Ok((status, output)) => assert!(status.success(), "{output:?}"),
            Err(error) => return support::skip(test, &format!("LVM's tools: {error}")),
        }
    }
    let before = json(&reseal(&["inspect", "--image", path, "--format", "json"]));
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("etc/lvm/devices")).unwrap();
    let old = before["identities"][0]["value"].as_str().unwrap().to_owned();
    let devices = root.join("etc/lvm/devices/system.devices");
    fs::write(&devices, format!("IDTYPE=devname IDNAME=/dev/vdb DEVNAME=/dev/vdb PVID={}\n", old.replace('-', "")))
        .unwrap();
    let done = json(&reseal(&["apply", "--format", "json", "--image", path, "--root", root.to_str().unwrap()]));
    let ids = done["renewals"].as_array().unwrap().iter().filter(|r| r["kind"] == "lvm-uuid").count();
    assert_eq!(ids, 3, "volume, group and disk: {done}");
    let new = tool(test, "blkid", &["-p", "-o", "value", "-s", "UUID", path]).unwrap();
    assert_ne!(new.trim(), old);
    assert!(fs::read_to_string(devices).unwrap().contains(&new.trim().replace('-', "")));
}

#[test]
fn devices_of_one_file_system_in_one_image_change_together() {
    let test = "devices_of_one_file_system_in_one_image_change_together";
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.raw");
    fs::File::create(&image).unwrap().set_len(300 << 20).unwrap();
    let path = image.to_str().unwrap();
    if tool(test, "sgdisk", &["-n", "1:2M:+128M", "-n", "2:140M:+128M", path]).is_none() {
        return;
    }
    let halves = ["one", "two"].map(|name| dir.path().join(name).to_str().unwrap().to_owned());
    for half in &halves {
        fs::File::create(half).unwrap().set_len(128 << 20).unwrap();
    }
    if tool(test, "mkfs.btrfs", &["-q", "-d", "raid1", "-m", "raid1", &halves[0], &halves[1]]).is_none() {
        return;
    }
    for (half, offset) in halves.iter().zip([2, 140]) {
        copy_at(&fs::read(half).unwrap(), &image, offset << 20);
    }
    let old = blkid(test, Path::new(&halves[0]), "UUID").unwrap();
    let done = json(&reseal(&["apply", "--image", path, "--only", "fs-uuids", "--format", "json"]));
    let bytes = fs::read(&image).unwrap();
    let new: Vec<String> = halves
        .iter()
        .zip([2_usize, 140])
        .map(|(half, offset)| {
            fs::write(half, &bytes[offset << 20..][..128 << 20]).unwrap();
            blkid(test, Path::new(half), "UUID").unwrap()
        })
        .collect();
    assert!(new[0] == new[1] && new[0] != old, "{old} {new:?} {}", done["findings"]);
}

/// Which volumes are encrypted anew after the boot, and why others are not.
#[test]
fn a_volume_key_is_renewed_only_where_nobody_is_needed_for_it() {
    let test = "a_volume_key_is_renewed_only_where_nobody_is_needed_for_it";
    let dir = tempfile::tempdir().unwrap();
    let (volume, key, root) = (dir.path().join("volume"), dir.path().join("key"), dir.path().join("root"));
    fs::File::create(&volume).unwrap().set_len(24 << 20).unwrap();
    fs::write(&key, "of the template").unwrap();
    let (volume, key) = (volume.to_str().unwrap(), key.to_str().unwrap());
    let format = ["luksFormat", "-q", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    if tool(test, "cryptsetup", &[&format[..], &[volume, key]].concat()).is_none() {
        return;
    }
    let uuid = blkid(test, Path::new(volume), "UUID").unwrap();
    fs::create_dir_all(root.join("etc/keys")).unwrap();
    fs::write(root.join("etc/keys/data"), "of the template").unwrap();
    let plan = |setting: &str, crypttab: &str| {
        fs::write(root.join("etc/crypttab"), crypttab.replace("VOLUME", &uuid)).unwrap();
        let setting = format!("luks.volume-key=\"{setting}\"");
        let root = root.to_str().unwrap();
        json(&reseal(&["--dry-run", "--image", volume, "--root", root, "--set", &setting, "--format", "json"]))
    };
    let list = |plan: &Value| {
        let mut steps = plan["steps"].as_array().unwrap().iter();
        steps.find(|step| step["path"] == "etc/reseal/volume-keys.toml").cloned()
    };
    let told = |plan: &Value| {
        let mut findings = plan["findings"].as_array().unwrap().iter();
        let finding = findings.find(|finding| finding["by"] == "luks").expect("something about the volume key");
        finding["message"].as_str().unwrap().to_owned()
    };

    let wanted = plan("reencrypt", "data UUID=VOLUME /etc/keys/data luks,discard\n");
    let step = list(&wanted).unwrap_or_else(|| panic!("no list: {}", told(&wanted)));
    let text = step["after"]["text"].as_str().unwrap();
    let renewals = wanted["renewals"].as_array().unwrap();
    let new = renewals.iter().find(|renewal| renewal["kind"] == "luks-uuid").unwrap()["new"].as_str().unwrap();
    assert!(text.contains(new) && text.contains("/etc/keys/data") && !text.contains(&uuid), "{text}");
    assert!(told(&wanted).contains("reseal-volume-keys.service"), "{}", told(&wanted));

    for (setting, crypttab, why) in [
        ("report", "data UUID=VOLUME /etc/keys/data luks\n", "its own"),
        ("reencrypt", "", "crypttab does not name it"),
        ("reencrypt", "data UUID=VOLUME none luks\n", "no key file"),
        ("reencrypt", "data UUID=VOLUME /etc/keys/absent luks\n", "is not there"),
        ("reencrypt", "data UUID=VOLUME /etc/keys luks\n", "no regular file"),
        ("reencrypt", "data UUID=VOLUME /etc/keys/data luks,keyfile-offset=7\n", "more than a key file"),
    ] {
        let plan = plan(setting, crypttab);
        assert!(list(&plan).is_none() && told(&plan).contains(why), "{crypttab}{}", told(&plan));
    }
    // A list of another guest goes.
    fs::create_dir_all(root.join("etc/reseal")).unwrap();
    fs::write(root.join("etc/reseal/volume-keys.toml"), "").unwrap();
    assert_eq!(list(&plan("report", "")).expect("a step")["do"], "remove");
    // Another key slot would not open it any more.
    let second = ["luksAddKey", "-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", key];
    fs::write(root.join("second"), "another").unwrap();
    tool(test, "cryptsetup", &[&second[..], &[volume, root.join("second").to_str().unwrap()]].concat());
    let plan = plan("reencrypt", "data UUID=VOLUME /etc/keys/data luks\n");
    assert!(told(&plan).contains("other key slots"), "{}", told(&plan));
}
