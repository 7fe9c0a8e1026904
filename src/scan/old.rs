// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every place of a guest where an old value still stands: in a file, in its name, in where a link leads.

use std::collections::HashSet;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use rustix::fs::FileType;
use serde::Serialize;

use super::lines;
use super::matcher::{Match, Matcher};
use super::progress::Progress;
use super::spelling::{self, Form, Spelling};
use super::stream::Blocks;
use super::unpack::{self, Large, What};
use super::value::Value;
use super::walk::{Dir, Entry, File, Unseen, Visitor, Walk};
use crate::root::Root;

/// Places of one value in one file that are told one by one.
const MOST_PLACES: usize = 5;

/// Entries of a report. A guest with more needs no longer list, and the list needs memory.
const MOST_ENTRIES: usize = 10_000;

/// Where about a file it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Where {
    /// In what it holds.
    Content,
    /// In its name.
    Name,
    /// In where the link leads.
    Target,
}

/// One value in one spelling at one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    /// Path below the root.
    pub path: Vec<u8>,
    /// The way to it inside of a packed file.
    pub inside: Option<String>,
    /// Where about it.
    pub place: Where,
    /// Number of the value.
    pub value: usize,
    /// How it is spelled.
    pub form: Form,
    /// How often it stands there.
    pub count: usize,
    /// The first lines, where it is text.
    pub lines: Vec<u64>,
    /// The first places, in bytes, where it is not text.
    pub offsets: Vec<u64>,
    /// The first line, where everybody may read it.
    pub text: Option<String>,
}

/// All that was found.
#[derive(Debug)]
pub struct Found {
    /// By path.
    pub entries: Vec<Entries>,
    /// Entries that the list has no place for.
    pub more: usize,
    /// Packed files that could not be unpacked, or not wholly, and why.
    pub packed: Vec<(Vec<u8>, String)>,
    /// What was not looked at.
    pub unseen: Unseen,
}

/// What is looked for, and how.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// The old values.
    pub values: &'a [Value],
    /// Files that hold the list of them, by device and number: they are left out.
    pub lists: &'a HashSet<(u64, u64)>,
    /// Are packed files unpacked, too?
    pub unpack: bool,
}

/// Looks through a guest.
///
/// # Errors
/// When the root itself cannot be read.
pub fn scan(root: &Root, search: Search<'_>, progress: &Progress) -> Result<Found, Errno> {
    let matcher = Matcher::new(spelling::of_all(search.values));
    let seeker = Seeker { matcher, search, large: Large::default(), progress, entries: AtomicUsize::new(0) };
    let (found, unseen) = progress.during(root, || Walk::run(root, &seeker))?;
    let (mut entries, mut packed) = (Vec::new(), Vec::new());
    for local in found {
        entries.extend(local.entries);
        packed.extend(local.packed);
    }
    entries.sort_by(|a: &Entries, b| {
        (&a.path, &a.inside, a.place, a.value, a.form).cmp(&(&b.path, &b.inside, b.place, b.value, b.form))
    });
    packed.sort();
    let more = seeker.entries.load(Relaxed).saturating_sub(entries.len());
    Ok(Found { entries, more, packed, unseen })
}

struct Seeker<'a> {
    matcher: Matcher,
    search: Search<'a>,
    large: Large,
    progress: &'a Progress,
    entries: AtomicUsize,
}

struct Local {
    blocks: Blocks,
    /// Names of a directory, one after the other.
    names: Vec<u8>,
    matches: Vec<Match>,
    entries: Vec<Entries>,
    packed: Vec<(Vec<u8>, String)>,
}

/// What was found in one content: value, form, how often, the first places.
#[derive(Default)]
struct Tally(Vec<(usize, Form, usize, Vec<u64>)>);

impl Tally {
    fn add(&mut self, spelling: &Spelling, at: u64) {
        let known = self.0.iter_mut().find(|known| known.0 == spelling.value && known.1 == spelling.form);
        match known {
            None => self.0.push((spelling.value, spelling.form, 1, vec![at])),
            Some((_, _, count, places)) => {
                *count += 1;
                keep_first(places, at);
            }
        }
    }
}

