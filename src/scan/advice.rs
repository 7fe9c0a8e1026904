// SPDX-License-Identifier: MIT OR Apache-2.0
//! What to do about a place where an old value was found.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::old::Where;
use super::spelling::Form;
use crate::catalogue::Catalogue;
use crate::plan::draft::Draft;
use crate::regenerators;
use crate::root;

/// What the catalogue has for the places of a guest.
#[derive(Debug)]
pub struct Advice {
    /// Entries of residue, by path.
    residue: BTreeMap<String, String>,
    /// Files that quote identities.
    references: BTreeSet<String>,
    /// Those among them that an entry is about, and not only looks into, as it does into every `/etc/*/*.conf`.
    quotes: BTreeSet<String>,
}

impl Advice {
    /// What the catalogue has for this guest.
    ///
    /// # Errors
    /// When the catalogue's directories cannot be read.
    pub fn new(draft: &Draft<'_>) -> Result<Advice> {
        let catalogue = Catalogue::load(draft)?;
        let mut advice = Advice { residue: BTreeMap::new(), references: BTreeSet::new(), quotes: BTreeSet::new() };
        for entry in &catalogue.residue {
            for path in regenerators::residue_paths(draft, entry).unwrap_or_default() {
                if let Some(certificate) = &entry.certificate {
                    let beside = || format!("{}/{certificate}", root::split(&path).0);
                    let certificate = certificate.strip_prefix('/').map_or_else(beside, str::to_owned);
                    advice.residue.insert(certificate, entry.id.clone());
                }
                advice.residue.insert(path, entry.id.clone());
            }
        }
        for pattern in catalogue.references.iter().flat_map(|entry| &entry.paths) {
            let found = draft.glob(pattern).unwrap_or_default();
            if !pattern.split('/').nth(2).is_some_and(|second| second.contains('*')) {
                advice.quotes.extend(found.iter().cloned());
            }
            advice.references.extend(found);
        }
        Ok(advice)
    }

    /// Every path that the catalogue has an entry of residue for, and every file whose ids it knows.
    pub fn into_paths(self) -> (impl Iterator<Item = String>, BTreeSet<String>) {
        (self.residue.into_keys(), self.quotes)
    }

    /// Is it of a catalogue entry, so that the policy decides?
    pub fn entry(&self, path: &str) -> Option<&str> {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]).chain([path]);
        above.into_iter().find_map(|path| self.residue.get(path)).map(String::as_str)
    }

    /// A sentence without a full stop.
    pub fn of(&self, path: &str, place: Where, form: Form) -> String {
        let name = path.rsplit('/').next().unwrap_or(path);
        let starts = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
        if let Some(entry) = self.entry(path) {
            return format!("residue: the entry `{entry}` of the catalogue takes it away when [residue] selects it");
        }
        if self.references.contains(path) {
            return "references: `reseal apply` rewrites what it knows here; what is left may be a comment or unknown text"
                .to_owned();
        }
        let advice = match (place, form) {
            (_, Form::PrivateKey) => "delete it: a copy of the template's private key",
            _ if starts(&["var/log/journal/"]) => "the template's journal: remove it, or `scan.allow` it",
            _ if starts(&["var/log/"]) => "the template's log: remove it, or `scan.allow` it",
            _ if starts(&["boot/"]) && (name.starts_with("init") || name.ends_with(".img")) => {
                "rebuild the initramfs: update-initramfs -u, or dracut --force"
            }
            _ if starts(&["var/cache/", "var/tmp/", "tmp/"]) => "remove it: it is made again where it is needed",
            _ if name.starts_with("known_hosts") => "remove the line: ssh-keygen -R",
            _ if name.starts_with("authorized_keys") => {
                "remove the line, if the template's key is to be let in no more"
            }
            _ if name.ends_with('~')
                || [".bak", ".old", ".orig", ".dpkg-old", "-"].iter().any(|end| name.ends_with(end)) =>
            {
                "remove it: a copy of an earlier state"
            }
            _ if starts(&["etc/lvm/archive/", "etc/lvm/backup/"]) => "remove it, and run vgcfgbackup",
            _ if name.ends_with("_history") => "remove it, or [residue] enable = [\"shell-history\"]",
            (Where::Name, _) => "rename or remove it",
            (Where::Target, _) => "let the link lead elsewhere, or remove it",
            (Where::Content, _) => "edit or remove it; if every clone has it, add an entry to the catalogue",
        };
        advice.to_owned()
    }
}
