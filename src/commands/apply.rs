// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal apply` by hand, and how a run ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};

use super::{
    Access, Exit, Opened, Usage, ask, boot, check_is_guest, check_is_no_boot_disk, initrd, is_human, open_with_disks,
    policy, print, print_json, style,
};
use crate::apply;
use crate::cli::{Apply, Options};
use crate::guest::Guest;
use crate::guest::machine::Likeness;
use crate::plan::draft::{Past, Purpose};
use crate::plan::probed::Clash;
use crate::plan::{Plan, Stage, show};
use crate::policy::Policy;
use crate::regenerators::{self, OnError};
use crate::run::{Outcome, Run};
use crate::stamp::{Memory, Record, STAMP};

/// Runs the command.
pub fn run(options: &Options, apply: &Apply) -> Result<Exit> {
    match apply.stage {
        Some(Stage::Initrd) if !options.dry_run => initrd::run(options, apply.inside),
        Some(stage) if !options.dry_run => boot::run(options, stage),
        _ => {
            let access = if options.dry_run { Access::Look } else { Access::Change };
            by_hand(options, apply, &open_with_disks(options, access)?)
        }
    }
}

fn by_hand(options: &Options, apply: &Apply, guest: &Opened) -> Result<Exit> {
    let policy = policy(options, guest)?;
    let memory = Memory::read(guest)?.judged_by(guest, &policy.run.clone_by);
    if options.dry_run {
        let past = memory.past(guest, Purpose::Reset, apply.renew)?;
        let mut plan = regenerators::plan(&policy, guest, past, Purpose::Reset, OnError::Stop)?;
        plan.findings.splice(0..0, guest.findings.iter().cloned());
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
    let memory = Memory::read(guest)?.judged_by(guest, &policy.run.clone_by);
    let mut past = memory.past(guest, Purpose::Reset, apply.renew)?;
    let wanted = apply.plan.as_deref().map(read_plan).transpose()?;
    if let Some(wanted) = &wanted {
        past.seed = serde_json::from_value(wanted["seed"].clone()).context("reading the plan's seed")?;
    }
    let make = |past: &Past| -> Result<Plan> {
        let mut plan = regenerators::plan(&policy, guest, past.clone(), Purpose::Reset, OnError::Stop)?;
        plan.findings.splice(0..0, guest.findings.iter().cloned());
        Ok(plan)
    };
    let mut plan = make(&past)?;
    if let Some(wanted) = wanted
        && serde_json::to_value(&plan)? != wanted
    {
        bail!("the guest or the policy has changed since the plan was made; nothing was changed");
    }
    let agrees = |plan: &Plan| -> Result<bool> {
        if !guest.running || apply.plan.is_some() || plan.steps.is_empty() || apply.consent.yes {
            return Ok(true);
        }
        if is_human(options) {
            print(&show::plan(plan, style()))?;
        }
        ask(false, "Carry this out?")
    };
    if !agrees(&plan)? {
        return Ok(Exit::Done);
    }
    if Run::ask(&plan, &mut past) {
        plan = make(&past)?;
        let clash = past.probed.clashes.first();
        if let (Some(_), Some(Clash { owner, address, link })) = (&apply.plan, clash) {
            bail!("{owner} has {address}, which the plan would give to {link}; nothing was changed");
        }
        // It is not what was agreed to any more.
        if clash.is_some() && !agrees(&plan)? {
            return Ok(Exit::Done);
        }
    }
    let run = Run { guest, policy: &policy, purpose: Purpose::Reset, on_error: OnError::Stop };
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
            "/{STAMP} was made on another machine: this one is a copy. `reseal apply --renew` gives it an identity of its own, `reseal adopt --force` lets it keep the one it has"
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
        Outcome::RootAway => Exit::Stopped,
        Outcome::Leftovers(steps) => {
            steps.iter().for_each(|step| eprintln!("reseal: left over: {step}"));
            Exit::Leftovers
        }
    };
    Ok((exit, record))
}

/// What was done: the plan with the values of the keys that were made, and the fingerprints as cloud-init prints them.
pub fn report(options: &Options, guest: &Guest, plan: &Plan, record: &Record) -> Result<()> {
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
