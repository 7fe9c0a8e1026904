// SPDX-License-Identifier: MIT OR Apache-2.0
//! What reseal remembers of a guest, in files below `/etc/reseal`: stamp, journal, seal and offline record have one form.

mod origin;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::guest::Guest;
use crate::guest::machine::{Fingerprint, Likeness, Part};
use crate::plan::derive::Seed;
use crate::plan::draft::{Past, Purpose};
use crate::plan::probed::Probed;
use crate::plan::{Finding, Kind, Plan, Renewal};

pub use origin::Origin;

/// Version of the record's form.
const VERSION: u32 = 1;

/// Proof that this machine was resealed or adopted; gates the boot unit.
pub const STAMP: &str = "etc/reseal/stamp";
/// The stamp's copy, which outlives a lost /etc/reseal.
pub const STAMP_COPY: &str = "var/lib/reseal/stamp";
/// Directory of the journal.
pub const JOURNAL_DIR: &str = "etc/reseal/journal";
/// The run that is under way or was cut off.
pub const JOURNAL: &str = "etc/reseal/journal/run";
/// What the template was when it was sealed.
pub const SEALED: &str = "etc/reseal/sealed";
/// The same in a clone, once it has an identity of its own: for `verify`, and nothing else reads it.
pub const TEMPLATE: &str = "etc/reseal/template";
/// What an offline run made; it gates nothing.
pub const OFFLINE: &str = "etc/reseal/offline";

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The machine was resealed.
    Reset,
    /// The machine was taken as it was when the package came.
    Adopted,
    /// The machine was made generic.
    Seal,
}

/// One run: which machine, what was decided, what came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Record {
    /// Version of this form, 1.
    pub version: u32,
    /// Version of the program that wrote it.
    pub reseal: String,
    /// What it is about.
    pub form: Form,
    /// The run's id, a version 4 UUID.
    pub run: String,
    /// The machine.
    pub fingerprint: Fingerprint,
    /// The boot that the run was started in, random(4) `boot_id`.
    #[serde(default)]
    pub boot: Option<String>,
    /// What new values are derived from; none for an adopted machine.
    pub seed: Option<Seed>,
    /// Public values, old and new.
    pub renewals: Vec<Renewal>,
    /// What the operator should know.
    pub findings: Vec<Finding>,
    /// What the network was asked of addresses before they were taken.
    #[serde(default, skip_serializing_if = "Probed::is_empty")]
    pub probed: Probed,
    /// The steps of the run, as a dry run prints them; only in a journal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<serde_json::Value>,
}

impl Record {
    /// The record of a plan that is about to be carried out.
    ///
    /// # Errors
    /// When the plan cannot be written as JSON.
    pub fn of(plan: &Plan, past: &Past, guest: &Guest, purpose: Purpose) -> Result<Record> {
        let mut renewals = plan.renewals.clone();
        // What earlier plans of the run decided and this one no longer sees is still what became of the guest.
        // But for ids that a disk did not take.
        for earlier in past.decided.iter().filter(|past| !guest.disks.still_hold(past)) {
            if !renewals.iter().any(|renewal| renewal.is_of(earlier)) {
                renewals.push(earlier.clone());
            }
        }
        if purpose == Purpose::Seal {
            keep_earlier(&mut renewals, &past.foreign);
        }
        let steps = plan.steps.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        let form = if purpose == Purpose::Seal { Form::Seal } else { Form::Reset };
        Ok(Record {
            renewals,
            probed: past.probed.clone(),
            steps,
            findings: plan.findings.clone(),
            ..Record::new(guest, form, Some(plan.seed.clone()))
        })
    }

    /// A record without decisions.
    pub fn new(guest: &Guest, form: Form, seed: Option<Seed>) -> Record {
        let run = seed.as_ref().map_or_else(uuid::Uuid::nil, |seed| seed.uuid("run"));
        Record {
            version: VERSION,
            reseal: env!("CARGO_PKG_VERSION").to_owned(),
            form,
            run: run.to_string(),
            fingerprint: guest.machine.fingerprint(),
            boot: boot(guest),
            seed,
            renewals: Vec::new(),
            findings: Vec::new(),
            probed: Probed::default(),
            steps: Vec::new(),
        }
    }

    /// Reads a record; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read or understood, or is of a later version.
    pub fn read(guest: &Guest, path: &str) -> Result<Option<Record>> {
        let Some(bytes) = guest.root.read(path)? else { return Ok(None) };
        let read = || -> Result<Record> {
            #[derive(Deserialize)]
            struct Versioned {
                version: u32,
            }
            let Versioned { version } = serde_json::from_slice(&bytes)?;
            if version > VERSION {
                bail!("written by a later reseal (version {version} of the form, this one knows {VERSION})");
            }
            Ok(serde_json::from_slice(&bytes)?)
        };
        Ok(Some(read().with_context(|| format!("reading /{path}"))?))
    }

    /// As it is written to disk.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which no valid one gives.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The value of a key that was made.
    pub fn made_of(&self, kind: Kind, subject: &str) -> Option<String> {
        self.renewals.iter().find(|renewal| renewal.kind == kind && renewal.subject == subject)?.new.clone()
    }

    /// Notes the value of a key that was made.
    pub fn made(&mut self, kind: Kind, subject: &str, value: &str) {
        for renewal in self.renewals.iter_mut().filter(|renewal| renewal.kind == kind && renewal.subject == subject) {
            renewal.new = Some(value.to_owned());
        }
    }
}

