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

/// How many of them the fifth tree has.
const CONNECTIONS: usize = 200;

fn main() -> Result<()> {
    let rounds: usize = std::env::var("RESEAL_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(15).max(1);
    let mut times: [Vec<f64>; 5] = Default::default();
    let mut peak = 0;
    for _ in 0..rounds {
        let dir = tempfile::tempdir()?;
        let root = dir.path().join("guest");
        make(&root)?;
        let path = root.to_string_lossy().into_owned();
        times[0].push(time(env!("CARGO_BIN_EXE_reseal"), &["--dry-run", "--root", &path])?);
        times[1].push(time(env!("CARGO_BIN_EXE_reseal"), &["apply", "--skip", "ssh-host-keys", "--root", &path])?);
        let wired = dir.path().join("wired");
        make(&wired)?;
        connect(&wired)?;
        times[4].push(time(env!("CARGO_BIN_EXE_reseal"), &["--dry-run", "--root", &wired.to_string_lossy()])?);
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
    let [dry, rest, all, theirs, wired] = times.map(median);
    println!("a Debian tree with rsa-3072, ecdsa-p256 and ed25519 host keys, medians of {rounds}:");
    println!("  reseal --dry-run                    {dry:8.1} ms");
    println!("  reseal --dry-run, {CONNECTIONS} connections  {wired:8.1} ms");
    println!("  ratio with and without them         {:8.2}", wired / dry);
    println!("  reseal apply, without host keys     {rest:8.1} ms");
    println!("  reseal apply                        {all:8.1} ms");
    println!("  ssh-keygen -A, the same three types {theirs:8.1} ms");
    println!("  reseal apply / ssh-keygen -A        {:8.2}", all / theirs);
    println!("  peak memory of reseal               {:8.1} MB", peak as f64 / 1024.0);
    Ok(())
}

/// Connections of NetworkManager, each with an address, a gateway and a pinned MAC address.
fn connect(root: &Path) -> Result<()> {
    let dir = root.join("etc/NetworkManager/system-connections");
    fs::create_dir_all(&dir)?;
    for number in 0..CONNECTIONS {
        let text = format!(
            "[connection]\nid=link{number}\nuuid={number}\ntype=ethernet\ninterface-name=link{number}\n\n[ethernet]\n\
             cloned-mac-address=52:54:00:11:22:{number:02x}\n\n[ipv4]\naddress1=10.1.{number}.7/24,10.1.{number}.1\n\
             dns=10.1.{number}.53;\nmethod=manual\n\n[ipv6]\nmethod=auto\n\n[proxy]\n"
        );
        let path = dir.join(format!("link{number}.nmconnection"));
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
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
