// SPDX-License-Identifier: MIT OR Apache-2.0
//! `residue`: what a clone must simply not keep, from the catalogue.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context as _, Result, anyhow};
use serde::{Deserialize, Serialize};

use super::Regenerator;
use crate::catalogue::{self, Action, Catalogue, Residue as Entry, Weight};
use crate::formats::passwd;
use crate::guest::Guest;
use crate::keys::{secret, tls};
use crate::plan::derive::Seed;
use crate::plan::draft::{Draft, Past, Purpose};
use crate::plan::key::Secret;
use crate::plan::{Kind, Severity, tag};
use crate::policy::{Policy, PolicyError};
use crate::root::{self, trim};

/// The regenerator.
pub struct Residue;

/// Table `[residue]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    groups: Vec<String>,
    enable: Vec<String>,
    disable: Vec<String>,
    actions: BTreeMap<String, Action>,
}

impl Default for Options {
    fn default() -> Options {
        Options { groups: vec!["core".to_owned()], enable: Vec::new(), disable: Vec::new(), actions: BTreeMap::new() }
    }
}

/// What the policy wants of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Its action is carried out.
    Act,
    /// Its group is off; what a clone keeps is told all the same.
    Tell,
    /// Nothing.
    Silence,
}

impl Options {
    fn wish(&self, entry: &Entry) -> Wish {
        let named = |list: &[String]| list.contains(&entry.id);
        if named(&self.disable) || !(named(&self.enable) || entry.default || self.actions.contains_key(&entry.id)) {
            Wish::Silence
        } else if self.actions.contains_key(&entry.id)
            || named(&self.enable)
            || self.groups.contains(&entry.group)
            || entry.action == Action::Report
        {
            Wish::Act
        } else if entry.severity == Weight::Low {
            Wish::Silence
        } else {
            Wish::Tell
        }
    }
}

impl Regenerator for Residue {
    const ID: &'static str = "residue";
    const ABOUT: &'static str = "Remove seeds, leases and other residue that a clone must not keep";
    const EXAMPLE: &'static str = r#"[residue]
# Groups of catalogue entries that apply, except those that are off by default. What the other groups would report is
# told all the same, and so is what they would remove, unless it is of low severity.
groups = ["core"]
# Entries that apply beside those, by id: ["shell-history"], say. `reseal list` shows them all.
enable = []
# Entries that do not apply, and are not told.
disable = []
# What is done with an entry instead of what the catalogue says: { munge-key = "remove" }, say. "remove", "empty", "report",
# or where the entry says how "renew", "rekey" (a key and its self-signed certificate) or "run" (a program). Such an entry applies whatever its group.
actions = {}
"#;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        let catalogue = Catalogue::load(draft)?;
        catalogue.report(draft);
        let mut finder = Finder::default();
        let mut renewed = BTreeSet::new();
        for mut entry in catalogue.residue {
            if let Some(action) = options.actions.get(&entry.id) {
                entry.action = *action;
            }
            let entry = &entry;
            let wish = options.wish(entry);
            if wish == Wish::Silence {
                continue;
            }
            let found = finder.paths(draft, entry);
            let acts = wish == Wish::Act && entry.action != Action::Report && !found.is_empty();
            if let Some(unit) = entry.units.iter().find(|unit| acts && runs(draft, unit)) {
                let message = format!("{unit} runs and could write it back: left as it is; stop it and run again");
                found.iter().for_each(|path| draft.finding(Severity::Error, &format!("/{path}"), message.clone()));
                continue;
            }
            for path in found {
                // What one entry renews, another need not tell.
                if acts {
                    renewed.insert(path.clone());
                } else if renewed.contains(&path) {
                    continue;
                }
                let planned = match wish {
                    Wish::Tell => tell(draft, entry, &path),
                    _ => plan_one(draft, entry, &path),
                };
                if let Err(error) = planned {
                    draft.finding(Severity::Error, &format!("/{path}"), format!("left as it is: {error:#}"));
                }
            }
        }
        for error in finder.unread {
            draft.finding(Severity::Error, "catalogue", format!("{error}; what is there is left as it is"));
        }
        Ok(())
    }
}

