// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices that hold one thing together: what must hold of any of them, whatever another one says.
//!
//! An input is the format's number, then each device behind its length, in 4 bytes, as [`Sparse`] writes it.

use reseal::disks::{self, Format, Found, Id, Patch};
use reseal::plan::derive::Seed;

use crate::dice::Dice;
use crate::sparse::Sparse;
use crate::{mutate, repair, tally};

/// Those whose things may lie on several devices.
pub const FORMATS: [Format; 4] = [Format::Btrfs, Format::Md, Format::Lvm, Format::Ext];
/// More devices find nothing that three do not.
const MOST: usize = 3;
/// A cut is tried between as many writes.
const CUTS: usize = 24;

/// What an input stands for.
pub fn decode(input: &[u8]) -> (Format, Vec<Sparse>) {
    let (first, mut rest) = input.split_first().unwrap_or((&0, &[]));
    let mut devices = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>()
        && devices.len() < MOST
    {
        let (bytes, after) = after.split_at((u32::from_le_bytes(*length) as usize).min(after.len()));
        devices.push(Sparse::decode(bytes));
        rest = after;
    }
    (FORMATS[usize::from(*first) % FORMATS.len()], devices)
}

/// The input that stands for these.
pub fn encode(format: Format, devices: &[Sparse]) -> Vec<u8> {
    let mut input = vec![FORMATS.iter().position(|one| *one == format).unwrap_or_default() as u8];
    for device in devices.iter().map(Sparse::encode) {
        input.extend((device.len() as u32).to_le_bytes());
        input.extend(device);
    }
    input
}

/// libFuzzer's mutation of `input[..size]`, at most `most` bytes afterwards; the new length.
pub fn change(input: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let mut dice = Dice::new(seed.into());
    let (format, mut devices) = decode(&input[..size]);
    if devices.is_empty() {
        return libfuzzer_sys::fuzzer_mutate(input, size, most);
    }
    let number = dice.below(devices.len());
    match dice.below(16) {
        0 => drop(devices.remove(number)),
        1 if devices.len() < MOST => devices.push(devices[number].clone()),
        2 => devices.swap(0, number),
        _ => {
            (0..dice.one_of(&[1, 1, 1, 2, 3])).for_each(|_| mutate::step(&mut devices[number], &mut dice));
            if !dice.once_in(8) {
                repair::checksums(format, &mut devices[number], &mut dice);
            }
        }
    }
    let bytes = encode(format, &devices);
    match input.get_mut(..bytes.len()) {
        Some(place) if bytes.len() <= most => {
            place.copy_from_slice(&bytes);
            bytes.len()
        }
        _ => libfuzzer_sys::fuzzer_mutate(input, size, most),
    }
}

/// Plans them together: an error, or a change that is whole, resumes after every cut, and ends.
pub fn check(input: &[u8]) {
    let (format, devices) = decode(input);
    let Some(before) = found(format, &devices) else { return tally::count("error or nothing there") };
    let ids = ids(format, &before);
    let planned = plan(format, &devices, &ids);
    let Ok(patches) = planned else { return tally::count("refused to plan") };
    if before.iter().any(|one| one.refusal.is_some()) {
        panic!("refused, and all the same planned: {before:?}");
    }
    let writes = order(&patches);
    let mut whole = devices.clone();
    writes.iter().for_each(|(device, batch)| batch.iter().for_each(|one| whole[*device].write(one)));
    let after = found(format, &whole).expect("after the change something is not there");
    for ((before, after), ids) in before.iter().zip(&after).zip(&ids) {
        assert_eq!((&after.variant, &after.label, &after.refusal), (&before.variant, &before.label, &None));
        assert!(ids.iter().all(|id| after.ids.contains(id)), "{:?} and not {ids:?}", after.ids);
        assert_eq!(after.group, before.group, "another group");
    }
    let again = plan(format, &whole, &ids).expect("a second plan");
    assert!(again.iter().all(|patch| *patch == Patch::default()), "a second plan");
    let mut cut = devices.clone();
    for (device, batch) in writes.iter().take(CUTS) {
        batch.iter().for_each(|one| cut[*device].write(one));
        let rest = plan(format, &cut, &ids).unwrap_or_else(|trouble| panic!("planning after a cut: {trouble}"));
        let mut resumed = cut.clone();
        order(&rest).iter().for_each(|(device, batch)| batch.iter().for_each(|one| resumed[*device].write(one)));
        assert!(resumed.iter().zip(&whole).all(|(one, other)| one.same(other)), "resuming ends elsewhere");
    }
    tally::count("changed");
}

/// What stands on each; none where one is not what it should be, or they are not one group.
fn found(format: Format, devices: &[Sparse]) -> Option<Vec<Found>> {
    let mut found: Vec<Found> =
        devices.iter().map(|device| disks::probe(device.begin(), format).ok().flatten()).collect::<Option<_>>()?;
    disks::relate(&mut found.iter_mut().collect::<Vec<_>>());
    let group = &found.first()?.group;
    let one = group.is_some() && found.iter().all(|one| one.group == *group);
    one.then_some(found)
}

/// New ids for each: what they share is the same.
pub fn ids(format: Format, found: &[Found]) -> Vec<Vec<Id>> {
    let seed = Seed::try_from("5a".repeat(32)).expect("64 hexadecimal digits");
    let new = |number: usize, id: &Id| {
        let token = if format.shares(id) { id.name.clone() } else { format!("{} {number}", id.name) };
        Id { name: id.name.clone(), value: format.fresh(&seed, &token) }
    };
    let of = |(number, found): (usize, &Found)| {
        found.ids.iter().filter(|id| format.renews(id)).map(|id| new(number, id)).collect()
    };
    found.iter().enumerate().map(of).collect()
}

fn plan(format: Format, devices: &[Sparse], ids: &[Vec<Id>]) -> Result<Vec<Patch>, disks::Trouble> {
    let devices: Vec<&Sparse> = devices.iter().map(Sparse::begin).collect();
    disks::plan_all(&devices, format, ids)
}

/// The batches in the order in which they are written: the last of each patch after all that lead up to it.
fn order(patches: &[Patch]) -> Vec<(usize, &[disks::SectorWrite])> {
    let most = patches.iter().map(|patch| patch.batches.len()).max().unwrap_or(0);
    let mut all = Vec::new();
    for turn in (0..most).rev() {
        for (number, patch) in patches.iter().enumerate() {
            let batch = patch.batches.len().checked_sub(turn + 1).and_then(|at| patch.batches.get(at));
            all.extend(batch.map(|batch| (number, &batch[..])));
        }
    }
    all
}
