// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a scan for old values found, for people and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::advice::Advice;
use super::old::{Entries, Found, Where};
use super::packages::Packages;
use super::spelling::Form;
use super::value::{Shape, Value};
use crate::plan::Finding;
use crate::plan::show::{self, Style, printable};
use crate::policy::ScanPolicy;
use crate::root::Root;

/// Where reseal keeps its records, which name old values on purpose.
const RECORDS: [&str; 2] = ["etc/reseal/", "var/lib/reseal/"];

/// Lists of packages, which name everything that there is; a host name there is the word.
const PACKAGE_LISTS: [&str; 5] =
    ["var/lib/dpkg/info/", "var/lib/dpkg/status", "var/lib/dpkg/available", "var/lib/apt/lists/", "var/cache/apt/"];

/// Paths that one piece of advice names on a screen.
const MOST_PATHS: usize = 8;

/// Letters of a value on a screen.
const MOST_LETTERS: usize = 45;

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Nothing explains it.
    Left,
    /// The policy lets it stand.
    Allowed,
    /// reseal's own record.
    Record,
    /// The file is as its package brought it, or lists packages: it is a word there, and no identity.
    Shipped,
}

/// One value in one spelling at one file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// Absolute path.
    pub path: String,
    /// The way to it inside of a packed file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inside: Option<String>,
    /// What becomes of it.
    pub standing: Standing,
    /// Where about the file.
    pub r#in: Where,
    /// Kind of the identity.
    pub kind: String,
    /// Which one of its kind.
    pub subject: String,
    /// The old value.
    pub value: String,
    /// How it is spelled.
    pub spelling: Form,
    /// How often.
    pub times: usize,
    /// The first lines, where it is text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<u64>,
    /// The first places in bytes, where it is not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub offsets: Vec<u64>,
    /// The first line, where everybody may read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The package that the file belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// The document that `--format json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Version of this form, 1.
    pub version: u32,
    /// What was looked for.
    pub values: Vec<Value>,
    /// What was found.
    pub found: Vec<Row>,
    /// Entries beyond those of the list.
    pub more: usize,
    /// Regular files that were read.
    pub files: u64,
    /// Bytes that were read of them.
    pub bytes: u64,
    /// What could not be read, the first ones, and why.
    pub unread: Vec<(String, String)>,
    /// How many there are.
    pub unread_count: usize,
    /// Mounted file systems that hold no files of the guest, and their types.
    pub left_out: Vec<(String, String)>,
    /// What the operator should know.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The report of what was found.
    ///
    /// # Errors
    /// When the lists of packages cannot be read.
    pub fn new(root: &Root, values: Vec<Value>, found: Found, policy: &ScanPolicy, advice: &Advice) -> Result<Report> {
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let packed = found.packed.iter().map(|(path, _)| path);
        let paths = found.entries.iter().map(|entry| &entry.path).chain(packed);
        let paths: BTreeSet<String> = paths.map(|path| text(path)).collect();
        let packages = Packages::of(root, &paths)?;
        let row = |entry: Entries| {
            let path = text(&entry.path);
            let standing = match () {
                () if RECORDS.iter().any(|place| path.starts_with(place)) => Standing::Record,
                () if policy.allows(&path) => Standing::Allowed,
                () if (entry.place == Where::Content || entry.inside.is_some()) && packages.is_shipped(&path) => {
                    Standing::Shipped
                }
                () if values[entry.value].shape == Shape::Name
                    && PACKAGE_LISTS.iter().any(|place| path.starts_with(place)) =>
                {
                    Standing::Shipped
                }
                // The name of a file, or of what a link leads to, is the package's just so.
                () if entry.place != Where::Content && entry.inside.is_none() && packages.owner(&path).is_some() => {
                    Standing::Shipped
                }
                () => Standing::Left,
            };
            let value = &values[entry.value];
            Row {
                inside: entry.inside,
                standing,
                r#in: entry.place,
                kind: value.kind.clone(),
                subject: value.subject.clone(),
                value: value.value.clone(),
                spelling: entry.form,
                times: entry.count,
                lines: entry.lines,
                offsets: entry.offsets,
                text: entry.text,
                package: packages.owner(&path).map(str::to_owned),
                advice: (standing == Standing::Left).then(|| advice.of(&path, entry.place, entry.form)),
                path: format!("/{path}"),
            }
        };
        let rows = found.entries.into_iter().map(row).collect();
        let mut unseen = found.unseen;
        for (path, why) in found.packed {
            let name = text(&path);
            if !packages.is_shipped(&name) && !policy.allows(&name) {
                unseen.unread(path, &why);
            }
        }
        let absolute = |list: Vec<(Vec<u8>, String)>| -> Vec<(String, String)> {
            list.into_iter().map(|(path, why)| (format!("/{}", text(&path)), why)).collect()
        };
        Ok(Report {
            version: 1,
            values,
            found: rows,
            more: found.more,
            files: 0,
            bytes: 0,
            unread: absolute(unseen.unread),
            unread_count: unseen.unread_count,
            left_out: absolute(unseen.left_out),
            findings: Vec::new(),
        })
    }

    /// What nothing explains.
    pub fn left(&self) -> impl Iterator<Item = &Row> {
        self.found.iter().filter(|row| row.standing == Standing::Left)
    }

    /// For a person.
    pub fn show(&self, style: Style) -> String {
        let rows: Vec<[String; 5]> = self.left().map(cells).collect();
        let mut out = String::new();
        if !rows.is_empty() {
            out.push_str(&show::table(&["where", "identity", "old value", "spelling", "times"], &rows));
            out.push('\n');
            out.push_str(&self.show_advice());
        }
        // Writing to a String cannot fail, here and below.
        let named = |out: &mut String, word: &str, list: &[(String, String)], all: usize| {
            for (path, why) in list {
                let _ = writeln!(out, "{word}: {}: {}", printable(path), printable(why));
            }
            if all > list.len() {
                let _ = writeln!(out, "{word}: {} more", all - list.len());
            }
        };
        named(&mut out, "not read", &self.unread, self.unread_count);
        named(&mut out, "left out", &self.left_out, self.left_out.len());
        out.push_str(&show::findings(&self.findings, style));
        for (standing, what) in [
            (Standing::Allowed, "the policy allows (scan.allow)"),
            (Standing::Record, "in reseal's own records"),
            (Standing::Shipped, "in files that are as their package brought them"),
        ] {
            let rows = self.found.iter().filter(|row| row.standing == standing);
            let paths: BTreeSet<&String> = rows.map(|row| &row.path).collect();
            if !paths.is_empty() {
                let _ = writeln!(out, "{} more files: {what}", paths.len());
            }
        }
        let paths: BTreeSet<&String> = self.left().map(|row| &row.path).collect();
        let (files, gigabytes) = (self.files, self.bytes as f64 / 1e9);
        let read = format!("{} old values, {files} files, {gigabytes:.2} GB read", self.values.len());
        let _ = match (paths.len(), self.more) {
            (0, _) => writeln!(out, "{read}: nothing is left"),
            (1, 0) => writeln!(out, "{read}: something is left in 1 place"),
            (places, 0) => writeln!(out, "{read}: something is left in {places} places"),
            (places, _) => writeln!(out, "{read}: something is left in {places} places, and more than the list holds"),
        };
        out
    }

    /// Each piece of advice once, with the paths that it is for.
    fn show_advice(&self) -> String {
        let mut advice: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for row in self.left() {
            advice.entry(row.advice.as_deref().unwrap_or_default()).or_default().insert(&row.path);
        }
        let mut out = String::new();
        for (advice, paths) in advice {
            let _ = writeln!(out, "{advice}:");
            for path in paths.iter().take(MOST_PATHS) {
                let _ = writeln!(out, "  {}", printable(path));
            }
            if paths.len() > MOST_PATHS {
                let _ = writeln!(out, "  and {} more", paths.len() - MOST_PATHS);
            }
        }
        out.push('\n');
        out
    }
}

fn cells(row: &Row) -> [String; 5] {
    let places = match (&row.lines[..], &row.offsets[..]) {
        ([line, ..], _) => format!(":{line}"),
        (_, [offset, ..]) => format!(" at byte {offset}"),
        _ if row.r#in == Where::Name => " (name)".to_owned(),
        _ => " (target)".to_owned(),
    };
    let value: String = match row.value.char_indices().nth(MOST_LETTERS) {
        Some((at, _)) => format!("{}..", &row.value[..at]),
        None => row.value.clone(),
    };
    let form = serde_json::to_value(row.spelling).ok();
    let form = form.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let inside = row.inside.as_ref().map(|way| format!(", inside {}", printable(way))).unwrap_or_default();
    [printable(&row.path) + &inside + &places, row.kind.clone(), printable(&value), form, row.times.to_string()]
}
