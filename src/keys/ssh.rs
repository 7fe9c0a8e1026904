// SPDX-License-Identifier: MIT OR Apache-2.0
//! SSH host keys: made and read in OpenSSH's own formats.

use std::str;

use anyhow::{Context as _, Result, bail, ensure};
use ssh_key::private::{EcdsaKeypair, Ed25519Keypair, KeypairData, RsaKeypair, RsaPrivateKey};
use ssh_key::public::{EcdsaPublicKey, KeyData, RsaPublicKey};
use ssh_key::{Algorithm, Certificate, EcdsaCurve, HashAlg, LineEnding, Mpint, PrivateKey, PublicKey};
use zeroize::Zeroizing;

use super::{Companion, NewKey, entropy, rsa};
use crate::plan::PublicForm;
use crate::plan::key::SshAlgorithm;

/// Makes a host key without a passphrase, which sshd(8) could not ask for.
pub(super) fn make(algorithm: SshAlgorithm, comment: &str) -> Result<NewKey> {
    ensure!(!comment.contains(char::is_control), "the comment {comment:?} does not fit on one line");
    let pair = match algorithm {
        SshAlgorithm::Ed25519 => KeypairData::from(Ed25519Keypair::random(&mut entropy()?)),
        SshAlgorithm::EcdsaP256 => ecdsa(EcdsaCurve::NistP256)?,
        SshAlgorithm::EcdsaP384 => ecdsa(EcdsaCurve::NistP384)?,
        SshAlgorithm::EcdsaP521 => ecdsa(EcdsaCurve::NistP521)?,
        SshAlgorithm::Rsa2048 => rsa_pair(&rsa::make(2048)?)?,
        SshAlgorithm::Rsa3072 => rsa_pair(&rsa::make(3072)?)?,
        SshAlgorithm::Rsa4096 => rsa_pair(&rsa::make(4096)?)?,
    };
    let key = PrivateKey::new(pair, comment)?;
    let mut private = key.to_openssh(LineEnding::LF)?;
    let public = SshKey(key.public_key().clone());
    Ok(NewKey {
        private: Zeroizing::new(std::mem::take(&mut *private).into_bytes()),
        companion: Companion { suffix: ".pub", content: public.line()?.into_bytes(), public: true },
        fingerprint: public.fingerprint(),
    })
}

fn ecdsa(curve: EcdsaCurve) -> Result<KeypairData> {
    Ok(EcdsaKeypair::random(&mut entropy()?, curve)?.into())
}

fn rsa_pair(parts: &rsa::Parts) -> Result<KeypairData> {
    let number = |bytes: &[u8]| Mpint::from_positive_bytes(bytes);
    let public = RsaPublicKey::new(number(&parts.e), number(&parts.n))?;
    let private = RsaPrivateKey::new(number(&parts.d), number(&parts.iqmp), number(&parts.p), number(&parts.q))?;
    Ok(RsaKeypair::new(public, private)?.into())
}

/// A public key: from a `.pub` file, out of a private key or out of a host certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKey(PublicKey);

impl SshKey {
    /// The algorithm's name in the SSH protocol, `ssh-ed25519`.
    pub fn name(&self) -> String {
        self.0.algorithm().as_str().to_owned()
    }

    /// The algorithm as policy names it; `None` for one that reseal does not make, such as DSA or RSA of 1024 bits.
    pub fn algorithm(&self) -> Option<SshAlgorithm> {
        match self.0.algorithm() {
            Algorithm::Ed25519 => Some(SshAlgorithm::Ed25519),
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 } => Some(SshAlgorithm::EcdsaP256),
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 } => Some(SshAlgorithm::EcdsaP384),
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 } => Some(SshAlgorithm::EcdsaP521),
            Algorithm::Rsa { .. } => match self.0.key_data().rsa()?.key_size() {
                2048 => Some(SshAlgorithm::Rsa2048),
                3072 => Some(SshAlgorithm::Rsa3072),
                4096 => Some(SshAlgorithm::Rsa4096),
                _ => None,
            },
            _ => None,
        }
    }

    /// Size of the key in bits, as `ssh-keygen -l` shows it.
    pub fn bits(&self) -> u32 {
        match self.0.key_data() {
            KeyData::Rsa(key) => key.key_size(),
            KeyData::Ecdsa(EcdsaPublicKey::NistP384(_)) => 384,
            KeyData::Ecdsa(EcdsaPublicKey::NistP521(_)) => 521,
            KeyData::Dsa(_) => 1024,
            _ => 256,
        }
    }

    /// The family's name in capitals, as `ssh-keygen -l` shows it.
    pub fn family(&self) -> &'static str {
        match self.0.algorithm() {
            Algorithm::Rsa { .. } => "RSA",
            Algorithm::Dsa => "DSA",
            Algorithm::Ecdsa { .. } => "ECDSA",
            Algorithm::Ed25519 => "ED25519",
            _ => "OTHER",
        }
    }

    /// `SHA256:...`, as `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The whole `.pub` file: algorithm, key, comment, newline.
    ///
    /// # Errors
    /// When the comment read with the key is not text.
    pub fn line(&self) -> Result<String> {
        Ok(self.0.to_openssh().context("writing a public SSH key")? + "\n")
    }

    /// The DNS record with which a resolver vouches for the key, RFC 4255, without a newline; `None` if the algorithm
    /// has no number there. The digest is SHA-256 (RFC 6594): the older SHA-1 record adds nothing but SHA-1.
    pub fn sshfp(&self, host: &str) -> Option<String> {
        // IANA, "DNS SSHFP Resource Record Parameters": RFC 4255, RFC 6594, RFC 7479.
        let algorithm = match self.0.algorithm() {
            Algorithm::Rsa { .. } => 1,
            Algorithm::Dsa => 2,
            Algorithm::Ecdsa { .. } => 3,
            Algorithm::Ed25519 => 4,
            _ => return None,
        };
        let digest: String =
            self.0.fingerprint(HashAlg::Sha256).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        Some(format!("{host} IN SSHFP {algorithm} 2 {digest}"))
    }

    /// The line of an ssh_known_hosts file, sshd(8), with its newline. A name with another port than 22 is written
    /// `[name]:port`.
    ///
    /// # Errors
    /// When a name cannot stand in the file.
    pub fn known_hosts_line(&self, names: &[&str]) -> Result<String> {
        let fits = |name: &&str| !name.is_empty() && !name.contains(|c: char| c == ',' || c.is_whitespace());
        ensure!(!names.is_empty() && names.iter().all(fits), "no name for a known_hosts file in {names:?}");
        let mut bare = self.0.clone();
        bare.set_comment("");
        Ok(format!("{} {}\n", names.join(","), bare.to_openssh()?.trim_end()))
    }
}

