// SPDX-License-Identifier: MIT OR Apache-2.0
//! A GnuPG home's key ring: which of its certificates have secret keys there, and what it is to hold afterwards.

use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use sequoia_openpgp::cert::CertParser;
use sequoia_openpgp::cert::amalgamation::key::PrimaryKey as _;
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::packet::{Packet, Signature, UserID};
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::serialize::SerializeInto as _;
use sequoia_openpgp::types::{HashAlgorithm, KeyFlags, SignatureType};
use sequoia_openpgp::{Cert, Fingerprint, KeyHandle};

use super::{BACKDATED, grip};
use crate::formats::keyring;

/// A certificate of which the home has secret keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Fingerprint, upper-case hexadecimal.
    pub fingerprint: String,
    /// Its user ids, one after the other; bytes that are not UTF-8 are replaced.
    pub user_ids: Vec<String>,
    /// Names of the files below `private-keys-v1.d`.
    pub files: Vec<String>,
    /// Has every key of it, its primary key too, its file?
    pub is_complete: bool,
    /// What the keys may be used for: `sign`, `certify`, `decrypt`, `authenticate`.
    pub uses: Vec<&'static str>,
    /// The certificate, armoured, without secrets.
    pub public: Vec<u8>,
}

/// The certificates of a ring whose secret keys are in these files, and the files that belong to none of them: keys of
/// ssh(1), of X.509, or of a curve that is not known here.
///
/// # Errors
/// When the ring cannot be cut into certificates.
pub fn own(ring: &[u8], files: &[String]) -> Result<(Vec<Own>, Vec<String>)> {
    let mut found = Vec::new();
    let mut strangers = files.to_vec();
    if files.is_empty() {
        return Ok((found, strangers));
    }
    for block in keyring::blocks(ring).context("reading the key ring")? {
        // What cannot be read has no use here either: its files are told as strangers.
        let Some(Ok(cert)) = block.packets.map(Cert::from_bytes) else { continue };
        let (mut held, mut complete, mut flags) = (Vec::new(), true, Vec::<KeyFlags>::new());
        for key in cert.keys() {
            match grip::of(key.key().mpis())?.map(|grip| format!("{grip}.key")) {
                Some(file) if files.contains(&file) => {
                    held.push(file);
                    flags.extend(key.self_signatures().filter_map(|signature| signature.key_flags()));
                    // What the primary key may be used for stands where it signs a user id.
                    if key.primary() {
                        let signatures = cert.userids().flat_map(|id| id.self_signatures().collect::<Vec<_>>());
                        flags.extend(signatures.filter_map(|signature| signature.key_flags()));
                    }
                }
                _ => complete = false,
            }
        }
        if held.is_empty() {
            continue;
        }
        strangers.retain(|file| !held.contains(file));
        let may = |is: fn(&KeyFlags) -> bool| flags.iter().any(is);
        let uses = [
            ("sign", may(KeyFlags::for_signing)),
            ("certify", may(KeyFlags::for_certification)),
            ("decrypt", may(KeyFlags::for_transport_encryption) || may(KeyFlags::for_storage_encryption)),
            ("authenticate", may(KeyFlags::for_authentication)),
        ];
        found.push(Own {
            fingerprint: cert.fingerprint().to_hex(),
            user_ids: super::read::user_ids(&cert),
            files: held,
            is_complete: complete,
            uses: uses.into_iter().filter(|(_, may)| *may).map(|(name, _)| name).collect(),
            public: super::read::public(&cert)?,
        });
    }
    Ok((found, strangers))
}

/// The user ids of a certificate in a ring.
pub fn user_ids(ring: &[u8], fingerprint: &str) -> Option<Vec<String>> {
    let certs = keyring::blocks(ring).ok()?.into_iter().filter_map(|block| Cert::from_bytes(block.packets?).ok());
    certs.into_iter().find(|cert| cert.fingerprint().to_hex() == fingerprint).map(|cert| super::read::user_ids(&cert))
}

/// What a ring is to become.
#[derive(Debug)]
pub struct Next {
    /// The ring without the certificates that go and those that come again, the rest byte for byte.
    pub kept: Vec<u8>,
    /// Certificates that others own and the old key had certified for this machine alone, so certified by the new one.
    pub certified: Vec<u8>,
}

