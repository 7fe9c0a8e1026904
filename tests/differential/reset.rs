// SPDX-License-Identifier: MIT OR Apache-2.0
//! A copy that is reset: nothing of the original is left in it unsaid, its services start, a second reset changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::guests::tree::Guest;
use crate::guests::{outcome, said};
use crate::judge::{Verdict, policy};
use crate::list::Reasons;
use crate::pair::{Pair, failed, start};

/// Letters of a value that is looked for: shorter ones are words.
const SHORTEST: usize = 16;

/// Values of one file that are looked for.
const MOST: usize = 40;

/// What is wrong with the copy.
pub fn check(pair: &Pair, verdict: &Verdict) -> Vec<String> {
    let copy = pair.copy(0);
    let mut wrong = Vec::new();
    let dir = tempfile::tempdir().expect("making a directory");
    let (rules, values) = (dir.path().join("policy.toml"), dir.path().join("values"));
    fs::write(&rules, policy()).expect("writing a policy");
    let old = old_values(pair, verdict);
    let lines: Vec<String> = old.iter().map(|value| format!("text={value}\n")).collect();
    fs::write(&values, lines.concat()).expect("writing a list of values");

    let reset = reseal(copy.root(), &rules, &["apply", "--yes", "--force", "--format", "json"]);
    let Ok(report) = serde_json::from_slice::<serde_json::Value>(&reset.stdout) else {
        return vec![format!("the reset gave no report: {}", said(&reset))];
    };
    let empty = Vec::new();
    let findings = report["findings"].as_array().unwrap_or(&empty);
    let told: BTreeSet<&str> = findings.iter().filter_map(|finding| finding["subject"].as_str()).collect();
    let first = files(&copy);
    let again = reseal(copy.root(), &rules, &["apply", "--yes", "--force"]);
    let second = files(&copy);
    let ours = |path: &&String| !path.starts_with("etc/reseal") && !path.starts_with("var/lib/reseal");
    let changed = crate::guests::tree::differences(&first, &second);
    wrong.extend(changed.iter().filter(ours).map(|path| format!("the second reset changes {path}")));
    if !again.status.success() && !reset.status.success() {
        // What cannot be reset is among the findings, whose places are looked at below.
    } else if !again.status.success() {
        wrong.push(format!("the second reset ended with {}: {}", again.status, said(&again)));
    }

    let scan = reseal(
        copy.root(),
        &rules,
        &["scan", "--no-records", "--values", values.to_str().expect("a path"), "--format", "json"],
    );
    let report: serde_json::Value =
        serde_json::from_slice(&scan.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&scan)));
    let reasons = Reasons::new();
    for row in report["found"].as_array().expect("a list").iter().filter(|row| row["standing"] == "left") {
        let path = row["path"].as_str().expect("a path");
        if !reasons.has(path) && !told.iter().any(|place| path == *place || path.starts_with(&format!("{place}/"))) {
            wrong.push(format!("{path} still holds a value of the original, and no finding says so"));
        }
    }
    wrong.sort();
    wrong.dedup();

    let now = failed(&start(&copy));
    let before = &pair.failed(0) | &pair.failed(1);
    wrong.extend(now.difference(&before).map(|unit| format!("{unit} fails after the reset")));
    println!("  {} values of the original looked for, {} places told", old.len(), told.len());
    wrong
}

/// Everything that is on its disk.
fn files(guest: &Guest) -> BTreeMap<String, String> {
    let dirs = ["boot", "etc", "home", "opt", "root", "srv", "usr", "var"];
    dirs.iter().flat_map(|dir| guest.digest(dir)).collect()
}

fn reseal(root: &Path, policy: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reseal"));
    outcome(command.arg("--root").arg(root).arg("--policy").arg(policy).args(arguments))
}

/// What the first installation has and the second has not, in the files that identities are in: long words with digits.
fn old_values(pair: &Pair, verdict: &Verdict) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for path in verdict.catalogue.union(&verdict.regenerator) {
        let [one, other] = [0, 1].map(|which| fs::read(pair.layers[which].join(&path[1..])).unwrap_or_default());
        if one.len() > 1 << 20 {
            continue;
        }
        let other: BTreeSet<&[u8]> = words(&other).collect();
        let new = words(&one).filter(|word| !other.contains(word)).filter_map(|word| std::str::from_utf8(word).ok());
        all.extend(new.filter(|word| is_value(word)).take(MOST).map(str::to_owned));
    }
    all
}

fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| !(byte.is_ascii_alphanumeric() || b"+/=_.:-".contains(byte)))
}

fn is_value(word: &str) -> bool {
    let kinds: BTreeSet<char> = word.chars().collect();
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let is_time = word.starts_with("20") && word[2..].trim_start_matches(char::is_numeric).starts_with('-');
    (SHORTEST..=200).contains(&word.len()) && kinds.len() >= 8 && digits >= 3 && !is_time
}
