// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal scan`: is anything left of what the guest was before?

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context as _, Result};

use super::{Access, Exit, Opened, Usage, is_human, open, policy, print, print_json, style};
use crate::cli::{Options, Scan};
use crate::guest::Guest;
use crate::plan::derive::Seed;
use crate::plan::draft::{Draft, Past, Purpose};
use crate::plan::{Finding, Severity};
use crate::policy::Policy;
use crate::regenerators::{self, OnError};
use crate::root::LARGEST_FILE;
use crate::scan::advice::Advice;
use crate::scan::list::List;
use crate::scan::packages::Packages;
use crate::scan::progress::Progress;
use crate::scan::report::Report;
use crate::scan::{old, suspect};
use crate::stamp::Memory;

/// Runs the command.
pub fn run(options: &Options, scan: &Scan) -> Result<Exit> {
    if options.root.is_some() && !options.disks().is_empty() {
        let message = "beside --root, the files inside an image are not looked into; leave --root out, or mount it";
        return Err(Usage(message.to_owned()).into());
    }
    let guest = open(options, Access::LookInside)?;
    let policy = policy(options, &guest)?;
    if scan.suspect {
        return suspect(options, &guest, &policy);
    }
    let draft = Draft::new(&guest, Purpose::Reset, Past::none(Seed::random(b"")?));
    let advice = Advice::new(&draft)?;
    let mut lists = HashSet::new();
    let list = values(&guest, scan, &mut lists)?;
    let progress = Progress::default();
    let search = old::Search { values: &list.values, lists: &lists, unpack: scan.compressed };
    let found = old::scan(&guest.root, search, &progress).context("reading the guest's root")?;
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
    Ok(proven(report.unread_count))
}

/// What was not found is not there, if everything was read.
fn proven(unread: usize) -> Exit {
    if unread == 0 {
        return Exit::Done;
    }
    eprintln!("reseal: {unread} files or directories could not be read, so nothing is proven");
    Exit::Failed
}

/// Looks for what nobody knows.
fn suspect(options: &Options, guest: &Opened, policy: &Policy) -> Result<Exit> {
    let past = Past::none(Seed::random(b"")?);
    let plan = regenerators::plan(policy, guest, past.clone(), Purpose::Reset, OnError::GoOn)?;
    let mut known: BTreeSet<String> =
        plan.steps.iter().filter_map(|step| step.change.path()).map(str::to_owned).collect();
    let subjects = plan.findings.iter().filter_map(|finding| finding.subject.strip_prefix('/'));
    // A finding about a whole tree, as /etc, speaks of none of its files.
    known.extend(subjects.filter(|path| path.contains('/')).map(str::to_owned));
    let draft = Draft::new(guest, Purpose::Reset, past);
    let (residue, quotes) = Advice::new(&draft)?.into_paths();
    known.extend(residue);
    let progress = Progress::default();
    let found = suspect::scan(&guest.root, &names(&draft), &progress).context("reading the guest's root")?;
    let mut report = suspect::Report::new(&guest.root, found, &suspect::Known { paths: known, quotes }, &policy.scan)?;
    report.files = progress.files.load(Relaxed);
    report.bytes = progress.bytes.load(Relaxed);
    report.findings = findings(guest, BTreeMap::new());
    report.findings.extend(guest.findings.iter().cloned());
    match is_human(options) {
        true => print(&report.show(style()))?,
        false => print_json(&report)?,
    }
    let sure = report.suspects.iter().any(|row| row.rank != suspect::Rank::Low);
    Ok(if sure { Exit::Leftovers } else { proven(report.unread_count) })
}

/// The guest's names.
fn names(draft: &Draft<'_>) -> Vec<String> {
    let file = draft.text("etc/hostname").unwrap_or_default().unwrap_or_default();
    let name = file.trim().to_owned();
    let short = name.split('.').next().unwrap_or_default().to_owned();
    vec![short, name]
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

fn findings(guest: &Guest, unfit: BTreeMap<String, usize>) -> Vec<Finding> {
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
