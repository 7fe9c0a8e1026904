// SPDX-License-Identifier: MIT OR Apache-2.0
//! A private key in PEM and the self-signed certificate that was made from it, both made anew: of the same algorithm, for the
//! same purposes, as long valid, and under the new host name.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _};
use ::rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use ::rsa::sha2::{Digest as _, Sha256};
use ::rsa::traits::PublicKeyParts as _;
use ::rsa::{BigUint, Pkcs1v15Sign, RsaPrivateKey};
use anyhow::{Context as _, Result, bail, ensure};
use p256::ecdsa::signature::Signer as _;
use rand::Rng as _;
use x509_cert::Certificate;
use x509_cert::der::asn1::{BitString, GeneralizedTime, Ia5String, ObjectIdentifier, OctetString, SetOfVec, UtcTime};
use x509_cert::der::{Any, DateTime, Decode as _, DecodePem as _, Encode as _, EncodePem as _};
use x509_cert::ext::pkix::AuthorityKeyIdentifier;
use x509_cert::ext::pkix::name::{GeneralName, GeneralNames};
use x509_cert::name::{Name, RelativeDistinguishedName};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};
use zeroize::Zeroizing;

use super::secret::Made;
use super::{entropy, rsa};

/// RFC 5280, 4.2.1.
const SUBJECT_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const SUBJECT_NAMES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const AUTHORITY_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");

/// Algorithms of signatures: RFC 4055, 5; RFC 5758, 3.2.
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

/// The private key in a file, as it stands there.
///
/// # Errors
/// When there is more than one.
pub(super) fn key_block(text: &str) -> Result<Option<&str>> {
    Ok(block(text, "PRIVATE KEY")?.map(|range| &text[range]))
}

/// Can key and certificate be made anew? `certificate` is the text of its file.
///
/// # Errors
/// When the key is of an algorithm that is not made or has a passphrase, or when the certificate is not self-signed, and with
/// `pair` when it is not that of this key.
pub fn check(key: &str, certificate: &str, pair: bool) -> Result<()> {
    let key = Key::read(key_block(key)?.context("it holds no private key in PEM")?)?;
    let certificate = read(certificate)?.1.tbs_certificate;
    ensure!(certificate.issuer == certificate.subject, "its certificate is signed by {}", certificate.issuer);
    let is_its_own = certificate.subject_public_key_info == key.public()?;
    ensure!(is_its_own || !pair, "the certificate beside it is that of another key");
    Ok(())
}

/// The file of the key and, where it is another one, that of the certificate, with a new pair in them.
pub(super) fn renew(file: &str, certificate: Option<&str>, names: &[(String, String)]) -> Result<Made> {
    let (place, old) = read(certificate.unwrap_or(file))?;
    let range = block(file, "PRIVATE KEY")?.context("it holds no private key in PEM")?;
    let key = Key::read(&file[range.clone()])?.successor()?;
    let new = sign(old, &key, names)?.to_pem(LineEnding::LF)?;
    let pem = key.to_pem(&file[range.clone()])?;
    let mut edits = vec![(range, pem.trim_end())];
    let beside = match certificate {
        Some(text) => Some([&text[..place.start], new.trim_end(), &text[place.end..]].concat().into_bytes()),
        None => {
            edits.push((place, new.trim_end()));
            edits.sort_by_key(|(range, _)| range.start);
            None
        }
    };
    let mut out = Zeroizing::new(Vec::with_capacity(file.len() + (16 << 10)));
    let mut at = 0;
    for (range, pem) in edits {
        out.extend_from_slice(&file.as_bytes()[at..range.start]);
        out.extend_from_slice(pem.as_bytes());
        at = range.end;
    }
    out.extend_from_slice(&file.as_bytes()[at..]);
    Ok(Made { file: out, certificate: beside })
}

/// Where the only block of PEM stands whose label ends so, RFC 7468.
fn block(text: &str, label: &str) -> Result<Option<Range<usize>>> {
    let begin = format!("{label}-----");
    let mut found = None;
    let mut at = 0;
    while let Some(start) = text[at..].find("-----BEGIN ").map(|start| at + start) {
        let end = text[start..].find("-----END ").context("a block of PEM does not end")?;
        let line = text[start + end..].find('\n').unwrap_or(text.len() - start - end);
        let range = start..start + end + line;
        at = range.end;
        if text[range.clone()].lines().next().is_some_and(|line| line.trim_end().ends_with(&begin)) {
            ensure!(found.is_none(), "{label} stands there more than once");
            found = Some(start..start + text[range].trim_end().len());
        }
    }
    Ok(found)
}

