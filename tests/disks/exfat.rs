// SPDX-License-Identifier: MIT OR Apache-2.0
//! exFAT: mkfs.exfat(8) makes it, fsck.exfat(8) judges.

use std::fs;

use reseal::disks::exfat::{plan, probe};
use reseal::disks::{Patch, Trouble};

use crate::rig;

const NEW: u32 = 0x7e5e_a1ed;
const TOOLS: [&str; 4] = ["mkfs.exfat", "fsck.exfat", "exfatlabel", "blkid"];

fn renew(image: &[u8]) -> Result<Patch, Trouble> {
    plan(image, NEW)
}

fn make(mebibytes: u64, options: &[&str]) -> Vec<u8> {
    let (_dir, path) = rig::blank(mebibytes);
    let text = path.to_str().unwrap();
    rig::told("mkfs.exfat", ["-L", "alabel"].iter().chain(options).chain([&text]));
    rig::told("exfatlabel", ["-i", text, "0x01d00001"]);
    fs::read(path).unwrap()
}

/// As `exfat_verify_boot_region` in fs/exfat/super.c, for the region whose first sector is `first`.
fn valid(image: &[u8], first: usize) -> bool {
    let unit = 1 << image[108];
    let mut sum = 0u32;
    for (at, byte) in image[first * unit..(first + 11) * unit].iter().enumerate() {
        if ![106, 107, 112].contains(&at) {
            sum = sum.rotate_right(1).wrapping_add(u32::from(*byte));
        }
    }
    image[(first + 11) * unit..(first + 12) * unit].chunks_exact(4).all(|number| number == sum.to_le_bytes())
}

#[test]
fn one_region_is_valid_after_every_cut() {
    if !rig::have("exfat", &TOOLS) {
        return;
    }
    for (mebibytes, options) in [(8, &[][..]), (16, &["-c", "4096"]), (64, &["-c", "131072", "-b", "1M"])] {
        let image = make(mebibytes, options);
        let found = probe(&image[..]).unwrap().unwrap();
        assert_eq!((&*found.ids[0].value, found.refusal), ("01D0-0001", None));
        let whole = rig::cuts(&format!("exfat {options:?}"), &image, renew, |path, now| {
            assert!(valid(now, 0) || valid(now, 12));
            let id = probe(now).unwrap().unwrap().ids.remove(0).value;
            assert!(["01D0-0001", "7E5E-A1ED"].contains(&&*id));
            if valid(now, 0) {
                assert_eq!(rig::blkid(path, "UUID"), id);
                rig::told("fsck.exfat", ["-n", path.to_str().unwrap()]);
            } else {
                // The vendor's own repair, on a copy, goes on from the backup.
                let (_dir, copy) = rig::blank(0);
                fs::copy(path, &copy).unwrap();
                rig::tool("fsck.exfat", ["-y", copy.to_str().unwrap()]);
                rig::told("fsck.exfat", ["-n", copy.to_str().unwrap()]);
                assert_eq!(rig::blkid(&copy, "UUID"), "7E5E-A1ED");
            }
        });
        assert!(valid(&whole, 0) && valid(&whole, 12));
        let (_dir, path) = rig::blank(0);
        fs::write(&path, &whole).unwrap();
        let said = rig::told("fsck.exfat", ["-n", path.to_str().unwrap()]);
        assert!(said.contains("clean"), "{said}");
        assert_eq!((rig::blkid(&path, "UUID"), rig::blkid(&path, "LABEL")), ("7E5E-A1ED".into(), "alabel".into()));
        // Only the serial numbers and the checksum sectors are other.
        let unit = 1 << image[108];
        let allowed = |at: usize| (100..104).contains(&(at % (12 * unit))) || at / unit == 11 || at / unit == 23;
        assert!((0..image.len()).all(|at| image[at] == whole[at] || allowed(at)));
    }
}

#[test]
fn another_machine_goes_on_from_a_change_that_was_cut() {
    if !rig::have("exfat again", &TOOLS) {
        return;
    }
    let image = make(8, &[]);
    let first = plan(&image[..], 0x01d0_0002).unwrap();
    let cut = rig::patched(&image, &Patch { batches: first.batches[..1].to_vec() });
    let whole = rig::cuts("exfat, then another number", &cut, renew, |_, now| assert!(valid(now, 0) || valid(now, 12)));
    assert!(whole == rig::patched(&image, &renew(&image).unwrap()));
}

#[test]
fn what_is_not_sound_is_left_alone() {
    if !rig::have("exfat bad", &TOOLS) {
        return;
    }
    let image = make(8, &[]);
    assert!(matches!(plan(&image[..], 0), Err(Trouble::Refused(_))));
    let unit = 1 << image[108];
    for first in [0, 12 * unit] {
        let uncounted = |at: usize| [106, 107, 112].contains(&(at - first));
        rig::flips("exfat boot sector", &image, first..first + 512, renew, uncounted);
        rig::flips("exfat checksum", &image, first + 11 * unit..first + 12 * unit, renew, |_| false);
    }
    rig::truncations("exfat", &image, renew);
    rig::garbage(&image, 0..512, |image| (renew(image).is_err(), probe(image).is_err()));
}
