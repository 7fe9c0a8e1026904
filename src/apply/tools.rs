// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of the guest that reseal starts: found in fixed directories, never through a shell, never for ever.

use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use zeroize::Zeroizing;

/// Where programs are looked for; `$PATH` is not asked.
const DIRECTORIES: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
/// How long one may take.
const LONGEST: Duration = Duration::from_secs(30);
/// How often one is looked after, and one that takes hours.
const LOOK: Duration = Duration::from_millis(5);
const LOOK_SELDOM: Duration = Duration::from_millis(250);
/// How much of what it said goes into the error, in bytes.
const TAIL: usize = 400;
/// How long the pipes of one that has ended may stay open.
const DAEMON: Duration = Duration::from_secs(1);

/// Runs a program of the running system to its end.
///
/// # Errors
/// When it is not there, takes longer than 30 s, or fails; with the tail of its stderr.
pub fn run(name: &str, arguments: &[&str]) -> Result<()> {
    Program { name, arguments, ..Program::default() }.run().map(drop)
}

/// Is there such a program?
pub fn exists(name: &str) -> bool {
    find(name).is_some()
}

fn find(name: &str) -> Option<String> {
    if name.starts_with('/') {
        return Path::new(name).is_file().then(|| name.to_owned());
    }
    DIRECTORIES.iter().map(|dir| format!("{dir}/{name}")).find(|path| Path::new(path).exists())
}

/// A program and what it is given.
#[derive(Debug, Default)]
pub struct Program<'a> {
    /// Its name in one of the fixed directories, or its absolute path.
    pub name: &'a str,
    /// Its arguments; they are no secret.
    pub arguments: &'a [&'a str],
    /// What it reads from its standard input, through a pipe.
    pub input: &'a [u8],
    /// User and group that it runs as; those of this program where none are given.
    pub owner: Option<(u32, u32)>,
    /// `HOME` and `GNUPGHOME`, and where it stands.
    pub home: Option<&'a Path>,
    /// May it take as long as it wants?
    pub patient: bool,
}

impl Program<'_> {
    /// Runs it to its end; what it wrote to its standard output.
    ///
    /// # Errors
    /// When it is not there, takes longer than 30 s and is not patient, or fails; with the tail of its stderr.
    pub fn run(&self) -> Result<Vec<u8>> {
        self.finish().with_context(|| format!("running {} {}", self.name, self.arguments.join(" ")))
    }

    fn finish(&self) -> Result<Vec<u8>> {
        let mut command = Command::new(find(self.name).context("no such program")?);
        command.args(self.arguments).env_clear().env("LC_ALL", "C").env("PATH", DIRECTORIES.join(":"));
        if let Some(home) = self.home {
            command.env("HOME", home).env("GNUPGHOME", home).current_dir(home);
        }
        if let Some((uid, gid)) = self.owner.filter(|(uid, _)| nix::unistd::geteuid().as_raw() != *uid) {
            command.uid(uid).gid(gid);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else { bail!("no pipes") };
        // Read beside the waiting, so that a talkative program does not wait for a reader.
        let (said, complaint) = (collect(stdout), collect(stderr));
        let input = Zeroizing::new(self.input.to_vec());
        // One that does not want its input says with its status what it thinks of it.
        let writer = thread::spawn(move || drop(stdin.write_all(&input)));
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() > LONGEST && !self.patient {
                child.kill()?;
                child.wait()?;
                bail!("no end after {} s", LONGEST.as_secs());
            }
            thread::sleep(if self.patient { LOOK_SELDOM } else { LOOK });
        };
        let _ = writer.join();
        if status.success() {
            return Ok(text(&said, usize::MAX));
        }
        let tail = String::from_utf8_lossy(&text(&complaint, TAIL)).trim().replace('\n', "; ");
        bail!("{status}: {tail}")
    }
}

/// What a program has written so far.
type Said = Arc<Mutex<Vec<u8>>>;

/// Reads a pipe to its end. A daemon that the program leaves behind may hold it open, so nobody waits for that for ever.
fn collect(mut pipe: impl Read + Send + 'static) -> (Said, mpsc::Receiver<()>) {
    let said = Said::default();
    let (done, end) = mpsc::channel();
    let into = Arc::clone(&said);
    thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut part) {
            if let Ok(mut into) = into.lock() {
                into.extend_from_slice(&part[..length]);
            }
        }
        drop(done);
    });
    (said, end)
}

/// What was said in the end, at most the last so many bytes of it.
fn text((said, end): &(Said, mpsc::Receiver<()>), most: usize) -> Vec<u8> {
    let _ = end.recv_timeout(DAEMON);
    let said = said.lock().map(|said| said.clone()).unwrap_or_default();
    said[said.len().saturating_sub(most)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_what_the_program_said() {
        run("true", &[]).unwrap();
        assert!(format!("{:#}", run("ls", &["/nonexistent/x"]).unwrap_err()).contains("No such file"));
        let program = Program { name: "cat", input: &[b'x'; 200_000], ..Program::default() };
        assert_eq!(program.run().unwrap(), [b'x'; 200_000]);
        run("/usr/bin/env", &["true"]).unwrap();
        for name in ["no-such-program", "/no/such/program", "/usr/bin"] {
            assert!(format!("{:#}", run(name, &[]).unwrap_err()).contains("no such program"));
        }
    }
}
