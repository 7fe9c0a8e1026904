// SPDX-License-Identifier: MIT OR Apache-2.0
//! The report for people on a terminal.

use super::report::{Report, Shared};
use crate::plan::{Severity, show};

/// Rows that are printed.
const MOST_ROWS: usize = 200;
/// Guests that are named in a row.
const MOST_NAMES: usize = 4;
/// Longest cell, in characters.
const WIDEST: usize = 64;

/// The table and what it comes to.
pub fn human(report: &Report) -> String {
    let shown = report.most(MOST_ROWS);
    let mut text = String::new();
    if !shown.is_empty() {
        let rows: Vec<[String; 6]> = shown.iter().map(|shared| row(shared, report)).collect();
        text.push_str(&show::table(&["severity", "identity", "which", "value", "guests", "names"], &rows));
        let more = report.shared() + report.allowed() - shown.len() as u64;
        if more > 0 {
            text.push_str(&format!("and {more} more; `--format json` prints all\n"));
        }
        text.push('\n');
    }
    for count in report.kinds().into_iter().filter(|count| count.shared > 0) {
        text.push_str(&format!("{}: {}: {} shared. {}.\n", word(count.severity), count.kind, count.shared, count.why));
    }
    text.push_str(&format!(
        "{} guests, {} values; {} values are shared, by {} guests",
        report.guests.len(),
        report.values,
        report.shared(),
        report.sharing_guests()
    ));
    if report.allowed() > 0 {
        text.push_str(&format!("; {} more are allowed to be", report.allowed()));
    }
    if report.broken_count > 0 {
        text.push_str(&format!("; {} documents could not be read", report.broken_count));
    }
    text.push('\n');
    text
}

/// The word for it; one that is allowed is none of them.
pub fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// The names of at most `most` guests.
pub fn names(guests: &[u32], report: &Report, most: usize) -> String {
    let names: Vec<String> = guests.iter().take(most).map(|guest| report.guests.name(*guest)).collect();
    match guests.len().saturating_sub(most) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

fn row(shared: &Shared, report: &Report) -> [String; 6] {
    let cell = |text: &str| {
        let text = show::printable(text);
        match text.char_indices().nth(WIDEST) {
            Some((end, _)) => format!("{}..", &text[..end]),
            None => text,
        }
    };
    [
        if shared.allowed { "allowed" } else { word(shared.severity) }.to_owned(),
        shared.kind.clone(),
        cell(&shared.subject),
        cell(&shared.value),
        shared.guests.len().to_string(),
        show::printable(&names(&shared.guests, report, MOST_NAMES)),
    ]
}
