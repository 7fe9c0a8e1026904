// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices that hold one thing together, as the vendors' tools and the kernel's driver make them.

use std::fs;

use reseal::disks::device::Device;
use reseal::disks::{self, Format};

use super::{Watched, array, made};
use crate::groups;
use crate::sparse::Sparse;

/// What makes the images `$1-1`, `$1-2` and `$1-3`; `$d1` and so on are loop devices of them, which go by themselves.
const LOOPS: &str =
    "for n in 1 2 3; do d=$(losetup --find --show $1-$n); eval \"exec 1$n<$d; d$n=$d\"; losetup -d $d; done;";
const LVM: &str = "mkdir $1.lvm; export LVM_SYSTEM_DIR=$1.lvm LVM_SUPPRESS_FD_WARNINGS=1 DM_DISABLE_UDEV=1; \
    echo \"devices { filter=[\\\"a|^$d1\\$|\\\", \\\"a|^$d2\\$|\\\", \\\"a|^$d3\\$|\\\", \\\"r|.*|\\\"] use_devicesfile=0 scan_lvs=0 } \
    global { event_activation=0 use_lvmpolld=0 locking_dir=\\\"$1.lvm\\\" } backup { backup=0 archive=0 }\" > $1.lvm/lvm.conf;";
const MADE: [(Format, u8, &str); 6] = [
    (Format::Btrfs, 2, "mkfs.btrfs -q -f -d raid1 -m raid1 $1-1 $1-2"),
    (Format::Btrfs, 3, "mkfs.btrfs -q -f -d single -m raid1 --csum sha256 $1-1 $1-2 $1-3"),
    (Format::Lvm, 2, "LOOPS LVM lvm pvcreate -q -ff -y $d1 $d2; lvm vgcreate -q golden $d1 $d2"),
    (
        Format::Lvm,
        3,
        "LOOPS LVM lvm pvcreate -q -ff -y $d1 $d2; lvm pvcreate -q -ff -y --pvmetadatacopies 0 $d3; \
        lvm vgcreate -q golden $d1 $d2 $d3",
    ),
    (Format::Ext, 2, "LOOPS mke2fs -q -O journal_dev -b 4096 $d2; mke2fs -q -t ext4 -b 4096 -J device=$d2 $d1"),
    (
        Format::Ext,
        2,
        "LOOPS mke2fs -q -O journal_dev -b 1024 $d2; \
        mke2fs -q -t ext4 -b 1024 -O ^metadata_csum -J device=$d2 $d1",
    ),
];

/// Of each as it was made, and of half of it.
pub fn groups() -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let mut all: Vec<(Format, Vec<Sparse>)> = array::mirrors().into_iter().map(|both| (Format::Md, both)).collect();
    for (number, (format, count, command)) in MADE.iter().enumerate() {
        let image = directory.path().join(number.to_string());
        let name = |number: u8| directory.path().join(format!("{}-{number}", image.display()));
        let command = command.replace("LOOPS", LOOPS).replace("LVM", LVM);
        // In bash, which has descriptors of two digits.
        let command = format!("truncate -s 160M $1-1 $1-2 $1-3; {command} >&2");
        if made(&command, &image) {
            let images: Vec<Device> = (1..=*count).map(|number| Device::open(&name(number)).unwrap()).collect();
            all.push((*format, recorded(*format, &images)));
        }
        (1..=3).for_each(|number| drop(fs::remove_file(name(number))));
    }
    eprintln!("{} groups, {} of {} made by tools", all.len(), all.len() - array::mirrors().len(), MADE.len());
    let halves = all.iter().map(|(format, devices)| groups::encode(*format, &devices[..1]));
    let whole = all.iter().map(|(format, devices)| groups::encode(*format, devices));
    whole.chain(halves).collect()
}

fn recorded(format: Format, images: &[Device]) -> Vec<Sparse> {
    let watched: Vec<_> = images.iter().map(Watched::over).collect();
    let found: Option<Vec<_>> = watched.iter().map(|device| disks::probe(device, format).ok().flatten()).collect();
    if let Some(mut found) = found {
        disks::relate(&mut found.iter_mut().collect::<Vec<_>>());
        let _ = disks::plan_all(&watched.iter().collect::<Vec<_>>(), format, &groups::ids(format, &found));
    }
    watched.into_iter().map(Watched::seen).collect()
}
