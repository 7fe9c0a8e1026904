// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mutations of a device: a number in a sector, often in every copy of that sector too, a sector elsewhere, another size.

use std::rc::Rc;

use reseal::disks::Format;

use crate::dice::Dice;
use crate::repair;
use crate::sparse::{SECTOR, Sparse};

/// libFuzzer's mutation of `input[..size]`, at most `most` bytes afterwards; the new length.
pub fn disk(format: Format, input: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let mut dice = Dice::new(seed.into());
    let mut device = Sparse::decode(&input[..size]);
    if device.sectors.is_empty() || dice.once_in(64) {
        return libfuzzer_sys::fuzzer_mutate(input, size, most);
    }
    for _ in 0..dice.one_of(&[1, 1, 1, 2, 3, 5]) {
        step(&mut device, &mut dice);
    }
    if !dice.once_in(8) {
        repair::checksums(format, &mut device, &mut dice);
    }
    let bytes = device.encode();
    match input.get_mut(..bytes.len().min(most + 1)) {
        Some(place) if bytes.len() <= most => {
            place.copy_from_slice(&bytes);
            bytes.len()
        }
        _ => libfuzzer_sys::fuzzer_mutate(input, size, most),
    }
}

/// The same of a device without checksums that would be told by them.
pub fn foreign(input: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    disk(Format::Swap, input, size, most, seed)
}

/// One change.
pub fn step(device: &mut Sparse, dice: &mut Dice) {
    let numbers: Vec<u64> = device.sectors.keys().copied().collect();
    if numbers.is_empty() {
        return;
    }
    let number = dice.one_of(&numbers);
    let old = *device.sectors[&number];
    let mut new = old;
    match dice.below(16) {
        0..8 => field(&mut new, device.size, dice),
        8..11 => {
            libfuzzer_sys::fuzzer_mutate(&mut new, SECTOR, SECTOR);
        }
        11 => lines(&mut new, dice),
        12 => return resize(device, dice),
        // A sector that is lost, or goes or stands elsewhere too.
        13 => drop(device.sectors.remove(&number)),
        14 => {
            let near = number.saturating_add_signed(dice.one_of(&[-8, -1, 1, 2, 8, 128]));
            let places = [near, dice.one_of(&numbers), place(device.size, dice)];
            let to = dice.one_of(&places);
            let _ = device.sectors.insert(to, old.into());
        }
        _ => {
            let (one, other) = (dice.one_of(&numbers), dice.below(SECTOR));
            new[other..].copy_from_slice(&device.sectors[&one][other..]);
        }
    }
    if new == old {
        return;
    }
    let twins = dice.once_in(2);
    for (at, sector) in &mut device.sectors {
        let alike = || (0..SECTOR).filter(|at| sector[*at] == old[*at]).count() >= SECTOR / 8 * 7;
        if *at == number || twins && alike() {
            (0..SECTOR).filter(|at| new[*at] != old[*at]).for_each(|at| Rc::make_mut(sector)[at] = new[at]);
        }
    }
}

/// A number of one of the usual widths gets a value that is usual, or just beside one.
fn field(sector: &mut [u8; SECTOR], size: u64, dice: &mut Dice) {
    let used: Vec<usize> = (0..SECTOR).filter(|at| sector[*at] != 0).collect();
    let width = dice.one_of(&[1, 1, 2, 4, 4, 8]);
    let at = if dice.once_in(2) || used.is_empty() { dice.below(SECTOR) } else { dice.one_of(&used) };
    let at = if dice.once_in(4) { at } else { at / width * width }.min(SECTOR - width);
    let place = &mut sector[at..at + width];
    let big = dice.once_in(2);
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(place);
    if big {
        bytes[..width].reverse();
    }
    let now = u64::from_le_bytes(bytes);
    let unit = dice.one_of(&[1, 512, 512, 1024, 4096, 65536]);
    let values = [
        now ^ 1 << dice.below(8 * width),
        now.wrapping_add(dice.below(16) as u64),
        now.wrapping_sub(dice.below(16) as u64),
        1 << dice.below(64),
        (1_u64 << dice.below(64)).wrapping_sub(1),
        u64::MAX - dice.below(4) as u64,
        dice.below(8) as u64,
        (size / unit).wrapping_add(dice.below(5) as u64).wrapping_sub(2),
        dice.roll() >> dice.below(64),
    ];
    let mut bytes = dice.one_of(&values).to_le_bytes();
    if big {
        bytes[..width].reverse();
    }
    place.copy_from_slice(&bytes[..width]);
}

/// Descriptions in text have their meaning in words and lines: one is doubled, or goes.
fn lines(sector: &mut [u8; SECTOR], dice: &mut Dice) {
    let ends = |byte: &u8| matches!(byte, b'\n' | b',' | b'{' | b'}' | b'"' | b' ');
    let cuts: Vec<usize> = (0..SECTOR).filter(|at| ends(&sector[*at])).collect();
    let a = if cuts.is_empty() { 0 } else { dice.one_of(&cuts) };
    let b = dice.below(SECTOR);
    let b = cuts.iter().copied().find(|cut| *cut >= b).unwrap_or(SECTOR);
    let (from, to) = (a.min(b), a.max(b));
    let mut text = sector[..from].to_vec();
    if dice.once_in(2) {
        text.extend(&sector[from..to]);
        text.extend(&sector[from..to]);
    }
    text.extend(&sector[to..]);
    text.resize(SECTOR, 0);
    sector.copy_from_slice(&text[..SECTOR]);
}

fn resize(device: &mut Sparse, dice: &mut Dice) {
    let size = device.size;
    let last = device.sectors.last_key_value().map_or(0, |(number, _)| (number + 1) * SECTOR as u64);
    let sizes = [
        size ^ 1 << dice.below(63),
        size.wrapping_sub(SECTOR as u64),
        size.saturating_mul(2),
        size / 2,
        last,
        last.saturating_sub(dice.below(SECTOR) as u64),
        dice.roll() >> dice.below(64),
        1 << dice.below(63),
    ];
    device.size = dice.one_of(&sizes) & i64::MAX as u64;
}

/// A place on the device where formats keep something: near the start, near the end, at a power of two.
fn place(size: u64, dice: &mut Dice) -> u64 {
    let last = size / SECTOR as u64;
    let near = dice.below(16) as u64;
    let places = [near, last.saturating_sub(near), 1 << dice.below(44), (last / 2).saturating_add(near)];
    dice.one_of(&places)
}
