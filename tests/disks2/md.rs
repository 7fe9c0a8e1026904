// SPDX-License-Identifier: MIT OR Apache-2.0
//! Software RAID, judged by mdadm(8). Making an array takes the kernel's driver, so the superblocks are built here.

use reseal::disks::md::{plan_all, probe};
use reseal::disks::{self, Format, Id, Patch, Trouble};
use uuid::Uuid;

use crate::rig::{self, Image, run};

const SIZE: u64 = 16 << 20;

/// The sum that both versions have.
fn sum(bytes: &[u8]) -> u32 {
    let sum: u64 = bytes.chunks(4).map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))).sum();
    (sum as u32).wrapping_add((sum >> 32) as u32)
}

fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn bitmap(version: &str, uuid: Uuid) -> Vec<u8> {
    let mut bitmap = vec![0; 4096];
    set(&mut bitmap, 0, b"bitm");
    set(&mut bitmap, 4, &4_u32.to_le_bytes());
    set(&mut bitmap, 8, &stored(version, uuid));
    set(&mut bitmap, 24, &17_u64.to_le_bytes());
    set(&mut bitmap, 32, &17_u64.to_le_bytes());
    set(&mut bitmap, 40, &16384_u64.to_le_bytes());
    set(&mut bitmap, 52, &(64_u32 << 20).to_le_bytes());
    set(&mut bitmap, 56, &5_u32.to_le_bytes());
    bitmap
}

fn stored(version: &str, uuid: Uuid) -> [u8; 16] {
    let mut bytes = *uuid.as_bytes();
    if version == "0.90" {
        bytes.chunks_mut(4).for_each(<[u8]>::reverse);
    }
    bytes
}

/// A mirror of two members and a spare.
fn make(directory: &tempfile::TempDir, version: &str) -> Vec<Image> {
    let array = rig::fresh();
    let member = |number: u32| {
        let image = Image::new(directory.path(), &format!("{version}-{number}"), SIZE);
        let offset = match version {
            "1.1" => 0,
            "1.2" => 4096,
            "1.0" => SIZE - 8192,
            _ => SIZE - 65536,
        };
        let mut sb = vec![0; 4096];
        set(&mut sb, 0, &0xa92b_4efc_u32.to_le_bytes());
        if version == "0.90" {
            set(&mut sb, 8, &90_u32.to_le_bytes());
            let words: [(usize, u32); 9] =
                [(6, 1_700_000_000), (7, 1), (8, 16320), (9, 3), (10, 2), (33, 0x101), (34, 2), (35, 3), (37, 1)];
            for (word, value) in words.into_iter().chain([(39, 17), (41, 17), (43, u32::MAX)]) {
                set(&mut sb, 4 * word, &value.to_le_bytes());
            }
            let stored = stored(version, array);
            set(&mut sb, 20, &stored[..4]);
            set(&mut sb, 52, &stored[4..]);
            for disk in 0..3_u32 {
                let state = if disk < 2 { 6_u32 } else { 0 };
                let entry: Vec<u8> = [disk, 7, disk, disk, state].iter().flat_map(|word| word.to_le_bytes()).collect();
                set(&mut sb, 512 + 128 * disk as usize, &entry);
                if disk == number {
                    set(&mut sb, 3968, &entry);
                }
            }
            let checksum = sum(&sb);
            set(&mut sb, 152, &checksum.to_le_bytes());
        } else {
            for (at, value) in [(4, 1_u32), (8, 1), (72, 1), (92, 2), (96, 8), (160, number), (220, 130)] {
                set(&mut sb, at, &value.to_le_bytes());
            }
            set(&mut sb, 16, array.as_bytes());
            set(&mut sb, 32, b"golden:root");
            let (begins, length) = if version == "1.0" { (0, 16384) } else { (2048, 30720) };
            let long: [(usize, u64); 8] = [
                (64, 1_700_000_000),
                (80, 16384),
                (128, begins),
                (136, length),
                (144, offset / 512),
                (192, 1_700_000_000),
                (200, 17),
                (208, u64::MAX),
            ];
            for (at, value) in long {
                set(&mut sb, at, &value.to_le_bytes());
            }
            set(&mut sb, 168, rig::fresh().as_bytes());
            set(&mut sb, 256, &[0xff; 260]);
            set(&mut sb, 256, &[0, 0, 1, 0]);
            let checksum = sum(&sb[..256 + 260]);
            set(&mut sb, 216, &checksum.to_le_bytes());
        }
        image.put(offset, &sb);
        image.put(offset + 4096, &bitmap(version, array));
        image
    };
    (0..3).map(member).collect()
}

/// As mdadm writes it.
fn words(uuid: Uuid) -> String {
    let hex = uuid.simple().to_string();
    [&hex[..8], &hex[8..16], &hex[16..24], &hex[24..]].join(":")
}

