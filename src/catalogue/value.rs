// SPDX-License-Identifier: MIT OR Apache-2.0
//! The forms of a value that an entry renews, and where in its file it stands.

use anyhow::{Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::formats::field::{self, Syntax};
use crate::plan::derive::{Seed, hex};

/// Form of a public value: `uuid`, `hex-N` with N bytes, `decimal-N` with N digits, `letters-N`, `iqn` or `nqn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Value {
    /// A random UUID, RFC 9562.
    Uuid,
    /// Lower-case hexadecimal digits of so many bytes, 1 to 32.
    Hex(usize),
    /// So many decimal digits, 1 to 18, the first not 0.
    Decimal(usize),
    /// So many lower-case letters and digits, 1 to 32.
    Letters(usize),
    /// An iSCSI name; the authority of the old one stays, RFC 3720 3.2.6.3.1.
    Iqn,
    /// An NVMe qualified name made of a UUID, NVM Express Base Specification 2.0, 4.5.
    Nqn,
}

impl Value {
    /// A new value that depends on the seed and on `token`.
    ///
    /// # Errors
    /// When the old one is not of this form where its parts are kept.
    pub fn derive(self, seed: &Seed, token: &str, old: &str) -> Result<String> {
        Ok(match self {
            Value::Uuid if old.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                seed.uuid(token).to_string().to_uppercase()
            }
            Value::Uuid => seed.uuid(token).to_string(),
            Value::Hex(bytes) => hex(&seed.derive(token)[..bytes]),
            Value::Decimal(digits) => {
                let bytes = seed.derive(token);
                let number = u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|at: usize| bytes[at]));
                let first = 10_u64.pow(u32::try_from(digits)? - 1);
                (first + number % (first * 9)).to_string()
            }
            Value::Letters(length) => seed.letters(token, length),
            Value::Iqn => {
                let authority = old.split(':').next().unwrap_or_default();
                if !authority.starts_with("iqn.") {
                    bail!("`{old}` is no iSCSI name of the form iqn.DATE.AUTHORITY:NAME");
                }
                format!("{authority}:{}", hex(&seed.derive(token)[..6]))
            }
            Value::Nqn => format!("nqn.2014-08.org.nvmexpress:uuid:{}", seed.uuid(token)),
        })
    }
}

impl TryFrom<String> for Value {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Value> {
        let (form, size) = text.split_once('-').unwrap_or((&text, ""));
        let size = |most: usize| match size.parse() {
            Ok(size) if (1..=most).contains(&size) => Ok(size),
            _ => Err(anyhow!("`{text}` wants a size from 1 to {most}, as in `{form}-8`")),
        };
        match form {
            "hex" => Ok(Value::Hex(size(32)?)),
            "decimal" => Ok(Value::Decimal(size(18)?)),
            "letters" => Ok(Value::Letters(size(32)?)),
            _ => match text.as_str() {
                "uuid" => Ok(Value::Uuid),
                "iqn" => Ok(Value::Iqn),
                "nqn" => Ok(Value::Nqn),
                _ => bail!("unknown value `{text}`: expected uuid, hex-N, decimal-N, letters-N, iqn or nqn"),
            },
        }
    }
}

impl From<Value> for String {
    fn from(value: Value) -> String {
        match value {
            Value::Uuid => "uuid".to_owned(),
            Value::Hex(bytes) => format!("hex-{bytes}"),
            Value::Decimal(digits) => format!("decimal-{digits}"),
            Value::Letters(length) => format!("letters-{length}"),
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
        for wrong in ["", "hex", "hex-0", "hex-33", "decimal-19", "uuid-4", "base-9", "letters--1"] {
            assert!(Value::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
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