/// The public halves of host keys, each the content of a `.pub` file, as `form` writes them down for others.
///
/// # Errors
/// When one is no public key, or the name cannot stand there.
pub fn publish(form: PublicForm, name: &str, publics: &[Vec<u8>]) -> Result<String> {
    let mut text = String::new();
    for file in publics {
        let key = read_public(file)?;
        match form {
            PublicForm::KnownHosts => text.push_str(&key.known_hosts_line(&[name])?),
            PublicForm::Sshfp => {
                text.push_str(&key.sshfp(name).unwrap_or_default());
                text.push('\n');
            }
        }
    }
    Ok(text)
}

/// What a private key file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrivateFile {
    /// OpenSSH's own format, the only one that ssh-keygen(1) has written since 7.8; also with a passphrase.
    OpenSsh(SshKey),
    /// PEM, as of old: the family it names (`RSA`, `ECDSA`, `DSA`), or `None` in PKCS#8, where only the inside tells.
    /// Size and fingerprint are those of the `.pub` beside it.
    Pem(Option<&'static str>),
}

/// Reads a private key file as far as its public part.
///
/// # Errors
/// When it holds no private key; the message says what it holds instead.
pub fn read_private(file: &[u8]) -> Result<PrivateFile> {
    let text = text(file).context("reading a private SSH key")?;
    let label = text.strip_prefix("-----BEGIN ").and_then(|rest| rest.split_once("-----")).map(|(label, _)| label);
    Ok(match label {
        Some("OPENSSH PRIVATE KEY") => {
            let key = PrivateKey::from_openssh(text).context("reading a private SSH key")?;
            PrivateFile::OpenSsh(SshKey(key.public_key().clone()))
        }
        Some("RSA PRIVATE KEY") => PrivateFile::Pem(Some("RSA")),
        Some("EC PRIVATE KEY") => PrivateFile::Pem(Some("ECDSA")),
        Some("DSA PRIVATE KEY") => PrivateFile::Pem(Some("DSA")),
        Some("PRIVATE KEY" | "ENCRYPTED PRIVATE KEY") => PrivateFile::Pem(None),
        Some(other) => bail!("reading a private SSH key: the file holds {other:?}"),
        None => bail!("reading a private SSH key: the file does not begin with -----BEGIN"),
    })
}

/// Reads a `.pub` file.
///
/// # Errors
/// When it is not one public key.
pub fn read_public(file: &[u8]) -> Result<SshKey> {
    let read = || -> Result<_> { Ok(SshKey(PublicKey::from_openssh(text(file)?)?)) };
    read().context("reading a public SSH key")
}

/// Reads a host certificate (`-cert.pub`): the key that it certifies. Its signature is not checked: a certificate
/// for an old key is stale whoever signed it.
///
/// # Errors
/// When it is not one certificate.
pub fn read_certificate(file: &[u8]) -> Result<SshKey> {
    let read = || -> Result<_> {
        let certificate = Certificate::from_openssh(text(file)?)?;
        Ok(SshKey(PublicKey::new(certificate.public_key().clone(), certificate.comment())))
    };
    read().context("reading an SSH host certificate")
}

/// The file as text, or in words what is wrong with it. A file of zero length, or of zero bytes, is what a crash
/// leaves of a key whose data never reached the disk.
fn text(file: &[u8]) -> Result<&str> {
    ensure!(!file.is_empty(), "the file is empty");
    ensure!(file.iter().any(|&byte| byte != 0), "the file holds nothing but zero bytes");
    let text = str::from_utf8(file).context("the file is not text")?;
    Ok(text.trim())
}
