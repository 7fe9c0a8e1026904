// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ssh-host-keys`: the keys that sshd(8) proves the host with, their certificates, and what is published of them.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::Regenerator;
use super::hostname;
use super::sshd::{Sshd, standard_path};
use crate::formats::absolute_path::AbsolutePath;
use crate::formats::passwd;
use crate::keys::ssh::{self, PrivateFile};
use crate::keys::{self};
use crate::plan::draft::{Draft, Purpose};
use crate::plan::key::{KeySpec, SshAlgorithm};
use crate::plan::{Kind, PublicForm, Severity};
use crate::root::{self, Meta, trim};

/// Made where the guest had no key at all.
const DEFAULT: [SshAlgorithm; 3] = [SshAlgorithm::Ed25519, SshAlgorithm::EcdsaP256, SshAlgorithm::Rsa3072];

/// The regenerator.
pub struct SshHostKeys;

/// Table `[ssh-host-keys]`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    types: Types,
    known_hosts: Option<AbsolutePath>,
    sshfp: Option<AbsolutePath>,
}

/// Algorithms of which no two share a file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<SshAlgorithm>", into = "Vec<SshAlgorithm>")]
struct Types(Vec<SshAlgorithm>);

impl TryFrom<Vec<SshAlgorithm>> for Types {
    type Error = anyhow::Error;

    fn try_from(types: Vec<SshAlgorithm>) -> Result<Types> {
        let mut paths: Vec<String> = types.iter().map(|algorithm| standard_path(*algorithm)).collect();
        paths.sort_unstable();
        if let Some(pair) = paths.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("two types of one family would share the file /{}", pair[0]);
        }
        Ok(Types(types))
    }
}

impl From<Types> for Vec<SshAlgorithm> {
    fn from(types: Types) -> Vec<SshAlgorithm> {
        types.0
    }
}

impl Regenerator for SshHostKeys {
    const ID: &'static str = "ssh-host-keys";
    const ABOUT: &'static str = "Make new SSH host keys, and remove certificates of the old ones";
    const EXAMPLE: &'static str = r#"[ssh-host-keys]
# Which keys the guest has afterwards: "ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "rsa-3072",
# "rsa-4096". Empty: those it had, and ed25519; where it had none, ed25519, ecdsa-p256 and rsa-3072.
types = []
# Write the public keys as lines of a known_hosts file to this path:
# known-hosts = "/var/lib/reseal/known_hosts"
# Write them as DNS records (RFC 4255) to this path:
# sshfp = "/var/lib/reseal/sshfp"
"#;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        let Some(sshd) = Sshd::find(draft)? else { return Ok(()) };
        if let Some(socket) = &sshd.agent {
            let message = format!("sshd takes host keys from the agent at {socket}; those are not renewed");
            draft.finding(Severity::Warning, "/etc/ssh/sshd_config", message);
        }
        let held = held(draft, &sshd)?;
        if draft.purpose == Purpose::Seal {
            for (path, key) in &held {
                draft.decide(Kind::SshHostKey, &format!("/{path}"), key.fingerprint.clone(), |_| Ok(None))?;
                remove_pair(draft, path, "its clones would share it")?;
            }
            return remove_certificates(draft, &sshd);
        }
        let wanted = wanted(options, draft, &sshd, &held)?;
        for (path, algorithm) in &wanted {
            renew(draft, path, *algorithm, held.get(path))?;
        }
        for (path, key) in held.iter().filter(|(path, _)| !wanted.contains_key(*path)) {
            draft.decide(Kind::SshHostKey, &format!("/{path}"), key.fingerprint.clone(), |_| Ok(None))?;
            remove_pair(draft, path, "the template's key, of a type that is not wanted or not made any more")?;
            if sshd.host_keys.contains(path) {
                let message = format!("sshd's configuration names /{path}, which is removed");
                draft.finding(Severity::Warning, &format!("/{path}"), message);
            }
        }
        remove_certificates(draft, &sshd)?;
        for (path, form) in [(&options.known_hosts, PublicForm::KnownHosts), (&options.sshfp, PublicForm::Sshfp)] {
            if let Some(path) = path {
                publish(draft, path.as_str(), form, wanted.keys().cloned().collect())?;
            }
        }
        Ok(())
    }
}

