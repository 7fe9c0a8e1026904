// SPDX-License-Identifier: MIT OR Apache-2.0
//! ext2, ext3 and ext4: mke2fs(8) makes and fills them, e2fsck(8) and debugfs(8) judge.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use reseal::disks::ext::{Seed, plan, probe};
use reseal::disks::{Patch, Trouble, crc};
use tempfile::TempDir;
use uuid::Uuid;

use crate::rig;

const OLD: Uuid = Uuid::from_u128(0x01d0_0000_0000_4000_8000_0000_0000_0001);
const NEW: Uuid = Uuid::from_u128(0x7e50_0000_0000_4000_8000_0000_0000_0002);
const TOOLS: [&str; 4] = ["mke2fs", "e2fsck", "debugfs", "blkid"];

/// A filled filesystem of 16 MiB; none where mke2fs does not make one of these options.
fn try_make(options: &[&str]) -> Option<(TempDir, PathBuf)> {
    let (dir, path) = rig::blank(16);
    let source = dir.path().join("content");
    fs::create_dir(&source).unwrap();
    rig::content(&source);
    let (uuid, source) = (OLD.to_string(), source.display().to_string());
    let fixed = ["-q", "-F", "-U", &uuid, "-L", "a label", "-d", &source];
    let done = rig::tool("mke2fs", fixed.iter().chain(options).copied().chain([path.to_str().unwrap()]));
    if !done.status.success() {
        return None;
    }
    // mke2fs 1.47.0 does not count into the quota what it copies in.
    if !rig::tool("e2fsck", ["-fn", path.to_str().unwrap()]).status.success() {
        rig::tool("e2fsck", ["-fy", path.to_str().unwrap()]);
    }
    Some((dir, path))
}

fn make(options: &[&str]) -> (TempDir, PathBuf) {
    try_make(options).unwrap_or_else(|| panic!("mke2fs {options:?}"))
}

fn renew(image: &[u8]) -> Result<Patch, Trouble> {
    plan(image, NEW, Seed::MayEnable)
}

fn fsck(path: &Path) {
    rig::told("e2fsck", ["-fn", path.to_str().unwrap()]);
}

/// Every file as debugfs reads it, by name.
fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let out = tempfile::tempdir().unwrap();
    rig::told("debugfs", ["-R", &format!("rdump / {}", out.path().display()), path.to_str().unwrap()]);
    let all = fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let mut files: Vec<_> = all.map(|path| (path.file_name().unwrap().into(), fs::read(path).unwrap())).collect();
    files.sort();
    assert!(files.len() >= 3);
    files
}

/// Puts `whole` where `path` is: the vendor's tools find nothing wrong, the new UUID, and every file as it was.
fn sound(path: &Path, whole: &[u8]) {
    let before = files(path);
    fs::write(path, whole).unwrap();
    fsck(path);
    assert_eq!(rig::blkid(path, "UUID"), NEW.to_string());
    assert_eq!(rig::blkid(path, "LABEL"), "a label");
    assert!(files(path) == before, "a file changed");
}

fn every_cut(name: &str, options: &[&str], fsck_each: bool) {
    let (_dir, path) = make(options);
    let image = fs::read(&path).unwrap();
    let found = probe(&image[..]).unwrap().unwrap();
    assert_eq!(
        (found.ids[0].value.clone(), found.label, found.refusal),
        (OLD.to_string(), Some("a label".into()), None)
    );
    assert_eq!(found.variant, rig::blkid(&path, "TYPE"));
    let whole = rig::cuts(name, &image, renew, |path, now| {
        let uuid = probe(now).unwrap().unwrap().ids.remove(0).value;
        assert!(uuid == OLD.to_string() || uuid == NEW.to_string());
        if fsck_each {
            fsck(path);
        }
    });
    sound(&path, &whole);
}

#[test]
fn every_kind_is_whole_after_every_cut() {
    if !rig::have("ext", &TOOLS) {
        return;
    }
    every_cut("ext2", &["-t", "ext2", "-b", "1024", "-g", "2048"], true);
    every_cut("ext3", &["-t", "ext3", "-b", "1024", "-g", "2048"], true);
    let ext4 = |features: &'static str| ["-t", "ext4", "-b", "1024", "-g", "2048", "-O", features];
    every_cut("ext4, no checksums", &ext4("^metadata_csum,^uninit_bg"), true);
    every_cut("ext4, checksums, no seed", &ext4("metadata_csum,^metadata_csum_seed"), true);
    every_cut("ext4, checksums, seed", &ext4("metadata_csum,metadata_csum_seed"), true);
    every_cut("ext4, 4 KiB blocks", &["-t", "ext4", "-g", "512"], true);
    every_cut(
        "ext2, a backup in each group",
        &["-t", "ext2", "-b", "1024", "-g", "2048", "-O", "^sparse_super,^resize_inode"],
        true,
    );
    every_cut(
        "ext4, 63 backups",
        &["-t", "ext4", "-b", "1024", "-g", "256", "-O", "^sparse_super,^resize_inode", "-N", "1024"],
        false,
    );
}

