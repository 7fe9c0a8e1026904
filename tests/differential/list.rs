// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lists: which packages are installed together, and which differences are none of an identity.

use glob::{MatchOptions, Pattern};

/// Packages that are installed into one guest.
#[derive(Debug, Default)]
pub struct Batch {
    pub name: String,
    pub packages: Vec<String>,
}

/// The batches of these names, or all.
pub fn batches(wanted: &str) -> Vec<Batch> {
    let mut all: Vec<Batch> = Vec::new();
    for line in lines(include_str!("packages.txt")) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => all.push(Batch { name: name.to_owned(), ..Batch::default() }),
            None => all.last_mut().expect("a batch before its packages").packages.push(line.to_owned()),
        }
    }
    let names: Vec<String> = all.iter().map(|batch| batch.name.clone()).collect();
    for name in wanted.split(',').filter(|name| *name != "all") {
        assert!(names.iter().any(|known| known == name), "no batch {name}; there are {names:?}");
    }
    all.retain(|batch| wanted == "all" || wanted.split(',').any(|name| name == batch.name));
    all
}

/// Why a file that differs is no identity.
pub struct Reasons(Vec<Pattern>);

impl Reasons {
    pub fn new() -> Reasons {
        let pattern = |line: &str| {
            let (pattern, reason) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            assert!(!reason.trim().is_empty(), "no reason is given for {pattern}");
            Pattern::new(pattern).expect("a pattern")
        };
        Reasons(lines(include_str!("reasons.txt")).map(pattern).collect())
    }

    /// `path` is absolute.
    pub fn has(&self, path: &str) -> bool {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
        self.0.iter().any(|pattern| pattern.matches_with(path, options))
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}
