// SPDX-License-Identifier: MIT OR Apache-2.0
//! bcache, judged by bcache-super-show(8). What a kernel would have done to a superblock is built here.

use reseal::disks::bcache::{plan, probe};
use reseal::disks::{Patch, Trouble, crc};

use crate::rig::{self, Image, run};

const SIZE: u64 = 128 << 20;

/// Offsets in the superblock, and what stands there.
type Fields<'a> = &'a [(usize, &'a [u8])];

/// Sets bytes in the superblock, under a checksum that is right.
fn set(image: &Image, fields: Fields<'_>) {
    let mut superblock = image.get(4096, 4096);
    for (at, value) in fields {
        superblock[*at..*at + value.len()].copy_from_slice(value);
    }
    let keys = usize::from(u16::from_le_bytes([superblock[206], superblock[207]]));
    let sum = crc::crc64(&superblock[8..208 + 8 * keys]);
    superblock[..8].copy_from_slice(&sum.to_le_bytes());
    image.put(4096, &superblock);
}

/// The UUIDs of the device and its set.
fn shown(image: &Image) -> [String; 2] {
    let text = run("bcache-super-show", &[image.arg()]);
    assert_eq!(text.matches("[match]").count(), 2, "{text}");
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    [value("dev.uuid"), value("cset.uuid")]
}

#[test]
fn every_kind_of_device_is_old_or_new_at_every_cut() {
    let test = "bcache::cuts";
    if !rig::have(test, &["make-bcache", "bcache-super-show", "blkid"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let state = |state: u64| state << 61;
    let (clean, stale) = (state(1).to_le_bytes(), state(3).to_le_bytes());
    let writeback = (state(1) | 1).to_le_bytes();
    let buckets: Vec<u8> = (1..65_u64).flat_map(u64::to_le_bytes).collect();
    let offset = 64_u64.to_le_bytes();
    let mut count = 0;
    let variants: [(&str, &[&str], Fields<'_>); 11] = [
        ("detached", &["-B"], &[]),
        ("offset", &["-B", "-o", "2048"], &[]),
        ("block", &["-B", "-w", "4k"], &[]),
        ("attached", &["-B"], &[(104, &clean)]),
        ("writeback", &["-B", "--writeback"], &[(104, &writeback)]),
        ("stale", &["-B"], &[(104, &stale), (72, b"golden")]),
        ("backing with features", &["-B", "-o", "2048"], &[(16, &[6]), (184, &offset)]),
        ("cache", &["-C"], &[]),
        ("cache of small buckets", &["-C", "-b", "64k", "--discard"], &[]),
        ("cache in use", &["-C"], &[(16, &[3]), (206, &[64, 0]), (208, &buckets), (104, &[1])]),
        ("cache with features", &["-C"], &[(16, &[5])]),
    ];
    for (name, options, fields) in variants {
        let image = Image::new(directory.path(), name, SIZE);
        run("make-bcache", &[options, &[image.arg()]].concat());
        set(&image, fields);
        let before = shown_or_found(&image);
        let new = rig::fresh();
        let images = [image];
        count += rig::cut_everywhere(
            &images,
            |images| vec![plan(&images[0], new).unwrap()],
            |images, _| {
                let now = shown_or_found(&images[0]);
                assert!(now[0] == before[0] || now[0] == new.to_string());
                assert_eq!(now[1], before[1]);
            },
        );
        assert_eq!(shown_or_found(&images[0]), [new.to_string(), before[1].clone()]);
        assert_eq!(rig::blkid(&images[0], "UUID"), new.to_string());
        let found = probe(&images[0]).unwrap().unwrap();
        assert_eq!((found.refusal, found.group), (None, None));
        assert_eq!(found.ids[0].value, new.to_string());
        assert_eq!(found.label.is_some(), name == "stale");
        let attached = fields.iter().any(|(at, _)| *at == 104);
        assert_eq!(found.ids.len(), if attached || options[0] == "-C" { 2 } else { 1 }, "{name}");
    }
    rig::report("bcache, 11 variants", count);
}

/// As the tool shows it; versions with features are newer than Debian's.
fn shown_or_found(image: &Image) -> [String; 2] {
    if image.get(4096 + 16, 1)[0] < 5 {
        return shown(image);
    }
    let uuid = |at: u64| uuid::Uuid::from_slice(&image.get(4096 + at, 16)).unwrap().to_string();
    [uuid(40), uuid(56)]
}

#[test]
fn what_is_not_plain_is_left_alone() {
    let test = "bcache::bad";
    if !rig::have(test, &["make-bcache"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let new = rig::fresh();
    for kind in ["-B", "-C"] {
        let image = Image::new(directory.path(), "sound", SIZE);
        run("make-bcache", &[kind, image.arg()]);
        let keys = usize::from(image.get(4096 + 206, 1)[0]);
        // A backing device may have any size that holds the superblock.
        let whole = |blocks: &rig::Spoilt<'_>| {
            if kind == "-B" && (8193..SIZE).contains(&blocks.size) {
                return Err(Trouble::Damaged(String::new()));
            }
            plan(blocks, new)
        };
        rig::spoil(&image, &[(4096, 24), (4096 + 24, 184 + 8 * keys as u64)], true, SIZE, whole);
        rig::spoil(&image, &[(4096, 512)], false, SIZE, whole);
        assert_eq!(
            plan(&image, probe(&image).unwrap().unwrap().ids[0].value.parse().unwrap()).unwrap(),
            Patch::default()
        );
        assert!(plan(&image, uuid::Uuid::nil()).is_err());
    }
    let dirty = Image::new(directory.path(), "dirty", SIZE);
    run("make-bcache", &["-B", dirty.arg()]);
    set(&dirty, &[(104, &(2_u64 << 61).to_le_bytes())]);
    assert!(matches!(plan(&dirty, new), Err(Trouble::Refused(why)) if why.contains("not on it yet")));
    assert!(probe(&dirty).unwrap().unwrap().refusal.is_some());
    set(&dirty, &[(104, &[0; 8]), (16, &[7])]);
    assert!(matches!(plan(&dirty, new), Err(Trouble::Refused(why)) if why.contains("version 7")));
    assert!(probe(&Image::new(directory.path(), "empty", 1 << 20)).unwrap().is_none());
}
