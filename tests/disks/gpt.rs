// SPDX-License-Identifier: MIT OR Apache-2.0
//! The GUID partition table: sgdisk(8) and fdisk(8) make it, and what the kernel checks is checked after every cut.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use reseal::disks::gpt::{plan, probe};
use reseal::disks::{Patch, Trouble, crc};
use uuid::Uuid;

use crate::rig;

fn guid(number: u128) -> Uuid {
    Uuid::from_u128(0x7e5e_a100_0000_4000_8000_0000_0000_0000 + number)
}

/// A disk of 8 MiB with the partitions `numbers`, by sgdisk.
fn disk(numbers: &[u32]) -> Vec<u8> {
    let (_dir, path) = rig::blank(8);
    let mut arguments = vec!["--clear".to_owned(), "--set-alignment=1".into()];
    for (start, number) in (64..).step_by(64).zip(numbers) {
        arguments.push(format!("--new={number}:{start}:{}", start + 63));
        arguments.push(format!("--change-name={number}:part of {number}"));
    }
    if let Some(first) = numbers.first() {
        arguments.extend([format!("--typecode={first}:ef00"), format!("--attributes={first}:set:2")]);
    }
    arguments.push(path.to_str().unwrap().into());
    rig::told("sgdisk", arguments);
    fs::read(path).unwrap()
}

fn targets(numbers: &[u32]) -> BTreeMap<u32, Uuid> {
    numbers.iter().map(|number| (*number, guid(u128::from(*number)))).collect()
}

/// As `is_gpt_valid` in block/partitions/efi.c looks at the primary table, which without `gpt` on its command line is
/// the only one that Linux believes.
fn kernel_sees(image: &[u8], unit: usize) -> Vec<[u8; 128]> {
    let le32 = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
    let le64 = |at: usize| u64::from_le_bytes(image[at..at + 8].try_into().unwrap());
    let mut header = image[unit..unit + le32(unit + 12) as usize].to_vec();
    header[16..20].fill(0);
    assert_eq!(crc::crc32(&header), le32(unit + 16), "the kernel would see no partition");
    assert_eq!((le64(unit + 24), le32(unit + 84)), (1, 128));
    let start = usize::try_from(le64(unit + 72)).unwrap() * unit;
    let entries = &image[start..start + le32(unit + 80) as usize * 128];
    assert_eq!(crc::crc32(entries), le32(unit + 88), "the kernel would see no partition");
    entries.chunks_exact(128).map(|entry| entry.try_into().unwrap()).collect()
}

/// Are the ids that a reader sees all old or all new?
fn one_identity(old: &[u8], now: &[u8], disk: Uuid, new: &BTreeMap<u32, Uuid>) {
    let ids = |image: &[u8]| probe(image).unwrap().unwrap().ids;
    let mut renewed = ids(old);
    for id in &mut renewed {
        let number = id.name.strip_prefix("partition-").and_then(|number| number.parse().ok());
        match number {
            Some(number) => id.value = new.get(&number).map_or(id.value.clone(), Uuid::to_string),
            None => id.value = disk.to_string(),
        }
    }
    let found = probe(now).unwrap().unwrap();
    assert_eq!(found.refusal, None);
    assert!(found.ids == ids(old) || found.ids == renewed, "neither old nor new: {:?}", found.ids);
}

fn every_cut(name: &str, old: &[u8], new: &BTreeMap<u32, Uuid>) -> Vec<u8> {
    let places = |image: &[u8]| -> Vec<Vec<u8>> {
        kernel_sees(image, 512).iter().map(|entry| [&entry[..16], &entry[32..]].concat()).collect()
    };
    let was = places(old);
    let listed = |path: &Path| rig::told("partx", ["-g", "-o", "NR,START,SECTORS,NAME", path.to_str().unwrap()]);
    let (_dir, path) = rig::blank(0);
    fs::write(&path, old).unwrap();
    let list = listed(&path);
    rig::cuts(
        name,
        old,
        |image| plan(image, guid(0), new),
        |path, now| {
            assert_eq!(places(now), was);
            one_identity(old, now, guid(0), new);
            assert_eq!(listed(path), list);
        },
    )
}

