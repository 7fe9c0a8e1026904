// SPDX-License-Identifier: MIT OR Apache-2.0
//! A case: one text file with a policy, the guest's files before, the plan, and its files after.
//!
//! Sections start with `== name ==`: `purpose` (`seal`, or missing), `machine` and `links` (JSON facts, or missing), `policy`,
//! `decided` (`KIND SUBJECT OLD NEW` a line: what an earlier stage of the run decided), `probed` (what the network said of addresses), `before`, `plan`, `after`. In
//! `before` and `after` an entry starts with `-- file PATH MODE`, `-- link PATH -> TARGET`, `-- dir PATH` or `-- fifo PATH`; `-- key PATH ALGORITHM MODE` makes a real SSH key and its public half,
//! `-- pgp PATH` an OpenPGP key, `-- huge PATH` a sparse file of 1 GiB.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use reseal::guest::Guest;
use reseal::guest::links::Links;
use reseal::guest::machine::Machine;
use reseal::keys;
use reseal::plan::Renewal;
use reseal::plan::derive::Seed;
use reseal::plan::draft::{Past, Purpose};
use reseal::plan::key::{KeySpec, PgpAlgorithm};
use reseal::policy::Policy;
use reseal::stamp::Memory;

/// A parsed case.
pub struct Case {
    pub path: PathBuf,
    pub name: String,
    sections: Vec<(String, String)>,
}