/// What stands in /etc/reseal, and what it says of this machine.
#[derive(Debug)]
pub struct Memory {
    /// The stamp.
    pub stamp: Option<Record>,
    /// Whose stamp it is; `None` without a stamp.
    pub stamped_on: Option<Likeness>,
    /// A run that was cut off.
    pub journal: Option<Record>,
    /// The template's record.
    pub sealed: Option<Record>,
    /// An earlier offline run.
    pub offline: Option<Record>,
}

impl Memory {
    /// Reads everything.
    ///
    /// # Errors
    /// When a record cannot be read or understood.
    pub fn read(guest: &Guest) -> Result<Memory> {
        let stamp = Record::read(guest, STAMP)?;
        let here = guest.machine.fingerprint();
        let offline = Record::read(guest, OFFLINE)?;
        // A power cut between the proof of a run and the end of its journal leaves both.
        let proven = |run: &Record| [&stamp, &offline].into_iter().flatten().any(|proof| proof.run == run.run);
        let journal = Record::read(guest, JOURNAL)?.filter(|run| !proven(run));
        Ok(Memory {
            stamped_on: stamp.as_ref().map(|stamp| stamp.fingerprint.compare(&here)),
            stamp,
            journal,
            sealed: Record::read(guest, SEALED)?,
            offline,
        })
    }

    /// The same, with the stamp's machine told from this one by these parts.
    pub fn judged_by(self, guest: &Guest, parts: &[Part]) -> Memory {
        let here = guest.machine.fingerprint();
        let stamped_on = self.stamp.as_ref().map(|stamp| stamp.fingerprint.compare_by(&here, parts));
        Memory { stamped_on, ..self }
    }

    /// Is this machine's identity its own? A fingerprint that cannot be read counts as matching: reseal must not
    /// reset a machine because of odd firmware.
    pub fn is_stamped_here(&self) -> bool {
        matches!(self.stamped_on, Some(Likeness::Same | Likeness::Unreadable))
    }

    /// What a run for `purpose` takes over; `renew` starts anew on a machine that has an identity.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub fn past(&self, guest: &Guest, purpose: Purpose, renew: bool) -> Result<Past> {
        let here = guest.machine.fingerprint();
        let mut past = Past::none(Seed::random(&serde_json::to_vec(&here)?)?);
        if let Some(sealed) = &self.sealed {
            past.sealed = purpose == Purpose::Reset;
            past.foreign.extend(sealed.renewals.iter().cloned());
        }
        // The stamp of the machine that this one was copied from says which addresses its devices had.
        if let (Some(stamp), Some(Likeness::Other)) = (&self.stamp, self.stamped_on) {
            past.foreign.extend(stamp.fingerprint.macs.iter().map(|mac| Renewal {
                kind: Kind::MacAddress,
                subject: "-".to_owned(),
                old: Some(mac.clone()),
                new: None,
            }));
        }
        let form = if purpose == Purpose::Seal { Form::Seal } else { Form::Reset };
        let stamp = self
            .stamp
            .as_ref()
            .filter(|_| guest.running && purpose == Purpose::Reset && self.is_stamped_here() && !renew);
        let offline = self.offline.as_ref().filter(|_| !guest.running && purpose == Purpose::Reset && !renew);
        let journal = self.journal.as_ref().filter(|journal| journal.form == form);
        match journal {
            // Another machine's run: its seed would give every clone of a half-reset template the same values.
            Some(journal) if !is_of_this_machine(journal, guest) => {
                past.foreign.extend(journal.renewals.iter().cloned());
            }
            Some(journal) => take_over(&mut past, journal),
            None => {
                if let Some(record) = stamp.or(offline) {
                    take_over(&mut past, record);
                }
            }
        }
        Ok(past)
    }
}

/// A guest that is sealed again still is what its first seal found it to be.
fn keep_earlier(renewals: &mut Vec<Renewal>, earlier: &[Renewal]) {
    let same = |a: &Renewal, b: &Renewal| a.kind == b.kind && a.subject == b.subject;
    renewals.retain(|now| now.old.is_some() || !earlier.iter().any(|then| same(now, then)));
    for then in earlier {
        if !renewals.iter().any(|now| same(now, then) && now.old == then.old) {
            renewals.push(then.clone());
        }
    }
}

/// Is the journal surely of this machine? Where the fingerprint cannot be read, the boot tells: a copy boots anew.
fn is_of_this_machine(journal: &Record, guest: &Guest) -> bool {
    match journal.fingerprint.compare(&guest.machine.fingerprint()) {
        Likeness::Same => true,
        Likeness::Other => false,
        Likeness::Unreadable => !guest.running || journal.boot.is_some() && journal.boot == boot(guest),
    }
}

/// The id of the running boot, random(4); none for a tree that does not run.
fn boot(guest: &Guest) -> Option<String> {
    let read = || guest.root.read("proc/sys/kernel/random/boot_id").ok().flatten();
    let id = guest.running.then(read).flatten()?;
    Some(String::from_utf8_lossy(&id).trim().to_owned())
}

fn take_over(past: &mut Past, record: &Record) {
    if let Some(seed) = &record.seed {
        past.seed = seed.clone();
        past.decided.clone_from(&record.renewals);
        past.probed.clone_from(&record.probed);
    }
}
