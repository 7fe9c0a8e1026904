// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal seal`: makes a guest generic before it is copied.

use anyhow::Result;

use super::apply::carry_out;
use super::{Access, Exit, ask, check_is_guest, is_human, open, policy, print, print_json, style};
use crate::apply;
use crate::cli::{Consent, Options};
use crate::plan::draft::Purpose;
use crate::plan::show;
use crate::regenerators::{self, OnError};
use crate::run::Run;
use crate::stamp::Memory;

/// Runs the command.
pub fn run(options: &Options, consent: &Consent) -> Result<Exit> {
    let guest = open(options, if options.dry_run { Access::LookInside } else { Access::ChangeInside })?;
    check_is_guest(&guest)?;
    let policy = policy(options, &guest)?;
    let _lock = if options.dry_run { None } else { Some(apply::lock(&guest)?) };
    let memory = Memory::read(&guest)?;
    let past = memory.past(&guest, Purpose::Seal, false)?;
    let mut plan = regenerators::plan(&policy, &guest, past.clone(), Purpose::Seal, OnError::Stop)?;
    plan.findings.splice(0..0, guest.findings.iter().cloned());
    if options.dry_run {
        match is_human(options) {
            true => print(&show::plan(&plan, style()))?,
            false => print_json(&plan)?,
        }
        return Ok(Exit::Done);
    }
    if guest.running && !consent.yes {
        if is_human(options) {
            print(&show::plan(&plan, style()))?;
        }
        if !ask(false, "Seal this machine? Its next boot gives it a new identity.")? {
            return Ok(Exit::Done);
        }
    }
    let run = Run { guest: &guest, policy: &policy, purpose: Purpose::Seal, on_error: OnError::Stop };
    let (exit, record) = carry_out(&run, &plan, &past)?;
    if !is_human(options) {
        print_json(&plan)?;
    } else if exit == Exit::Done {
        let mut text = show::renewals(&record.renewals);
        text.push_str(&show::findings(&plan.findings, style()));
        text.push_str(&format!("{} changes, {} findings\n", plan.steps.len(), plan.findings.len()));
        text.push_str("Sealed. Power off and copy; every copy resets itself at its first boot.\n");
        print(&text)?;
    }
    Ok(exit)
}
