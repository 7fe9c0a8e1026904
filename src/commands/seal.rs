// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal seal`: makes a guest generic before it is copied.

use anyhow::Result;

use super::apply::carry_out;
use super::{Exit, Usage, ask, check_is_guest, is_human, open, policy, print, print_json, style};
use crate::apply;
use crate::cli::{Consent, Options};
use crate::plan::draft::Purpose;
use crate::plan::show;
use crate::regenerators::{self, OnError};
use crate::run::Run;
use crate::stamp::Memory;

/// Runs the command.
pub fn run(options: &Options, consent: &Consent) -> Result<Exit> {
    if !options.image.is_empty() {
        let message = "an image file is not sealed yet; mount it, and name the tree with --root".to_owned();
        return Err(Usage(message).into());
    }
    let guest = open(options)?;
    check_is_guest(&guest)?;
    let policy = policy(options, &guest)?;
    let _lock = if options.dry_run { None } else { Some(apply::lock(&guest)?) };
    let memory = Memory::read(&guest)?;
    let past = memory.past(&guest, Purpose::Seal, false)?;
    let plan = regenerators::plan(&policy, &guest, past.clone(), Purpose::Seal, OnError::Stop)?;
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