/// Refused for a reason that lies in the features themselves.
fn one_write_would_not_do(features: &[&str]) -> bool {
    let has = |name: &str| features.contains(&name);
    let csum = !has("^metadata_csum");
    has("stable_inodes") || !csum && (has("uninit_bg") || has("ea_inode") || has("metadata_csum_seed"))
}

#[test]
fn every_feature_and_every_pair_of_features_passes_the_vendor_s_check() {
    if !rig::have("ext features", &TOOLS) {
        return;
    }
    let features = [
        "64bit",
        "^metadata_csum",
        "metadata_csum_seed",
        "uninit_bg",
        "sparse_super2",
        "meta_bg",
        "bigalloc",
        "mmp",
        "orphan_file",
        "fast_commit",
        "casefold",
        "encrypt",
        "stable_inodes",
        "ea_inode",
        "inline_data",
        "verity",
        "quota",
        "project",
        "large_dir",
        "^has_journal",
        "^extent",
        "^flex_bg",
    ];
    let (mut changed, mut refused, mut unmade) = (0, 0, 0);
    for (index, first) in features.iter().enumerate() {
        for second in &features[index..] {
            let names = [*first, *second];
            // meta_bg and resize_inode exclude each other, and sparse_super2 wants neither sparse_super.
            let mut list = names.join(",");
            if names.contains(&"meta_bg") || names.contains(&"sparse_super2") {
                list.push_str(",^resize_inode");
            }
            if !names.contains(&"metadata_csum_seed") {
                list.push_str(",^metadata_csum_seed");
            }
            let options = ["-t", "ext4", "-b", "1024", "-g", "2048", "-O", &list];
            let Some((_dir, path)) = try_make(&options) else {
                unmade += 1;
                continue;
            };
            let image = fs::read(&path).unwrap();
            match renew(&image) {
                Ok(patch) => {
                    assert!(!one_write_would_not_do(&names), "{list}: planned");
                    let whole = rig::patched(&image, &patch);
                    assert!(renew(&whole).unwrap().is_empty(), "{list}");
                    sound(&path, &whole);
                    changed += 1;
                }
                Err(Trouble::Refused(why)) => {
                    assert!(one_write_would_not_do(&names), "{list}: {why}");
                    assert!(probe(&image[..]).unwrap().unwrap().refusal.is_some());
                    refused += 1;
                }
                Err(trouble) => panic!("{list}: {trouble}"),
            }
        }
    }
    // Past the test runner's capture.
    let _ = writeln!(
        std::io::stderr(),
        "ext, features and pairs: {changed} changed, {refused} refused, {unmade} that mke2fs does not make"
    );
    assert!(changed > 100);
}

#[test]
fn the_seed_is_switched_on_only_when_that_is_allowed_and_needed() {
    if !rig::have("ext seed", &TOOLS) {
        return;
    }
    let (_dir, path) = make(&["-t", "ext4", "-O", "metadata_csum,^metadata_csum_seed"]);
    let image = fs::read(&path).unwrap();
    assert!(matches!(plan(&image[..], NEW, Seed::MustNot), Err(Trouble::Refused(_))));
    assert!(plan(&image[..], OLD, Seed::MayEnable).unwrap().is_empty(), "the same UUID needs nothing");
    let features = || rig::told("dumpe2fs", ["-h", path.to_str().unwrap()]);
    assert!(!features().contains("metadata_csum_seed"));
    fs::write(&path, rig::patched(&image, &renew(&image).unwrap())).unwrap();
    let shown = features();
    assert!(shown.contains("metadata_csum_seed"), "{shown}");
    let seed = crc::crc32c_raw(!0, OLD.as_bytes());
    assert!(shown.contains(&format!("Checksum seed:            {seed:#010x}")), "{seed:x}: {shown}");
    let image = fs::read(&path).unwrap();
    assert!(plan(&image[..], OLD, Seed::MustNot).is_ok(), "what has a seed needs none");
}

#[test]
fn each_backup_alone_is_a_way_back() {
    if !rig::have("ext backups", &TOOLS) {
        return;
    }
    let (_dir, path) = make(&["-t", "ext4", "-b", "1024", "-O", "metadata_csum,^metadata_csum_seed"]);
    let image = fs::read(&path).unwrap();
    let before = files(&path);
    let patch = renew(&image).unwrap();
    // The primary is lost when only the backups are new, and when all is.
    for batches in 0..=patch.batches.len() {
        let mut cut = rig::patched(&image, &Patch { batches: patch.batches[..batches].to_vec() });
        cut[1024..2048].fill(0);
        fs::write(&path, &cut).unwrap();
        let done = rig::tool("e2fsck", ["-fy", "-b", "8193", "-B", "1024", path.to_str().unwrap()]);
        assert!(done.status.code().unwrap() <= 1, "{done:?}");
        fsck(&path);
        assert!(files(&path) == before);
        assert_eq!(rig::blkid(&path, "UUID"), if batches == 0 { OLD } else { NEW }.to_string());
    }
}

