// SPDX-License-Identifier: MIT OR Apache-2.0
//! One step: is it done, and do it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use super::device;
use super::firmware;
use super::journal;
use super::key_store;
use super::live;
use super::preflight::unchanged;
use super::secret;
use super::writer::Writer;
use crate::guest::Guest;
use crate::keys::{self, NewKey};
use crate::plan::key::KeySpec;
use crate::plan::{Change, Finding, Kind, Plan, Severity, State, Step};
use crate::root::{Meta, trim};
use crate::stamp::Record;

/// Works through the steps of one run.
pub struct Executor<'a> {
    guest: &'a Guest,
    record: &'a mut Record,
    /// Keys that were made and are not written yet; all are made at the same time when the first is needed.
    made: BTreeMap<String, NewKey>,
    /// May keys be made?
    pub pool_is_ready: bool,
}

impl<'a> Executor<'a> {
    /// An executor that notes what it makes in `record`.
    pub fn new(guest: &'a Guest, record: &'a mut Record) -> Executor<'a> {
        Executor { guest, record, made: BTreeMap::new(), pool_is_ready: false }
    }

    /// Does one step, unless it is done already: the guest is looked at first, so that a step that was cut off is done
    /// again and one that was done is not.
    pub fn carry_out(&mut self, plan: &Plan, number: usize) -> Result<()> {
        let change = &plan.steps[number].change;
        if is_done(self.guest, Some(self.record), change)? {
            return Ok(());
        }
        unchanged(self.guest, plan, change)?;
        let writer = Writer::new(&self.guest.root);
        match change {
            Change::Write { path, after, meta, .. } => writer.put(path, &after.bytes, *meta),
            Change::Remove { path, .. } => writer.remove(path),
            Change::Move { from, to } => writer.rename(from, to),
            Change::Copy { from, to } => writer.copy(from, to),
            Change::Link { path, target, .. } => writer.link(path, target),
            Change::Keygen { path, key, meta, .. } => self.keygen(plan, path, key, *meta),
            Change::Publish { path, meta, .. } => writer.put(path, &published(self.guest, change)?, *meta),
            Change::Secret { path, secret, .. } => secret::renew(self.guest, path, secret),
            Change::Run { path, command, old } => secret::run(self.guest, path, command, old),
            Change::KeyStore { .. } => key_store::put(self.guest, change),
            Change::SetId { format, places, via } => device::set(self.guest, *format, places, via),
            Change::Firmware(variable) => firmware::set(self.guest, variable),
            Change::Live(change) => live::carry_out(change, self.guest),
        }
    }

    /// Notes what the operator should know of a step.
    pub fn found(&mut self, step: &Step, message: String) {
        let by = step.by.join(", ");
        let subject = "the running system".to_owned();
        self.record.findings.push(Finding { severity: Severity::Warning, by, subject, message });
    }

    /// The public half first: the private key's rename completes the pair. Before it the journal learns the new
    /// fingerprint, so that a key on disk that the journal does not know is known to be the old one.
    fn keygen(&mut self, plan: &Plan, path: &str, key: &KeySpec, meta: Meta) -> Result<()> {
        if self.made.is_empty() {
            self.make_all(plan)?;
        }
        let Some(new) = self.made.remove(path) else { bail!("the key was not made") };
        let writer = Writer::new(&self.guest.root);
        let companion = Meta { mode: if new.companion.public { 0o644 } else { 0o600 }, ..meta };
        writer.put(&format!("{path}{}", new.companion.suffix), &new.companion.content, companion)?;
        self.record.made(kind(key), &subject(key, path), &new.fingerprint);
        journal::save(self.guest, self.record)?;
        writer.put(path, &new.private, meta)
    }

    fn make_all(&mut self, plan: &Plan) -> Result<()> {
        let mut wanted: Vec<(String, KeySpec)> = Vec::new();
        for step in &plan.steps {
            if let Change::Keygen { path, key, .. } = &step.change
                && !is_done(self.guest, Some(self.record), &step.change)?
            {
                wanted.push((path.clone(), key.clone()));
            }
        }
        let specs: Vec<KeySpec> = wanted.iter().map(|(_, spec)| spec.clone()).collect();
        for ((path, _), key) in wanted.into_iter().zip(keys::make_all(&specs)) {
            let key = key.with_context(|| format!("for /{path}"))?;
            self.made.insert(path, key);
        }
        Ok(())
    }
}

/// Does the guest hold what the change is to bring about?
pub fn is_done(guest: &Guest, record: Option<&Record>, change: &Change) -> Result<bool> {
    let root = &guest.root;
    let exists = |path: &str| -> Result<bool> { Ok(root.stat(path)?.is_some()) };
    Ok(match change {
        Change::Write { path, after, meta, .. } => {
            let same_meta = root.stat(path)?.is_some_and(|stat| stat.meta == *meta);
            let same = matches!(State::of(root, path)?, State::File(now) if now.bytes == after.bytes);
            same && same_meta && !guest.mount_points().contains(path)
        }
        Change::Remove { path, .. } => !exists(path)?,
        Change::Move { from, to } => !exists(from)? && exists(to)?,
        Change::Copy { to, .. } => exists(to)?,
        Change::Link { path, target, .. } => root.read_link(path)?.as_ref() == Some(target),
        Change::Keygen { path, key, .. } => {
            let made = record.and_then(|record| record.made_of(kind(key), &subject(key, path)));
            match (made, root.stat(path)?) {
                (Some(made), Some(_)) => {
                    let file = root.read(path)?.unwrap_or_default();
                    // What cannot be read is not the key that was made.
                    matches!(keys::read(&file, key), Ok(Some(fingerprint)) if fingerprint == made)
                }
                _ => false,
            }
        }
        Change::Publish { path, keys, .. } => {
            let all = keys.iter().all(|key| exists(&format!("{key}.pub")).unwrap_or(false));
            all && root.read(path)? == Some(published(guest, change)?)
        }
        Change::Secret { path, secret, old } => secret::is_renewed(guest, path, secret, old)?,
        Change::Run { path, old, .. } => secret::has_run(guest, path, old)?,
        Change::KeyStore { path, .. } => {
            let made = record.and_then(|record| record.made_of(Kind::PgpKey, &format!("/{path}")));
            made.map_or(Ok(false), |made| key_store::holds(guest, change, &made))?
        }
        Change::SetId { format, places, via } => device::holds(*format, places, via)?,
        Change::Firmware(variable) => firmware::is_set(guest, variable)?,
        Change::Live(change) => live::is_done(change, guest)?,
    })
}

fn kind(key: &KeySpec) -> Kind {
    match key {
        KeySpec::SshHost { .. } => Kind::SshHostKey,
        KeySpec::OpenPgp { .. } => Kind::PgpKey,
    }
}

/// What the renewal of a key is about: its file, or the store that the file is for.
fn subject(key: &KeySpec, path: &str) -> String {
    match key {
        KeySpec::OpenPgp { store: Some(store), .. } => format!("/{}", trim(store)),
        _ => format!("/{}", trim(path)),
    }
}

/// The public halves of the keys on disk, in the form that the change asks for.
fn published(guest: &Guest, change: &Change) -> Result<Vec<u8>> {
    let Change::Publish { format, keys: paths, name, .. } = change else { return Ok(Vec::new()) };
    let mut publics = Vec::new();
    for path in paths {
        publics.push(guest.root.read(&format!("{path}.pub"))?.with_context(|| format!("/{path}.pub is missing"))?);
    }
    Ok(keys::ssh::publish(*format, name, &publics)?.into_bytes())
}
