// SPDX-License-Identifier: MIT OR Apache-2.0
//! The list of old values: what earlier runs recorded, and what the caller names.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::value::Value;
use crate::plan::Renewal;
use crate::stamp::Memory;

/// Kinds that a caller may name beside those of the program's own plans.
const KINDS: [&str; 5] = ["uuid", "mac-address", "ip-address", "ssh-key", "text"];

/// The values to look for, each once.
#[derive(Debug, Default)]
pub struct List {
    /// Them.
    pub values: Vec<Value>,
    /// What cannot be looked for: how often, by reason.
    pub unfit: BTreeMap<String, usize>,
}

impl List {
    /// What the records of a guest say that it was before, unless it still rightly is.
    pub fn of_records(memory: &Memory) -> List {
        let records = [&memory.stamp, &memory.journal, &memory.sealed, &memory.offline];
        let renewals: Vec<&Renewal> = records.into_iter().flatten().flat_map(|record| &record.renewals).collect();
        let mut list = List::default();
        for renewal in &renewals {
            let Some(old) = &renewal.old else { continue };
            let is_kept = |other: &&Renewal| other.new.as_deref().is_some_and(|new| new.eq_ignore_ascii_case(old));
            if !renewals.iter().any(is_kept) {
                list.add(&renewal.kind.to_string(), &renewal.subject, old);
            }
        }
        list
    }

    /// Adds a value, or the reason why it cannot be looked for.
    pub fn add(&mut self, kind: &str, subject: &str, value: &str) {
        match Value::new(kind, subject, value) {
            Ok(value) if self.values.iter().any(|known| known.shape == value.shape && same(known, &value)) => {}
            Ok(value) => self.values.push(value),
            Err(why) => *self.unfit.entry(format!("{kind}: {why}")).or_default() += 1,
        }
    }

    /// Adds `KIND=VALUE`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add_named(&mut self, named: &str, subject: &str) -> Result<(), String> {
        let (kind, value) = named.split_once('=').ok_or("expected KIND=VALUE, as in hostname=web-1")?;
        let kind = kind.trim();
        let own = serde_json::from_value::<crate::plan::Kind>(Json::String(kind.to_owned())).is_ok();
        if !own && !KINDS.contains(&kind) {
            return Err(format!(
                "unknown kind `{kind}`; a kind is {}, or one that `reseal inspect` shows",
                KINDS.join(", ")
            ));
        }
        let value = Value::new(kind, subject, value).map_err(|why| format!("`{kind}`: {why}"))?;
        if !self.values.contains(&value) {
            self.values.push(value);
        }
        Ok(())
    }

    /// Adds the lines `KIND=VALUE` of a text; empty lines and comments are left out.
    ///
    /// # Errors
    /// What is wrong, with the line.
    pub fn add_lines(&mut self, text: &str, name: &str) -> Result<(), String> {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                self.add_named(line, name).map_err(|error| format!("line {}: {error}", number + 1))?;
            }
        }
        Ok(())
    }

    /// Adds what a document of `reseal inspect`, or the old values of a plan.
    ///
    /// # Errors
    /// When it is neither.
    pub fn add_document(&mut self, text: &[u8]) -> Result<(), String> {
        let document: Json = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if document["version"] != 1 {
            return Err("not a document of version 1 that `reseal inspect --format json` prints".to_owned());
        }
        let (list, key) = match (&document["identities"], &document["renewals"]) {
            (Json::Array(list), _) => (list, "value"),
            (_, Json::Array(list)) => (list, "old"),
            _ => return Err("it has neither identities nor renewals".to_owned()),
        };
        for entry in list {
            if let (Some(kind), Some(value)) = (entry["kind"].as_str(), entry[key].as_str()) {
                self.add(kind, entry["subject"].as_str().unwrap_or_default(), value);
            }
        }
        Ok(())
    }
}

/// Is it the same value? The shape says all of most.
fn same(a: &Value, b: &Value) -> bool {
    matches!(a.shape, super::value::Shape::Uuid(_)) || a.value.eq_ignore_ascii_case(&b.value)
}
