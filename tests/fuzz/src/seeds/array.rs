// SPDX-License-Identifier: MIT OR Apache-2.0
//! Members of software RAID: only the kernel's driver makes them, so their superblocks are written here.

use reseal::disks::Format;

use crate::dice::Dice;
use crate::repair;
use crate::sparse::Sparse;

const SIZE: u64 = 16 << 20;

/// One member that is the whole array, of each version, with and without a bitmap; nothing for other formats.
pub fn members(format: Format) -> Vec<Sparse> {
    if format != Format::Md {
        return Vec::new();
    }
    let versions = [Some(0), Some(4096), Some(SIZE - 8192), None];
    versions.into_iter().flat_map(|offset| [false, true].map(|bitmap| member(offset, bitmap))).collect()
}

/// Both members of a mirror, of each place of version 1.
pub fn mirrors() -> Vec<Vec<Sparse>> {
    let half = |offset: u64, bitmap, number: u32| {
        let mut device = member(Some(offset), bitmap);
        let roles = [&0_u16.to_le_bytes()[..], &1_u16.to_le_bytes()].concat();
        device.put(offset + 72, &1_u32.to_le_bytes());
        device.put(offset + 92, &2_u32.to_le_bytes());
        device.put(offset + 160, &number.to_le_bytes());
        device.put(offset + 168, &[7 + number as u8; 16]);
        device.put(offset + 256, &roles);
        repair::checksums(Format::Md, &mut device, &mut Dice::new(0));
        device
    };
    let both = |(offset, bitmap)| vec![half(offset, bitmap, 0), half(offset, bitmap, 1)];
    [(0, false), (4096, true), (SIZE - 8192, false)].into_iter().map(both).collect()
}

/// Of version 1 at `offset`, or of version 0.90.
fn member(offset: Option<u64>, bitmap: bool) -> Sparse {
    let mut device = Sparse::new(SIZE);
    let at = offset.unwrap_or(SIZE - 65536);
    let mut word = |place: u64, value: u32| device.put(at + place, &value.to_le_bytes());
    word(0, 0xa92b_4efc);
    if offset.is_none() {
        let words: [(u64, u32); 12] = [
            (2, 90),
            (5, 0x01d0_0001),
            (6, 1_700_000_000),
            (7, 1),
            (8, 16320),
            (9, 1),
            (10, 1),
            (13, 7),
            (14, 7),
            (15, 7),
            (34, 1),
            (39, 17),
        ];
        words.into_iter().for_each(|(place, value)| word(4 * place, value));
        word(132, 1 | u32::from(bitmap) << 8);
        for disk in [512, 3968] {
            [0, 7, 0, 0, 6].into_iter().zip(0..).for_each(|(value, place)| word(disk + 4 * place, value));
        }
    } else {
        let begins = if at > 4096 { 0 } else { 2048 };
        let words: [(u64, u32); 15] = [
            (4, 1),
            (8, bitmap.into()),
            (16, 0x01d0_0001),
            (20, 7),
            (64, 1_700_000_000),
            (72, 1),
            (80, 16384),
            (92, 1),
            (96, 8),
            (128, begins),
            (136, 16384),
            (144, (at / 512) as u32),
            (200, 17),
            (220, 128),
            (208, u32::MAX),
        ];
        words.into_iter().for_each(|(place, value)| word(place, value));
        device.put(at + 32, b"golden:root");
        device.put(at + 168, &[7; 16]);
        device.put(at + 258, &[0xff; 254]);
    }
    if bitmap {
        device.put(at + 4096, b"bitm\x04");
        device.put(at + 4104, &device.get(at + 16, 16));
    }
    repair::checksums(Format::Md, &mut device, &mut Dice::new(0));
    device
}
