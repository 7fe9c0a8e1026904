// SPDX-License-Identifier: MIT OR Apache-2.0
//! What OpenPGP keys stand in a file.

use std::io::Write as _;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use sequoia_openpgp::Cert;
use sequoia_openpgp::armor::{Kind, Writer};
use sequoia_openpgp::cert::CertParser;
use sequoia_openpgp::crypto::mpi;
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::serialize::SerializeInto as _;
use sequoia_openpgp::types::Curve;

use crate::plan::key::PgpAlgorithm;

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
    /// The public part, armoured, without secrets.
    pub public: Vec<u8>,
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
        let keys = CertParser::from_bytes(file)?.map(|cert| describe(&cert?)).collect::<Result<Vec<_>>>()?;
        ensure!(!keys.is_empty(), "the file holds no key");
        Ok(keys)
    };
    read().context("reading an OpenPGP key")
}

fn describe(cert: &Cert) -> Result<PgpKey> {
    let primary = cert.primary_key().key();
    let algorithm = match primary.mpis() {
        mpi::PublicKey::EdDSA { curve: Curve::Ed25519, .. } => Some(PgpAlgorithm::Cv25519),
        mpi::PublicKey::Ed25519 { .. } if primary.version() == 6 => Some(PgpAlgorithm::V6Cv25519),
        mpi::PublicKey::RSA { n, .. } if n.bits() == 3072 => Some(PgpAlgorithm::Rsa3072),
        mpi::PublicKey::RSA { n, .. } if n.bits() == 4096 => Some(PgpAlgorithm::Rsa4096),
        _ => None,
    };
    Ok(PgpKey {
        fingerprint: cert.fingerprint().to_hex(),
        user_ids: user_ids(cert),
        created: primary.creation_time(),
        has_secret: cert.is_tsk(),
        public: public(cert)?,
        algorithm,
    })
}

/// The public part, armoured, without the comments that the file with the secret may have too.
pub(super) fn public(cert: &Cert) -> Result<Vec<u8>> {
    let mut armor = Writer::new(Vec::new(), Kind::PublicKey)?;
    armor.write_all(&cert.clone().strip_secret_key_material().to_vec()?)?;
    Ok(armor.finalize()?)
}

/// A certificate's user ids, in its own order.
pub(super) fn user_ids(cert: &Cert) -> Vec<String> {
    cert.userids().map(|id| String::from_utf8_lossy(id.userid().value()).into_owned()).collect()
}
