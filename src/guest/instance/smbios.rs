// SPDX-License-Identifier: MIT OR Apache-2.0
//! Strings of SMBIOS tables, type 1 (system) and type 11 (OEM strings): `reseal:hostname=NAME`, `reseal:ip=` and
//! `reseal:instance=`, and the credentials among them for kernels and systemds that take none from there.

use anyhow::{Context as _, Result};

use super::Told;
use crate::formats::smbios;
use crate::guest::Guest;

/// The tables as firmware made them, for root only.
const PATH: &str = "sys/firmware/dmi/tables/DMI";
/// What the strings begin with.
const PREFIX: &[u8] = b"reseal:";
/// As systemd.system-credentials(7) wants them.
const CREDENTIAL: &[u8] = b"io.systemd.credential:reseal.";
/// The same in base64.
const CREDENTIAL_IN_BASE64: &[u8] = b"io.systemd.credential.binary:reseal.";

/// What they say; type 1 is filled in by more hypervisors' forms, type 11 is made for it and goes before.
pub fn read(guest: &Guest) -> Result<Vec<Told>> {
    let tables = guest.root.read(PATH)?.unwrap_or_default();
    let mut all = Vec::new();
    for kind in [11, 1] {
        let mut told = Told::by(format!("SMBIOS, type {kind}"));
        for string in smbios::strings(&tables, kind) {
            take(&mut told, string).with_context(|| format!("type {kind}"))?;
        }
        all.push(told);
    }
    Ok(all)
}

fn take(told: &mut Told, string: &[u8]) -> Result<()> {
    for (prefix, in_base64) in [(PREFIX, false), (CREDENTIAL, false), (CREDENTIAL_IN_BASE64, true)] {
        let Some(rest) = string.strip_prefix(prefix) else { continue };
        let at = rest.iter().position(|byte| *byte == b'=').context("a string of reseal's without `=`")?;
        let name = String::from_utf8_lossy(&rest[..at]);
        return if in_base64 { told.take_base64(&name, &rest[at + 1..]) } else { told.take(&name, &rest[at + 1..]) };
    }
    Ok(())
}
