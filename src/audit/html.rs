// SPDX-License-Identifier: MIT OR Apache-2.0
//! The report as one page that opens without a network.

use std::cmp::Reverse;
use std::io::{self, Write};

use super::page::{self, Cell, cell};
use super::report::Report;
use super::show::{names, word};
use crate::plan::Severity;

/// Rows of a table: a browser takes some seconds for them.
const MOST_ROWS: usize = 10_000;
/// Guests that are named in a row.
const MOST_NAMES: usize = 100;

/// Writes the page.
///
/// # Errors
/// When `out` cannot be written.
pub fn page(report: &Report, out: &mut impl Write) -> io::Result<()> {
    page::begin(out, "Identities that guests share")?;
    let (shared, sharing) = (report.shared(), report.sharing_guests());
    let of =
        format!("{} guests, {} values: {shared} are shared, by {sharing} guests", report.guests.len(), report.values);
    page::paragraph(out, &format!("{of}; {} more are allowed to be.", report.allowed()))?;
    if report.broken_count > 0 {
        page::paragraph(out, &format!("{} documents could not be read.", report.broken_count))?;
    }
    let kinds = report.kinds().into_iter().map(|count| {
        [
            severity(count.severity, false),
            cell("", &count.kind),
            cell("number", count.shared.to_string()),
            cell("number", count.allowed.to_string()),
            cell("", count.why),
        ]
    });
    page::table(out, "By kind", ["severity", "identity", "shared", "allowed", "what comes of it"], kinds)?;
    let most = report.most(MOST_ROWS);
    let all = shared + report.allowed();
    if all > most.len() as u64 {
        page::paragraph(out, &format!("The {} of {all} that matter most; the JSON form has all.", most.len()))?;
    }
    let rows = most.into_iter().map(|shared| {
        [
            severity(shared.severity, shared.allowed),
            cell("", &shared.kind),
            cell("value", &shared.subject),
            cell("value", &shared.value),
            cell("number", shared.guests.len().to_string()),
            cell("names", names(&shared.guests, report, MOST_NAMES)),
        ]
    });
    page::table(out, "Shared identities", ["severity", "identity", "which", "value", "guests", "names"], rows)?;
    let mut guests: Vec<(u32, u32)> = (0..).zip(&report.shared_by).map(|(guest, count)| (guest, *count)).collect();
    guests.retain(|(_, count)| *count > 0);
    guests.sort_by_key(|(guest, count)| (Reverse(*count), *guest));
    let more = guests.len().saturating_sub(MOST_ROWS);
    if more > 0 {
        page::paragraph(out, &format!("The {MOST_ROWS} guests that share most; there are {more} more."))?;
    }
    let rows = guests
        .into_iter()
        .take(MOST_ROWS)
        .map(|(guest, count)| [cell("names", report.guests.name(guest)), cell("number", count.to_string())]);
    page::table(out, "Guests", ["guest", "values that others have, too"], rows)?;
    if !report.broken.is_empty() {
        let rows = report.broken.iter().map(|broken| [cell("names", &broken.place), cell("", &broken.message)]);
        page::table(out, "Documents that could not be read", ["where", "why"], rows)?;
    }
    page::end(out)
}

/// Sorted by what matters, not by the word.
fn severity(severity: Severity, allowed: bool) -> Cell {
    let (class, rank) = match severity {
        _ if allowed => ("allowed", 3),
        Severity::Error => ("error", 0),
        Severity::Warning => ("warning", 1),
        Severity::Note => ("note", 2),
    };
    Cell { class, text: if allowed { "allowed" } else { word(severity) }.to_owned(), key: Some(rank) }
}
