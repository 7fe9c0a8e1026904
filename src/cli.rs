// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line, reseal(8): words to values, nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::plan::Stage;

/// Gives a cloned Linux guest an identity of its own.
///
/// Host name, machine-id, SSH host keys and every other id that a clone must not share with its template are renewed, once,
/// by one plan that is shown first, carried out in order, and continued after a power cut.
#[derive(Debug, Parser)]
#[command(name = "reseal", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub options: Options,
    /// What to do; `--dry-run` alone is `apply --dry-run`.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Work on the guest below this directory instead of the running system
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated
    #[arg(long, global = true, value_name = "FILE")]
    pub image: Vec<PathBuf>,
    /// As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated
    #[arg(long, global = true, value_name = "DEVICE")]
    pub device: Vec<PathBuf>,
    /// Read this policy instead of the files under /etc/reseal
    #[arg(long, global = true, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Set one policy key, as in hostname.name=web-1; can be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Run only these regenerators
    #[arg(long, global = true, value_name = "ID,..", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Leave these regenerators out
    #[arg(long, global = true, value_name = "ID,..", value_delimiter = ',')]
    pub skip: Vec<String>,
    /// For people, or one JSON document on standard output
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// Show what would be done, and do nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// How much to log on standard error
    #[arg(long, global = true, value_enum, default_value_t = LogLevel::Warn, env = "RESEAL_LOG", hide_env = true)]
    pub log_level: LogLevel,
}

impl Options {
    /// The images and devices that are named.
    pub fn disks(&self) -> Vec<PathBuf> {
        self.image.iter().chain(&self.device).cloned().collect()
    }
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text, coloured on a terminal.
    Human,
    /// One JSON document.
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What a person should look at, too.
    Warn,
    /// What was done, too.
    Info,
    /// Every step, too.
    Debug,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Give the guest an identity of its own
    Apply(Apply),
    /// Make the guest generic before it is copied
    Seal(Consent),
    /// Show where the guest runs and every identity that it holds
    Inspect,
    /// Show whether everything that the boot names, from the firmware to /, is there
    BootCheck,
    /// Show whether the guest was reset, and what is still to do
    Status,
    /// List the regenerators and the catalogue, and what applies to the guest
    List,
    /// Look through every file for what is left of the identity that the guest had before
    Scan(Scan),
    /// Show, check or print policy
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Prove that the guest shares nothing with its template, and that what it was given stands and works
    Verify(Verify),
    /// Show which identities the guests of a fleet share, from their inventories
    Audit(Audit),
    /// Give the LUKS volumes that the policy scheduled volume keys of their own, which takes hours
    Reencrypt(Consent),
    /// Reset two copies of a throw-away guest in a temporary directory, and compare them
    Demo,
    /// Take the running machine as it is, so that no boot resets it (what installing the package does)
    Adopt {
        /// Also where the stamp is of another machine, as after a backup was restored into a new one
        #[arg(long)]
        force: bool,
    },
    /// What systemd starts in every boot, systemd.generator(7)
    #[command(hide = true)]
    Generator {
        /// Where it may write.
        #[arg(value_name = "DIR")]
        dirs: Vec<PathBuf>,
    },
    /// Say so where the stamp is not of this machine
    #[command(hide = true)]
    TellClone,
}

/// `reseal apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// Whether to ask.
    #[command(flatten)]
    pub consent: Consent,
    /// Lift a refusal; a machine that has its identity keeps it
    #[arg(long)]
    pub force: bool,
    /// Give a machine that has an identity a new one
    #[arg(long)]
    pub renew: bool,
    /// Apply exactly this plan, as `--dry-run --format json` printed it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "stage"])]
    pub plan: Option<PathBuf>,
    /// Run as the boot unit of this stage does, without asking
    #[arg(long, value_enum)]
    pub stage: Option<Stage>,
    /// The process of the stage `initrd` that has the root as its `/`.
    #[arg(long, hide = true, requires = "stage")]
    pub inside: bool,
}

/// `reseal verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The template's inventory, as `inspect --format json` prints it, instead of what `seal` left
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// What the guest may share with its template: a kind of identity, or one value of it; can be repeated
    #[arg(long, value_name = "KIND[=VALUE]")]
    pub allow: Vec<String>,
}

/// `reseal audit`.
#[derive(Debug, Args)]
pub struct Audit {
    /// Inventories, as `inspect --format json` prints them: files, directories of them, or `-` for standard input
    #[arg(required = true, value_name = "INVENTORY")]
    pub inventories: Vec<PathBuf>,
    /// What guests may share: a kind of identity, or one value of it; can be repeated
    #[arg(long, value_name = "KIND[=VALUE]")]
    pub allow: Vec<String>,
    /// Write the report to this file, too, as a page that opens without a network
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Whether to ask before something is changed.
#[derive(Debug, Args)]
pub struct Consent {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// `reseal scan`.
#[derive(Debug, Args)]
pub struct Scan {
    /// Look for this value too, as in hostname=web-1; can be repeated
    #[arg(long, value_name = "KIND=VALUE")]
    pub old: Vec<String>,
    /// Look for the values in this file too, KIND=VALUE a line; can be repeated
    #[arg(long, value_name = "FILE")]
    pub values: Vec<PathBuf>,
    /// Look for what another guest is too, as `reseal inspect --format json` printed it there; can be repeated
    #[arg(long, value_name = "FILE")]
    pub against: Vec<PathBuf>,
    /// Look for the named values only, not for those that the guest's own records say it had before
    #[arg(long)]
    pub no_records: bool,
    /// Look inside files that gzip, xz or zstd packed, too, initramfs images among them
    #[arg(long)]
    pub compressed: bool,
    /// Instead, look for what seems to be an identity of this installation and neither the catalogue nor a regenerator knows
    #[arg(long, conflicts_with_all = ["old", "values", "against", "no_records", "compressed"])]
    pub suspect: bool,
}

/// `reseal policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum PolicyCommand {
    /// Show every setting in force
    Show,
    /// Check every policy file, and say which were read
    Check,
    /// Print the shipped policy: every setting, explained
    Default,
}
