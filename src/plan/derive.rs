// SPDX-License-Identifier: MIT OR Apache-2.0
//! New public values, derived from the run's seed, so that a run that was cut off goes on with the same ones.

use std::fmt;
use std::io::Read as _;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::rand::GetRandomFlags;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// The run's 256-bit random seed. Public values come from it; keys never do.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seed([u8; 32]);

impl Seed {
    /// A fresh seed. A boot must not wait for the kernel's random pool because of a host name, so the pool is asked
    /// without waiting (`GRND_INSECURE`, Linux 5.6), and `machine` (what tells this machine from others) and the clock are
    /// mixed in: two clones with the same pool still differ. No key is ever made from it.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub fn random(machine: &[u8]) -> Result<Seed> {
        let mut bytes = [0; 32];
        if rustix::rand::getrandom(&mut bytes, GetRandomFlags::INSECURE) != Ok(bytes.len()) {
            // Linux before 5.6 does not know the flag; /dev/urandom never waits, random(4).
            std::fs::File::open("/dev/urandom").and_then(|mut pool| pool.read_exact(&mut bytes))?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mixed = Seed(bytes).derive(&format!("{}{:?}", hex(machine), now));
        Ok(Seed(mixed))
    }

    /// 32 bytes that depend on the seed and on `token`, HMAC-SHA256 (RFC 2104).
    pub fn derive(&self, token: &str) -> [u8; 32] {
        // HMAC takes a key of any length, so this cannot fail.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return [0; 32] };
        mac.update(token.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// A version 4 UUID (RFC 9562) that depends on the seed and on `token`.
    pub fn uuid(&self, token: &str) -> uuid::Uuid {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.derive(token)[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// `length` lower-case letters and digits, at most 32.
    pub fn letters(&self, token: &str, length: usize) -> String {
        // Digits and letters that cannot be taken for one another; 32 of them, so that every byte is fair.
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        self.derive(token).iter().take(length).map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Seed({}..)", hex(&self.0[..2]))
    }
}

impl From<Seed> for String {
    fn from(seed: Seed) -> String {
        hex(&seed.0)
    }
}

impl TryFrom<String> for Seed {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Seed> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            bail!("a seed has 64 hexadecimal digits");
        }
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16)?;
        }
        Ok(Seed(bytes))
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_from_seed_and_token() {
        let seed = Seed::try_from("00".repeat(32)).unwrap();
        // Computed with: printf machine-id | openssl dgst -sha256 -mac hmac -macopt hexkey:0000..
        assert_eq!(hex(&seed.derive("")), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
        assert_ne!(seed.derive("a"), seed.derive("b"));
        assert_eq!(seed.uuid("a").get_version_num(), 4);
        assert_eq!(seed.letters("a", 6).len(), 6);
        assert_ne!(Seed::random(b"").unwrap(), Seed::random(b"").unwrap());
        assert!(Seed::try_from("zz".repeat(32)).is_err());
        assert_eq!(Seed::try_from(String::from(seed.clone())).unwrap(), seed);
    }
}
