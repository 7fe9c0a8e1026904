// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checksums made right again after a mutation: what stands behind them would never be reached by chance.
//!
//! Written anew and not taken from reseal, so that the two must agree: of a sound device nothing is repaired.

use blake2::Blake2b;
use blake2::digest::consts::U32;
use reseal::disks::{Format, crc};
use sha2::{Digest as _, Sha256, Sha512};

use crate::dice::Dice;
use crate::sparse::{SECTOR, Sparse};

/// Longer things are left wrong: they would only make the fuzzer slow.
const LONGEST: u64 = 1 << 20;

/// Makes every checksum of the format right that is where one should be.
pub fn checksums(format: Format, device: &mut Sparse, dice: &mut Dice) {
    match format {
        Format::Ext => ext(device),
        Format::Xfs => xfs(device),
        Format::Btrfs => btrfs(device),
        Format::Exfat => exfat(device),
        Format::Luks => luks(device, dice.once_in(2)),
        Format::Lvm => lvm(device, dice.once_in(2)),
        Format::Md => md(device),
        Format::Gpt => gpt(device),
        Format::Bcache => bcache(device),
        _ => {}
    }
}

fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    bytes.get(at..at + width).map_or(0, |field| field.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

fn number_be(bytes: &[u8], at: usize, width: usize) -> u64 {
    bytes.get(at..at + width).map_or(0, |field| field.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// Offsets of the sectors that begin, or go on at `at`, with `magic`.
fn places(device: &Sparse, at: usize, magic: &[u8]) -> Vec<u64> {
    let there = device.sectors.iter().filter(|(_, sector)| sector[at..].starts_with(magic));
    there.map(|(number, _)| number * SECTOR as u64).collect()
}

/// metadata_csum: CRC-32C of the superblock, in every copy of it.
fn ext(device: &mut Sparse) {
    for at in places(device, 0x38, &[0x53, 0xef]).into_iter().filter(|at| at % 1024 == 0) {
        let superblock = device.get(at, 1024);
        if number(&superblock, 0x64, 4) & 0x400 != 0 {
            device.put(at + 0x3fc, &crc::crc32c_raw(!0, &superblock[..0x3fc]).to_le_bytes());
        }
    }
}

/// Version 5: CRC-32C of the superblock's sector, and of a log record where it has one.
fn xfs(device: &mut Sparse) {
    let size = number_be(&device.get(0, SECTOR), 102, 2) as usize;
    let size = if size.is_power_of_two() && (512..=32768).contains(&size) { size } else { SECTOR };
    for at in places(device, 0, b"XFSB") {
        let mut superblock = device.get(at, size);
        superblock[224..228].fill(0);
        if number_be(&superblock, 100, 2) & 0xf == 5 {
            device.put(at + 224, &(!crc::crc32c_raw(!0, &superblock)).to_le_bytes());
        }
    }
    for at in places(device, 0, &[0xfe, 0xed, 0xba, 0xbe]) {
        let mut header = device.get(at, 328);
        let (length, buffer) = (number_be(&header, 12, 4), number_be(&header, 320, 4));
        if number(&header, 32, 4) == 0 || length.max(buffer) > 256 * 1024 {
            continue;
        }
        header[32..36].fill(0);
        let headers = if number_be(&header, 8, 4) & 2 != 0 { buffer.div_ceil(32768).max(1) } else { 1 };
        let mut sum = crc::crc32c_raw(!0, &header);
        for further in 1..length.div_ceil(32768).min(headers) {
            sum = crc::crc32c_raw(sum, &device.get(at + further * 512, 260));
        }
        let sum = !crc::crc32c_raw(sum, &device.get(at + headers * 512, length as usize));
        device.put(at + 32, &sum.to_le_bytes());
    }
}

fn btrfs(device: &mut Sparse) {
    for at in places(device, 0x40, b"_BHRfS_M") {
        let superblock = device.get(at, 4096);
        let rest = &superblock[32..];
        let sum = match number(&superblock, 0xc4, 2) {
            0 => (!crc::crc32c_raw(!0, rest)).to_le_bytes().to_vec(),
            1 => xxhash_rust::xxh64::xxh64(rest, 0).to_le_bytes().to_vec(),
            2 => Sha256::digest(rest).to_vec(),
            _ => <Blake2b<U32> as blake2::Digest>::digest(rest).to_vec(),
        };
        device.put(at, &[sum, vec![0; 32]].concat()[..32]);
    }
}

/// The twelfth sector of each region is full of the sum over the eleven before.
fn exfat(device: &mut Sparse) {
    let shift = device.get(108, 1)[0];
    if !(9..=12).contains(&shift) {
        return;
    }
    let unit = 1_usize << shift;
    for region in [0, 12 * unit as u64] {
        let covered = device.get(region, 11 * unit);
        let counted = covered.iter().enumerate().filter(|(at, _)| ![106, 107, 112].contains(at));
        let sum = counted.fold(0_u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)));
        device.put(region + 11 * unit as u64, &sum.to_le_bytes().repeat(unit / 4));
    }
}

/// Version 2: SHA-2 of each header; before that the second may get the first one's description.
fn luks(device: &mut Sparse, alike: bool) {
    let size = number_be(&device.get(8, 8), 0, 8);
    if !size.is_power_of_two() || !(1 << 14..=LONGEST).contains(&size) || number_be(&device.get(6, 2), 0, 2) != 2 {
        return;
    }
    let mut first = device.get(0, size as usize);
    if alike {
        let mut second = first.clone();
        second[..6].copy_from_slice(b"SKUL\xba\xbe");
        second[256..264].copy_from_slice(&size.to_be_bytes());
        // Salt, and what differs after a cut: UUID and sequence id.
        for range in [104..168, 168..208, 16..24] {
            second[range.clone()].copy_from_slice(&device.get(size + range.start as u64, range.len()));
        }
        device.put(size, &second);
    }
    for at in [0, size] {
        first.copy_from_slice(&device.get(at, size as usize));
        first[448..512].fill(0);
        let name = first[72..104].split(|byte| *byte == 0).next().unwrap_or_default();
        let sum = if name == b"sha512" { Sha512::digest(&first).to_vec() } else { Sha256::digest(&first).to_vec() };
        device.put(at + 448, &[sum, vec![0; 64]].concat()[..64]);
    }
}

/// The text of the metadata, whose length may become what it is, its area's header, and the label.
fn lvm(device: &mut Sparse, length: bool) {
    fn sum(bytes: &[u8]) -> [u8; 4] {
        let shift = |register: u32| (0..8).fold(register, |r, _| (r >> 1) ^ (0xedb8_8320 * (r & 1)));
        bytes.iter().fold(0xf597_a6cf, |register, byte| shift(register ^ u32::from(*byte))).to_le_bytes()
    }
    for at in places(device, 4, b" LVM2 x[5A%r0N*>") {
        let header = device.get(at, SECTOR);
        let (size, offset, long) = (number(&header, 32, 8), number(&header, 40, 8), number(&header, 48, 8));
        let reach = at.checked_add(size).and_then(|end| end.checked_sub(offset));
        if offset != 0 && offset < size && reach.is_some_and(|reach| reach < 1 << 62) {
            let mut long = long;
            if length && size - offset < LONGEST {
                let text = device.get(at + offset, (size - offset) as usize);
                long = text.iter().position(|byte| *byte == 0).map_or(long, |end| end as u64 + 1);
                device.put(at + 48, &long.to_le_bytes());
            }
            if long <= LONGEST {
                let first = long.min(size - offset);
                let mut text = device.get(at + offset, first as usize);
                text.extend(device.get(at + SECTOR as u64, (long - first) as usize));
                device.put(at + 56, &sum(&text));
            }
        }
        let header = device.get(at, SECTOR);
        device.put(at, &sum(&header[4..]));
    }
    for at in places(device, 0, b"LABELONE") {
        let label = device.get(at, SECTOR);
        device.put(at + 16, &sum(&label[20..]));
    }
}

/// The sum of all words but its own; version 1 as far as it has members, 0.90 over all.
fn md(device: &mut Sparse) {
    for at in places(device, 0, &0xa92b_4efc_u32.to_le_bytes()) {
        let superblock = device.get(at, 4096);
        let (place, length) = match number(&superblock, 4, 4) {
            0 => (152, 4096),
            _ => (216, (number(&superblock, 220, 4) as usize).saturating_mul(2).saturating_add(256).min(4096)),
        };
        let mut counted = superblock[..length].to_vec();
        counted[place..place + 4].fill(0);
        let sum: u64 = counted.chunks(4).map(|word| number(word, 0, word.len())).sum();
        device.put(at + place as u64, &(sum as u32).wrapping_add((sum >> 32) as u32).to_le_bytes());
    }
}

/// ECMA-182 without reflection, all ones before and after (lib/crc/crc64-main.c), over what follows up to the last key.
fn bcache(device: &mut Sparse) {
    const MAGIC: [u8; 8] = [0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca];
    let shift = |register: u64| (0..8).fold(register, |r, _| (r << 1) ^ (0x42f0_e1eb_a9ea_3693 * (r >> 63)));
    for at in places(device, 24, &MAGIC) {
        let superblock = device.get(at, 4096);
        let end = 208 + 8 * (number(&superblock, 206, 2) as usize).min(256);
        let sum = superblock[8..end].iter().fold(!0, |register, byte| shift(register ^ u64::from(*byte) << 56));
        device.put(at, &(!sum).to_le_bytes());
    }
}

/// CRC-32 of the entries that a header names, then of the header.
fn gpt(device: &mut Sparse) {
    let unit = if places(device, 0, b"EFI PART").first() == Some(&4096) { 4096 } else { SECTOR as u64 };
    for at in places(device, 0, b"EFI PART") {
        let header = device.get(at, SECTOR);
        let (count, width) = (number(&header, 80, 4), number(&header, 84, 4));
        let entries = number(&header, 72, 8).checked_mul(unit).filter(|entries| *entries < 1 << 62);
        if let Some(entries) = entries
            && count * width <= LONGEST
        {
            let entries = device.get(entries, (count * width) as usize);
            device.put(at + 88, &crc::crc32(&entries).to_le_bytes());
        }
        device.put(at + 16, &[0; 4]);
        let header = device.get(at, number(&header, 12, 4).clamp(92, unit) as usize);
        device.put(at + 16, &crc::crc32(&header).to_le_bytes());
    }
}
