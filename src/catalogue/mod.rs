// SPDX-License-Identifier: MIT OR Apache-2.0
//! The long tail as data: what a clone must simply not keep, and which files quote an identity.
//!
//! Entries are compiled in; a guest adds its own in `/usr/lib/reseal/catalogue.d/*.toml` and
//! `/etc/reseal/catalogue.d/*.toml`. An entry is four lines of data; one that needs an `if` is a regenerator.

mod value;

use anyhow::{Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::plan::draft::Draft;
use crate::plan::{Kind, Severity};

pub use value::{Field, MOST, Value, split};

/// What is kept to tell a secret from its successor is 64 bits of a digest: the secret must have more than it gives away.
const LEAST_BITS: usize = 64;

/// Where a guest adds entries.
const PLACES: [&str; 2] = ["usr/lib/reseal/catalogue.d", "etc/reseal/catalogue.d"];

macro_rules! groups {
    ($($group:literal),* $(,)?) => {
        [$(($group, include_str!(concat!("residue/", $group, ".toml")))),*]
    };
}

/// The compiled-in residue, a file for each group.
const RESIDUE: [(&str, &str); 23] = groups![
    "core",
    "network",
    "vpn",
    "keys",
    "directory",
    "registration",
    "cloud",
    "containers",
    "cluster",
    "storage",
    "virtualisation",
    "databases",
    "web",
    "mail",
    "ci",
    "configuration",
    "monitoring",
    "security",
    "desktop",
    "packages",
    "secrets",
    "history",
    "logs",
];

/// What is done with the files of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// They go.
    Remove,
    /// They stay, without content.
    Empty,
    /// A value in them is replaced by a new one of the same form; the rest stays byte for byte.
    Renew,
    /// A private key and the self-signed certificate made from it are made anew, under the new host name.
    Rekey,
    /// The program that makes them is run; only in a running system.
    Run,
    /// They stay; the operator is told.
    Report,
}

/// How bad it is when two clones share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Untidy.
    Low,
    /// The clones disturb each other.
    Medium,
    /// The clones can be taken for one another, or one can read what the other keeps secret.
    High,
}

/// Something a clone must not keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Residue {
    /// Name in policy; kebab-case.
    pub id: String,
    /// What it is; one line, no full stop.
    pub about: String,
    /// Absolute paths with `*` and `?` inside their components; `~/` is the home of root and of every user.
    pub paths: Vec<String>,
    /// What is done with them.
    pub action: Action,
    /// What `renew` puts there; with another action, what the policy may have put there.
    #[serde(default)]
    pub value: Option<Value>,
    /// Where in the file that value stands; none: it is the whole file.
    #[serde(default)]
    pub field: Option<Field>,
    /// Is it a secret? Then it is drawn when it is written, and no plan, record or message has it.
    #[serde(default)]
    pub secret: bool,
    /// For `rekey`, the certificate of the key: an absolute path, or the name of a file beside the key's.
    #[serde(default)]
    pub certificate: Option<String>,
    /// For `run`, the program's absolute path and its arguments. No shell reads them.
    #[serde(default)]
    pub command: Vec<String>,
    /// Units that hold it in memory and would write it back: while one of them runs, it is left and told.
    #[serde(default)]
    pub units: Vec<String>,
    /// Which group of entries it belongs to.
    pub group: String,
    /// How bad sharing it is.
    pub severity: Weight,
    /// Is it done, or told, without the policy asking?
    #[serde(default = "yes")]
    pub default: bool,
    /// Where this is written down: a manual page, a source file.
    pub source: String,
}

/// Text format of a file that quotes an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// hosts(5): the names of each line.
    Hosts,
    /// Words separated by blanks or commas, `#` comments; a file that holds one name is the simplest case.
    Words,
    /// `key = value` lines; a line that starts with a blank goes on with the value, postconf(5).
    Keys,
    /// `UUID=`, `PARTUUID=` and `/dev/disk/by-*`, wherever they stand, fstab(5), and keys whose value is a plain id.
    DeviceTags,
    /// GRUB's scripts and environment block: as `device-tags`, and `search`, `cryptomount`, `lvmid/`, menu entry ids.
    Grub,
    /// Kernel command line words `key=value`, wherever they stand.
    KernelCommandLine,
    /// Units that are named after a device: the file itself is renamed, systemd-escape(1).
    UnitNames,
    /// A copy of what described the template's disks: it goes when it quotes one of their old ids.
    Stale,
    /// Addresses of machines and links, as whole words; in lines whose first word is a field, or in all where there is none.
    Addresses,
    /// Not known; a quote is told, with its line.
    Report,
}

/// A file that quotes identities that live elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Reference {
    /// Absolute paths with `*` and `?` inside their components.
    pub paths: Vec<String>,
    /// The kinds of identity that stand there.
    pub kinds: Vec<Kind>,
    /// How the file is written.
    pub format: Format,
    /// The keys whose values quote it; none for formats without keys.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Where this is written down.
    pub source: String,
}

