// SPDX-License-Identifier: MIT OR Apache-2.0
//! All values of all guests, dealt to parts so that equal ones are in the same part and one part fits into memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};

use anyhow::{Context as _, Result};
use xxhash_rust::xxh64::xxh64;

use super::Spill;

/// Parts. A million guests with 20 values each make parts of about 20 MB.
const PARTS: usize = 64;
/// What a part keeps in memory before it goes to its file, in bytes: 64 MB for all. Tests shall reach the files.
const IN_MEMORY: usize = if cfg!(test) { 4 << 10 } else { 1 << 20 };
/// Bytes of a record before its kind: guest, subject, length of kind and value.
const HEAD: usize = 10;

/// One value of one guest.
pub struct Entry<'a> {
    /// The guest, by number; they come in ascending order.
    pub guest: u32,
    /// Which one of its kind, by number.
    pub subject: u32,
    /// The kind, by number.
    pub kind: u16,
    /// The value, at most 65,533 bytes.
    pub value: &'a str,
}

/// A value that several guests have.
pub struct Group {
    /// The kind, by number.
    pub kind: u16,
    /// The subject that it has in the first guest, by number.
    pub subject: u32,
    /// The value.
    pub value: String,
    /// The guests, ascending.
    pub guests: Vec<u32>,
}

/// The parts.
pub struct Pile {
    parts: Vec<Part>,
    spill: Spill,
}

#[derive(Default)]
struct Part {
    memory: Vec<u8>,
    file: Option<File>,
}

impl Pile {
    /// An empty one.
    pub fn new(spill: Spill) -> Pile {
        Pile { parts: (0..PARTS).map(|_| Part::default()).collect(), spill }
    }

    /// Adds a value.
    ///
    /// # Errors
    /// When the part's file cannot be written.
    pub fn push(&mut self, entry: &Entry<'_>) -> Result<()> {
        // Equal values have equal digests; that is all that is asked of it.
        let part = &mut self.parts[xxh64(entry.value.as_bytes(), entry.kind.into()) as usize % PARTS];
        let length = u16::try_from(2 + entry.value.len()).context("keeping a value")?;
        part.memory.extend_from_slice(&entry.guest.to_le_bytes());
        part.memory.extend_from_slice(&entry.subject.to_le_bytes());
        part.memory.extend_from_slice(&length.to_le_bytes());
        part.memory.extend_from_slice(&entry.kind.to_le_bytes());
        part.memory.extend_from_slice(entry.value.as_bytes());
        if part.memory.len() >= IN_MEMORY {
            part.flush(self.spill)?;
        }
        Ok(())
    }

    /// Visits every value that two or more guests have.
    ///
    /// # Errors
    /// When a part cannot be read again, and what `visit` fails with.
    pub fn each_shared(self, mut visit: impl FnMut(Group) -> Result<()>) -> Result<()> {
        for part in self.parts {
            let records = part.into_bytes()?;
            let mut shared = group(&records);
            // The order of a hash map is that of chance; two audits of one fleet shall read the same.
            shared.sort_unstable_by_key(|(key, _)| *key);
            for (key, holders) in shared {
                let (kind, value) = key.split_at(2);
                let value = String::from_utf8(value.to_vec()).context("reading a kept value")?;
                let kind = u16::from_le_bytes([kind[0], kind[1]]);
                visit(Group { kind, subject: holders.subject, value, guests: holders.guests })?;
            }
        }
        Ok(())
    }
}

impl Part {
    fn flush(&mut self, spill: Spill) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(spill()?),
        };
        file.write_all(&self.memory).context("writing down what does not fit into memory")?;
        self.memory.clear();
        Ok(())
    }

    fn into_bytes(self) -> Result<Vec<u8>> {
        let Some(mut file) = self.file else { return Ok(self.memory) };
        let mut bytes = Vec::with_capacity(usize::try_from(file.stream_position()?)? + self.memory.len());
        file.rewind()?;
        file.read_to_end(&mut bytes).context("reading what did not fit into memory")?;
        bytes.extend_from_slice(&self.memory);
        Ok(bytes)
    }
}

/// Who has a value.
struct Holders {
    subject: u32,
    first: u32,
    /// All of them, once there are two: most values have one holder, for whom nothing is allocated.
    guests: Vec<u32>,
}

/// The values that two or more guests have, each as kind and value.
fn group(records: &[u8]) -> Vec<(&[u8], Holders)> {
    let mut holders: HashMap<&[u8], Holders> = HashMap::new();
    let mut rest = records;
    while let Some((head, after)) = rest.split_at_checked(HEAD) {
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (guest, subject) = (number(0), number(4));
        let (key, after) = after.split_at(u16::from_le_bytes([head[8], head[9]]).into());
        rest = after;
        match holders.entry(key) {
            Slot::Vacant(slot) => drop(slot.insert(Holders { subject, first: guest, guests: Vec::new() })),
            Slot::Occupied(mut slot) => {
                let Holders { first, guests, .. } = slot.get_mut();
                // A guest may well have a value twice, in two places.
                if *guests.last().unwrap_or(first) != guest {
                    if guests.is_empty() {
                        guests.push(*first);
                    }
                    guests.push(guest);
                }
            }
        }
    }
    holders.into_iter().filter(|(_, holders)| !holders.guests.is_empty()).collect()
}
