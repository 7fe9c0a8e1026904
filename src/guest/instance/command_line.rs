// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's command line: `reseal.hostname=NAME` and `reseal.ip=`, which has the syntax of the kernel's own `ip=`.

use anyhow::Result;

use super::{Told, bounded};
use crate::guest::Guest;

/// Where the kernel shows it, proc(5).
const PATH: &str = "proc/cmdline";
/// What the words begin with.
const PREFIX: &str = "reseal.";

/// What it says.
pub fn read(guest: &Guest) -> Result<Vec<Told>> {
    let mut told = Told::by("the kernel's command line");
    let text = bounded(guest, PATH)?.unwrap_or_default();
    for word in String::from_utf8_lossy(&text).split_ascii_whitespace() {
        // Behind `--` stand the words for PID 1, kernel-parameters.rst.
        if word == "--" {
            break;
        }
        if let Some((name @ ("hostname" | "ip"), value)) =
            word.strip_prefix(PREFIX).and_then(|word| word.split_once('='))
        {
            told.take(name, value.trim_matches('"').as_bytes())?;
        }
    }
    Ok(vec![told])
}
