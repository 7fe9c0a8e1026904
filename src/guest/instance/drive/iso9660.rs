// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files on an ISO 9660 file system (ECMA-119), by their names of Joliet or Rock Ridge (IEEE P1282) where it has them.

use anyhow::{Result, bail, ensure};

use crate::disks::Blocks;

/// The logical sector, ECMA-119 section 6.1.2; other block sizes do not occur.
const SECTOR: usize = 2048;
/// Where volume descriptors begin, in sectors.
const FIRST: u64 = 16;
/// More volume descriptors than this are none's.
const MOST_DESCRIPTORS: u64 = 16;
/// Larger directories are no config drive's, in bytes.
const LARGEST_DIRECTORY: u32 = 256 << 10;
/// Escape sequences of Joliet's three levels.
const JOLIET: [&[u8]; 3] = [b"%/@", b"%/C", b"%/E"];
/// A directory, among the flags of a record.
const DIRECTORY: u8 = 2;
/// Of a file that goes on in another record.
const CONTINUED: u8 = 0x80;

/// An ISO 9660 file system.
pub struct Volume<'d> {
    /// The volume identifier.
    pub label: String,
    blocks: &'d dyn Blocks,
    root: Extent,
    joliet: bool,
}

impl std::fmt::Debug for Volume<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "ISO 9660 {:?}", self.label)
    }
}

/// Where a file or directory lies.
#[derive(Debug, Clone, Copy)]
struct Extent {
    sector: u32,
    size: u32,
    flags: u8,
}

impl<'d> Volume<'d> {
    /// The file system on a device, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn find(blocks: &'d dyn Blocks) -> Result<Option<Volume<'d>>> {
        let mut found: Option<Volume<'d>> = None;
        for number in FIRST..FIRST + MOST_DESCRIPTORS {
            if blocks.size() < (number + 1) * SECTOR as u64 {
                break;
            }
            let mut sector = [0; SECTOR];
            blocks.read_at(number * SECTOR as u64, &mut sector)?;
            if sector[1..6] != *b"CD001" || sector[0] == 255 {
                break;
            }
            let joliet = sector[0] == 2 && JOLIET.iter().any(|escape| sector[88..].starts_with(escape));
            let root = Extent::of(&sector[156..190]);
            match (&mut found, sector[0]) {
                (None, 1) => {
                    let label = String::from_utf8_lossy(&sector[40..72]).trim_end_matches([' ', '\0']).to_owned();
                    found = Some(Volume { label, blocks, root, joliet: false });
                }
                (Some(volume), 2) if joliet => {
                    volume.root = root;
                    volume.joliet = true;
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// The content of a file, at most so many bytes; `None` where there is none.
    ///
    /// # Errors
    /// When it is larger, or the file system is damaged.
    pub fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>> {
        let mut here = self.root;
        here.flags |= DIRECTORY;
        for name in path.split('/') {
            if here.flags & DIRECTORY == 0 {
                return Ok(None);
            }
            let Some(found) = self.look(here, name)? else { return Ok(None) };
            here = found;
        }
        ensure!(here.flags & (DIRECTORY | CONTINUED) == 0, "no plain file");
        ensure!(here.size as usize <= most, "{} bytes, more than {most}", here.size);
        Ok(Some(self.bytes(here)?))
    }

    fn bytes(&self, extent: Extent) -> Result<Vec<u8>> {
        let at = u64::from(extent.sector) * SECTOR as u64;
        ensure!(at + u64::from(extent.size) <= self.blocks.size(), "it ends beyond the device");
        let mut bytes = vec![0; extent.size as usize];
        self.blocks.read_at(at, &mut bytes)?;
        Ok(bytes)
    }

    fn look(&self, directory: Extent, name: &str) -> Result<Option<Extent>> {
        ensure!(directory.size <= LARGEST_DIRECTORY, "a directory of {} bytes", directory.size);
        // ECMA-119 section 6.8.1.1: no record crosses a sector; zeros fill it up.
        for sector in self.bytes(directory)?.chunks(SECTOR) {
            let mut rest = sector;
            while let Some(length) = rest.first().map(|length| usize::from(*length)).filter(|length| *length > 0) {
                if length < 34 || length > rest.len() || 33 + usize::from(rest[32]) > length {
                    bail!("a directory is damaged");
                }
                let (record, after) = rest.split_at(length);
                rest = after;
                if self.name(record).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
                    return Ok(Some(Extent::of(record)));
                }
            }
        }
        Ok(None)
    }

    /// The name in a record, without version; none for `.` and `..`.
    fn name(&self, record: &[u8]) -> Option<String> {
        let length = usize::from(record[32]);
        let plain = &record[33..33 + length];
        if matches!(plain, [0 | 1]) {
            return None;
        }
        if self.joliet {
            let units: Vec<u16> = plain.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            return Some(without_version(&String::from_utf16_lossy(&units)));
        }
        // The system use area begins at an even place.
        let area = record.get(33 + length + (length + 1) % 2..).unwrap_or_default();
        Some(rock_ridge(area).unwrap_or_else(|| without_version(&String::from_utf8_lossy(plain))))
    }
}

/// The name of entries `NM`, IEEE P1282 section 4.1.4.
fn rock_ridge(mut area: &[u8]) -> Option<String> {
    let mut name = Vec::new();
    while let [a, b, length, ..] = *area {
        let length = usize::from(length);
        if length < 4 || length > area.len() {
            break;
        }
        if [a, b] == *b"NM" && length > 5 {
            name.extend(&area[5..length]);
        }
        area = &area[length..];
    }
    (!name.is_empty()).then(|| String::from_utf8_lossy(&name).into_owned())
}

fn without_version(name: &str) -> String {
    let name = name.split_once(';').map_or(name, |(name, _)| name);
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

impl Extent {
    fn of(record: &[u8]) -> Extent {
        let number = |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        Extent { sector: number(2), size: number(10), flags: record[25] }
    }
}
