// SPDX-License-Identifier: MIT OR Apache-2.0
//! `credential-secret`: the key that systemd-creds(1) encrypts a host's credentials with.

use anyhow::Result;

use super::Regenerator;
use crate::plan::draft::Draft;
use crate::plan::{Kind, Severity};

const SECRET: &str = "var/lib/systemd/credential.secret";
/// Where encrypted credentials are kept, systemd.exec(5) `LoadCredentialEncrypted=`.
const STORES: [&str; 3] =
    ["etc/credstore.encrypted/*", "usr/lib/credstore.encrypted/*", "usr/local/lib/credstore.encrypted/*"];
/// Units that an admin writes.
const UNITS: [&str; 2] = ["etc/systemd/system/*", "etc/systemd/system/*.d/*.conf"];

/// The regenerator.
pub struct CredentialSecret;

/// It has no settings: the clones of a template must not read each other's credentials.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Options {}

impl Regenerator for CredentialSecret {
    const ID: &'static str = "credential-secret";
    const ABOUT: &'static str = "Remove the key of the host's encrypted credentials; systemd makes a new one";
    const EXAMPLE: &'static str = "";
    type Options = Options;

    fn plan(_: &Options, draft: &mut Draft<'_>) -> Result<()> {
        let Some(stat) = draft.stat(SECRET)? else { return Ok(()) };
        if stat.kind == crate::root::Kind::File && !draft.goes(Kind::Residue, SECRET)? {
            return Ok(());
        }
        draft.remove(SECRET, "every clone could read the others' credentials")?;
        for path in encrypted(draft)? {
            let message = "encrypted with the key that goes, or with the TPM: it can be read no more; encrypt it again with systemd-creds";
            draft.finding(Severity::Warning, &format!("/{path}"), message);
        }
        Ok(())
    }
}

fn encrypted(draft: &Draft<'_>) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for store in STORES {
        paths.extend(draft.glob(store)?);
    }
    for pattern in UNITS {
        for path in draft.glob(pattern)? {
            // A directory of drop-ins, or a unit that is masked by a link to /dev/null.
            let Ok(Some(text)) = draft.text(&path) else { continue };
            let settings = ["SetCredentialEncrypted=", "LoadCredentialEncrypted="];
            if text.lines().any(|line| settings.iter().any(|setting| line.trim_start().starts_with(setting))) {
                paths.push(path);
            }
        }
    }
    Ok(paths)
}
