// SPDX-License-Identifier: MIT OR Apache-2.0
//! `pgp-keys`: OpenPGP secret keys. By default they are reported: what only they can read would be lost with them. Only
//! the key that pacman made itself is renewed.

mod file;
mod gnupg;
mod options;
mod sequoia;

use std::num::NonZeroU32;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Regenerator, hostname};
use crate::formats::{hosts, passwd};
use crate::plan::draft::{Draft, Purpose};
use crate::plan::key::{KeySpec, PgpAlgorithm};
use crate::plan::{Kind, Renewal, Severity};
use crate::root::{self, trim};
pub use options::Options;
use options::{Action, Store};

/// The regenerator.
pub struct PgpKeys;

/// Keyrings of those whom the machine trusts: they are no identity of its own, and are never changed.
const TRUST: [&str; 8] = [
    "etc/apt/",
    "etc/pki/",
    "etc/keys/",
    "usr/share/keyrings/",
    "usr/share/pacman/",
    "usr/share/distribution-gpg-keys/",
    "usr/lib/rpm/",
    "var/lib/rpm/",
];

impl Regenerator for PgpKeys {
    const ID: &'static str = "pgp-keys";
    const ABOUT: &'static str = "Report OpenPGP secret keys, and renew or remove those that the policy names";
    const EXAMPLE: &'static str = options::EXAMPLE;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        for store in &options.store {
            for path in store.path.in_homes(&people(draft)?) {
                let before = draft.clone();
                if let Err(error) = plan_one(draft, store, &path) {
                    *draft = before;
                    draft.finding(Severity::Error, &path, format!("left as it is: {error:#}"));
                }
            }
        }
        Ok(())
    }
}

/// The homes of root and of people.
fn people(draft: &Draft<'_>) -> Result<Vec<String>> {
    Ok(passwd::homes(&draft.text("etc/passwd")?.unwrap_or_default()))
}

fn plan_one(draft: &mut Draft<'_>, store: &Store, path: &str) -> Result<()> {
    let place = draft.resolve(path)?;
    let stat = draft.stat(&place)?;
    let was = draft
        .foreign_of(Kind::PgpKey)
        .chain(draft.decided_of(Kind::PgpKey))
        .any(|past| past.subject == format!("/{place}") && past.old.is_some());
    // What a sealed template had is made again, what is not there at all is nobody's.
    if store.action == Action::Keep || stat.is_none() && !(was && store.action == Action::Renew) {
        return Ok(());
    }
    if store.action != Action::Report && TRUST.iter().any(|trust| place.starts_with(trust)) {
        bail!("keys that the machine trusts stand there; only secret keys of its own are changed");
    }
    match stat.map(|stat| stat.kind) {
        Some(root::Kind::Directory) if sequoia::find(draft, &place)?.is_some() => sequoia::plan(draft, store, &place),
        Some(root::Kind::Directory) => gnupg::plan(draft, store, &place),
        Some(root::Kind::File) | None => file::plan(draft, store, &place),
        Some(_) => bail!("neither a file nor a directory"),
    }
}

/// One key of a store: fingerprint and public part.
struct Old {
    fingerprint: String,
    user_ids: Vec<String>,
    public: Vec<u8>,
}

impl Old {
    /// `FINGERPRINT (user ids)`.
    fn name(&self) -> String {
        format!("{} ({})", self.fingerprint, self.user_ids.join(", "))
    }
}

/// Notes that a key goes, and keeps its public part, by which others know what they are no longer to trust.
fn goes(draft: &mut Draft<'_>, place: &str, old: &Old, becomes: &str) -> Result<()> {
    let record = format!("var/lib/reseal/pgp/{}.asc", old.fingerprint);
    let message = format!(
        "the key {} {becomes}; withdraw the trust that others put in it (its public part: /{record})",
        old.name()
    );
    draft.finding(Severity::Note, &format!("/{place}"), message);
    let meta = draft.owned(0o644)?;
    draft.put(&record, old.public.clone(), meta, "the public part of a key that goes")
}

