// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal scan`: is anything left of what the guest was before?

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context as _, Result};

use super::{Access, Exit, Usage, is_human, open, policy, print, print_json, style};
use crate::cli::{Options, Scan};
use crate::guest::Guest;
use crate::plan::derive::Seed;
use crate::plan::draft::{Draft, Past, Purpose};
use crate::plan::{Finding, Severity};
use crate::root::LARGEST_FILE;
use crate::scan::advice::Advice;
use crate::scan::list::List;
use crate::scan::old;
use crate::scan::packages::Packages;
use crate::scan::progress::Progress;
use crate::scan::report::Report;
use crate::stamp::Memory;

/// Runs the command.
pub fn run(options: &Options, scan: &Scan) -> Result<Exit> {
    if options.root.is_some() && !options.disks().is_empty() {
        let message = "beside --root, the files inside an image are not looked into; leave --root out, or mount it";
        return Err(Usage(message.to_owned()).into());
    }
    let guest = open(options, Access::LookInside)?;
    let policy = policy(options, &guest)?;
    let draft = Draft::new(&guest, Purpose::Reset, Past::none(Seed::random(b"")?));
    let advice = Advice::new(&draft)?;
    let mut lists = HashSet::new();
    let list = values(&guest, scan, &mut lists)?;
    let progress = Progress::default();
    let found = old::scan(&guest.root, &list.values, &lists, &progress).context("reading the guest's root")?;
    let mut report = Report::new(&guest.root, list.values, found, &policy.scan, &advice)?;
    report.files = progress.files.load(Relaxed);
    report.bytes = progress.bytes.load(Relaxed);
    report.findings = findings(&guest, list.unfit);
    report.findings.extend(guest.findings.iter().cloned());
    match is_human(options) {
        true => print(&report.show(style()))?,
        false => print_json(&report)?,
    }
    if report.left().next().is_some() {
        return Ok(Exit::Leftovers);
    }
    if report.unread_count > 0 {
        eprintln!("reseal: {} files or directories could not be read, so nothing is proven", report.unread_count);
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

/// The old values; `lists` gets the files that they come from, by device and number.
fn values(guest: &Guest, scan: &Scan, lists: &mut HashSet<(u64, u64)>) -> Result<List> {
    let is_named = !(scan.old.is_empty() && scan.values.is_empty() && scan.against.is_empty());
    let mut list = if scan.no_records { List::default() } else { List::of_records(&Memory::read(guest)?) };
    for named in &scan.old {
        list.add_named(named, "--old").map_err(|error| Usage(format!("--old {named}: {error}")))?;
    }
    for path in &scan.values {
        let wrong = |error: String| Usage(format!("reading {}: {error}", path.display()));
        let text = String::from_utf8(read(path, lists)?).map_err(|_| wrong("not UTF-8".to_owned()))?;
        list.add_lines(&text, "--values").map_err(wrong)?;
    }
    for path in &scan.against {
        let text = read(path, lists)?;
        list.add_document(&text).map_err(|error| Usage(format!("reading {}: {error}", path.display())))?;
    }
    if list.values.is_empty() && !is_named {
        let message =
            "this guest has no record of what it was before; name old values with --old, --values or --against";
        return Err(Usage(message.to_owned()).into());
    }
    if list.values.is_empty() {
        return Err(Usage("none of the old values can be looked for".to_owned()).into());
    }
    Ok(list)
}

fn read(path: &Path, lists: &mut HashSet<(u64, u64)>) -> Result<Vec<u8>> {
    let mut read = || -> Result<Vec<u8>> {
        let stat = std::fs::metadata(path)?;
        anyhow::ensure!(stat.len() <= LARGEST_FILE, "{} bytes, more than a list of values has", stat.len());
        lists.insert((stat.dev(), stat.ino()));
        Ok(std::fs::read(path)?)
    };
    read().map_err(|error| Usage(format!("reading {}: {error:#}", path.display())).into())
}

fn findings(guest: &Guest, unfit: std::collections::BTreeMap<String, usize>) -> Vec<Finding> {
    let finding = |subject: &str, message: String| Finding {
        severity: Severity::Note,
        by: "scan".to_owned(),
        subject: subject.to_owned(),
        message,
    };
    let mut findings: Vec<Finding> =
        unfit.into_iter().map(|(why, count)| finding("old values", format!("{count} not looked for, {why}"))).collect();
    if Packages::are_unknown(&guest.root) {
        let message = "rpm's database is not read: whether a file is as its package brought it is not known";
        findings.push(finding("packages", message.to_owned()));
    }
    findings
}