impl Residue {
    /// Can this be done with the entry's files?
    ///
    /// # Errors
    /// With the reason, when it cannot.
    pub fn check(&self, action: Action) -> Result<()> {
        match action {
            Action::Renew => {
                let Some(value) = self.value else { bail!("`{}` has no value to renew", self.id) };
                if value.is_secret() && !self.secret {
                    bail!("`{}` is a secret: `secret = true` says so", self.id);
                }
                if self.secret && value.bits() < LEAST_BITS {
                    bail!("`{}` is a secret of fewer than {LEAST_BITS} bits", self.id);
                }
                Ok(())
            }
            Action::Rekey if self.certificate.is_none() => bail!("`{}` names no certificate", self.id),
            Action::Run if self.command.is_empty() => bail!("`{}` names no command", self.id),
            _ => Ok(()),
        }
    }

    /// Is what it says of its program and certificate sound?
    fn check_fields(&self) -> Result<()> {
        let plain = |path: &str| path.starts_with('/') && path.split('/').all(|part| part != "..");
        if let Some(program) = self.command.first() {
            if !plain(program) {
                bail!("`{program}` is no absolute path of a program");
            }
            if self.paths.len() != 1 || self.paths[0].contains(['*', '?', '[']) {
                bail!("`{}` runs a program: its one path is the file that is new afterwards", self.id);
            }
        }
        match &self.certificate {
            Some(certificate) if certificate.contains('/') && !plain(certificate) || certificate.as_str() == ".." => {
                bail!("`{certificate}` is neither an absolute path nor a name")
            }
            _ => Ok(()),
        }
    }
}

fn yes() -> bool {
    true
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Entries {
    residue: Vec<Residue>,
    reference: Vec<Reference>,
}

/// All entries: the compiled-in ones, then the guest's own.
#[derive(Debug)]
pub struct Catalogue {
    /// What a clone must not keep.
    pub residue: Vec<Residue>,
    /// Files that quote an identity.
    pub references: Vec<Reference>,
    /// Files of the guest's own that are left out, and why: with file and line.
    pub broken: Vec<String>,
}

impl Catalogue {
    /// The entries for a guest.
    ///
    /// A broken file of the guest's own is left out and named in [`Catalogue::broken`]: the other entries must not suffer.
    ///
    /// # Errors
    /// When a directory of entries cannot be read.
    pub fn load(draft: &Draft<'_>) -> Result<Catalogue> {
        let mut all = Catalogue::built_in()?;
        for place in PLACES {
            for name in draft.list(place)?.into_iter().filter(|name| name.ends_with(".toml")) {
                let path = format!("{place}/{name}");
                let added = draft.text(&path).and_then(|text| all.add(&format!("/{path}"), &text.unwrap_or_default()));
                if let Err(error) = added {
                    all.broken.push(format!("{error:#}"));
                }
            }
        }
        Ok(all)
    }

    /// The compiled-in entries.
    ///
    /// # Errors
    /// Never in a program that passed its tests.
    pub fn built_in() -> Result<Catalogue> {
        let mut all = Catalogue { residue: Vec::new(), references: Vec::new(), broken: Vec::new() };
        for (group, text) in RESIDUE {
            all.add(&format!("catalogue/residue/{group}.toml"), text)?;
        }
        all.add("catalogue/references.toml", include_str!("references.toml"))?;
        Ok(all)
    }

    /// Tells the operator of files that were left out.
    pub fn report(&self, draft: &mut Draft<'_>) {
        for broken in &self.broken {
            draft.finding(Severity::Error, "catalogue", format!("{broken}; the file is left out"));
        }
    }

    /// Adds the entries of one file, `name` in messages.
    ///
    /// # Errors
    /// With file and line, when it is not TOML, not of this form, or names a path that is not absolute.
    pub fn add(&mut self, name: &str, text: &str) -> Result<()> {
        let entries: Entries = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
            anyhow!("{name}: line {line}: {}", error.message())
        })?;
        let paths = entries.residue.iter().flat_map(|entry| &entry.paths);
        for path in paths.chain(entries.reference.iter().flat_map(|entry| &entry.paths)) {
            if !(path.starts_with('/') || path.starts_with("~/")) || path.split('/').any(|part| part == "..") {
                bail!("{name}: line {}: `{path}` is no absolute path", line_of(text, path));
            }
        }
        for entry in &entries.residue {
            let checked = entry.check(entry.action).and_then(|()| entry.check_fields());
            checked.map_err(|error| anyhow!("{name}: line {}: {error}", line_of(text, &entry.id)))?;
        }
        for entry in entries.residue {
            // A site's entry replaces the built-in one of the same name.
            self.residue.retain(|earlier| earlier.id != entry.id);
            self.residue.push(entry);
        }
        self.references.extend(entries.reference);
        Ok(())
    }
}

