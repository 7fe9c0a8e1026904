// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a plan says of a key: algorithm and label, never a secret. The key itself is born in the executor.

use serde::{Deserialize, Serialize};

use crate::catalogue::{Field, Value};

/// Algorithm of an SSH host key, named as in policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SshAlgorithm {
    /// Ed25519, RFC 8709.
    #[serde(rename = "ed25519")]
    Ed25519,
    /// ECDSA over NIST P-256, RFC 5656.
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    /// ECDSA over NIST P-384, RFC 5656.
    #[serde(rename = "ecdsa-p384")]
    EcdsaP384,
    /// ECDSA over NIST P-521, RFC 5656.
    #[serde(rename = "ecdsa-p521")]
    EcdsaP521,
    /// RSA of 2048 bits, the smallest that OpenSSH still takes from anybody.
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// RSA of 3072 bits, what ssh-keygen(1) makes by default.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    /// RSA of 4096 bits.
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

/// Algorithm of an OpenPGP key, named as in policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PgpAlgorithm {
    /// Ed25519 and X25519 in v4 packets, which every GnuPG since 2.1 reads.
    #[default]
    Cv25519,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
    /// Ed25519 and X25519 in v6 packets, RFC 9580, which GnuPG does not read.
    V6Cv25519,
}

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields, rename_all = "kebab-case")]
pub enum KeySpec {
    /// An SSH host key pair: the private key at the step's path, the public one beside it with `.pub`.
    SshHost {
        /// Which algorithm and size.
        algorithm: SshAlgorithm,
        /// Comment of the public key, usually `root@host`.
        comment: String,
    },
    /// An OpenPGP transferable secret key, its revocation certificate beside it with `.rev`.
    OpenPgp {
        /// Which algorithm.
        algorithm: PgpAlgorithm,
        /// User id, `Name <address>` or just a host name.
        user_id: String,
        /// ASCII armour, or binary packets.
        armored: bool,
        /// After how many days it expires; never where none are given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        valid_days: Option<u32>,
        /// The key store that it is for, where it goes into one; the step's path is a file in it then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        store: Option<String>,
    },
}

impl KeySpec {
    /// An OpenPGP key in a file, which does not expire.
    pub fn pgp(algorithm: PgpAlgorithm, user_id: &str, armored: bool) -> KeySpec {
        KeySpec::OpenPgp { algorithm, user_id: user_id.to_owned(), armored, valid_days: None, store: None }
    }
}

/// A secret that takes the place of the one in its file; the rest of the file stays byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Secret {
    /// A value of this form.
    Value {
        /// Which form.
        value: Value,
        /// Where it stands; none: it is the whole file.
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<Field>,
    },
    /// A private key in PEM, and the self-signed certificate that is made anew with it.
    Certificate {
        /// The certificate's file, which may be that of the key.
        certificate: String,
        /// Host names, old and new, as they may stand in it.
        names: Vec<(String, String)>,
    },
}
