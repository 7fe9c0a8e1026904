// SPDX-License-Identifier: MIT OR Apache-2.0
//! A GnuPG home is changed by gpg(1), but not in place: gpg works in a directory inside the home, on what this program has
//! taken out of the ring and of the trust database, and each file that it made is put into the home as any other file is.
//!
//! So a run that is cut off leaves whole files. gpg and its agent read no configuration of the home, which on a tree that
//! does not run is not to be trusted; and they run as the home's owner, who may be somebody else than root.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::tools::Program;
use super::writer::Writer;
use crate::guest::Guest;
use crate::keys::pgp::ring;
use crate::root::{Kind, Meta, Root};

/// The directory inside the home that gpg works in.
const SCRATCH: &str = ".reseal";
/// Where gpg-agent keeps secret keys.
const SECRETS: &str = "private-keys-v1.d";
/// What gpg is always told: no configuration, no question, no look at the whole web of trust after each step.
const ALWAYS: [&str; 5] = ["--no-options", "--batch", "--no-tty", "--quiet", "--no-auto-check-trustdb"];

/// Puts a key into the home at `path`, in place of the certificates `old`: it is trusted ultimately, they no more, and
/// what they certified for this machine alone it certifies.
pub fn put(guest: &Guest, path: &str, ring: &str, key: &[u8], fingerprint: &str, old: &[String]) -> Result<()> {
    let root = &guest.root;
    check_path(root, path)?;
    let writer = Writer::new(root);
    let owner = root.stat(path)?.context("the home is gone")?.meta;
    let scratch = format!("{path}/{SCRATCH}");
    let gpg = Gpg { home: &root.path().join(&scratch), owner: (owner.uid, owner.gid) };
    if guest.running {
        // An agent that has the old keys open would go on with them; without one there is nothing to stop.
        let home = root.path().join(path);
        let _ = Gpg { home: &home, ..gpg }.stop();
    }
    writer.remove(&scratch)?;
    writer.make_dir(&scratch, Meta { mode: 0o700, ..owner })?;
    let work = || -> Result<()> {
        let next = ring::renew(&root.read(&format!("{path}/{ring}"))?.unwrap_or_default(), key, old)?;
        let private = Meta { mode: 0o600, ..owner };
        if root.stat(&format!("{path}/{ring}"))?.is_some() {
            writer.put(&format!("{scratch}/{ring}"), &next.kept, private)?;
        }
        let trust = match root.read(&format!("{path}/trustdb.gpg"))? {
            Some(trust) => {
                writer.put(&format!("{scratch}/trustdb.gpg"), &trust, private)?;
                // A database that is made anew has no trace of the old key, as one that is edited has.
                let trust = gpg.run(&["--export-ownertrust"], b"").context("reading whom the home trusts")?;
                writer.remove(&format!("{scratch}/trustdb.gpg"))?;
                String::from_utf8_lossy(&trust).into_owned()
            }
            None => String::new(),
        };
        gpg.run(&["--import"], key)?;
        if !next.certified.is_empty() {
            gpg.run(&["--import-options", "import-local-sigs", "--import"], &next.certified)?;
        }
        gpg.run(&["--import-ownertrust"], renewed_trust(&trust, fingerprint, old).as_bytes())?;
        gpg.run(&["--check-trustdb"], b"")?;
        gpg.stop()?;
        take_over(root, path, ring, owner)
    };
    let done = work();
    if done.is_err() {
        // The error counts; an agent whose directory goes ends by itself.
        let _ = gpg.stop();
    }
    writer.remove(&scratch)?;
    done
}

/// Secret keys first: a ring that names a key without its secret looks like a home whose key was taken away.
fn take_over(root: &Root, path: &str, ring: &str, owner: Meta) -> Result<()> {
    let writer = Writer::new(root);
    writer.make_dir(&format!("{path}/{SECRETS}"), Meta { mode: 0o700, ..owner })?;
    let mut names: Vec<String> = Vec::new();
    for name in root.list(&format!("{path}/{SCRATCH}/{SECRETS}"))? {
        let grip = name.strip_suffix(".key").unwrap_or_default();
        ensure!(grip.len() == 40 && grip.bytes().all(|digit| digit.is_ascii_hexdigit()), "gpg-agent made {name:?}");
        names.push(format!("{SECRETS}/{name}"));
    }
    ensure!(!names.is_empty(), "gpg-agent has kept no secret key");
    names.extend([ring.to_owned(), "trustdb.gpg".to_owned()]);
    for name in names {
        let made = root.read(&format!("{path}/{SCRATCH}/{name}"))?.map(zeroize::Zeroizing::new);
        let made = made.with_context(|| format!("gpg has made no {name}"))?;
        let meta = root.stat(&format!("{path}/{name}"))?.map_or(Meta { mode: 0o600, ..owner }, |stat| stat.meta);
        writer.put(&format!("{path}/{name}"), &made, meta)?;
    }
    Ok(())
}

/// Lines of `FINGERPRINT:VALUE:`, 6 for ultimate trust, gpg(1).
fn renewed_trust(trust: &str, fingerprint: &str, old: &[String]) -> String {
    let gone = |line: &&str| {
        let of = line.split(':').next().unwrap_or_default();
        line.starts_with('#') || of == fingerprint || old.iter().any(|old| old == of)
    };
    let kept: String = trust.lines().filter(|line| !gone(line)).map(|line| format!("{line}\n")).collect();
    format!("{kept}{fingerprint}:6:\n")
}

/// gpg finds the directory by its path, so no part of it below the root may be a link that leads elsewhere.
fn check_path(root: &Root, path: &str) -> Result<()> {
    for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
        let kind = root.stat(&path[..end])?.map(|stat| stat.kind);
        ensure!(kind == Some(Kind::Directory), "/{} is no directory", &path[..end]);
    }
    Ok(())
}

/// gpg(1) with a home and an owner.
#[derive(Clone, Copy)]
struct Gpg<'a> {
    home: &'a Path,
    owner: (u32, u32),
}

impl Gpg<'_> {
    fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
        let arguments: Vec<&str> = ALWAYS.iter().chain(arguments).copied().collect();
        let (owner, home) = (Some(self.owner), Some(self.home));
        Program { name: "gpg", arguments: &arguments, input, owner, home, patient: false }.run()
    }

    /// Ends the home's agent and what else runs for it.
    fn stop(&self) -> Result<()> {
        let (owner, home) = (Some(self.owner), Some(self.home));
        Program { name: "gpgconf", arguments: &["--kill", "all"], owner, home, ..Program::default() }.run().map(drop)
    }
}
