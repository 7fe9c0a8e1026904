// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every option of pvcreate(8) that lays a device out otherwise, and every pair of them, on a group of one.

use std::io::Write as _;

use reseal::disks::Trouble;
use reseal::disks::lvm::{Ids, probe};

use super::{SIZE, fresh, lvm, plan};
use crate::rig::{self, Image};

#[test]
fn every_option_and_every_pair_of_options_passes_the_vendor_s_check() {
    let test = "lvm::features";
    if !rig::have(test, &["lvm", "losetup", "blkid"]) || !rig::loops(test) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let options = [
        "--pvmetadatacopies 1",
        "--pvmetadatacopies 2",
        "--metadatasize 64k",
        "--metadatasize 128k",
        "--metadatasize 2m",
        "--dataalignment 3m",
        "--dataalignmentoffset 7k",
        "--labelsector 3",
        "--setphysicalvolumesize 20m",
        "--bootloaderareasize 1m",
        "--zero n",
    ];
    let (mut changed, mut refused, mut unmade, mut cuts) = (0, 0, 0, 0);
    for (index, first) in options.iter().enumerate() {
        for second in &options[index..] {
            let list = if first == second { first.to_string() } else { format!("{first} {second}") };
            let image = Image::new(directory.path(), "image", SIZE);
            let made = lvm(&[&image], &format!("lvm pvcreate -q -ff -y {list} $d1; lvm vgcreate -q -s 1m golden $d1"));
            if made.is_err() {
                unmade += 1;
                continue;
            }
            let new = Ids { logical_volumes: [].into(), ..fresh() };
            match plan(&image, &new) {
                Ok(_) => {}
                Err(Trouble::Refused(why)) => {
                    let expected = list.contains("bootloaderarea") || list.contains("metadatasize 64k");
                    assert!(expected && probe(&image).is_ok(), "{list}: {why}");
                    refused += 1;
                    continue;
                }
                Err(trouble) => panic!("{list}: {trouble}"),
            }
            assert!(!list.contains("bootloaderarea"), "{list}: planned");
            let images = [image];
            cuts += rig::cut_everywhere(
                &images,
                |images| vec![plan(&images[0], &new).unwrap()],
                |images, _| assert_eq!(probe(&images[0]).unwrap().unwrap().refusal, None),
            );
            // It looks for the label in one sector only.
            let sector = if list.contains("labelsector") { "--labelsector 3" } else { "" };
            let check = format!("lvm pvck {sector} $d1 >/dev/null; lvm vgck golden");
            let script = "; lvm vgchange -q --addtag t golden >/dev/null; \
                          lvm pvs --noheadings -o pv_uuid,vg_uuid";
            let seen = lvm(&[&images[0]], &format!("{check}{script}"))
                .unwrap_or_else(|error| panic!("{list}: {error}"))
                .replace('-', "");
            let wanted = [&new.physical_volumes[0], new.volume_group.as_ref().unwrap()];
            assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), wanted, "{list}");
            // And once more, from where the first change left it.
            let again = Ids { logical_volumes: [].into(), ..fresh() };
            images[0].apply(&plan(&images[0], &again).unwrap());
            lvm(&[&images[0]], &check).unwrap();
            changed += 1;
        }
    }
    let _ = writeln!(
        std::io::stderr(),
        "lvm, options and pairs: {changed} changed with {cuts} cuts, {refused} refused, {unmade} that pvcreate does not make"
    );
    assert!(changed >= 30, "only {changed}");
}
