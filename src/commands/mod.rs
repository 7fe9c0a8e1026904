// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands: each reads what it needs, calls the library, prints, and says how it ended.

mod adopt;
mod apply;
mod audit;
mod boot;
mod boot_check;
mod demo;
mod generator;
mod initrd;
mod inspect;
mod list;
mod policy;
mod reencrypt;
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

use crate::apply::{Failure, Tree};
use crate::cli::{Cli, Command, Format, Options};
use crate::guest::Guest;
use crate::guest::disks::{Disks, Missing, closed};
use crate::plan::show::Style;
use crate::plan::{Finding, Severity};
use crate::policy::{Policy, PolicyError};
use crate::regenerators;
use scratch::Scratch;

pub use generator::GENERATOR;

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
        Some(Command::Reencrypt(consent)) => reencrypt::run(options, consent),
        Some(Command::Demo) => demo::run(options),
        Some(Command::Adopt { force }) => adopt::run(options, *force),
        Some(Command::Generator { dirs }) => generator::run(options, dirs),
        Some(Command::TellClone) => generator::tell(options),
        None if options.dry_run => {
            let consent = crate::cli::Consent { yes: false };
            apply::run(
                options,
                &crate::cli::Apply { consent, force: false, renew: false, plan: None, stage: None, inside: false },
            )
        }
        None => Err(Usage("say what to do; `reseal --help` lists the commands".to_owned()).into()),
    }
}

/// The guest that the options name, and where there is only an image its tree, or an empty one to keep the run's records in.
struct Opened {
    guest: Guest,
    /// What of the guest's tree is not there.
    findings: Vec<Finding>,
    // In this order: what is open in a tree goes before the tree.
    _tree: Option<Tree>,
    _scratch: Option<Scratch>,
}

impl std::ops::Deref for Opened {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        &self.guest
    }
}

/// What a command wants of a guest inside an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// To look at it, where there is one.
    Look,
    /// To look at it.
    LookInside,
    /// To change it, where there is one.
    Change,
    /// To change it.
    ChangeInside,
}

fn open(options: &Options, access: Access) -> Result<Opened> {
    let images = options.disks();
    if images.is_empty() || options.root.is_some() {
        let mut guest = Guest::open(options.root.as_deref().unwrap_or(Path::new("/")))?;
        if !images.is_empty() {
            guest.disks = Disks::of_images(&images)?;
        }
        return Ok(Opened { guest, findings: Vec::new(), _tree: None, _scratch: None });
    }
    let mut disks = Disks::of_images(&images)?;
    let needed = matches!(access, Access::LookInside | Access::ChangeInside);
    let impossible = Tree::impossible();
    let tree = match &impossible {
        None => Tree::mount(&disks, matches!(access, Access::Change | Access::ChangeInside))?,
        Some(_) => None,
    };
    let Some(tree) = tree else {
        if needed {
            let why = impossible.unwrap_or_else(|| {
                ["no root of a guest was found".to_owned()]
                    .into_iter()
                    .chain(closed(&disks))
                    .collect::<Vec<_>>()
                    .join("; ")
            });
            return Err(Usage(format!(
                "looking for a guest in the image: {why}; what is mounted is named with --root"
            ))
            .into());
        }
        let scratch = Scratch::in_memory("image")?;
        std::fs::create_dir(scratch.0.join("etc"))?;
        let guest = Guest { disks, ..Guest::open(&scratch.0)? };
        return Ok(Opened { guest, findings: Vec::new(), _tree: None, _scratch: Some(scratch) });
    };
    let severity = |needed| if needed { Severity::Error } else { Severity::Warning };
    let finding = |one: &Missing| Finding {
        severity: severity(one.needed),
        by: "image".to_owned(),
        subject: one.subject.clone(),
        message: format!("not looked into: {}", one.why),
    };
    let findings: Vec<Finding> = tree.missing.iter().map(finding).collect();
    // What was looked at before the tree was mounted may have had a journal to replay.
    disks = Disks::of_images(&images)?;
    disks.hold_the_tree = true;
    let guest = Guest { disks, ..Guest::open(tree.path())? };
    Ok(Opened { guest, findings, _tree: Some(tree), _scratch: None })
}

/// As [`open`], with the disks of the running system where no images are named.
fn open_with_disks(options: &Options, access: Access) -> Result<Opened> {
    let mut opened = open(options, access)?;
    if options.disks().is_empty() {
        opened.guest.look_at_disks()?;
    }
    Ok(opened)
}

/// The policy that the options ask for.
fn policy(options: &Options, guest: &Guest) -> Result<Policy> {
    let mut policy = Policy::load(&guest.root, options.policy.as_deref(), &options.set)?;
    policy.select(&options.only, &options.skip)?;
    if options.root.is_none() && !options.disks().is_empty() && !guest.disks.hold_the_tree {
        // Beside an image alone there is no guest whose files could be renewed.
        policy.run.skip.extend(regenerators::OF_FILES.map(str::to_owned));
    }
    regenerators::check_residue(&policy, guest)?;
    Ok(policy)
}

/// Nothing can rewrite yet what a boot loader on an image quotes.
fn check_is_no_boot_disk(guest: &Guest, force: bool) -> Result<()> {
    match guest.disks.list.iter().find(|disk| disk.boots) {
        Some(disk) if !force && !guest.disks.hold_the_tree => bail!(
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
