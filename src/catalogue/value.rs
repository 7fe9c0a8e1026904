// SPDX-License-Identifier: MIT OR Apache-2.0
//! The forms of a value that an entry renews, and where in its file it stands.

use anyhow::{Result, anyhow, bail};
use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Serialize};

use crate::formats::field::{self, Syntax};
use crate::plan::derive::{Seed, hex};

/// Form of a value: `uuid`, `hex-N` or `base64-N` with N bytes, `decimal-N` with N digits, `letters-N`, `iqn` or `nqn`;
/// of a secret one also `password-N`, `wireguard` or `dropbear`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Value {
    /// A random UUID, RFC 9562.
    Uuid,
    /// Lower-case hexadecimal digits of so many bytes, 1 to 64.
    Hex(usize),
    /// Base64 of so many bytes, 1 to 64, RFC 4648, 4.
    Base64(usize),
    /// So many decimal digits, 1 to 38, the first not 0.
    Decimal(usize),
    /// So many lower-case letters and digits, 1 to 32.
    Letters(usize),
    /// So many letters, digits, dots and underscores, 11 to 64.
    Password(usize),
    /// A private key of WireGuard, wg(8).
    Wireguard,
    /// A host key file of Dropbear, of the algorithm that the old one has, dropbearkey(1).
    Dropbear,
    /// An iSCSI name; the authority of the old one stays, RFC 3720 3.2.6.3.1.
    Iqn,
    /// An NVMe qualified name made of a UUID, NVM Express Base Specification 2.0, 4.5.
    Nqn,
}

/// How many bytes of randomness the largest value takes.
pub const MOST: usize = 64;

impl Value {
    /// A new value that depends on the seed and on `token`: a public one.
    ///
    /// # Errors
    /// When the old one is not of this form where its parts are kept, or when the form is that of a secret.
    pub fn derive(self, seed: &Seed, token: &str, old: &str) -> Result<String> {
        if self.is_secret() {
            bail!("a value of the form {} is a secret, which is never derived", String::from(self));
        }
        let mut bytes = [0; MOST];
        bytes[..32].copy_from_slice(&seed.derive(token));
        bytes[32..].copy_from_slice(&seed.derive(&format!("{token} more")));
        self.of(&bytes, old)
    }

    /// The value that random bytes give.
    ///
    /// # Errors
    /// When the old one is not of this form where its parts are kept, or when it is more than a text.
    pub fn of(self, bytes: &[u8; MOST], old: &str) -> Result<String> {
        // Digits and letters that cannot be taken for one another; 32 of them, so that every byte is fair.
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        const PASSWORD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._";
        let uuid = || {
            let first: [u8; 16] = std::array::from_fn(|at| bytes[at]);
            uuid::Builder::from_random_bytes(first).into_uuid().to_string()
        };
        Ok(match self {
            Value::Uuid if old.bytes().any(|byte| byte.is_ascii_uppercase()) => uuid().to_uppercase(),
            Value::Uuid => uuid(),
            Value::Hex(size) => hex(&bytes[..size]),
            Value::Base64(size) => Base64::encode_string(&bytes[..size]),
            Value::Decimal(digits) => {
                let size = if digits <= 18 { 8 } else { 16 };
                let number = bytes[..size].iter().rev().fold(0, |number, byte| number << 8 | u128::from(*byte));
                let first = 10_u128.pow(u32::try_from(digits)? - 1);
                (first + number % (first * 9)).to_string()
            }
            Value::Letters(length) => letters(&bytes[..length], LETTERS),
            Value::Password(length) => letters(&bytes[..length], PASSWORD),
            Value::Wireguard => {
                if Base64::decode_vec(old).map_or(0, |key| key.len()) != 32 {
                    bail!("what stands there is no key of WireGuard");
                }
                let mut key: [u8; 32] = std::array::from_fn(|at| bytes[at]);
                // RFC 7748, 5, decodeScalar25519: wg(8) takes other keys too, and clamps them itself.
                key[0] &= 248;
                key[31] = key[31] & 127 | 64;
                Base64::encode_string(&key)
            }
            Value::Dropbear => bail!("a key file of Dropbear is no text"),
            Value::Iqn => {
                let authority = old.split(':').next().unwrap_or_default();
                if !authority.starts_with("iqn.") {
                    bail!("`{old}` is no iSCSI name of the form iqn.DATE.AUTHORITY:NAME");
                }
                format!("{authority}:{}", hex(&bytes[..6]))
            }
            Value::Nqn => format!("nqn.2014-08.org.nvmexpress:uuid:{}", uuid()),
        })
    }

    /// Is a value of this form always a secret?
    pub fn is_secret(self) -> bool {
        matches!(self, Value::Password(_) | Value::Wireguard | Value::Dropbear)
    }

    /// How many random bits are in it, at least.
    pub fn bits(self) -> usize {
        match self {
            Value::Uuid | Value::Nqn => 122,
            Value::Hex(size) | Value::Base64(size) => 8 * size,
            Value::Decimal(digits) => 3 * digits,
            Value::Letters(length) => 5 * length,
            Value::Password(length) => 6 * length,
            Value::Wireguard => 251,
            // The security of the weakest that is made, RSA of 2048 bits: NIST SP 800-57, part 1, table 2.
            Value::Dropbear => 112,
            Value::Iqn => 48,
        }
    }
}

/// A letter of the alphabet for each byte; its length divides 256.
fn letters(bytes: &[u8], alphabet: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
}

