// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every option of a format's mkfs and every pair of them, cut at every write and judged by the format's checker. ext's
//! are walked beside its other tests.

use std::collections::BTreeSet;
use std::io::Write as _;

use reseal::disks::{self, Format, Id, Trouble};

use crate::rig::{self, Image, output};

/// What is tried of a format.
struct Walk {
    format: Format,
    mkfs: &'static str,
    /// Always given.
    always: &'static [&'static str],
    /// The options; of a pair with the same flag, the values are joined where the flag takes a list.
    options: &'static [&'static [&'static str]],
    lists: &'static [&'static str],
    mebibytes: u64,
    /// Programs that must like what comes out.
    judges: &'static [&'static [&'static str]],
    /// Refused for a reason that lies in the options themselves.
    refused: fn(&[&str]) -> bool,
    /// So many must have been changed.
    least: usize,
}

const NEVER: fn(&[&str]) -> bool = |_| false;

/// The arguments of one option or of two.
fn joined(walk: &Walk, first: &[&str], second: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = first.iter().map(ToString::to_string).collect();
    if first != second {
        match (second, all.first()) {
            ([flag, value], Some(before)) if walk.lists.contains(flag) && before == flag => {
                all[1] = format!("{},{value}", all[1]);
            }
            _ => all.extend(second.iter().map(ToString::to_string)),
        }
    }
    all
}

fn walk(walk: &Walk) {
    let name = walk.format.name();
    let programs: Vec<&str> =
        [walk.mkfs, "blkid"].into_iter().chain(walk.judges.iter().map(|judge| judge[0])).collect();
    if !rig::have(&format!("features::{name}"), &programs) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (mut changed, mut refused, mut unmade, mut cuts) = (0, 0, 0, 0);
    for (index, first) in walk.options.iter().enumerate() {
        for second in &walk.options[index..] {
            let options = joined(walk, first, second);
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let image = Image::new(directory.path(), "image", walk.mebibytes << 20);
            let arguments = [walk.always, &options[..], &[image.arg()]].concat();
            if !output(walk.mkfs, &arguments).status.success() {
                unmade += 1;
                continue;
            }
            let found = disks::probe(&image, walk.format).unwrap().unwrap_or_else(|| panic!("{options:?}: not seen"));
            let old = found.ids[0].clone();
            let seed = reseal::plan::derive::Seed::random(b"machine").unwrap();
            let new = Id { value: walk.format.fresh(&seed, "new"), ..old.clone() };
            let planned = disks::plan(&image, walk.format, std::slice::from_ref(&new));
            assert_eq!(found.refusal.is_some(), planned.is_err(), "{options:?}: {:?}", found.refusal);
            match planned {
                Ok(_) => assert!(!(walk.refused)(&options), "{options:?}: planned"),
                Err(Trouble::Refused(_)) if (walk.refused)(&options) => {
                    refused += 1;
                    continue;
                }
                Err(trouble) => panic!("{options:?}: {trouble}"),
            }
            assert_eq!(rig::blkid(&image, "UUID"), old.value, "{options:?}");
            let images = [image];
            let mut seen = BTreeSet::new();
            cuts += rig::cut_everywhere(
                &images,
                |images| vec![disks::plan(&images[0], walk.format, std::slice::from_ref(&new)).unwrap()],
                |images, _| {
                    seen.insert(disks::probe(&images[0], walk.format).unwrap().unwrap().ids[0].value.clone());
                },
            );
            let known = [old.value.clone(), new.value.clone()];
            assert!(seen.iter().all(|value| known.contains(value)), "{options:?}: {seen:?}");
            assert_eq!(rig::blkid(&images[0], "UUID"), new.value, "{options:?}");
            for judge in walk.judges {
                let said = output(judge[0], &[&judge[1..], &[images[0].arg()]].concat());
                let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
                assert!(said.status.success(), "{options:?}: {judge:?}: {out}{err}");
                assert!(!out.contains("[Fail]") && !out.contains("ASSERT"), "{options:?}: {judge:?}: {out}{err}");
            }
            changed += 1;
        }
    }
    // Past the test runner's capture.
    let _ = writeln!(
        std::io::stderr(),
        "{name}, options and pairs: {changed} changed with {cuts} cuts, {refused} refused, {unmade} that {} does not make",
        walk.mkfs
    );
    assert!(changed >= walk.least, "{name}: only {changed}");
}

#[test]
fn xfs() {
    walk(&Walk {
        format: Format::Xfs,
        mkfs: "mkfs.xfs",
        always: &["-q", "-f"],
        options: &[
            &["-m", "crc=0"],
            &["-m", "finobt=0"],
            &["-m", "rmapbt=1"],
            &["-m", "reflink=0"],
            &["-m", "bigtime=0"],
            &["-m", "inobtcount=0"],
            &["-i", "sparse=0"],
            &["-i", "nrext64=1"],
            &["-i", "size=2048"],
            &["-n", "version=ci"],
            &["-n", "size=16k"],
            &["-b", "size=1024"],
            &["-s", "size=4096"],
            &["-l", "version=1"],
            &["-l", "lazy-count=0"],
            &["-l", "su=64k"],
            &["-d", "agcount=7"],
            &["-d", "su=64k,sw=4"],
        ],
        lists: &["-m", "-i", "-n", "-l", "-d"],
        mebibytes: 320,
        judges: &[&["xfs_repair", "-n"]],
        refused: NEVER,
        least: 100,
    });
}