impl Case {
    /// All cases, by name.
    pub fn all() -> Vec<Case> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
        let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "case"));
        paths.sort();
        paths.into_iter().map(Case::read).collect()
    }

    fn read(path: PathBuf) -> Case {
        let text = fs::read_to_string(&path).unwrap();
        let mut sections: Vec<(String, String)> = vec![("about".into(), String::new())];
        for line in text.split_inclusive('\n') {
            match line.trim_end().strip_prefix("== ").and_then(|rest| rest.strip_suffix(" ==")) {
                Some(name) => sections.push((name.to_owned(), String::new())),
                None => sections.last_mut().unwrap().1.push_str(line),
            }
        }
        for (section, _) in &sections {
            let known =
                ["about", "purpose", "machine", "links", "policy", "decided", "probed", "before", "plan", "after"];
            assert!(known.contains(&section.as_str()), "{}: unknown section {section}", path.display());
        }
        Case { name: path.file_stem().unwrap().to_string_lossy().into_owned(), path, sections }
    }

    /// A section's text.
    pub fn section(&self, name: &str) -> &str {
        self.sections.iter().find(|(known, _)| known == name).map_or("", |(_, text)| text)
    }

    pub fn purpose(&self) -> Purpose {
        match self.section("purpose").trim() {
            "" => Purpose::Reset,
            "seal" => Purpose::Seal,
            other => panic!("{}: unknown purpose {other}", self.name),
        }
    }

    pub fn policy(&self) -> Policy {
        Policy::parse(&self.name, self.section("policy")).unwrap()
    }

    /// Makes the guest of the section `before`.
    pub fn make(&self, root: &Path) {
        fs::create_dir_all(root).unwrap();
        let mut rest = self.section("before");
        while let Some(start) = rest.strip_prefix("-- ") {
            let (head, body) = start.split_once('\n').unwrap_or((start, ""));
            let end = if body.starts_with("-- ") { 0 } else { body.find("\n-- ").map_or(body.len(), |at| at + 1) };
            self.entry(root, head, &body[..end]);
            rest = &body[end..];
        }
        assert!(rest.trim().is_empty(), "{}: stray text in before: {rest:?}", self.name);
    }

    fn entry(&self, root: &Path, head: &str, body: &str) {
        let words: Vec<&str> = head.split_whitespace().collect();
        let path = root.join(words[1]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mode = |text: &str| fs::Permissions::from_mode(u32::from_str_radix(text, 8).unwrap());
        match words[..] {
            ["file", _, bits] => {
                let body = body.strip_suffix("<no newline>\n").map_or(body, |text| text.trim_end_matches('\n'));
                let bytes = if body == "<not UTF-8>\n" { b"line\n\xff\xfe\n".to_vec() } else { body.into() };
                fs::write(&path, bytes).unwrap();
                fs::set_permissions(&path, mode(bits)).unwrap();
            }
            ["link", _, "->", target] => symlink(target, &path).unwrap(),
            ["dir", _] => fs::create_dir_all(&path).unwrap(),
            ["fifo", _] => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            ["huge", _] => fs::File::create(&path).unwrap().set_len(1 << 30).unwrap(),
            ["key", _, algorithm, bits] => {
                let algorithm = serde_json::from_value(algorithm.into()).unwrap();
                let key = keys::make(&KeySpec::SshHost { algorithm, comment: "root@template".into() }).unwrap();
                fs::write(&path, &*key.private).unwrap();
                fs::set_permissions(&path, mode(bits)).unwrap();
                fs::write(format!("{}.pub", path.display()), &key.companion.content).unwrap();
            }
            ["pgp", _] => {
                let key = keys::make(&KeySpec::pgp(PgpAlgorithm::Cv25519, "template", true)).unwrap();
                fs::write(&path, &*key.private).unwrap();
                fs::set_permissions(&path, mode("0600")).unwrap();
            }
            _ => panic!("{}: bad entry {head:?}", self.name),
        }
    }

    /// The guest below `root`, with the facts of the section `machine`.
    pub fn guest(&self, root: &Path) -> Guest {
        let machine = match self.section("machine").trim() {
            "" => Machine::offline(),
            facts => serde_json::from_str(facts).unwrap(),
        };
        let links = match self.section("links").trim() {
            "" => Links::default(),
            facts => Links::known(serde_json::from_str(facts).unwrap()),
        };
        Guest { machine, links, ..Guest::open(root).unwrap() }
    }

    /// What a run takes over, with the one seed of all cases where nothing gives another.
    pub fn past(&self, guest: &Guest) -> Past {
        let memory = Memory::read(guest).unwrap();
        let fresh = memory.journal.is_none() && memory.offline.is_none();
        let past = memory.past(guest, self.purpose(), false).unwrap();
        if !fresh {
            return past;
        }
        let probed = match self.section("probed").trim() {
            "" => past.probed.clone(),
            answers => serde_json::from_str(answers).unwrap(),
        };
        Past { seed: seed(), decided: self.decided(), probed, ..past }
    }

    /// The section `decided`; only a subject may have blanks.
    fn decided(&self) -> Vec<Renewal> {
        let lines = self.section("decided").lines().filter(|line| !line.trim().is_empty());
        lines
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [kind, subject @ .., old, new] = &words[..] else { panic!("{}: bad line {line:?}", self.name) };
                let value = |text: &str| (text != "-").then(|| text.to_owned());
                Renewal {
                    kind: serde_json::from_value((*kind).into()).unwrap(),
                    subject: subject.join(" "),
                    old: value(old),
                    new: value(new),
                }
            })
            .collect()
    }

    /// Rewrites the expectations.
    pub fn bless(&self, plan: &str, after: &str) {
        let mut text = String::new();
        for (name, body) in &self.sections {
            let body = match name.as_str() {
                "plan" => plan,
                "after" => after,
                _ => body,
            };
            if name != "about" {
                text.push_str(&format!("== {name} ==\n"));
            }
            text.push_str(body);
        }
        for (name, body) in [("plan", plan), ("after", after)] {
            if !self.sections.iter().any(|(known, _)| known == name) {
                text.push_str(&format!("== {name} ==\n{body}"));
            }
        }
        fs::write(&self.path, text).unwrap();
    }
}

/// The seed of all cases.
pub fn seed() -> Seed {
    Seed::try_from("5e".repeat(32)).unwrap()
}
