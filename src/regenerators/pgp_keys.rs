// SPDX-License-Identifier: MIT OR Apache-2.0
//! `pgp-keys`: OpenPGP secret keys. By default they are reported: what only they can read would be lost with them.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::Regenerator;
use super::hostname;
use crate::formats::absolute_path::AbsolutePath;
use crate::keys::{self, pgp};
use crate::plan::draft::{Draft, Purpose};
use crate::plan::key::{KeySpec, PgpAlgorithm};
use crate::plan::{Kind, Severity};
use crate::root;

/// The regenerator.
pub struct PgpKeys;

/// What becomes of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    #[default]
    Report,
    Renew,
    Remove,
    Keep,
}

/// `[[pgp-keys.store]]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Store {
    path: AbsolutePath,
    #[serde(default)]
    action: Action,
    #[serde(default)]
    algorithm: PgpAlgorithm,
    /// User id of a renewed key; the host name where none is given.
    user_id: Option<String>,
}

/// Table `[pgp-keys]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    store: Vec<Store>,
}

impl Default for Options {
    fn default() -> Options {
        // An absolute path always reads as one.
        let path = AbsolutePath::try_from("/root/.gnupg".to_owned()).into_iter();
        let report = |path| Store { path, action: Action::Report, algorithm: PgpAlgorithm::default(), user_id: None };
        Options { store: path.map(report).collect() }
    }
}

impl Regenerator for PgpKeys {
    const ID: &'static str = "pgp-keys";
    const ABOUT: &'static str = "Report OpenPGP secret keys, and renew or remove those that the policy names";
    const EXAMPLE: &'static str = r#"[pgp-keys]
# One table for each store: an OpenPGP file, armoured or not, or a GnuPG home directory. "report" tells of secret keys,
# "renew" makes a new key in place of a file's one secret key (algorithm "cv25519", "rsa3072" or "rsa4096", user-id the
# host name unless given, a revocation certificate beside it with .rev), "remove" removes a file, "keep" says nothing.
# A GnuPG home is only reported.
[[pgp-keys.store]]
path = "/root/.gnupg"
action = "report"
algorithm = "cv25519"
"#;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        for store in &options.store {
            let Some(stat) = draft.stat(store.path.as_str())? else { continue };
            if let Err(error) = plan_one(draft, store, stat.kind) {
                draft.finding(Severity::Error, store.path.as_str(), format!("left as it is: {error:#}"));
            }
        }
        Ok(())
    }
}

fn plan_one(draft: &mut Draft<'_>, store: &Store, kind: root::Kind) -> Result<()> {
    match (store.action, kind) {
        (Action::Keep, _) => Ok(()),
        (_, root::Kind::Directory) => {
            report_home(draft, store.path.as_str())?;
            if store.action != Action::Report {
                bail!("a directory; only single files are renewed or removed");
            }
            Ok(())
        }
        (Action::Report, _) => report_file(draft, store.path.as_str()),
        (Action::Remove, _) => {
            draft.decide(Kind::PgpKey, store.path.as_str(), secret(draft, store.path.as_str())?, |_| Ok(None))?;
            draft.remove(store.path.as_str(), "the policy removes it")
        }
        (Action::Renew, _) if draft.purpose == Purpose::Seal => {
            draft.decide(Kind::PgpKey, store.path.as_str(), secret(draft, store.path.as_str())?, |_| Ok(None))?;
            draft.remove(store.path.as_str(), "its clones would share it")
        }
        (Action::Renew, _) => renew(draft, store),
    }
}

fn renew(draft: &mut Draft<'_>, store: &Store) -> Result<()> {
    let file = draft.read(store.path.as_str())?.unwrap_or_default();
    let found = pgp::read(&file)?;
    let [only] = &found[..] else { bail!("{} keys in one file; only a file with one is renewed", found.len()) };
    let name = hostname::name(draft);
    let user_id = store.user_id.as_ref().map_or(name.clone(), |text| text.replace("{hostname}", &name));
    let armored = file.starts_with(b"-----BEGIN");
    let spec = KeySpec::OpenPgp { algorithm: store.algorithm, user_id, armored };
    let old = only.fingerprint.clone();
    let renewal = draft.decide(Kind::PgpKey, store.path.as_str(), Some(old.clone()), |_| Ok(None))?;
    // Made on this machine already?
    if renewal.new.is_some() && keys::read(&file, &spec)? == renewal.new {
        return Ok(());
    }
    let meta = draft.stat(store.path.as_str())?.map_or(draft.owned(0o600)?, |stat| stat.meta);
    let message = format!("the key {old} is replaced; withdraw the trust that others put in it");
    draft.finding(Severity::Note, store.path.as_str(), message);
    draft.keygen(store.path.as_str(), spec, root::Meta { mode: meta.mode & 0o700, ..meta }, "a key of its own")
}

/// Fingerprint of a file's first secret key.
fn secret(draft: &Draft<'_>, path: &str) -> Result<Option<String>> {
    let keys = pgp::read(&draft.read(path)?.unwrap_or_default()).unwrap_or_default();
    Ok(keys.into_iter().find(|key| key.has_secret).map(|key| key.fingerprint))
}

fn report_file(draft: &mut Draft<'_>, path: &str) -> Result<()> {
    for key in pgp::read(&draft.read(path)?.unwrap_or_default())?.into_iter().filter(|key| key.has_secret) {
        let message =
            format!("the secret key {} ({}) is shared with the template", key.fingerprint, key.user_ids.join(", "));
        draft.finding(Severity::Warning, path, message);
    }
    Ok(())
}

/// GnuPG 2.1 and later keep a file for each secret key below private-keys-v1.d; older ones a keyring, gpg(1) FILES.
fn report_home(draft: &mut Draft<'_>, path: &str) -> Result<()> {
    let keys = draft.glob(&format!("{path}/private-keys-v1.d/*.key"))?.len();
    let old = draft.stat(&format!("{path}/secring.gpg"))?.is_some_and(|stat| stat.size > 0);
    if keys > 0 || old {
        let count = if keys > 0 { format!("{keys} secret keys") } else { "a secret keyring".to_owned() };
        draft.finding(Severity::Warning, path, format!("{count} shared with the template"));
    }
    Ok(())
}
