// SPDX-License-Identifier: MIT OR Apache-2.0
//! An OpenPGP file: a key, or a ring of them.

use anyhow::{Context as _, Result, bail};

use super::options::{Action, Store};
use super::{Old, goes, is_seal, only, replaced, report, spec};
use crate::keys::pgp;
use crate::plan::Kind;
use crate::plan::draft::Draft;
use crate::root::Meta;

/// Drafts what becomes of the file at `place`.
pub fn plan(draft: &mut Draft<'_>, store: &Store, place: &str) -> Result<()> {
    let file = draft.read(place)?;
    let keys = file.as_deref().map(pgp::read).transpose()?.unwrap_or_default();
    let whole = keys.len();
    let old = |key: pgp::PgpKey| Old { fingerprint: key.fingerprint, user_ids: key.user_ids, public: key.public };
    let secret: Vec<Old> = keys.into_iter().filter(|key| key.has_secret).map(old).collect();
    let subject = format!("/{place}");
    match store.action {
        Action::Report | Action::Keep => {
            for key in &secret {
                report(draft, place, &key.name(), &[]);
            }
            return Ok(());
        }
        // A ring of public keys says whom the machine trusts.
        _ if file.is_some() && secret.is_empty() => bail!("it holds no secret key"),
        _ if file.is_some() && secret.len() != whole => bail!("it holds keys of others too"),
        _ => {}
    }
    if store.action == Action::Remove || is_seal(draft) {
        let (why, becomes) = match store.action {
            Action::Remove => ("the policy removes it", "is removed"),
            _ => ("its clones would share it", "is removed, and each clone makes its own"),
        };
        if store.action == Action::Renew && secret.len() > 1 {
            only(secret)?;
            return Ok(());
        }
        for key in &secret {
            draft.decide(Kind::PgpKey, &subject, Some(key.fingerprint.clone()), |_| Ok(None))?;
            goes(draft, place, key, becomes)?;
        }
        draft.remove(&format!("{place}.rev"), why)?;
        return draft.remove(place, why);
    }
    let now = only(secret)?;
    let held = now.as_ref().map(|key| key.fingerprint.clone());
    let replaced = replaced(draft, place, now.as_ref());
    let renewal = draft.decide(Kind::PgpKey, &subject, replaced, |_| Ok(None))?;
    // Made on this machine already, or brought since by somebody?
    if renewal.new.is_some() && held.is_some() && held != renewal.old {
        return Ok(());
    }
    let armored = file.as_ref().map_or(place.ends_with(".asc"), |file| file.starts_with(b"-----BEGIN"));
    let user_ids = now.as_ref().map(|key| key.user_ids.clone()).unwrap_or_default();
    let spec = spec(draft, store, &user_ids, armored, None)?;
    if let Some(key) = &now {
        goes(draft, place, key, "is replaced")?;
    }
    let meta = draft.stat(place)?.map_or(draft.owned(0o600)?, |stat| stat.meta);
    draft
        .keygen(place, spec, Meta { mode: meta.mode & 0o700, ..meta }, "a key of its own")
        .context("drafting the new key")
}
