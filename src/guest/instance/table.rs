// SPDX-License-Identifier: MIT OR Apache-2.0
//! The policy's own table of machines: one policy for all clones of a site, each known by its hardware.

use anyhow::{Context as _, Result, bail};

use super::Told;
use crate::guest::Guest;
use crate::policy::instance::Entry;

/// What the entry for this machine says; that two fit is an error, for which is meant cannot be told.
pub fn read(guest: &Guest, entries: &[Entry]) -> Result<Vec<Told>> {
    let mut fitting = entries.iter().enumerate().filter(|(_, entry)| entry.r#match.is_of(&guest.machine));
    let Some((number, entry)) = fitting.next() else { return Ok(Vec::new()) };
    if let Some((other, _)) = fitting.next() {
        bail!("entries {} and {} of instance.machine both match this machine", number + 1, other + 1);
    }
    let mut told = Told::by("the policy");
    let mut take = || -> Result<()> {
        if let Some(name) = &entry.hostname {
            told.name(name)?;
        }
        told.links(entry.addresses.clone())
    };
    take().with_context(|| format!("entry {} of instance.machine", number + 1))?;
    Ok(vec![told])
}
