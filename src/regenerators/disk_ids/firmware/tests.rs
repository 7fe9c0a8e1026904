// SPDX-License-Identifier: MIT OR Apache-2.0
//! Variables of a firmware, without one; what it does at every cut.

use super::*;

const OLD: Uuid = Uuid::from_u128(0x0aaa1111_2222_4333_8444_555555555555);
const NEW: Uuid = Uuid::from_u128(0x0bbb1111_2222_4333_8444_555555555555);
const OTHER: Uuid = Uuid::from_u128(0x0ccc1111_2222_4333_8444_555555555555);

fn entry(description: &str, guid: Uuid) -> Vec<u8> {
    let description: Vec<u8> = description.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let drive = [&[4, 1, 42, 0, 1, 0, 0, 0][..], &[0; 16], &guid.to_bytes_le(), &[2, 2, 0x7f, 0xff, 4, 0]].concat();
    [&[7, 0, 0, 0, 1, 0, 0, 0, 46, 0][..], &description, &drive].concat()
}

/// A network entry first, as firmware makes them, then two of the partition, and one that nothing boots by.
fn machine() -> Firmware {
    let network = [&[7, 0, 0, 0, 1, 0, 0, 0, 4, 0, b'n', 0, 0, 0][..], &[0x7f, 0xff, 4, 0]].concat();
    let variables = [
        ("Boot0000", network),
        ("Boot0001", entry("debian", OLD)),
        ("Boot0003", entry("fallback", OLD)),
        ("Boot0005", entry("unlisted", OLD)),
        ("Boot0006", entry("another disk", OTHER)),
        ("BootOrder", vec![7, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 0]),
    ];
    Firmware {
        variables: variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        writable: true,
    }
}

fn guids(there: Uuid, follow: bool) -> Guids {
    let new = if follow { BTreeMap::from([(OLD, NEW)]) } else { BTreeMap::new() };
    Guids { there: BTreeSet::from([there, OTHER]), new }
}

fn take(firmware: &mut Firmware, step: &Variable) {
    let bytes = |content: &Option<crate::plan::Content>| content.as_ref().map(|content| content.bytes.clone());
    assert_eq!(firmware.variables.get(&step.name).cloned(), bytes(&step.before), "{}", step.name);
    match bytes(&step.after) {
        Some(value) => firmware.variables.insert(step.name.clone(), value),
        None => firmware.variables.remove(&step.name),
    };
}

/// What the firmware starts first that is on this disk: UEFI 3.1.1, in the order of the list, the next one if one fails.
fn boots(firmware: &Firmware, disk: Uuid) -> bool {
    let entry = |name: &String| firmware.variables.get(name).and_then(|value| BootEntry::read(value));
    firmware.order().iter().filter_map(entry).any(|entry| entry.partitions().any(|guid| guid == disk))
}

#[test]
fn at_every_cut_an_entry_boots_and_another_run_ends_the_same() {
    let mut settled = machine();
    for name in ["Boot0001", "Boot0003", "Boot0005"] {
        let entry = BootEntry::read(&settled.variables[name]).unwrap();
        settled.variables.insert(name.into(), entry.with(|_| Some(NEW)).bytes());
    }
    let (before, after) = steps(&machine(), &guids(OLD, true));
    assert_eq!((before.len(), after.len()), (4, 6));
    for cut in 0..=before.len() + 1 + after.len() {
        let (mut firmware, mut disk) = (machine(), OLD);
        for step in 0..cut {
            match step.checked_sub(before.len()) {
                None => take(&mut firmware, &before[step]),
                Some(0) => disk = NEW,
                Some(more) => take(&mut firmware, &after[more - 1]),
            }
        }
        assert!(boots(&firmware, disk), "cut {cut}");
        // A boot that is not to have entries follow any more leaves nothing that boots from nowhere, and what boots.
        let mut kept = Firmware { variables: firmware.variables.clone(), writable: true };
        let (none, spare) = steps(&kept, &guids(disk, false));
        assert!(none.is_empty());
        spare.iter().for_each(|step| take(&mut kept, step));
        assert!(boots(&kept, disk), "cut {cut}");
        assert!(disk == NEW || kept.variables == machine().variables, "cut {cut}");
        // Another run.
        let (before, after) = steps(&firmware, &guids(disk, true));
        before.iter().for_each(|step| take(&mut firmware, step));
        assert!(boots(&firmware, disk) && boots(&firmware, NEW), "cut {cut}");
        after.iter().for_each(|step| take(&mut firmware, step));
        assert_eq!(firmware.variables, settled.variables, "cut {cut}");
        assert_eq!(steps(&firmware, &guids(NEW, true)), (Vec::new(), Vec::new()), "cut {cut}");
    }
}

#[test]
fn a_second_entry_whose_original_has_gone_stays() {
    let mut firmware = machine();
    let second = BootEntry::read(&entry("debian", NEW)).unwrap().marked().bytes();
    firmware.variables.insert("Boot0001".into(), second);
    assert_eq!(steps(&firmware, &guids(NEW, false)), (Vec::new(), Vec::new()));
}

#[test]
fn a_quote_that_is_not_understood_does_not_follow() {
    let mut firmware = machine();
    assert!(firmware.names(OLD) && firmware.can_follow(OLD) && !firmware.names(NEW));
    firmware.writable = false;
    assert!(!firmware.can_follow(OLD));
    firmware.writable = true;
    firmware.variables.insert("Boot0007".into(), [&b"garbage"[..], &OLD.to_bytes_le()].concat());
    assert!(!firmware.can_follow(OLD) && firmware.can_follow(OTHER));
    assert!(is_entry("Boot00aF") && !is_entry("BootNext") && !is_entry("Boot00001"));
}