#[test]
fn btrfs() {
    walk(&Walk {
        format: Format::Btrfs,
        mkfs: "mkfs.btrfs",
        always: &["-q", "-f"],
        options: &[
            &["-O", "mixed-bg"],
            &["-O", "^extref"],
            &["-O", "raid56"],
            &["-O", "^skinny-metadata"],
            &["-O", "^no-holes"],
            &["-O", "raid1c34"],
            &["-R", "quota"],
            &["-R", "^free-space-tree"],
            &["--csum", "xxhash"],
            &["--csum", "sha256"],
            &["--csum", "blake2"],
            &["-n", "65536"],
            &["-m", "single"],
            &["-d", "dup"],
        ],
        lists: &["-O", "-R"],
        mebibytes: 256,
        judges: &[&["btrfs", "check", "--readonly"]],
        refused: NEVER,
        least: 80,
    });
}

#[test]
fn f2fs() {
    walk(&Walk {
        format: Format::F2fs,
        mkfs: "mkfs.f2fs",
        always: &["-q", "-f", "-l", "golden"],
        options: &[
            &["-O", "encrypt"],
            &["-O", "extra_attr"],
            &["-O", "extra_attr,project_quota"],
            &["-O", "extra_attr,inode_checksum"],
            &["-O", "extra_attr,flexible_inline_xattr"],
            &["-O", "extra_attr,inode_crtime"],
            &["-O", "extra_attr,compression"],
            &["-O", "quota"],
            &["-O", "lost_found"],
            &["-O", "verity"],
            &["-O", "sb_checksum"],
            &["-C", "utf8"],
            &["-o", "10"],
            &["-s", "2"],
        ],
        lists: &["-O"],
        mebibytes: 128,
        judges: &[&["fsck.f2fs", "--dry-run"]],
        refused: |options| {
            let list = options.join(",");
            ["encrypt", "inode_checksum", "sb_checksum"].iter().any(|feature| list.contains(feature))
        },
        least: 50,
    });
}

#[test]
fn fat() {
    walk(&Walk {
        format: Format::Fat,
        mkfs: "mkfs.fat",
        always: &["-n", "A LABEL"],
        options: &[
            &["-F12"],
            &["-F16"],
            &["-F32"],
            &["-s", "1"],
            &["-s", "16"],
            &["-S", "4096"],
            &["-f", "1"],
            &["-R", "32"],
            &["-b", "5"],
            &["-r", "1024"],
            &["-h", "2048"],
            &["-M", "0xf0"],
            &["-D", "0"],
            &["-g", "255/63"],
            &["-a"],
            &["--mbr=y"],
        ],
        lists: &[],
        mebibytes: 36,
        judges: &[&["fsck.fat", "-n"]],
        refused: NEVER,
        least: 100,
    });
}

#[test]
fn exfat() {
    walk(&Walk {
        format: Format::Exfat,
        mkfs: "mkfs.exfat",
        always: &[],
        options: &[
            &["-L", "label"],
            &["-c", "512"],
            &["-c", "4096"],
            &["-c", "1M"],
            &["-b", "4096"],
            &["-b", "4M"],
            &["--pack-bitmap"],
        ],
        lists: &[],
        mebibytes: 32,
        judges: &[&["fsck.exfat", "-n"]],
        refused: NEVER,
        least: 15,
    });
}

#[test]
fn ntfs() {
    walk(&Walk {
        format: Format::Ntfs,
        mkfs: "mkntfs",
        always: &["-q", "-F", "-Q"],
        options: &[
            &["-L", "a label"],
            &["-C"],
            &["-I"],
            &["-c", "512"],
            &["-c", "4096"],
            &["-c", "65536"],
            &["-s", "1024"],
            &["-s", "4096"],
            &["-p", "2048"],
            &["-H", "255"],
            &["-S", "63"],
            &["-z", "4"],
            &["-T"],
        ],
        lists: &[],
        mebibytes: 24,
        judges: &[&["ntfsfix", "-n"], &["ntfsinfo", "-m", "-f"]],
        refused: NEVER,
        least: 50,
    });
}

#[test]
fn luks() {
    // Any file that is there will do for a key.
    const KEY: [&str; 4] = ["--key-file", "/bin/true", "--keyfile-size", "32"];
    walk(&Walk {
        format: Format::Luks,
        mkfs: "cryptsetup",
        always: &[
            "luksFormat",
            "-q",
            "--pbkdf-force-iterations",
            "1000",
            "--pbkdf",
            "pbkdf2",
            KEY[0],
            KEY[1],
            KEY[2],
            KEY[3],
        ],
        options: &[
            &["--type", "luks1"],
            &["--type", "luks2"],
            &["--hash", "sha512"],
            &["--cipher", "aes-cbc-essiv:sha256"],
            &["--cipher", "serpent-xts-plain64"],
            &["--key-size", "256"],
            &["--sector-size", "4096"],
            &["--align-payload", "8192"],
            &["--luks2-metadata-size", "64k"],
            &["--luks2-keyslots-size", "4m"],
            &["--label", "golden"],
        ],
        lists: &[],
        mebibytes: 24,
        judges: &[&["cryptsetup", "open", "--test-passphrase", "--disable-locks", KEY[0], KEY[1], KEY[2], KEY[3]]],
        refused: NEVER,
        least: 30,
    });
}
