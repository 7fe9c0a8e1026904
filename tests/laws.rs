// SPDX-License-Identifier: MIT OR Apache-2.0
//! The laws of the design, each over every case. `RESEAL_BLESS=1` rewrites what the cases expect.

mod support;

use std::fs;
use std::path::Path;

use reseal::catalogue::Catalogue;
use reseal::formats::device_tags::{self, Rules};
use reseal::formats::known_ids::KnownIds;
use reseal::formats::{grub, hosts, keys, words};
use reseal::guest::Guest;
use reseal::plan::draft::Past;
use reseal::plan::show::{self, Style};
use reseal::plan::{Change, Kind, Plan};
use reseal::policy::Policy;
use reseal::regenerators::{self, OnError};
use reseal::run::{Outcome, Run};
use support::case::Case;
use support::tree::{copy, describe, mask};

const PLAIN: Style = Style { colour: false };

fn plan(case: &Case, guest: &Guest, past: &Past) -> Plan {
    regenerators::plan(&case.policy(), guest, past.clone(), case.purpose(), OnError::GoOn).unwrap()
}

/// One run over the guest below `root`, stopped before step `stop` if that comes.
fn run(case: &Case, root: &Path, stop: Option<usize>) -> Outcome {
    let guest = case.guest(root);
    let policy: Policy = case.policy();
    let past = case.past(&guest);
    let plan = plan(case, &guest, &past);
    let run = Run { guest: &guest, policy: &policy, purpose: case.purpose(), on_error: OnError::GoOn };
    run.carry_out(&plan, &past, &mut |step| Some(step) == stop).unwrap().0
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn every_case_gives_its_plan_and_its_files() {
    let bless = std::env::var_os("RESEAL_BLESS").is_some();
    let mut wrong = Vec::new();
    for case in Case::all() {
        let dir = scratch();
        case.make(dir.path());
        let guest = case.guest(dir.path());
        let shown = mask(&show::plan(&plan(&case, &guest, &case.past(&guest)), PLAIN));
        assert_eq!(run(&case, dir.path(), None), Outcome::Done, "{}", case.name);
        let after = describe(dir.path(), false);
        if bless {
            case.bless(&shown, &after);
        } else if shown != case.section("plan") || after != case.section("after") {
            let expected = format!("{}{}", case.section("plan"), case.section("after"));
            let got = format!("{shown}{after}");
            let diff =
                similar::TextDiff::from_lines(&expected, &got).unified_diff().header("expected", "got").to_string();
            wrong.push(format!("{}:\n{diff}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn planning_changes_nothing_and_gives_the_same_plan_again() {
    for case in Case::all() {
        let dir = scratch();
        case.make(dir.path());
        let before = describe(dir.path(), true);
        let guest = case.guest(dir.path());
        let past = case.past(&guest);
        let first = serde_json::to_string(&plan(&case, &guest, &past)).unwrap();
        let second = serde_json::to_string(&plan(&case, &guest, &past)).unwrap();
        assert_eq!(first, second, "{}", case.name);
        assert_eq!(describe(dir.path(), true), before, "{}", case.name);
    }
}

#[test]
fn the_second_plan_is_empty() {
    for case in Case::all() {
        let dir = scratch();
        case.make(dir.path());
        assert_eq!(run(&case, dir.path(), None), Outcome::Done, "{}", case.name);
        let guest = case.guest(dir.path());
        let again = plan(&case, &guest, &case.past(&guest));
        assert_eq!(again.steps, [], "{}", case.name);
        let before = describe(dir.path(), true);
        assert_eq!(run(&case, dir.path(), None), Outcome::Done, "{}", case.name);
        assert_eq!(without_records(&describe(dir.path(), true)), without_records(&before), "{}", case.name);
    }
}

/// Records hold fingerprints, which are masked; the rest must be the same to the byte.
fn without_records(text: &str) -> String {
    text.split("-- ").filter(|entry| !entry.starts_with("file etc/reseal")).collect()
}

/// Stops before every step, and each time leaves half-written temporary files behind as a killed writer would.
#[test]
fn an_interruption_at_any_step_resumes_to_the_same_guest() {
    let mut stops = 0;
    for case in Case::all() {
        let dir = scratch();
        let template = dir.path().join("template");
        case.make(&template);
        let guest = case.guest(&template);
        let plan = plan(&case, &guest, &case.past(&guest));
        let whole = dir.path().join("whole");
        copy(&template, &whole);
        assert_eq!(run(&case, &whole, None), Outcome::Done, "{}", case.name);
        let expected = describe(&whole, false);
        for stop in 0..plan.steps.len() {
            let cut = dir.path().join(format!("cut-{stop}"));
            copy(&template, &cut);
            assert_eq!(run(&case, &cut, Some(stop)), Outcome::Interrupted, "{} before step {stop}", case.name);
            litter(&cut, &plan);
            assert_eq!(run(&case, &cut, None), Outcome::Done, "{} before step {stop}", case.name);
            assert_eq!(describe(&cut, false), expected, "{} before step {stop}", case.name);
            assert!(!cut.join("etc/reseal/journal").exists(), "{}", case.name);
            stops += 1;
        }
    }
    println!("{stops} interruptions");
    assert!(stops > 50, "the cases have too few steps to prove anything: {stops}");
}

/// Temporary files of the files that are still to be written; what was done leaves none behind.
fn litter(root: &Path, plan: &Plan) {
    for step in &plan.steps {
        let Change::Write { path, after, .. } = &step.change else { continue };
        let (parent, name) = path.rsplit_once('/').unwrap();
        let done = fs::read(root.join(path)).is_ok_and(|now| now == after.bytes);
        if root.join(parent).is_dir() && !done {
            fs::write(root.join(parent).join(format!(".{name}.reseal")), "half").unwrap();
        }
    }
}

/// Over every file of every case: what a format does not know it gives back byte for byte, and what it replaced comes
/// back when old and new change places, with either end of line.
#[test]
fn formats_change_nothing_that_they_do_not_know() {
    let mut changed = 0;
    for case in Case::all() {
        let dir = scratch();
        case.make(dir.path());
        let guest = case.guest(dir.path());
        let decided = case.past(&guest).decided;
        let pairs = decided.iter().filter_map(|past| Some((past.kind, past.old.as_deref()?, past.new.as_deref()?)));
        let pairs: Vec<(Kind, &str, &str)> = pairs.filter(|(kind, ..)| Kind::ON_DISKS.contains(kind)).collect();
        let (there, back) =
            (KnownIds::new(pairs.clone()), KnownIds::new(pairs.iter().map(|(kind, old, new)| (*kind, *new, *old))));
        let absent = Kind::ON_DISKS
            .map(|kind| (kind, "0123abcd-89ab-4cde-8f01-23456789abcd", "fedcba98-89ab-4cde-8f01-23456789abcd"));
        let absent = KnownIds::new(absent);
        let fields: Vec<String> =
            Catalogue::built_in().unwrap().references.into_iter().flat_map(|entry| entry.fields).collect();
        let rules = Rules { fields: &fields, named: &[] };
        for text in texts(dir.path()).into_iter().flat_map(|text| [text.replace('\n', "\r\n"), text]) {
            for is_meant in [device_tags::is_meant, grub::is_meant] {
                let replace = |ids: &KnownIds, text: &str| {
                    grub::keep_size(text, ids.replace(text, |quote| is_meant(quote, rules)))
                };
                assert_eq!(replace(&absent, &text), text, "{}", case.name);
                let new = replace(&there, &text);
                changed += usize::from(new != text);
                assert_eq!(replace(&back, &new), text, "{}", case.name);
            }
            let (old, new) = ("not-there-at-all", "new");
            assert_eq!(hosts::replace(&text, old, new), text, "{}", case.name);
            assert_eq!(words::replace_name(&text, old, new), text, "{}", case.name);
            assert_eq!(words::replace_hex(&text, old, new), text, "{}", case.name);
            assert_eq!(keys::edit(&text, &fields, str::to_owned), text, "{}", case.name);
            assert_eq!(keys::edit_words(&text, "systemd.machine_id", old, new), text, "{}", case.name);
        }
    }
    assert!(changed > 100, "the cases hold too few quotes to prove anything: {changed}");
}

/// Every text file of a tree.
fn texts(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .flat_map(|entry| match entry.metadata().unwrap() {
            meta if meta.is_dir() => texts(&entry.path()),
            meta if meta.is_file() && meta.len() < 1 << 20 => fs::read_to_string(entry.path()).into_iter().collect(),
            _ => Vec::new(),
        })
        .collect()
}

#[test]
fn no_secret_is_in_a_plan() {
    let mut secrets = 0;
    for case in Case::all() {
        let dir = scratch();
        case.make(dir.path());
        let guest = case.guest(dir.path());
        let plan = plan(&case, &guest, &case.past(&guest));
        let shown = [show::plan(&plan, PLAIN), serde_json::to_string(&plan).unwrap(), format!("{plan:?}")].concat();
        assert!(!shown.contains("PRIVATE KEY"), "{}", case.name);
        // A private key file holds its public half too, which may be shown.
        let public = read_all(dir.path());
        for secret in private_lines(dir.path()).into_iter().filter(|line| !public.contains(line)) {
            assert!(!shown.contains(&secret), "{}: {secret:?} is shown", case.name);
            secrets += 1;
        }
    }
    assert!(secrets > 10, "the cases hold too few secrets to prove anything: {secrets}");
}

/// What everybody may read.
fn read_all(dir: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let mut text = String::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            text.push_str(&read_all(&path));
        } else if meta.is_file() && meta.mode() & 0o004 != 0 && meta.len() < 1 << 20 {
            text.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        }
    }
    text
}

/// Lines of at least eight characters of files that not everybody may read.
fn private_lines(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;
    let mut lines = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            lines.extend(private_lines(&path));
        } else if meta.is_file() && meta.mode() & 0o004 == 0 && meta.len() < 1 << 20 && !path.ends_with("sealed") {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            lines.extend(text.lines().filter(|line| line.len() >= 8 && !line.starts_with("-----")).map(str::to_owned));
        }
    }
    lines
}

#[test]
fn new_values_differ_between_two_seeds() {
    for case in Case::all() {
        let dir = scratch();
        case.make(dir.path());
        let guest = case.guest(dir.path());
        let past = Past::none(reseal::plan::derive::Seed::random(b"").unwrap());
        let one = plan(&case, &guest, &case.past(&guest));
        let two = plan(&case, &guest, &past);
        for renewal in &one.renewals {
            let other =
                two.renewals.iter().find(|other| other.kind == renewal.kind && other.subject == renewal.subject);
            // Policy or instance data may fix a name, and an address may be that of a device.
            let device = |value: &Option<String>| value.as_ref().is_some_and(|mac| case.section("links").contains(mac));
            let told = case.name.starts_with("instance-") && renewal.kind == Kind::Hostname;
            let fixed = told || case.section("policy").contains("name = \"") || device(&renewal.new);
            // Addresses are given, and never made.
            let fixed = fixed || renewal.kind == Kind::IpAddress;
            if let (Some(new), Some(other)) = (&renewal.new, other.and_then(|other| other.new.as_ref())) {
                assert!(fixed || new != other, "{}: {} {new}", case.name, renewal.subject);
            }
        }
    }
}