#[test]
fn what_is_in_use_or_dirty_or_shared_is_refused() {
    if !rig::have("ext refused", &TOOLS) {
        return;
    }
    let (_dir, path) = make(&["-t", "ext4"]);
    let text = path.to_str().unwrap();
    let image = fs::read(&path).unwrap();
    let refused = |image: &[u8], word: &str| match renew(image) {
        Err(Trouble::Refused(why)) => assert!(why.contains(word), "{why}"),
        other => panic!("{word}: {other:?}"),
    };
    for (command, word) in [
        ("feature needs_recovery", "mounted"),
        ("set_super_value state 0", "mounted"),
        ("set_super_value state 3", "errors"),
        ("feature FEATURE_I31", "features"),
        ("set_super_value rev_level 0", "revision"),
    ] {
        fs::write(&path, &image).unwrap();
        rig::told("debugfs", ["-w", "-R", command, text]);
        let broken = fs::read(&path).unwrap();
        assert!(broken != image, "{command} changes nothing");
        refused(&broken, word);
        assert!(probe(&broken[..]).unwrap().unwrap().refusal.is_some(), "{command}");
    }

    // Not by debugfs, which waits ten seconds for another machine that might write there.
    let (_dir, shared) = make(&["-t", "ext4", "-O", "mmp"]);
    let mut shared = fs::read(shared).unwrap();
    assert!(renew(&shared).is_ok());
    let block = u64::from_le_bytes(shared[1024 + 0x168..][..8].try_into().unwrap());
    let block_size = 1024 << shared[1024 + 0x18];
    shared[usize::try_from(block).unwrap() * block_size + 4..][..4].copy_from_slice(&7u32.to_le_bytes());
    refused(&shared, "multi-mount");

    let (_other, journal) = rig::blank(16);
    rig::told("mke2fs", ["-q", "-F", "-O", "journal_dev", "-b", "4096", journal.to_str().unwrap()]);
    let journal = fs::read(&journal).unwrap();
    assert_eq!(probe(&journal[..]).unwrap().unwrap().variant, "jbd");
    refused(&journal, "two devices");
    assert!(probe(&journal[..]).unwrap().unwrap().refusal.unwrap().contains("no filesystem's"));
    // What a filesystem with an external journal says: no inode of its own, another's UUID.
    fs::write(&path, &image).unwrap();
    rig::told("debugfs", ["-w", "-R", "set_super_value journal_inum 0", text]);
    rig::told("debugfs", ["-w", "-R", &format!("set_super_value journal_uuid {NEW}"), text]);
    refused(&fs::read(&path).unwrap(), "two devices");
    assert_eq!(probe(&fs::read(&path).unwrap()[..]).unwrap().unwrap().group.unwrap().key, NEW.to_string());
    rig::told("debugfs", ["-w", "-R", "set_super_value journal_uuid clear", text]);
    refused(&fs::read(&path).unwrap(), "no device");
    assert!(matches!(plan(&image[..], Uuid::nil(), Seed::MayEnable), Err(Trouble::Refused(_))));
}

#[test]
fn what_is_not_sound_is_left_alone() {
    if !rig::have("ext bad", &TOOLS) {
        return;
    }
    let (_dir, path) = make(&["-t", "ext4", "-b", "1024", "-g", "2048", "-O", "metadata_csum"]);
    let image = fs::read(&path).unwrap();
    rig::flips("ext4 superblock", &image, 1024..2048, renew, |_| false);
    rig::truncations("ext4", &image, renew);

    // A backup that is not sound is nobody's: the others are changed and it is not.
    let backups = renew(&image).unwrap().batches[0].len();
    let place = (1 + 2048) * 1024;
    for at in [place + 0x38, place + 0x68, place + 0x3fc] {
        let mut broken = image.clone();
        broken[at] ^= 1;
        let patch = renew(&broken).unwrap();
        assert_eq!(patch.batches[0].len(), backups - 1);
        assert!(patch.batches.iter().flatten().all(|write| write.offset != place as u64));
    }

    // Two backups in the same group are one.
    let (_dir, path) =
        make(&["-t", "ext4", "-b", "1024", "-g", "2048", "-O", "sparse_super2,^resize_inode,^metadata_csum"]);
    let mut image = fs::read(&path).unwrap();
    assert_eq!(renew(&image).unwrap().batches[0].len(), 2);
    image.copy_within(1024 + 0x24c..1024 + 0x250, 1024 + 0x250);
    assert_eq!(renew(&image).unwrap().batches[0].len(), 1);

    // Without checksums nothing vouches for a field, so the numbers themselves must not lead anywhere.
    let (_dir, path) = make(&["-t", "ext2", "-b", "1024", "-g", "2048"]);
    let image = fs::read(&path).unwrap();
    rig::truncations("ext2", &image, renew);
    rig::garbage(&image, 1024..2048, |image| (renew(image).is_err(), probe(image).is_err()));
    for (at, value) in [(0x4, u32::MAX), (0x4, 0), (0x14, 2), (0x18, 7), (0x20, 0), (0x20, 8), (0x20, u32::MAX)] {
        let mut broken = image.clone();
        broken[1024 + at..1024 + at + 4].copy_from_slice(&value.to_le_bytes());
        assert!(matches!(renew(&broken), Err(Trouble::Damaged(_))), "{at:#x}");
    }
}
