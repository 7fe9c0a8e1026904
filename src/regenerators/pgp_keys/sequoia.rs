// SPDX-License-Identifier: MIT OR Apache-2.0
//! A home of Sequoia: secret keys as files (`keystore/softkeys`) and a shared certificate directory (`pgp.cert.d`).
//!
//! sq(1) FILES: below `$XDG_DATA_HOME` the key store is `sequoia/keystore` and the certificates are `pgp.cert.d`; below a
//! `$SEQUOIA_HOME` both are in `data`.

use anyhow::Result;

use super::options::{Action, Store};
use super::{Old, content, goes, is_seal, only, replaced, report, spec};
use crate::keys::pgp;
use crate::plan::draft::Draft;
use crate::plan::{Kind, Severity, StoreForm};
use crate::root::{Meta, split};

/// The file that a new key is made in before it goes into the store.
const MADE: &str = ".reseal.pgp";

/// Where a home keeps its things.
pub struct Home {
    secrets: String,
    certificates: String,
    revocations: String,
}

/// The home at `place`, if it is one.
///
/// # Errors
/// When it cannot be looked at.
pub fn find(draft: &Draft<'_>, place: &str) -> Result<Option<Home>> {
    let beside = split(place).0;
    for (base, certificates) in [
        (place.to_owned(), format!("{beside}/pgp.cert.d")),
        (format!("{place}/data"), format!("{place}/data/pgp.cert.d")),
    ] {
        let secrets = format!("{base}/keystore/softkeys");
        if draft.is_dir(&secrets)? {
            return Ok(Some(Home { secrets, certificates, revocations: format!("{base}/revocation-certificates") }));
        }
    }
    Ok(None)
}

/// Drafts what becomes of the home at `place`.
pub fn plan(draft: &mut Draft<'_>, store: &Store, place: &str) -> Result<()> {
    let Some(home) = find(draft, place)? else { return Ok(()) };
    let mut own: Vec<(String, Old)> = Vec::new();
    for path in draft.glob(&format!("{}/*.pgp", home.secrets))? {
        for key in pgp::read(&content(draft, &path)?)?.into_iter().filter(|key| key.has_secret) {
            let old = Old { fingerprint: key.fingerprint, user_ids: key.user_ids, public: key.public };
            own.push((path.clone(), old));
        }
    }
    // What links between certificates are made with; sq makes another when it is missing, and the links are lost.
    let root = format!("{}/trust-root", home.certificates);
    let trust = draft.read(&root)?.map(|file| pgp::read(&file)).transpose()?.unwrap_or_default();
    if store.action != Action::Keep && trust.iter().any(|key| key.has_secret) {
        let message = "the trust root, a secret key, is shared with the template; sq makes another when it is removed";
        draft.finding(Severity::Warning, &format!("/{root}"), message.to_owned());
    }
    match store.action {
        Action::Report | Action::Keep => {
            for (path, key) in &own {
                report(draft, path, &key.name(), &[]);
            }
            Ok(())
        }
        Action::Remove => remove(draft, place, &home, own, ("the policy removes it", "is removed")),
        Action::Renew if is_seal(draft) => {
            let becomes = "is removed, and each clone makes its own";
            let keys = own.iter().map(|(_, key)| key.name()).collect::<Vec<_>>();
            anyhow::ensure!(keys.len() < 2, "{} secret keys; only one can be renewed: {}", keys.len(), keys.join("; "));
            remove(draft, place, &home, own, ("its clones would share it", becomes))
        }
        Action::Renew => renew(draft, store, place, home, own),
    }
}

fn remove(
    draft: &mut Draft<'_>,
    place: &str,
    home: &Home,
    own: Vec<(String, Old)>,
    (why, becomes): (&str, &str),
) -> Result<()> {
    for (number, (path, key)) in own.iter().enumerate() {
        let subject = if number == 0 { format!("/{place}") } else { format!("/{place} {}", number + 1) };
        draft.decide(Kind::PgpKey, &subject, Some(key.fingerprint.clone()), |_| Ok(None))?;
        goes(draft, place, key, becomes)?;
        for path in [path.clone(), format!("{}/{}.rev", home.revocations, key.fingerprint)] {
            draft.remove(&path, why)?;
        }
    }
    Ok(())
}

fn renew(draft: &mut Draft<'_>, store: &Store, place: &str, home: Home, own: Vec<(String, Old)>) -> Result<()> {
    let subject = format!("/{place}");
    let made = draft.decided(Kind::PgpKey, &subject).and_then(|past| past.new.clone());
    let (mine, theirs): (Vec<_>, Vec<_>) =
        own.into_iter().partition(|(_, key)| made.as_ref() == Some(&key.fingerprint));
    let paths: Vec<String> = theirs.iter().map(|(path, _)| path.clone()).collect();
    let now = only(theirs.into_iter().map(|(_, key)| key).collect())?;
    let Some(replaced) = replaced(draft, place, now.as_ref()) else { return Ok(()) };
    draft.decide(Kind::PgpKey, &subject, Some(replaced.clone()), |_| Ok(None))?;
    let staged = format!("{place}/{MADE}");
    // Another key than these two is one that somebody has brought since.
    let is_settled = !mine.is_empty() || now.is_some();
    let now = now.filter(|key| key.fingerprint == replaced);
    if now.is_none() && is_settled && !draft.exists(&staged)? {
        return Ok(());
    }
    let user_ids = now.as_ref().map(|key| key.user_ids.clone()).unwrap_or_default();
    let spec = spec(draft, store, &user_ids, true, Some(place))?;
    if let Some(key) = &now {
        goes(draft, place, key, "is replaced")?;
    }
    let owner = draft.stat(place)?.map_or(draft.owned(0o600)?, |stat| stat.meta);
    draft.keygen(&staged, spec, Meta { mode: 0o600, ..owner }, "a key of its own")?;
    let digits = replaced.to_lowercase();
    let (first, rest) = digits.split_at(digits.len().min(2));
    let mut gone = if now.is_some() { paths } else { Vec::new() };
    gone.push(format!("{}/{first}/{rest}", home.certificates));
    gone.push(format!("{}/{replaced}.rev", home.revocations));
    let Home { secrets, certificates, revocations } = home;
    let form = StoreForm::Sequoia { secrets, certificates, revocations };
    draft.key_store(place, form, &staged, (vec![replaced], &gone), "a key of its own")
}
