// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal boot-check`: does the guest, as it stands, find its way from the firmware to `/`?

use anyhow::{Result, bail};
use serde::Serialize;

use super::{Access, Exit, is_human, open_with_disks, print, print_json};
use crate::cli::Options;
use crate::guest::boot::{self, Link};
use crate::plan::show;
use crate::regenerators;

#[derive(Debug, Serialize)]
struct Check {
    version: u32,
    good: bool,
    links: Vec<Link>,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<Exit> {
    let guest = open_with_disks(options, Access::LookInside)?;
    if guest.disks.list.is_empty() {
        let why = guest.disks.unseen.clone().unwrap_or_else(|| "none can be seen from here".to_owned());
        bail!("looking for what the boot names: the disks are not known: {why}; `--image` names them");
    }
    let links = boot::links(&guest, &regenerators::boot_files(&guest)?)?;
    let good = links.iter().all(|link| link.good);
    for finding in &guest.findings {
        eprintln!("reseal: {}: {}", show::printable(&finding.subject), show::printable(&finding.message));
    }
    let exit = if good { Exit::Done } else { Exit::Leftovers };
    if !is_human(options) {
        print_json(&Check { version: 1, good, links })?;
        return Ok(exit);
    }
    let row = |link: &Link| {
        let found = match &link.found[..] {
            [] if link.good => "not there; the next one is".to_owned(),
            [] => "NOT THERE".to_owned(),
            found if link.good => found.join(", "),
            found => format!("SEVERAL: {}", found.join(", ")),
        };
        [
            format!("{}:{}", link.file, link.line),
            link.by.clone(),
            show::printable(&link.target),
            show::printable(&found),
        ]
    };
    let rows: Vec<[String; 4]> = links.iter().map(row).collect();
    let mut text = show::table(&["where", "by", "names", "found"], &rows);
    let bad = links.iter().filter(|link| !link.good).count();
    text.push_str(&match bad {
        0 => format!("{} links, all of them lead somewhere\n", links.len()),
        bad => format!("{bad} of {} links lead nowhere, or to several devices\n", links.len()),
    });
    print(&text)?;
    Ok(exit)
}
