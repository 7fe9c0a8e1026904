// SPDX-License-Identifier: MIT OR Apache-2.0
//! Formats that are only recognised: images of their own tools, and built ones, judged by blkid(8); and whether what is
//! said to change their ids does.

use std::io::Write as _;
use std::process::{Command, Stdio};

use reseal::disks::foreign::{Foreign, probe};
use reseal::disks::{self, Format};

use crate::rig::{self, Image, run};

fn found(image: &Image) -> Foreign {
    probe(image).unwrap().unwrap()
}

/// As blkid has it, too.
fn seen(image: &Image, name: &str, kind: &str) -> String {
    let foreign = found(image);
    assert_eq!((foreign.name.as_str(), rig::blkid(image, "TYPE").as_str()), (name, kind));
    assert_eq!(foreign.id.clone().unwrap_or_default(), rig::blkid(image, "UUID"), "{name}");
    foreign.id.unwrap_or_default()
}

/// Runs a tool that asks whether one is sure.
fn assent(program: &str, arguments: &[&str]) {
    let script = format!("yes | {program} {} >/dev/null 2>&1", arguments.join(" "));
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    assert!(command.status().unwrap().success(), "{script}");
}

#[test]
fn images_of_the_vendors_tools_are_recognised_and_their_remedies_work() {
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::copy("/bin/sh", files.join("sh")).unwrap();
    let files = files.to_str().unwrap();
    let new = rig::fresh().to_string();
    let image = |name: &str, mebibytes: u64| Image::new(directory.path(), name, mebibytes << 20);
    let mut count = 0;

    if rig::have("foreign::jfs", &["mkfs.jfs", "jfs_tune", "blkid"]) {
        let jfs = image("jfs", 64);
        run("mkfs.jfs", &["-q", jfs.arg()]);
        let old = seen(&jfs, "JFS", "jfs");
        assent("jfs_tune", &["-U", "random", jfs.arg()]);
        assert_ne!(seen(&jfs, "JFS", "jfs"), old);
        count += 1;
    }
    if rig::have("foreign::reiserfs", &["mkreiserfs", "reiserfstune", "blkid"]) {
        let reiserfs = image("reiserfs", 64);
        run("mkreiserfs", &["-q", "-f", "-f", reiserfs.arg()]);
        let old = seen(&reiserfs, "ReiserFS", "reiserfs");
        assent("reiserfstune", &["-u", "random", reiserfs.arg()]);
        assert_ne!(seen(&reiserfs, "ReiserFS", "reiserfs"), old);
        count += 1;
    }
    if rig::have("foreign::nilfs2", &["mkfs.nilfs2", "nilfs-tune", "blkid"]) && rig::loops("foreign::nilfs2") {
        let nilfs = image("nilfs2", 160);
        run("mkfs.nilfs2", &["-q", nilfs.arg()]);
        seen(&nilfs, "NILFS2", "nilfs2");
        // Detached while it is open, the device goes with its last user.
        let script = format!(
            "d=$(losetup --find --show {}); exec 3<$d; losetup -d $d; nilfs-tune -f -U {new} $d </dev/null",
            nilfs.arg()
        );
        assent("sh", &["-ec", &format!("'{script}'")]);
        assert_eq!(seen(&nilfs, "NILFS2", "nilfs2"), new);
        count += 1;
    }
    if rig::have("foreign::ocfs2", &["mkfs.ocfs2", "tunefs.ocfs2", "blkid"]) {
        for block in ["512", "1024", "2048", "4096"] {
            let ocfs2 = image(&format!("ocfs2-{block}"), 128);
            run("mkfs.ocfs2", &["-q", "-M", "local", "-F", "-N", "1", "-J", "size=4M", "-b", block, ocfs2.arg()]);
            let old = seen(&ocfs2, "OCFS2", "ocfs2");
            assent("tunefs.ocfs2", &["-U", ocfs2.arg()]);
            assert_ne!(seen(&ocfs2, "OCFS2", "ocfs2"), old);
            count += 1;
        }
    }
    if rig::have("foreign::gfs2", &["mkfs.gfs2", "tunegfs2", "blkid"]) {
        let gfs2 = image("gfs2", 64);
        run("mkfs.gfs2", &["-O", "-q", "-p", "lock_nolock", "-j", "1", "-J", "8", gfs2.arg()]);
        seen(&gfs2, "GFS2", "gfs2");
        run("tunegfs2", &["-U", &new, gfs2.arg()]);
        assert_eq!(seen(&gfs2, "GFS2", "gfs2"), new);
        count += 1;
    }
    if rig::have("foreign::squashfs", &["mksquashfs", "blkid"]) {
        let path = directory.path().join("squashfs");
        run("mksquashfs", &[files, path.to_str().unwrap(), "-quiet", "-no-progress"]);
        assert_eq!(seen(&Image::open(path), "squashfs", "squashfs"), "");
        count += 1;
    }
    if rig::have("foreign::erofs", &["mkfs.erofs", "blkid"]) {
        let path = directory.path().join("erofs");
        run("mkfs.erofs", &["-U", &new, path.to_str().unwrap(), files]);
        assert_eq!(seen(&Image::open(path), "EROFS", "erofs"), new);
        count += 1;
    }
    if rig::have("foreign::verity", &["veritysetup", "blkid"]) {
        let (content, tree) = (image("content", 1), image("tree", 1));
        content.put(4096, b"not nothing");
        let root = |told: &str| told.lines().find(|line| line.starts_with("Root hash")).unwrap().to_owned();
        let told = run("veritysetup", &["format", content.arg(), tree.arg()]);
        let old = seen(&tree, "dm-verity hash tree", "DM_verity_hash");
        let dump = run("veritysetup", &["dump", tree.arg()]);
        let salt = dump.lines().find_map(|line| line.strip_prefix("Salt:")).unwrap().trim();
        let (salt, uuid) = (format!("--salt={salt}"), format!("--uuid={new}"));
        let again = run("veritysetup", &["format", &salt, &uuid, content.arg(), tree.arg()]);
        assert_eq!(root(&again), root(&told));
        assert_eq!(seen(&tree, "dm-verity hash tree", "DM_verity_hash"), new);
        assert_ne!(old, new);
        count += 1;
    }
    // None of them is taken for a format that is changed here.
    for entry in std::fs::read_dir(directory.path()).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let image = Image::open(entry.path());
        for format in Format::ALL {
            let known = disks::probe(&image, format);
            assert!(matches!(known, Ok(None)), "{:?}: {known:?}", entry.path());
        }
    }
    let _ = writeln!(std::io::stderr(), "foreign formats: {count} images");
}

