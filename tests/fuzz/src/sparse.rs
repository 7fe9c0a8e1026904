// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device of which a few sectors hold something and the rest are zeros: what a fuzzer's input stands for.
//!
//! An input is the device's size, then chunks: the number of their first sector, their length, their bytes; numbers are
//! little-endian, of 8, 8 and 2 bytes. Any bytes are an input, so that libFuzzer may also work on it as it comes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use reseal::disks::{Blocks, SectorWrite};

/// What every offset is a multiple of.
pub const SECTOR: usize = 512;
/// No offset on a device is larger than off_t.
const SIZE_MOST: u64 = i64::MAX as u64;
/// So many bytes may be read to probe or to plan, a sector at least each time. The most that is needed is 64 MiB, for the
/// 65536 backups that an ext2 can have at most.
const READ_MOST: u64 = 256 << 20;

/// The device.
#[derive(Clone, Debug, Default)]
pub struct Sparse {
    /// In bytes.
    pub size: u64,
    /// By number; one that holds zeros need not be there.
    pub sectors: BTreeMap<u64, Rc<[u8; SECTOR]>>,
    read: Cell<u64>,
}

impl Sparse {
    /// An empty one.
    pub fn new(size: u64) -> Sparse {
        Sparse { size: size & SIZE_MOST, ..Sparse::default() }
    }

    /// What an input stands for.
    pub fn decode(mut input: &[u8]) -> Sparse {
        fn number<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
            let (field, rest) = input.split_first_chunk::<N>()?;
            *input = rest;
            Some(*field)
        }
        let mut device = Sparse::new(number(&mut input).map_or(0, u64::from_le_bytes));
        while let Some(first) = number(&mut input).map(u64::from_le_bytes) {
            let length = usize::from(number(&mut input).map_or(0, u16::from_le_bytes)).min(input.len());
            let (bytes, rest) = input.split_at(length);
            input = rest;
            device.put((first % (SIZE_MOST / SECTOR as u64 / 2)) * SECTOR as u64, bytes);
        }
        device
    }

    /// The input that stands for it; the shortest, so that mutations of nothing are none.
    pub fn encode(&self) -> Vec<u8> {
        const MOST: usize = u16::MAX as usize / SECTOR * SECTOR;
        // Longer than a chunk's two numbers.
        const ZEROS: [u8; 16] = [0; 16];
        let mut out = self.size.to_le_bytes().to_vec();
        let mut chunk: (u64, Vec<u8>) = (0, Vec::new());
        let mut end = |chunk: &(u64, Vec<u8>)| {
            let length = chunk.1.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if length > 0 {
                out.extend(chunk.0.to_le_bytes());
                out.extend((length as u16).to_le_bytes());
                out.extend(&chunk.1[..length]);
            }
        };
        for (number, sector) in self.held() {
            let follows = *number == chunk.0 + (chunk.1.len() / SECTOR) as u64 && chunk.1.len() < MOST;
            if !follows || chunk.1.ends_with(&ZEROS) {
                end(&chunk);
                chunk = (*number, Vec::new());
            }
            chunk.1.extend(sector.iter());
        }
        end(&chunk);
        out
    }

    /// Bytes wherever they are; zeros also beyond the end.
    pub fn get(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.copy(offset, &mut bytes);
        bytes
    }

    /// Puts bytes anywhere.
    pub fn put(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let inside = (at % SECTOR as u64) as usize;
            let (now, later) = rest.split_at(rest.len().min(SECTOR - inside));
            let sector = self.sectors.entry(at / SECTOR as u64).or_insert_with(|| Rc::new([0; SECTOR]));
            Rc::make_mut(sector)[inside..inside + now.len()].copy_from_slice(now);
            at += now.len() as u64;
            rest = later;
        }
    }

    /// Writes as the executor does: whole sectors inside the device, only where that stands which was read.
    pub fn write(&mut self, write: &SectorWrite) {
        let length = write.after.len();
        assert_eq!(write.before.len(), length, "{write:?}: before and after are not of one length");
        assert!(
            length > 0 && length.is_multiple_of(SECTOR) && write.offset.is_multiple_of(SECTOR as u64),
            "{write:?}: not whole sectors"
        );
        let end = write.offset.checked_add(length as u64);
        assert!(end.is_some_and(|end| end <= self.size), "{write:?}: beyond the device's {} bytes", self.size);
        assert!(self.get(write.offset, length) == write.before, "{write:?}: does not stand there");
        assert!(write.before != write.after, "{write:?}: changes nothing");
        self.put(write.offset, &write.after);
    }

    /// Do they hold the same?
    pub fn same(&self, other: &Sparse) -> bool {
        self.size == other.size && self.held().eq(other.held())
    }

    /// The sectors that are not all zeros.
    fn held(&self) -> impl Iterator<Item = (&u64, &Rc<[u8; SECTOR]>)> {
        self.sectors.iter().filter(|(_, sector)| ***sector != [0; SECTOR])
    }

    /// Begins to count anew what is read.
    pub fn begin(&self) -> &Sparse {
        self.read.set(0);
        self
    }

    fn copy(&self, offset: u64, buffer: &mut [u8]) {
        buffer.fill(0);
        let first = offset / SECTOR as u64;
        let last = offset.saturating_add(buffer.len() as u64) / SECTOR as u64;
        for (number, sector) in self.sectors.range(first..=last) {
            let place = i128::from(number * SECTOR as u64) - i128::from(offset);
            let (from, to) = (usize::try_from(-place).unwrap_or(0), usize::try_from(place).unwrap_or(0));
            let length = (SECTOR - from).min(buffer.len().saturating_sub(to));
            buffer[to..to + length].copy_from_slice(&sector[from..from + length]);
        }
    }
}

impl Blocks for Sparse {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read.set(self.read.get() + buffer.len().max(SECTOR) as u64);
        assert!(self.read.get() <= READ_MOST, "more than {READ_MOST} bytes are read");
        self.copy(offset, buffer);
        Ok(())
    }
}
