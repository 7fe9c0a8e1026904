// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold of any device at all: an error, or a change that is whole, resumes after every cut, and ends.

use reseal::disks::layout::partitions;
use reseal::disks::{self, Blocks, Format, Id, Patch, Trouble};
use reseal::plan::derive::Seed;

use crate::dice::Dice;
use crate::sparse::Sparse;
use crate::tally;

/// Of a batch of so many writes every subset is tried as a cut; of a larger one, this many.
const ALL_SUBSETS: usize = 2;

/// Probes and plans one format on the device that `input` stands for.
pub fn disk(format: Format, input: &[u8]) {
    let device = Sparse::decode(input);
    if format.is_table() {
        layout(&device);
    }
    let found = disks::probe(device.begin(), format);
    let known = match &found {
        Ok(Some(found)) if found.refusal.is_none() => renewed(format, &found.ids),
        _ => named(format),
    };
    let planned = plan(device.begin(), format, &known);
    let found = match found {
        Ok(Some(found)) if found.refusal.is_none() => found,
        other => {
            assert!(planned.is_err(), "{other:?}, and all the same {planned:?}");
            tally::count(if other.is_ok_and(|found| found.is_none()) { "nothing there" } else { "error or refusal" });
            return;
        }
    };
    assert_eq!(found.format, format);
    let patch = match planned {
        Ok(patch) => patch,
        Err(Trouble::Unreadable(error)) => panic!("found, and then: {error}"),
        Err(_) => return tally::count("refused to plan"),
    };
    let whole = carried_out(&device, &patch);
    let after = disks::probe(whole.begin(), format).unwrap_or_else(|trouble| panic!("after the change: {trouble}"));
    let after = after.expect("after the change nothing is there");
    assert_eq!((&after.variant, &after.label, &after.refusal), (&found.variant, &found.label, &None));
    assert!(known.iter().all(|id| after.ids.contains(id)), "{:?} and not {known:?}", after.ids);
    assert_eq!(plan(whole.begin(), format, &known).expect("a second plan"), Patch::default(), "a second plan");

    let mut dice = Dice::new(input.len() as u64);
    let mut cut = device.clone();
    for batch in &patch.batches {
        let subsets = if batch.len() <= ALL_SUBSETS { 1 << batch.len() } else { ALL_SUBSETS };
        for subset in 0..subsets {
            let flags = if batch.len() <= ALL_SUBSETS { subset as u64 } else { dice.roll() };
            let mut some = cut.clone();
            batch.iter().enumerate().filter(|(at, _)| flags >> (at % 64) & 1 == 1).for_each(|(_, one)| some.write(one));
            resumes(format, &some, &whole, [&found.ids, &known]);
        }
        batch.iter().for_each(|write| cut.write(write));
    }
    tally::count("changed");
}

/// Looks for what is known and not changed: an error or a name, whatever stands there, and the same the next time.
pub fn foreign(input: &[u8]) {
    let device = Sparse::decode(input);
    let look = || format!("{:?}", disks::foreign::probe(device.begin()));
    let found = look();
    assert_eq!(found, look());
    tally::count(if found.starts_with("Ok(Some") { "known" } else { "error or nothing there" });
}

/// Every state of the device that a change by other ids leaves after each of its batches.
pub fn half_changed(format: Format, device: &Sparse) -> Vec<Sparse> {
    let Ok(Some(found)) = disks::probe(device.begin(), format) else { return Vec::new() };
    let ids: Vec<Id> = fresh(format, &found.ids, "11");
    let patch = plan(device.begin(), format, &ids).unwrap_or_default();
    let mut now = device.clone();
    let mut all = Vec::new();
    for batch in &patch.batches {
        if let Some(first) = batch.first() {
            let mut torn = now.clone();
            torn.write(first);
            all.push(torn);
        }
        batch.iter().for_each(|write| now.write(write));
        all.push(now.clone());
    }
    all.truncate(8);
    all
}