#[test]
fn built_images_are_what_blkid_says() {
    let test = "foreign::built";
    if !rig::have(test, &["blkid"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let size = 80_u64 << 20;
    let image = |name: &str, fields: &[(u64, &[u8])]| {
        let image = Image::new(directory.path(), name, size);
        fields.iter().for_each(|(at, bytes)| image.put(*at, bytes));
        image
    };
    let id = rig::fresh();
    let text = id.to_string();
    let bcachefs = [
        (4096 + 24, &b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"[..]),
        (4096 + 56, id.as_bytes()),
    ];
    assert_eq!(found(&image("bcachefs", &bcachefs)).id.as_ref(), Some(&text));
    assert_eq!(seen(&image("vdo", &[(0, b"dmvdo001"), (40, id.as_bytes())]), "VDO", "vdo"), text);
    let line = format!("{text}\n");
    let bluestore = image("bluestore", &[(0, b"bluestore block device\n"), (23, line.as_bytes())]);
    assert_eq!((found(&bluestore).id, rig::blkid(&bluestore, "TYPE")), (Some(text.clone()), "ceph_bluestore".into()));
    let vmfs: [(u64, &[u8]); 2] =
        [(1 << 20, b"\x0d\xd0\x01\xc0"), ((1 << 20) + 532, b"4f0a1b2c-3d4e5f60-7182-93a4b5c6d7e8")];
    seen(&image("vmfs", &vmfs), "VMFS", "VMFS_volume_member");
    let lvm1: [(u64, &[u8]); 2] = [(0, b"HM\x01\0"), (44, b"aaaaaabbbbccccddddeeeeffffgggggg")];
    assert_eq!(rig::blkid(&image("lvm1", &lvm1), "TYPE"), "LVM1_member");
    assert_eq!(found(&image("lvm1", &lvm1)).id.as_deref(), Some("aaaaaabbbbccccddddeeeeffffgggggg"));
    for (name, magic, uuid) in
        [("DRBD 8 meta data", 0x6b, 40), ("DRBD 8 meta data", 0x6c, 40), ("DRBD 9 meta data", 0x6d, 48)]
    {
        let at = size - 4096;
        let fields: [(u64, &[u8]); 4] = [
            (at + 60, &[0x83, 0x74, 0x02, magic]),
            (at + 80, &[0, 0, 0x10, 0]),
            (at + uuid, &[0x1a, 2, 3, 4, 5, 6, 7, 8]),
            (at + 100, &[0]),
        ];
        seen(&image("drbd", &fields), name, "drbd");
    }
    let isw = image("isw", &[(size - 1024, b"Intel Raid ISM Cfg Sig. 1.3.00"), (size - 1024 + 40, &[1, 2, 3, 4])]);
    assert_eq!(rig::blkid(&isw, "TYPE"), "isw_raid_member");
    assert_eq!(found(&isw).id.as_deref(), Some("01020304"));
    let ddf = image("ddf", &[(size - 512, b"\xde\x11\xde\x11"), (size - 512 + 32, b"01.02.00")]);
    assert_eq!(found(&ddf).name, "DDF RAID");
    let iso: [(u64, &[u8]); 3] =
        [(32768, b"\x01CD001\x01"), (32768 + 813, b"2026010203040500"), (32768 + 830, b"2026020304050607")];
    assert_eq!(seen(&image("iso", &iso), "ISO 9660", "iso9660"), "2026-02-03-04-05-06-07");
    let ldm = image("ldm", &[(3072, b"PRIVHEAD"), (3072 + 48, text.as_bytes())]);
    assert_eq!(found(&ldm).id.as_ref(), Some(&text));
    let stratis =
        image("stratis", &[(516, b"!Stra0tis\x86\xff\x02^\x41rh"), (544, id.simple().to_string().as_bytes())]);
    assert_eq!(found(&stratis).id.as_ref(), Some(&text));
    let metadata = 1_u64 << 20;
    for (name, header, at, guid) in [
        ("win7", &b"\xeb\x58\x90-FVE-FS-"[..], 176, &[0; 16][..]),
        ("togo", b"\xeb\x58\x90MSWIN4.1", 440, b"\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"),
    ] {
        let fields: [(u64, &[u8]); 5] = [
            (0, header),
            (424, guid),
            (at, &metadata.to_le_bytes()),
            (metadata, b"-FVE-FS-"),
            (metadata + 80, &id.to_bytes_le()),
        ];
        let bitlocker = image(name, &fields);
        assert_eq!((found(&bitlocker).name, found(&bitlocker).id), ("BitLocker".into(), Some(text.clone())));
        assert_eq!(rig::blkid(&bitlocker, "TYPE"), "BitLocker");
    }
    zfs(|fields| image("zfs", fields));
}

/// Labels at both ends, each a list of pairs and a ring of uberblocks.
fn zfs(image: impl Fn(&[(u64, &[u8])]) -> Image) {
    let guid = 1234567890123456789_u64;
    let pair = |name: &str, value: u64| {
        let mut pair = Vec::new();
        let padded = name.len().next_multiple_of(4);
        for word in [28 + padded as u32, 32, name.len() as u32] {
            pair.extend(word.to_be_bytes());
        }
        pair.extend(name.as_bytes());
        pair.resize(12 + padded, 0);
        pair.extend([8_u32, 1].iter().flat_map(|word| word.to_be_bytes()));
        pair.extend(value.to_be_bytes());
        pair
    };
    let list =
        [vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], pair("version", 5000), pair("pool_guid", guid), vec![0; 8]].concat();
    let size = 80_u64 << 20;
    for magic in [0x00ba_b10c_u64.to_le_bytes(), 0x00ba_b10c_u64.to_be_bytes()] {
        for label in [0, 256 << 10, size - (512 << 10), size - (256 << 10)] {
            let mut fields: Vec<(u64, &[u8])> = vec![(label + (16 << 10), &list)];
            let only = image(&fields);
            assert_eq!(probe(&only).unwrap(), None, "a list without an uberblock");
            fields.extend((0..8).map(|slot| (label + (128 << 10) + (slot << 10), &magic[..])));
            let zfs = image(&fields);
            let foreign = found(&zfs);
            assert_eq!((foreign.name.as_str(), foreign.id), ("ZFS", Some(guid.to_string())));
            assert_eq!(rig::blkid(&zfs, "TYPE"), "zfs_member");
        }
    }
}
