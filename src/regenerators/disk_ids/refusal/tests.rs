// SPDX-License-Identifier: MIT OR Apache-2.0
//! Disks as a running system may have them, without any disk.

use std::fs;

use super::*;
use crate::disks::{Found, Group};
use crate::guest::Guest;
use crate::guest::disks::{Disk, Disks, Usage};
use crate::plan::derive::Seed;
use crate::plan::draft::{Past, Purpose};
use crate::regenerators::disk_ids::unit;

const ID: &str = "0aaa1111-2222-4333-8444-555555555555";
const OTHER: &str = "0bbb1111-2222-4333-8444-555555555555";

fn found(format: Format, ids: &[(&str, &str)]) -> Found {
    let ids = ids.iter().map(|(name, value)| Id { name: (*name).into(), value: (*value).into() });
    Found::of(format, "variant", ids.collect())
}

fn uuid(format: Format, id: &str) -> Found {
    found(format, &[("uuid", id)])
}

fn with(mut found: Found, change: impl FnOnce(&mut Found)) -> Found {
    change(&mut found);
    found
}

fn disk(path: &str, parts: Vec<(Found, Usage)>) -> Disk {
    let part = |(number, (found, usage)): (u32, (Found, Usage))| {
        let path = if number == 0 { path.to_owned() } else { format!("{path}{number}") };
        let mut part = Part::at(&path, (number > 0).then_some(number), (0, 1 << 20), usage);
        part.found.push(found);
        part
    };
    Disk { path: path.into(), boots: false, parts: (0..).zip(parts).map(part).collect() }
}

fn alone(found: Found, usage: Usage) -> Vec<Disk> {
    vec![disk("/dev/vdb", vec![(found, usage)])]
}

/// The way for the first unit of a format, among these disks and files.
fn way_of(format: Format, disks: Vec<Disk>, files: &[(&str, &str)], stage: Option<Stage>) -> Result<Via, String> {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let guest = Guest { disks: Disks::as_if_running(disks), stage, ..Guest::open(dir.path()).unwrap() };
    let draft = Draft::new(&guest, Purpose::Reset, Past::none(Seed::random(b"").unwrap()));
    let tpm = guest.disks.parts().any(|(_, part)| part.found.iter().any(|found| found.tpm));
    let units = unit::all(&guest.disks, &[format]);
    way(&draft, &Outlook::of(&draft), &units[0], tpm)
}

fn refused(format: Format, disks: Vec<Disk>, files: &[(&str, &str)], part: &str) {
    let why = way_of(format, disks, files, None).expect_err(part);
    assert!(why.contains(part), "{why}");
}

fn usage() -> Usage {
    Usage::default()
}

fn mounted(at: &str) -> Usage {
    Usage { mounted: true, mount_points: vec![at.into()], ..usage() }
}

fn held(by: &str) -> Usage {
    Usage { holders: vec![by.into()], ..usage() }
}

#[test]
fn what_must_not_change_is_refused_with_its_reason() {
    let ext = || uuid(Format::Ext, ID);
    refused(Format::Ext, alone(ext(), Usage { carries: vec!["/usr".into()], ..usage() }), &[], "/usr is on it");
    refused(Format::Ext, alone(ext(), Usage { network: true, ..usage() }), &[], "over a network");
    refused(Format::Ext, alone(ext(), Usage { read_only: true, ..usage() }), &[], "read-only");
    refused(Format::Swap, alone(uuid(Format::Swap, ID), Usage { resume: true, ..usage() }), &[], "hibernated");
    for spelling in [ID.to_uppercase(), ID.replace('-', ""), format!("luks-{ID}")] {
        let line = format!("quiet rd.luks.uuid={spelling}\n");
        refused(Format::Luks, alone(uuid(Format::Luks, ID), usage()), &[("proc/cmdline", &line)], "command line");
    }
    refused(Format::Xfs, alone(uuid(Format::Xfs, ID), mounted("/srv")), &[], "mounted at /srv");
    refused(Format::Luks, alone(uuid(Format::Luks, ID), held("/dev/dm-0")), &[], "it is open");
    refused(
        Format::Ext,
        alone(with(ext(), |found| found.refusal = Some("it is dirty".into())), usage()),
        &[],
        "it is dirty",
    );
    let asleep = with(uuid(Format::Swap, OTHER), |found| found.variant = HIBERNATED.into());
    let asleep = vec![disk("/dev/vdb", vec![(ext(), usage())]), disk("/dev/vdc", vec![(asleep, usage())])];
    refused(Format::Ext, asleep, &[], "/dev/vdc holds the memory of a hibernated machine");
    let twins = vec![disk("/dev/vdb", vec![(ext(), usage())]), disk("/dev/vdc", vec![(ext(), usage())])];
    refused(Format::Ext, twins, &[], "/dev/vdc has the same");
    let group = Some(Group { key: "pair".into(), members: 2 });
    refused(
        Format::Btrfs,
        alone(with(uuid(Format::Btrfs, ID), |found| found.group = group), usage()),
        &[],
        "2 devices, of which 1",
    );
    let mut two = alone(ext(), usage());
    two[0].parts[0].found.push(uuid(Format::Xfs, OTHER));
    refused(Format::Ext, two, &[], "another format's signature");
    for stage in [Stage::System, Stage::Keys] {
        let late = way_of(Format::Ext, alone(ext(), mounted("/srv")), &[], Some(stage)).unwrap_err();
        assert!(late.starts_with("pending"), "{late}");
    }
}

