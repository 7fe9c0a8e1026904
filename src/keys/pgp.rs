// SPDX-License-Identifier: MIT OR Apache-2.0
//! OpenPGP keys: made in v4 packets (RFC 4880), which every GnuPG in use reads, and read in any.
//!
//! The certificate is put together packet by packet and not by sequoia's `CertBuilder`, because that one makes its
//! RSA keys itself, on one core and several times slower than `rsa` does.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use sequoia_openpgp::armor::{Kind, Writer};
use sequoia_openpgp::cert::{CertParser, CertRevocationBuilder};
use sequoia_openpgp::crypto::mpi;
use sequoia_openpgp::packet::key::{Key4, PrimaryRole, SecretParts, SubordinateRole, UnspecifiedRole};
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::packet::{Key, UserID};
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::serialize::SerializeInto as _;
use sequoia_openpgp::types::{
    Curve, Features, HashAlgorithm, KeyFlags, ReasonForRevocation, SignatureType, SymmetricAlgorithm,
};
use sequoia_openpgp::{Cert, Packet};
use zeroize::Zeroizing;

use super::{Companion, NewKey, rsa};
use crate::plan::key::PgpAlgorithm;

/// Keys and signatures are dated back by this, as sequoia does it: a reader whose clock is a little slow would
/// otherwise take them for made in the future, and refuse them.
const BACKDATED: Duration = Duration::from_secs(60);

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Sign,
    Encrypt,
}

/// Makes a certificate for `user_id`: a primary key that certifies, a subkey that signs and one that encrypts. It has
/// no passphrase, for nobody is there to be asked, and does not expire.
pub(super) fn make(algorithm: PgpAlgorithm, user_id: &str, armored: bool) -> Result<NewKey> {
    ensure!(!user_id.is_empty() && !user_id.contains(char::is_control), "{user_id:?} is no user id");
    // A machine without a clock of its own starts at the epoch, which v4 packets cannot go behind.
    let created = UNIX_EPOCH.max(SystemTime::now() - BACKDATED);
    let primary: Key<SecretParts, PrimaryRole> = key(algorithm, Use::Sign, created)?.role_into_primary();
    let mut signer = primary.clone().into_keypair()?;
    let signature =
        |kind| SignatureBuilder::new(kind).set_hash_algo(HashAlgorithm::SHA512).set_signature_creation_time(created);

    let cert = Cert::try_from(vec![Packet::from(primary.clone())])?;
    let user_id = UserID::from(user_id);
    let self_signature = signature(SignatureType::PositiveCertification)?
        .set_primary_userid(true)?
        .set_features(Features::empty().set_seipdv1())?
        .set_key_flags(KeyFlags::empty().set_certification())?
        .set_preferred_hash_algorithms(vec![HashAlgorithm::SHA512, HashAlgorithm::SHA256])?
        .set_preferred_symmetric_algorithms(vec![SymmetricAlgorithm::AES256, SymmetricAlgorithm::AES128])?;
    let self_signature = user_id.bind(&mut signer, &cert, self_signature)?;

    // A subkey that signs must sign that it belongs to the primary key, RFC 4880, 5.2.1 (type 0x19).
    let signing: Key<SecretParts, SubordinateRole> = key(algorithm, Use::Sign, created)?.role_into_subordinate();
    let back_signature = signature(SignatureType::PrimaryKeyBinding)?.sign_primary_key_binding(
        &mut signing.clone().into_keypair()?,
        &primary,
        &signing,
    )?;
    let signing_binding = signature(SignatureType::SubkeyBinding)?
        .set_key_flags(KeyFlags::empty().set_signing())?
        .set_embedded_signature(back_signature)?;
    let signing_binding = signing.bind(&mut signer, &cert, signing_binding)?;

    let encryption: Key<SecretParts, SubordinateRole> = key(algorithm, Use::Encrypt, created)?.role_into_subordinate();
    let encryption_binding = signature(SignatureType::SubkeyBinding)?
        .set_key_flags(KeyFlags::empty().set_transport_encryption().set_storage_encryption())?;
    let encryption_binding = encryption.bind(&mut signer, &cert, encryption_binding)?;

    let (cert, _) = cert.insert_packets([
        Packet::from(user_id),
        self_signature.into(),
        signing.into(),
        signing_binding.into(),
        encryption.into(),
        encryption_binding.into(),
    ])?;
    let revocation = CertRevocationBuilder::new()
        .set_signature_creation_time(created)?
        .set_reason_for_revocation(ReasonForRevocation::Unspecified, b"")?
        .build(&mut signer, &cert, None)?;

    let private = if armored { cert.as_tsk().armored().to_vec()? } else { cert.as_tsk().to_vec()? };
    Ok(NewKey {
        private: Zeroizing::new(private),
        companion: Companion { suffix: ".rev", content: armor_revocation(revocation.into())?, public: false },
        fingerprint: cert.fingerprint().to_hex(),
    })
}

