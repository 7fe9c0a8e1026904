// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal status`: was the guest reset, and what is still to do?

use anyhow::Result;
use serde::Serialize;

use super::{Access, Exit, is_human, open, print, print_json, style};
use crate::cli::Options;
use crate::guest::machine::Likeness;
use crate::plan::{Finding, show};
use crate::policy::Policy;
use crate::regenerators::UNIT_LINK;
use crate::stamp::{Form, Memory};

/// What the guest is, as far as reseal knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// It was reset on this machine.
    Resealed,
    /// It was taken as it was when the package came.
    Adopted,
    /// It carries the stamp of another machine.
    Copied,
    /// A run was cut off; the next one goes on.
    Unfinished,
    /// It was made generic; the next boot resets it.
    Sealed,
    /// It was reset from outside, for one use.
    Offline,
    /// Nothing was done; the next boot resets it.
    Unsealed,
}

#[derive(Debug, Serialize)]
struct Status {
    version: u32,
    state: State,
    run: Option<String>,
    reseal: Option<String>,
    findings: Vec<Finding>,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<Exit> {
    let guest = open(options, Access::Look)?;
    // A policy with a mistake is no reason to say nothing.
    let parts = Policy::load(&guest.root, options.policy.as_deref(), &options.set).unwrap_or_default().run.clone_by;
    let memory = Memory::read(&guest)?.judged_by(&guest, &parts);
    let (state, record) = match &memory {
        Memory { journal: Some(record), .. } => (State::Unfinished, Some(record)),
        Memory { stamp: Some(record), stamped_on: Some(Likeness::Other), .. } if guest.running => {
            (State::Copied, Some(record))
        }
        Memory { stamp: Some(record), .. } if record.form == Form::Adopted => (State::Adopted, Some(record)),
        Memory { stamp: Some(record), .. } => (State::Resealed, Some(record)),
        Memory { sealed: Some(record), .. } => (State::Sealed, Some(record)),
        Memory { offline: Some(record), .. } => (State::Offline, Some(record)),
        _ => (State::Unsealed, None),
    };
    let status = Status {
        version: 1,
        state,
        run: record.map(|record| record.run.clone()),
        reseal: record.map(|record| record.reseal.clone()),
        findings: record.map(|record| record.findings.clone()).unwrap_or_default(),
    };
    if !is_human(options) {
        print_json(&status)?;
        return Ok(Exit::Done);
    }
    let armed = guest.root.stat(UNIT_LINK)?.is_some();
    let waits = matches!(state, State::Sealed | State::Unsealed);
    let line = match state {
        State::Resealed => "resealed: this machine was given an identity of its own",
        State::Adopted => "adopted: this machine was taken as it is; nothing resets it",
        State::Copied => {
            "copied: the stamp is of another machine; `reseal apply --renew` gives this one an identity of its own, `reseal adopt \
             --force` lets it keep the one it has"
        }
        State::Unfinished => "unfinished: a run was cut off; `reseal apply` or the next boot goes on",
        _ if waits && !armed => "not reset, and reseal.service is not enabled: nothing resets this guest by itself",
        State::Sealed => "sealed: the next boot gives this guest an identity of its own",
        State::Offline => "reset offline: for exactly one guest; a boot with the unit resets it once more",
        State::Unsealed => {
            "not reset: the next boot gives this guest an identity of its own, where run.where allows it"
        }
    };
    print(&format!("{line}\n{}", show::findings(&status.findings, style())))?;
    Ok(Exit::Done)
}