#[test]
fn a_cloud_image_keeps_its_partition_numbers_and_is_whole_after_every_cut() {
    if !rig::have("gpt", &["sgdisk", "partx", "blkid"]) {
        return;
    }
    let numbers = [1, 14, 15];
    let old = disk(&numbers);
    let whole = every_cut("gpt 1,14,15", &old, &targets(&numbers));
    let (_dir, path) = rig::blank(0);
    fs::write(&path, &whole).unwrap();
    let path = path.to_str().unwrap();
    assert!(rig::told("sgdisk", ["--verify", path]).contains("No problems found"));
    assert_eq!(rig::blkid(Path::new(path), "PTUUID"), guid(0).to_string());
    for number in numbers {
        let shown = rig::told("sgdisk", [&format!("--info={number}"), path]);
        let guid = guid(u128::from(number)).to_string().to_uppercase();
        assert!(shown.contains(&format!("Partition unique GUID: {guid}")), "{shown}");
        assert!(shown.contains(&format!("'part of {number}'")), "{shown}");
    }
}

#[test]
fn tables_of_all_sizes_are_whole_after_every_cut() {
    if !rig::have("gpt sizes", &["sgdisk", "partx"]) {
        return;
    }
    every_cut("gpt, one partition", &disk(&[1]), &targets(&[1]));
    every_cut("gpt, no partition", &disk(&[]), &targets(&[]));
    let most: Vec<u32> = (1..=120).collect();
    every_cut("gpt, 120 partitions", &disk(&most), &targets(&most));
    // The EFI system partition keeps its GUID where a firmware boot entry names it.
    every_cut("gpt, one kept", &disk(&[1, 2, 3]), &targets(&[2, 3]));
    every_cut("gpt, only the disk", &disk(&[1, 2, 3]), &targets(&[]));
}