/// A key pair on its own, its role not yet given.
fn key(algorithm: PgpAlgorithm, usage: Use, created: SystemTime) -> Result<Key<SecretParts, UnspecifiedRole>> {
    let mut key: Key4<SecretParts, UnspecifiedRole> = match (algorithm, usage) {
        (PgpAlgorithm::Cv25519, Use::Sign) => Key4::generate_ecc(true, Curve::Ed25519)?,
        (PgpAlgorithm::Cv25519, Use::Encrypt) => Key4::generate_ecc(false, Curve::Cv25519)?,
        (PgpAlgorithm::Rsa3072, _) => rsa_key(&rsa::make(3072)?)?,
        (PgpAlgorithm::Rsa4096, _) => rsa_key(&rsa::make(4096)?)?,
    };
    key.set_creation_time(created)?;
    Ok(key.into())
}

fn rsa_key(parts: &rsa::Parts) -> Result<Key4<SecretParts, UnspecifiedRole>> {
    Key4::import_secret_rsa(&parts.d, &parts.p, &parts.q, None)
}

/// As GnuPG writes and imports it: a bare signature in the armour of a public key.
fn armor_revocation(revocation: Packet) -> Result<Vec<u8>> {
    let comment = ("Comment", "This is a revocation certificate");
    let mut armor = Writer::with_headers(Vec::new(), Kind::PublicKey, [comment])?;
    armor.write_all(&revocation.to_vec()?)?;
    Ok(armor.finalize()?)
}

/// A key in an OpenPGP file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgpKey {
    /// Fingerprint of the primary key, upper-case hexadecimal.
    pub fingerprint: String,
    /// User ids in the order of the file; bytes that are not UTF-8 are replaced.
    pub user_ids: Vec<String>,
    /// When the primary key was made, as it says itself.
    pub created: SystemTime,
    /// Does the file hold a secret part of it?
    pub has_secret: bool,
    /// Algorithm of the primary key as policy names it; `None` for one that reseal does not make.
    pub algorithm: Option<PgpAlgorithm>,
}

/// Lists the keys of an OpenPGP file: one key or a keyring, armored or binary, public or secret.
///
/// # Errors
/// When the file holds no key, or one that cannot be read.
pub fn read(file: &[u8]) -> Result<Vec<PgpKey>> {
    let read = || -> Result<Vec<PgpKey>> {
        ensure!(!file.is_empty(), "the file is empty");
        let keys = CertParser::from_bytes(file)?.map(|cert| Ok(describe(&cert?))).collect::<Result<Vec<_>>>()?;
        ensure!(!keys.is_empty(), "the file holds no key");
        Ok(keys)
    };
    read().context("reading an OpenPGP key")
}

