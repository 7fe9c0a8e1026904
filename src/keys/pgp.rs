// SPDX-License-Identifier: MIT OR Apache-2.0
//! OpenPGP keys: made in v4 packets (RFC 4880), which every GnuPG in use reads, and read in any.
//!
//! The certificate is put together packet by packet and not by sequoia's `CertBuilder`, because that one makes its
//! RSA keys itself, a minute for three of 4096 bits, where [`rsa`] takes a second or two.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

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
    let created = SystemTime::now() - BACKDATED;
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
