// SPDX-License-Identifier: MIT OR Apache-2.0
//! An inventory as it is read: what `reseal inspect --format json` prints, of this version or of a later one that says the same.

use std::borrow::Cow;

use serde::Deserialize;

/// The version of the form that is known; docs/inventory.md says what it holds.
pub const VERSION: u32 = 1;

/// Longest kind, subject or name, in bytes.
const LONGEST_WORD: usize = 256;
/// Longest value, in bytes.
const LONGEST_VALUE: usize = 4096;

/// What two guests may well both have, because it stands for nothing.
const NOTHING: [(&str, &str); 7] = [
    ("hostname", "localhost"),
    ("hostname", "localhost.localdomain"),
    ("hostname", "(none)"),
    ("mac-address", "00:00:00:00:00:00"),
    ("machine-id", "uninitialized"),
    // SHA-256 of an empty file.
    ("residue", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("fs-uuid", "00000000-0000-0000-0000-000000000000"),
];

/// One guest. Fields that are not needed here are left unread.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inventory<'a> {
    version: u32,
    /// What those who gathered it call the guest.
    #[serde(default, borrow)]
    pub guest: Option<Cow<'a, str>>,
    /// What it runs on.
    #[serde(default)]
    pub machine: Machine,
    /// Its identities.
    #[serde(borrow)]
    pub identities: Vec<Identity<'a>>,
}

/// What a guest runs on.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Machine {
    /// The machine's UUID.
    #[serde(default)]
    pub smbios_uuid: Option<String>,
}

/// One identity.
#[derive(Debug, Clone, Deserialize)]
pub struct Identity<'a> {
    /// Its kind.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// Which one of its kind.
    #[serde(borrow)]
    pub subject: Cow<'a, str>,
    /// Its value: public, or a digest.
    #[serde(borrow)]
    pub value: Cow<'a, str>,
}

impl<'a> Inventory<'a> {
    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong with it, a sentence.
    pub fn read(text: &'a [u8]) -> Result<Inventory<'a>, String> {
        let mut inventory: Inventory<'a> =
            serde_json::from_slice(text).map_err(|error| Inventory::explain(text, &error))?;
        if inventory.version != VERSION {
            return Err(wrong_version(inventory.version));
        }
        if inventory.guest.as_ref().is_some_and(|name| name.len() > LONGEST_WORD) {
            return Err(format!("the guest's name is longer than {LONGEST_WORD} bytes"));
        }
        for Identity { kind, subject, value } in &inventory.identities {
            let is_word = !kind.is_empty() && kind.len() <= LONGEST_WORD;
            if !is_word || !kind.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
                return Err(format!("{kind:.80?} is no kind of identity"));
            }
            if subject.len() > LONGEST_WORD * 16 || value.len() > LONGEST_VALUE {
                return Err(format!("an identity of the kind {kind} is longer than {LONGEST_VALUE} bytes"));
            }
        }
        if let Some(uuid) = inventory.machine.smbios_uuid.take().filter(|uuid| uuid.len() <= LONGEST_WORD) {
            let (kind, subject) = ("smbios-uuid".into(), "machine".into());
            inventory.identities.push(Identity { kind, subject, value: uuid.into() });
        }
        Ok(inventory)
    }

    /// The identities whose values tell one guest from another.
    pub fn telling(&self) -> impl Iterator<Item = &Identity<'a>> {
        let stands_for_nothing =
            |id: &Identity<'_>| NOTHING.iter().any(|(kind, value)| id.kind == *kind && id.value == *value);
        self.identities.iter().filter(move |id| !id.value.is_empty() && !stands_for_nothing(id))
    }

    /// The value of the first identity of a kind, the one that is `subject` before others.
    pub fn first(&self, kind: &str, subject: &str) -> Option<&str> {
        let of_kind = || self.telling().filter(|id| id.kind == kind);
        Some(&of_kind().find(|id| id.subject == subject).or_else(|| of_kind().next())?.value)
    }

    /// Why a document is none: a later form need not have the fields of this one, so its version is told first.
    fn explain(text: &[u8], error: &serde_json::Error) -> String {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        match serde_json::from_slice::<Versioned>(text) {
            Ok(Versioned { version }) if version != VERSION => wrong_version(version),
            _ => error.to_string(),
        }
    }
}

fn wrong_version(version: u32) -> String {
    format!("version {version} of the form; this reseal knows {VERSION}")
}
