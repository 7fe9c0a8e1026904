// SPDX-License-Identifier: MIT OR Apache-2.0
//! The policy table of `pgp-keys`.

use std::num::NonZeroU32;

use anyhow::Result;
use serde::{Deserialize, Deserializer, Serialize};

use crate::formats::absolute_path::AbsolutePath;
use crate::plan::key::PgpAlgorithm;

/// Where pacman-key(8) keeps its ring, and the key that `pacman-key --init` makes.
pub const PACMAN: &str = "/etc/pacman.d/gnupg";

/// The annotated table.
pub const EXAMPLE: &str = r#"[pgp-keys]
# One table for each store: an OpenPGP file, armoured or not, a GnuPG home, or a home of Sequoia (a directory with
# keystore/softkeys). A path that begins with ~/ stands for the homes of root and of all people. A policy that names a
# store replaces these two.
# "report" tells of secret keys, "keep" says nothing, "remove" removes them and takes an explicit path, "renew" makes a
# new key in place of the one secret key of a store. What the old key alone can decrypt is lost then. Its public part is
# kept in /var/lib/reseal/pgp, and a revocation certificate of the new key beside it (FILE.rev, openpgp-revocs.d).
# algorithm: "cv25519", "rsa3072", "rsa4096", or "v6-cv25519", which GnuPG does not read. user-id may hold {hostname},
# {fqdn} and {user-id}, the old one. valid-days = 730 has the key expire. Keyrings of those whom the machine trusts
# (apt's, rpm's, pacman's) are never changed.
[[pgp-keys.store]]
path = "/root/.gnupg"
action = "report"
algorithm = "cv25519"
# The local key that pacman-key made on this machine, and what it certified for this machine.
[[pgp-keys.store]]
path = "/etc/pacman.d/gnupg"
action = "renew"
algorithm = "cv25519"
"#;

/// What becomes of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    #[default]
    Report,
    Renew,
    Remove,
    Keep,
}

/// `[[pgp-keys.store]]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Store {
    pub path: StorePath,
    #[serde(default)]
    pub action: Action,
    #[serde(default)]
    pub algorithm: PgpAlgorithm,
    /// User id of a renewed key; the host name where none is given, and for pacman's that of the old one.
    pub user_id: Option<String>,
    /// Days until a renewed key expires.
    pub valid_days: Option<NonZeroU32>,
}

/// Table `[pgp-keys]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    #[serde(deserialize_with = "stores")]
    pub store: Vec<Store>,
}

impl Default for Options {
    fn default() -> Options {
        let store = |(path, action)| {
            // An absolute path always reads as one.
            let path = StorePath::try_from(String::from(path)).ok()?;
            Some(Store { path, action, algorithm: PgpAlgorithm::default(), user_id: None, valid_days: None })
        };
        let stores = [("/root/.gnupg", Action::Report), (PACMAN, Action::Renew)];
        Options { store: stores.into_iter().filter_map(store).collect() }
    }
}

/// Keys of people are removed one store at a time, by somebody who wrote down which.
fn stores<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Store>, D::Error> {
    let stores: Vec<Store> = Vec::deserialize(input)?;
    match stores.iter().find(|store| store.action == Action::Remove && store.path.0.starts_with('~')) {
        Some(store) => {
            let message = format!("action \"remove\" takes an explicit path, and `{}` is in every home", store.path.0);
            Err(serde::de::Error::custom(message))
        }
        None => Ok(stores),
    }
}

/// An absolute path, or one below every home: `~/.gnupg`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePath(String);

impl StorePath {
    /// The path, or the one below each of these homes.
    pub fn in_homes(&self, homes: &[String]) -> Vec<String> {
        match self.0.strip_prefix('~') {
            Some(below) => homes.iter().map(|home| format!("{}{below}", home.trim_end_matches('/'))).collect(),
            None => vec![self.0.clone()],
        }
    }

    /// The template of a user id where policy gives none.
    pub fn user_id(&self) -> &'static str {
        if self.0.trim_end_matches('/') == PACMAN { "{user-id}" } else { "{hostname}" }
    }
}

impl TryFrom<String> for StorePath {
    type Error = anyhow::Error;

    fn try_from(path: String) -> Result<StorePath> {
        let absolute = path.strip_prefix('~').filter(|rest| rest.starts_with('/')).unwrap_or(&path);
        AbsolutePath::try_from(absolute.to_owned())?;
        Ok(StorePath(path))
    }
}

impl From<StorePath> for String {
    fn from(path: StorePath) -> String {
        path.0
    }
}
