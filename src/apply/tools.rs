// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of the guest that reseal starts: found in fixed directories, never through a shell, never for ever.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Where programs are looked for; `$PATH` is not asked.
const DIRECTORIES: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
/// How long one may take.
const LONGEST: Duration = Duration::from_secs(30);
/// How much of what it said goes into the error, in bytes.
const TAIL: usize = 400;

/// Runs a program of the running system to its end.
///
/// # Errors
/// When it is not there, takes longer than 30 s, or fails; with the tail of its stderr.
pub fn run(name: &str, arguments: &[&str]) -> Result<()> {
    let line = format!("{name} {}", arguments.join(" "));
    finish(name, arguments).with_context(|| format!("running {line}"))
}

/// Is there such a program?
pub fn exists(name: &str) -> bool {
    find(name).is_some()
}

fn find(name: &str) -> Option<String> {
    DIRECTORIES.iter().map(|dir| format!("{dir}/{name}")).find(|path| std::path::Path::new(path).exists())
}

fn finish(name: &str, arguments: &[&str]) -> Result<()> {
    let path = find(name).context("no such program")?;
    let mut child = Command::new(path)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", DIRECTORIES.join(":"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    // Read beside the waiting, so that a talkative program does not wait for a reader.
    let mut stderr = child.stderr.take().context("no stderr")?;
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = stderr.read_to_end(&mut text);
        read.map(|_| text)
    });
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > LONGEST {
            child.kill()?;
            child.wait()?;
            bail!("no end after {} s", LONGEST.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if status.success() {
        return Ok(());
    }
    let text = reader.join().ok().and_then(Result::ok).unwrap_or_default();
    let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL)..]).trim().replace('\n', "; ");
    bail!("{status}: {tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_what_the_program_said() {
        run("true", &[]).unwrap();
        assert!(format!("{:#}", run("ls", &["/nonexistent/x"]).unwrap_err()).contains("No such file"));
        assert!(format!("{:#}", run("no-such-program", &[]).unwrap_err()).contains("no such program"));
    }
}
