// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal apply --stage initrd --root DIR`: the first stage of a boot, started by the initramfs, where DIR is what will be `/`.
//!
//! What it does is done by the same command once more, which has DIR as its `/` and runs as any stage does. Where that one
//! finds that ids of the root file system itself are to change, it prepares all that names them and ends; this one then
//! takes the root away for as long as it takes, and has the other finish the files.

use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum as _;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use super::{Exit, Usage, boot};
use crate::apply::{self, Request, RootMounts};
use crate::cli::Options;
use crate::plan::Stage;

/// How long the process that works on the root may take; then the boot goes on without it.
const MOST: Duration = Duration::from_secs(100);

/// Runs the stage; `inside` is the process that has the root as its `/`.
pub fn run(options: &Options, inside: bool) -> Result<Exit> {
    let Some(root) = options.root.clone().filter(|root| root.is_absolute() && root != Path::new("/")) else {
        return Err(Usage("--stage initrd wants --root with the directory where the root is mounted".to_owned()).into());
    };
    // Anywhere else the disks are another system's.
    if !apply::is_initramfs()? {
        return Err(Usage("--stage initrd is for an initramfs, and this is none".to_owned()).into());
    }
    if inside {
        apply::enter_root(&root)?;
        return boot::run(&Options { root: None, ..options.clone() }, Stage::Initrd);
    }
    apply::tell_boot_of_initramfs()?;
    // Nothing waits in an initramfs: a seed that could be guessed is no seed, and the next boot has a pool.
    if !apply::pool_is_ready() {
        eprintln!("reseal: the kernel's random pool is not ready, so the root file system keeps its ids in this boot");
        return Ok(Exit::Done);
    }
    println!("reseal: looking at the root file system");
    let mounts = RootMounts::at(&root)?;
    let exit = both_passes(&root, &mounts, options);
    mounts.as_it_was()?;
    let exit = exit?;
    println!("reseal: done with the root file system, after {} ms of processor time", processor_time()?);
    Ok(exit)
}

/// That of this process and of those that it has waited for, in milliseconds.
fn processor_time() -> Result<i64> {
    let mut sum = 0;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        sum += usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds();
    }
    Ok(sum)
}

fn both_passes(root: &Path, mounts: &RootMounts, options: &Options) -> Result<Exit> {
    Request::settle()?;
    let first = inner(root, options)?;
    let Some(request) = Request::pending()? else { return Ok(of(first)) };
    match request.carry_out(mounts).context("setting the ids of the root file system") {
        Ok(()) => Request::settle()?,
        Err(error) => {
            eprintln!("reseal: {error:#}");
            request.fail(format!("{error:#}"))?;
        }
    }
    let second = inner(root, options)?;
    Request::settle()?;
    Ok(of(second))
}

fn of(status: ExitStatus) -> Exit {
    if status.success() { Exit::Done } else { Exit::Failed }
}

/// Why ids of these devices, which are the root's, could not be set, if that was tried in this boot.
pub fn failed() -> Result<Option<(Vec<String>, String)>> {
    Ok(Request::pending()?.and_then(|request| Some((request.devices(), request.failed?))))
}

fn inner(root: &Path, options: &Options) -> Result<ExitStatus> {
    let level = options.log_level.to_possible_value();
    let mut child = Command::new("/proc/self/exe")
        .args(["apply", "--stage", "initrd", "--inside", "--root"])
        .arg(root)
        .env("RESEAL_LOG", level.as_ref().map_or("warn", |level| level.get_name()))
        .spawn()
        .context("starting the process that works on the root")?;
    wait(&mut child)
}

fn wait(child: &mut Child) -> Result<ExitStatus> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if started.elapsed() >= MOST {
            child.kill()?;
            child.wait()?;
            bail!("{MOST:?} were not enough");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
