// SPDX-License-Identifier: MIT OR Apache-2.0
//! ext with its journal on another device, judged by e2fsck(8) and by the kernel.

use reseal::disks::{self, Blocks as _, Format, Id, Trouble};

use crate::rig::{self, Image, output};

/// Runs a script with the filesystem as `$f` and its journal as `$j`, loop devices that go when it ends.
fn script(images: &[Image], script: &str) -> Result<String, String> {
    let [f, j] = [images[0].arg(), images[1].arg()];
    // Detached while they are open, the devices go with their last user.
    let whole = format!(
        "set -e; f=$(losetup --find --show {f}); exec 3<$f; losetup -d $f; j=$(losetup --find --show {j}); exec 4<$j; \
         losetup -d $j; at={}; mkdir -p $at; {script}",
        images[0].path.with_file_name("mounted").display()
    );
    let output = output("unshare", &["--mount", "--propagation", "private", "sh", "-c", &whole]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&[output.stdout, output.stderr].concat())) }
}

fn make(directory: &tempfile::TempDir, block: u32, features: &str) -> [Image; 2] {
    let images = [("files", 64), ("journal", 8)].map(|(name, size)| Image::new(directory.path(), name, size << 20));
    let made = format!(
        "mke2fs -q -O journal_dev -b {block} $j; mke2fs -q -t ext4 -b {block} -O {features} -J device=$j $f; \
         mount -t ext4 -o journal_path=$j $f $at; cp /bin/sh $at; umount $at"
    );
    script(&images, &made).unwrap_or_else(|error| panic!("{error}"));
    images
}

const MOUNT: &str = "mount -t ext4 -o ro,journal_path=$j $f $at; cmp /bin/sh $at/sh; umount $at";
const CHECK: &str = "e2fsck -fn -j $j $f";

#[test]
fn filesystem_and_journal_change_together_and_mount_at_every_cut() {
    let test = "external::cuts";
    if !rig::have(test, &["mke2fs", "e2fsck", "unshare", "losetup", "blkid"]) || !rig::mounts(test, "ext4") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    for (block, features) in [
        (1024, "metadata_csum,^metadata_csum_seed"),
        (4096, "metadata_csum,metadata_csum_seed"),
        (4096, "^metadata_csum"),
        (2048, "metadata_csum,^64bit"),
    ] {
        let images = make(&directory, block, features);
        let found =
            |images: &[Image]| [0, 1].map(|number| disks::probe(&images[number], Format::Ext).unwrap().unwrap());
        let [files, journal] = found(&images);
        let group = files.group.clone().unwrap();
        assert_eq!((&files.group, group.members, &files.refusal), (&journal.group, 2, &None));
        assert_eq!((journal.ids[0].name.as_str(), &journal.ids[0].value), ("journal-uuid", &group.key));
        assert!(!Format::Ext.renews(&journal.ids[0]));
        let new = rig::fresh().to_string();
        let ids = [vec![Id { value: new.clone(), ..files.ids[0].clone() }], vec![]];
        let mut mixed = 0;
        count += rig::cut_everywhere(
            &images,
            |images| disks::plan_all(&images.iter().collect::<Vec<_>>(), Format::Ext, &ids).unwrap(),
            |images, cut| {
                let [now, log] = found(images);
                assert_eq!((&now.group, &log.group, &now.refusal), (&Some(group.clone()), &Some(group.clone()), &None));
                if cut.clean || mixed < 4 {
                    mixed += u32::from(!cut.clean);
                    // Mounting writes down the journal's device number, so a copy is judged.
                    let copies = [images[0].copy("judged-files"), images[1].copy("judged-journal")];
                    let judged = script(&copies, &format!("{CHECK}; {MOUNT}"));
                    judged.unwrap_or_else(|error| panic!("{features}: {cut:?}: {error}"));
                }
            },
        );
        for check in [CHECK, MOUNT] {
            script(&images, check).unwrap_or_else(|error| panic!("{features}: {error}"));
        }
        assert_eq!((rig::blkid(&images[0], "UUID"), rig::blkid(&images[1], "UUID")), (new.clone(), group.key.clone()));
        // The other way around there is nothing left to do.
        let [first, second] = [&images[1], &images[0]];
        let again = disks::plan_all(&[first, second], Format::Ext, &[vec![], ids[0].clone()]).unwrap();
        assert!(again.iter().all(|patch| patch.batches.is_empty()));

        let uuid = vec![Id { name: "uuid".into(), value: new }];
        let refused = |images: &[&Image], ids: &[Vec<Id>]| {
            let planned = disks::plan_all(images, Format::Ext, ids);
            assert!(matches!(planned, Err(Trouble::Refused(_))), "{planned:?}");
        };
        refused(&[&images[0]], std::slice::from_ref(&uuid));
        refused(&[&images[1]], &[vec![]]);
        refused(&[&images[0], &images[0]], &[uuid.clone(), vec![]]);
        refused(&[&images[0], &images[1]], &[uuid.clone(), uuid.clone()]);
        let [_, other] = make(&tempfile::tempdir_in(directory.path()).unwrap(), block, features);
        refused(&[&images[0], &other], &[uuid.clone(), vec![]]);
        // Every byte of the journal's superblock is checked where it has a checksum, and none of them may panic.
        let at = u64::from(if block == 1024 { 2048 } else { block });
        for place in 0..1024 {
            let spoilt =
                rig::Spoilt { image: &images[1], size: images[1].size(), at: at + place, flip: 0xff, width: 1 };
            let whole = rig::Spoilt { image: &images[0], size: images[0].size(), at: 0, flip: 0, width: 0 };
            let planned = disks::plan_all(&[&whole, &spoilt], Format::Ext, &[uuid.clone(), vec![]]);
            assert!(planned.is_err() || features.starts_with('^'), "{place}");
        }
    }
    rig::report("ext, external journal", count);
}
