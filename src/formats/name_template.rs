// SPDX-License-Identifier: MIT OR Apache-2.0
//! Host name templates such as `web-{mac:6}`, and what RFC 1123 and the kernel allow as a host name.

use std::fmt;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// Longest host name that the kernel takes, in bytes: `__NEW_UTS_LEN` in linux/utsname.h.
pub const LONGEST: usize = 64;
/// Longest label, RFC 1035 section 2.3.4.
const LONGEST_LABEL: usize = 63;

/// A fact that a name can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The first label of the name the guest had.
    Hostname,
    /// The new machine-id; cut from its end.
    MachineId,
    /// The first link's permanent MAC address without colons; cut from its start, which is the vendor's.
    Mac,
    /// The SMBIOS serial number; cut from its start.
    Serial,
    /// The SMBIOS UUID without dashes; cut from its end.
    Uuid,
    /// Letters and digits derived from the run's seed, six unless a length is given.
    Random,
}

impl Field {
    const NAMES: [(&'static str, Field); 6] = [
        ("hostname", Field::Hostname),
        ("machine-id", Field::MachineId),
        ("mac", Field::Mac),
        ("serial", Field::Serial),
        ("uuid", Field::Uuid),
        ("random", Field::Random),
    ];

    /// As it stands in a template.
    pub fn name(self) -> &'static str {
        Field::NAMES.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// A fact, at most so many characters of it.
    Field(Field, Option<usize>),
}

/// A checked template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NameTemplate(Vec<Part>);

impl NameTemplate {
    /// Its pieces.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }
}

/// `{hostname}-{random:6}`.
impl Default for NameTemplate {
    fn default() -> NameTemplate {
        let (old, own) = (Part::Field(Field::Hostname, None), Part::Field(Field::Random, Some(6)));
        NameTemplate(vec![old, Part::Text("-".to_owned()), own])
    }
}

impl TryFrom<String> for NameTemplate {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<NameTemplate> {
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some(open) = rest.find('{') {
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let Some(close) = rest[open..].find('}') else { bail!("`{{` without `}}` in the name `{text}`") };
            parts.push(field(&rest[open + 1..open + close])?);
            rest = &rest[open + close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        // Every field gives letters and digits, so one of each shows whether the text around them can be a name.
        let sample: String = parts.iter().map(|part| if let Part::Text(text) = part { text } else { "x" }).collect();
        check(&sample)?;
        Ok(NameTemplate(parts))
    }
}

fn field(text: &str) -> Result<Part> {
    let (name, length) = match text.split_once(':') {
        Some((name, length)) => (name, Some(length)),
        None => (text, None),
    };
    let names = Field::NAMES.map(|(name, _)| name).join(", ");
    let Some((_, field)) = Field::NAMES.iter().find(|(known, _)| *known == name) else {
        bail!("unknown field `{{{name}}}` in a name, expected one of {names}");
    };
    let length = match length.map(str::parse::<usize>) {
        None => None,
        Some(Ok(length @ 1..=32)) => Some(length),
        Some(_) => bail!("a length in a name is a number from 1 to 32, not `{text}`"),
    };
    Ok(Part::Field(*field, length))
}

impl From<NameTemplate> for String {
    fn from(template: NameTemplate) -> String {
        template.to_string()
    }
}

impl fmt::Display for NameTemplate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => out.write_str(text),
            Part::Field(field, None) => write!(out, "{{{}}}", field.name()),
            Part::Field(field, Some(length)) => write!(out, "{{{}:{length}}}", field.name()),
        })
    }
}

/// Can this be a host name? RFC 1123 section 2.1: labels of letters, digits and inner dashes, joined by dots.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > LONGEST {
        bail!("a host name has 1 to {LONGEST} bytes, `{name}` has {}", name.len());
    }
    for label in name.split('.') {
        let good = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        if label.is_empty() || label.len() > LONGEST_LABEL {
            bail!("a label of a host name has 1 to {LONGEST_LABEL} characters, in `{name}` one has {}", label.len());
        }
        if !label.chars().all(good) || label.starts_with('-') || label.ends_with('-') {
            bail!("a host name is made of letters, digits and inner dashes, `{name}` is not (RFC 1123)");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NameTemplate> {
        NameTemplate::try_from(text.to_owned())
    }

    #[test]
    fn templates_are_read_and_checked() {
        for good in ["web-1", "web-{mac:6}", "{hostname}-{random}", "{serial}.example.com", "{uuid:8}{machine-id:4}"] {
            assert_eq!(parse(good).unwrap().to_string(), good);
        }
        for bad in
            ["", "-web", "web-", "we b", "{hostnme}", "{mac", "{mac:0}", "{mac:33}", "{mac:x}", "a..b", "ä", "a_b"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(check(&"a".repeat(64)).is_err());
        assert!(check(&"a".repeat(63)).is_ok());
        assert!(check(&format!("{}.{}", "a".repeat(40), "b".repeat(40))).is_err());
    }
}
