// SPDX-License-Identifier: MIT OR Apache-2.0
//! A GnuPG home: a key ring, and the secret keys of some of its certificates in files named after their keygrips.

use anyhow::{Result, ensure};

use super::options::{Action, Store};
use super::{Old, check_v4, content, goes, is_seal, only, recorded, replaced, report, spec};
use crate::keys::pgp::{self, ring};
use crate::plan::draft::Draft;
use crate::plan::{Kind, Severity, StoreForm};
use crate::root::Meta;

/// Where gpg-agent(1) keeps secret keys since GnuPG 2.1.
const SECRETS: &str = "private-keys-v1.d";
/// Where GnuPG up to 2.0 kept them.
const OLD_SECRETS: &str = "secring.gpg";
/// The ring of keyboxd, which GnuPG may use since 2.4.
const KEYBOXD: &str = "public-keys.d/pubring.db";
/// The file that a new key is made in before it goes into the home.
const MADE: &str = ".reseal.pgp";

/// What a home holds.
struct Home {
    /// Name of the ring that gpg uses.
    ring: String,
    own: Vec<ring::Own>,
    /// Files of secret keys of no certificate in the ring.
    strangers: Vec<String>,
    /// Has it a ring of secret keys of an old GnuPG?
    has_old_secrets: bool,
}

/// Drafts what becomes of the home at `place`.
pub fn plan(draft: &mut Draft<'_>, store: &Store, place: &str) -> Result<()> {
    let files = secret_files(draft, place)?;
    let has_old_secrets = draft.stat(&format!("{place}/{OLD_SECRETS}"))?.is_some_and(|stat| stat.size > 0);
    let renews = store.action == Action::Renew && !is_seal(draft);
    if files.is_empty() && !has_old_secrets && !(renews && recorded(draft, place).is_some()) {
        return Ok(());
    }
    let home = Home::read(draft, place, files, has_old_secrets)?;
    match store.action {
        Action::Report | Action::Keep => tell(draft, place, &home),
        Action::Remove => remove(draft, place, &home, true),
        Action::Renew if is_seal(draft) => {
            only(home.own.iter().map(old).collect())?;
            remove(draft, place, &home, false)
        }
        Action::Renew => renew(draft, store, place, home),
    }
}

impl Home {
    fn read(draft: &Draft<'_>, place: &str, files: Vec<String>, has_old_secrets: bool) -> Result<Home> {
        let conf = draft.read(&format!("{place}/common.conf"))?.unwrap_or_default();
        let uses_keyboxd = String::from_utf8_lossy(&conf).lines().any(|line| line.trim() == "use-keyboxd");
        let ring = ring_name(draft, place)?;
        let path = format!("{place}/{ring}");
        if uses_keyboxd {
            // Its ring is a database of SQLite.
            return Ok(Home { ring: KEYBOXD.to_owned(), own: Vec::new(), strangers: files, has_old_secrets });
        }
        let (own, strangers) = ring::own(&draft.read(&path)?.unwrap_or_default(), &files)?;
        Ok(Home { ring, own, strangers, has_old_secrets })
    }
}

/// As gpg chooses it, g10/keydb.c: the keybox, unless gpgsm alone made it (its header's flag 2 is not set) and there is
/// a ring of packets.
fn ring_name(draft: &Draft<'_>, place: &str) -> Result<String> {
    let (keybox, packets) = (format!("{place}/pubring.kbx"), format!("{place}/pubring.gpg"));
    let has_packets = draft.exists(&packets)?;
    let of_openpgp = || -> Result<bool> {
        let header = draft.read(&keybox)?.unwrap_or_default();
        Ok(header.get(6..8).is_some_and(|flags| flags[1] & 2 != 0))
    };
    let is_keybox = draft.exists(&keybox)? && (!has_packets || of_openpgp()?);
    Ok(if is_keybox || !has_packets { "pubring.kbx" } else { "pubring.gpg" }.to_owned())
}

/// The files with secret keys; those on a card leave a note of it, which is no secret.
fn secret_files(draft: &Draft<'_>, place: &str) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for path in draft.glob(&format!("{place}/{SECRETS}/*.key"))? {
        let file = draft.read(&path)?.unwrap_or_default();
        let is_note = file.windows(20).any(|part| part == b"shadowed-private-key");
        if let Some((_, name)) = path.rsplit_once('/').filter(|_| !is_note) {
            files.push(name.to_owned());
        }
    }
    Ok(files)
}

fn tell(draft: &mut Draft<'_>, place: &str, home: &Home) -> Result<()> {
    for key in &home.own {
        report(draft, place, &old(key).name(), &key.uses);
    }
    if home.has_old_secrets {
        for key in old_secrets(draft, place)? {
            report(draft, &format!("{place}/{OLD_SECRETS}"), &key.name(), &[]);
        }
    }
    for file in &home.strangers {
        let message =
            format!("the secret key in {SECRETS}/{file} is shared with the template; no certificate is known");
        draft.finding(Severity::Warning, &format!("/{place}"), message);
    }
    Ok(())
}

/// The keys in an old GnuPG's ring of secrets.
fn old_secrets(draft: &Draft<'_>, place: &str) -> Result<Vec<Old>> {
    let keys = pgp::read(&content(draft, &format!("{place}/{OLD_SECRETS}"))?)?;
    let old = |key: pgp::PgpKey| Old { fingerprint: key.fingerprint, user_ids: key.user_ids, public: key.public };
    Ok(keys.into_iter().filter(|key| key.has_secret).map(old).collect())
}

