// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which files differ, and who knows each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use reseal::catalogue::{Action, Catalogue};
use reseal::guest::Guest;
use reseal::plan::Change;
use reseal::plan::derive::Seed;
use reseal::plan::draft::{Draft, Past, Purpose};
use reseal::policy::Policy;
use reseal::regenerators::{self, OnError};
use sha2::{Digest as _, Sha256};

use crate::list::Reasons;
use crate::pair::Pair;

/// What becomes of the files that differ; absolute paths.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Of a catalogue entry.
    pub catalogue: BTreeSet<String>,
    /// Of a regenerator.
    pub regenerator: BTreeSet<String>,
    /// With a written reason.
    pub reason: BTreeSet<String>,
    /// Of nobody.
    pub unknown: BTreeSet<String>,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = [&self.catalogue, &self.regenerator, &self.reason, &self.unknown].map(BTreeSet::len);
        let [catalogue, regenerator, reason, unknown] = counts;
        write!(
            out,
            "{} files differ: {catalogue} of the catalogue, {regenerator} of regenerators, {reason} with a reason, \
             {unknown} unknown",
            catalogue + regenerator + reason + unknown
        )
    }
}

impl Verdict {
    pub fn of(pair: &Pair) -> Verdict {
        let files = pair.layers.each_ref().map(|layer| {
            let mut found = BTreeMap::new();
            files(layer, "", &mut found);
            found
        });
        let known = [0, 1].map(|which| Known::of(pair, which));
        let reasons = Reasons::new();
        let mut verdict = Verdict::default();
        for path in files[0].keys().chain(files[1].keys()) {
            if files[0].get(path) == files[1].get(path) {
                continue;
            }
            // Of what stands in one alone, that one knows.
            let asked: Vec<&Known> = (0..2).filter(|at| files[*at].contains_key(path)).map(|at| &known[at]).collect();
            let all = |set: fn(&Known) -> &BTreeSet<String>| asked.iter().all(|known| has(set(known), path));
            let list = match () {
                () if all(|known| &known.catalogue) => &mut verdict.catalogue,
                () if all(|known| &known.regenerator) => &mut verdict.regenerator,
                () if reasons.has(path) => &mut verdict.reason,
                () => &mut verdict.unknown,
            };
            list.insert(path.clone());
        }
        verdict
    }
}

/// Is it in the set, or below a directory that is?
fn has(set: &BTreeSet<String>, path: &str) -> bool {
    path.match_indices('/').map(|(at, _)| &path[..at]).chain([path]).any(|above| set.contains(above))
}

/// What the program knows of a guest.
struct Known {
    catalogue: BTreeSet<String>,
    regenerator: BTreeSet<String>,
}

impl Known {
    fn of(pair: &Pair, which: usize) -> Known {
        let copy = pair.copy(which);
        let guest = Guest::open(copy.root()).expect("opening a guest");
        let policy = Policy::parse("all", &policy()).expect("a policy");
        let past = Past::none(Seed::random(b"").expect("a seed"));
        let plan = regenerators::plan(&policy, &guest, past.clone(), Purpose::Reset, OnError::GoOn).expect("a plan");
        let mut known = Known { catalogue: BTreeSet::new(), regenerator: BTreeSet::new() };
        for step in &plan.steps {
            let Some(path) = step.change.path() else { continue };
            known.regenerator.insert(format!("/{path}"));
            if let Change::Keygen { .. } = step.change {
                known.regenerator.insert(format!("/{path}.pub"));
            }
        }
        // What a regenerator tells is known, though it may leave it; a whole tree it does not know file by file.
        let told = plan.findings.iter().map(|finding| &finding.subject).filter(|at| at.starts_with('/'));
        known.regenerator.extend(told.filter(|at| at.matches('/').count() > 1).cloned());
        let draft = Draft::new(&guest, Purpose::Reset, past);
        let mut finder = regenerators::ResidueFinder::default();
        for entry in Catalogue::load(&draft).expect("a catalogue").residue {
            for path in finder.paths(&draft, &entry) {
                known.catalogue.extend(entry.certificate.iter().map(|name| match name.starts_with('/') {
                    true => name.clone(),
                    false => format!("/{}/{name}", path.rsplit_once('/').map_or("", |(dir, _)| dir)),
                }));
                known.catalogue.insert(format!("/{path}"));
            }
        }
        known
    }
}

/// Everything is reset that can be: all groups, and what is reported although a new value could be made.
pub fn policy() -> String {
    let all = Catalogue::built_in().expect("the catalogue").residue;
    let groups: BTreeSet<&str> = all.iter().map(|entry| entry.group.as_str()).collect();
    let groups = Vec::from_iter(groups);
    let mut text = format!("[residue]\ngroups = {groups:?}\n[residue.actions]\n");
    for entry in all.iter().filter(|entry| entry.action == Action::Report) {
        let action = [Action::Renew, Action::Rekey].into_iter().find(|action| entry.check(*action).is_ok());
        if let Some(action) = action {
            let word = if action == Action::Renew { "renew" } else { "rekey" };
            text.push_str(&format!("{} = \"{word}\"\n", entry.id));
        }
    }
    text
}

/// What a layer holds: files by digest, links by target.
fn files(dir: &Path, above: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).expect("reading a directory").flatten() {
        let path = format!("{above}/{}", entry.file_name().to_string_lossy());
        if ["/run", "/tmp", "/proc", "/sys", "/dev"].contains(&path.as_str()) {
            continue;
        }
        let kind = entry.file_type().expect("a kind of file");
        if kind.is_dir() {
            files(&entry.path(), &path, found);
        } else if kind.is_symlink() {
            found.insert(path, fs::read_link(entry.path()).expect("reading a link").display().to_string());
        } else if kind.is_file() {
            let content = fs::read(entry.path()).expect("reading a file");
            found.insert(path, Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect());
        } else if kind.is_char_device() && entry.metadata().is_ok_and(|meta| meta.rdev() == 0) {
            // What an overlay has for a file that was removed.
            found.insert(path, "removed".to_owned());
        }
    }
}
