// SPDX-License-Identifier: MIT OR Apache-2.0
//! Swap space: mkswap(8) makes it, blkid(8) judges.

use std::fs;

use reseal::disks::swap::{plan, probe};
use reseal::disks::{Patch, Trouble};
use uuid::Uuid;

use crate::rig;

const OLD: Uuid = Uuid::from_u128(0x01d0_0000_0000_4000_8000_0000_0000_0001);
const NEW: Uuid = Uuid::from_u128(0x7e50_0000_0000_4000_8000_0000_0000_0002);

fn make(page: usize, big_endian: bool) -> Vec<u8> {
    let (_dir, path) = rig::blank(2);
    let (page, old) = (page.to_string(), OLD.to_string());
    let text = path.to_str().unwrap();
    rig::told("mkswap", ["-U", &old, "-L", "a label", "-p", &page, text]);
    let mut image = fs::read(path).unwrap();
    if big_endian {
        // mkswap has an option for this since util-linux 2.39: version, last page, number of bad pages.
        image[1024..1036].chunks_exact_mut(4).for_each(<[u8]>::reverse);
    }
    image
}

fn renew(image: &[u8]) -> Result<Patch, Trouble> {
    plan(image, NEW)
}

#[test]
fn swap_of_every_page_size_has_the_old_or_the_new_uuid() {
    if !rig::have("swap", &["mkswap", "blkid"]) {
        return;
    }
    for page in [4096, 8192, 16384, 32768, 65536] {
        for big_endian in [false, true] {
            let image = make(page, big_endian);
            let found = probe(&image[..]).unwrap().unwrap();
            assert_eq!(
                (&*found.ids[0].value, found.label, found.refusal),
                (&*OLD.to_string(), Some("a label".into()), None)
            );
            let whole =
                rig::cuts(&format!("swap, pages of {page}, big-endian {big_endian}"), &image, renew, |path, _| {
                    assert_eq!(rig::blkid(path, "UUID"), NEW.to_string());
                });
            let (_dir, path) = rig::blank(0);
            fs::write(&path, &whole).unwrap();
            assert_eq!(rig::blkid(&path, "TYPE"), "swap");
            assert_eq!(rig::blkid(&path, "LABEL"), "a label");
            let changed: Vec<usize> = (0..image.len()).filter(|at| image[*at] != whole[*at]).collect();
            assert!(changed.iter().all(|at| (1036..1052).contains(at)));
        }
    }
}

#[test]
fn a_hibernated_or_damaged_swap_is_left_alone() {
    if !rig::have("swap refused", &["mkswap"]) {
        return;
    }
    let image = make(4096, false);
    for (signature, word) in [("S1SUSPEND\0", "hibernated"), ("LINHIB0001", "hibernated"), ("SWAP-SPACE", "version 0")]
    {
        let mut other = image.clone();
        other[4086..4096].copy_from_slice(signature.as_bytes());
        assert!(matches!(renew(&other), Err(Trouble::Refused(why)) if why.contains(word)));
        assert!(probe(&other[..]).unwrap().unwrap().refusal.is_some());
    }
    assert!(matches!(plan(&image[..], Uuid::nil()), Err(Trouble::Refused(_))));
    rig::flips("swap signature", &image, 4086..4096, renew, |_| false);
    rig::flips("swap version", &image, 1024..1028, renew, |_| false);
    for (at, value) in [(1028, 0), (1028, u32::MAX), (1028, 512), (1032, u32::MAX), (1032, 639)] {
        let mut other = image.clone();
        other[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
        assert!(matches!(renew(&other), Err(Trouble::Damaged(_))), "{at}: {value}");
    }
    rig::truncations("swap", &image, renew);
    rig::garbage(&image, 1024..4096, |image| (renew(image).is_err(), probe(image).is_err()));
}
