// SPDX-License-Identifier: MIT OR Apache-2.0
//! Old values inside of what gzip, xz, zstd and cpio made.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::rig::{Report, Tree};
use super::support::skip;

const UUID: &str = "0aaa1111-2b22-4333-8444-55555555555f";
const OLD: &str = "fs-uuid=0aaa1111-2b22-4333-8444-55555555555f";

/// Runs a program over bytes.
fn through(argv: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("in"), dir.path().join("out"));
    fs::write(&from, input).unwrap();
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).stdin(fs::File::open(from).unwrap()).stdout(fs::File::create(&to).unwrap());
    match command.status() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            skip(argv[0], "it is not installed");
            None
        }
        status => {
            assert!(status.unwrap().success(), "{argv:?}");
            Some(fs::read(to).unwrap())
        }
    }
}

/// What cpio makes of these files.
fn archive(files: &[(&str, &[u8])]) -> Option<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let mut list = String::new();
    for (path, content) in files {
        let place = dir.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, content).unwrap();
        list.push_str(&format!("{path}\n"));
    }
    let root = dir.path().to_str().unwrap();
    through(&["cpio", "--quiet", "-o", "-H", "newc", "-D", root], list.as_bytes())
}

fn unpacked(tree: &Tree) -> Report {
    tree.scan_with(&["--old", OLD, "--compressed"])
}

