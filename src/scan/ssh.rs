// SPDX-License-Identifier: MIT OR Apache-2.0
//! SSH keys that are known only by their fingerprint: wherever one begins it is read, and its own fingerprint compared.
//!
//! RFC 4253, section 6.6, RFC 5656 and RFC 8709 for the public keys; PROTOCOL.key of OpenSSH for the private ones.

use sha2::{Digest as _, Sha256};

use super::base64;
use super::spelling::Form;

/// Bytes of text that a key is read from: RSA of 16384 bits in base64, with line breaks.
pub const LONGEST: usize = 3072;

/// How a key stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A public key in base64, with this many strings in it.
    Public(usize),
    /// The same as bytes.
    Raw(usize),
    /// OpenSSH's file of a private key, which holds the public one in clear.
    Private,
}

/// The key that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    /// SHA-256 of the public key.
    pub digest: [u8; 32],
    /// How it stands there.
    pub kind: Kind,
}

/// How each kind of key begins, whatever key it is.
pub fn starts() -> [(Form, &'static [u8], Kind); 9] {
    [
        (Form::PublicKey, b"AAAAC3NzaC1lZDI1NTE5AAAAI", Kind::Public(2)),
        // The exponent is 65537 wherever ssh-keygen(1) made the key.
        (Form::PublicKey, b"AAAAB3NzaC1yc2EAAAADAQAB", Kind::Public(3)),
        (Form::PublicKey, b"AAAAE2VjZHNhLXNoYTItbmlzdHA", Kind::Public(3)),
        (Form::PublicKey, b"AAAAB3NzaC1kc3MAAA", Kind::Public(5)),
        // From the last byte of the name's length on: zeros are everywhere, and would make the search slow.
        (Form::Raw, b"\x0bssh-ed25519", Kind::Raw(2)),
        (Form::Raw, b"\x07ssh-rsa", Kind::Raw(3)),
        (Form::Raw, b"\x13ecdsa-sha2-nistp", Kind::Raw(3)),
        (Form::Raw, b"\x07ssh-dss", Kind::Raw(5)),
        // "openssh-key-v1" and a zero.
        (Form::PrivateKey, b"b3BlbnNzaC1rZXktdjEA", Kind::Private),
    ]
}

impl Sought {
    /// Is it the key that begins at `at` with `start` bytes that all keys of its kind have?
    pub fn stands_at(&self, bytes: &[u8], at: usize, start: usize) -> bool {
        let text = &bytes[at..bytes.len().min(at + start + LONGEST)];
        let read = match self.kind {
            Kind::Public(strings) => whole(&base64::decode(text, LONGEST), strings).map(<[u8]>::to_vec),
            Kind::Raw(strings) => {
                let from = at.checked_sub(3);
                from.and_then(|from| whole(&bytes[from..at + text.len()], strings)).map(<[u8]>::to_vec)
            }
            Kind::Private => public_half(&base64::decode(text, LONGEST)).map(<[u8]>::to_vec),
        };
        read.is_some_and(|blob| Sha256::digest(&blob)[..] == self.digest)
    }
}

/// The beginning of `bytes` that is this many strings.
fn whole(bytes: &[u8], strings: usize) -> Option<&[u8]> {
    let mut rest = bytes;
    for _ in 0..strings {
        rest = string(rest)?.1;
    }
    Some(&bytes[..bytes.len() - rest.len()])
}

/// After the magic: cipher, key derivation and its options, the number of keys, the public key.
fn public_half(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
    for _ in 0..3 {
        rest = string(rest)?.1;
    }
    Some(string(rest.get(4..)?)?.0)
}

/// A string of RFC 4251, section 5, and what follows it.
pub fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}