/// Does a unit run? Then it has a control group of its own, which it has not in an image or early in a boot: in the unified
/// hierarchy or in systemd's own among the old ones, cgroups(7).
fn runs(draft: &Draft<'_>, unit: &str) -> bool {
    let group = |tree: &str| format!("sys/fs/cgroup/{tree}system.slice/{unit}");
    ["", "systemd/"].iter().any(|tree| draft.exists(&group(tree)).unwrap_or(false))
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
    let named = named.chain(options.actions.keys().map(|id| (id, &ids, "entry")));
    for (name, known, what) in named.chain(options.groups.iter().map(|group| (group, &groups, "group"))) {
        if !known.contains(&name.as_str()) {
            let message = format!("the catalogue has no {what} `{name}`");
            return Err(PolicyError::of("[residue]", message, Some((name, known))).into());
        }
    }
    for entry in &catalogue.residue {
        let checked = options.actions.get(&entry.id).map_or(Ok(()), |action| entry.check(*action));
        checked.map_err(|error| PolicyError::of("[residue]", format!("actions: {error}"), None))?;
    }
    Ok(())
}

/// What stands in the guest of one entry's paths.
///
/// # Errors
/// With the first directory that cannot be read.
pub fn paths(draft: &Draft<'_>, entry: &Entry) -> Result<Vec<String>> {
    let mut finder = Finder::default();
    let found = finder.paths(draft, entry);
    finder.unread.into_iter().next().map_or(Ok(found), |error| Err(anyhow!(error)))
}

/// Looks for the paths of many entries. Most of them lie in a few directories and are missing: each is listed once.
#[derive(Debug, Default)]
pub struct Finder {
    listed: HashMap<String, BTreeSet<String>>,
    homes: Option<Vec<String>>,
    /// What could not be looked into, and why: a home directory that is mounted from elsewhere must not keep the rest.
    pub unread: BTreeSet<String>,
}

