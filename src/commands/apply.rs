// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal apply`: by hand, and as a boot's unit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};

use super::{
    Exit, Usage, ask, check_is_guest, check_is_no_boot_disk, is_human, open, policy, print, print_json, say, style,
};
use crate::apply;
use crate::cli::{Apply, Options};
use crate::guest::Guest;
use crate::guest::machine::Likeness;
use crate::plan::draft::{Past, Purpose};
use crate::plan::{Finding, Plan, Severity, Stage, show};
use crate::policy::Policy;
use crate::regenerators::{self, OnError};
use crate::run::{Outcome, Run};
use crate::stamp::{Memory, Record, STAMP, STAMP_COPY};

/// Runs the command.
pub fn run(options: &Options, apply: &Apply) -> Result<Exit> {
    let guest = open(options)?;
    match apply.stage {
        Some(stage) if !options.dry_run => at_boot(options, &guest, stage),
        _ => by_hand(options, apply, &guest),
    }
}

fn by_hand(options: &Options, apply: &Apply, guest: &Guest) -> Result<Exit> {
    let policy = policy(options, guest)?;
    let memory = Memory::read(guest)?;
    if options.dry_run {
        let past = memory.past(guest, Purpose::Reset, apply.renew)?;
        let plan = regenerators::plan(&policy, guest, past, Purpose::Reset, OnError::Stop)?;
        match is_human(options) {
            true => print(&show::plan(&plan, style()))?,
            false => print_json(&plan)?,
        }
        return Ok(Exit::Done);
    }
    check_is_guest(guest)?;
    check_is_no_boot_disk(guest, apply.force)?;
    if let Some(exit) = refuse(options, apply, guest, &policy, &memory)? {
        return Ok(exit);
    }
    let lock = apply::lock(guest)?;
    // What another run did until the lock was free counts.
    let memory = Memory::read(guest)?;
    let mut past = memory.past(guest, Purpose::Reset, apply.renew)?;
    let wanted = apply.plan.as_deref().map(read_plan).transpose()?;
    if let Some(wanted) = &wanted {
        past.seed = serde_json::from_value(wanted["seed"].clone()).context("reading the plan's seed")?;
    }
    let plan = regenerators::plan(&policy, guest, past.clone(), Purpose::Reset, OnError::Stop)?;
    if let Some(wanted) = wanted
        && serde_json::to_value(&plan)? != wanted
    {
        bail!("the guest or the policy has changed since the plan was made; nothing was changed");
    }
    if guest.running && apply.plan.is_none() && !plan.steps.is_empty() && !apply.consent.yes {
        if is_human(options) {
            print(&show::plan(&plan, style()))?;
        }
        if !ask(false, "Carry this out?")? {
            return Ok(Exit::Done);
        }
    }
    let run = Run { guest, policy: &policy, purpose: Purpose::Reset, stage: None, on_error: OnError::Stop };
    let (exit, record) = carry_out(&run, &plan, &past)?;
    drop(lock);
    report(options, guest, &plan, &record)?;
    Ok(exit)
}

/// What keeps a person's run from starting, if anything does.
fn refuse(options: &Options, apply: &Apply, guest: &Guest, policy: &Policy, memory: &Memory) -> Result<Option<Exit>> {
    if !guest.running || apply.force || apply.renew {
        return Ok(None);
    }
    match memory.stamped_on {
        Some(Likeness::Other) => bail!(
            "/{STAMP} was made on another machine: this one is a copy. `reseal apply --renew` gives it an identity of its own"
        ),
        Some(_) => {
            let message = "This machine has its identity already; nothing was changed. `--renew` gives it a new one.";
            match is_human(options) {
                true => print(&format!("{message}\n"))?,
                false => print_json(&Plan::nothing(message)?)?,
            }
            return Ok(Some(Exit::Done));
        }
        None => {}
    }
    if !policy.run.acts_in(guest.machine.place) && memory.sealed.is_none() {
        bail!(
            "this is {}, where the policy (run.where) lets reseal do nothing; `--force` goes ahead",
            guest.machine.describe()
        );
    }
    Ok(None)
}

fn read_plan(path: &std::path::Path) -> Result<serde_json::Value> {
    let read = || -> Result<serde_json::Value> { Ok(serde_json::from_slice(&std::fs::read(path)?)?) };
    let plan = read().map_err(|error| Usage(format!("reading the plan {}: {error:#}", path.display())))?;
    if plan["version"] != crate::plan::VERSION || !plan["seed"].is_string() {
        return Err(Usage(format!("{} is no plan of version {}", path.display(), crate::plan::VERSION)).into());
    }
    Ok(plan)
}

