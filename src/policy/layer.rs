// SPDX-License-Identifier: MIT OR Apache-2.0
//! One piece of policy before merging: a file or an assignment, each mistake in it named by its line.

use anyhow::Result;
use serde::Deserialize as _;
use toml::de::{DeTable, ValueDeserializer};

use super::instance::InstancePolicy;
use super::{RunPolicy, ScanPolicy};
use crate::regenerators::PIPELINE;

/// A mistake in a policy; nothing has been touched when it is found.
#[derive(Debug, thiserror::Error)]
#[error("{}{message}{}", self.place(), self.hint.as_deref().map(|hint| format!("; did you mean `{hint}`?")).unwrap_or_default())]
pub struct PolicyError {
    /// File, or the command line option.
    pub source_name: String,
    /// Line, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// The nearest valid name.
    pub hint: Option<String>,
}

impl PolicyError {
    /// A mistake that shows only with the guest's catalogue; `named` is the wrong name among those it has.
    pub fn of(source: &str, message: String, named: Option<(&str, &[&str])>) -> PolicyError {
        let hint = named.and_then(|(wrong, known)| nearest(wrong, known.iter().copied()));
        PolicyError { source_name: source.to_owned(), line: None, message, hint }
    }

    fn place(&self) -> String {
        match self.line {
            Some(line) => format!("{}: line {line}: ", self.source_name),
            None => format!("{}: ", self.source_name),
        }
    }
}

/// One piece of policy before merging.
#[derive(Debug)]
pub(super) struct Layer {
    /// File or option.
    pub name: String,
    /// TOML.
    pub text: String,
}

impl Layer {
    pub fn of(name: &str, bytes: Vec<u8>) -> Result<Layer> {
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
            PolicyError { source_name: name.to_owned(), line: Some(line), message: "not UTF-8".to_owned(), hint: None }
        })?;
        Ok(Layer { name: name.to_owned(), text })
    }

    /// `--set hostname.name=web-1`: the value as TOML, or as a plain string where it is none.
    pub fn assignment(assignment: &str) -> Result<Layer> {
        let name = format!("--set {assignment}");
        let Some((key, value)) = assignment.split_once('=') else {
            let message = "expected KEY=VALUE, as in hostname.name=web-1".to_owned();
            return Err(PolicyError { source_name: name, line: None, message, hint: None }.into());
        };
        let (key, value) = (key.trim(), value.trim());
        let as_toml = format!("{key} = {value}\n");
        let text = if toml::from_str::<toml::Table>(&as_toml).is_ok() {
            as_toml
        } else {
            format!("{key} = {}\n", toml::Value::String(value.to_owned()))
        };
        Ok(Layer { name, text })
    }

    /// Every table and key of this layer alone, so that a mistake is named where it stands.
    pub fn check(&self) -> Result<()> {
        let table = DeTable::parse(&self.text).map_err(|error| self.error(&error))?;
        for (key, value) in table.into_inner() {
            let span = key.span();
            let line = Some(self.line(span.start));
            let id = key.into_inner();
            let input = ValueDeserializer::from(value);
            match id.as_ref() {
                "run" => {
                    let run = RunPolicy::deserialize(input).map_err(|error| self.error(&error))?;
                    for id in run.only.iter().chain(&run.skip) {
                        check_id(id, &self.name, line)?;
                    }
                }
                "instance" => {
                    InstancePolicy::deserialize(input).map_err(|error| self.error(&error))?;
                }
                "scan" => {
                    ScanPolicy::deserialize(input).map_err(|error| self.error(&error))?;
                }
                id => match PIPELINE.iter().find(|entry| entry.id == id && entry.has_options()) {
                    Some(entry) => (entry.check)(input).map_err(|error| self.error(&error))?,
                    None => {
                        let names = PIPELINE.iter().filter(|entry| entry.has_options()).map(|entry| entry.id);
                        let hint = nearest(id, names.chain(["run", "instance", "scan"]));
                        let message = format!("unknown table `{id}`");
                        return Err(PolicyError { source_name: self.name.clone(), line, message, hint }.into());
                    }
                },
            }
        }
        Ok(())
    }

    pub fn error(&self, error: &toml::de::Error) -> PolicyError {
        let message = error.message().trim_end().replace('\n', " ");
        // serde names the unknown field and those it expected between backticks.
        let mut names = message.split('`').skip(1).step_by(2);
        let hint = match names.next() {
            Some(wrong) if message.starts_with("unknown ") => nearest(wrong, names),
            _ => None,
        };
        let line = error.span().map(|span| self.line(span.start));
        PolicyError { source_name: self.name.clone(), line, message: message.clone(), hint }
    }

    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

pub(super) fn check_id(id: &str, source: &str, line: Option<usize>) -> Result<()> {
    if PIPELINE.iter().any(|entry| entry.id == id) {
        return Ok(());
    }
    let hint = nearest(id, PIPELINE.iter().map(|entry| entry.id));
    Err(PolicyError { source_name: source.to_owned(), line, message: format!("unknown regenerator `{id}`"), hint }
        .into())
}

fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    names
        .map(|name| (strsim::normalized_damerau_levenshtein(wrong, name), name))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}
