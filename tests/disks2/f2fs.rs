// SPDX-License-Identifier: MIT OR Apache-2.0
//! F2FS, judged by fsck.f2fs(8).

use reseal::disks::f2fs::{plan, probe};
use reseal::disks::{Patch, Trouble};

use crate::rig::{self, Image, run};

const SIZE: u64 = 64 << 20;

fn make(directory: &tempfile::TempDir, name: &str, options: &[&str]) -> Image {
    let image = Image::new(directory.path(), name, SIZE);
    run("mkfs.f2fs", &[&["-q", "-f", "-l", "golden"], options, &[image.arg()]].concat());
    image
}

fn sound(image: &Image) {
    let said = run("fsck.f2fs", &["--dry-run", image.arg()]);
    assert!(!said.contains("[Fail]") && !said.contains("ASSERT"), "{said}");
}

#[test]
fn without_checksums_it_is_sound_at_every_cut() {
    let test = "f2fs::plain";
    if !rig::have(test, &["mkfs.f2fs", "sload.f2fs", "fsck.f2fs", "blkid"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    for features in [&[][..], &["-O", "extra_attr,project_quota,inode_crtime,quota,verity,lost_found"]] {
        let image = make(&directory, "plain", features);
        let files = directory.path().join("files");
        std::fs::create_dir_all(&files).unwrap();
        std::fs::copy("/bin/true", files.join("true")).unwrap();
        run("sload.f2fs", &["-f", files.to_str().unwrap(), image.arg()]);
        let old = rig::blkid(&image, "UUID");
        let new = rig::fresh();
        let images = [image];
        count += rig::cut_everywhere(
            &images,
            |images| vec![plan(&images[0], new).unwrap()],
            |images, _| {
                sound(&images[0]);
                let uuid = rig::blkid(&images[0], "UUID");
                assert!(uuid == old || uuid == new.to_string());
            },
        );
        sound(&images[0]);
        assert_eq!(rig::blkid(&images[0], "UUID"), new.to_string());
        assert_eq!(probe(&images[0]).unwrap().unwrap().label.as_deref(), Some("golden"));
        assert_eq!(plan(&images[0], new).unwrap(), Patch::default());
    }
    rig::report("F2FS", count);
}

#[test]
fn what_is_not_plain_is_left_alone() {
    let test = "f2fs::bad";
    if !rig::have(test, &["mkfs.f2fs"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for features in ["extra_attr,inode_checksum", "sb_checksum", "encrypt"] {
        let image = make(&directory, "checked", &["-O", features]);
        assert!(matches!(plan(&image, rig::fresh()), Err(Trouble::Refused(_))), "{features}");
        assert!(probe(&image).unwrap().unwrap().refusal.is_some());
    }
    let image = make(&directory, "plain", &[]);
    // Its superblocks are each other's only checksum; the rest of these bytes need only do no harm.
    rig::spoil(&image, &[(1024, 108), (5120, 108)], true, SIZE, |blocks| plan(blocks, rig::fresh()));
    rig::spoil(&image, &[(1024, 3072)], false, SIZE, |blocks| plan(blocks, rig::fresh()));
}
