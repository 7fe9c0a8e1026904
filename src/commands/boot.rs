// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal apply --stage`: a boot's unit. No questions, no failure that could stop the boot, everything said.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::apply::{carry_out, report};
use super::{Access, Exit, Opened, initrd, open, policy, print, say};
use crate::apply::{self, Failure, Mounted};
use crate::cli::Options;
use crate::guest::disks::wanted_aside;
use crate::guest::machine::{Likeness, Machine};
use crate::plan::draft::Purpose;
use crate::plan::{Finding, Severity, Stage};
use crate::policy::{OnClone, Policy};
use crate::regenerators::{self, OnError};
use crate::run::Run;
use crate::stamp::{Memory, Origin, Record, STAMP, STAMP_COPY};

/// How often the devices are looked for.
const LOOK: Duration = Duration::from_millis(50);
/// How often a device may fail to take its ids before the early stage gives up.
const MOST_FAILURES: usize = 16;

/// Runs a stage.
pub fn run(options: &Options, stage: Stage) -> Result<Exit> {
    let mut guest = open(options, Access::Look)?;
    guest.guest.stage = Some(stage);
    let _lock = apply::lock(&guest)?;
    let mut findings = Findings::default();
    let mut policy = policy(options, &guest).unwrap_or_else(|error| {
        findings.tell("policy", format!("{error:#}; only machine-id, credential secret, SSH host keys and residue are reset, by built-in defaults"));
        Policy::fallback()
    });
    // Whatever the stamp holds (a later reseal may have written it), this machine has its identity, unless it is a copy.
    if guest.root.stat(STAMP)?.is_some() && !is_clone_to_reset(&mut guest, &policy, &mut findings) {
        return Ok(Exit::Done);
    }
    let memory = remember(&guest, &policy, &mut findings);
    if stage == Stage::Keys && memory.journal.is_none() {
        return Ok(Exit::Done);
    }
    if put_back(options, &guest, &policy, &memory)? {
        return Ok(Exit::Done);
    }
    if !policy.run.acts_in(guest.machine.place) && memory.sealed.is_none() {
        print(&format!(
            "reseal: this is {}, where run.where lets the boot unit do nothing\n",
            guest.machine.describe()
        ))?;
        return Ok(Exit::Done);
    }
    if stage == Stage::Initrd
        && let Some((devices, why)) = initrd::failed()?
    {
        findings.tell(&devices.join(", "), format!("{why}; the ids there are left as they are"));
        policy.keep_devices(&regenerators::EARLY, &devices)?;
    }
    look_at_disks(&mut guest, &policy, &mut findings);
    let _mounted = see_the_boot_loader(options, &mut guest, &mut findings);
    let mut failed: Vec<Vec<String>> = Vec::new();
    let mut entries_stay = false;
    loop {
        match once(options, &guest, &policy, &mut findings) {
            // What one device does not do must not keep the others as they were.
            Err(error) if stage.is_of_disks() && failed.len() < MOST_FAILURES => {
                let Some(failure) = error.downcast_ref::<Failure>() else { return Err(error) };
                if failure.is_of_firmware() && !std::mem::replace(&mut entries_stay, true) {
                    findings.tell("firmware", format!("{error:#}; the boot entries are left as they are"));
                    policy.keep_boot_entries();
                    look_at_disks(&mut guest, &policy, &mut findings);
                    continue;
                }
                let devices = failure.devices().unwrap_or_default();
                // What others have done meanwhile, udev with devices and lvm(8) with its backups, is looked at once more.
                if failed.iter().any(|earlier| earlier == devices) {
                    if devices.is_empty() {
                        return Err(error);
                    }
                    findings.tell(&devices.join(", "), format!("{error:#}; the ids there are left as they are"));
                    policy.keep_devices(&regenerators::EARLY, devices)?;
                }
                failed.push(devices.to_vec());
                look_at_disks(&mut guest, &policy, &mut findings);
            }
            result => return result,
        }
    }
}

/// Is the stamp another machine's, and does the policy want a copy reset? The generator asked first, and let this unit
/// run; what it could not see yet counts now.
fn is_clone_to_reset(guest: &mut Opened, policy: &Policy, findings: &mut Findings) -> bool {
    // The initramfs has no more drivers than it needs, so it is too early to tell.
    if policy.run.on_clone != OnClone::Reset || guest.stage == Some(Stage::Initrd) {
        return false;
    }
    apply::await_devices(policy.run.device_wait);
    guest.guest.machine = Machine::of_running_system();
    if Origin::of(guest, &policy.run.clone_by) != Some(Origin::Elsewhere) {
        return false;
    }
    let message = format!("/{STAMP} was made on another machine: this one is a copy, and run.on-clone has it reset");
    tracing::warn!("{message}");
    findings.0.push(Finding { severity: Severity::Warning, by: "run".into(), subject: format!("/{STAMP}"), message });
    true
}

