// SPDX-License-Identifier: MIT OR Apache-2.0
//! The records that a run leaves: the journal while it is under way, then stamp, seal or offline record.

use anyhow::Result;

use super::writer::Writer;
use crate::guest::Guest;
use crate::root::Meta;
use crate::stamp::{Form, JOURNAL, JOURNAL_DIR, OFFLINE, Record, SEALED, STAMP, STAMP_COPY, TEMPLATE};

/// Writes the journal, before anything else is changed.
pub fn begin(guest: &Guest, record: &Record) -> Result<()> {
    let writer = Writer::new(&guest.root);
    writer.make_dir(JOURNAL_DIR, private(guest, 0o700)?)?;
    save(guest, record)
}

/// Writes the journal anew, as when a key was made.
pub fn save(guest: &Guest, record: &Record) -> Result<()> {
    Writer::new(&guest.root).put(JOURNAL, &record.to_bytes()?, private(guest, 0o600)?)
}

/// Keeps the sectors that are about to be written over; they go with the journal, when the run is verified.
pub fn keep_sectors(guest: &Guest, sectors: &str) -> Result<()> {
    let number = guest.root.list(JOURNAL_DIR)?.len();
    let path = format!("{JOURNAL_DIR}/sectors-{number}");
    Writer::new(&guest.root).put(&path, sectors.as_bytes(), private(guest, 0o600)?)
}

/// Leaves what proves the run, then removes the journal.
pub fn finish(guest: &Guest, record: &Record) -> Result<()> {
    let writer = Writer::new(&guest.root);
    let record = Record { steps: Vec::new(), ..record.clone() };
    match record.form {
        Form::Seal => {
            // The template's values, for its clones to know; a seal derives nothing, and its seed must not be shared.
            let sealed = Record { seed: None, fingerprint: Default::default(), ..record };
            put(guest, SEALED, &sealed)?;
        }
        _ if guest.running => {
            stamp(guest, &record)?;
            keep_template(guest)?;
        }
        _ => {
            put(guest, OFFLINE, &record)?;
            keep_template(guest)?;
        }
    }
    writer.remove(JOURNAL_DIR)
}

/// What the template was says nothing of this guest any more, but what it must not share.
fn keep_template(guest: &Guest) -> Result<()> {
    let writer = Writer::new(&guest.root);
    if let Some(sealed) = guest.root.read(SEALED)? {
        writer.put(TEMPLATE, &sealed, private(guest, 0o600)?)?;
    }
    writer.remove(SEALED)
}

/// Takes the machine as it is.
///
/// # Errors
/// When the stamp cannot be written.
pub fn adopt(guest: &Guest) -> Result<()> {
    stamp(guest, &Record::new(guest, Form::Adopted, None))
}

/// Puts a lost stamp back from its copy.
///
/// # Errors
/// When it cannot be written.
pub fn restore_stamp(guest: &Guest, copy: &Record) -> Result<()> {
    put(guest, STAMP, copy)
}

fn stamp(guest: &Guest, record: &Record) -> Result<()> {
    Writer::new(&guest.root).make_dir("var/lib/reseal", private(guest, 0o700)?)?;
    put(guest, STAMP_COPY, record)?;
    put(guest, STAMP, record)
}

fn put(guest: &Guest, path: &str, record: &Record) -> Result<()> {
    Writer::new(&guest.root).put(path, &record.to_bytes()?, private(guest, 0o600)?)
}

/// Owned as the guest's root directory is, see [`crate::plan::draft::Draft::owned`].
fn private(guest: &Guest, mode: u32) -> Result<Meta> {
    let owner = guest.root.stat("")?.map_or(Meta::root(mode), |stat| stat.meta);
    Ok(Meta { mode, ..owner })
}
