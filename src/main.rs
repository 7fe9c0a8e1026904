// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program: parse, call, exit status.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use reseal::cli::{Cli, LogLevel};
use reseal::commands;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

fn main() -> ExitCode {
    let cli = Cli::parse_from(words());
    log(cli.options.log_level);
    ExitCode::from(commands::run(&cli) as u8)
}

/// The command line; systemd starts the generator by its name, and gives it directories.
fn words() -> Vec<OsString> {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    if words.first().is_some_and(|name| Path::new(name).file_name() == Some(commands::GENERATOR.as_ref())) {
        words.insert(1, "generator".into());
    }
    words
}

/// Under systemd the journal gets events with their fields; elsewhere standard error gets lines.
fn log(level: LogLevel) {
    let most = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // systemd.exec(5): set when standard output or error is connected to the journal.
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    match journal {
        Some(journal) => tracing_subscriber::registry().with(most.max(LevelFilter::INFO)).with(journal).init(),
        None => {
            let lines = tracing_subscriber::fmt::layer().without_time().with_target(false).with_writer(std::io::stderr);
            tracing_subscriber::registry().with(most).with(lines).init();
        }
    }
}