/// Way and first place of each find.
fn ways(report: &Report) -> Vec<(String, String, u64)> {
    let rows = report.document["found"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    rows.map(|row| (text(&row["path"]), text(&row["inside"]), row["offsets"][0].as_u64().unwrap_or(0))).collect()
}

/// Text that packs badly, so that every block of the packer has some.
fn filler(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b"abcdefghijklmnopqrstuvwxyz 0123\n"[(state >> 59) as usize]
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn what_every_packer_makes() {
    let mut text = filler(1_000_000);
    let at = 777_777;
    text[at..at + UUID.len()].copy_from_slice(UUID.as_bytes());
    let tree = Tree::new();
    let mut made = 0;
    for (number, argv) in [
        &["gzip", "-1"][..],
        &["gzip", "-9"],
        &["xz", "-0"],
        &["xz", "-6", "--check=crc32"],
        &["xz", "-2", "--check=sha256", "--block-size=100000"],
        &["xz", "--x86", "--lzma2=dict=1MiB"],
        &["zstd", "-q", "-1"],
        &["zstd", "-q", "-19"],
        &["zstd", "-q", "--no-check", "--fast"],
    ]
    .iter()
    .enumerate()
    {
        if let Some(packed) = through(argv, &text) {
            tree.put(&format!("srv/{number}.{}", argv[0]), packed);
            made += 1;
        }
    }
    // Files behind one another are one file for all three.
    for packer in ["gzip", "xz", "zstd"] {
        if let Some(packed) = through(&[packer, "-c"], b"one\n") {
            let second = through(&[packer, "-c"], UUID.as_bytes()).unwrap();
            tree.put(&format!("srv/several.{packer}"), [packed, second].concat());
            made += 1;
        }
    }
    let report = unpacked(&tree);
    assert_eq!((report.exit, &report.document["unread-count"]), (Some(4), &0.into()));
    // `zstd --fast` leaves such a text readable in the packed file, too.
    let found: Vec<_> = ways(&report).into_iter().filter(|(_, inside, _)| !inside.is_empty()).collect();
    assert_eq!(found.len(), made, "{found:?}");
    for (path, inside, offset) in found {
        assert!(path.ends_with(&inside), "{path}: {inside}");
        assert_eq!(offset, if path.contains("several") { 0 } else { at as u64 }, "{path}");
    }
}

#[test]
fn an_initramfs_of_several_pieces() {
    let Some(early) = archive(&[("kernel/x86/microcode/AuthenticAMD.bin", &[0xee; 3000])]) else { return };
    let Some(module) = through(&["xz", "--check=crc32", "--lzma2=dict=1MiB"], format!("module {UUID}").as_bytes())
    else {
        return;
    };
    let main = archive(&[
        ("conf/conf.d/resume", format!("RESUME=UUID={UUID}\n").as_bytes()),
        (&format!("etc/{UUID}.conf"), b"x"),
        ("lib/modules/m.ko.xz", &module),
        ("bin/busybox", &filler(900_000)),
    ])
    .unwrap();
    for (packer, number) in [("zstd", 0), ("gzip", 1), ("xz", 2)] {
        let tree = Tree::new();
        let argv = [&[packer, "-c"][..], if packer == "xz" { &["--check=crc32"][..] } else { &[] }].concat();
        let Some(packed) = through(&argv, &main) else { return };
        // As reseal appends to it what overrides a file.
        let last = archive(&[("etc/appended", UUID.as_bytes())]).unwrap();
        let last = through(&["gzip", "-c"], &last).unwrap();
        tree.put("boot/initrd.img", [&early[..], &packed, &vec![0; 4 * number], &last].concat());
        let report = unpacked(&tree);
        assert_eq!(report.document["unread-count"], 0, "{}", report.document["unread"]);
        let found: Vec<(String, u64)> = ways(&report).into_iter().map(|(_, way, offset)| (way, offset)).collect();
        let way = |path: &str| format!("{packer} > {path}");
        let mut wanted = vec![
            ("gzip > etc/appended".to_owned(), 0),
            (way("conf/conf.d/resume"), 12),
            (way(&format!("etc/{UUID}.conf")), 4),
            (way("lib/modules/m.ko.xz > xz"), 7),
        ];
        wanted.sort();
        assert_eq!(found, wanted);
        assert!(report.document["found"][0]["advice"].as_str().unwrap().contains("update-initramfs"));
    }
}

/// What Debian's own tool makes, on a machine that has it.
#[test]
fn an_initramfs_of_debian() {
    if !Path::new("/usr/sbin/mkinitramfs").exists() || !nix::unistd::geteuid().is_root() {
        // It is in no list of what the tests need: the real one is looked into in tests/vm.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let release = fs::read_dir("/lib/modules").ok().and_then(|mut all| all.next()?.ok());
    let Some(release) = release else { return };
    for packer in ["gzip", "xz", "zstd"] {
        let configuration = dir.path().join(packer);
        Command::new("cp").arg("-a").arg("/etc/initramfs-tools").arg(&configuration).status().unwrap();
        fs::create_dir_all(configuration.join("conf.d")).unwrap();
        fs::write(configuration.join("conf.d/resume"), format!("RESUME=UUID={UUID}\nCOMPRESS={packer}\n")).unwrap();
        let tree = Tree::new();
        fs::create_dir_all(tree.root().join("boot")).unwrap();
        let mut make = Command::new("/usr/sbin/mkinitramfs");
        make.arg("-d").arg(&configuration).arg("-o").arg(tree.root().join("boot/initrd.img")).arg(release.file_name());
        assert!(make.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        let found = ways(&unpacked(&tree));
        assert!(found.iter().any(|(_, way, _)| way == &format!("{packer} > conf/conf.d/resume")), "{found:?}");
    }
}

#[test]
fn what_cannot_be_unpacked_is_told_and_no_proof() {
    let Some(packed) = through(&["gzip", "-c"], &filler(500_000)) else { return };
    let tree = Tree::new();
    tree.put("srv/cut.gz", &packed[..packed.len() / 2]);
    tree.put("srv/old.bz2", b"BZh91AY&SY and more");
    tree.put("srv/word", b"070701 is no archive");
    let report = unpacked(&tree);
    assert_eq!((report.exit, &report.document["unread-count"]), (Some(1), &3.into()));
    let unread = report.document["unread"].to_string();
    assert!(unread.contains("bzip2") && unread.contains("/srv/cut.gz") && unread.contains("damaged"), "{unread}");
    // Whoever knows them says so.
    let report = tree.scan_with(&["--old", OLD, "--compressed", "--set", "scan.allow=['/srv/**']"]);
    assert_eq!((report.exit, &report.document["unread-count"]), (Some(0), &0.into()));
}

/// A file that unpacks to gigabytes needs no memory for them.
#[test]
fn a_bomb_is_read_in_pieces() {
    let Some(zeros) = through(&["sh", "-c", "head -c 150000000 /dev/zero | tr '\\0' x | gzip -1"], b"") else { return };
    let tree = Tree::new();
    tree.put("srv/bomb.gz", zeros);
    let report = unpacked(&tree);
    assert_eq!(report.exit, Some(0));
}