impl Visitor for Seeker<'_> {
    type Local = Local;

    fn local(&self) -> Local {
        Local {
            blocks: Blocks::new(&self.matcher),
            names: Vec::new(),
            matches: Vec::new(),
            entries: Vec::new(),
            packed: Vec::new(),
        }
    }

    fn directory(&self, local: &mut Local, dir: &Dir, entries: &[Entry]) {
        // All names at once: what cannot be in a name, a slash, is between them.
        local.names.clear();
        for entry in entries {
            local.names.extend_from_slice(&entry.name);
            local.names.push(b'/');
        }
        self.in_names(local, dir, entries, Where::Name);
        let links: Vec<Entry> = entries.iter().filter(|entry| entry.kind == FileType::Symlink).cloned().collect();
        local.names.clear();
        let mut targets = Vec::with_capacity(links.len());
        for link in links {
            use std::os::unix::ffi::OsStrExt as _;
            let Ok(target) = readlinkat(&dir.fd, &link.name[..]) else { continue };
            // A zero cannot be in a target.
            local.names.extend_from_slice(target.as_bytes());
            local.names.push(0);
            targets.push(Entry { name: link.name, kind: link.kind });
        }
        self.in_names(local, dir, &targets, Where::Target);
    }

    fn file(&self, local: &mut Local, file: File<'_>) -> Result<(), Errno> {
        if self.search.lists.contains(&(file.stat.st_dev, file.stat.st_ino)) {
            return Ok(());
        }
        let size = u64::try_from(file.stat.st_size).unwrap_or(0);
        let is_sparse = file.stat.st_blocks.unsigned_abs() * 512 < size;
        let mut tally = Tally::default();
        let mut tell = |at: u64, spelling: usize| tally.add(&self.matcher.spellings()[spelling], at);
        let read = local.blocks.search_file(&self.matcher, &file.fd, size, is_sparse, &mut tell)?;
        self.progress.add(read);
        if self.search.unpack {
            self.inside(local, &file);
        }
        if tally.0.is_empty() {
            return Ok(());
        }
        let path = file.path();
        for (value, form, count, places) in tally.0 {
            let lines = lines::of(&file.fd, &places)?;
            let is_text = lines.is_some();
            let mut numbers: Vec<u64> = lines.iter().flatten().map(|line| line.number).collect();
            numbers.dedup();
            let text = lines.and_then(|lines| lines.into_iter().next()).filter(|_| file.is_public());
            self.keep(
                local,
                Entries {
                    path: path.clone(),
                    inside: None,
                    place: Where::Content,
                    value,
                    form,
                    count,
                    lines: numbers,
                    offsets: if is_text { Vec::new() } else { places },
                    text: text.map(|line| line.text),
                },
            );
        }
        Ok(())
    }
}

/// Matches of one block come in no order: what is kept are the first places of the file.
fn keep_first(places: &mut Vec<u64>, at: u64) {
    let after = places.partition_point(|place| *place < at);
    if after < MOST_PLACES {
        places.insert(after, at);
        places.truncate(MOST_PLACES);
    }
}

impl Seeker<'_> {
    /// Looks through the names, or targets, that stand in `local.names` for these entries.
    fn in_names(&self, local: &mut Local, dir: &Dir, entries: &[Entry], place: Where) {
        let end = if place == Where::Name { b'/' } else { 0 };
        let mut matches = std::mem::take(&mut local.matches);
        self.matcher.find(&local.names, 0, local.names.len(), &mut matches);
        matches.sort_unstable();
        let mut told = HashSet::new();
        let (mut counted, mut number) = (0, 0);
        for found in matches.drain(..) {
            number += local.names[counted..found.at].iter().filter(|byte| **byte == end).count();
            counted = found.at;
            let spelling = &self.matcher.spellings()[found.spelling];
            let (value, form) = (spelling.value, spelling.form);
            if !told.insert((number, value, form)) {
                continue;
            }
            let Some(entry) = entries.get(number) else { continue };
            let path = dir.path_of(&entry.name);
            let (lines, offsets) = (Vec::new(), Vec::new());
            self.keep(local, Entries { path, inside: None, place, value, form, count: 1, lines, offsets, text: None });
        }
        local.matches = matches;
    }

    /// Looks into a packed file.
    fn inside(&self, local: &mut Local, file: &File<'_>) {
        let mut found = Vec::new();
        let mut source = Source { file: &file.fd, at: 0 };
        let blocks = &mut local.blocks;
        let mut look = |what: What, way: &str, from: u64, reader: &mut dyn Read| {
            let mut tally = Tally::default();
            let mut tell = |at: u64, spelling: usize| tally.add(&self.matcher.spellings()[spelling], at);
            blocks.search(&self.matcher, from, u64::MAX, &mut |into| reader.read(into), &mut tell)?;
            if !tally.0.is_empty() && found.len() < MOST_ENTRIES {
                found.push((what, way.to_owned(), tally));
            }
            Ok(())
        };
        if let Err(why) = unpack::look_inside(&mut source, &self.large, &mut look) {
            local.packed.push((file.path(), why));
        }
        for (what, way, tally) in found {
            for (value, form, count, offsets) in tally.0 {
                let place = if what == What::Name { Where::Name } else { Where::Content };
                let (path, inside, lines) = (file.path(), Some(way.clone()), Vec::new());
                self.keep(local, Entries { path, inside, place, value, form, count, lines, offsets, text: None });
            }
        }
    }

    fn keep(&self, local: &mut Local, entry: Entries) {
        if self.entries.fetch_add(1, Relaxed) < MOST_ENTRIES {
            local.entries.push(entry);
        }
    }
}

/// A file from its beginning, wherever it was read to.
struct Source<'a> {
    file: &'a OwnedFd,
    at: u64,
}

impl Read for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = rustix::io::pread(self.file, into, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}
