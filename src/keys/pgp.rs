// SPDX-License-Identifier: MIT OR Apache-2.0
//! OpenPGP keys: made in v4 packets (RFC 4880), which every GnuPG in use reads, and read in any.
//!
//! The certificate is put together packet by packet and not by sequoia's `CertBuilder`, because that one makes its
//! RSA keys itself, on one core and several times slower than `rsa` does.

mod grip;
mod read;
pub mod ring;

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail, ensure};
use sequoia_openpgp::armor::{Kind, Writer};
use sequoia_openpgp::cert::{CertBuilder, CertRevocationBuilder, CipherSuite};
use sequoia_openpgp::packet::key::{Key4, PrimaryRole, SecretParts, SubordinateRole, UnspecifiedRole};
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::packet::{Key, Signature, UserID};
use sequoia_openpgp::serialize::SerializeInto as _;
use sequoia_openpgp::types::{
    Curve, Features, HashAlgorithm, KeyFlags, ReasonForRevocation, SignatureType, SymmetricAlgorithm,
};
use sequoia_openpgp::{Cert, Packet, Profile};
use zeroize::Zeroizing;

use super::{Companion, NewKey, rsa};
use crate::plan::key::PgpAlgorithm;
pub use read::{PgpKey, read};

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
/// no passphrase, for nobody is there to be asked; it expires after `valid_days`, or never.
pub(super) fn make(algorithm: PgpAlgorithm, user_id: &str, armored: bool, valid_days: Option<u32>) -> Result<NewKey> {
    ensure!(!user_id.is_empty() && !user_id.contains(char::is_control), "{user_id:?} is no user id");
    // A machine without a clock of its own starts at the epoch, which v4 packets cannot go behind.
    let created = UNIX_EPOCH.max(SystemTime::now() - BACKDATED);
    let validity = valid_days.map(|days| Duration::from_secs(u64::from(days) * 24 * 60 * 60));
    let (cert, revocation) = match algorithm {
        PgpAlgorithm::V6Cv25519 => CertBuilder::new()
            .set_profile(Profile::RFC9580)?
            .set_cipher_suite(CipherSuite::Cv25519)
            .set_creation_time(created)
            .set_validity_period(validity)
            .set_primary_key_flags(KeyFlags::empty().set_certification())
            .add_userid(user_id)
            .add_signing_subkey()
            .add_subkey(KeyFlags::empty().set_transport_encryption().set_storage_encryption(), None, None)
            .generate()?,
        _ => make_v4(algorithm, user_id, created, validity)?,
    };
    let private = if armored { cert.as_tsk().armored().to_vec()? } else { cert.as_tsk().to_vec()? };
    Ok(NewKey {
        private: Zeroizing::new(private),
        companion: Companion { suffix: ".rev", content: armor_revocation(revocation.into())?, public: false },
        fingerprint: cert.fingerprint().to_hex(),
    })
}

fn make_v4(
    algorithm: PgpAlgorithm,
    user_id: &str,
    created: SystemTime,
    validity: Option<Duration>,
) -> Result<(Cert, Signature)> {
    let primary: Key<SecretParts, PrimaryRole> = key(algorithm, Use::Sign, created)?.role_into_primary();
    let mut signer = primary.clone().into_keypair()?;
    let signature =
        |kind| SignatureBuilder::new(kind).set_hash_algo(HashAlgorithm::SHA512).set_signature_creation_time(created);

    let cert = Cert::try_from(vec![Packet::from(primary.clone())])?;
    let user_id = UserID::from(user_id);
    let self_signature = signature(SignatureType::PositiveCertification)?
        .set_primary_userid(true)?
        .set_key_validity_period(validity)?
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

    Ok((cert, revocation))
}

/// A key pair on its own, its role not yet given.
fn key(algorithm: PgpAlgorithm, usage: Use, created: SystemTime) -> Result<Key<SecretParts, UnspecifiedRole>> {
    let mut key: Key4<SecretParts, UnspecifiedRole> = match (algorithm, usage) {
        (PgpAlgorithm::Cv25519, Use::Sign) => Key4::generate_ecc(true, Curve::Ed25519)?,
        (PgpAlgorithm::Cv25519, Use::Encrypt) => Key4::generate_ecc(false, Curve::Cv25519)?,
        (PgpAlgorithm::Rsa3072, _) => rsa_key(&rsa::make(3072)?)?,
        (PgpAlgorithm::Rsa4096, _) => rsa_key(&rsa::make(4096)?)?,
        (PgpAlgorithm::V6Cv25519, _) => bail!("no algorithm of a v4 key"),
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

#[cfg(test)]
mod tests;
