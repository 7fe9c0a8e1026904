// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal reencrypt`: what the policy scheduled for after the boot.

use anyhow::Result;

use super::{Access, Exit, Usage, ask, open_with_disks, print, say};
use crate::apply;
use crate::cli::{Consent, Options};
use crate::formats::scheduled_keys;

/// Runs the command.
pub fn run(options: &Options, consent: &Consent) -> Result<Exit> {
    if options.root.is_some() || !options.image.is_empty() {
        return Err(Usage("only volumes of the running machine are encrypted anew".to_owned()).into());
    }
    let guest = open_with_disks(options, Access::Look)?;
    let Some(list) = guest.root.read(scheduled_keys::PATH)? else {
        say(options, "no volume is to be encrypted anew\n")?;
        return Ok(Exit::Done);
    };
    let volumes = scheduled_keys::parse(&String::from_utf8_lossy(&list))?;
    for volume in &volumes {
        say(options, &format!("UUID={} gets a volume key of its own, by {}\n", volume.uuid, volume.key_file))?;
    }
    if options.dry_run || !ask(consent.yes, "Encrypt all of it anew? This takes hours, and may be stopped.")? {
        return Ok(Exit::Done);
    }
    let mut exit = Exit::Done;
    apply::renew_volume_keys(&guest, |place, error| {
        let line = match error {
            None => format!("{place} has a volume key of its own\n"),
            Some(error) => {
                exit = Exit::Failed;
                format!("{place} has the template's volume key: {error:#}\n")
            }
        };
        // A reader that has gone away stops nothing.
        let _ = print(&line);
    })?;
    Ok(exit)
}
