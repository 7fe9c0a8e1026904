// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keys are born and read here, in memory only: whoever calls writes the files.
//!
//! All randomness is the kernel's, getrandom(2). The run's seed makes no keys, so that who learns it learns no secret.

mod dropbear;
pub mod pgp;
mod rsa;
pub mod secret;
pub mod ssh;
pub mod tls;

use std::{fmt, thread};

use anyhow::{Context as _, Result, anyhow};
use rand::TryRng;
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use crate::plan::key::KeySpec;

/// A key just made, as the files that are to hold it.
///
/// Write the companion first: the private key's rename is then what completes the pair, and after a power cut before
/// it the old private key still stands and the step is simply done again.
pub struct NewKey {
    /// The private key file, for its owner only. Wiped when dropped.
    pub private: Zeroizing<Vec<u8>>,
    /// The file that belongs beside it.
    pub companion: Companion,
    /// `SHA256:...` as `ssh-keygen -l` shows it, or an OpenPGP fingerprint in upper-case hexadecimal.
    pub fingerprint: String,
}

/// Without the secret: a derived `Debug` would print it.
impl fmt::Debug for NewKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("NewKey").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// The file beside a private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Companion {
    /// What is added to the private key's path: `.pub` or `.rev`.
    pub suffix: &'static str,
    /// The whole file: the public key's line, or the armored revocation certificate.
    pub content: Vec<u8>,
    /// May everybody read it? A public key, yes; with a revocation certificate anybody could revoke the key.
    pub public: bool,
}

/// Makes the key that `spec` asks for.
///
/// # Errors
/// When the kernel gives no randomness, or when a comment or user id cannot stand in the key's format.
pub fn make(spec: &KeySpec) -> Result<NewKey> {
    match spec {
        KeySpec::SshHost { algorithm, comment } => {
            ssh::make(*algorithm, comment).with_context(|| format!("making an SSH key ({algorithm:?})"))
        }
        KeySpec::OpenPgp { algorithm, user_id, armored, valid_days, .. } => {
            pgp::make(*algorithm, user_id, *armored, *valid_days)
                .with_context(|| format!("making an OpenPGP key ({algorithm:?}) for {user_id:?}"))
        }
    }
}

/// Makes all keys at the same time, an RSA key on all cores; the results are in the order of `specs`.
///
/// # Errors
/// Each key's own, as [`make`] gives it: one that fails keeps none of the others from being made.
pub fn make_all(specs: &[KeySpec]) -> Vec<Result<NewKey>> {
    thread::scope(|scope| {
        let started: Vec<_> =
            specs.iter().map(|spec| (spec, thread::Builder::new().spawn_scoped(scope, || make(spec)))).collect();
        let finish = |(spec, started): (&KeySpec, std::io::Result<thread::ScopedJoinHandle<_>>)| match started {
            Ok(thread) => thread.join().unwrap_or_else(|_| Err(anyhow!("making a key: the thread died"))),
            // No thread to be had: the key is still needed.
            Err(_) => make(spec),
        };
        started.into_iter().map(finish).collect()
    })
}

/// Fingerprint of the key in a private key file, if it is of the algorithm that `spec` asks for; `None` if it is of
/// another. With it the executor tells a key that it has made already from the one that it must replace.
///
/// # Errors
/// When the file holds no key that can be read; the message says what it holds instead.
pub fn read(private: &[u8], spec: &KeySpec) -> Result<Option<String>> {
    match spec {
        KeySpec::SshHost { algorithm, .. } => match ssh::read_private(private)? {
            ssh::PrivateFile::OpenSsh(key) if key.algorithm() == Some(*algorithm) => Ok(Some(key.fingerprint())),
            _ => Ok(None),
        },
        KeySpec::OpenPgp { algorithm, .. } => {
            let keys = pgp::read(private)?;
            let wanted = |key: &&pgp::PgpKey| key.has_secret && key.algorithm == Some(*algorithm);
            Ok(keys.iter().find(wanted).map(|key| key.fingerprint.clone()))
        }
    }
}

/// The kernel's generator, once it has answered.
///
/// getrandom(2) waits until the kernel's pool is filled and from then on does not fail, so a first draw decides
/// whether there is randomness at all; the wrapped generator, which could only panic, is handed out after it.
fn entropy() -> Result<UnwrapErr<SysRng>> {
    SysRng.try_next_u64().context("asking the kernel for randomness")?;
    Ok(UnwrapErr(SysRng))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;
    use std::path::Path;
    use std::process::{Command, Output};

    use super::*;
    use crate::plan::key::{PgpAlgorithm, SshAlgorithm};

    /// Is the program installed? Without it a test is skipped, and says so; a test machine that must have all of them
    /// sets `RESEAL_TEST_REQUIRE=1`.
    pub fn installed(program: &str) -> bool {
        let found = ["/usr/bin", "/usr/sbin"].iter().any(|dir| Path::new(dir).join(program).exists());
        if !found {
            assert!(std::env::var_os("RESEAL_TEST_REQUIRE").is_none_or(|v| v != "1"), "{program} is not installed");
            // Not by eprintln, which the test runner would keep to itself.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {program} is not installed");
        }
        found
    }

    /// Runs a program that must succeed; its standard output.
    pub fn run(command: &mut Command) -> String {
        let Output { status, stdout, stderr } = command.env("LC_ALL", "C").output().unwrap();
        assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    fn host(algorithm: SshAlgorithm) -> KeySpec {
        KeySpec::SshHost { algorithm, comment: "root@clone".into() }
    }

    #[test]
    fn a_set_is_made_in_order_and_each_time_anew() {
        let pgp = KeySpec::pgp(PgpAlgorithm::Cv25519, "clone", true);
        let specs = [host(SshAlgorithm::Rsa2048), host(SshAlgorithm::EcdsaP256), host(SshAlgorithm::Ed25519), pgp];
        let mut fingerprints = Vec::new();
        for _ in 0..2 {
            for (spec, key) in specs.iter().zip(make_all(&specs)) {
                let key = key.unwrap();
                assert_eq!(read(&key.private, spec).unwrap().as_ref(), Some(&key.fingerprint));
                assert_eq!(format!("{key:?}"), format!("NewKey {{ fingerprint: {:?}, .. }}", key.fingerprint));
                fingerprints.push(key.fingerprint);
            }
        }
        fingerprints.sort();
        fingerprints.dedup();
        assert_eq!(fingerprints.len(), 8);
    }

    #[test]
    fn one_bad_spec_spoils_no_other() {
        let bad = KeySpec::SshHost { algorithm: SshAlgorithm::Ed25519, comment: "two\nlines".into() };
        let keys = make_all(&[bad, host(SshAlgorithm::Ed25519)]);
        assert!(format!("{:#}", keys[0].as_ref().unwrap_err()).contains("comment"));
        assert!(keys[1].is_ok());
    }

    #[test]
    fn a_key_of_another_algorithm_is_not_the_one_asked_for() {
        let key = make(&host(SshAlgorithm::EcdsaP256)).unwrap();
        assert_eq!(read(&key.private, &host(SshAlgorithm::EcdsaP384)).unwrap(), None);
        assert!(read(b"", &host(SshAlgorithm::Ed25519)).is_err());
    }
}
