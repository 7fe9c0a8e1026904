// SPDX-License-Identifier: MIT OR Apache-2.0
//! Config drives as real tools make them, read by an ordinary user from files; and damaged ones.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reseal::guest::Guest;
use reseal::guest::instance::Instance;
use reseal::policy::Policy;
use serde_json::{Value, json};

/// Runs a tool; false, and a loud word, where it is missing.
fn tool(test: &str, name: &str, arguments: &[&str]) -> bool {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let mut command = Command::new(name);
    match command.args(arguments).env("PATH", path).env("MTOOLS_SKIP_CHECK", "1").stdin(Stdio::null()).output() {
        Ok(output) => {
            assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(error) => {
            support::skip(test, &format!("{name}: {error}"));
            false
        }
    }
}

/// A file system of one of the kinds in which config drives come, with these files; `None` where a tool is missing.
fn drive(test: &str, dir: &Path, kind: &str, label: &str, files: &[(&str, &str)]) -> Option<PathBuf> {
    let tree = dir.join("files");
    for (path, text) in files {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let (image, from) = (dir.join("drive.img"), tree.to_str().unwrap());
    let to = image.to_str().unwrap();
    let iso =
        |options: &[&str]| tool(test, "genisoimage", &[options, &["-quiet", "-V", label, "-o", to, from]].concat());
    let fat = |size: u64, options: &[&str]| {
        fs::File::create(&image).unwrap().set_len(size << 20).unwrap();
        let tops: Vec<String> =
            fs::read_dir(&tree).unwrap().map(|it| it.unwrap().path().display().to_string()).collect();
        let tops: Vec<&str> = tops.iter().map(String::as_str).collect();
        tool(test, "mkfs.fat", &[&["-n", label][..], options, &[to]].concat())
            && tool(test, "mcopy", &[&["-s", "-i", to][..], &tops, &["::"]].concat())
    };
    let made = match kind {
        "joliet" => iso(&["-J", "-r"]),
        "rock ridge" => iso(&["-r", "-iso-level", "3"]),
        "fat12" => fat(2, &["-F", "12"]),
        "fat16" => fat(16, &["-F", "16"]),
        "fat32" => fat(48, &["-F", "32", "-s", "1"]),
        _ => panic!("{kind}"),
    };
    // The most that a file of a guest may have; what is behind it is empty.
    let size = fs::metadata(&image).map_or(0, |meta| meta.len());
    if made && size > 16 << 20 {
        fs::OpenOptions::new().write(true).open(&image).unwrap().set_len(16 << 20).unwrap();
    }
    made.then_some(image)
}

const KINDS: [&str; 5] = ["joliet", "rock ridge", "fat12", "fat16", "fat32"];
const TOML: &[(&str, &str)] =
    &[("instance.toml", "hostname = \"web-1\"\n[[addresses]]\naddresses = [\"192.0.2.7/24\"]\n")];
const NO_CLOUD: &[(&str, &str)] = &[
    ("meta-data", "instance-id: i-1\nlocal-hostname: web-1\n"),
    (
        "network-config",
        "version: 2\nethernets:\n  id0:\n    match: {macaddress: '52:54:00:12:34:56'}\n    addresses: [192.0.2.7/24]\n",
    ),
    ("user-data", "#cloud-config\n"),
];
const OPENSTACK: &[(&str, &str)] = &[
    ("openstack/latest/meta_data.json", r#"{"uuid": "x", "hostname": "web-1", "name": "other"}"#),
    (
        "openstack/latest/network_data.json",
        r#"{"links": [{"id": "a", "ethernet_mac_address": "52:54:00:12:34:56"}],
            "networks": [{"link": "a", "type": "ipv4", "ip_address": "192.0.2.7", "netmask": "255.255.255.0"}]}"#,
    ),
];

/// A guest with a drive's image in it.
fn guest(image: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("etc")).unwrap();
    fs::write(dir.path().join("etc/hostname"), "tmpl\n").unwrap();
    fs::copy(image, dir.path().join("drive.img")).unwrap();
    dir
}

const SET: &str = "instance.drive=/drive.img";

fn inspect(root: &Path) -> Value {
    let mut reseal = Command::new(env!("CARGO_BIN_EXE_reseal"));
    reseal.arg("--root").arg(root).args(["--set", SET, "inspect", "--format", "json"]);
    let output = reseal.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_drive_in_every_file_system_is_read() {
    for (label, files) in [("RESEAL", TOML), ("cidata", NO_CLOUD), ("CIDATA", NO_CLOUD), ("config-2", OPENSTACK)] {
        for kind in KINDS {
            let dir = tempfile::tempdir().unwrap();
            // mkfs.fat warns of lower case, and does it.
            let Some(image) = drive("every_drive_in_every_file_system_is_read", dir.path(), kind, label, files) else {
                return;
            };
            let guest = guest(&image);
            let told = inspect(guest.path());
            let from = format!("the config drive /drive.img ({label})");
            assert_eq!(told["instance"]["hostname"], json!({"value": "web-1", "from": from}), "{kind}: {told:#}");
            let addresses = &told["instance"]["addresses"][0];
            assert_eq!(
                (&addresses["addresses"][0], &addresses["from"]),
                (&json!("192.0.2.7/24"), &json!(from)),
                "{kind}"
            );
            assert_eq!(told["findings"], json!([]), "{kind}");
        }
    }
}

#[test]
fn a_clone_is_named_by_its_drive() {
    let dir = tempfile::tempdir().unwrap();
    let Some(image) = drive("a_clone_is_named_by_its_drive", dir.path(), "joliet", "cidata", NO_CLOUD) else { return };
    let guest = guest(&image);
    let mut reseal = Command::new(env!("CARGO_BIN_EXE_reseal"));
    let output = reseal.arg("--root").arg(guest.path()).args(["--set", SET, "apply"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(guest.path().join("etc/hostname")).unwrap(), "web-1\n");
}

#[test]
fn what_is_malformed_on_a_drive_names_it_and_changes_nothing() {
    let test = "what_is_malformed_on_a_drive_names_it_and_changes_nothing";
    let large = "#".repeat(70_000);
    for (label, files, part) in [
        ("RESEAL", &[("instance.toml", "hostname = \"a b\"\n")][..], "(RESEAL): `instance`: a host name is made of"),
        ("RESEAL", &[("instance.toml", &large)], "(RESEAL): reading instance.toml: 70000 bytes"),
        ("RESEAL", &[("instance.toml/file", "x")], "(RESEAL): reading instance.toml: no plain file"),
        ("cidata", &[("meta-data", "local-hostname: $(reboot)\n")], "(cidata): meta-data: local-hostname: "),
        ("cidata", &[("meta-data", "a: &b c\nd: *b\n")], "(cidata): meta-data: line 1: an anchor"),
        ("cidata", &[("network-config", "version: 7\n")], "(cidata): network-config: line 1: no version"),
        ("config-2", &[("openstack/latest/meta_data.json", "{")], "(config-2): meta_data.json: EOF"),
        ("OTHER", TOML, "/drive.img is no config drive"),
    ] {
        for kind in ["joliet", "fat16"] {
            let dir = tempfile::tempdir().unwrap();
            let Some(image) = drive(test, dir.path(), kind, label, files) else { return };
            let guest = guest(&image);
            let mut reseal = Command::new(env!("CARGO_BIN_EXE_reseal"));
            let output = reseal.arg("--root").arg(guest.path()).args(["--set", SET, "apply"]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && said.contains(part), "{kind}: {said} has no {part}");
            assert_eq!(fs::read_to_string(guest.path().join("etc/hostname")).unwrap(), "tmpl\n");
        }
    }
}

/// Bytes of the file system's own are changed, thousands of times: the answer is one, or an error, and comes soon.
#[test]
fn a_damaged_drive_is_taken_calmly() {
    let policy = Policy::parse("policy", "[instance]\nsources = [\"drive\"]\ndrive = \"/drive.img\"\n").unwrap();
    for (number, kind) in KINDS.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let Some(image) = drive("a_damaged_drive_is_taken_calmly", dir.path(), kind, "RESEAL", TOML) else { return };
        let mut sound = fs::read(&image).unwrap();
        sound.truncate(2 << 20);
        let root = guest(&image);
        let guest = Guest::open(root.path()).unwrap();
        // Where there is anything at all, a byte of it is worth changing.
        let places: Vec<usize> = (0..sound.len()).filter(|at| sound[*at] != 0).collect();
        let mut dice = 0x5e5e_0001_u64 + number as u64;
        let mut roll = |sides: usize| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) as usize % sides
        };
        let mut answers = 0;
        for _ in 0..300 {
            let mut bad = sound.clone();
            for _ in 0..=roll(4) {
                let at = places[roll(places.len())];
                bad[at] = [0, 1, 0x7f, 0xff, roll(256) as u8][roll(5)];
            }
            if roll(8) == 0 {
                bad.truncate(roll(bad.len()));
            }
            fs::write(root.path().join("drive.img"), &bad).unwrap();
            let told = Instance::of(&guest, &policy.instance);
            assert!(told.hostname.is_none() || told.troubles.is_empty());
            answers += usize::from(told.hostname.is_some());
        }
        assert!(answers > 0, "{kind}: every change was noticed, so none was small");
    }
}
