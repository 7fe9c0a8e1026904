// SPDX-License-Identifier: MIT OR Apache-2.0
//! The list of LUKS volumes that get volume keys of their own after the boot: what a plan writes and `reseal reencrypt` reads.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// Where the list stands.
pub const PATH: &str = "etc/reseal/volume-keys.toml";

/// A volume whose key is the template's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scheduled {
    /// Its UUID.
    pub uuid: String,
    /// The file that opens it, an absolute path.
    pub key_file: String,
    /// What its header checks the template's volume key by; once this is not there any more, the volume has its own.
    pub digest: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    volume: Vec<Scheduled>,
}

/// Reads a list.
///
/// # Errors
/// When it is not one.
pub fn parse(text: &str) -> Result<Vec<Scheduled>> {
    let list: List = toml::from_str(text).with_context(|| format!("reading /{PATH}"))?;
    Ok(list.volume)
}

/// Writes a list.
///
/// # Errors
/// None that is known of.
pub fn print(volumes: &[Scheduled]) -> Result<String> {
    let list = toml::to_string(&List { volume: volumes.to_vec() }).context("writing the list of volume keys")?;
    Ok(format!("# LUKS volumes that `reseal reencrypt` is to give volume keys of their own.\n\n{list}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let volume =
            |digest: &str| Scheduled { uuid: "5eed".into(), key_file: "/etc/a b".into(), digest: digest.into() };
        for list in [vec![], vec![volume("x")], vec![volume("a+/="), volume("y")]] {
            assert_eq!(parse(&print(&list).unwrap()).unwrap(), list);
        }
        for wrong in ["volume = 7", "[[volume]]\nuuid = 7", "[[volume]]\nuuid = \"5eed\"", "x = 1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
