// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files on a FAT file system (Microsoft's FAT specification of 2005), by their long names where they have them.

use anyhow::{Result, bail, ensure};

use crate::disks::Blocks;

/// Of a directory entry, in bytes.
const ENTRY: usize = 32;
/// Larger directories are no config drive's, in bytes.
const LARGEST_DIRECTORY: usize = 256 << 10;
/// Attributes of an entry that is a piece of a long name.
const LONG_NAME: u8 = 0x0f;
/// Attribute of the volume's label.
const LABEL: u8 = 0x08;
/// Attribute of a directory.
const DIRECTORY: u8 = 0x10;
/// Where a piece of a long name has its thirteen letters.
const LETTERS: [std::ops::Range<usize>; 3] = [1..11, 14..26, 28..32];

/// How wide an entry of the table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Twelve,
    Sixteen,
    ThirtyTwo,
}

/// A FAT file system.
pub struct Volume<'d> {
    /// The label, of the root directory or else of the boot sector.
    pub label: String,
    blocks: &'d dyn Blocks,
    width: Width,
    /// In bytes, as what follows.
    table: u64,
    root: u64,
    root_size: usize,
    root_cluster: u32,
    clusters: u64,
    cluster: usize,
    /// One more than the last.
    end: u32,
}

impl std::fmt::Debug for Volume<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "FAT {:?}", self.label)
    }
}

/// What a directory says of a file.
#[derive(Debug, Clone, Copy)]
struct File {
    attributes: u8,
    cluster: u32,
    size: u32,
}