#[test]
fn every_version_completes_from_every_cut() {
    let test = "md::versions";
    if !rig::have(test, &["mdadm", "blkid"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    for version in ["1.0", "1.1", "1.2", "0.90"] {
        let images = make(&directory, version);
        let old: Uuid = probe(&images[0]).unwrap().unwrap().ids[0].value.parse().unwrap();
        let (new, members) = (rig::fresh(), [rig::fresh(), rig::fresh(), rig::fresh()]);
        let id = |name: &str, value: Uuid| Id { name: name.into(), value: value.to_string() };
        let mut ids = members.map(|member| vec![id("uuid", new), id("uuid-sub", member)]);
        if version == "0.90" {
            ids.iter_mut().for_each(|ids| ids.truncate(1));
        }
        let plans = |images: &[Image]| disks::plan_all(&images.iter().collect::<Vec<_>>(), Format::Md, &ids).unwrap();
        let group = probe(&images[0]).unwrap().unwrap().group.unwrap();
        assert_eq!(group.members, 2);
        let examined = |image: &Image, ended: bool| {
            let examined = run("mdadm", &["--examine", image.arg()]);
            // With a bitmap of another UUID mdadm takes the feature away before it adds up.
            assert!(!ended || examined.contains("- correct"), "{version}: {examined}");
            [old, new].into_iter().find(|uuid| examined.contains(&words(*uuid))).expect("neither id")
        };
        // One member at each fourth cut; planning checks them all.
        let mut cut = 0;
        count += rig::cut_everywhere(&images, plans, |images, _| {
            for image in images {
                assert_eq!(probe(image).unwrap().unwrap().group.as_ref(), Some(&group));
            }
            cut += 1;
            if cut % 4 == 0 {
                examined(&images[cut / 4 % 3], false);
            }
        });
        for (image, member) in images.iter().zip(members) {
            assert_eq!(examined(image, true), new);
            assert_eq!(rig::blkid(image, "UUID"), new.to_string());
            let found = probe(image).unwrap().unwrap();
            assert_eq!(found.variant, version);
            assert_eq!(found.ids[0].value, new.to_string());
            if version != "0.90" {
                assert_eq!(rig::blkid(image, "UUID_SUB"), member.to_string());
                assert_eq!(found.label.as_deref(), Some("golden:root"));
            }
            // mdadm examines bitmaps on block devices only.
            let at = match version {
                "1.1" => 0,
                "1.2" => 4096,
                "1.0" => SIZE - 8192,
                _ => SIZE - 65536,
            };
            assert_eq!(image.get(at + 4096, 4096), bitmap(version, new), "{version}");
        }
    }
    rig::report("md", count);
}

#[test]
fn what_is_not_plain_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let new = rig::fresh();
    let refused = |images: &[&Image], word: &str| {
        let refused = plan_all(images, new, &[]);
        assert!(matches!(&refused, Err(Trouble::Refused(why)) if why.contains(word)), "{refused:?}");
    };
    for version in ["1.2", "0.90"] {
        let [a, b, c] = &make(&directory, version)[..] else { panic!() };
        refused(&[a], "missing");
        refused(&[a, c], "missing");
        refused(&[a, a, b], "twice");
        plan_all(&[a, b], new, &[]).unwrap();
        assert!(plan_all(&[a, b], new, &[new]).is_err());
        let uuid = |value: Uuid| vec![Id { name: "uuid".into(), value: value.to_string() }];
        assert!(disks::plan_all(&[a, b], Format::Md, &[uuid(new), uuid(rig::fresh())]).is_err());
        assert!(disks::plan_all(&[a, b], Format::Md, &[uuid(new)]).is_err());
        assert!(disks::plan_all::<Image>(&[], Format::Md, &[]).is_err());
        assert!(disks::plan_all(&[a, b], Format::Ext, &[uuid(new), uuid(new)]).is_err());
        let other = &make(&tempfile::tempdir_in(directory.path()).unwrap(), version)[1];
        refused(&[a, other], "more than one");
        let at = if version == "1.2" { 4096 } else { SIZE - 65536 };
        let needed = if version == "1.2" { 2048 * 512 + 30720 * 512 } else { SIZE };
        rig::spoil(a, &[(at, 256), (at + 512, 4)], true, needed, |blocks| {
            probe(blocks)?.map(|_| Patch::default()).ok_or_else(|| Trouble::Damaged(String::new()))
        });
        rig::spoil(a, &[(at, 4096)], false, needed, |blocks| {
            plan_all(&[blocks], new, &[]).and_then(|_| Err(Trouble::Damaged(String::new())))
        });
        // A reshape under way, its superblock otherwise sound.
        let reshaped = a.copy("reshaped");
        let mut sb = reshaped.get(at, 4096);
        let (field, flags, length, checksum) = if version == "1.2" { (8, 5_u32, 516, 216) } else { (8, 91, 4096, 152) };
        set(&mut sb, field, &flags.to_le_bytes());
        set(&mut sb, checksum, &[0; 4]);
        let sum = sum(&sb[..length]);
        set(&mut sb, checksum, &sum.to_le_bytes());
        reshaped.put(at, &sb);
        refused(&[&reshaped, b], "reshaped");
        assert!(probe(&reshaped).unwrap().unwrap().refusal.unwrap().contains("reshaped"));
        if version == "1.2" {
            // A bitmap in the last sector of the superblock, under its checksum.
            let inside = a.copy("inside");
            inside.put(at + 7 * 512, &inside.get(at + 4096, 512));
            let mut sb = inside.get(at, 4096);
            set(&mut sb, 96, &7_u32.to_le_bytes());
            set(&mut sb, 216, &[0; 4]);
            let sum = self::sum(&sb[..516]);
            set(&mut sb, 216, &sum.to_le_bytes());
            inside.put(at, &sb);
            assert!(matches!(probe(&inside), Err(Trouble::Damaged(why)) if why.contains("bitmap")));
        }
    }
    assert!(probe(&Image::new(directory.path(), "empty", 1 << 20)).unwrap().is_none());
}
