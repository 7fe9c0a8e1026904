// SPDX-License-Identifier: MIT OR Apache-2.0
//! `residue`: what a clone must simply not keep, from the catalogue.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Regenerator;
use crate::catalogue::{Action, Catalogue, Residue as Entry};
use crate::formats::passwd;
use crate::guest::Guest;
use crate::plan::derive::Seed;
use crate::plan::draft::{Draft, Past, Purpose};
use crate::plan::{Kind, Severity};
use crate::policy::{Policy, PolicyError};
use crate::root;

/// The regenerator.
pub struct Residue;

/// Table `[residue]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    groups: Vec<String>,
    enable: Vec<String>,
    disable: Vec<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options { groups: vec!["core".to_owned()], enable: Vec::new(), disable: Vec::new() }
    }
}

impl Options {
    fn selects(&self, entry: &Entry) -> bool {
        let named = |list: &[String]| list.contains(&entry.id);
        !named(&self.disable) && (named(&self.enable) || entry.default && self.groups.contains(&entry.group))
    }
}

impl Regenerator for Residue {
    const ID: &'static str = "residue";
    const ABOUT: &'static str = "Remove seeds, leases and other residue that a clone must not keep";
    const EXAMPLE: &'static str = r#"[residue]
# Groups of catalogue entries that apply, except those that are off by default.
groups = ["core"]
# Entries that apply beside those, by id: ["shell-history"], say. `reseal list` shows them all.
enable = []
# Entries that do not apply.
disable = []
"#;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        let catalogue = Catalogue::load(draft)?;
        catalogue.report(draft);
        for entry in catalogue.residue.iter().filter(|entry| options.selects(entry)) {
            for path in paths(draft, entry)? {
                if let Err(error) = plan_one(draft, entry, &path) {
                    draft.finding(Severity::Error, &format!("/{path}"), format!("left as it is: {error:#}"));
                }
            }
        }
        Ok(())
    }
}

/// Does the policy name only what the catalogue has, and is the guest's own part of it sound?
///
/// # Errors
/// [`PolicyError`].
pub fn check(policy: &Policy, guest: &Guest) -> Result<()> {
    let options: Options = policy.options(Residue::ID)?;
    let past = Past::none(Seed::random(b"")?);
    let catalogue = Catalogue::load(&Draft::new(guest, Purpose::Reset, past))?;
    if let Some(broken) = catalogue.broken.first() {
        return Err(PolicyError::of("catalogue", broken.clone(), None).into());
    }
    let ids: Vec<&str> = catalogue.residue.iter().map(|entry| entry.id.as_str()).collect();
    let groups: Vec<&str> = catalogue.residue.iter().map(|entry| entry.group.as_str()).collect();
    let named = options.enable.iter().chain(&options.disable).map(|id| (id, &ids, "entry"));
    for (name, known, what) in named.chain(options.groups.iter().map(|group| (group, &groups, "group"))) {
        if !known.contains(&name.as_str()) {
            let message = format!("the catalogue has no {what} `{name}`");
            return Err(PolicyError::of("[residue]", message, Some((name, known))).into());
        }
    }
    Ok(())
}

/// What stands in the guest of an entry's paths.
pub fn paths(draft: &Draft<'_>, entry: &Entry) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for pattern in &entry.paths {
        match pattern.strip_prefix("~/") {
            None => found.extend(draft.glob(pattern)?),
            Some(below) => {
                for home in passwd::homes(&draft.text("etc/passwd")?.unwrap_or_default()) {
                    found.extend(draft.glob(&format!("{home}/{below}"))?);
                }
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn plan_one(draft: &mut Draft<'_>, entry: &Entry, path: &str) -> Result<()> {
    let Some(stat) = draft.stat(path)? else { return Ok(()) };
    match entry.action {
        Action::Report => {
            draft.finding(Severity::Warning, &format!("/{path}"), entry.about.clone());
            Ok(())
        }
        // What is empty says nothing of the template.
        _ if stat.kind == root::Kind::File && (stat.size == 0 && entry.action == Action::Empty) => Ok(()),
        _ if stat.kind == root::Kind::File && !draft.goes(Kind::Residue, path)? => Ok(()),
        Action::Remove => draft.remove(path, &entry.about),
        Action::Empty => draft.put(path, "", stat.meta, &entry.about),
    }
}
