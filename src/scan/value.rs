// SPDX-License-Identifier: MIT OR Apache-2.0
//! An old value, and what its shape says of the ways to write it.

use std::net::IpAddr;

use serde::Serialize;
use uuid::Uuid;

use super::base64;

/// A value that must not be found any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Value {
    /// What kind of identity it is, as policy and plans name it.
    pub kind: String,
    /// Which one of its kind.
    pub subject: String,
    /// The value.
    pub value: String,
    /// What it looks like.
    #[serde(skip)]
    pub shape: Shape,
}

/// What a value looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// 128 bits.
    Uuid([u8; 16]),
    /// An id of LVM2: 32 letters and digits.
    Lvm,
    /// A short hexadecimal id.
    Serial,
    /// A host name.
    Name,
    /// An address of a link.
    Mac([u8; 6]),
    /// An address of a network.
    Ip(IpAddr),
    /// SHA-256 of an SSH key.
    SshFingerprint([u8; 32]),
    /// An SSH public key, RFC 4253.
    SshKey(Vec<u8>),
    /// The fingerprint of an OpenPGP key.
    Pgp(Vec<u8>),
    /// Anything else.
    Text,
}

impl Value {
    /// A value to look for.
    ///
    /// # Errors
    /// Why it cannot be looked for: it would be found everywhere, or is not of its kind.
    pub fn new(kind: &str, subject: &str, value: &str) -> Result<Value, String> {
        let value = value.trim();
        let shape = shape(kind, value)?;
        Ok(Value { kind: kind.to_owned(), subject: subject.to_owned(), value: value.to_owned(), shape })
    }
}

fn shape(kind: &str, value: &str) -> Result<Shape, String> {
    match kind {
        "residue" => return Err("a digest of what a file held says nothing of other files".into()),
        "hostname" => return name(value),
        "ssh-host-key" => return ssh(value).ok_or_else(|| "neither a fingerprint SHA256:... nor a public key".into()),
        "pgp-key" => return pgp(value).ok_or_else(|| "no fingerprint of 40 or 64 hexadecimal digits".into()),
        _ => {}
    }
    if let Some(bytes) = uuid(value) {
        return if is_plain(&bytes) { Err("no id".into()) } else { Ok(Shape::Uuid(bytes)) };
    }
    if kind == "machine-id" {
        return Err("no machine-id".into());
    }
    if let Some(bytes) = mac(value) {
        return if is_plain(&bytes) { Err("no address of one link".into()) } else { Ok(Shape::Mac(bytes)) };
    }
    if let Some(address) = ip(value) {
        let general = address.is_loopback() || address.is_unspecified() || address.is_multicast();
        return if general { Err("no address of one host".into()) } else { Ok(Shape::Ip(address)) };
    }
    if let Some(shape) = ssh(value) {
        return Ok(shape);
    }
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let groups: Vec<&str> = value.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    if lengths == [6, 4, 4, 4, 4, 4, 6] && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(Shape::Lvm);
    }
    if groups.iter().all(|group| is_hex(group)) && matches!(lengths[..], [8 | 16] | [4, 4] | [8, 2]) {
        let plain = value.bytes().all(|byte| matches!(byte, b'0' | b'-'));
        return if plain { Err("no id".into()) } else { Ok(Shape::Serial) };
    }
    if value.len() < 6 || value.contains(char::is_control) {
        return Err("shorter than 6 letters, it would be found everywhere".into());
    }
    Ok(Shape::Text)
}

fn name(value: &str) -> Result<Shape, String> {
    let label = value.split('.').next().unwrap_or_default();
    if value.len() < 3 {
        return Err("shorter than 3 letters, it would be found everywhere".into());
    }
    if label == "localhost" || value.contains(char::is_whitespace) || value.contains(char::is_control) {
        return Err("no name of one host".into());
    }
    Ok(Shape::Name)
}

/// All bytes the same: nothing, or broadcast.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == bytes[0])
}

fn uuid(value: &str) -> Option<[u8; 16]> {
    let digits = value.bytes().filter(u8::is_ascii_hexdigit).count();
    let others = value.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b':'));
    let bare: String = value.chars().filter(char::is_ascii_hexdigit).collect();
    if digits != 32 || !others || !matches!(value.len(), 32 | 35 | 36) {
        return None;
    }
    Some(*Uuid::parse_str(&bare).ok()?.as_bytes())
}

fn mac(value: &str) -> Option<[u8; 6]> {
    let parts: Vec<&str> = value.split([':', '-']).collect();
    let bytes = parts.iter().filter(|part| part.len() == 2).map(|part| u8::from_str_radix(part, 16));
    bytes.collect::<Result<Vec<u8>, _>>().ok().filter(|_| parts.len() == 6)?.try_into().ok()
}

fn ip(value: &str) -> Option<IpAddr> {
    value.split_once('/').map_or(value, |(address, _)| address).parse().ok()
}

fn ssh(value: &str) -> Option<Shape> {
    if let Some(digest) = value.strip_prefix("SHA256:") {
        return base64::decode(digest.as_bytes(), 33).try_into().ok().map(Shape::SshFingerprint);
    }
    let blob = value.split_whitespace().find(|word| word.starts_with("AAAA"))?;
    let blob = base64::decode(blob.as_bytes(), usize::MAX);
    (blob.len() >= 32).then_some(Shape::SshKey(blob))
}

fn pgp(value: &str) -> Option<Shape> {
    let digits: String = value.trim_start_matches("0x").split_whitespace().collect();
    if !matches!(digits.len(), 40 | 64) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16));
    bytes.collect::<Result<Vec<u8>, _>>().ok().map(Shape::Pgp)
}
