// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an audit found, and its JSON form.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, Write};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};

use super::guests::Guests;
use super::weight::weight;
use super::{Broken, Spill};
use crate::plan::Severity;

/// Version of the report's JSON form.
const VERSION: u32 = 1;
/// What is kept in memory of the shared identities, in bytes; the others are in the JSON form alone. Tests shall reach them.
const IN_MEMORY: usize = if cfg!(test) { 64 << 10 } else { 192 << 20 };

/// A value that several guests have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// How much it matters.
    pub severity: Severity,
    /// What kind of identity it is.
    pub kind: String,
    /// Which one of its kind it is in the first guest.
    pub subject: String,
    /// The value.
    pub value: String,
    /// May it be shared?
    pub allowed: bool,
    /// The guests, by number, ascending.
    pub guests: Vec<u32>,
}

/// How many identities of a kind are shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindCount {
    /// The kind.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// What comes of it.
    pub why: &'static str,
    /// Values that are shared and may not be.
    pub shared: u64,
    /// Values that are shared and may be.
    pub allowed: u64,
}

/// What an audit found.
pub struct Report {
    /// The guests.
    pub guests: Guests,
    /// Of each guest, how many of its values others have, too; without those that they may have.
    pub shared_by: Vec<u32>,
    /// Values that were compared.
    pub values: u64,
    /// The first documents that are no inventories.
    pub broken: Vec<Broken>,
    /// How many there are.
    pub broken_count: u64,
    kinds: BTreeMap<String, KindCount>,
    /// What matters most, the least of it on top.
    most: BinaryHeap<Shared>,
    /// Bytes of `most`.
    size: usize,
    /// The others, a JSON document a line.
    rest: Option<BufWriter<File>>,
    spill: Spill,
}

impl Report {
    /// Nothing shared yet.
    pub fn new(guests: Guests, values: u64, broken: Vec<Broken>, broken_count: u64, spill: Spill) -> Report {
        let shared_by = vec![0; guests.len()];
        let (kinds, most) = (BTreeMap::new(), BinaryHeap::new());
        Report { guests, shared_by, values, broken, broken_count, kinds, most, size: 0, rest: None, spill }
    }

    /// Adds a shared value.
    ///
    /// # Errors
    /// When what does not fit into memory cannot be written.
    pub fn add(&mut self, shared: Shared) -> Result<()> {
        let count = self.kinds.entry(shared.kind.clone()).or_insert_with(|| KindCount {
            kind: shared.kind.clone(),
            severity: shared.severity,
            why: weight(&shared.kind).why,
            shared: 0,
            allowed: 0,
        });
        if shared.allowed {
            count.allowed += 1;
        } else {
            count.shared += 1;
            shared.guests.iter().for_each(|guest| self.shared_by[*guest as usize] += 1);
        }
        self.size += shared.size();
        self.most.push(shared);
        while self.size > IN_MEMORY && self.most.len() > 1 {
            let Some(least) = self.most.pop() else { break };
            self.size -= least.size();
            let file = match &mut self.rest {
                Some(file) => file,
                none => none.insert(BufWriter::new((self.spill)()?)),
            };
            serde_json::to_writer(&mut *file, &Shown(&least, &self.guests))?;
            file.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Values that are shared and may not be.
    pub fn shared(&self) -> u64 {
        self.kinds.values().map(|count| count.shared).sum()
    }

    /// Values that are shared and may be.
    pub fn allowed(&self) -> u64 {
        self.kinds.values().map(|count| count.allowed).sum()
    }

    /// Guests that share a value which they may not share.
    pub fn sharing_guests(&self) -> usize {
        self.shared_by.iter().filter(|count| **count > 0).count()
    }

    /// The kinds of which something is shared, what matters most first.
    pub fn kinds(&self) -> Vec<&KindCount> {
        let mut kinds: Vec<_> = self.kinds.values().collect();
        kinds.sort_by_key(|count| (Reverse(count.severity), Reverse(count.shared), &count.kind));
        kinds
    }

    /// At most this many shared values, what matters most first.
    pub fn most(&self, at_most: usize) -> Vec<&Shared> {
        let mut most: Vec<_> = self.most.iter().collect();
        most.sort_unstable();
        most.truncate(at_most);
        most
    }

    /// Writes the JSON form: one document, each shared value on a line of its own.
    ///
    /// # Errors
    /// When `out` cannot be written, or what did not fit into memory cannot be read.
    pub fn write_json(&mut self, out: &mut impl Write) -> Result<()> {
        write!(out, "{{\n  \"version\": {VERSION},\n  \"guests\": {},\n", self.guests.len())?;
        write!(out, "  \"guests-that-share\": {},\n  \"values\": {},\n", self.sharing_guests(), self.values)?;
        write!(out, "  \"shared-values\": {},\n  \"allowed-values\": {},\n", self.shared(), self.allowed())?;
        write!(out, "  \"broken-documents\": {},\n  \"broken\": ", self.broken_count)?;
        list(out, self.broken.iter().map(serde_json::to_string))?;
        write!(out, ",\n  \"kinds\": ")?;
        list(out, self.kinds().into_iter().map(serde_json::to_string))?;
        write!(out, ",\n  \"shared\": ")?;
        let rest = match &mut self.rest {
            Some(rest) => {
                rest.flush().context("writing down what does not fit into memory")?;
                let mut file = rest.get_ref().try_clone()?;
                file.rewind()?;
                Some(BufReader::new(file))
            }
            None => None,
        };
        let lines = rest.into_iter().flat_map(|rest| rest.lines()).map(|line| line.map_err(serde_json::Error::io));
        let most = self.most(usize::MAX);
        list(out, most.into_iter().map(|shared| serde_json::to_string(&Shown(shared, &self.guests))).chain(lines))?;
        out.write_all(b"\n}\n")?;
        out.flush()?;
        Ok(())
    }
}

/// A JSON list with each element on a line of its own.
fn list(out: &mut impl Write, lines: impl Iterator<Item = serde_json::Result<String>>) -> io::Result<()> {
    let mut before = "[";
    for line in lines {
        write!(out, "{before}\n    {}", line?)?;
        before = ",";
    }
    out.write_all(if before == "[" { b"[]" } else { b"\n  ]" })
}

impl Shared {
    /// What it takes in memory, in bytes.
    fn size(&self) -> usize {
        size_of::<Shared>() + self.kind.len() + self.subject.len() + self.value.len() + 4 * self.guests.capacity()
    }

    fn order(&self) -> impl Ord {
        let Shared { severity, kind, subject, value, allowed, guests } = self;
        (*allowed, Reverse(*severity), Reverse(guests.len()), kind, value, subject)
    }
}

/// What matters most is least, so that it comes first.
impl Ord for Shared {
    fn cmp(&self, other: &Shared) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Shared {
    fn partial_cmp(&self, other: &Shared) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A shared value with the names of its guests.
struct Shown<'a>(&'a Shared, &'a Guests);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        struct Names<'a>(&'a [u32], &'a Guests);
        impl Serialize for Names<'_> {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_seq(self.0.iter().map(|guest| self.1.name(*guest)))
            }
        }
        let Shown(shared, guests) = self;
        let mut form = out.serialize_struct("Shared", 7)?;
        form.serialize_field("severity", &shared.severity)?;
        form.serialize_field("kind", &shared.kind)?;
        form.serialize_field("subject", &shared.subject)?;
        form.serialize_field("value", &shared.value)?;
        form.serialize_field("allowed", &shared.allowed)?;
        form.serialize_field("count", &shared.guests.len())?;
        form.serialize_field("guests", &Names(&shared.guests, guests))?;
        form.end()
    }
}
