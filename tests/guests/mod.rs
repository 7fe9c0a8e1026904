// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real Debian guests for tests: a userland made once, clones of it in a tenth of a second, booted by systemd-nspawn.
//!
//! Everything lies below target/guests. Every mount is made in a mount namespace of the test's own thread, so that it is
//! gone with the thread however the test ends, and nothing of it is ever seen by the machine that runs the tests.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod boot;
pub mod packages;
pub mod tree;
pub mod userland;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Set to 1, a test that cannot run here fails instead of being skipped.
const REQUIRE: &str = "RESEAL_TEST_REQUIRE";

/// What a test needs of the machine that it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// To be root, in a user namespace that may mount overlayfs.
    Root,
    /// systemd-nspawn, and a place for its control groups.
    Nspawn,
    /// A program, by name.
    Program(&'static str),
    /// The packages: made here by root, or those that RESEAL_TEST_PACKAGES names. A build takes minutes and installs
    /// programs, which an ordinary user's `cargo test` must not do unasked.
    Packages,
}

/// Whether `test` can run here. If not, that is said on standard error, or is a failure where RESEAL_TEST_REQUIRE=1.
pub fn ready(test: &str, needs: &[Need]) -> bool {
    let Some(reason) = needs.iter().find_map(missing) else { return true };
    assert!(std::env::var(REQUIRE).as_deref() != Ok("1"), "{test} cannot run here, and {REQUIRE}=1: {reason}");
    // Not eprintln!, whose output libtest swallows where a test passes.
    writeln!(std::io::stderr(), "SKIPPED: {test}: {reason}").expect("writing to standard error");
    false
}

fn missing(need: &Need) -> Option<String> {
    match *need {
        Need::Root if !nix::unistd::geteuid().is_root() => Some("needs root".into()),
        Need::Root => userland::missing(),
        Need::Packages if std::env::var_os("RESEAL_TEST_PACKAGES").is_some() || nix::unistd::geteuid().is_root() => {
            None
        }
        Need::Packages => Some("the packages are not built; RESEAL_TEST_PACKAGES names their directory".into()),
        Need::Nspawn => missing(&Need::Program("systemd-nspawn")).or_else(boot::missing_cgroup),
        Need::Program(name) => find(name).is_none().then(|| format!("{name} is not installed")),
    }
}

/// Gives the calling thread a mount namespace of its own.
pub fn own_mounts() {
    use nix::mount::{MsFlags, mount};
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("making a mount namespace");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .expect("making it private");
}

/// Where a program is, as the shell would find it.
pub fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// The repository.
pub fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// target/guests, made if it is missing.
pub fn workplace() -> PathBuf {
    let dir = source().join("target/guests");
    std::fs::create_dir_all(&dir).expect("making target/guests");
    dir
}

/// Runs a program to its end and returns its standard output; anything but success fails the test.
pub fn run(command: &mut Command) -> String {
    let output = outcome(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program to its end.
pub fn outcome(command: &mut Command) -> Output {
    command.env("LC_ALL", "C").output().unwrap_or_else(|error| panic!("starting {command:?}: {error}"))
}

/// All that a program printed.
pub fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

/// Runs `make` while no other test process does the same; the lock is a file in target/guests.
pub fn alone<T>(what: &str, make: impl FnOnce() -> T) -> T {
    let lock = std::fs::File::create(workplace().join(format!("{what}.lock"))).expect("making a lock file");
    lock.lock().expect("taking a lock");
    make()
}