/// From what a cut left the same change is planned again, and ends at the same bytes.
fn resumes(format: Format, cut: &Sparse, whole: &Sparse, [old, new]: [&[Id]; 2]) {
    let found = disks::probe(cut.begin(), format).unwrap_or_else(|trouble| panic!("after a cut: {trouble}"));
    let found = found.expect("after a cut nothing is there");
    assert_eq!(found.refusal, None, "after a cut");
    let known = |id: &Id| !format.renews(id) || old.contains(id) || new.contains(id);
    assert!(found.ids.iter().all(known), "after a cut {:?}", found.ids);
    let rest = plan(cut.begin(), format, new).unwrap_or_else(|trouble| panic!("planning after a cut: {trouble}"));
    assert!(carried_out(cut, &rest).same(whole), "resuming ends elsewhere");
}

/// The device after the whole patch.
fn carried_out(device: &Sparse, patch: &Patch) -> Sparse {
    let mut device = device.clone();
    for batch in &patch.batches {
        let mut places: Vec<_> = batch.iter().map(|one| (one.offset, one.offset + one.after.len() as u64)).collect();
        places.sort_unstable();
        assert!(!places.is_empty(), "an empty batch");
        assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0), "writes of one batch overlap: {places:?}");
        batch.iter().for_each(|write| device.write(write));
    }
    device
}

/// The plan; of an array that is this one member.
pub fn plan(device: &impl Blocks, format: Format, ids: &[Id]) -> Result<Patch, Trouble> {
    let uuid = || ids.iter().find(|id| id.name == "uuid").and_then(|id| id.value.parse().ok());
    match format {
        Format::Md => {
            let members = ids.iter().filter(|id| id.name == "uuid-sub").map(|id| id.value.parse().expect("a UUID"));
            let members: Vec<_> = members.collect();
            disks::md::plan_all(&[device], uuid().expect("a UUID"), &members).map(|mut all| all.remove(0))
        }
        _ => disks::plan(device, format, ids),
    }
}

/// New values for those that are renewed.
pub fn renewed(format: Format, ids: &[Id]) -> Vec<Id> {
    fresh(format, ids, "5a")
}

fn fresh(format: Format, ids: &[Id], byte: &str) -> Vec<Id> {
    let seed = Seed::try_from(byte.repeat(32)).expect("64 hexadecimal digits");
    let ids = ids.iter().filter(|id| format.renews(id));
    ids.map(|id| Id { name: id.name.clone(), value: format.fresh(&seed, &id.name) }).collect()
}

/// The ids that a device of the format has, whatever stands on this one.
fn named(format: Format) -> Vec<Id> {
    let names: &[&str] = match format {
        Format::Fat | Format::Exfat | Format::Ntfs => &["serial"],
        Format::Mbr => &["disk-id"],
        Format::Gpt => &["disk-guid", "partition-1"],
        Format::Lvm => &["uuid", "vg-uuid", "lv-uuid-root"],
        _ => &["uuid"],
    };
    let ids: Vec<Id> = names.iter().map(|name| Id { name: (*name).into(), value: String::new() }).collect();
    renewed(format, &ids)
}

/// Partitions lie beside each other, inside the device, each under its own number.
fn layout(device: &Sparse) {
    let Ok(found) = partitions(device.begin()) else { return };
    let mut spans: Vec<_> = found.iter().map(|one| (one.offset, one.offset.checked_add(one.size))).collect();
    spans.sort_unstable();
    assert!(spans.iter().all(|(_, end)| end.is_some_and(|end| end <= device.size)), "outside: {found:?}");
    assert!(spans.windows(2).all(|pair| pair[0].1 <= Some(pair[1].0)), "over each other: {found:?}");
    assert!(found.windows(2).all(|pair| pair[0].number < pair[1].number), "numbers: {found:?}");
}
