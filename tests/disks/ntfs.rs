// SPDX-License-Identifier: MIT OR Apache-2.0
//! NTFS: mkntfs(8) makes it, ntfscp(8) fills it, ntfsfix(8) and ntfscat(8) judge.

use std::fs;
use std::path::{Path, PathBuf};

use reseal::disks::ntfs::{plan, probe};
use reseal::disks::{Patch, Trouble};
use tempfile::TempDir;

use crate::rig;

const NEW: u64 = 0x7e5e_a1ed_0000_0002;
const TOOLS: [&str; 5] = ["mkntfs", "ntfscp", "ntfscat", "ntfsfix", "blkid"];

fn renew(image: &[u8]) -> Result<Patch, Trouble> {
    plan(image, NEW)
}

fn make(options: &[&str]) -> (TempDir, PathBuf, Vec<PathBuf>) {
    let (dir, path) = rig::blank(16);
    let text = path.to_str().unwrap();
    rig::told("mkntfs", ["-q", "-F", "-Q", "-L", "a label"].iter().chain(options).chain([&text]));
    let files = rig::content(dir.path());
    for file in &files {
        rig::told("ntfscp", ["-f", text, file.to_str().unwrap(), file.file_name().unwrap().to_str().unwrap()]);
    }
    (dir, path, files)
}

fn opens(path: &Path, files: &[PathBuf]) {
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let output = rig::tool("ntfscat", ["-f", path.to_str().unwrap(), name]);
        assert!(output.stdout == fs::read(file).unwrap(), "{name} changed: {output:?}");
    }
}

#[test]
fn both_boot_sectors_open_after_every_cut() {
    if !rig::have("ntfs", &TOOLS) {
        return;
    }
    for options in [&[][..], &["-c", "512"], &["-c", "65536"], &["-s", "4096"]] {
        let (_dir, path, files) = make(options);
        let image = fs::read(&path).unwrap();
        let found = probe(&image[..]).unwrap().unwrap();
        let old = rig::blkid(&path, "UUID");
        assert_eq!((&found.ids[0].value, found.refusal), (&old, None));
        let whole = rig::cuts(&format!("ntfs {options:?}"), &image, renew, |path, _| {
            assert!([&*old, "7E5EA1ED00000002"].contains(&&*rig::blkid(path, "UUID")));
            opens(path, &files);
        });
        fs::write(&path, &whole).unwrap();
        rig::told("ntfsfix", ["-n", path.to_str().unwrap()]);
        assert_eq!(
            (rig::blkid(&path, "UUID"), rig::blkid(&path, "LABEL")),
            ("7E5EA1ED00000002".into(), "a label".into())
        );
        opens(&path, &files);
        let changed = (0..image.len()).filter(|at| image[*at] != whole[*at]);
        assert!(changed.into_iter().all(|at| (72..80).contains(&(at % 512))));
    }
}

#[test]
fn what_is_not_sound_is_left_alone() {
    if !rig::have("ntfs bad", &TOOLS) {
        return;
    }
    let (_dir, path, _) = make(&[]);
    let image = fs::read(&path).unwrap();
    assert!(matches!(plan(&image[..], 0), Err(Trouble::Refused(_))));
    // What only a BIOS asks for may be anything.
    rig::flips("ntfs boot sector", &image, 3..72, renew, |at| (24..36).contains(&at));
    let last = image.len() - 512;
    rig::flips("ntfs copy", &image, last + 3..last + 72, renew, |at| (24..36).contains(&(at - last)));
    rig::truncations("ntfs", &image, renew);
    rig::garbage(&image, 0..80, |image| (renew(image).is_err(), probe(image).is_err()));
}