impl TryFrom<String> for Value {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Value> {
        let (form, size) = text.split_once('-').unwrap_or((&text, ""));
        let size = |least: usize, most: usize| match size.parse() {
            Ok(size) if (least..=most).contains(&size) => Ok(size),
            _ => Err(anyhow!("`{text}` wants a size from {least} to {most}, as in `{form}-16`")),
        };
        match form {
            "hex" => Ok(Value::Hex(size(1, MOST)?)),
            "base64" => Ok(Value::Base64(size(1, MOST)?)),
            "decimal" => Ok(Value::Decimal(size(1, 38)?)),
            "letters" => Ok(Value::Letters(size(1, 32)?)),
            "password" => Ok(Value::Password(size(11, MOST)?)),
            _ => match text.as_str() {
                "uuid" => Ok(Value::Uuid),
                "wireguard" => Ok(Value::Wireguard),
                "dropbear" => Ok(Value::Dropbear),
                "iqn" => Ok(Value::Iqn),
                "nqn" => Ok(Value::Nqn),
                _ => bail!(
                    "unknown value `{text}`: expected uuid, hex-N, base64-N, decimal-N, letters-N, password-N, wireguard, dropbear, iqn or nqn"
                ),
            },
        }
    }
}

impl From<Value> for String {
    fn from(value: Value) -> String {
        match value {
            Value::Uuid => "uuid".to_owned(),
            Value::Hex(bytes) => format!("hex-{bytes}"),
            Value::Base64(bytes) => format!("base64-{bytes}"),
            Value::Decimal(digits) => format!("decimal-{digits}"),
            Value::Letters(length) => format!("letters-{length}"),
            Value::Password(length) => format!("password-{length}"),
            Value::Wireguard => "wireguard".to_owned(),
            Value::Dropbear => "dropbear".to_owned(),
            Value::Iqn => "iqn".to_owned(),
            Value::Nqn => "nqn".to_owned(),
        }
    }
}

/// Where in its file a value stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Field {
    /// How the file is written.
    pub syntax: Syntax,
    /// The key, or the XML element; with `section/` before it, one of an ini file's section.
    pub key: String,
}

/// The value in a file, and the text around it; `None` where the file has none.
///
/// # Errors
/// When it stands there more than once.
pub fn split<'t>(text: &'t str, field: Option<&Field>) -> Result<Option<(&'t str, &'t str, &'t str)>> {
    let range = match field {
        None => {
            let start = text.len() - text.trim_start().len();
            start..start + text.trim().len()
        }
        Some(field) => match field::find(text, field.syntax, &field.key)?.as_slice() {
            [] => return Ok(None),
            [range] => range.clone(),
            _ => bail!("`{}` stands there more than once", field.key),
        },
    };
    let parts = (&text[..range.start], &text[range.clone()], &text[range.end..]);
    Ok((!parts.1.is_empty()).then_some(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_form_that_is_asked_for() {
        let seed = Seed::try_from("00".repeat(32)).unwrap();
        let make = |form: &str, old: &str| {
            let value = Value::try_from(form.to_owned()).unwrap();
            assert_eq!(String::from(value), form);
            value.derive(&seed, "t", old).unwrap()
        };
        assert_eq!(uuid::Uuid::parse_str(&make("uuid", "a")).unwrap().get_version_num(), 4);
        assert_eq!(make("uuid", "ABC"), make("uuid", "abc").to_uppercase());
        assert_eq!(make("hex-16", "").len(), 32);
        assert!(make("decimal-18", "").len() == 18 && make("decimal-1", "").len() == 1);
        assert_eq!(make("letters-8", "").len(), 8);
        assert!(make("iqn", "iqn.1993-08.org.debian:01:abc").starts_with("iqn.1993-08.org.debian:"));
        assert!(make("nqn", "").starts_with("nqn.2014-08.org.nvmexpress:uuid:"));
        assert!(Value::Iqn.derive(&seed, "t", "eui.02004567A425678D").is_err());
        assert_eq!(Base64::decode_vec(&make("base64-64", "")).unwrap().len(), 64);
        assert_eq!(make("decimal-38", "").len(), 38);
        for secret in [Value::Password(20), Value::Wireguard, Value::Dropbear] {
            assert!(secret.derive(&seed, "t", "").is_err(), "{secret:?} must not come from the seed");
        }
        for wrong in ["", "hex", "hex-0", "hex-65", "decimal-39", "uuid-4", "base-9", "letters--1", "password-10"] {
            assert!(Value::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_of_wireguard_is_clamped_and_replaces_one() {
        let key = Value::Wireguard.of(&[0xff; MOST], &Base64::encode_string(&[7; 32])).unwrap();
        let bytes = Base64::decode_vec(&key).unwrap();
        assert_eq!((bytes.len(), bytes[0], bytes[31]), (32, 0xf8, 0x7f));
        assert!(Value::Wireguard.of(&[1; MOST], "abc").is_err() && Value::Dropbear.of(&[1; MOST], "").is_err());
        assert_eq!(Value::Password(11).of(&[0xff; MOST], "").unwrap(), "_".repeat(11));
    }

    #[test]
    fn the_rest_of_the_file_stays() {
        assert_eq!(split("\n abc \n", None).unwrap(), Some(("\n ", "abc", " \n")));
        assert_eq!(split("\n", None).unwrap(), None);
        let field = Field { syntax: Syntax::Assignment, key: "ID".to_owned() };
        assert_eq!(split("ID=1\nX=2\n", Some(&field)).unwrap(), Some(("ID=", "1", "\nX=2\n")));
        assert!(split("ID=1\nID=2\n", Some(&field)).is_err());
    }
}
