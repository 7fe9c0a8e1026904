// SPDX-License-Identifier: MIT OR Apache-2.0
//! What looks like an identity that nobody knows, for people and as JSON.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::{Found, Known, Rank, Suspect, What};
use crate::plan::Finding;
use crate::plan::show::{self, Style, printable};
use crate::policy::ScanPolicy;
use crate::root::Root;
use crate::scan::packages::Packages;

/// One file that looks like one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// Absolute path.
    pub path: String,
    /// How sure it is, and how bad.
    pub rank: Rank,
    /// What it looks like.
    pub what: What,
    /// More of it, never the secret.
    pub form: String,
    /// The line in a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The package that the file belongs to, or the nearest directory above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
}

/// The document that `--format json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Version of this form, 1.
    pub version: u32,
    /// The surest first.
    pub suspects: Vec<Row>,
    /// Suspects beyond those of the list.
    pub more: usize,
    /// How many look like one and are known: to the catalogue, a regenerator, the policy, or as a package brought them.
    pub known: usize,
    /// Regular files that were looked at.
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

/// Where reseal and its journal are: what they hold is of no other.
const RECORDS: [&str; 2] = ["etc/reseal/", "var/lib/reseal/"];

impl Report {
    /// The report, without what is known.
    ///
    /// # Errors
    /// When the lists of packages cannot be read.
    pub fn new(root: &Root, found: Found, known: &Known, policy: &ScanPolicy) -> Result<Report> {
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let all = found.suspects.len();
        let is_known = |path: &str, what: What| {
            known.has(path, what) || policy.allows(path) || RECORDS.iter().any(|place| path.starts_with(place))
        };
        let mut suspects: Vec<Suspect> = found.suspects;
        suspects.retain(|suspect| !is_known(&text(&suspect.path), suspect.what));
        let paths: BTreeSet<String> = suspects.iter().map(|suspect| text(&suspect.path)).collect();
        let packages = Packages::of(root, &paths)?;
        let mut rows: Vec<Row> = Vec::new();
        for suspect in suspects {
            let path = text(&suspect.path);
            if !packages.is_shipped(&path) {
                rows.push(Row {
                    rank: suspect.rank,
                    what: suspect.what,
                    form: suspect.form,
                    line: suspect.line,
                    package: packages.nearest(&path).map(str::to_owned),
                    path: format!("/{path}"),
                });
            }
        }
        rows.sort_by(|a, b| (a.rank, a.what, &a.path).cmp(&(b.rank, b.what, &b.path)));
        let absolute = |list: Vec<(Vec<u8>, String)>| -> Vec<(String, String)> {
            list.into_iter().map(|(path, why)| (format!("/{}", text(&path)), why)).collect()
        };
        Ok(Report {
            version: 1,
            known: all - rows.len(),
            suspects: rows,
            more: found.more,
            files: 0,
            bytes: 0,
            unread: absolute(found.unseen.unread),
            unread_count: found.unseen.unread_count,
            left_out: absolute(found.unseen.left_out),
            findings: Vec::new(),
        })
    }

    /// For a person.
    pub fn show(&self, style: Style) -> String {
        let rows: Vec<[String; 4]> = self.suspects.iter().map(cells).collect();
        let mut out = String::new();
        if !rows.is_empty() {
            out.push_str(&show::table(&["rank", "where", "looks like", "package"], &rows));
            out.push('\n');
        }
        // Writing to a String cannot fail, here and below.
        for (word, list) in [("not read", &self.unread), ("left out", &self.left_out)] {
            for (path, why) in list {
                let _ = writeln!(out, "{word}: {}: {}", printable(path), printable(why));
            }
        }
        out.push_str(&show::findings(&self.findings, style));
        let _ = writeln!(
            out,
            "{} files looked at: {} look like an identity that nothing renews, {} more are known",
            self.files,
            self.suspects.len() + self.more,
            self.known
        );
        out
    }
}

fn cells(row: &Row) -> [String; 4] {
    let rank = match row.rank {
        Rank::High => "high",
        Rank::Medium => "medium",
        Rank::Low => "low",
    };
    let line = row.line.filter(|line| *line > 1).map(|line| format!(":{line}")).unwrap_or_default();
    let package = row.package.as_deref().unwrap_or("-");
    [rank.to_owned(), printable(&row.path) + &line, printable(&row.form), printable(package)]
}
