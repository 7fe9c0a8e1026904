// SPDX-License-Identifier: MIT OR Apache-2.0
//! Credentials, systemd.exec(5): `reseal.hostname`, `reseal.ip` and `reseal.instance`. A hypervisor, a boot loader or a
//! container's own manager may have given them to PID 1; others are not looked at.

use anyhow::{Result, anyhow};

use super::{Told, bounded};
use crate::guest::Guest;
use crate::root::trim;

/// Where PID 1 keeps those of the system, systemd.system-credentials(7).
const SYSTEM: &str = "run/credentials/@system";
/// What the names begin with.
const PREFIX: &str = "reseal.";

/// What they say: those of the service first, which PID 1 has decrypted.
pub fn read(guest: &Guest) -> Result<Vec<Told>> {
    let own = std::env::var("CREDENTIALS_DIRECTORY").ok().filter(|dir| guest.running && dir.starts_with('/'));
    let mut all = Vec::new();
    for dir in own.iter().map(String::as_str).chain([SYSTEM]) {
        let dir = trim(dir);
        let mut told = Told::by("credentials");
        for file in guest.root.list(dir)? {
            let Some(name) = file.strip_prefix(PREFIX) else { continue };
            let value = bounded(guest, &format!("{dir}/{file}"))?.unwrap_or_default();
            // What is malformed may be a secret under the wrong name.
            let taken = told.take(name, &value);
            taken.map_err(|_| anyhow!("the credential {file} is malformed; it is not shown"))?;
        }
        all.push(told);
    }
    Ok(all)
}