impl Finder {
    /// What stands in the guest of an entry's paths. What is drafted between two calls need not show.
    pub fn paths(&mut self, draft: &Draft<'_>, entry: &Entry) -> Vec<String> {
        let mut found = Vec::new();
        for pattern in &entry.paths {
            let tops = match pattern.starts_with("~/") {
                true => self.homes(draft),
                false => vec![String::new()],
            };
            let below = pattern.strip_prefix('~').unwrap_or(pattern);
            for top in tops {
                match self.glob(draft, trim(&top), trim(below)) {
                    Ok(paths) => found.extend(paths),
                    Err(error) => drop(self.unread.insert(format!("{error:#}"))),
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn homes(&mut self, draft: &Draft<'_>) -> Vec<String> {
        if self.homes.is_none() {
            let passwd = draft.text("etc/passwd").unwrap_or_else(|error| {
                self.unread.insert(format!("{error:#}"));
                None
            });
            self.homes = Some(passwd::homes(&passwd.unwrap_or_default()));
        }
        self.homes.clone().unwrap_or_default()
    }

    fn glob(&mut self, draft: &Draft<'_>, top: &str, below: &str) -> Result<Vec<String>> {
        let mut at = top.to_owned();
        for part in below.split('/').take_while(|part| !part.contains(['*', '?', '['])) {
            if !self.listed.contains_key(&at) {
                // What cannot be listed is told once.
                let names = draft.list(&at);
                self.listed.insert(
                    at.clone(),
                    names.as_ref().map_or_else(|_| BTreeSet::new(), |names| names.iter().cloned().collect()),
                );
                names?;
            }
            if !self.listed[&at].contains(part) {
                return Ok(Vec::new());
            }
            at = if at.is_empty() { part.to_owned() } else { format!("{at}/{part}") };
        }
        draft.glob(&if top.is_empty() { below.to_owned() } else { format!("{top}/{below}") })
    }
}

/// What is there and stays, because its group is off.
fn tell(draft: &mut Draft<'_>, entry: &Entry, path: &str) -> Result<()> {
    if draft.stat(path)?.is_some_and(|stat| stat.kind != root::Kind::File || stat.size > 0) {
        let message = format!(
            "{}; it stays, as [residue] names neither `{}` nor its group `{}`",
            entry.about, entry.id, entry.group
        );
        draft.finding(severity(entry), &format!("/{path}"), message);
    }
    Ok(())
}

fn severity(entry: &Entry) -> Severity {
    if entry.severity == Weight::Low { Severity::Note } else { Severity::Warning }
}

fn plan_one(draft: &mut Draft<'_>, entry: &Entry, path: &str) -> Result<()> {
    let Some(stat) = draft.stat(path)? else { return Ok(()) };
    match entry.action {
        // What is empty says nothing of the template.
        Action::Report | Action::Empty if stat.kind == root::Kind::File && stat.size == 0 => Ok(()),
        Action::Report => {
            draft.finding(severity(entry), &format!("/{path}"), entry.about.clone());
            Ok(())
        }
        Action::Renew => renew(draft, entry, path),
        Action::Rekey => rekey(draft, entry, path),
        Action::Run => run(draft, entry, path),
        _ if stat.kind == root::Kind::File && !draft.goes(Kind::Residue, path)? => Ok(()),
        Action::Remove => draft.remove(path, &entry.about),
        Action::Empty => draft.put(path, "", stat.meta, &entry.about),
    }
}

/// A template that is sealed keeps its value: each clone replaces it.
fn renew(draft: &mut Draft<'_>, entry: &Entry, path: &str) -> Result<()> {
    let Some(value) = entry.value.filter(|_| draft.purpose == Purpose::Reset) else { return Ok(()) };
    if entry.secret {
        return draw(draft, entry, path, Secret::Value { value, field: entry.field.clone() });
    }
    let Some(text) = draft.text(path)? else { return Ok(()) };
    let Some((before, old, after)) = catalogue::split(&text, entry.field.as_ref())? else { return Ok(()) };
    let subject = subject(path, entry);
    let new = |draft: &Draft<'_>| value.derive(draft.seed(), &format!("residue {subject}"), old).map(Some);
    let renewal = draft.decide(Kind::Residue, &subject, Some(old.to_owned()), new)?;
    // It was made by this run already, or set by somebody since.
    if renewal.old.as_deref() != Some(old) {
        return Ok(());
    }
    let new = renewal.new.context("an earlier run had it removed")?;
    draft.write(path, format!("{before}{new}{after}"), &entry.about)
}

/// Where a value stands: the file, and the key in it.
fn subject(path: &str, entry: &Entry) -> String {
    match &entry.field {
        Some(field) => format!("/{path} {}", field.key),
        None => format!("/{path}"),
    }
}

/// Has a secret drawn in place of the one that is there; of both the plan knows no more than a tag.
fn draw(draft: &mut Draft<'_>, entry: &Entry, path: &str, wanted: Secret) -> Result<()> {
    let Some(file) = draft.read(path)? else { return Ok(()) };
    let Some(old) = secret::held(&file, &wanted)?.map(tag) else { return Ok(()) };
    let subject = subject(path, entry);
    if !is_new(draft, &subject, &old)? {
        draft.secret(path, wanted, &old, &entry.about)?;
    }
    Ok(())
}

/// Did this run replace what has this tag already, or somebody since?
fn is_new(draft: &mut Draft<'_>, subject: &str, now: &str) -> Result<bool> {
    let renewal = draft.decide(Kind::Residue, subject, Some(now.to_owned()), |_| Ok(None))?;
    Ok(renewal.old.as_deref() != Some(now))
}

fn rekey(draft: &mut Draft<'_>, entry: &Entry, path: &str) -> Result<()> {
    if draft.purpose != Purpose::Reset {
        return Ok(());
    }
    let named = entry.certificate.as_deref().context("the entry names no certificate")?;
    let beside = root::split(path).0;
    let certificate = if named.contains('/') { named.to_owned() } else { format!("{beside}/{named}") };
    // Paths that lead to one file must be one, so that it is written once.
    let (place, certificate) = (draft.resolve(path)?, draft.resolve(&certificate)?);
    let text = draft.text(&place)?.context("it is no file")?;
    let beside = draft.text(&certificate)?.with_context(|| format!("its certificate /{certificate} is not there"))?;
    // A run that was cut off between the two left the new certificate with the old key.
    let fresh = draft.decided(Kind::Residue, &subject(path, entry)).is_none();
    tls::check(&text, &beside, fresh)?;
    let names = draft.renewals().into_iter().filter(|renewal| renewal.kind == Kind::Hostname);
    let mut names: Vec<(String, String)> = names.filter_map(|renewal| Some((renewal.old?, renewal.new?))).collect();
    names.retain(|(old, new)| !old.starts_with("localhost") && old != new);
    draw(draft, entry, path, Secret::Certificate { certificate, names })
}

fn run(draft: &mut Draft<'_>, entry: &Entry, path: &str) -> Result<()> {
    if draft.purpose != Purpose::Reset {
        return Ok(());
    }
    let Some(old) = draft.read(path)?.map(|file| tag(&file)) else { return Ok(()) };
    if !draft.guest.running {
        let message = format!("{}; `{}` is run only in a running system", entry.about, entry.command.join(" "));
        draft.finding(severity(entry), &format!("/{path}"), message);
    } else if !is_new(draft, &subject(path, entry), &old)? {
        draft.run(path, entry.command.clone(), &old, &entry.about)?;
    }
    Ok(())
}
