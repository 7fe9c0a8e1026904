// SPDX-License-Identifier: MIT OR Apache-2.0
//! btrfs, judged by btrfs check and by the kernel.

use reseal::disks::btrfs::{devices, plan, plan_all, probe};
use reseal::disks::{self, Format, Id, Patch, Trouble};
use uuid::Uuid;

use crate::rig::{self, DIGEST, FILL, Image, mounted, output, run};

/// Long enough for the second superblock, at 64 MiB.
const SIZE: u64 = 160 << 20;

fn make(directory: &tempfile::TempDir, name: &str, options: &[&str]) -> Image {
    let image = Image::new(directory.path(), name, SIZE);
    run("mkfs.btrfs", &[&["-q", "-f"], options, &[image.arg()]].concat());
    image
}

fn id(image: &Image, name: &str) -> Option<String> {
    let found = probe(image).unwrap().unwrap();
    found.ids.into_iter().find(|id| id.name == name).map(|id| id.value)
}

fn silent(image: &Image) {
    let check = output("btrfs", &["check", "--readonly", image.arg()]);
    let (out, err) = (String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&check.stderr));
    assert!(check.status.success() && out.contains("no error found"), "btrfs check: {out}{err}");
}

/// Cuts everywhere, each time checked and mounted read-only, and read-write in a copy.
fn cuts(image: Image, new: Uuid) -> (Image, usize) {
    let digest = mounted(&image, "btrfs", ",ro", DIGEST).unwrap();
    let old = id(&image, "uuid").unwrap();
    let images = [image];
    let count = rig::cut_everywhere(
        &images,
        |images| vec![plan(&images[0], new).unwrap()],
        |images, cut| {
            silent(&images[0]);
            let now = mounted(&images[0], "btrfs", ",ro", DIGEST).unwrap_or_else(|error| panic!("{cut:?}: {error}"));
            assert_eq!(now, digest, "{cut:?}");
            let uuid = id(&images[0], "uuid").unwrap();
            assert!(uuid == old || uuid == new.to_string());
            let copy = images[0].copy("used");
            mounted(&copy, "btrfs", "", "touch used; sync").unwrap();
            copy.apply(&plan(&copy, new).unwrap());
            mounted(&copy, "btrfs", "", "test -e used; rm used").unwrap();
            assert_eq!(id(&copy, "uuid").unwrap(), new.to_string());
            silent(&copy);
        },
    );
    let [image] = images;
    silent(&image);
    assert_eq!(rig::blkid(&image, "UUID"), new.to_string());
    assert_eq!(mounted(&image, "btrfs", "", DIGEST).unwrap(), digest);
    (image, count)
}

#[test]
fn one_device_keeps_its_files_at_every_cut() {
    let test = "btrfs::one";
    if !rig::have(test, &["mkfs.btrfs", "btrfs", "unshare", "blkid"]) || !rig::mounts(test, "btrfs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    for (name, options) in [
        ("crc32c", &["--csum", "crc32c", "-L", "golden"][..]),
        ("xxhash", &["--csum", "xxhash"]),
        ("sha256", &["--csum", "sha256"]),
        ("blake2", &["--csum", "blake2", "-m", "single"]),
        ("mixed", &["--mixed", "--nodesize", "4096"]),
        ("old", &["-O", "^no-holes,^skinny-metadata,^extref", "-R", "^free-space-tree"]),
        ("new", &["-O", "block-group-tree,no-holes", "-R", "free-space-tree"]),
    ] {
        let image = Image::new(directory.path(), name, SIZE);
        if name == "new" && !output("mkfs.btrfs", &[&["-q", "-f"], options, &[image.arg()]].concat()).status.success() {
            continue;
        }
        let image = make(&directory, name, options);
        mounted(&image, "btrfs", "", FILL).unwrap();
        let first = id(&image, "uuid").unwrap();
        let (image, cut) = cuts(image, rig::fresh());
        count += cut;
        assert_eq!(id(&image, "metadata-uuid").as_deref(), Some(&*first));
        if name == "crc32c" {
            let found = probe(&image).unwrap().unwrap();
            assert_eq!((found.label.as_deref(), found.refusal, found.group), (Some("golden"), None, None));
            assert_eq!(rig::blkid(&image, "UUID_SUB"), id(&image, "uuid-sub").unwrap());
            let (image, second) = cuts(image, rig::fresh());
            let (image, third) = cuts(image, first.parse().unwrap());
            assert_eq!(id(&image, "metadata-uuid"), None);
            count += second + third;
        }
    }
    rig::report("btrfs", count);
}