/// A key file that stands in the guest.
#[derive(Debug)]
struct Held {
    /// `None` for DSA and the like, which nobody makes any more.
    algorithm: Option<SshAlgorithm>,
    /// `None` where the file cannot be read as a key.
    fingerprint: Option<String>,
    meta: Meta,
}

fn held(draft: &mut Draft<'_>, sshd: &Sshd) -> Result<BTreeMap<String, Held>> {
    let mut held = BTreeMap::new();
    for path in &sshd.host_keys {
        let Some(stat) = draft.stat(path)?.filter(|stat| stat.kind == root::Kind::File) else { continue };
        let file = draft.read(path)?.unwrap_or_default();
        let public = draft.read(&format!("{path}.pub"))?.and_then(|file| ssh::read_public(&file).ok());
        let (algorithm, fingerprint) = match ssh::read_private(&file) {
            Ok(PrivateFile::OpenSsh(key)) => (key.algorithm().or(grown(&key.name())), Some(key.fingerprint())),
            Ok(PrivateFile::Pem(_)) => match &public {
                Some(key) => (key.algorithm().or(grown(&key.name())), Some(key.fingerprint())),
                None => (by_name(path), None),
            },
            Err(error) => {
                let message = format!("it held no key ({error:#}) and is made anew");
                draft.finding(Severity::Note, &format!("/{path}"), message);
                (by_name(path), None)
            }
        };
        held.insert(path.clone(), Held { algorithm, fingerprint, meta: stat.meta });
    }
    Ok(held)
}

/// The successor of a key of a size that is not made: RSA of an odd size.
fn grown(name: &str) -> Option<SshAlgorithm> {
    (name == "ssh-rsa").then_some(SshAlgorithm::Rsa3072)
}

/// The algorithm that a file's name promises, as sshd_config(5) and ssh-keygen(1) name them.
fn by_name(path: &str) -> Option<SshAlgorithm> {
    let families =
        [("ed25519", SshAlgorithm::Ed25519), ("ecdsa", SshAlgorithm::EcdsaP256), ("rsa", SshAlgorithm::Rsa3072)];
    families.into_iter().find(|(family, _)| path.contains(family)).map(|(_, algorithm)| algorithm)
}

/// Path and algorithm of every key that the guest shall have.
fn wanted(
    options: &Options,
    draft: &mut Draft<'_>,
    sshd: &Sshd,
    held: &BTreeMap<String, Held>,
) -> Result<BTreeMap<String, SshAlgorithm>> {
    let mut wanted = BTreeMap::new();
    if !options.types.0.is_empty() {
        wanted.extend(options.types.0.iter().map(|algorithm| (standard_path(*algorithm), *algorithm)));
        return Ok(wanted);
    }
    for (path, key) in held {
        match key.algorithm {
            Some(algorithm) => {
                wanted.insert(path.clone(), algorithm);
            }
            None => {
                let message = "a key of an algorithm that is not made any more; it is removed";
                draft.finding(Severity::Warning, &format!("/{path}"), message);
            }
        }
    }
    // What sshd is told to use, what a sealed template had, and what an unfinished run was to make, stands or not.
    let recorded = draft.foreign_of(Kind::SshHostKey).chain(draft.decided_of(Kind::SshHostKey));
    let recorded = recorded.map(|past| trim(&past.subject).to_owned()).filter(|path| by_name(path).is_some());
    let named: Vec<String> = sshd.configured.iter().cloned().chain(recorded).collect();
    for path in named {
        match by_name(&path) {
            _ if wanted.contains_key(&path) || held.contains_key(&path) => {}
            Some(algorithm) => {
                wanted.insert(path, algorithm);
            }
            None => {
                let message = "sshd is to use it, it is not there, and its name tells no algorithm";
                draft.finding(Severity::Warning, &format!("/{path}"), message);
            }
        }
    }
    if wanted.is_empty() {
        wanted.extend(DEFAULT.map(|algorithm| (standard_path(algorithm), algorithm)));
    } else if sshd.configured.is_empty() {
        wanted.entry(standard_path(SshAlgorithm::Ed25519)).or_insert(SshAlgorithm::Ed25519);
    }
    Ok(wanted)
}

