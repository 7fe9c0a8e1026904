// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file that whoever made the clone put into it: /etc/reseal/instance.toml.

use anyhow::{Context as _, Result};

use super::{Told, bounded};
use crate::guest::Guest;

/// Where it is.
pub const PATH: &str = "etc/reseal/instance.toml";

/// What it says.
pub fn read(guest: &Guest) -> Result<Vec<Told>> {
    let Some(bytes) = bounded(guest, PATH)? else { return Ok(Vec::new()) };
    let mut told = Told::by(format!("/{PATH}"));
    told.take("instance", &bytes).with_context(|| format!("/{PATH}"))?;
    Ok(vec![told])
}
