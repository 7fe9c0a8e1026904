// SPDX-License-Identifier: MIT OR Apache-2.0
//! Puts a key that was made into a key store, and takes the old ones away; the file that it was made in goes last, so
//! that a run that was cut off finds the same key again.

use anyhow::{Context as _, Result, bail};

use super::gnupg;
use super::writer::Writer;
use crate::guest::Guest;
use crate::keys::pgp::ring;
use crate::plan::{Change, StoreForm};
use crate::root::{Kind, Meta};

/// Carries out a [`Change::KeyStore`].
pub fn put(guest: &Guest, change: &Change) -> Result<()> {
    let Change::KeyStore { path, form, from, old, gone } = change else { bail!("no change of a key store") };
    let root = &guest.root;
    let writer = Writer::new(root);
    let key = root.read(from)?.map(zeroize::Zeroizing::new).with_context(|| format!("/{from} is gone"))?;
    let (fingerprint, public) = ring::public(&key).with_context(|| format!("reading /{from}"))?;
    let revocation = root.read(&format!("{from}.rev"))?.with_context(|| format!("/{from}.rev is gone"))?;
    let home = root.stat(path)?.filter(|stat| stat.kind == Kind::Directory).context("the store is gone")?.meta;
    let secret = Meta { mode: 0o600, ..home };
    let (mut gone, list) = (gone.clone(), format!("{from}.gone"));
    if let StoreForm::GnuPg { .. } = form {
        // Once the ring has lost the old certificates, nothing tells any more which files hold their secrets.
        let secrets = format!("{path}/private-keys-v1.d/");
        let earlier = root.read(&list)?.unwrap_or_default();
        for name in String::from_utf8_lossy(&earlier).lines().filter(|name| is_key_file(name)) {
            let file = format!("{secrets}{name}");
            if !gone.contains(&file) {
                gone.push(file);
            }
        }
        let names: Vec<&str> = gone.iter().filter_map(|file| file.strip_prefix(&secrets)).collect();
        writer.put(&list, names.join("\n").as_bytes(), secret)?;
    }
    let revocations = match form {
        StoreForm::GnuPg { ring } => {
            gnupg::put(guest, path, ring, &key, &fingerprint, old)?;
            format!("{path}/openpgp-revocs.d")
        }
        StoreForm::Sequoia { secrets, certificates, revocations } => {
            let meta = Meta { mode: 0o644, ..home };
            writer.put(&certificate(certificates, &fingerprint), &public, meta)?;
            writer.put(&format!("{secrets}/{fingerprint}.pgp"), &key, secret)?;
            revocations.clone()
        }
    };
    writer.make_dir(&revocations, Meta { mode: 0o700, ..home })?;
    writer.put(&format!("{revocations}/{fingerprint}.rev"), &revocation, secret)?;
    for path in gone.iter().chain([&list, &format!("{from}.rev"), from]) {
        writer.remove(path)?;
    }
    Ok(())
}

/// Is it a name that gpg-agent(1) gives to a file of a secret key, and no path? The list may be anybody's who owns the home.
fn is_key_file(name: &str) -> bool {
    name.strip_suffix(".key").is_some_and(|grip| grip.len() == 40 && grip.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Does the store hold the key with this fingerprint, and nothing any more of what was to go?
pub fn holds(guest: &Guest, change: &Change, fingerprint: &str) -> Result<bool> {
    let Change::KeyStore { path, form, from, gone, .. } = change else { bail!("no change of a key store") };
    let root = &guest.root;
    for path in gone.iter().chain([from]) {
        if root.stat(path)?.is_some() {
            return Ok(false);
        }
    }
    match form {
        StoreForm::GnuPg { ring } => {
            let files = root.list(&format!("{path}/private-keys-v1.d"))?;
            let (own, _) = ring::own(&root.read(&format!("{path}/{ring}"))?.unwrap_or_default(), &files)?;
            Ok(own.iter().any(|own| own.fingerprint == fingerprint && own.is_complete))
        }
        StoreForm::Sequoia { secrets, .. } => Ok(root.stat(&format!("{secrets}/{fingerprint}.pgp"))?.is_some()),
    }
}

/// Where a certificate stands in a shared certificate directory: draft-nwjw-openpgp-cert-d, 3.1.
pub fn certificate(directory: &str, fingerprint: &str) -> String {
    let digits = fingerprint.to_lowercase();
    let (first, rest) = digits.split_at(digits.len().min(2));
    format!("{directory}/{first}/{rest}")
}