fn renew(draft: &mut Draft<'_>, path: &str, algorithm: SshAlgorithm, held: Option<&Held>) -> Result<()> {
    let old = held.and_then(|key| key.fingerprint.clone());
    let renewal = draft.decide(Kind::SshHostKey, &format!("/{path}"), old.clone(), |_| Ok(None))?;
    let public = format!("{path}.pub");
    if old.is_some() && renewal.new == old {
        // It was made on this machine; only a lost public half is put back.
        let Ok(PrivateFile::OpenSsh(key)) = ssh::read_private(&draft.read(path)?.unwrap_or_default()) else {
            return Ok(());
        };
        let stands = draft.read(&public)?.and_then(|file| ssh::read_public(&file).ok()).map(|key| key.fingerprint());
        if stands != old {
            draft.write(&public, key.line()?, "the public half of the host key")?;
        }
        return Ok(());
    }
    let name = hostname::name(draft);
    let spec = KeySpec::SshHost { algorithm, comment: format!("root@{name}") };
    let meta = meta(draft, held)?;
    draft.keygen(path, spec, meta, "a host key of its own")
}

/// Owner and mode of what is replaced, where sshd would take the key then: it refuses one that others may read, but
/// Red Hat's lets the group `ssh_keys` read it (for ssh-keysign(8)).
fn meta(draft: &Draft<'_>, held: Option<&Held>) -> Result<Meta> {
    let group = passwd::group_id(&draft.text("etc/group")?.unwrap_or_default(), "ssh_keys");
    let by_default = draft.owned(0o600)?;
    Ok(match (held.map(|key| key.meta), group) {
        (Some(meta), _) if meta.mode & 0o077 == 0 && meta.mode & 0o400 != 0 => meta,
        (Some(meta), Some(group)) if meta.gid == group && meta.mode & 0o037 == 0 => meta,
        (Some(meta), _) => Meta { mode: 0o600, ..meta },
        (None, Some(group)) => Meta { mode: 0o640, gid: group, ..by_default },
        (None, None) => by_default,
    })
}

fn remove_pair(draft: &mut Draft<'_>, path: &str, why: &str) -> Result<()> {
    // The private half last: as long as it stands, a run that goes on after a cut knows of the pair.
    draft.remove(&format!("{path}.pub"), why)?;
    draft.remove(path, why)
}

/// A certificate binds the old key to the template's name; a new one can only come from the authority.
fn remove_certificates(draft: &mut Draft<'_>, sshd: &Sshd) -> Result<()> {
    for path in &sshd.certificates {
        let Some(file) = draft.read(path)? else { continue };
        let certified = ssh::read_certificate(&file).ok().map(|key| key.fingerprint());
        let own = |past: &crate::plan::Renewal| past.new.is_some() && past.new == certified;
        if draft.decided_of(Kind::SshHostKey).any(own) {
            continue;
        }
        draft.remove(path, "it certifies a host key that goes")?;
        let message = "the certificate of the old host key is removed; the authority must sign the new key";
        draft.finding(Severity::Warning, &format!("/{path}"), message);
    }
    Ok(())
}

fn publish(draft: &mut Draft<'_>, path: &str, form: PublicForm, keys: Vec<String>) -> Result<()> {
    let name = hostname::name(draft);
    let mut publics = Vec::new();
    for key in &keys {
        // A key that is still to be made has no public half in the draft yet.
        publics.push(match draft.is_to_be_made(key)? {
            true => None,
            false => draft.read(&format!("{key}.pub"))?,
        });
    }
    if let Some(publics) = publics.into_iter().collect::<Option<Vec<_>>>()
        && draft.read(path)? == Some(keys::ssh::publish(form, &name, &publics)?.into_bytes())
    {
        return Ok(());
    }
    draft.publish(path, form, keys, &name, "other machines can know the host by it")
}