impl<'d> Volume<'d> {
    /// The file system on a device, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn find(blocks: &'d dyn Blocks) -> Result<Option<Volume<'d>>> {
        if blocks.size() < 512 {
            return Ok(None);
        }
        let mut boot = [0; 512];
        blocks.read_at(0, &mut boot)?;
        let short = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let long = |at: usize| u32::from_le_bytes([boot[at], boot[at + 1], boot[at + 2], boot[at + 3]]);
        let either = |at: usize, other: usize| if short(at) > 0 { short(at) } else { u64::from(long(other)) };
        let (sector, per_cluster, tables) = (short(11), u64::from(boot[13]), u64::from(boot[16]));
        let sane = boot[510..] == [0x55, 0xaa]
            && [512, 1024, 2048, 4096].contains(&sector)
            && per_cluster.is_power_of_two()
            && (1..=2).contains(&tables)
            && short(14) > 0;
        if !sane {
            return Ok(None);
        }
        let (table_size, root_entries) = (either(22, 36), short(17));
        let table = short(14);
        let root = table + tables * table_size;
        let root_sectors = (root_entries * ENTRY as u64).div_ceil(sector);
        let total = either(19, 32);
        let Some(count) = total.checked_sub(root + root_sectors).map(|sectors| sectors / per_cluster) else {
            return Ok(None);
        };
        // Section 3.5: nothing but the number of clusters tells.
        let width = match count {
            0..4085 => Width::Twelve,
            4085..65525 => Width::Sixteen,
            _ => Width::ThirtyTwo,
        };
        let tail = if width == Width::ThirtyTwo { 64 } else { 36 };
        let mut volume = Volume {
            label: trimmed(&boot[tail + 7..tail + 18]),
            blocks,
            width,
            table: table * sector,
            root: root * sector,
            root_size: (root_entries * ENTRY as u64) as usize,
            root_cluster: if width == Width::ThirtyTwo { long(44) } else { 0 },
            clusters: (root + root_sectors) * sector,
            cluster: (per_cluster * sector) as usize,
            end: u32::try_from(count + 2).unwrap_or(u32::MAX),
        };
        let directory = volume.root_directory()?;
        let mut entries = directory.chunks_exact(ENTRY).take_while(|entry| entry[0] != 0);
        if let Some(entry) = entries.find(|entry| entry[0] != 0xe5 && entry[11] & 0x3f == LABEL) {
            volume.label = trimmed(&entry[..11]);
        }
        Ok(Some(volume))
    }

    /// The content of a file, at most so many bytes; `None` where there is none.
    ///
    /// # Errors
    /// When it is larger, or the file system is damaged.
    pub fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>> {
        let mut directory = self.root_directory()?;
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            let Some(file) = look(&directory, name) else { return Ok(None) };
            let is_directory = file.attributes & DIRECTORY != 0;
            match names.peek() {
                Some(_) if is_directory => directory = self.chain(file.cluster, LARGEST_DIRECTORY)?,
                Some(_) => return Ok(None),
                None if is_directory => bail!("no plain file"),
                None => {
                    let size = file.size as usize;
                    ensure!(size <= most, "{size} bytes, more than {most}");
                    let mut bytes = if size == 0 { Vec::new() } else { self.chain(file.cluster, size)? };
                    ensure!(bytes.len() >= size, "it is shorter than its directory says");
                    bytes.truncate(size);
                    return Ok(Some(bytes));
                }
            }
        }
        Ok(None)
    }

    fn root_directory(&self) -> Result<Vec<u8>> {
        if self.width == Width::ThirtyTwo {
            return self.chain(self.root_cluster, LARGEST_DIRECTORY);
        }
        let mut bytes = vec![0; self.root_size.min(LARGEST_DIRECTORY)];
        self.blocks.read_at(self.root, &mut bytes)?;
        Ok(bytes)
    }

    /// What a chain of clusters holds, up to the cluster in which so many bytes are had: a chain that goes in circles ends there.
    fn chain(&self, first: u32, most: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut cluster = first;
        while (2..self.end).contains(&cluster) && bytes.len() < most {
            let at = bytes.len();
            bytes.resize(at + self.cluster, 0);
            let place = self.clusters + u64::from(cluster - 2) * self.cluster as u64;
            self.blocks.read_at(place, &mut bytes[at..])?;
            cluster = self.next(cluster)?;
        }
        Ok(bytes)
    }

    /// The entry of the table; any that is no cluster ends the chain.
    fn next(&self, cluster: u32) -> Result<u32> {
        let number = u64::from(cluster);
        let mut entry = [0; 4];
        let (at, length) = match self.width {
            Width::Twelve => (number + number / 2, 2),
            Width::Sixteen => (number * 2, 2),
            Width::ThirtyTwo => (number * 4, 4),
        };
        self.blocks.read_at(self.table + at, &mut entry[..length])?;
        let value = u32::from_le_bytes(entry);
        Ok(match self.width {
            Width::Twelve if cluster % 2 == 1 => value >> 4,
            Width::Twelve => value & 0xfff,
            Width::Sixteen => value,
            Width::ThirtyTwo => value & 0x0fff_ffff,
        })
    }
}

/// The entry of a name, in any case.
fn look(directory: &[u8], name: &str) -> Option<File> {
    let mut long: Vec<u16> = Vec::new();
    for entry in directory.chunks_exact(ENTRY).take_while(|entry| entry[0] != 0) {
        if entry[0] == 0xe5 {
            long.clear();
            continue;
        }
        if entry[11] & 0x3f == LONG_NAME {
            // Section 7: the last piece stands first and is marked.
            if entry[0] & 0x40 != 0 {
                long.clear();
            }
            let pieces = LETTERS.iter().flat_map(|range| entry[range.clone()].chunks_exact(2));
            let units = pieces.map(|pair| u16::from_le_bytes([pair[0], pair[1]])).take_while(|unit| *unit != 0);
            long.splice(0..0, units);
            continue;
        }
        let found = if long.is_empty() { short_name(entry) } else { String::from_utf16_lossy(&long) };
        long.clear();
        if entry[11] & LABEL == 0 && found.eq_ignore_ascii_case(name) {
            let short = |at: usize| u32::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
            let size = short(28) | short(30) << 16;
            return Some(File { attributes: entry[11], cluster: short(20) << 16 | short(26), size });
        }
    }
    None
}

fn short_name(entry: &[u8]) -> String {
    let (name, extension) = (trimmed(&entry[..8]), trimmed(&entry[8..11]));
    if extension.is_empty() { name } else { format!("{name}.{extension}") }
}

fn trimmed(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches([' ', '\0']).to_owned()
}
