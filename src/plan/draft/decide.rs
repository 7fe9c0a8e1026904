// SPDX-License-Identifier: MIT OR Apache-2.0
//! Deciding new values, once, and telling the operator.

use anyhow::Result;

use super::Draft;
use crate::plan::derive::Seed;
use crate::plan::probed::{Probed, Wanted};
use crate::plan::{Finding, Kind, Renewal, Severity, Stage, State};
use crate::root::trim;

impl Draft<'_> {
    /// 32 bytes that depend on the run's seed and `token`.
    pub fn seed(&self) -> &Seed {
        &self.past.seed
    }

    /// Decides the new value of an identity, once: what an earlier run of this machine decided is taken over.
    /// `old` is what the guest holds now; `new` is asked only when nothing was decided.
    ///
    /// # Errors
    /// Those of `new`.
    pub fn decide(
        &mut self,
        kind: Kind,
        subject: &str,
        old: Option<String>,
        new: impl FnOnce(&Draft<'_>) -> Result<Option<String>>,
    ) -> Result<Renewal> {
        let renewal = match self.decided(kind, subject) {
            Some(earlier) => earlier.clone(),
            None => Renewal { kind, subject: subject.to_owned(), old, new: new(self)? },
        };
        self.renewals.push(renewal.clone());
        Ok(renewal)
    }

    /// What an earlier run of this machine decided about an identity.
    pub fn decided(&self, kind: Kind, subject: &str) -> Option<&Renewal> {
        self.past.decided.iter().find(|past| past.kind == kind && past.subject == subject)
    }

    /// What was decided, by this plan or an earlier run of this machine, about the identity of a kind that has this value,
    /// old or new. The names of devices change from boot to boot, so a value on a disk is known by itself.
    pub fn decided_value(&self, kind: Kind, value: &str) -> Option<&Renewal> {
        let is = |side: &Option<String>| side.as_deref() == Some(value);
        let mut all = self.renewals.iter().chain(&self.past.decided);
        all.find(|past| past.kind == kind && (is(&past.old) || is(&past.new)))
    }

    /// Decides the new value of an identity that is known by its value: what was [decided](Draft::decided_value) stands.
    pub fn decide_value(&mut self, kind: Kind, subject: &str, value: &str, new: &str) -> Renewal {
        let fresh = || {
            let (old, new) = (Some(value.to_owned()), Some(new.to_owned()));
            Renewal { kind, subject: subject.to_owned(), old, new }
        };
        let renewal = self.decided_value(kind, value).cloned().unwrap_or_else(fresh);
        self.renewed(renewal.clone());
        renewal
    }

    /// What this machine's earlier run decided about the ids on its disks.
    pub fn decided_disk_ids(&self) -> Vec<Renewal> {
        self.past.decided.iter().filter(|past| past.kind.is_on_disk()).cloned().collect()
    }

    /// What this machine's earlier run decided about all identities of a kind.
    pub fn decided_of(&self, kind: Kind) -> impl Iterator<Item = &Renewal> {
        self.past.decided.iter().filter(move |past| past.kind == kind)
    }

    /// What this plan has decided so far about all identities of a kind.
    pub fn decided_now(&self, kind: Kind) -> impl Iterator<Item = &Renewal> {
        self.renewals.iter().filter(move |now| now.kind == kind)
    }

    /// Takes over what an earlier stage of this run decided about identities of these kinds and no regenerator of this
    /// plan did: a disk that has its new id is not looked at again, and its quotes still have to follow.
    pub fn carry_over(&mut self, kinds: &[Kind]) {
        let done = |past: &&Renewal| kinds.contains(&past.kind) && !self.guest.disks.still_hold(past);
        let earlier = self.past.decided.iter().filter(done);
        let missing: Vec<Renewal> =
            earlier.filter(|past| !self.renewals.iter().any(|now| now.is_of(past))).cloned().collect();
        self.renewals.extend(missing);
    }

    /// What the template or another machine's unfinished run recorded for a kind.
    pub fn foreign_of(&self, kind: Kind) -> impl Iterator<Item = &Renewal> {
        self.past.foreign.iter().filter(move |past| past.kind == kind)
    }

    /// Was the guest sealed before it was copied?
    pub fn is_sealed(&self) -> bool {
        self.past.sealed
    }

    /// Is something mounted over this path in the running system?
    pub fn is_mounted(&self, path: &str) -> bool {
        self.mounted.contains(path)
    }

    /// Must this file go? It is told by its digest, so that what grows again after the reset is left alone.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn goes(&mut self, kind: Kind, path: &str) -> Result<bool> {
        let subject = format!("/{}", trim(path));
        let digest = match State::of(&self.guest.root, &self.backing(&self.place(path)?))? {
            State::File(content) => content.digest(),
            State::Large(size) => format!("{size} bytes"),
            _ => String::new(),
        };
        if self.decided(kind, &subject).is_some_and(|past| past.old.as_ref() != Some(&digest)) {
            return Ok(false);
        }
        self.decide(kind, &subject, Some(digest), |_| Ok(None))?;
        Ok(true)
    }

    /// Adds a renewal that says only how a value went.
    pub fn renewed(&mut self, renewal: Renewal) {
        if !self.renewals.contains(&renewal) {
            self.renewals.push(renewal);
        }
    }

    /// All renewals drafted so far, and with each the values that another machine's run left: any of them may still be
    /// quoted somewhere.
    pub fn renewals(&self) -> Vec<Renewal> {
        let mut all = self.renewals.clone();
        for renewal in &self.renewals {
            for other in self.past.foreign.iter().filter(|o| o.kind == renewal.kind && o.subject == renewal.subject) {
                for value in [&other.old, &other.new].into_iter().flatten() {
                    if renewal.old.as_ref() != Some(value) && renewal.new.as_ref() != Some(value) {
                        all.push(Renewal { old: Some(value.clone()), ..renewal.clone() });
                    }
                }
            }
        }
        all
    }

    /// Can others on the network be asked for an address? By the stage that comes before the network, and by hand.
    pub fn can_probe(&self) -> bool {
        self.guest.running && matches!(self.guest.stage, None | Some(Stage::System))
    }

    /// Has others asked for addresses before the plan is carried out.
    pub fn probe(&mut self, wanted: Wanted) {
        self.probes.push(wanted);
    }

    /// What was asked so far, and what the network said.
    pub fn probed(&self) -> &Probed {
        &self.past.probed
    }

    /// Tells the operator.
    pub fn finding(&mut self, severity: Severity, subject: &str, message: impl Into<String>) {
        let finding =
            Finding { severity, by: self.by.to_owned(), subject: subject.to_owned(), message: message.into() };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}
