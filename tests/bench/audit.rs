// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal audit` on a synthetic fleet, beside jq(1) reading the same documents; its time and peak memory.
//!
//! `RESEAL_BENCH_GUESTS` is the size of the fleet; `RESEAL_BENCH_SHARE` what they share: `few` (one guest in a hundred is a
//! copy of the one before), `pairs` (every second one is) or `all`.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;

fn main() -> Result<()> {
    let guests: u64 = std::env::var("RESEAL_BENCH_GUESTS").ok().map_or(Ok(20_000), |n| n.parse())?;
    let share = std::env::var("RESEAL_BENCH_SHARE").unwrap_or_else(|_| "few".to_owned());
    let dir = tempfile::tempdir()?;
    let fleet = dir.path().join("fleet.ndjson");
    let copies = make(&fleet, guests, &share)?;
    let size = fs::metadata(&fleet)?.len();
    let report = dir.path().join("report.json");
    let page = dir.path().join("page.html");
    let path = fleet.to_string_lossy();
    let start = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_reseal"))
        .args(["audit", "--format", "json", "--html", &page.to_string_lossy(), &path])
        .stdout(File::create(&report)?)
        .status()?;
    let ours = start.elapsed().as_secs_f64();
    // Only our own program has run so far; kB, getrusage(2).
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    ensure!(status.code() == Some(4), "reseal audit: {status}");
    check(&report, guests, copies)?;
    println!("a fleet of {guests} guests with 20 ids each, {:.0} MB, {share} shared:", size as f64 / 1e6);
    println!("  reseal audit                        {ours:8.2} s");
    println!("  guests a second                     {:8.0}", guests as f64 / ours);
    println!("  peak memory of reseal audit         {:8.1} MB", peak as f64 / 1024.0);
    println!("  report and page                     {:8.1} MB", (len(&report)? + len(&page)?) as f64 / 1e6);
    let start = Instant::now();
    match Command::new("jq").args(["-c", ".identities[].value", &path]).stdout(Stdio::null()).status() {
        Ok(status) => {
            ensure!(status.success(), "jq: {status}");
            let theirs = start.elapsed().as_secs_f64();
            println!("  jq, reading the values alone        {theirs:8.2} s");
            println!("  reseal audit / jq                   {:8.2}", ours / theirs);
        }
        Err(_) => println!("  jq is not installed"),
    }
    Ok(())
}

fn len(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path)?.len())
}

/// Is every copy found, and nothing else?
fn check(report: &Path, guests: u64, copies: u64) -> Result<()> {
    if guests > 200_000 {
        return Ok(());
    }
    let report: Value = serde_json::from_slice(&fs::read(report)?)?;
    ensure!(report["guests"] == guests, "{}", report["guests"]);
    let shared = report["shared"].as_array().context("reading the report")?;
    let members: usize = shared.iter().filter_map(|one| Some(one["guests"].as_array()?.len() - 1)).sum();
    ensure!(members as u64 == copies * 20, "{members} values are shared, not {}", copies * 20);
    Ok(())
}

/// Writes a fleet, a document a line as `reseal inspect --format json | jq -c` gives it, and says how many are copies.
fn make(path: &Path, guests: u64, share: &str) -> Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut copies = 0;
    for number in 0..guests {
        let of = match share {
            "few" if number % 100 == 99 => number - 1,
            "few" => number,
            "pairs" => number / 2 * 2,
            "all" => 0,
            _ => bail!("RESEAL_BENCH_SHARE is few, pairs or all"),
        };
        copies += u64::from(of != number);
        document(&mut out, number, of)?;
    }
    out.flush()?;
    Ok(copies)
}

fn document(out: &mut impl std::io::Write, number: u64, of: u64) -> Result<()> {
    let hex = |at: u64| {
        // splitmix64, Steele and others 2014: no two of a run are equal.
        let mix = |mut x: u64| {
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        };
        let seed = (of * 32 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{:016x}{:016x}", mix(seed), mix(!seed))
    };
    let uuid = |at| {
        let hex: String = hex(at);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    };
    write!(
        out,
        "{{\"version\":1,\"guest\":\"guest-{number}\",\"machine\":{{\"place\":\"vm\",\"technology\":\"kvm\",\
         \"hypervisor-type\":1,\"smbios-uuid\":null,\"smbios-serial\":null,\"vendor\":\"QEMU\",\"product\":\"Standard PC\",\
         \"generation-id\":null,\"disks\":[{{\"name\":\"vda\",\"serial\":null,\"wwid\":null}}],\"links\":[]}},\"disks\":[\
         {{\"path\":\"/dev/vda\",\"boots\":true,\"parts\":[]}}],\"links\":[],\"identities\":["
    )?;
    let mut identity = |kind: &str, subject: &str, value: &str| {
        let before = if kind == "machine-id" { "" } else { "," };
        write!(out, "{before}{{\"kind\":\"{kind}\",\"subject\":\"{subject}\",\"value\":\"{value}\"}}")
    };
    identity("machine-id", "system", &hex(0))?;
    identity("hostname", "static", &format!("host-{of}"))?;
    identity("hostname", "full", &format!("host-{of}.example.com"))?;
    for (at, family) in (1..).zip(["rsa", "ecdsa", "ed25519"]) {
        let digest = format!("SHA256:{}{}", hex(at), &hex(at + 10)[..11]);
        identity("ssh-host-key", &format!("/etc/ssh/ssh_host_{family}_key"), &digest)?;
    }
    let mac = hex(4);
    identity("mac-address", "eth0", &format!("52:54:{}:{}:{}:{}", &mac[..2], &mac[2..6], &mac[6..10], &mac[10..14]))?;
    for (at, kind) in (5..).zip(["fs-uuid", "fs-uuid", "fs-uuid", "swap-uuid", "luks-uuid", "lvm-uuid"]) {
        identity(kind, &format!("/dev/vda{at}"), &uuid(at))?;
    }
    for at in 20..24 {
        identity("partition-id", &format!("/dev/vda{}", at - 19), &uuid(at))?;
    }
    identity("disk-id", "/dev/vda", &uuid(24))?;
    identity("residue", "/var/lib/systemd/random-seed", &(hex(25) + &hex(26)))?;
    identity("pgp-key", "/etc/repository/signing-key.asc", &hex(27))?;
    writeln!(out, "],\"findings\":[]}}")?;
    Ok(())
}
