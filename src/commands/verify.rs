// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal verify`: does the guest share nothing with its template, and does what it was given stand and work?

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::inspect::{Identity, identities, renewed_by};
use super::{Access, Exit, Usage, is_human, open_with_disks, policy, print, print_json};
use crate::apply;
use crate::audit::{Allowed, Inventory};
use crate::cli::{Options, Verify};
use crate::guest::Guest;
use crate::guest::boot;
use crate::guest::machine::Likeness;
use crate::keys::ssh::{self, PrivateFile};
use crate::plan::{Kind, show};
use crate::regenerators;
use crate::root::trim;
use crate::stamp::{Form, Memory, Record, TEMPLATE};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    /// What must be so.
    check: &'static str,
    /// What it is about: a kind of identity, or a file.
    about: String,
    /// Which one.
    subject: String,
    /// Is it so?
    good: bool,
    /// What was found.
    found: String,
}

/// The document that `--format json` prints.
#[derive(Debug, Serialize)]
struct Verdict {
    version: u32,
    good: bool,
    checks: Vec<Check>,
    /// What was not looked at, and why.
    unchecked: Vec<String>,
}

#[derive(Default)]
struct Checks {
    list: Vec<Check>,
    unchecked: Vec<String>,
}

impl Checks {
    fn add(&mut self, check: &'static str, about: &str, subject: &str, good: bool, found: impl Into<String>) {
        let (about, subject) = (about.to_owned(), subject.to_owned());
        self.list.push(Check { check, about, subject, good, found: found.into() });
    }
}

/// Runs the command.
pub fn run(options: &Options, asked: &Verify) -> Result<Exit> {
    let allowed = asked.allow.iter().map(|text| Allowed::read(text)).collect::<Result<Vec<_>>>();
    let allowed = allowed.map_err(|error| Usage(format!("reading --allow: {error:#}")))?;
    let guest = open_with_disks(options, Access::LookInside)?;
    let memory = Memory::read(&guest)?;
    let record = memory.stamp.as_ref().or(memory.offline.as_ref());
    let template = match &asked.against {
        Some(path) => Some(read_template(path).map_err(|error| Usage(format!("{error:#}")))?),
        None => template_of(&guest, &memory)?,
    };
    if template.is_none() && record.is_none() {
        let message = "neither a template nor a stamp is known here; --against names the template's inventory";
        return Err(Usage(message.to_owned()).into());
    }
    let (now, findings) = identities(&guest)?;
    let mut checks = Checks::default();
    for finding in findings.iter().chain(&guest.findings) {
        let text = format!("{}: {}", finding.subject, finding.message);
        // What cannot be read could be anything.
        if finding.severity == crate::plan::Severity::Error || finding.by == "image" {
            checks.unchecked.push(text);
        }
    }
    match &template {
        Some(template) => differs(&mut checks, &now, template, &allowed),
        None => checks.unchecked.push("the template is not known; --against names its inventory".to_owned()),
    }
    match record {
        Some(record) => {
            // What the guest's own policy renews beyond the built-in one was recorded, too.
            let mut given = now.clone();
            given.extend(renewed_by(&guest, policy(options, &guest)?)?.0);
            as_recorded(&mut checks, &given, record, &memory);
        }
        None => checks.unchecked.push("there is no stamp: what this guest was given is not known".to_owned()),
    }
    resolves(&mut checks, &guest)?;
    loads(&mut checks, &guest)?;
    accepts(&mut checks, &guest);
    show(options, checks)
}

/// The template as an inventory, or a record of `seal`.
fn read_template(path: &Path) -> Result<Vec<Identity>> {
    let read = || -> Result<Vec<Identity>> {
        let bytes = std::fs::read(path)?;
        if let Ok(record) = serde_json::from_slice::<Record>(&bytes) {
            return Ok(olds(&record));
        }
        let inventory = Inventory::read(&bytes).map_err(anyhow::Error::msg)?;
        // A kind that this version does not know is in no inventory of its own.
        let known = inventory.telling().filter_map(|id| {
            let kind: Kind = serde_json::from_value(id.kind.as_ref().into()).ok()?;
            Some(Identity { kind, subject: id.subject.to_string(), value: id.value.to_string() })
        });
        Ok(known.collect())
    };
    read().with_context(|| format!("reading the template's inventory {}", path.display()))
}

/// What `seal` left in the guest.
fn template_of(guest: &Guest, memory: &Memory) -> Result<Option<Vec<Identity>>> {
    let template = Record::read(guest, TEMPLATE)?;
    Ok(memory.sealed.as_ref().or(template.as_ref()).map(olds))
}

/// The values that a record found.
fn olds(record: &Record) -> Vec<Identity> {
    let of = record.renewals.iter().filter_map(|renewal| {
        let value = renewal.old.clone().filter(|value| !value.is_empty())?;
        Some(Identity { kind: renewal.kind, subject: renewal.subject.clone(), value })
    });
    of.collect()
}

/// No identity is one of the template's, whichever of its kind.
fn differs(checks: &mut Checks, now: &[Identity], template: &[Identity], allowed: &[Allowed]) {
    for id in now {
        let kind = id.kind.to_string();
        let same = template.iter().find(|old| old.kind == id.kind && old.value == id.value);
        let may = allowed.iter().any(|allowed| allowed.covers(&kind, &id.value));
        let found = match same {
            None => "its own".to_owned(),
            Some(_) if may => "the template's, which is allowed".to_owned(),
            Some(old) if old.subject == id.subject => format!("the template's: {}", id.value),
            Some(old) => format!("the template's, of {}: {}", old.subject, id.value),
        };
        checks.add("differs", &kind, &id.subject, same.is_none() || may, found);
    }
}

