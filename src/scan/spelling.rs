// SPDX-License-Identifier: MIT OR Apache-2.0
//! How files write one value: every spelling of an identity, and what may stand beside it.

mod id;
mod key;
mod network;

use serde::Serialize;

use super::matcher::BEFORE;
use super::ssh;
use super::value::{Shape, Value};

/// How a value is spelled at a place; the word stands in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// As the value is written.
    Plain,
    /// Without dashes, colons or blanks.
    Bare,
    /// A UUID with dashes, where the value has none.
    Dashed,
    /// With `\x2d` for dashes, systemd-escape(1).
    Escaped,
    /// With colons: groups of a UUID as mdadm(8) writes them, or of a MAC address.
    Colons,
    /// As bytes, not text.
    Raw,
    /// As the bytes of a GPT: the first three groups of a UUID in little-endian order.
    GptBytes,
    /// As PXELINUX names its configuration: `01-` and the MAC address with dashes.
    Pxe,
    /// The half of an IPv6 address that is made from a MAC address, RFC 4291, appendix A.
    Eui64,
    /// Backwards, as a name of DNS below in-addr.arpa.
    Reverse,
    /// The digest in hexadecimal digits, as in SSHFP records, RFC 4255.
    Hex,
    /// The MD5 fingerprint of an SSH key.
    Md5,
    /// A public key.
    PublicKey,
    /// A private key.
    PrivateKey,
    /// The last 16 digits of an OpenPGP fingerprint.
    KeyId,
    /// In groups of four, as gpg(1) shows fingerprints.
    Grouped,
}

/// What may not stand beside a spelling, for it would be part of something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Anything may: it is too long to be there by chance.
    Any,
    /// No letter or digit of ASCII; `0x` may be before it.
    Digits,
    /// A host name: no letter, digit, dash or underscore.
    Name,
    /// An IPv4 address: no digit or letter, no point with a digit behind it.
    Ipv4,
    /// An IPv6 address: no letter, digit or colon.
    Ipv6,
}

/// One way to write one value.
#[derive(Debug, Clone)]
pub struct Spelling {
    /// Number of the value.
    pub value: usize,
    /// How it is written.
    pub form: Form,
    /// What is looked for.
    pub text: Vec<u8>,
    /// Are capitals and small letters one?
    pub any_case: bool,
    /// What may not stand beside it.
    pub edge: Edge,
    /// For keys of which only the fingerprint is known: the beginning of any such key, which is then read.
    pub key: Option<ssh::Sought>,
}

impl Spelling {
    /// Does it stand there, as a word of its own?
    pub fn stands_at(&self, bytes: &[u8], at: usize) -> bool {
        let end = at + self.text.len();
        let Some(there) = bytes.get(at..end) else { return false };
        let same = if self.any_case { there.eq_ignore_ascii_case(&self.text) } else { there == self.text };
        let alone = || self.edge.is_free(&bytes[at.saturating_sub(BEFORE)..at], &bytes[end..]);
        same && alone() && self.key.as_ref().is_none_or(|key| key.stands_at(bytes, at, self.text.len()))
    }

    /// Bytes from its beginning that must be there to judge it.
    pub fn reach(&self) -> usize {
        let read = if self.key.is_some() { ssh::LONGEST } else { 0 };
        self.text.len() + BEFORE + read
    }
}

impl Edge {
    fn is_free(self, before: &[u8], after: &[u8]) -> bool {
        let last = before.last().copied().unwrap_or(b' ');
        let next = after.first().copied().unwrap_or(b' ');
        // The last byte of an escape such as `\x2d` or `\n` is no letter.
        let escaped = before.len() >= 4 && before[before.len() - 4..].starts_with(b"\\x")
            || before.len() >= 2 && before[before.len() - 2] == b'\\';
        let point = |first: u8, second: Option<&u8>| first == b'.' && second.is_some_and(u8::is_ascii_digit);
        let (left, right) = match self {
            Edge::Any => (true, true),
            Edge::Digits => {
                let hex = before.ends_with(b"0x") || before.ends_with(b"0X");
                (hex || !last.is_ascii_alphanumeric(), !next.is_ascii_alphanumeric())
            }
            Edge::Name => {
                let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                (!word(last), !word(next))
            }
            Edge::Ipv4 => {
                let before_point = before.len().checked_sub(2).map(|at| &before[at]);
                let left = !last.is_ascii_alphanumeric() && !point(last, before_point);
                (left, !next.is_ascii_alphanumeric() && !point(next, after.get(1)))
            }
            Edge::Ipv6 => {
                let digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b':';
                // `[::1]:22` and `fe80::1: ` end with something else behind the colon.
                let over = next == b':' && !after.get(1).is_some_and(|byte| byte.is_ascii_hexdigit() || *byte == b':');
                (!digit(last), !digit(next) || over)
            }
        };
        (left || escaped) && right
    }
}

/// Every spelling of every value; the number in each is the value's place in the list.
pub fn of_all(values: &[Value]) -> Vec<Spelling> {
    values.iter().enumerate().flat_map(|(number, value)| of(number, value)).collect()
}

fn of(number: usize, value: &Value) -> Vec<Spelling> {
    let mut all = List { value: number, list: Vec::new() };
    match &value.shape {
        Shape::Uuid(bytes) => id::uuid(&mut all, *bytes, &value.value),
        Shape::Lvm => id::lvm(&mut all, &value.value),
        Shape::Serial => id::serial(&mut all, &value.value),
        Shape::Name => network::name(&mut all, &value.value),
        Shape::Mac(bytes) => network::mac(&mut all, *bytes),
        Shape::Ip(address) => network::ip(&mut all, *address),
        Shape::SshFingerprint(digest) => key::ssh_fingerprint(&mut all, digest),
        Shape::SshKey(blob) => key::ssh_key(&mut all, blob),
        Shape::Pgp(fingerprint) => key::pgp(&mut all, fingerprint),
        Shape::Text => {
            let edge = if value.value.len() < 16 { Edge::Digits } else { Edge::Any };
            all.exact(Form::Plain, &value.value, edge);
        }
    }
    all.list
}

/// The spellings of one value in the making.
struct List {
    value: usize,
    list: Vec<Spelling>,
}

impl List {
    /// Text in any case.
    fn any_case(&mut self, form: Form, text: &str, edge: Edge) {
        if text.len() >= 14 {
            return self.push(form, text.as_bytes().to_vec(), true, edge);
        }
        // The search for short ones tells cases apart.
        for text in [text.to_owned(), text.to_ascii_lowercase(), text.to_ascii_uppercase()] {
            self.exact(form, &text, edge);
        }
    }

    /// Text as it is.
    fn exact(&mut self, form: Form, text: &str, edge: Edge) {
        self.push(form, text.as_bytes().to_vec(), false, edge);
    }

    /// Bytes.
    fn raw(&mut self, form: Form, bytes: &[u8]) {
        self.push(form, bytes.to_vec(), false, Edge::Any);
    }

    fn push(&mut self, form: Form, text: Vec<u8>, any_case: bool, edge: Edge) {
        if !text.is_empty() && !self.list.iter().any(|known| known.text == text) {
            self.list.push(Spelling { value: self.value, form, text, any_case, edge, key: None });
        }
    }
}
