// SPDX-License-Identifier: MIT OR Apache-2.0
//! What to do about a place where an old value was found.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::old::Where;
use super::spelling::Form;
use crate::catalogue::Catalogue;
use crate::plan::draft::Draft;
use crate::regenerators;

/// What the catalogue has for the places of a guest.
#[derive(Debug)]
pub struct Advice {
    /// Entries of residue, by path.
    residue: BTreeMap<String, String>,
    /// Files that quote identities.
    references: BTreeSet<String>,
}

impl Advice {
    /// What the catalogue has for this guest.
    ///
    /// # Errors
    /// When the catalogue's directories cannot be read.
    pub fn new(draft: &Draft<'_>) -> Result<Advice> {
        let catalogue = Catalogue::load(draft)?;
        let mut advice = Advice { residue: BTreeMap::new(), references: BTreeSet::new() };
        for entry in &catalogue.residue {
            for path in regenerators::residue_paths(draft, entry).unwrap_or_default() {
                advice.residue.insert(path, entry.id.clone());
            }
        }
        for pattern in catalogue.references.iter().flat_map(|entry| &entry.paths) {
            advice.references.extend(draft.glob(pattern).unwrap_or_default());
        }
        Ok(advice)
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
