// SPDX-License-Identifier: MIT OR Apache-2.0
//! What finds old values and residue: the matcher finds what a look at every place finds, packed files end, and a new value
//! changes nothing but the old one.

use std::io::{self, Read};

use reseal::catalogue::{Action, Catalogue, split};
use reseal::keys::secret;
use reseal::plan::derive::Seed;
use reseal::plan::key::Secret;
use reseal::scan::list::List;
use reseal::scan::matcher::{Match, Matcher};
use reseal::scan::spelling;
use reseal::scan::stream::Blocks;
use reseal::scan::unpack::{Large, What, look_inside};

use crate::tally;

/// Between the arguments of one input.
const NEXT: u8 = 1;

/// What is read of an input: every spelling is looked for at every place of it.
const MOST_BYTES: usize = 4096;
const MOST_VALUES: usize = 8;

/// Bytes that a matcher looks at together, and some more.
const BLOCK: usize = 256 << 10;

/// Old values a line, and a file.
pub fn scan(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == NEXT);
    let (Some(values), Some(file)) = (parts.next(), parts.next()) else { return tally::count("no file") };
    let file = &file[..file.len().min(MOST_BYTES)];
    let mut list = List::default();
    for line in String::from_utf8_lossy(values).lines().take(MOST_VALUES) {
        let _ = list.add_named(line, "fuzz");
    }
    let matcher = Matcher::new(spelling::of_all(&list.values));
    let everywhere =
        (0..file.len()).flat_map(|at| (0..matcher.spellings().len()).map(move |spelling| Match { at, spelling }));
    let wanted: Vec<Match> =
        everywhere.filter(|here| matcher.spellings()[here.spelling].stands_at(file, here.at)).collect();
    let mut found = Vec::new();
    matcher.find(file, 0, file.len(), &mut found);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, wanted);
    // Over the end of a block, in reads of any length.
    let before = BLOCK - file.len() / 2;
    let mut source = io::repeat(b' ').take(before as u64).chain(file);
    let mut streamed = Vec::new();
    let mut tell = |at: u64, spelling: usize| streamed.push(Match { at: at as usize - before, spelling });
    let mut read = |into: &mut [u8]| {
        let most = into.len().min(30_011);
        source.read(&mut into[..most])
    };
    Blocks::new(&matcher).search(&matcher, 0, u64::MAX, &mut read, &mut tell).expect("reading memory");
    streamed.sort_unstable();
    streamed.dedup();
    assert_eq!(streamed, wanted);
    tally::count(if wanted.is_empty() { "nothing found" } else { "found" });
}

/// A packed file.
pub fn unpack(input: &[u8]) {
    let mut rest: u64 = 1 << 20;
    let mut look = |_: What, way: &str, _: u64, reader: &mut dyn Read| {
        assert!(way.len() < 5 * 4200, "a way of {} bytes", way.len());
        let read = io::copy(&mut reader.take(rest + 1), &mut io::sink())?;
        rest = rest.checked_sub(read).ok_or_else(|| io::Error::other("enough"))?;
        Ok(())
    };
    let result = look_inside(&mut &input[..], &Large::default(), &mut look);
    tally::count(if result.is_ok() { "whole" } else { "damaged" });
}

/// A file of entries, and one that the first of them is about.
pub fn catalogue(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return tally::count("not text") };
    let (entries, file) = input.split_once(char::from(NEXT)).unwrap_or((input, ""));
    let mut all = Catalogue { residue: Vec::new(), references: Vec::new(), broken: Vec::new() };
    if let Err(error) = all.add("fuzz.toml", entries) {
        let said = error.to_string();
        assert!(said.starts_with("fuzz.toml: line "), "{said}");
        return tally::count("error");
    }
    let Some(entry) = all.residue.first() else { return tally::count("no entry") };
    if let (Some(value), Ok(())) = (entry.value, entry.check(Action::Renew)) {
        let Ok(Some((before, old, after))) = split(file, entry.field.as_ref()) else { return tally::count("no value") };
        assert_eq!([before, old, after].concat(), file);
        let seed = Seed::try_from("5e".repeat(32)).expect("a seed");
        if let Ok(new) = value.derive(&seed, "fuzz", old) {
            let changed = [before, &new, after].concat();
            if let Ok(Some((_, now, _))) = split(&changed, entry.field.as_ref()) {
                assert_eq!(now, new);
            }
        }
        if entry.secret {
            let wanted = Secret::Value { value, field: entry.field.clone() };
            if let Ok(made) = secret::renew(file.as_bytes(), None, &wanted) {
                assert!(made.file.starts_with(before.as_bytes()) && made.file.ends_with(after.as_bytes()));
            }
        }
        return tally::count("renewed");
    }
    tally::count("sound");
}
