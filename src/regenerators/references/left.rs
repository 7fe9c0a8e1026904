// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is left: old ids of disks in files whose format is not known, or where it is not known what they mean there.

use std::collections::BTreeSet;

use anyhow::Result;

use super::disks::Disks;
use crate::catalogue::Reference;
use crate::formats::device_tags;
use crate::formats::encoding::AnyText;
use crate::formats::known_ids::Quote;
use crate::plan::Severity;
use crate::plan::draft::Draft;
use crate::root::{Kind, Root, Stat};

/// Larger files are no configuration; they are not read. In bytes.
pub(super) const LARGEST: u64 = 1 << 20;

/// Files that are read; a guest that has more in these places is told so.
pub(super) const MOST_FILES: usize = 4000;

/// Lines that are told of one file.
const MOST_LINES: usize = 4;

/// Tells of every line that still quotes an old id: of the files that were looked at, and of those that these entries name.
pub fn report<'r>(draft: &mut Draft<'_>, places: impl Iterator<Item = &'r Reference>, disks: &Disks) -> Result<()> {
    if disks.ids.is_empty() {
        return Ok(());
    }
    let mut paths: BTreeSet<String> = disks.quoting.clone();
    for pattern in places.flat_map(|place| &place.paths) {
        for path in super::glob(draft, pattern) {
            // A link leads to a file that stands in one of the places, or is not the guest's own.
            let is_read = |stat: Stat| stat.kind == Kind::File && stat.size <= LARGEST;
            if !disks.seen.contains(&path)
                && !paths.contains(&path)
                && draft.guest.root.stat(&path).is_ok_and(|stat| stat.is_some_and(is_read))
            {
                paths.insert(path);
            }
        }
    }
    if paths.len() > MOST_FILES {
        let message = format!("old ids of disks were looked for in the first {MOST_FILES} of {} files", paths.len());
        draft.finding(Severity::Note, "references", message);
    }
    for path in paths.iter().take(MOST_FILES) {
        // Straight from disk, which is faster, and as it will be only when there is something to tell.
        if is_quoting(&draft.guest.root, path, disks)
            && let Ok(Some(bytes)) = draft.read(path)
        {
            tell(draft, path, &AnyText::read(bytes).text, disks);
        }
    }
    Ok(())
}

/// What cannot be read, and what is binary, is no configuration.
fn is_quoting(root: &Root, path: &str, disks: &Disks) -> bool {
    if disks.quoting.contains(path) {
        return true;
    }
    let bytes = root.read(path).ok().flatten().filter(|bytes| !bytes.contains(&0));
    bytes.is_some_and(|bytes| !disks.ids.quotes(&AnyText::read(bytes).text).is_empty())
}

fn tell(draft: &mut Draft<'_>, path: &str, text: &str, disks: &Disks) {
    let mut told = BTreeSet::new();
    for quote in disks.ids.quotes(text).iter().filter(|quote| is_told(quote, disks)) {
        let line = quote.line();
        if !told.insert(line) || told.len() > MOST_LINES {
            continue;
        }
        let field = device_tags::field(quote.lead()).map_or(String::new(), |field| format!(", {field}"));
        let why = if quote.is_certain() { "it is not known what for" } else { "two disks bore it" };
        let (kind, old) = (quote.spelling.kind, &quote.spelling.old);
        let message = format!("line {line}{field}: still quotes the old {kind} {old}; {why}");
        draft.finding(Severity::Warning, &format!("/{path}"), message);
    }
    if told.len() > MOST_LINES {
        let message = format!("{} more lines quote old ids", told.len() - MOST_LINES);
        draft.finding(Severity::Warning, &format!("/{path}"), message);
    }
}

/// Comments are for people, and a name that a mapping keeps is told once, elsewhere.
fn is_told(quote: &Quote<'_>, disks: &Disks) -> bool {
    let is_comment = ["#", ";", "//"].iter().any(|mark| quote.lead().trim_start().starts_with(mark));
    quote.is_long() && !is_comment && !device_tags::is_kept_name(quote, &disks.named)
}
