// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guests by name, held densely: a fleet has a million of them.

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::inventory::Inventory;

/// The guests, by number in the order in which they were read.
#[derive(Default)]
pub struct Guests {
    /// All names, one after another.
    names: String,
    list: Vec<Guest>,
    sources: Vec<String>,
}

struct Guest {
    /// Where its name ends.
    ends: usize,
    source: u32,
    line: u32,
    /// Has another one the same name?
    shared: bool,
}

impl Guests {
    /// Notes a file, and gives its number.
    pub fn source(&mut self, name: &str) -> u32 {
        self.sources.push(name.to_owned());
        u32::try_from(self.sources.len() - 1).unwrap_or(u32::MAX)
    }

    /// Adds a guest, the document `number` of its file, from 1. Its name is what its document says in `guest`; else that
    /// of its file, where that holds one printed document; else its host name; else the machine's UUID.
    ///
    /// # Errors
    /// When there are four thousand million.
    pub fn add(&mut self, inventory: &Inventory<'_>, source: u32, number: u64, line: u64) -> Result<u32> {
        let guest = u32::try_from(self.list.len()).context("counting the guests")?;
        let path = self.sources.get(source as usize).map(Path::new);
        let stem = path
            .filter(|path| number == 1 && path.extension().is_some_and(|end| end == "json"))
            .and_then(|path| path.file_stem()?.to_str());
        let given = inventory.guest.as_deref().filter(|name| !name.is_empty());
        let host = || inventory.first("hostname", "static");
        let machine = || inventory.first("smbios-uuid", "machine");
        let name = given.or(stem).or_else(host).or_else(machine).unwrap_or_default();
        self.names.push_str(name);
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        self.list.push(Guest { ends: self.names.len(), source, line, shared: name.is_empty() });
        Ok(guest)
    }

    /// Finds the names that several have, once all are there.
    pub fn settle(&mut self) {
        let digest = RandomState::new();
        let mut order: Vec<(u64, u32)> =
            (0..self.list.len()).map(|number| (digest.hash_one(self.plain(number)), number as u32)).collect();
        order.sort_unstable();
        for pair in order.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            // A digest that two names share adds a place to both, which does no harm.
            pair.iter().for_each(|(_, number)| self.list[*number as usize].shared = true);
        }
    }

    /// The name of a guest; with file and line where another one has it too.
    pub fn name(&self, number: u32) -> String {
        let number = number as usize;
        let Guest { source, line, shared, .. } = &self.list[number];
        match self.plain(number) {
            name if !shared => name.to_owned(),
            name => {
                let source = self.sources.get(*source as usize).map_or("", |source| source);
                format!("{name} ({source}:{line})").trim_start().to_owned()
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn plain(&self, number: usize) -> &str {
        let begins = number.checked_sub(1).map_or(0, |before| self.list[before].ends);
        &self.names[begins..self.list[number].ends]
    }
}