fn describe(cert: &Cert) -> PgpKey {
    let primary = cert.primary_key().key();
    let algorithm = match primary.mpis() {
        mpi::PublicKey::EdDSA { curve: Curve::Ed25519, .. } => Some(PgpAlgorithm::Cv25519),
        mpi::PublicKey::RSA { n, .. } if n.bits() == 3072 => Some(PgpAlgorithm::Rsa3072),
        mpi::PublicKey::RSA { n, .. } if n.bits() == 4096 => Some(PgpAlgorithm::Rsa4096),
        _ => None,
    };
    PgpKey {
        fingerprint: cert.fingerprint().to_hex(),
        user_ids: cert.userids().map(|id| String::from_utf8_lossy(id.userid().value()).into_owned()).collect(),
        created: primary.creation_time(),
        has_secret: cert.is_tsk(),
        algorithm,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use tempfile::TempDir;

    use super::super::tests::{installed, run};
    use super::*;

    /// A GnuPG home of its own, whose agent dies with it.
    struct Home(TempDir);

    impl Home {
        fn new() -> Home {
            Home(tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir_in("/tmp").unwrap())
        }

        fn gpg(&self, arguments: &[&str]) -> String {
            run(Command::new("gpg")
                .args(["--batch", "--yes", "--quiet"])
                .args(arguments)
                .env("GNUPGHOME", self.0.path())
                .current_dir(self.0.path()))
        }

        fn write(&self, name: &str, content: &[u8]) {
            fs::write(self.0.path().join(name), content).unwrap();
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.0.path()).status();
        }
    }

    #[test]
    fn gnupg_uses_every_algorithm() {
        if !installed("gpg") {
            return;
        }
        let rsa = ("1", "1");
        for (algorithm, (sign, encrypt), armored) in [
            (PgpAlgorithm::Cv25519, ("22", "18"), true),
            (PgpAlgorithm::Rsa3072, rsa, false),
            (PgpAlgorithm::Rsa4096, rsa, true),
        ] {
            let home = Home::new();
            let key = make(algorithm, "Clone <root@clone>", armored).unwrap();
            assert_eq!(key.private.starts_with(b"-----BEGIN PGP PRIVATE KEY BLOCK-----"), armored);
            home.write("key", &key.private);
            home.gpg(&["--import", "key"]);
            let listed = home.gpg(&["--list-secret-keys", "--with-colons"]);
            assert!(listed.contains(&format!("fpr:::::::::{}:", key.fingerprint)), "{listed}");
            assert!(listed.contains(":Clone <root@clone>:"), "{listed}");
            // Field 4 is the algorithm, 12 what the key may be used for, capitals for the whole: GnuPG's doc/DETAILS.
            let keys = listed.lines().filter(|line| line.starts_with('s')).map(|line| line.split(':').collect());
            let mut uses: Vec<_> =
                keys.map(|key: Vec<_>| (key[11].trim_end_matches(char::is_uppercase), key[3])).collect();
            uses.sort();
            assert_eq!(uses, [("c", sign), ("e", encrypt), ("s", sign)], "{listed}");

            home.write("text", b"renewed");
            home.gpg(&[
                "--trust-model",
                "always",
                "--sign",
                "--encrypt",
                "--recipient",
                "root@clone",
                "--output",
                "sealed",
                "text",
            ]);
            assert_eq!(home.gpg(&["--decrypt", "sealed"]), "renewed");
            home.write("key.rev", &key.companion.content);
            home.gpg(&["--import", "key.rev"]);
            assert!(home.gpg(&["--list-keys", "--with-colons"]).contains("\npub:r:"));
        }
    }

    #[test]
    fn keys_of_gnupg_are_read() {
        if !installed("gpg") {
            return;
        }
        let home = Home::new();
        for (name, algorithm) in [("a", "default"), ("b", "rsa3072"), ("c", "dsa2048")] {
            home.gpg(&["--passphrase", "", "--quick-generate-key", name, algorithm]);
        }
        home.gpg(&["--export", "--output", "ring"]);
        home.gpg(&["--passphrase", "", "--armor", "--export-secret-keys", "--output", "secret"]);
        for (file, has_secret) in [("ring", false), ("secret", true)] {
            let keys = read(&fs::read(home.0.path().join(file)).unwrap()).unwrap();
            let found: Vec<_> = keys.iter().map(|key| (key.user_ids.concat(), key.has_secret)).collect();
            assert_eq!(found, ["a", "b", "c"].map(|name| (name.to_owned(), has_secret)));
            assert_eq!(keys[1].algorithm, Some(PgpAlgorithm::Rsa3072));
            assert_eq!(keys[2].algorithm, None);
            assert!(keys[0].created.elapsed().unwrap() < Duration::from_secs(3600));
            let listed = home.gpg(&["--list-keys", "--with-colons"]);
            assert!(keys.iter().all(|key| listed.contains(&key.fingerprint)));
        }
    }

    #[test]
    fn a_made_key_is_read_back() {
        let keys = [false, true].map(|armored| make(PgpAlgorithm::Cv25519, "web1", armored).unwrap());
        for key in &keys {
            let found = read(&key.private).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!((&found[0].fingerprint, found[0].has_secret), (&key.fingerprint, true));
            assert_eq!(found[0].algorithm, Some(PgpAlgorithm::Cv25519));
            assert_eq!(found[0].user_ids, ["web1"]);
        }
        let two_armored = [make(PgpAlgorithm::Cv25519, "x", true).unwrap().private, keys[1].private.clone()];
        assert_eq!(read(&[two_armored[0].as_slice(), two_armored[1].as_slice()].concat()).unwrap().len(), 2);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        for file in [&b""[..], b"hello", &[0; 100]] {
            assert!(format!("{:#}", read(file).unwrap_err()).starts_with("reading an OpenPGP key: "));
        }
        let key = make(PgpAlgorithm::Cv25519, "web1", false).unwrap();
        assert!(read(&key.companion.content).is_err(), "a revocation certificate is no key");
        assert!(make(PgpAlgorithm::Cv25519, "a\nb", false).is_err());
        assert!(make(PgpAlgorithm::Cv25519, "", false).is_err());
    }
}
