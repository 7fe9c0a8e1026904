// SPDX-License-Identifier: MIT OR Apache-2.0
//! XFS, judged by xfs_repair(8) and by the kernel.

use std::cell::Cell;

use reseal::disks::xfs::{plan, probe};
use reseal::disks::{Blocks, Patch, Trouble};
use uuid::Uuid;

use crate::rig::{self, Cut, DIGEST, FILL, Image, mounted, output, run};

const SIZE: u64 = 320 << 20;

fn make(directory: &tempfile::TempDir, name: &str, options: &[&str]) -> Image {
    let image = Image::new(directory.path(), name, SIZE);
    run("mkfs.xfs", &[&["-q", "-f"], options, &[image.arg()]].concat());
    image
}

fn id(image: &Image, name: &str) -> Option<String> {
    let found = probe(image).unwrap().unwrap();
    found.ids.into_iter().find(|id| id.name == name).map(|id| id.value)
}

fn silent(image: &Image) {
    let repair = output("xfs_repair", &["-n", image.arg()]);
    assert!(repair.status.success(), "xfs_repair -n: {}", String::from_utf8_lossy(&repair.stderr));
}

/// Cuts everywhere, mounting read-only each time; between batches also read-write on a copy, which writes the log anew.
fn cuts(image: Image, new: Uuid) -> (Image, usize) {
    let digest = mounted(&image, "xfs", ",ro", DIGEST).unwrap();
    let old = id(&image, "uuid").unwrap();
    let images = [image];
    let count = rig::cut_everywhere(
        &images,
        |images| vec![plan(&images[0], new).unwrap()],
        |images, cut: Cut| {
            let now = mounted(&images[0], "xfs", ",ro", DIGEST).unwrap_or_else(|error| panic!("{cut:?}: {error}"));
            assert_eq!(now, digest, "{cut:?}");
            let uuid = id(&images[0], "uuid").unwrap();
            assert!(uuid == old || uuid == new.to_string());
            if cut.clean {
                let copy = images[0].copy("used.img");
                mounted(&copy, "xfs", "", "touch used; sync").unwrap_or_else(|error| panic!("{cut:?}: {error}"));
                copy.apply(&plan(&copy, new).unwrap());
                assert_eq!(id(&copy, "uuid").unwrap(), new.to_string());
                silent(&copy);
                mounted(&copy, "xfs", "", "test -e used; rm used").unwrap();
            }
        },
    );
    let [image] = images;
    silent(&image);
    assert_eq!(rig::blkid(&image, "UUID"), new.to_string());
    assert_eq!(mounted(&image, "xfs", "", DIGEST).unwrap(), digest);
    (image, count)
}

#[test]
fn version_5_keeps_its_files_at_every_cut() {
    let test = "xfs::version_5";
    if !rig::have(test, &["mkfs.xfs", "xfs_repair", "unshare", "blkid"]) || !rig::mounts(test, "xfs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    for (name, options) in [
        ("default", &["-L", "golden"][..]),
        ("agcount", &["--unsupported", "-d", "agcount=8", "-l", "size=4096b"]),
        ("sectors-4096", &["-s", "size=4096", "-b", "size=4096"]),
        ("log-stripes", &["--unsupported", "-d", "su=256k,sw=2", "-l", "su=256k,size=8192b"]),
        ("blocks-1024", &["-b", "size=1024", "-i", "sparse=0", "-m", "finobt=0,reflink=0"]),
        ("plain", &["-m", "rmapbt=0,bigtime=0,inobtcount=0,reflink=0"]),
        ("rmap", &["-m", "rmapbt=1,reflink=1,bigtime=1", "-i", "nrext64=1"]),
    ] {
        let image = make(&directory, name, options);
        // As mkfs left it: its log record has no checksum.
        let made = image.copy("made.img");
        made.apply(&plan(&made, rig::fresh()).unwrap());
        silent(&made);
        mounted(&made, "xfs", "", "true").unwrap_or_else(|error| panic!("{name}: {error}"));

        mounted(&image, "xfs", "", FILL).unwrap();
        let first = id(&image, "uuid").unwrap();
        let (image, cut) = cuts(image, rig::fresh());
        count += cut;
        assert_eq!(id(&image, "meta-uuid").as_deref(), Some(&*first));
        if name == "default" {
            let found = probe(&image).unwrap().unwrap();
            assert_eq!((found.label.as_deref(), &*found.variant, found.refusal), (Some("golden"), "5", None));
            // A second change, and one back to where it came from.
            let (image, second) = cuts(image, rig::fresh());
            let (image, third) = cuts(image, first.parse().unwrap());
            assert_eq!(id(&image, "meta-uuid"), None);
            count += second + third;
        }
    }
    rig::report("XFS 5", count);
}

