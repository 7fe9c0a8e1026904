// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is left: old addresses of links in files whose format is not known, or in a field that is not.

use std::collections::BTreeSet;

use crate::catalogue::{Format, Reference};
use crate::formats::addresses::{self, Sought};
use crate::plan::draft::Draft;
use crate::plan::{Kind, Renewal, Severity};

use super::left::{LARGEST, MOST_FILES};

/// Tells of every line that still quotes an old address, in the files that these entries name.
pub fn report(draft: &mut Draft<'_>, entries: &[&Reference], renewals: &[Renewal]) {
    let is_address = |kind: Kind| matches!(kind, Kind::IpAddress | Kind::MacAddress);
    let old = |renewal: &Renewal| Some((renewal.kind, Sought::of(renewal.old.as_ref()?)?, renewal.old.clone()?));
    let sought: Vec<(Kind, Sought, String)> =
        renewals.iter().filter(|renewal| is_address(renewal.kind)).filter_map(old).collect();
    if sought.is_empty() {
        return;
    }
    let mut paths = BTreeSet::new();
    let is_about = |entry: &&&Reference| {
        matches!(entry.format, Format::Report | Format::Addresses) && entry.kinds.iter().any(|kind| is_address(*kind))
    };
    for pattern in entries.iter().filter(is_about).flat_map(|entry| &entry.paths) {
        paths.extend(super::glob(draft, pattern));
    }
    for path in paths.iter().take(MOST_FILES) {
        let is_read = draft
            .stat(path)
            .is_ok_and(|stat| stat.is_some_and(|stat| stat.kind == crate::root::Kind::File && stat.size <= LARGEST));
        let Some(text) = Some(path).filter(|_| is_read).and_then(|path| draft.text(path).ok().flatten()) else {
            continue;
        };
        for (kind, sought, old) in &sought {
            if let Some(line) = addresses::lines(&text, *sought).first() {
                let message = format!("line {line}: still quotes the old {kind} {old}; it is not known what for");
                draft.finding(Severity::Warning, &format!("/{path}"), message);
            }
        }
    }
}