/// Takes the certificates `old` out of a ring, and renews for `key` what they certified for this machine alone:
/// signatures that are not exported, RFC 4880, 5.2.3.11.
///
/// # Errors
/// When the ring or the key cannot be read, or the key cannot sign.
pub fn renew(ring: &[u8], key: &[u8], old: &[String]) -> Result<Next> {
    let key = CertParser::from_bytes(key)?.next().context("the file holds no key")??;
    let primary = key.primary_key().key().clone();
    let mut signer = primary.parts_into_secret()?.into_keypair().context("using the new key")?;
    let old: Vec<Fingerprint> =
        old.iter().map(|digits| digits.parse()).collect::<Result<_>>().context("reading a fingerprint")?;
    let mut next = Next { kept: Vec::new(), certified: Vec::new() };
    for block in keyring::blocks(ring).context("reading the key ring")? {
        let Some(Ok(cert)) = block.packets.map(Cert::from_bytes) else {
            next.kept.extend(block.bytes);
            continue;
        };
        if cert.fingerprint() == key.fingerprint() || old.contains(&cert.fingerprint()) {
            continue;
        }
        match certified_anew(&cert, &old, &mut signer)? {
            Some(cert) => next.certified.extend(cert.to_vec()?),
            None => next.kept.extend(block.bytes),
        }
    }
    Ok(next)
}

fn certified_anew(
    cert: &Cert,
    old: &[Fingerprint],
    signer: &mut dyn sequoia_openpgp::crypto::Signer,
) -> Result<Option<Cert>> {
    let is_old = |signature: &Signature| {
        let by = |issuer: &KeyHandle| old.iter().any(|old| KeyHandle::from(old).aliases(issuer));
        let issuers = signature.get_issuers();
        signature.exportable_certification() == Some(false) && issuers.iter().any(by)
    };
    let mut packets: Vec<Packet> = Vec::new();
    let mut current: Option<UserID> = None;
    let mut anew: Vec<UserID> = Vec::new();
    for packet in cert.clone().into_packets() {
        match &packet {
            Packet::UserID(id) => current = Some(id.clone()),
            Packet::UserAttribute(_) | Packet::PublicSubkey(_) => current = None,
            Packet::Signature(signature) if is_old(signature) => {
                let certifies = [
                    SignatureType::GenericCertification,
                    SignatureType::PersonaCertification,
                    SignatureType::CasualCertification,
                    SignatureType::PositiveCertification,
                ];
                let wanted = current.as_ref().filter(|_| certifies.contains(&signature.typ()));
                if let Some(id) = wanted.filter(|id| !anew.contains(id)) {
                    anew.push(id.clone());
                }
                continue;
            }
            _ => {}
        }
        packets.push(packet);
    }
    let cert = Cert::from_packets(packets.into_iter())?;
    if anew.is_empty() {
        return Ok(None);
    }
    // A signature that is older than the key that it certifies is refused.
    let now = cert.primary_key().key().creation_time().max(SystemTime::now() - BACKDATED);
    let mut signatures = Vec::new();
    for id in anew {
        let signature = SignatureBuilder::new(SignatureType::GenericCertification)
            .set_hash_algo(HashAlgorithm::SHA512)
            .set_signature_creation_time(now)?
            .set_exportable_certification(false)?;
        signatures.extend([Packet::from(id.clone()), id.bind(signer, &cert, signature)?.into()]);
    }
    let (cert, _) = cert.insert_packets(signatures)?;
    Ok(Some(cert))
}

/// The public part of the key in a file, binary.
///
/// # Errors
/// When the file holds no key or more than one.
pub fn public(file: &[u8]) -> Result<(String, Vec<u8>)> {
    let certs: Vec<Cert> = CertParser::from_bytes(file)?.collect::<Result<_>>()?;
    ensure!(certs.len() == 1, "{} keys in the file", certs.len());
    let cert = certs[0].clone().strip_secret_key_material();
    Ok((cert.fingerprint().to_hex(), cert.to_vec()?))
}
