// SPDX-License-Identifier: MIT OR Apache-2.0
//! FAT: mkfs.fat(8) makes it, mtools fill and read it, fsck.fat(8) judges.

use std::fs;
use std::path::{Path, PathBuf};

use reseal::disks::fat::{plan, probe};
use reseal::disks::{Patch, Trouble};
use tempfile::TempDir;

use crate::rig;

const NEW: u32 = 0x7e5e_a1ed;
const TOOLS: [&str; 4] = ["mkfs.fat", "fsck.fat", "mcopy", "blkid"];

/// A filled volume, and what was put into it.
fn make(mebibytes: u64, options: &[&str]) -> (TempDir, PathBuf, Vec<PathBuf>) {
    let (dir, path) = rig::blank(mebibytes);
    let text = path.to_str().unwrap();
    rig::told("mkfs.fat", ["-i", "01d00001", "-n", "A LABEL"].iter().chain(options).chain([&text]));
    let files = rig::content(dir.path());
    for file in &files {
        rig::told("mcopy", ["-i", text, file.to_str().unwrap(), "::"]);
    }
    (dir, path, files)
}

fn renew(image: &[u8]) -> Result<Patch, Trouble> {
    plan(image, NEW)
}

fn sound(path: &Path, files: &[PathBuf]) {
    let text = path.to_str().unwrap();
    let said = rig::told("fsck.fat", ["-n", text]);
    assert!(said.lines().count() <= 2, "{said}");
    assert_eq!(rig::blkid(path, "UUID"), "7E5E-A1ED");
    assert_eq!(rig::blkid(path, "LABEL"), "A LABEL");
    let out = tempfile::tempdir().unwrap();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let copy = out.path().join(name);
        rig::told("mcopy", ["-i", text, &format!("::{name}"), copy.to_str().unwrap()]);
        assert!(fs::read(&copy).unwrap() == fs::read(file).unwrap(), "{name} changed");
    }
}

#[test]
fn every_fat_opens_after_every_cut() {
    if !rig::have("fat", &TOOLS) {
        return;
    }
    let variants: [(&str, u64, &[&str]); 7] = [
        ("FAT12", 4, &["-F12"]),
        ("FAT16", 16, &["-F16"]),
        ("FAT32", 64, &["-F32"]),
        ("FAT32", 36, &["-F32", "-s1", "-f1"]),
        ("FAT32", 64, &["-F32", "-b", "4", "-R", "64"]),
        ("FAT16", 32, &["-F16", "-S4096", "-s1"]),
        ("FAT32", 300, &["-F32", "-S4096", "-s1"]),
    ];
    for (variant, mebibytes, options) in variants {
        let (_dir, path, files) = make(mebibytes, options);
        let image = fs::read(&path).unwrap();
        let found = probe(&image[..]).unwrap().unwrap();
        assert_eq!((&*found.variant, &*found.ids[0].value, found.refusal), (variant, "01D0-0001", None));
        assert_eq!(rig::blkid(&path, "VERSION"), variant);
        let whole = rig::cuts(&format!("{variant} {options:?}"), &image, renew, |path, _| {
            assert!(["01D0-0001", "7E5E-A1ED"].contains(&&*rig::blkid(path, "UUID")));
            let done = rig::tool("fsck.fat", ["-n", path.to_str().unwrap()]);
            let said = String::from_utf8_lossy(&done.stdout).into_owned();
            assert!(done.status.success() || said.contains("mostly harmless"), "{said}");
        });
        fs::write(&path, whole).unwrap();
        sound(&path, &files);
    }
}

#[test]
fn what_is_not_sound_is_left_alone() {
    if !rig::have("fat bad", &TOOLS) {
        return;
    }
    let (_dir, path, _) = make(36, &["-F32", "-s1"]);
    let image = fs::read(&path).unwrap();
    assert!(matches!(plan(&image[..], 0), Err(Trouble::Refused(_))));
    // Any field that says where something is differs from the copy once a bit of it is turned.
    rig::flips("FAT32 boot sector", &image, 11..52, renew, |_| false);
    rig::flips("FAT32 copy", &image, 3072 + 11..3072 + 52, renew, |_| false);
    for at in [66, 510, 3072 + 66, 3072 + 510] {
        let mut broken = image.clone();
        broken[at] ^= 0xff;
        assert!(renew(&broken).is_err(), "{at}");
    }
    rig::truncations("FAT32", &image, renew);
    rig::garbage(&image, 0..90, |image| (renew(image).is_err(), probe(image).is_err()));

    let (_dir, path, _) = make(16, &["-F16"]);
    let image = fs::read(&path).unwrap();
    rig::truncations("FAT16", &image, renew);
    rig::garbage(&image, 0..90, |image| (renew(image).is_err(), probe(image).is_err()));
    for (at, value) in [(11, 0u16), (11, 513), (14, 0), (14, 0xffff), (22, 1), (510, 0)] {
        let mut broken = image.clone();
        broken[at..at + 2].copy_from_slice(&value.to_le_bytes());
        assert!(renew(&broken).is_err(), "{at}: {value}");
    }
}
