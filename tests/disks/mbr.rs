// SPDX-License-Identifier: MIT OR Apache-2.0
//! The MBR: sfdisk(8) makes it and reads it back.

use std::fs;
use std::path::Path;

use reseal::disks::mbr::{plan, probe};
use reseal::disks::{Patch, Trouble};

use crate::rig;

const NEW: u32 = 0x7e5e_a1ed;

/// A disk of 8 MiB with an sfdisk script.
fn make(script: &str) -> Vec<u8> {
    let (dir, path) = rig::blank(8);
    let lines = dir.path().join("script");
    fs::write(&lines, script).unwrap();
    // sfdisk takes its script from standard input only.
    let shell = format!("sfdisk --quiet '{}' < '{}'", path.display(), lines.display());
    rig::told("sh", ["-c", &format!("PATH=$PATH:/usr/sbin:/sbin; {shell}")]);
    fs::read(path).unwrap()
}

fn renew(image: &[u8]) -> Result<Patch, Trouble> {
    plan(image, NEW)
}

/// A logical partition within an extended one.
const LOGICAL: &str = "label: dos
label-id: 0x01d00001
1 : start=2048, size=2048, type=83
2 : start=4096, size=8192, type=5
5 : start=6144, size=1024, type=83
";

#[test]
fn the_disk_has_the_old_or_the_new_signature_and_all_else_as_it_was() {
    if !rig::have("mbr", &["sfdisk", "blkid", "partx", "sh"]) {
        return;
    }
    for script in
        [LOGICAL, "label: dos\nlabel-id: 0x01d00001\n1 100 ef *\n", "label: dos\nlabel-id: 0x01d00001\n2048 + L\n"]
    {
        let image = make(script);
        let found = probe(&image[..]).unwrap().unwrap();
        assert_eq!((&*found.ids[0].value, found.refusal), ("01d00001", None));
        let partitions =
            |path: &Path| rig::told("partx", ["-g", "-o", "NR,START,SECTORS,TYPE", path.to_str().unwrap()]);
        let (_dir, path) = rig::blank(0);
        fs::write(&path, &image).unwrap();
        let before = partitions(&path);
        let whole = rig::cuts("mbr", &image, renew, |path, _| {
            assert_eq!(rig::blkid(path, "PTUUID"), "7e5ea1ed");
            assert_eq!(partitions(path), before);
        });
        fs::write(&path, &whole).unwrap();
        rig::told("sfdisk", ["--verify", path.to_str().unwrap()]);
        assert!((0..image.len()).all(|at| image[at] == whole[at] || (440..444).contains(&at)));
    }
}

#[test]
fn what_is_not_an_mbr_of_its_own_right_is_left_alone() {
    if !rig::have("mbr refused", &["sfdisk", "mkfs.fat", "sh"]) {
        return;
    }
    let gpt = make("label: gpt\n2048 2048\n");
    assert_eq!(probe(&gpt[..]).unwrap(), None);
    assert!(renew(&gpt).is_err());
    let mut lost = make(LOGICAL);
    lost[512..1024].copy_from_slice(&gpt[512..1024]);
    assert!(matches!(renew(&lost), Err(Trouble::Refused(why)) if why.contains("GPT")));

    let (_dir, path) = rig::blank(8);
    rig::told("mkfs.fat", [path.to_str().unwrap()]);
    let fat = fs::read(path).unwrap();
    assert_eq!(probe(&fat[..]).unwrap(), None);
    assert!(renew(&fat).is_err());

    let image = make(LOGICAL);
    assert!(matches!(plan(&image[..], 0), Err(Trouble::Refused(_))));
    let mut guarded = image.clone();
    guarded[444..446].fill(0x5a);
    assert!(matches!(renew(&guarded), Err(Trouble::Refused(_))));
    // The second partition begins within the first, ends beyond the disk, is empty; the first is an extended one too.
    for (at, value) in [(470, 3000), (474, u32::MAX), (474, 0), (450, 5)] {
        let mut broken = image.clone();
        let number = u32::to_le_bytes(value);
        let length = if at == 450 { 1 } else { 4 };
        broken[at..at + length].copy_from_slice(&number[..length]);
        assert!(matches!(renew(&broken), Err(Trouble::Damaged(_))), "{at}");
        assert!(probe(&broken[..]).unwrap().unwrap().refusal.is_some());
    }
    for at in [510, 511, 446, 462] {
        let mut broken = image.clone();
        broken[at] ^= 2;
        assert!(renew(&broken).is_err(), "{at}");
    }
    rig::garbage(&image, 0..512, |image| (renew(image).is_err(), probe(image).is_err()));
}
