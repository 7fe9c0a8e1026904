// SPDX-License-Identifier: MIT OR Apache-2.0
//! VMware's `guestinfo.reseal.hostname`, `guestinfo.reseal.ip` and `guestinfo.reseal.instance`, in base64 where
//! `guestinfo.reseal.instance.encoding` says so. They are read by the program of open-vm-tools, which asks the hypervisor.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{LARGEST, Told};
use crate::guest::Guest;

/// The word of systemd-detect-virt(1).
const TECHNOLOGY: &str = "vmware";
/// The program, vmware-rpctool(1).
const PROGRAMS: [&str; 2] = ["/usr/bin/vmware-rpctool", "/usr/sbin/vmware-rpctool"];
/// How long it may take.
const LONGEST: Duration = Duration::from_secs(3);

/// What they say.
pub fn read(guest: &Guest) -> Result<Vec<Told>> {
    let is_vmware = guest.running && guest.machine.technology.as_deref() == Some(TECHNOLOGY);
    let Some(program) = PROGRAMS.iter().find(|path| is_vmware && std::path::Path::new(path).exists()) else {
        return Ok(Vec::new());
    };
    let ask = |key: &str| ask(program, &format!("info-get guestinfo.reseal.{key}"));
    let mut told = Told::by("VMware's guestinfo");
    for name in ["hostname", "ip"] {
        if let Some(value) = ask(name)? {
            told.take(name, &value)?;
        }
    }
    if let Some(value) = ask("instance")? {
        match ask("instance.encoding")?.unwrap_or_default().trim_ascii() {
            b"" => told.take("instance", &value)?,
            b"base64" | b"b64" => told.take_base64("instance", &value)?,
            _ => bail!("guestinfo.reseal.instance.encoding is not base64"),
        }
    }
    Ok(vec![told])
}

/// What the program answers; `None` where it fails, which it does for every key that is not set.
fn ask(program: &str, question: &str) -> Result<Option<Vec<u8>>> {
    let mut child = Command::new(program)
        .arg(question)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("running {program}"))?;
    let stdout = child.stdout.take().context("no stdout")?;
    // Read beside the waiting, so that a long answer does not wait for a reader.
    let reader = std::thread::spawn(move || {
        let mut answer = Vec::new();
        stdout.take(LARGEST as u64 + 1).read_to_end(&mut answer).map(|_| answer)
    });
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > LONGEST {
            child.kill()?;
            child.wait()?;
            bail!("running {program}: no end after {} s", LONGEST.as_secs());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let answer = reader.join().ok().and_then(Result::ok).unwrap_or_default();
    let answer = answer.strip_suffix(b"\n").map_or(answer.clone(), <[u8]>::to_vec);
    Ok((status.success() && !answer.is_empty()).then_some(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_the_program_prints_and_a_failure_is_none() {
        assert_eq!(ask("/bin/echo", "web-1").unwrap().as_deref(), Some(&b"web-1"[..]));
        assert_eq!(ask("/bin/cat", "/nonexistent/x").unwrap(), None);
        assert!(ask("/nonexistent/program", "").is_err());
    }
}