/// The first line that holds a string in quotes.
fn line_of(text: &str, quoted: &str) -> usize {
    let words = [format!("\"{quoted}\""), format!("'{quoted}'")];
    text.lines().position(|line| words.iter().any(|word| line.contains(word))).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_group_is_a_file() {
        for (group, text) in RESIDUE {
            let mut one = Catalogue { residue: Vec::new(), references: Vec::new(), broken: Vec::new() };
            one.add(group, text).unwrap();
            assert!(one.residue.iter().all(|entry| entry.group == group) && one.references.is_empty(), "{group}");
        }
    }

    #[test]
    fn the_built_in_entries_are_whole() {
        let all = Catalogue::built_in().unwrap();
        assert!(all.residue.len() >= 200 && all.references.len() >= 8);
        let mut actions = BTreeMap::new();
        for entry in &all.residue {
            assert!(!entry.paths.is_empty() && !entry.about.ends_with('.') && !entry.source.is_empty(), "{entry:?}");
            assert!(entry.id.split('-').all(|word| {
                !word.is_empty() && word.bytes().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
            }));
            assert!(entry.field.is_none() || entry.value.is_some(), "{entry:?}");
            assert!(entry.units.iter().all(|unit| unit.contains('.')), "{entry:?}");
            for path in &entry.paths {
                assert!(!path.ends_with('/') && !path.contains("//"), "{path}");
                let earlier = actions.insert(path, entry.action);
                assert!(earlier.is_none_or(|action| action == entry.action), "{path} is to go and to stay");
            }
        }
        // An entry that takes the place of an earlier one would go unseen.
        let written: usize = RESIDUE.iter().map(|(_, text)| text.matches("[[residue]]").count()).sum();
        assert_eq!(all.residue.len(), written, "two entries have one id");
        for entry in &all.references {
            let fields = match entry.format {
                Format::Keys | Format::KernelCommandLine => Some(true),
                Format::DeviceTags | Format::Grub | Format::Addresses => None,
                Format::Hosts | Format::Words | Format::UnitNames | Format::Stale | Format::Report => Some(false),
            };
            assert!(fields.is_none_or(|wanted| wanted != entry.fields.is_empty()), "{entry:?}");
        }
    }

    #[test]
    fn an_entry_says_what_its_action_needs() {
        let mut all = Catalogue::built_in().unwrap();
        let entry =
            "[[residue]]\nid='a'\nabout='b'\npaths=['/a']\naction='renew'\ngroup='g'\nseverity='low'\nsource='s'\n";
        assert_eq!(all.add("x", entry).unwrap_err().to_string(), "x: line 2: `a` has no value to renew");
        let mut complaint = |more: &str| all.add("x", &format!("{entry}{more}")).map_err(|error| error.to_string());
        assert!(complaint("value='password-20'").unwrap_err().contains("`secret = true` says so"));
        assert!(complaint("value='hex-7'\nsecret=true").unwrap_err().contains("fewer than 64 bits"));
        complaint("value='hex-8'\nsecret=true").unwrap();
        for (fields, said) in [
            ("command=['usr/bin/x']", "`usr/bin/x` is no absolute path of a program"),
            ("command=['/usr/../bin/x']", "no absolute path of a program"),
            ("certificate='a/b'", "neither an absolute path nor a name"),
            ("certificate='..'", "neither an absolute path nor a name"),
        ] {
            let error = complaint(&format!("value='uuid'\n{fields}")).unwrap_err();
            assert!(error.starts_with("x: line 2: ") && error.contains(said), "{error}");
        }
        let of = |action: &str, more: &str| format!("{}{more}", entry.replace("'renew'", &format!("'{action}'")));
        for (action, more) in [("rekey", "certificate='a.crt'"), ("run", "command=['/bin/x', '-y']")] {
            assert!(all.add("x", &of(action, "")).unwrap_err().to_string().contains("names no"));
            all.add("x", &of(action, more)).unwrap();
            assert!(all.add("x", &of(action, more).replace("'/a'", "'/a*'")).is_ok() == (action == "rekey"));
        }
        let wrong = format!("{entry}value='hex-99'\n");
        assert!(all.add("x", &wrong).unwrap_err().to_string().starts_with("x: line 9: `hex-99` wants a size"));
        assert!(all.add("x", &format!("{entry}value='uuid'\n")).is_ok());
    }

    #[test]
    fn a_broken_entry_is_named_with_file_and_line() {
        let mut all = Catalogue::built_in().unwrap();
        let error = all.add("/etc/x.toml", "[[residue]]\nid = \"a\"\nabuot = \"b\"\n").unwrap_err().to_string();
        assert!(error.starts_with("/etc/x.toml: line 3: unknown field `abuot`"), "{error}");
        let entry = "[[residue]]\nid='a'\nabout='b'\npaths=['/a/../b']\naction='remove'\ngroup='g'\nseverity='low'\nsource='s'\n";
        assert!(all.add("x", entry).unwrap_err().to_string().contains("no absolute path"));
    }
}
