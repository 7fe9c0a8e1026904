// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host keys of an ordinary guest, made by reseal and by `ssh-keygen -A` in turn: medians and their ratio.
//!
//! Both write their files into a temporary directory, without fsync. `RESEAL_BENCH_ROUNDS` is the number of rounds.

use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Result, ensure};
use reseal::keys;
use reseal::plan::key::{KeySpec, SshAlgorithm};

fn main() -> Result<()> {
    let rounds = env::var("RESEAL_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(15).max(1);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(reseal()?);
        theirs.push(ssh_keygen()?);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("rsa-3072 + ecdsa-p256 + ed25519, median of {rounds}:");
    println!("  reseal        {:7.1} ms", ours * 1e3);
    println!("  ssh-keygen -A {:7.1} ms", theirs * 1e3);
    println!("  ratio         {:7.2}", ours / theirs);
    Ok(())
}

fn reseal() -> Result<Duration> {
    let dir = tempfile::tempdir()?;
    let start = Instant::now();
    let specs = [SshAlgorithm::Rsa3072, SshAlgorithm::EcdsaP256, SshAlgorithm::Ed25519]
        .map(|algorithm| KeySpec::SshHost { algorithm, comment: "root@bench".into() });
    for (number, key) in keys::make_all(&specs).into_iter().enumerate() {
        let key = key?;
        fs::write(dir.path().join(format!("{number}{}", key.companion.suffix)), &key.companion.content)?;
        fs::write(dir.path().join(number.to_string()), &*key.private)?;
    }
    Ok(start.elapsed())
}

fn ssh_keygen() -> Result<Duration> {
    let dir = tempfile::tempdir()?;
    let etc = dir.path().join("etc/ssh");
    fs::create_dir_all(&etc)?;
    let start = Instant::now();
    let output = Command::new("ssh-keygen").arg("-A").arg("-f").arg(dir.path()).output()?;
    let elapsed = start.elapsed();
    ensure!(output.status.success(), "ssh-keygen -A: {}", String::from_utf8_lossy(&output.stderr));
    for name in ["rsa", "ecdsa", "ed25519"] {
        ensure!(etc.join(format!("ssh_host_{name}_key")).exists(), "ssh-keygen -A made no {name} key");
    }
    Ok(elapsed)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}