#[test]
fn a_log_tree_is_replayed_under_the_new_id() {
    let test = "btrfs::log-tree";
    if !rig::have(test, &["mkfs.btrfs", "btrfs", "unshare"]) || !rig::mounts(test, "btrfs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = make(&directory, "log", &[]);
    let crash = directory.path().join("crash");
    let script = format!("echo x > x; sync; echo y > y; sync y; cp {} {}", image.arg(), crash.display());
    mounted(&image, "btrfs", ",commit=300", &script).unwrap();
    let crash = Image::open(crash);
    // log_root of struct btrfs_super_block.
    assert_ne!(crash.get(0x10000 + 0x60, 8), [0; 8], "there is no log tree to replay");
    crash.apply(&plan(&crash, rig::fresh()).unwrap());
    mounted(&crash, "btrfs", "", "test \"$(cat x)\" = x; test \"$(cat y)\" = y").unwrap();
    silent(&crash);
}

#[test]
fn several_devices_complete_from_every_cut() {
    let test = "btrfs::several";
    if !rig::have(test, &["mkfs.btrfs", "btrfs"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = |name: &str| Image::new(directory.path(), name, SIZE);
    let images = [image("a"), image("b"), image("c")];
    let arguments = images.iter().map(Image::arg);
    run("mkfs.btrfs", &["-q", "-f", "-d", "raid1", "-m", "raid1"].into_iter().chain(arguments).collect::<Vec<_>>());
    let new = rig::fresh();
    let ids = vec![vec![Id { name: "uuid".into(), value: new.to_string() }]; 3];
    let plans = |images: &[Image]| disks::plan_all(&images.iter().collect::<Vec<_>>(), Format::Btrfs, &ids).unwrap();
    let group = probe(&images[0]).unwrap().unwrap().group.unwrap();
    assert_eq!(group.members, 3);
    let count = rig::cut_everywhere(&images, plans, |images, _| {
        assert_eq!(devices(&images[0]).unwrap(), 3);
        for image in images {
            assert_eq!(probe(image).unwrap().unwrap().group.as_ref(), Some(&group));
        }
    });
    let attach: Vec<_> = images.iter().skip(1).map(|image| format!("losetup --find --show {}", image.arg())).collect();
    let script = format!(
        // Detached while they are open, the devices go with the last that uses them, however this ends.
        "set -e; one=$({}); exec 3<$one; losetup -d $one; two=$({}); exec 4<$two; losetup -d $two; \
         btrfs device scan $one $two >/dev/null; mkdir -p {at}; \
         mount -t btrfs -o loop,device=$one,device=$two {} {at}; echo x > {at}/x; umount {at}; \
         btrfs device scan --forget $one $two",
        attach[0],
        attach[1],
        images[0].arg(),
        at = directory.path().join("mounted").display()
    );
    if rig::mounts(test, "btrfs") {
        run("unshare", &["--mount", "--propagation", "private", "sh", "-c", &script]);
    }
    let refused = |images: &[&Image], word: &str| {
        let refused = plan_all(images, rig::fresh());
        assert!(matches!(&refused, Err(Trouble::Refused(why)) if why.contains(word)), "{refused:?}");
    };
    refused(&[&images[0], &images[1]], "are at hand");
    refused(&[&images[0]], "are at hand");
    refused(&[&images[0], &images[1], &images[1]], "twice");
    refused(&[&images[0], &images[1], &make(&directory, "other", &[])], "more than one");
    rig::report("btrfs, three devices", count);
}

#[test]
fn what_is_not_plain_is_left_alone() {
    let test = "btrfs::bad";
    if !rig::have(test, &["mkfs.btrfs", "btrfstune"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = make(&directory, "sound", &[]);
    let new = rig::fresh();
    let seed = image.copy("seed");
    run("btrfstune", &["-S", "1", seed.arg()]);
    assert!(matches!(plan(&seed, new), Err(Trouble::Refused(why)) if why.contains("seed")));
    assert!(probe(&seed).unwrap().unwrap().refusal.is_some());
    // btrfstune killed half-way: the flag, under a checksum that is right.
    for (flag, word) in [(1_u64 << 35, "btrfstune"), (1 << 36, "btrfstune"), (1 << 2, "in error")] {
        let marked = image.copy("marked");
        let mut superblock = marked.get(0x10000, 4096);
        let flags = u64::from_le_bytes(superblock[0x38..0x40].try_into().unwrap()) | flag;
        superblock[0x38..0x40].copy_from_slice(&flags.to_le_bytes());
        let sum = !reseal::disks::crc::crc32c_raw(!0, &superblock[32..]);
        superblock[..4].copy_from_slice(&sum.to_le_bytes());
        marked.put(0x10000, &superblock);
        assert!(matches!(plan(&marked, new), Err(Trouble::Refused(why)) if why.contains(word)));
    }
    rig::spoil(&image, &[(0x10000, 4096), (64 << 20, 4096)], true, SIZE, |blocks| plan(blocks, new));
    rig::spoil(&image, &[(0x10000, 1024)], false, SIZE, |blocks| {
        probe(blocks).and(Err(Trouble::Damaged(String::new())))
    });
    assert!(probe(&Image::new(directory.path(), "empty", 1 << 20)).unwrap().is_none());
    assert_eq!(plan(&image, id(&image, "uuid").unwrap().parse().unwrap()).unwrap(), Patch::default());
}