/// Takes secret keys away: all of them, or those of the home's own certificate.
fn remove(draft: &mut Draft<'_>, place: &str, home: &Home, all: bool) -> Result<()> {
    let (why, becomes) = match all {
        true => ("the policy removes it", "is removed"),
        false => ("its clones would share it", "is removed, and each clone makes its own"),
    };
    let mut keys: Vec<Old> = home.own.iter().map(old).collect();
    if home.has_old_secrets {
        keys.extend(old_secrets(draft, place)?);
    }
    for (number, key) in keys.iter().enumerate() {
        let subject = if number == 0 { format!("/{place}") } else { format!("/{place} {}", number + 1) };
        draft.decide(Kind::PgpKey, &subject, Some(key.fingerprint.clone()), |_| Ok(None))?;
        goes(draft, place, key, becomes)?;
    }
    let strangers = home.strangers.iter().filter(|_| all).map(|file| format!("{place}/{SECRETS}/{file}"));
    for path in gone(place, &home.own).into_iter().chain(strangers) {
        draft.remove(&path, why)?;
    }
    if home.has_old_secrets {
        draft.remove(&format!("{place}/{OLD_SECRETS}"), why)?;
    }
    left(draft, place, if all { &[] } else { &home.strangers });
    Ok(())
}

fn renew(draft: &mut Draft<'_>, store: &Store, place: &str, home: Home) -> Result<()> {
    check_v4(store)?;
    let command = format!(
        "gpg --homedir /{place} --quick-generate-key USER-ID default default never, and then --delete-secret-and-public-key"
    );
    ensure!(!home.has_old_secrets, "{OLD_SECRETS} is of GnuPG before 2.1; bring it over, or run {command}");
    ensure!(home.ring != KEYBOXD, "its ring is in keyboxd's database; run {command}");
    let made = draft.decided(Kind::PgpKey, &format!("/{place}")).and_then(|past| past.new.clone());
    let is_made = |key: &ring::Own| made.as_ref() == Some(&key.fingerprint);
    let now = only(home.own.iter().filter(|key| !is_made(key)).map(old).collect())?;
    let replaced = replaced(draft, place, now.as_ref());
    left(draft, place, &home.strangers);
    ensure!(replaced.is_some(), "no certificate of its secret keys is known, so none is renewed");
    draft.decide(Kind::PgpKey, &format!("/{place}"), replaced.clone(), |_| Ok(None))?;
    let staged = format!("{place}/{MADE}");
    let now = now.filter(|key| Some(&key.fingerprint) == replaced.as_ref());
    // Another key than these two is one that somebody has brought since.
    let is_settled = home.own.iter().any(|key| !is_made(key) || key.is_complete);
    if now.is_none() && is_settled && !draft.exists(&staged)? {
        return Ok(());
    }
    ensure!(draft.guest.gnupg, "gpg, gpg-agent and gpgconf are not there to change it; run {command}");
    let known =
        now.as_ref().map(|key| key.user_ids.clone()).or_else(|| in_ring(draft, place, &home, replaced.as_deref()));
    let spec = spec(draft, store, &known.unwrap_or_default(), true, Some(place))?;
    if let Some(key) = &now {
        goes(draft, place, key, "is replaced")?;
    }
    let owner = draft.stat(place)?.map_or(draft.owned(0o600)?, |stat| stat.meta);
    draft.keygen(&staged, spec, Meta { mode: 0o600, ..owner }, "a key of its own")?;
    let mut gone = gone(place, home.own.iter().filter(|key| Some(&key.fingerprint) == replaced.as_ref()));
    // gpg keeps the ring that it changes beside the new one.
    gone.extend([format!("{place}/{}~", home.ring)]);
    if now.is_none() {
        gone.extend(replaced.iter().map(|old| format!("{place}/openpgp-revocs.d/{old}.rev")));
    }
    let form = StoreForm::GnuPg { ring: home.ring };
    draft.key_store(place, form, &staged, (replaced.into_iter().collect(), &gone), "a key of its own")
}

/// The user ids of a certificate whose secret keys are gone.
fn in_ring(draft: &Draft<'_>, place: &str, home: &Home, fingerprint: Option<&str>) -> Option<Vec<String>> {
    let ring = draft.read(&format!("{place}/{}", home.ring)).ok()??;
    ring::user_ids(&ring, fingerprint?)
}

/// What the secret keys of certificates are kept in, and their revocation certificates.
fn gone<'k>(place: &str, own: impl IntoIterator<Item = &'k ring::Own>) -> Vec<String> {
    let of = |key: &ring::Own| -> Vec<String> {
        let secrets = key.files.iter().map(|file| format!("{place}/{SECRETS}/{file}"));
        secrets.chain([format!("{place}/openpgp-revocs.d/{}.rev", key.fingerprint)]).collect()
    };
    own.into_iter().flat_map(of).collect()
}

fn left(draft: &mut Draft<'_>, place: &str, files: &[String]) {
    for file in files {
        let message = format!("the secret key in {SECRETS}/{file} is of no certificate in the ring, and is left");
        draft.finding(Severity::Warning, &format!("/{place}"), message);
    }
}

fn old(key: &ring::Own) -> Old {
    Old { fingerprint: key.fingerprint.clone(), user_ids: key.user_ids.clone(), public: key.public.clone() }
}
