// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a boot asks of a stamp: the generator, before any unit is started, and the unit that says what came of it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{Access, Exit, open, print};
use crate::apply;
use crate::cli::Options;
use crate::guest::Guest;
use crate::guest::machine::Machine;
use crate::policy::{OnClone, Policy};
use crate::stamp::{Origin, STAMP, STAMP_COPY};

/// The name by which systemd starts the generator.
pub const GENERATOR: &str = "reseal-generator";

/// This boot is past the point where an identity may be reset: see units/reseal.service.
const BOOTED: &str = "run/reseal/booted";

/// Runs the generator: `dirs` are what systemd.generator(7) gives it, the normal priority's first.
pub fn run(options: &Options, dirs: &[PathBuf]) -> Result<Exit> {
    let guest = open(options, Access::Look)?;
    if guest.root.stat(STAMP)?.is_none() || guest.root.stat(BOOTED)?.is_some() {
        return Ok(Exit::Done);
    }
    let policy = read_policy(options, &guest);
    let origin = Origin::of(&guest, &policy.run.clone_by);
    let dir = dirs.first().context("systemd gave no directory")?;
    match (&origin, policy.run.on_clone) {
        (None | Some(Origin::Here), _) => return Ok(Exit::Done),
        (Some(Origin::Elsewhere | Origin::HereSoFar), OnClone::Ignore) => return Ok(Exit::Done),
        (Some(Origin::Elsewhere | Origin::HereSoFar), OnClone::Reset) => apply::wake_units(dir)?,
        _ => {}
    }
    apply::tell_at_boot(dir)?;
    Ok(Exit::Done)
}

/// Says what is wrong with the stamp, if anything is: on the console and in the journal, once in a boot.
pub fn tell(options: &Options) -> Result<Exit> {
    let mut guest = open(options, Access::Look)?;
    let policy = read_policy(options, &guest);
    if Origin::of(&guest, &policy.run.clone_by) == Some(Origin::HereSoFar) {
        apply::await_devices(policy.run.device_wait);
        guest.guest.machine = Machine::of_running_system();
    }
    if let Some(line) = Origin::of(&guest, &policy.run.clone_by).and_then(|origin| wrong(&origin)) {
        tracing::error!(subject = STAMP, "{line}");
        print(&format!("reseal: {line}\n"))?;
    }
    Ok(Exit::Done)
}

/// A sentence for a stamp that a person must look at.
pub fn wrong(origin: &Origin) -> Option<String> {
    match origin {
        Origin::Here | Origin::HereSoFar => None,
        Origin::Elsewhere => Some(format!(
            "/{STAMP} was made on another machine: this one is a copy, and shares its identity. `reseal apply --renew` gives it \
             one of its own; `reseal adopt --force` says that it is the one machine with this identity, as after a backup \
             was restored into a new one"
        )),
        Origin::Misplaced => Some(format!(
            "/{STAMP} was made on another machine, and its copy /{STAMP_COPY} on this one: somebody has put it there. Nothing is \
             reset. Without it the next boot puts the copy back"
        )),
        Origin::Unreadable(why) => Some(format!("{why}. No boot resets this machine as long as it stands there")),
    }
}

/// The policy without a look at the catalogue, which nothing here needs and which takes a boot's time to read.
fn read_policy(options: &Options, guest: &Guest) -> Policy {
    Policy::load(&guest.root, options.policy.as_deref(), &options.set).unwrap_or_else(|error| {
        tracing::error!("{error:#}; a copy of a machine is told, and not reset");
        Policy::default()
    })
}
