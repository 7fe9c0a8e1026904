// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which guests of a fleet share identities: many inventories in, one report out.
//!
//! Documents are read once, one after another. Of each guest only its name stays in memory; its values are dealt by their
//! digest to parts that grow into files (`pile`), and each part is then compared by itself, byte by byte. So memory
//! does not grow with the values, and no digest decides whether two of them are equal.

mod documents;
mod guests;
mod html;
mod inventory;
mod page;
mod pile;
mod report;
mod show;
mod weight;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead};

use anyhow::{Result, bail};
use serde::Serialize;

use documents::Documents;
pub use guests::Guests;
pub use html::page;
pub use inventory::Inventory;
use pile::{Entry, Pile};
pub use report::{KindCount, Report, Shared};
pub use show::human;
pub use weight::{Allowed, Weight, weight};

/// Where files without a name come from: what does not fit into memory goes there.
pub type Spill = fn() -> Result<File>;

/// Kinds that are told apart; an inventory that brings more is broken.
const MOST_KINDS: usize = 256;
/// Subjects that are remembered; later ones are shown as unknown.
const MOST_SUBJECTS: usize = 10_000;
/// Broken documents that are named; all are counted.
const MOST_BROKEN: usize = 1000;

/// A document that is no inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// File and line: `fleet.ndjson:17`; for a file that cannot be read, the file.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

/// What has been read so far.
pub struct Audit {
    guests: Guests,
    kinds: Words,
    subjects: Words,
    pile: Pile,
    spill: Spill,
    allowed: Vec<Allowed>,
    values: u64,
    broken: Vec<Broken>,
    broken_count: u64,
}

impl Audit {
    /// Nothing read yet; what is `allowed` may be shared.
    pub fn new(allowed: Vec<Allowed>, spill: Spill) -> Audit {
        Audit {
            guests: Guests::default(),
            kinds: Words::default(),
            subjects: Words::default(),
            pile: Pile::new(spill),
            spill,
            allowed,
            values: 0,
            broken: Vec::new(),
            broken_count: 0,
        }
    }

    /// Reads every document of a file, or of standard input. What is broken is noted, and the next one is read.
    ///
    /// # Errors
    /// When what does not fit into memory cannot be written.
    pub fn read(&mut self, name: &str, from: impl BufRead) -> Result<()> {
        let source = self.guests.source(name);
        let mut documents = Documents::new(from);
        let mut number = 0;
        loop {
            let document = match documents.next() {
                Ok(Some(document)) => document,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.unreadable(name, &error);
                    return Ok(());
                }
            };
            let line = document.line;
            match document.text.and_then(|text| self.take(text)) {
                Ok(inventory) => {
                    number += 1;
                    self.add(&inventory, source, number, line)?;
                }
                Err(message) => self.broken(format!("{name}:{line}"), message),
            }
        }
    }

    /// Notes a file that cannot be read.
    pub fn unreadable(&mut self, name: &str, error: &io::Error) {
        self.broken(name.to_owned(), error.to_string());
    }

    /// Finds what is shared.
    ///
    /// # Errors
    /// When what did not fit into memory cannot be read again, or no document was an inventory.
    pub fn finish(mut self) -> Result<Report> {
        if self.guests.is_empty() {
            match self.broken.first() {
                Some(Broken { place, message }) => bail!("no inventory could be read; {place}: {message}"),
                None => bail!("there is no inventory in what was given"),
            }
        }
        self.guests.settle();
        let mut report = Report::new(self.guests, self.values, self.broken, self.broken_count, self.spill);
        self.pile.each_shared(|group| {
            let kind = self.kinds.get(group.kind.into());
            let allowed = self.allowed.iter().any(|allowed| allowed.covers(kind, &group.value));
            report.add(Shared {
                severity: weight(kind).severity,
                kind: kind.to_owned(),
                subject: self.subjects.get(group.subject).to_owned(),
                value: group.value,
                allowed,
                guests: group.guests,
            })
        })?;
        Ok(report)
    }

    /// Understands a document, all of it or nothing.
    fn take<'a>(&mut self, text: &'a [u8]) -> Result<Inventory<'a>, String> {
        let inventory = Inventory::read(text)?;
        for identity in &inventory.identities {
            if self.kinds.number(&identity.kind, MOST_KINDS).is_none() {
                return Err(format!("more than {MOST_KINDS} kinds of identities"));
            }
        }
        Ok(inventory)
    }

    fn add(&mut self, inventory: &Inventory<'_>, source: u32, number: u64, line: u64) -> Result<()> {
        let guest = self.guests.add(inventory, source, number, line)?;
        for identity in inventory.telling() {
            let kind = self.kinds.number(&identity.kind, MOST_KINDS).unwrap_or_default();
            let subject = self.subjects.number(&identity.subject, MOST_SUBJECTS).unwrap_or(Words::UNKNOWN);
            self.values += 1;
            // Below MOST_KINDS.
            self.pile.push(&Entry { guest, subject, kind: kind as u16, value: &identity.value })?;
        }
        Ok(())
    }

    fn broken(&mut self, place: String, message: String) {
        self.broken_count += 1;
        if self.broken.len() < MOST_BROKEN {
            self.broken.push(Broken { place, message });
        }
    }
}

/// Words that occur again and again, by number.
#[derive(Default)]
struct Words {
    numbers: HashMap<Box<str>, u32>,
    list: Vec<Box<str>>,
}

impl Words {
    /// The number of what was not remembered.
    const UNKNOWN: u32 = u32::MAX;

    /// The number of a word; none where it is a new one and there are `most` already.
    fn number(&mut self, word: &str, most: usize) -> Option<u32> {
        if let Some(number) = self.numbers.get(word) {
            return Some(*number);
        }
        if self.list.len() >= most {
            return None;
        }
        let number = u32::try_from(self.list.len()).ok()?;
        self.numbers.insert(word.into(), number);
        self.list.push(word.into());
        Some(number)
    }

    fn get(&self, number: u32) -> &str {
        self.list.get(number as usize).map_or("", |word| word)
    }
}

#[cfg(test)]
mod tests;