/// The unit of a stage: no questions, no failure that could stop the boot, everything said.
fn at_boot(options: &Options, guest: &Guest, stage: Stage) -> Result<Exit> {
    if stage == Stage::Early {
        // Nothing is planned for this stage yet.
        return Ok(Exit::Done);
    }
    let _lock = apply::lock(guest)?;
    let mut findings = Vec::new();
    let mut tell = |subject: &str, message: String| {
        tracing::error!(subject, "{message}");
        findings.push(Finding { severity: Severity::Error, by: "run".into(), subject: subject.into(), message });
    };
    let policy = policy(options, guest).unwrap_or_else(|error| {
        tell("policy", format!("{error:#}; only machine-id, credential secret, SSH host keys and residue are reset, by built-in defaults"));
        Policy::fallback()
    });
    // Whatever the stamp holds (a later reseal may have written it), this machine has its identity.
    if guest.root.stat(STAMP)?.is_some() {
        return Ok(Exit::Done);
    }
    let memory = match Memory::read(guest) {
        Ok(memory) => memory,
        Err(error) => {
            tell("/etc/reseal", format!("{error:#}; the boot goes on as if it were not there"));
            Memory { stamp: None, stamped_on: None, journal: None, sealed: None, offline: None }
        }
    };
    if stage == Stage::Keys && memory.journal.is_none() {
        return Ok(Exit::Done);
    }
    if put_back(options, guest, &memory)? {
        return Ok(Exit::Done);
    }
    if !policy.run.acts_in(guest.machine.place) && memory.sealed.is_none() {
        print(&format!(
            "reseal: this is {}, where run.where lets the boot unit do nothing\n",
            guest.machine.describe()
        ))?;
        return Ok(Exit::Done);
    }
    let past = memory.past(guest, Purpose::Reset, false)?;
    let mut plan = regenerators::plan(&policy, guest, past.clone(), Purpose::Reset, OnError::GoOn)?;
    plan.findings.splice(0..0, findings);
    let run = Run { guest, policy: &policy, purpose: Purpose::Reset, stage: Some(stage), on_error: OnError::GoOn };
    let (exit, record) = carry_out(&run, &plan, &past)?;
    log(&record);
    report(options, guest, &plan, &record)?;
    Ok(exit)
}

/// A lost stamp, when its copy is surely of this machine. Without a readable fingerprint a copied tree looks just the
/// same, and a clone that keeps its keys is the worse mistake.
fn put_back(options: &Options, guest: &Guest, memory: &Memory) -> Result<bool> {
    if memory.journal.is_some() || memory.sealed.is_some() {
        return Ok(false);
    }
    let Ok(Some(copy)) = Record::read(guest, STAMP_COPY) else { return Ok(false) };
    if copy.fingerprint.compare(&guest.machine.fingerprint()) != Likeness::Same {
        return Ok(false);
    }
    apply::restore_stamp(guest, &copy)?;
    say(
        options,
        &format!(
            "reseal: /{STAMP} was lost and is put back from /{STAMP_COPY}, which is of this machine; nothing was reset\n"
        ),
    )?;
    tracing::warn!("the lost stamp is put back from its copy");
    Ok(true)
}

/// Carries a plan out and says how it ended; a signal stops it between two steps. The lock is the caller's.
pub fn carry_out(run: &Run<'_>, plan: &Plan, past: &Past) -> Result<(Exit, Record)> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let (outcome, record) = run.carry_out(plan, past, &mut |_| stop.load(Ordering::Relaxed))?;
    let exit = match outcome {
        Outcome::Done => Exit::Done,
        Outcome::Interrupted => {
            eprintln!("reseal: stopped between two steps; run it again to go on");
            Exit::Stopped
        }
        Outcome::Deferred => {
            eprintln!("reseal: the kernel's random pool is not ready; reseal-keys.service makes the keys when it is");
            Exit::Done
        }
        Outcome::Leftovers(steps) => {
            steps.iter().for_each(|step| eprintln!("reseal: left over: {step}"));
            Exit::Leftovers
        }
    };
    Ok((exit, record))
}

/// The journal gets every identity and finding as fields.
fn log(record: &Record) {
    for renewal in &record.renewals {
        let value = |value: &Option<String>| value.clone().unwrap_or_default();
        tracing::info!(
            kind = %renewal.kind, subject = renewal.subject, old = value(&renewal.old), new = value(&renewal.new),
            "renewed {} {}", renewal.kind, renewal.subject
        );
    }
    for finding in &record.findings {
        match finding.severity {
            Severity::Note => tracing::info!(by = finding.by, subject = finding.subject, "{}", finding.message),
            Severity::Warning => tracing::warn!(by = finding.by, subject = finding.subject, "{}", finding.message),
            Severity::Error => tracing::error!(by = finding.by, subject = finding.subject, "{}", finding.message),
        }
    }
}

/// What was done: the plan with the values of the keys that were made, and the fingerprints as cloud-init prints them.
fn report(options: &Options, guest: &Guest, plan: &Plan, record: &Record) -> Result<()> {
    let mut done = plan.clone();
    for renewal in &mut done.renewals {
        let made = record.renewals.iter().find(|made| made.kind == renewal.kind && made.subject == renewal.subject);
        renewal.new = made.and_then(|made| made.new.clone());
    }
    done.findings.clone_from(&record.findings);
    if !is_human(options) {
        return print_json(&done);
    }
    let mut text = show::renewals(&done.renewals);
    text.push_str(&show::findings(&done.findings, style()));
    text.push_str(&super::inspect::host_keys(guest, record));
    text.push_str(&format!("{} changes, {} findings\n", done.steps.len(), done.findings.len()));
    if !guest.running && record.form == crate::stamp::Form::Reset {
        text.push_str("This guest was reset for one use. A template wants `reseal seal` instead.\n");
    }
    print(&text)
}
