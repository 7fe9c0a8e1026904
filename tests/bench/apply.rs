// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole commands on a Debian tree with three host keys, beside `ssh-keygen -A` for the same types, in turn.
//!
//! Prints medians, ratios and the peak memory of the program; `RESEAL_BENCH_ROUNDS` is the number of rounds.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};

fn main() -> Result<()> {
    let rounds: usize = std::env::var("RESEAL_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(15).max(1);
    let mut times: [Vec<f64>; 4] = Default::default();
    let mut peak = 0;
    for _ in 0..rounds {
        let dir = tempfile::tempdir()?;
        let root = dir.path().join("guest");
        make(&root)?;
        let path = root.to_string_lossy().into_owned();
        times[0].push(time(env!("CARGO_BIN_EXE_reseal"), &["--dry-run", "--root", &path])?);
        times[1].push(time(env!("CARGO_BIN_EXE_reseal"), &["apply", "--skip", "ssh-host-keys", "--root", &path])?);
        let again = dir.path().join("again");
        make(&again)?;
        times[2].push(time(env!("CARGO_BIN_EXE_reseal"), &["apply", "--root", &again.to_string_lossy()])?);
        if peak == 0 {
            // Only our own program has run so far, so that the largest child is one of it; kB, getrusage(2).
            peak = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
        }
        let theirs = dir.path().join("theirs");
        fs::create_dir_all(theirs.join("etc/ssh"))?;
        times[3].push(time("ssh-keygen", &["-q", "-A", "-f", &theirs.to_string_lossy()])?);
    }
    let [dry, rest, all, theirs] = times.map(median);
    println!("a Debian tree with rsa-3072, ecdsa-p256 and ed25519 host keys, medians of {rounds}:");
    println!("  reseal --dry-run                    {dry:8.1} ms");
    println!("  reseal apply, without host keys     {rest:8.1} ms");
    println!("  reseal apply                        {all:8.1} ms");
    println!("  ssh-keygen -A, the same three types {theirs:8.1} ms");
    println!("  reseal apply / ssh-keygen -A        {:8.2}", all / theirs);
    println!("  peak memory of reseal               {:8.1} MB", peak as f64 / 1024.0);
    Ok(())
}

fn time(program: &str, arguments: &[&str]) -> Result<f64> {
    let start = Instant::now();
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status()?;
    let elapsed = start.elapsed().as_secs_f64() * 1e3;
    ensure!(status.success(), "{program} {arguments:?}: {status}");
    Ok(elapsed)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// What a Debian installation leaves. The old keys are only named by their files here: reading them is part of the work,
/// making them is not.
fn make(root: &Path) -> Result<()> {
    let files: [(&str, u32, &[u8]); 8] = [
        ("etc/machine-id", 0o444, b"0123456789abcdef0123456789abcdef\n"),
        ("etc/hostname", 0o644, b"template\n"),
        ("etc/hosts", 0o644, b"127.0.0.1\tlocalhost\n127.0.1.1\ttemplate.example.com template\n"),
        ("etc/mailname", 0o644, b"template.example.com\n"),
        ("etc/ssh/sshd_config", 0o644, b"Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n"),
        ("var/lib/systemd/random-seed", 0o600, &[7; 512]),
        ("var/lib/systemd/credential.secret", 0o400, &[8; 4096]),
        ("var/lib/dhcp/dhclient.eth0.leases", 0o644, b"lease { }\n"),
    ];
    for (path, mode, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    for family in ["rsa", "ecdsa", "ed25519"] {
        let path = root.join(format!("etc/ssh/ssh_host_{family}_key"));
        fs::write(&path, "")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
    fs::create_dir_all(root.join("var/lib/dbus"))?;
    symlink("/etc/machine-id", root.join("var/lib/dbus/machine-id"))?;
    Ok(())
}