/// Mounts what the boot loader reads, where nobody else sees it: this boot mounts it later than ids change.
fn see_the_boot_loader(options: &Options, guest: &mut Opened, findings: &mut Findings) -> Option<Mounted> {
    let wanted =
        if guest.stage.is_some_and(Stage::is_of_disks) { wanted_aside(&guest.root, &guest.disks) } else { Vec::new() };
    if wanted.is_empty() {
        return None;
    }
    let enter = |guest: &mut Opened| -> Result<Mounted> {
        let mounted = Mounted::enter(wanted)?;
        // What was opened before sees none of it.
        let mut again = open(options, Access::Look)?;
        (again.guest.stage, again.guest.disks.aside) = (guest.stage, mounted.list.clone());
        again.guest.look_at_disks()?;
        *guest = again;
        Ok(mounted)
    };
    match enter(guest) {
        Ok(mounted) => {
            for (point, why) in &mounted.failed {
                findings.tell(point, format!("{why}; what the boot loader reads there was not looked at"));
            }
            Some(mounted)
        }
        Err(error) => {
            findings.tell("/boot", format!("{error:#}; what the boot loader reads was not looked at"));
            None
        }
    }
}

fn once(options: &Options, guest: &Opened, policy: &Policy, findings: &mut Findings) -> Result<Exit> {
    let run = Run { guest, policy, purpose: Purpose::Reset, on_error: OnError::GoOn };
    let mut past = remember(guest, policy, findings).past(guest, Purpose::Reset, false)?;
    let mut plan = regenerators::plan(policy, guest, past.clone(), Purpose::Reset, OnError::GoOn)?;
    if Run::ask(&plan, &mut past) {
        plan = regenerators::plan(policy, guest, past.clone(), Purpose::Reset, OnError::GoOn)?;
    }
    plan.findings.splice(0..0, findings.0.iter().cloned());
    if guest.stage.is_some_and(Stage::is_of_disks) && plan.steps.is_empty() {
        return Ok(Exit::Done);
    }
    let (exit, record) = carry_out(&run, &plan, &past)?;
    if guest.stage == Some(Stage::Initrd) && exit == Exit::Stopped {
        return Ok(exit);
    }
    log(&record);
    report(options, guest, &plan, &record)?;
    Ok(exit)
}

/// What a unit has to tell before there is a plan.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn tell(&mut self, subject: &str, message: String) {
        tracing::error!(subject, "{message}");
        self.0.push(Finding { severity: Severity::Error, by: "run".into(), subject: subject.into(), message });
    }
}

fn remember(guest: &Opened, policy: &Policy, findings: &mut Findings) -> Memory {
    Memory::read(guest).map(|memory| memory.judged_by(guest, &policy.run.clone_by)).unwrap_or_else(|error| {
        let told = format!("{error:#}; the boot goes on as if it were not there");
        if !findings.0.iter().any(|finding| finding.message == told) {
            findings.tell("/etc/reseal", told);
        }
        Memory { stamp: None, stamped_on: None, journal: None, sealed: None, offline: None }
    })
}

/// Looks at the disks; the early stage waits until all that fstab(5) and crypttab(5) name are there, but not for ever.
fn look_at_disks(guest: &mut Opened, policy: &Policy, findings: &mut Findings) {
    let decided = remember(guest, policy, findings).journal.map(|journal| journal.renewals).unwrap_or_default();
    let started = Instant::now();
    let most = match guest.stage {
        Some(Stage::Early) => Duration::from_secs(policy.run.device_wait.into()),
        _ => Duration::ZERO,
    };
    loop {
        if let Err(error) = guest.guest.look_at_disks().context("looking at the disks") {
            findings.tell("disks", format!("{error:#}; their ids are left as they are"));
            return;
        }
        let whole = guest.disks.missing(&guest.root, &decided).is_ok_and(|missing| missing.is_empty());
        if whole || started.elapsed() >= most {
            return;
        }
        std::thread::sleep(LOOK);
    }
}

/// A lost stamp, when its copy is surely of this machine. Without a readable fingerprint a copied tree looks just the
/// same, and a clone that keeps its keys is the worse mistake.
fn put_back(options: &Options, guest: &Opened, policy: &Policy, memory: &Memory) -> Result<bool> {
    if memory.journal.is_some() || memory.sealed.is_some() {
        return Ok(false);
    }
    let Ok(Some(copy)) = Record::read(guest, STAMP_COPY) else { return Ok(false) };
    if copy.fingerprint.compare_by(&guest.machine.fingerprint(), &policy.run.clone_by) != Likeness::Same {
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
