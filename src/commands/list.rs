// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal list`: the regenerators and the catalogue, and what applies to the guest.

use anyhow::Result;
use serde::Serialize;

use super::{Access, Exit, is_human, open_with_disks, policy, print, print_json};
use crate::catalogue::{Action, Catalogue, Weight};
use crate::cli::Options;
use crate::plan::derive::Seed;
use crate::plan::draft::{Draft, Past, Purpose};
use crate::plan::show;
use crate::regenerators::{self, OnError, PIPELINE};

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Listed<'a> {
    id: &'a str,
    about: &'a str,
    selected: bool,
    changes: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ListedResidue<'a> {
    id: &'a str,
    about: &'a str,
    group: &'a str,
    action: Action,
    severity: Weight,
    default: bool,
    found: Vec<String>,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<Exit> {
    let guest = open_with_disks(options, Access::Look)?;
    let policy = policy(options, &guest)?;
    let past = Past::none(Seed::random(b"")?);
    let plan = regenerators::plan(&policy, &guest, past.clone(), Purpose::Reset, OnError::GoOn)?;
    let changes = |id: &str| plan.steps.iter().filter(|step| step.by.iter().any(|by| by == id)).count();
    let regenerators: Vec<Listed<'_>> = PIPELINE
        .iter()
        .map(|entry| Listed {
            id: entry.id,
            about: entry.about,
            selected: policy.selects(entry.id),
            changes: changes(entry.id),
        })
        .collect();
    let draft = Draft::new(&guest, Purpose::Reset, past);
    let catalogue = Catalogue::load(&draft)?;
    let mut residue = Vec::new();
    let mut finder = regenerators::ResidueFinder::default();
    for entry in &catalogue.residue {
        residue.push(ListedResidue {
            id: &entry.id,
            about: &entry.about,
            group: &entry.group,
            action: entry.action,
            severity: entry.severity,
            default: entry.default,
            // What this user may not look at cannot be listed.
            found: finder.paths(&draft, entry),
        });
    }
    if !is_human(options) {
        print_json(&serde_json::json!({ "version": 1, "regenerators": regenerators, "residue": residue }))?;
        return Ok(Exit::Done);
    }
    let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let rows: Vec<[String; 4]> = regenerators
        .iter()
        .map(|e| [e.id.to_owned(), word(e.selected), e.changes.to_string(), e.about.to_owned()])
        .collect();
    let mut text = show::table(&["regenerator", "runs", "changes", "what it does"], &rows);
    text.push('\n');
    let rows: Vec<[String; 5]> = residue
        .iter()
        .map(|e| [e.id.to_owned(), e.group.to_owned(), word(e.default), e.found.len().to_string(), e.about.to_owned()])
        .collect();
    text.push_str(&show::table(&["residue", "group", "default", "found", "what it is"], &rows));
    print(&text)?;
    Ok(Exit::Done)
}
