// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands: each reads what it needs, calls the library, prints, and says how it ended.

mod adopt;
mod apply;
mod audit;
mod boot;
mod boot_check;
mod demo;
mod inspect;
mod list;
mod policy;
mod scan;
mod scratch;
mod seal;
mod status;
mod verify;

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::unistd::geteuid;
use serde::Serialize;

use crate::apply::Failure;
use crate::cli::{Cli, Command, Format, Options};
use crate::guest::Guest;
use crate::guest::disks::Disks;
use crate::plan::show::Style;
use crate::policy::{Policy, PolicyError};
use crate::regenerators;
use scratch::Scratch;

/// How a command ended; the number is the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// Failed, with nothing to resume.
    Failed = 1,
    /// A mistake on the command line or in the policy.
    Usage = 2,
    /// Stopped on the way, the journal is kept.
    Stopped = 3,
    /// Verification found leftovers.
    Leftovers = 4,
}

/// Says what was wrong with the call itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Runs a command, and prints its error on standard error.
pub fn run(cli: &Cli) -> Exit {
    match dispatch(cli) {
        Ok(exit) => exit,
        Err(error) => {
            let denied = error.chain().any(|cause| cause.downcast_ref() == Some(&Errno::EACCES));
            let hint = if denied && !geteuid().is_root() { " (root may do this)" } else { "" };
            eprintln!("reseal: {error:#}{hint}");
            exit_of(&error)
        }
    }
}

fn exit_of(error: &anyhow::Error) -> Exit {
    if error.chain().any(|cause| cause.is::<PolicyError>() || cause.is::<Usage>()) {
        return Exit::Usage;
    }
    match error.downcast_ref::<Failure>() {
        Some(Failure::Stopped(_)) => Exit::Stopped,
        _ => Exit::Failed,
    }
}

fn dispatch(cli: &Cli) -> Result<Exit> {
    let options = &cli.options;
    match &cli.command {
        Some(Command::Apply(apply)) => apply::run(options, apply),
        Some(Command::Seal(consent)) => seal::run(options, consent),
        Some(Command::Inspect) => inspect::run(options),
        Some(Command::BootCheck) => boot_check::run(options),
        Some(Command::Status) => status::run(options),
        Some(Command::List) => list::run(options),
        Some(Command::Policy(command)) => policy::run(options, *command),
        Some(Command::Verify(verify)) => verify::run(options, verify),
        Some(Command::Audit(audit)) => audit::run(options, audit),
        Some(Command::Scan(scan)) => scan::run(options, scan),
        Some(Command::Demo) => demo::run(options),
        Some(Command::Adopt) => adopt::run(options),
        None if options.dry_run => {
            let consent = crate::cli::Consent { yes: false };
            apply::run(options, &crate::cli::Apply { consent, force: false, renew: false, plan: None, stage: None })
        }
        None => Err(Usage("say what to do; `reseal --help` lists the commands".to_owned()).into()),
    }
}

/// The guest that the options name, and where there is only an image an empty tree to keep the run's records in.
struct Opened {
    guest: Guest,
    _scratch: Option<Scratch>,
}

impl std::ops::Deref for Opened {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        &self.guest
    }
}

fn open(options: &Options) -> Result<Opened> {
    let scratch = match (&options.root, &options.image[..]) {
        (None, [_, ..]) => {
            let scratch = Scratch::in_memory("image")?;
            std::fs::create_dir(scratch.0.join("etc"))?;
            Some(scratch)
        }
        _ => None,
    };
    let root = scratch.as_ref().map(|scratch| scratch.0.as_path()).or(options.root.as_deref());
    let mut guest = Guest::open(root.unwrap_or(Path::new("/")))?;
    if !options.image.is_empty() {
        guest.disks = Disks::of_images(&options.image)?;
    }
    Ok(Opened { guest, _scratch: scratch })
}

/// As [`open`], with the disks of the running system where no images are named.
fn open_with_disks(options: &Options) -> Result<Opened> {
    let mut opened = open(options)?;
    if options.image.is_empty() {
        opened.guest.look_at_disks()?;
    }
    Ok(opened)
}

/// The policy that the options ask for.
fn policy(options: &Options, guest: &Guest) -> Result<Policy> {
    let mut policy = Policy::load(&guest.root, options.policy.as_deref(), &options.set)?;
    policy.select(&options.only, &options.skip)?;
    if options.root.is_none() && !options.image.is_empty() {
        // Beside an image alone there is no guest whose files could be renewed.
        policy.run.skip.extend(regenerators::OF_FILES.map(str::to_owned));
    }
    regenerators::check_residue(&policy, guest)?;
    Ok(policy)
}

/// Nothing can rewrite yet what a boot loader on an image quotes.
fn check_is_no_boot_disk(guest: &Guest, force: bool) -> Result<()> {
    match guest.disks.list.iter().find(|disk| disk.boots) {
        Some(disk) if !force => bail!(
            "{} boots a machine, and its boot loader's quotes of the ids would not follow; `apply --force` goes ahead",
            disk.path
        ),
        _ => Ok(()),
    }
}

/// A directory that is to be changed must be a guest's root: an empty mount point is not.
fn check_is_guest(guest: &Guest) -> Result<()> {
    if guest.root.stat("etc")?.is_none() {
        bail!("{} has no /etc: it is no guest's root, or is not mounted", guest.root.path().display());
    }
    Ok(())
}

/// Prints one JSON document.
fn print_json(document: &impl Serialize) -> Result<()> {
    print(&(serde_json::to_string_pretty(document)? + "\n"))
}

/// Prints to standard output; a reader that has gone away is no failure.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("writing to standard output"),
    }
}

/// A word to the person: on standard output, or beside it where that is for one JSON document.
fn say(options: &Options, text: &str) -> Result<()> {
    if is_human(options) {
        return print(text);
    }
    eprint!("{text}");
    Ok(())
}

fn style() -> Style {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Style { colour }
}

/// Asks at a terminal; without one, and without `--yes`, nothing is changed.
fn ask(yes: bool, question: &str) -> Result<bool> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Usage("no terminal to ask at; `--yes` goes ahead without asking".to_owned()).into());
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Is the output for people?
fn is_human(options: &Options) -> bool {
    options.format == Format::Human
}