/// Every value that was given stands where it was put.
fn as_recorded(checks: &mut Checks, now: &[Identity], record: &Record, memory: &Memory) {
    if record.form == Form::Adopted {
        checks.unchecked.push("this machine was adopted: it was given nothing".to_owned());
    }
    if memory.stamped_on == Some(Likeness::Other) {
        checks.add("as recorded", "stamp", "/etc/reseal/stamp", false, "made on another machine: this one is a copy");
    }
    for renewal in &record.renewals {
        let Some(new) = &renewal.new else { continue };
        let kind = renewal.kind.to_string();
        // A disk has another name in another boot, so its ids are known by themselves.
        let stands = |id: &&Identity| id.kind == renewal.kind && id.value == *new;
        let other = now.iter().find(|id| id.kind == renewal.kind && id.subject == renewal.subject);
        let found = match (now.iter().find(stands), other) {
            (Some(_), _) => "as given".to_owned(),
            (None, Some(id)) => format!("{}, and the stamp says {new}", id.value),
            (None, None) => format!("nothing, and the stamp says {new}"),
        };
        checks.add("as recorded", &kind, &renewal.subject, now.iter().any(|id| stands(&id)), found);
    }
}

/// Everything that the boot loader, fstab(5) and crypttab(5) name is there.
fn resolves(checks: &mut Checks, guest: &Guest) -> Result<()> {
    if guest.disks.list.is_empty() {
        let why = guest.disks.unseen.clone().unwrap_or_else(|| "none can be seen from here".to_owned());
        checks.unchecked.push(format!("where references to disks lead, as the disks are not known: {why}"));
        return Ok(());
    }
    for link in boot::links(guest, &regenerators::boot_files(guest)?)? {
        let found = match &link.found[..] {
            [] if link.good => "not there; the next one is".to_owned(),
            [] => "not there".to_owned(),
            found => found.join(", "),
        };
        checks.add("resolves", &format!("{}:{}", link.file, link.line), &link.target, link.good, found);
    }
    Ok(())
}

/// Every host key can be read, and is the one that its public half names.
fn loads(checks: &mut Checks, guest: &Guest) -> Result<()> {
    let Some(keys) = regenerators::host_keys(guest)? else { return Ok(()) };
    let mut seen = BTreeSet::new();
    for (path, configured) in keys {
        let path = trim(&path).to_owned();
        let (good, found) = match guest.root.read(&path) {
            Ok(None) if !configured => continue,
            Ok(None) => (false, "sshd_config names it, and it is not there".to_owned()),
            Ok(Some(private)) => match load(guest, &path, &private) {
                Ok(found) => (true, found),
                Err(error) => (false, format!("{error:#}")),
            },
            Err(error) => (false, format!("{error:#}")),
        };
        checks.add("loads", "ssh-host-key", &format!("/{path}"), good, found);
        seen.insert(path);
    }
    if seen.is_empty() {
        checks.add("loads", "ssh-host-key", "/etc/ssh", false, "sshd has no host key");
    }
    Ok(())
}

fn load(guest: &Guest, path: &str, private: &[u8]) -> Result<String> {
    let key = ssh::read_private(private)?;
    let public = guest.root.read(&format!("{path}.pub"))?.map(|file| ssh::read_public(&file)).transpose()?;
    match (key, public) {
        (PrivateFile::OpenSsh(key), Some(public)) if key.fingerprint() != public.fingerprint() => {
            anyhow::bail!("{}, and the .pub beside it is {}", key.fingerprint(), public.fingerprint())
        }
        (PrivateFile::OpenSsh(key), _) => Ok(key.fingerprint()),
        // PEM tells what it is only in parts that are secret.
        (PrivateFile::Pem(_), Some(public)) => Ok(format!("by its .pub {}", public.fingerprint())),
        (PrivateFile::Pem(_), None) => Ok("a key without a .pub".to_owned()),
    }
}

/// sshd takes its configuration and its keys.
fn accepts(checks: &mut Checks, guest: &Guest) {
    if !guest.running {
        checks.unchecked.push("whether sshd accepts its configuration: this guest does not run".to_owned());
        return;
    }
    match apply::sshd_accepts() {
        None => {}
        Some(Ok(())) => checks.add("accepted", "sshd", "sshd -t", true, "accepted"),
        // Debian's unit makes this directory, and a socket starts sshd as another unit.
        Some(Err(error)) if format!("{error:#}").contains("Missing privilege separation directory") => {
            checks
                .unchecked
                .push(format!("whether sshd accepts its configuration, as it was not started yet: {error:#}"));
        }
        Some(Err(error)) => checks.add("accepted", "sshd", "sshd -t", false, format!("{error:#}")),
    }
}

fn show(options: &Options, checks: Checks) -> Result<Exit> {
    let Checks { list: checks, unchecked } = checks;
    let bad = checks.iter().filter(|check| !check.good).count();
    let exit = if bad == 0 { Exit::Done } else { Exit::Leftovers };
    if !is_human(options) {
        print_json(&Verdict { version: 1, good: bad == 0, checks, unchecked })?;
        return Ok(exit);
    }
    let row = |check: &Check| {
        let mark = if check.good { "ok" } else { "BAD" };
        let about = show::printable(&check.about);
        [mark.to_owned(), check.check.to_owned(), about, show::printable(&check.subject), show::printable(&check.found)]
    };
    let rows: Vec<[String; 5]> = checks.iter().map(row).collect();
    let mut text = show::table(&["", "check", "of", "which", "found"], &rows);
    for what in &unchecked {
        text.push_str(&format!("not checked: {}\n", show::printable(what)));
    }
    text.push_str(&format!("{} checks, {bad} failed\n", checks.len()));
    print(&text)?;
    Ok(exit)
}