#[test]
fn a_tpm_keeps_volumes_and_tables_but_nothing_else() {
    let sealed = with(uuid(Format::Luks, ID), |found| found.tpm = true);
    let disks = || {
        let table = found(Format::Gpt, &[("disk-guid", OTHER)]);
        vec![disk("/dev/vdb", vec![(table, usage()), (sealed.clone(), usage()), (uuid(Format::Ext, OTHER), usage())])]
    };
    refused(Format::Luks, disks(), &[], "TPM");
    refused(Format::Gpt, disks(), &[], "TPM");
    assert_eq!(way_of(Format::Ext, disks(), &[], None), Ok(Via::Sectors));
}

#[test]
fn each_use_has_a_way_of_its_own() {
    let via = |format, disks| way_of(format, disks, &[], Some(Stage::Early)).unwrap();
    assert_eq!(via(Format::Ext, alone(uuid(Format::Ext, ID), usage())), Via::Sectors);
    // Its superblock says that it is mounted, which is no reason to refuse what the kernel does.
    let dirty = with(uuid(Format::Ext, ID), |found| found.refusal = Some("it is mounted".into()));
    assert_eq!(via(Format::Ext, alone(dirty, mounted("/srv"))), Via::Kernel { mounted: "/srv".into() });
    let swap = alone(uuid(Format::Swap, ID), Usage { swap: true, ..usage() });
    assert_eq!(via(Format::Swap, swap), Via::Swap);
    let table = |below| vec![disk("/dev/vdb", vec![(found(Format::Gpt, &[("disk-guid", OTHER)]), usage()), below])];
    assert_eq!(via(Format::Gpt, table((uuid(Format::Ext, ID), usage()))), Via::Sectors);
    assert_eq!(via(Format::Gpt, table((uuid(Format::Ext, ID), mounted("/")))), Via::Shared);
}

#[test]
fn a_volume_group_is_stopped_only_when_nobody_uses_it() {
    let volume = |usage| {
        let member = with(uuid(Format::Lvm, ID), |found| found.label = Some("data".into()));
        vec![
            disk("/dev/vdb", vec![(member, held("/dev/dm-0"))]),
            disk("/dev/dm-0", vec![(uuid(Format::Xfs, OTHER), usage)]),
        ]
    };
    let group = vec![Active::VolumeGroup { name: "data".into() }];
    assert_eq!(way_of(Format::Lvm, volume(usage()), &[], None), Ok(Via::Stopped { stop: group.clone(), start: group }));
    refused(Format::Lvm, volume(mounted("/srv")), &[], "/dev/dm-0 of this group is in use");
    refused(Format::Lvm, volume(held("/dev/dm-1")), &[], "in use");
}

#[test]
fn both_halves_of_an_array_that_a_cut_left_are_stopped() {
    let group = Some(Group { key: "array".into(), members: 2 });
    let member = |id| with(uuid(Format::Md, id), |found| found.group = group.clone());
    let halves = || {
        vec![
            disk("/dev/vdb", vec![(member(ID), held("/dev/md127"))]),
            disk("/dev/vdc", vec![(member(OTHER), held("/dev/md0"))]),
        ]
    };
    let members = vec!["/dev/vdb".to_owned(), "/dev/vdc".to_owned()];
    let array = |device: &str| Active::Array { device: device.into(), members: members.clone() };
    let via = Via::Stopped { stop: vec![array("/dev/md0"), array("/dev/md127")], start: vec![array("/dev/md0")] };
    assert_eq!(way_of(Format::Md, halves(), &[], None), Ok(via));
    let fstab = [("etc/fstab", "/dev/md0 /srv ext4 defaults 0 2\n")];
    refused(Format::Md, halves(), &fstab, "name an array by its device");
}

#[test]
fn a_partition_that_the_firmware_boots_from_keeps_its_guid() {
    let dir = tempfile::tempdir().unwrap();
    let variables = dir.path().join("sys/firmware/efi/efivars");
    fs::create_dir_all(&variables).unwrap();
    let guid = uuid::Uuid::parse_str(ID).unwrap().to_bytes_le();
    let drive = [&[4, 1, 42, 0, 1, 0, 0, 0][..], &[0; 16], &guid, &[2, 2], &[0x7f, 0xff, 4, 0]].concat();
    let entry = [&[7, 0, 0, 0, 1, 0, 0, 0, 46, 0, b'x', 0, 0, 0][..], &drive].concat();
    let file = variables.join("Boot0001-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    fs::write(&file, &entry).unwrap();
    let table = found(Format::Gpt, &[("disk-guid", OTHER), ("partition-1", ID)]);
    let disks = Disks::as_if_running(alone(table, usage()));
    let guest = Guest { disks, ..Guest::open(dir.path()).unwrap() };
    let draft = Draft::new(&guest, Purpose::Reset, Past::none(Seed::random(b"").unwrap()));
    let units = unit::all(&guest.disks, &[Format::Gpt]);
    let kept_if = |entries_follow| {
        let mut outlook = Outlook::of(&draft);
        outlook.entries_follow = entries_follow;
        kept(&outlook, &units[0])
    };
    assert_eq!(kept_if(false), [ID]);
    assert_eq!(units[0].after(&draft, &kept_if(false))[0][1].value, ID);
    assert_ne!(units[0].after(&draft, &kept_if(false))[0][0].value, OTHER);
    // An entry follows, unless it quotes the GUID somewhere else too.
    assert!(kept_if(true).is_empty());
    fs::write(&file, [&entry[..], &guid].concat()).unwrap();
    assert_eq!(kept_if(true), [ID]);
    fs::write(&file, entry).unwrap();
    fs::create_dir_all(dir.path().join("proc")).unwrap();
    fs::write(dir.path().join("proc/cmdline"), format!("root=PARTUUID={ID}\n")).unwrap();
    assert_eq!(kept_if(true), [ID]);
}