#[test]
fn any_of_many_groups_may_be_left_behind() {
    let test = "xfs::groups";
    if !rig::have(test, &["mkfs.xfs", "xfs_repair", "unshare"]) || !rig::mounts(test, "xfs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let images = [make(&directory, "groups", &["--unsupported", "-d", "agcount=18", "-l", "size=2048b"])];
    mounted(&images[0], "xfs", "", FILL).unwrap();
    let new = rig::fresh();
    let count = rig::cut_everywhere(
        &images,
        |images| vec![plan(&images[0], new).unwrap()],
        |images, cut| {
            mounted(&images[0], "xfs", ",ro", "test -e a/b/sh").unwrap_or_else(|error| panic!("{cut:?}: {error}"));
        },
    );
    silent(&images[0]);
    rig::report("XFS 5 of 18 groups", count);
}

/// Version 4 mounts nowhere any more where these tests run; its checker still reads it.
#[test]
fn version_4_completes_from_every_cut() {
    let test = "xfs::version_4";
    if !rig::have(test, &["mkfs.xfs", "xfs_repair", "blkid"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let proto = directory.path().join("proto");
    std::fs::write(&proto, "/none\n0 0\nd--755 0 0\nfile ---644 0 0 /bin/true\n$\n").unwrap();
    let mut count = 0;
    for options in [
        &["-m", "crc=0,finobt=0,rmapbt=0,reflink=0", "-n", "ftype=0"][..],
        &[
            "-m",
            "crc=0,finobt=0,rmapbt=0,reflink=0",
            "-i",
            "attr=1",
            "-l",
            "version=1,lazy-count=0",
            "-d",
            "agcount=9",
            "--unsupported",
        ],
    ] {
        let image = make(&directory, "v4", &[options, &["-p", proto.to_str().unwrap()]].concat());
        let new = rig::fresh();
        let images = [image];
        count += rig::cut_everywhere(
            &images,
            |images| vec![plan(&images[0], new).unwrap()],
            |images, _| {
                let read = run("xfs_db", &["-r", "-c", "ls /", images[0].arg()]);
                assert!(read.contains("file"), "{read}");
            },
        );
        silent(&images[0]);
        assert_eq!(rig::blkid(&images[0], "UUID"), new.to_string());
        assert_eq!(probe(&images[0]).unwrap().unwrap().variant, "4");
    }
    rig::report("XFS 4", count);
}

#[test]
fn a_log_that_went_around_has_its_head_found() {
    let test = "xfs::log";
    if !rig::have(test, &["mkfs.xfs", "xfs_repair", "xfs_logprint", "unshare"]) || !rig::mounts(test, "xfs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = make(&directory, "wraps", &["--unsupported", "-l", "size=2048b", "-d", "agcount=2"]);
    let churn = "i=0; while [ $i -lt 6 ]; do i=$((i+1)); mkdir d; cd d; seq 2500 | xargs touch; cd ..; sync; rm -r d; sync; done";
    let mut rounds = Vec::new();
    for _ in 0..6 {
        mounted(&image, "xfs", ",logbsize=256k", churn).unwrap();
        let change = plan(&image, rig::fresh()).unwrap();
        // The record begins with its magic and the round through the log.
        let head = &change.batches[0][0].before;
        rounds.push(u32::from_be_bytes(head[4..8].try_into().unwrap()));
        image.apply(&change);
        silent(&image);
    }
    assert!(rounds.last() > Some(&3), "the log did not go around: {rounds:?}");
}

#[test]
fn a_dirty_log_is_refused() {
    let test = "xfs::dirty";
    if !rig::have(test, &["mkfs.xfs", "xfs_repair", "unshare"]) || !rig::mounts(test, "xfs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = make(&directory, "dirty", &[]);
    let crash = directory.path().join("crash");
    let script =
        format!("echo x > x; sync; echo y > y; sync y; cp --sparse=always {} {}", image.arg(), crash.display());
    mounted(&image, "xfs", "", &script).unwrap();
    let crash = Image::open(crash);
    let refused = plan(&crash, rig::fresh());
    assert!(matches!(&refused, Err(Trouble::Refused(why)) if why.contains("mount and unmount")), "{refused:?}");
    assert!(probe(&crash).unwrap().unwrap().refusal.is_some());
    mounted(&crash, "xfs", "", "test -e y").unwrap();
    crash.apply(&plan(&crash, rig::fresh()).unwrap());
    silent(&crash);
}

#[test]
fn what_is_not_plain_is_left_alone() {
    let test = "xfs::bad";
    if !rig::have(test, &["mkfs.xfs"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let refused = |image: &Image, word: &str| {
        let refused = plan(image, rig::fresh());
        assert!(matches!(&refused, Err(Trouble::Refused(why)) if why.contains(word)), "{refused:?}");
        assert!(probe(image).unwrap().unwrap().refusal.unwrap().contains(word));
    };
    let log = Image::new(directory.path(), "log", 80 << 20);
    let realtime = Image::new(directory.path(), "realtime", 80 << 20);
    refused(&make(&directory, "external", &["-l", &format!("logdev={}", log.arg())]), "another device");
    refused(&make(&directory, "rt", &["-r", &format!("rtdev={}", realtime.arg())]), "realtime");

    let image = make(&directory, "sound", &["-d", "agcount=2"]);
    let repair = image.copy("needsrepair");
    if output("xfs_db", &["-x", "-c", "sb 0", "-c", "write features_incompat 0x1b", repair.arg()]).status.success() {
        refused(&repair, "repair");
    }
    assert!(plan(&image, Uuid::nil()).is_err());
    let new = rig::fresh();
    // Every bit of both superblocks is under a checksum.
    rig::spoil(&image, &[(0, 512), (SIZE / 2, 512)], true, SIZE, |blocks| plan(blocks, new));
    rig::spoil(&image, &[(0, 512)], false, SIZE, |blocks| probe(blocks).and(Err(Trouble::Damaged(String::new()))));
    let v4 = make(&directory, "v4-bad", &["-m", "crc=0,finobt=0,rmapbt=0,reflink=0"]);
    rig::spoil(&v4, &[(0, 512), (SIZE / 4, 512)], false, SIZE, |blocks| plan(blocks, new));
    let head = plan(&image, new).unwrap().batches[0][0].offset;
    rig::spoil(&v4, &[(head, 1024)], false, SIZE, |blocks| plan(blocks, new));
    // A log over the headers of the second group.
    let shift = v4.get(124, 1)[0];
    (0..4).for_each(|group| v4.put(group * SIZE / 4 + 48, &(1_u64 << shift).to_be_bytes()));
    assert!(matches!(plan(&v4, new), Err(Trouble::Damaged(why)) if why.contains("its log is not inside")));
    assert!(probe(&Image::new(directory.path(), "empty", 4096)).unwrap().is_none());
    assert_eq!(plan(&image, probe(&image).unwrap().unwrap().ids[0].value.parse().unwrap()).unwrap(), Patch::default());
}

/// A device that adds up what is read of it.
struct Counted(Image, Cell<u64>);

impl Blocks for Counted {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.1.set(self.1.get() + buffer.len() as u64);
        self.0.read_at(offset, buffer)
    }
}

#[test]
fn size_costs_nothing() {
    if !rig::have("xfs::size", &["mkfs.xfs"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for size in [1_u64 << 30, 100 << 30, 4 << 40] {
        let image = Image::new(directory.path(), "sparse", size);
        run("mkfs.xfs", &["-q", "-f", image.arg()]);
        let counted = Counted(image, Cell::new(0));
        plan(&counted, rig::fresh()).unwrap();
        assert!(counted.1.get() < 4 << 20, "{} bytes read of {size}", counted.1.get());
    }
}