/// Tells of a secret key that stays.
fn report(draft: &mut Draft<'_>, place: &str, name: &str, uses: &[&str]) {
    let uses = if uses.is_empty() { String::new() } else { format!("; it can {}", uses.join(", ")) };
    let message = format!("the secret key {name} is shared with the template{uses}");
    draft.finding(Severity::Warning, &format!("/{place}"), message);
}

/// The fingerprint that a store had before a run of this machine, or before the template was sealed.
fn recorded(draft: &Draft<'_>, place: &str) -> Option<String> {
    let is = |past: &&Renewal| past.subject == format!("/{place}") && past.old.is_some();
    draft.decided_of(Kind::PgpKey).chain(draft.foreign_of(Kind::PgpKey)).find(is)?.old.clone()
}

/// The fingerprint of the key that is replaced: what an earlier run of this machine found, what stands there now, or what
/// the template had.
fn replaced(draft: &Draft<'_>, place: &str, now: Option<&Old>) -> Option<String> {
    let earlier = draft.decided(Kind::PgpKey, &format!("/{place}")).and_then(|past| past.old.clone());
    earlier.or_else(|| now.map(|key| key.fingerprint.clone())).or_else(|| recorded(draft, place))
}

/// What the key of a store shall be; `known` are the user ids of the one that it replaces.
fn spec(draft: &Draft<'_>, store: &Store, known: &[String], armored: bool, into: Option<&str>) -> Result<KeySpec> {
    let name = hostname::name(draft);
    let full = full_name(draft, &name);
    let template = store.user_id.clone().unwrap_or_else(|| store.path.user_id().to_owned());
    let same = known.first().unwrap_or(&name);
    let user_id = template.replace("{hostname}", &name).replace("{fqdn}", &full).replace("{user-id}", same);
    ensure!(!user_id.is_empty() && !user_id.contains(char::is_control), "{user_id:?} is no user id");
    let (algorithm, valid_days) = (store.algorithm, store.valid_days.map(NonZeroU32::get));
    Ok(KeySpec::OpenPgp { algorithm, user_id, armored, valid_days, store: into.map(|path| trim(path).to_owned()) })
}

/// The fully qualified name that /etc/hosts gives the host, or its name.
fn full_name(draft: &Draft<'_>, name: &str) -> String {
    if name.contains('.') {
        return name.to_owned();
    }
    // References are written later, so that the file still has the old name and the new one is among the renewals.
    let renewed = draft
        .renewals()
        .into_iter()
        .filter(|renewal| renewal.kind == Kind::Hostname)
        .find_map(|renewal| renewal.new.filter(|new| new.split_once('.').is_some_and(|(short, _)| short == name)));
    let hosts = draft.text("etc/hosts").ok().flatten().unwrap_or_default();
    renewed.or_else(|| hosts::full_names(&hosts, name).into_iter().next()).unwrap_or_else(|| name.to_owned())
}

/// Is a template being made, whose clones make a key of their own?
fn is_seal(draft: &Draft<'_>) -> bool {
    draft.purpose == Purpose::Seal
}

/// A v6 key that only newer programs read, where an older one has to.
fn check_v4(store: &Store) -> Result<()> {
    ensure!(store.algorithm != PgpAlgorithm::V6Cv25519, "GnuPG reads no v6 keys");
    Ok(())
}

/// The only one of some.
fn only(mut keys: Vec<Old>) -> Result<Option<Old>> {
    let names: Vec<String> = keys.iter().map(Old::name).collect();
    let key = keys.pop();
    ensure!(keys.is_empty(), "{} secret keys; only one can be renewed: {}", names.len(), names.join("; "));
    Ok(key)
}

/// A file of a draft that must be there.
fn content(draft: &Draft<'_>, path: &str) -> Result<Vec<u8>> {
    draft.read(path)?.with_context(|| format!("/{path} is gone"))
}
