// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[Section]` and `Key=value` lines with the bytes where they stand: systemd.syntax(7), GLib's key files.

use std::collections::HashSet;
use std::ops::Range;

use anyhow::{Result, bail};

use super::{Edit, Group, Item, What};

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'t> {
    /// The section that it stands in, empty before the first.
    pub section: &'t str,
    /// Its key.
    pub key: &'t str,
    /// The value as it stands, without blanks around it.
    pub value: &'t str,
    /// Where the value stands.
    pub span: Range<usize>,
    /// Its line, or lines, with the end of line.
    pub whole: Range<usize>,
    /// The number of the section among all of the file, from 1.
    pub number: usize,
    /// Line, from 1.
    pub line: usize,
}

/// What the lines of a file may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// systemd's: a line that ends with a backslash goes on in the next.
    Systemd,
    /// GLib's.
    Glib,
}

/// All assignments of a text.
///
/// # Errors
/// With the line, on one that is neither section, assignment nor comment, and on a key of GLib's that stands twice in a
/// section: which of the two counts is nobody's intention.
pub fn read(text: &str, style: Style) -> Result<Vec<Entry<'_>>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut seen = HashSet::new();
    let mut section = "";
    let (mut at, mut line, mut number) = (0, 0, 0);
    while at < text.len() {
        line += 1;
        let (first, start) = (line, at);
        let mut end = line_end(text, at);
        let bare = text[start..end].trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            at = end;
            continue;
        }
        // Comments between continued lines are left out by systemd, and end nothing.
        while style == Style::Systemd && text[start..end].trim_end_matches('\n').ends_with('\\') && end < text.len() {
            end = line_end(text, end);
            line += 1;
        }
        at = end;
        if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            number += 1;
            continue;
        }
        let body = text[start..end].trim_end();
        let Some(equals) = body.find('=') else { bail!("line {first}: neither a section nor an assignment") };
        let raw = &body[equals + 1..];
        let lead = raw.len() - raw.trim_start().len();
        let from = start + equals + 1 + lead;
        let entry = Entry {
            section,
            key: body[..equals].trim(),
            value: raw.trim_start(),
            span: from..start + body.len(),
            whole: start..end,
            number,
            line: first,
        };
        if style == Style::Glib && !seen.insert((section, entry.key)) {
            bail!("line {first}: `{}` stands twice in [{section}]", entry.key);
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Just after the end of the line in which `at` stands.
pub fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |length| at + length + 1)
}

/// Words of a part of a text, with their places; a backslash at the end of a line is none.
pub fn words(text: &str, span: Range<usize>) -> impl Iterator<Item = (&str, Range<usize>)> {
    let piece = &text[span.clone()];
    piece.split_whitespace().filter(|word| *word != "\\").map(move |word| {
        let from = span.start + (word.as_ptr() as usize - piece.as_ptr() as usize);
        (word, from..from + word.len())
    })
}

/// New lines for a section that has one of these names: behind its last assignment. Where it is missing it is made at the end.
pub fn insert(text: &str, names: &[&str], new_name: &str, lines: &[String]) -> Option<Edit> {
    if lines.is_empty() {
        return None;
    }
    let (mut at, mut place, mut inside) = (0, None, false);
    for whole in text.split_inclusive('\n') {
        at += whole.len();
        let bare = whole.trim();
        if let Some(heading) = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = names.contains(&heading);
        }
        // Blank lines and comments behind the section belong to the next one.
        if inside && !bare.is_empty() && !bare.starts_with(['#', ';']) {
            place = Some(at);
        }
    }
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let (at, body) = match place {
        Some(at) => (at, body),
        None => (text.len(), format!("{}[{new_name}]\n{body}", if text.is_empty() { "" } else { "\n" })),
    };
    let end = if at == 0 || text[..at].ends_with('\n') { "" } else { "\n" };
    Some(Edit { span: at..at, new: format!("{end}{body}") })
}

/// Gives a key of a section a value; nothing to change where it has it.
///
/// # Errors
/// With the line.
pub fn set(text: &str, style: Style, (section, key): (&str, &str), value: &str) -> Result<Vec<Edit>> {
    let entries = read(text, style)?;
    let standing = entries.iter().rev().find(|entry| entry.section == section && entry.key == key);
    Ok(match standing {
        Some(entry) if entry.value == value => Vec::new(),
        Some(entry) => vec![entry.item(What::Method).with(value)],
        None => insert(text, &[section], section, &[format!("{key}={value}")]).into_iter().collect(),
    })
}

impl Entry<'_> {
    /// The whole value as an item.
    pub fn item(&self, what: What) -> Item {
        Item {
            what,
            value: self.value.to_owned(),
            span: self.span.clone(),
            piece: self.span.clone(),
            group: Group::alone(self.whole.clone()),
            quote: "",
            line: self.line,
        }
    }

    /// Each word of the value as an item.
    pub fn items(&self, text: &str, what: What) -> Vec<Item> {
        let all: Vec<(&str, Range<usize>)> = words(text, self.span.clone()).collect();
        let item = |(index, (value, span)): (usize, &(&str, Range<usize>))| {
            // With a blank beside it.
            let piece = match index {
                0 if all.len() > 1 => span.start..all[1].1.start,
                0 => span.clone(),
                _ => all[index - 1].1.end..span.end,
            };
            Item {
                what,
                value: (*value).to_owned(),
                span: span.clone(),
                piece,
                group: Group { size: all.len(), ..Group::alone(self.whole.clone()) },
                quote: "",
                line: self.line,
            }
        };
        all.iter().enumerate().map(item).collect()
    }
}
