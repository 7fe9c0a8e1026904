// SPDX-License-Identifier: MIT OR Apache-2.0
//! `references`: every place that quotes an identity that lives elsewhere, rewritten from the list of renewals alone.

mod disks;
mod left;
mod unit_names;
mod values;

use anyhow::Result;

use self::disks::Disks;
use super::Regenerator;
use crate::catalogue::{Catalogue, Format, Reference};
use crate::formats::addresses::{self, Sought};
use crate::formats::{hosts, keys, words};
use crate::plan::draft::{Draft, Purpose};
use crate::plan::{Kind, Renewal, Severity};
use crate::root;

/// The regenerator.
pub struct References;

/// It has no settings: a quote of a value that is gone is wrong, whatever one likes.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Options {}

impl Regenerator for References {
    const ID: &'static str = "references";
    const ABOUT: &'static str = "Rewrite every file that quotes a renewed identity";
    const EXAMPLE: &'static str = "";
    type Options = Options;

    fn plan(_: &Options, draft: &mut Draft<'_>) -> Result<()> {
        if draft.purpose == Purpose::Seal {
            return Ok(());
        }
        draft.carry_over(&Kind::ON_DISKS);
        let renewals: Vec<Renewal> = draft.renewals().into_iter().filter(is_quotable).collect();
        if renewals.is_empty() {
            return Ok(());
        }
        let catalogue = Catalogue::load(draft)?;
        catalogue.report(draft);
        let mut disks = Disks::of(&renewals, draft);
        let is_wanted = |entry: &&Reference| renewals.iter().any(|renewal| entry.kinds.contains(&renewal.kind));
        // Names first: what a directory is called decides where the files in it are found.
        for reference in catalogue.references.iter().filter(is_wanted) {
            if reference.format == Format::UnitNames {
                unit_names::rename(draft, reference, &disks)?;
            }
        }
        for reference in catalogue.references.iter().filter(is_wanted) {
            if matches!(reference.format, Format::UnitNames | Format::Report) {
                continue;
            }
            for path in files(draft, &reference.paths) {
                match reference.format {
                    Format::DeviceTags | Format::Grub => disks.rewrite(draft, reference, &path)?,
                    Format::Stale => disks.remove_stale(draft, reference, &path)?,
                    _ => rewrite(draft, reference, &path, &renewals)?,
                }
            }
        }
        let wanted: Vec<&Reference> = catalogue.references.iter().filter(is_wanted).collect();
        values::report(draft, &wanted, &renewals);
        let reports = catalogue.references.iter().filter(|entry| entry.format == Format::Report);
        left::report(draft, reports.filter(is_wanted), &disks)
    }
}

/// Says that quotes of what was renewed stay as they are.
pub fn warn(draft: &mut Draft<'_>) {
    draft.author(References::ID);
    draft.carry_over(&Kind::ON_DISKS);
    for renewal in draft.renewals().into_iter().filter(is_quotable) {
        let message = format!("places that quote the old {} {} were not looked at", renewal.kind, renewal.subject);
        draft.finding(Severity::Warning, References::ID, message);
    }
}

/// Can its old value be told from a word of the language? `localhost` stands for every machine.
fn is_quotable(renewal: &Renewal) -> bool {
    let generic =
        renewal.kind == Kind::Hostname && renewal.old.as_deref().is_some_and(|old| old.starts_with("localhost"));
    renewal.old.is_some() && renewal.new.is_some() && renewal.old != renewal.new && !generic
}

/// The paths of a pattern; a directory that cannot be read must not keep the others from being looked at.
fn glob(draft: &mut Draft<'_>, pattern: &str) -> Vec<String> {
    draft.glob(pattern).unwrap_or_else(|error| {
        unreadable(draft, pattern, &error);
        Vec::new()
    })
}

/// What these patterns name. A pattern finds what is no file, too; only a path that is named is expected to be one.
fn files(draft: &mut Draft<'_>, patterns: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for pattern in patterns {
        let paths = glob(draft, pattern).into_iter();
        found.extend(paths.filter(|path| !pattern.contains(['*', '?', '[']) || is_file(draft, path)));
    }
    found
}

/// Is it a file, at the end of its links? A masked unit is a link to /dev/null.
fn is_file(draft: &Draft<'_>, path: &str) -> bool {
    let end = draft.resolve(path).and_then(|end| draft.stat(&end));
    !matches!(end, Ok(None | Some(root::Stat { kind: root::Kind::Directory | root::Kind::Special, .. })))
}

/// Says that a file is left as it is: one strange file must not keep the others from being corrected.
fn unreadable(draft: &mut Draft<'_>, path: &str, error: &anyhow::Error) {
    draft.finding(
        Severity::Warning,
        &format!("/{}", root::trim(path)),
        format!("may quote an old identity, but {error:#}"),
    );
}

fn rewrite(draft: &mut Draft<'_>, reference: &Reference, path: &str, renewals: &[Renewal]) -> Result<()> {
    let text = match draft.text(path) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(()),
        Err(error) => {
            unreadable(draft, path, &error);
            return Ok(());
        }
    };
    let mut new_text = text.clone();
    let mut kinds: Vec<String> = Vec::new();
    for renewal in renewals.iter().filter(|renewal| reference.kinds.contains(&renewal.kind)) {
        let (Some(old), Some(new)) = (&renewal.old, &renewal.new) else { continue };
        let replaced = replace(reference, &new_text, renewal.kind, old, new);
        if replaced != new_text {
            kinds.push(renewal.kind.to_string());
            new_text = replaced;
        }
    }
    if new_text != text {
        kinds.dedup();
        draft.write(path, new_text, &format!("quotes the {}", kinds.join(", ")))?;
    }
    Ok(())
}

fn replace(reference: &Reference, text: &str, kind: Kind, old: &str, new: &str) -> String {
    let word = |text: &str| match kind {
        Kind::Hostname => words::replace_name(text, old, new),
        _ => words::replace_hex(text, old, new),
    };
    match reference.format {
        Format::Hosts => hosts::replace(text, old, new),
        Format::Addresses => match Sought::of(old) {
            Some(sought) => addresses::replace(text, &reference.fields, sought, new),
            None => text.to_owned(),
        },
        Format::Words => text.split_inclusive('\n').map(|line| whole_words(line, old, new)).collect(),
        Format::Keys => keys::edit(text, &reference.fields, word),
        Format::KernelCommandLine => {
            reference.fields.iter().fold(text.to_owned(), |text, key| keys::edit_words(&text, key, old, new))
        }
        Format::DeviceTags | Format::Grub | Format::UnitNames | Format::Stale | Format::Report => text.to_owned(),
    }
}

/// Words between blanks and commas; a line that starts with `#` is a comment.
fn whole_words(line: &str, old: &str, new: &str) -> String {
    if line.trim_start().starts_with('#') {
        return line.to_owned();
    }
    words::replace_word(line, old, new, |next| !next.is_whitespace() && next != ',')
}