fn read(text: &str) -> Result<(Range<usize>, Certificate)> {
    let range = block(text, "CERTIFICATE")?.context("there is no certificate in PEM")?;
    let certificate = Certificate::from_pem(&text[range.clone()]).context("reading the certificate")?;
    Ok((range, certificate))
}

/// A private key of an algorithm that certificates commonly have.
enum Key {
    Rsa(Box<RsaPrivateKey>),
    P256(p256::SecretKey),
    P384(p384::SecretKey),
}

impl Key {
    fn read(pem: &str) -> Result<Key> {
        if pem.contains("ENCRYPTED") {
            bail!("the key has a passphrase");
        }
        let rsa = RsaPrivateKey::from_pkcs8_pem(pem).ok().or_else(|| RsaPrivateKey::from_pkcs1_pem(pem).ok());
        let p256 = || p256::SecretKey::from_pkcs8_pem(pem).ok().or_else(|| p256::SecretKey::from_sec1_pem(pem).ok());
        let p384 = || p384::SecretKey::from_pkcs8_pem(pem).ok().or_else(|| p384::SecretKey::from_sec1_pem(pem).ok());
        let key = rsa.map(|key| Key::Rsa(Box::new(key))).or_else(|| p256().map(Key::P256));
        key.or_else(|| p384().map(Key::P384)).context("no RSA key, and none over P-256 or P-384")
    }

    /// A new key of the same algorithm.
    fn successor(&self) -> Result<Key> {
        let bits = match self {
            Key::Rsa(old) => old.n().bits(),
            Key::P256(_) => return scalar(|bytes: &[u8; 32]| p256::SecretKey::from_slice(bytes).ok()).map(Key::P256),
            Key::P384(_) => return scalar(|bytes: &[u8; 48]| p384::SecretKey::from_slice(bytes).ok()).map(Key::P384),
        };
        let parts = rsa::make(if [2048, 4096].contains(&bits) { u32::try_from(bits)? } else { 3072 })?;
        let number = |bytes: &[u8]| BigUint::from_bytes_be(bytes);
        let primes = vec![number(&parts.p), number(&parts.q)];
        let key = RsaPrivateKey::from_components(number(&parts.n), number(&parts.e), number(&parts.d), primes)?;
        Ok(Key::Rsa(Box::new(key)))
    }

    fn public(&self) -> Result<SubjectPublicKeyInfoOwned> {
        let der = match self {
            Key::Rsa(key) => key.to_public_key().to_public_key_der(),
            Key::P256(key) => key.public_key().to_public_key_der(),
            Key::P384(key) => key.public_key().to_public_key_der(),
        };
        let der = der.map_err(|error| anyhow::anyhow!("writing the public key: {error}"))?;
        Ok(SubjectPublicKeyInfoOwned::from_der(der.as_bytes())?)
    }

    /// As a block of PEM: an RSA key with the label of the old one, others as PKCS#8. Who reads `EC PRIVATE KEY` reads that too,
    /// and it always names the curve.
    fn to_pem(&self, old: &str) -> Result<Zeroizing<String>> {
        Ok(match self {
            Key::Rsa(key) if old.starts_with("-----BEGIN RSA ") => key.to_pkcs1_pem(LineEnding::LF)?,
            Key::Rsa(key) => key.to_pkcs8_pem(LineEnding::LF)?,
            Key::P256(key) => key.to_pkcs8_pem(LineEnding::LF)?,
            Key::P384(key) => key.to_pkcs8_pem(LineEnding::LF)?,
        })
    }

    fn algorithm(&self) -> AlgorithmIdentifierOwned {
        let (oid, parameters) = match self {
            Key::Rsa(_) => (RSA_SHA256, Some(Any::null())),
            Key::P256(_) => (ECDSA_SHA256, None),
            Key::P384(_) => (ECDSA_SHA384, None),
        };
        AlgorithmIdentifierOwned { oid, parameters }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        Ok(match self {
            Key::Rsa(key) => key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message))?,
            Key::P256(key) => {
                let signature: p256::ecdsa::Signature = p256::ecdsa::SigningKey::from(key).sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Key::P384(key) => {
                let signature: p384::ecdsa::Signature = p384::ecdsa::SigningKey::from(key).sign(message);
                signature.to_der().as_bytes().to_vec()
            }
        })
    }
}

/// Draws until the curve takes it, which next to always is at once: FIPS 186-5, A.2.2.
fn scalar<const SIZE: usize, K>(take: impl Fn(&[u8; SIZE]) -> Option<K>) -> Result<K> {
    loop {
        let mut bytes = Zeroizing::new([0; SIZE]);
        entropy()?.fill_bytes(&mut *bytes);
        if let Some(key) = take(&bytes) {
            return Ok(key);
        }
    }
}