#[test]
fn a_disk_of_4096_byte_sectors_is_written_in_its_sectors() {
    if !rig::have("gpt 4096", &["sgdisk"]) {
        return;
    }
    // No tool here makes such a table in a file, so the table of sgdisk is laid out anew: protective MBR, then the
    // same header and entries with their places in sectors of 4096 bytes.
    let small = disk(&[1, 2, 7]);
    let last: u64 = (small.len() / 4096 - 1) as u64;
    let mut old = vec![0; small.len()];
    old[..512].copy_from_slice(&small[..512]);
    let mut entries = small[1024..1024 + 16384].to_vec();
    for (start, entry) in (8u64..).step_by(8).zip(entries.chunks_exact_mut(128).filter(|entry| entry[0] != 0)) {
        entry[32..40].copy_from_slice(&start.to_le_bytes());
        entry[40..48].copy_from_slice(&(start + 7).to_le_bytes());
    }
    for (at, other, place) in [(1, last, 2), (last, 1, last - 4)] {
        let mut header = small[512..604].to_vec();
        for (field, value) in [(24, at), (32, other), (40, 6), (48, last - 5), (72, place)] {
            header[field..field + 8].copy_from_slice(&value.to_le_bytes());
        }
        header[88..92].copy_from_slice(&crc::crc32(&entries).to_le_bytes());
        header[16..20].fill(0);
        let sum = crc::crc32(&header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        let byte = |sector: u64| usize::try_from(sector).unwrap() * 4096;
        old[byte(at)..byte(at) + 92].copy_from_slice(&header);
        old[byte(place)..byte(place) + 16384].copy_from_slice(&entries);
    }
    let new = targets(&[1, 2, 7]);
    let plan = |image: &[u8]| plan(image, guid(0), &new);
    assert!(plan(&old).unwrap().batches.iter().flatten().all(|write| write.after.len() == 4096));
    let whole = rig::cuts("gpt 4096", &old, plan, |_, now| {
        kernel_sees(now, 4096);
        one_identity(&old, now, guid(0), &new);
    });
    one_identity(&whole, &whole, guid(0), &new);
}

#[test]
fn a_disk_that_has_grown_keeps_its_backup_where_it_is() {
    if !rig::have("gpt grown", &["sgdisk", "partx"]) {
        return;
    }
    // As a cloud image on a larger disk, before anything moved its backup table to the end.
    let mut old = disk(&[1, 14, 15]);
    old.resize(12 << 20, 0);
    every_cut("gpt, grown disk", &old, &targets(&[1, 14, 15]));
}

#[test]
fn another_machine_goes_on_from_a_change_that_was_cut() {
    if !rig::have("gpt again", &["sgdisk"]) {
        return;
    }
    // Entries of one sector, and of several: of those a backup with third GUIDs could not be told from damage after a cut.
    for (numbers, refused) in [(1..=2, 1), (1..=9, 2)] {
        let numbers: Vec<u32> = numbers.collect();
        let old = disk(&numbers);
        let first = plan(&old[..], guid(0), &targets(&numbers)).unwrap();
        let second = numbers.iter().map(|number| (*number, guid(100 + u128::from(*number)))).collect();
        let wanted = rig::patched(&old, &plan(&old[..], guid(100), &second).unwrap());
        // After each batch; within the first one the backup's entries are nobody's, and that is refused.
        for done in 1..=first.batches.len() {
            let cut = rig::patched(&old, &Patch { batches: first.batches[..done].to_vec() });
            match plan(&cut[..], guid(100), &second) {
                Ok(_) if done > refused => {
                    let whole = rig::cuts(
                        &format!("gpt of {} partitions, batch {done}, then another id", numbers.len()),
                        &cut,
                        |image| plan(image, guid(100), &second),
                        |_, now| drop(kernel_sees(now, 512)),
                    );
                    assert!(whole == wanted);
                }
                Err(Trouble::Refused(_)) if done <= refused => (),
                other => panic!("{done}: {other:?}"),
            }
        }
    }
}

#[test]
fn what_is_not_sound_or_not_a_gpt_is_left_alone() {
    if !rig::have("gpt bad", &["sgdisk"]) {
        return;
    }
    let numbers = [1, 14, 15];
    let old = disk(&numbers);
    let new = targets(&numbers);
    let plan_new = |image: &[u8]| plan(image, guid(0), &new);
    let end = old.len();
    rig::flips("gpt primary header", &old, 512..604, plan_new, |_| false);
    rig::flips("gpt primary entries", &old, 1024..1024 + 16384, plan_new, |_| false);
    rig::flips("gpt backup header", &old, end - 512..end - 512 + 92, plan_new, |_| false);
    rig::flips("gpt backup entries", &old, end - 512 - 16384..end - 512, plan_new, |_| false);
    rig::truncations("gpt", &old, plan_new);
    rig::garbage(&old, 0..4096, |image| (plan_new(image).is_err(), probe(image).is_err()));

    // A header with right checksums and wrong numbers.
    let forged = |at: usize, value: &[u8]| {
        let mut image = old.clone();
        image[512 + at..512 + at + value.len()].copy_from_slice(value);
        image[528..532].fill(0);
        let sum = crc::crc32(&image[512..604]);
        image[528..532].copy_from_slice(&sum.to_le_bytes());
        image
    };
    assert!(plan_new(&forged(60, &[1])).is_ok(), "another GUID is no damage");
    let huge = u64::MAX.to_le_bytes();
    for (at, value) in
        [(24, &huge[..]), (32, &huge), (40, &huge), (48, &huge), (72, &huge), (80, &huge[..4]), (84, &huge[..4])]
    {
        assert!(plan_new(&forged(at, value)).is_err(), "{at}");
        assert!(plan_new(&forged(at, &[0; 8][..value.len()])).is_err(), "{at}");
    }

    let twice = BTreeMap::from([(1, guid(1)), (14, guid(1))]);
    for (disk, new) in [(guid(0), targets(&[2])), (Uuid::nil(), new.clone()), (guid(0), twice)] {
        assert!(matches!(plan(&old[..], disk, &new), Err(Trouble::Refused(_))));
    }

    let mut bare = old.clone();
    bare[..512].fill(0);
    assert_eq!(probe(&bare[..]).unwrap(), None, "without a protective MBR there is no GPT for the kernel");
    assert!(plan_new(&bare).is_err());
}

#[test]
fn partitions_that_overlap_are_refused() {
    if !rig::have("gpt overlap", &["sgdisk"]) {
        return;
    }
    let mut image = disk(&[1, 2]);
    let end = image.len();
    // Partition 2 begins where partition 1 does, in both tables, all checksums right.
    for (header, entries) in [(512, 1024), (end - 512, end - 512 - 16384)] {
        let start: [u8; 8] = image[entries + 32..entries + 40].try_into().unwrap();
        image[entries + 128 + 32..entries + 128 + 40].copy_from_slice(&start);
        let sum = crc::crc32(&image[entries..entries + 16384]);
        image[header + 88..header + 92].copy_from_slice(&sum.to_le_bytes());
        image[header + 16..header + 20].fill(0);
        let sum = crc::crc32(&image[header..header + 92]);
        image[header + 16..header + 20].copy_from_slice(&sum.to_le_bytes());
    }
    assert!(
        matches!(plan(&image[..], guid(0), &BTreeMap::new()), Err(Trouble::Damaged(why)) if why.contains("overlap"))
    );
}
