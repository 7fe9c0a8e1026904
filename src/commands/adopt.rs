// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal adopt`: what installing the package on a running machine does, so that no boot resets it.

use anyhow::Result;

use super::{Access, Exit, Usage, open, policy, print};
use crate::apply;
use crate::cli::Options;
use crate::guest::Guest;
use crate::stamp::{JOURNAL, Origin, SEALED, STAMP};

/// Runs the command.
pub fn run(options: &Options, force: bool) -> Result<Exit> {
    let guest = open(options, Access::Look)?;
    if !guest.running {
        return Err(Usage("only the running machine can be adopted".to_owned()).into());
    }
    let _lock = apply::lock(&guest)?;
    // A stamp, even one that cannot be read, a sealed template and an unfinished run are left as they are.
    for path in [STAMP, SEALED, JOURNAL] {
        if guest.root.stat(path)?.is_some() && !(force && path == STAMP && is_of_another_machine(options, &guest)?) {
            return Ok(Exit::Done);
        }
    }
    if options.dry_run {
        print("would write the stamp, and nothing else\n")?;
        return Ok(Exit::Done);
    }
    apply::adopt(&guest)?;
    Ok(Exit::Done)
}

fn is_of_another_machine(options: &Options, guest: &Guest) -> Result<bool> {
    let policy = policy(options, guest)?;
    Ok(matches!(Origin::of(guest, &policy.run.clone_by), Some(Origin::Elsewhere | Origin::Misplaced)))
}