/// The certificate of a new key that takes the place of an old one.
fn sign(old: Certificate, key: &Key, names: &[(String, String)]) -> Result<Certificate> {
    let mut body = old.tbs_certificate;
    let public = key.public()?;
    // RFC 7093, 2, method 1: the first 160 bits of the SHA-256 of the public key.
    let digest = Sha256::digest(public.subject_public_key.raw_bytes());
    let id = OctetString::new(&digest[..20])?;
    for extension in body.extensions.iter_mut().flatten() {
        let value = match extension.extn_id {
            SUBJECT_KEY => id.to_der()?,
            AUTHORITY_KEY => {
                AuthorityKeyIdentifier { key_identifier: Some(id.clone()), ..Default::default() }.to_der()?
            }
            SUBJECT_NAMES => rename_all(GeneralNames::from_der(extension.extn_value.as_bytes())?, names)?.to_der()?,
            _ => continue,
        };
        extension.extn_value = OctetString::new(value)?;
    }
    let mut serial = [0; 16];
    entropy()?.fill_bytes(&mut serial);
    // A positive number, RFC 5280, 4.1.2.2, that has no zero in front.
    serial[0] = serial[0] & 0x7f | 0x40;
    body.serial_number = SerialNumber::new(&serial)?;
    body.subject = rename(&body.subject, names)?;
    body.issuer = body.subject.clone();
    body.validity = validity(&body.validity, SystemTime::now())?;
    body.subject_public_key_info = public;
    body.signature = key.algorithm();
    let signature = BitString::from_bytes(&key.sign(&body.to_der()?)?)?;
    Ok(Certificate { signature_algorithm: body.signature.clone(), tbs_certificate: body, signature })
}

/// As long as the old one, from now on; a clock that is behind it counts as not set yet.
fn validity(old: &Validity, now: SystemTime) -> Result<Validity> {
    let (from, to) = (old.not_before.to_unix_duration(), old.not_after.to_unix_duration());
    let start = Duration::from_secs(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).max(from);
    let end = start.saturating_add(to.saturating_sub(from));
    Ok(Validity { not_before: time(start)?, not_after: time(end)? })
}

/// UTCTime through 2049, GeneralizedTime after it: RFC 5280, 4.1.2.5.
fn time(at: Duration) -> Result<Time> {
    let at = DateTime::from_unix_duration(at).unwrap_or(DateTime::INFINITY);
    Ok(match at.year() {
        ..2050 => Time::UtcTime(UtcTime::from_date_time(at)?),
        _ => Time::GeneralTime(GeneralizedTime::from_date_time(at)),
    })
}

fn rename(name: &Name, names: &[(String, String)]) -> Result<Name> {
    let mut parts = Vec::new();
    for part in &name.0 {
        let mut attributes = Vec::new();
        for attribute in part.0.iter() {
            let mut attribute = attribute.clone();
            if let Some(new) = std::str::from_utf8(attribute.value.value()).ok().and_then(|old| renamed(old, names)) {
                attribute.value = Any::new(x509_cert::der::Tagged::tag(&attribute.value), new.into_bytes())?;
            }
            attributes.push(attribute);
        }
        parts.push(RelativeDistinguishedName(SetOfVec::try_from(attributes)?));
    }
    Ok(x509_cert::name::RdnSequence(parts))
}

fn rename_all(old: GeneralNames, names: &[(String, String)]) -> Result<GeneralNames> {
    let rename = |name: GeneralName| match &name {
        GeneralName::DnsName(dns) => match renamed(dns.as_str(), names) {
            Some(new) => Ok(GeneralName::DnsName(Ia5String::new(&new)?)),
            None => Ok(name),
        },
        _ => Ok(name),
    };
    old.into_iter().map(rename).collect()
}

/// The new name for a host, or for one of a domain that is named after it.
fn renamed(name: &str, names: &[(String, String)]) -> Option<String> {
    let exact = names.iter().find(|(old, _)| name.eq_ignore_ascii_case(old)).map(|(_, new)| new.clone());
    exact.or_else(|| {
        let short = names.iter().filter(|(old, _)| !old.contains('.'));
        short.into_iter().find_map(|(old, new)| {
            let (host, domain) = name.split_once('.').filter(|(host, _)| host.eq_ignore_ascii_case(old))?;
            (!host.is_empty()).then(|| format!("{}.{domain}", new.split('.').next().unwrap_or(new)))
        })
    })
}

#[cfg(test)]
mod tests;
