// SPDX-License-Identifier: MIT OR Apache-2.0
//! One run, from plan to stamp: carried out, verified by planning again, recorded.

use anyhow::{Context as _, Result};

use crate::apply::probe::probe;
use crate::apply::{self, Control, End};
use crate::guest::Guest;
use crate::plan::draft::{Past, Purpose};
use crate::plan::{Change, Plan, Stage, show};
use crate::policy::Policy;
use crate::regenerators::{self, OnError};
use crate::stamp::Record;

/// What a run works on, and for what.
#[derive(Debug)]
pub struct Run<'a> {
    /// The guest.
    pub guest: &'a Guest,
    /// What to do.
    pub policy: &'a Policy,
    /// Reset or seal.
    pub purpose: Purpose,
    /// What a failing regenerator does.
    pub on_error: OnError,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is done, verified and recorded.
    Done,
    /// It was told to stop; the journal is kept.
    Interrupted,
    /// The keys wait for the kernel's random pool; the journal is kept.
    Deferred,
    /// The root file system must be taken away first; the journal is kept.
    RootAway,
    /// These steps would still have to be done; the journal is kept.
    Leftovers(Vec<String>),
}

impl Run<'_> {
    /// Asks the network for the addresses that a plan gives, where policy wants that, and remembers the answers in the past
    /// by which the plan is then to be made again. Was anything asked?
    pub fn ask(plan: &Plan, past: &mut Past) -> bool {
        if !plan.probes.is_empty() {
            past.probed.add(probe(&plan.probes));
        }
        !plan.probes.is_empty()
    }

    /// Carries a plan out. `interrupt` is asked before every step, with its number, whether to stop there.
    ///
    /// # Errors
    /// [`apply::Failure`], and what planning again gives.
    pub fn carry_out(
        &self,
        plan: &Plan,
        past: &Past,
        interrupt: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(Outcome, Record)> {
        let mut record = Record::of(plan, past, self.guest, self.purpose)?;
        let end = apply::run(plan, self.guest, &mut record, Control { stage: self.guest.stage, interrupt })?;
        let outcome = match end {
            End::Interrupted => Outcome::Interrupted,
            End::Deferred => Outcome::Deferred,
            End::RootAway => Outcome::RootAway,
            End::Done => match self.verify(past, &record)? {
                // The stages that follow go on with the journal.
                left if left.is_empty() && self.guest.stage.is_some_and(Stage::is_of_disks) => Outcome::Done,
                left if left.is_empty() => {
                    apply::finish(self.guest, &record)?;
                    Outcome::Done
                }
                left => Outcome::Leftovers(left),
            },
        };
        Ok((outcome, record))
    }

    /// Did it work? The plan is made again, and must be empty.
    fn verify(&self, past: &Past, record: &Record) -> Result<Vec<String>> {
        let past = Past { decided: record.renewals.clone(), ..past.clone() };
        let guest = self.guest.again()?;
        let again = regenerators::plan(self.policy, &guest, past, self.purpose, self.on_error).context("verifying")?;
        // A change of the running system, or a program, that failed is a finding already.
        let left = again.steps.iter().filter(|step| !matches!(step.change, Change::Live(_) | Change::Run { .. }));
        Ok(left.map(|step| show::title(&step.change)).collect())
    }
}
