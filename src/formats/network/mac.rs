// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hardware addresses of links, in the three spellings that configuration files use.

use std::fmt;
use std::str::FromStr;

use anyhow::{Error, bail};
use serde::{Deserialize, Serialize};

/// A 48-bit hardware address, IEEE 802; shown in lower case with colons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// A unicast address that is locally administered (RFC 7042, section 2.1), from random bytes. With a vendor's three
    /// bytes it begins with those as they are.
    pub fn made(mut bytes: [u8; 6], vendor: Option<[u8; 3]>) -> Mac {
        match vendor {
            Some(vendor) => bytes[..3].copy_from_slice(&vendor),
            None => bytes[0] = bytes[0] & 0xfc | 0x02,
        }
        Mac(bytes)
    }

    /// Is it an address that two machines share on purpose? VRRP (RFC 9568, section 7.3), which CARP uses too.
    pub fn is_shared_on_purpose(self) -> bool {
        self.0[..4] == [0x00, 0x00, 0x5e, 0x00] && matches!(self.0[4], 1 | 2)
    }

    /// Can a link have it? Not a group address, and not zero.
    pub fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }

    /// Written as `model` is: with its separators, and in its case.
    pub fn like(self, model: &str) -> String {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let digits = if model.chars().any(|c| c.is_ascii_uppercase()) { digits.to_ascii_uppercase() } else { digits };
        let (every, separator) = match model {
            _ if model.contains('.') => (4, "."),
            _ if model.contains('-') => (2, "-"),
            _ => (2, ":"),
        };
        let parts: Vec<&str> = (0..12).step_by(every).map(|at| &digits[at..at + every]).collect();
        parts.join(separator)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.like(""))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// `00:11:22:aa:bb:cc`, `00-11-22-AA-BB-CC`, `0011.22aa.bbcc`: systemd.link(5). A byte of one digit is a byte, as ether_aton(3)
/// has it.
impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Mac, Error> {
        let separator = text.chars().find(|c| ":-.".contains(*c));
        let mut bytes = Vec::with_capacity(6);
        for part in text.split(|c| Some(c) == separator) {
            let width = if separator == Some('.') { 4 } else { 2 };
            if part.is_empty() || part.len() > width || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                bail!("`{text}` is no MAC address");
            }
            let number = u16::from_str_radix(part, 16)?;
            match separator {
                Some('.') => bytes.extend(number.to_be_bytes()),
                _ => bytes.push(number.to_be_bytes()[1]),
            }
        }
        match bytes.try_into() {
            Ok(bytes) => Ok(Mac(bytes)),
            Err(_) => bail!("`{text}` is no MAC address"),
        }
    }
}

impl TryFrom<String> for Mac {
    type Error = Error;

    fn try_from(text: String) -> Result<Mac, Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_read_and_kept() {
        let mac = Mac([0x52, 0x54, 0x00, 0xab, 0xcd, 0x0f]);
        for text in ["52:54:00:ab:cd:0f", "52-54-00-AB-CD-0F", "5254.00ab.cd0f", "5254.00AB.CD0F"] {
            assert_eq!(text.parse::<Mac>().unwrap(), mac, "{text}");
            assert_eq!(mac.like(text), text);
        }
        assert_eq!("52:54:0:ab:cd:f".parse::<Mac>().unwrap(), mac);
        for text in [
            "",
            ":",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:0f:00",
            "52:54:00:ab:cd:zz",
            "525400abcd0f",
            "random",
            "+1:2:3:4:5:6",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_made_address_is_local_and_unicast() {
        let made = Mac::made([0xff; 6], None);
        assert_eq!(made.0[0], 0xfe);
        assert!(made.is_unicast());
        assert_eq!(Mac::made([0xff; 6], Some([0x52, 0x54, 0])).to_string(), "52:54:00:ff:ff:ff");
        assert!(!Mac([0xff; 6]).is_unicast() && !Mac([0; 6]).is_unicast());
        assert!("00:00:5e:00:01:0a".parse::<Mac>().unwrap().is_shared_on_purpose());
    }
}
