// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal scan` of a Debian tree for 19 old values, beside ripgrep with every text spelling of the same, in turn.
//!
//! The tree is `RESEAL_BENCH_TREE`, or one that the tests of whole guests have made. Both read it from the page cache.
//! Prints medians, their ratio and the peak memory of each; `RESEAL_BENCH_ROUNDS` is the number of rounds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use reseal::scan::spelling;
use reseal::scan::value::Value;

/// What one template was: found nowhere, so that both read everything.
const OLD: [&str; 19] = [
    "machine-id=7b1c2d3e4f5a46978899aabbccddeef1",
    "hostname=golden-template",
    "hostname=golden-template.example.com",
    "fs-uuid=0aaa1111-2b22-4333-8444-55555555555f",
    "fs-uuid=1bbb1111-2b22-4333-8444-55555555555e",
    "fs-uuid=9C1F-33A7",
    "swap-uuid=2ccc1111-2b22-4333-8444-55555555555d",
    "partition-id=3ddd1111-2b22-4333-8444-55555555555c",
    "partition-id=4eee1111-2b22-4333-8444-55555555555b",
    "disk-id=5fff1111-2b22-4333-8444-55555555555a",
    "lvm-uuid=AbCdEf-0123-4567-89ab-cdef-GHIJ-klmnop",
    "lvm-uuid=ZyCdEf-0123-4567-89ab-cdef-GHIJ-klmnoq",
    "mac-address=52:54:00:ab:cd:ef",
    "mac-address=52:54:00:ab:cd:ee",
    "ip-address=10.77.13.5",
    "ssh-host-key=SHA256:W3ZldRm9fKqEsPqei0aaaabbbbccccddddeeeeffffg",
    "ssh-host-key=SHA256:X3ZldRm9fKqEsPqei0aaaabbbbccccddddeeeeffffg",
    "ssh-host-key=SHA256:Y3ZldRm9fKqEsPqei0aaaabbbbccccddddeeeeffffg",
    "pgp-key=FA1516896C901ED91BCA44F8EF0123456789ABCD",
];

fn main() -> Result<()> {
    let rounds: usize = std::env::var("RESEAL_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(15).max(1);
    let Some(tree) = tree() else {
        println!("SKIPPED: scan: no Debian tree in target/guests, and RESEAL_BENCH_TREE names none");
        return Ok(());
    };
    let rg = Path::new("/usr/bin/rg");
    if !rg.exists() {
        println!("SKIPPED: scan: ripgrep is not installed");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let (list, patterns) = (dir.path().join("list"), dir.path().join("patterns"));
    fs::write(&list, OLD.join("\n"))?;
    fs::write(&patterns, texts()?)?;
    let ours = |command: &mut Command| {
        command.arg("scan").arg("--root").arg(&tree).arg("--values").arg(&list).args([
            "--no-records",
            "--format",
            "json",
        ]);
    };
    let theirs = |command: &mut Command| {
        command.args(["-uuu", "-F", "-c", "-f"]).arg(&patterns).arg(&tree);
    };
    let program = Path::new(env!("CARGO_BIN_EXE_reseal"));
    // The largest child so far, in kB, getrusage(2); the first round fills the cache.
    time(program, &ours)?;
    let ours_peak = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    time(rg, &theirs)?;
    let both_peak = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    let mut times: [Vec<f64>; 2] = Default::default();
    for _ in 0..rounds {
        times[0].push(time(program, &ours)?);
        times[1].push(time(rg, &theirs)?);
    }
    let [ours, theirs] = times.map(median);
    println!("{}, {} old values, medians of {rounds}:", tree.display(), OLD.len());
    println!("  reseal scan                         {ours:8.1} ms");
    println!("  rg -uuu -F, text spellings alone    {theirs:8.1} ms");
    println!("  reseal scan / rg                    {:8.2}", ours / theirs);
    println!("  peak memory of reseal scan          {:8.1} MB", ours_peak as f64 / 1024.0);
    if both_peak > ours_peak {
        println!("  peak memory of rg                   {:8.1} MB", both_peak as f64 / 1024.0);
    }
    Ok(())
}

fn tree() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("RESEAL_BENCH_TREE") {
        return Some(named.into());
    }
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/guests");
    let trees = fs::read_dir(guests).ok()?.flatten().map(|entry| entry.path());
    trees.into_iter().find(|path| path.join("var/lib/dpkg/status").exists())
}

/// Every spelling that is text; where case does not matter, in both cases.
fn texts() -> Result<String> {
    let mut values = Vec::new();
    for old in OLD {
        let (kind, value) = old.split_once('=').context("a kind")?;
        values.push(Value::new(kind, "bench", value).map_err(anyhow::Error::msg)?);
    }
    let mut texts = String::new();
    for spelling in spelling::of_all(&values) {
        let Ok(text) = String::from_utf8(spelling.text) else { continue };
        if text.contains(char::is_control) {
            continue;
        }
        texts.push_str(&format!("{text}\n"));
        if spelling.any_case {
            texts.push_str(&format!("{}\n", text.to_ascii_uppercase()));
        }
    }
    Ok(texts)
}

/// Milliseconds; a program that finds something, or cannot read everything, has read as much.
fn time(program: &Path, arguments: &impl Fn(&mut Command)) -> Result<f64> {
    let mut command = Command::new(program);
    arguments(&mut command);
    let start = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let elapsed = start.elapsed().as_secs_f64() * 1e3;
    // A mistake in the call is 2 with both.
    ensure!(status.code().is_some_and(|code| code != 2 || program.ends_with("rg")), "{}: {status}", program.display());
    Ok(elapsed)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
