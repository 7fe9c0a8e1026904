// SPDX-License-Identifier: MIT OR Apache-2.0
//! `machine-id`: the id of the system, machine-id(5), with D-Bus's copy of it, and what is named after it.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Regenerator;
use super::boot_entries;
use crate::plan::draft::{Draft, Purpose};
use crate::plan::{Kind, Live, Renewal, Severity};
use crate::root;

/// Where it lives.
const PATH: &str = "etc/machine-id";
/// Where D-Bus looks first, and where systemd takes a new id from when /etc/machine-id is empty.
const DBUS: &str = "var/lib/dbus/machine-id";
/// [`Renewal::subject`] of the one machine-id.
const SUBJECT: &str = "system";

/// The regenerator.
pub struct MachineId;

/// What becomes of the id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Renew,
    Uninitialized,
    Empty,
    Keep,
}

/// What D-Bus gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Dbus {
    #[default]
    Link,
    Copy,
}

/// What becomes of `/var/log/journal/<id>`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Journal {
    #[default]
    Remove,
    Keep,
    Rename,
}

/// Table `[machine-id]`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    mode: Mode,
    dbus: Dbus,
    boot_entries: boot_entries::Mode,
    journal: Journal,
}

impl Regenerator for MachineId {
    const ID: &'static str = "machine-id";
    const ABOUT: &'static str = "Give the system a new machine-id, and D-Bus the same one";
    const EXAMPLE: &'static str = r#"[machine-id]
# "renew": a new random id. "empty" or "uninitialized": systemd makes one at the next boot; "uninitialized" also runs
# `systemctl preset-all` and the first-boot prompts (machine-id(5), First Boot Semantics). "keep": nothing changes.
# Sealing empties the id whatever stands here, unless it is "uninitialized" or "keep".
mode = "renew"
# What stands at /var/lib/dbus/machine-id: a "link" to /etc/machine-id, or a "copy" of it.
dbus = "link"
# Boot loader entries named after the old id: "pin" writes the old id to /etc/kernel/entry-token, so that kernel updates
# go on working; "rename" gives entries and directories the new name.
boot-entries = "pin"
# The old /var/log/journal/<machine-id>: "remove", "keep", or "rename" to the new id.
journal = "remove"
"#;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        let mode = match (draft.purpose, options.mode) {
            (Purpose::Seal, Mode::Renew) => Mode::Empty,
            (_, mode) => mode,
        };
        let current = current(draft)?;
        let content = match mode {
            Mode::Keep => return Ok(()),
            Mode::Empty => String::new(),
            Mode::Uninitialized => "uninitialized\n".to_owned(),
            Mode::Renew => String::new(),
        };
        let renewal = if mode == Mode::Renew {
            let fresh = fresh(draft, current.as_deref())?;
            let old = current.filter(|id| *id != fresh).or_else(|| template_id(draft));
            draft.decide(Kind::MachineId, SUBJECT, old, |_| Ok(Some(fresh)))?
        } else {
            draft.decide(Kind::MachineId, SUBJECT, current, |_| Ok(None))?
        };
        let content = renewal.new.as_ref().map_or(content, |id| format!("{id}\n"));
        write(options, draft, &content)?;
        for old in old_ids(draft) {
            journal(options, draft, &old, renewal.new.as_deref())?;
            boot_entries::plan(options.boot_entries, draft, &old, renewal.new.as_deref())?;
        }
        live(draft, &renewal);
        Ok(())
    }
}

/// Is it 32 hexadecimal digits, not all zero? machine-id(5).
fn is_valid(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()) && id.bytes().any(|digit| digit != b'0')
}

/// The id that the guest holds: in /etc, or where that is missing or empty in D-Bus's copy, from which systemd would
/// take it over at the next boot (sd_id128 `id128_get_machine` setup).
fn current(draft: &Draft<'_>) -> Result<Option<String>> {
    for path in [PATH, DBUS] {
        // A loop of links or a directory holds no id; it is replaced or reported when it is written.
        let Ok(Some(bytes)) = draft.read(path) else { continue };
        let text = String::from_utf8_lossy(&bytes).trim().to_ascii_lowercase();
        if is_valid(&text) {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// The new id: the one that PID 1 made for this very boot if it is not the template's, otherwise one derived from the seed.
fn fresh(draft: &mut Draft<'_>, current: Option<&str>) -> Result<String> {
    let derived = draft.seed().uuid("machine-id/system").simple().to_string();
    let Some(current) = current else { return Ok(derived) };
    // A sealed template had no id, and PID 1 mounts an id over the file only when that held none, machine-id(5).
    let made_by_pid1 = draft.is_sealed() || draft.is_mounted(PATH);
    let known = draft
        .foreign_of(Kind::MachineId)
        .any(|other| [&other.old, &other.new].into_iter().flatten().any(|id| id == current));
    if !made_by_pid1 || known || came_from_dbus(draft, current)? {
        return Ok(derived);
    }
    let smbios = draft.guest.machine.smbios_uuid.as_deref().unwrap_or_default().replace('-', "").to_ascii_lowercase();
    if smbios == current {
        let message = "systemd took the machine-id from the SMBIOS UUID; it is as unique as the hypervisor makes that";
        draft.finding(Severity::Note, "/etc/machine-id", message);
    }
    Ok(current.to_owned())
}

/// Did PID 1 take the id from a copy that D-Bus kept? Then it is the template's after all, however fresh it looks.
fn came_from_dbus(draft: &Draft<'_>, current: &str) -> Result<bool> {
    if draft.stat(DBUS)?.is_none_or(|stat| stat.kind != root::Kind::File) {
        return Ok(false);
    }
    let copy = draft.read(DBUS)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&copy).trim().eq_ignore_ascii_case(current))
}

fn template_id(draft: &Draft<'_>) -> Option<String> {
    draft.foreign_of(Kind::MachineId).find_map(|other| other.old.clone())
}

/// Every id that is not the guest's own any more.
fn old_ids(draft: &Draft<'_>) -> Vec<String> {
    let mut ids: Vec<String> = draft
        .renewals()
        .into_iter()
        .filter(|renewal| renewal.kind == Kind::MachineId)
        .filter_map(|renewal| renewal.old)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn write(options: &Options, draft: &mut Draft<'_>, content: &str) -> Result<()> {
    let meta = draft.owned(0o444)?;
    draft.put(PATH, content, meta, "the id of the system")?;
    let has_dbus = draft.is_dir("var/lib/dbus")?;
    if !has_dbus {
        return Ok(());
    }
    match options.dbus {
        // An absolute link is what dbus's own tmpfiles entry makes.
        Dbus::Link if leads_to_the_id(draft)? => Ok(()),
        Dbus::Link => draft.link(DBUS, "/etc/machine-id", "D-Bus's copy would hand the old id back"),
        // systemd would take an empty guest's id back from here, so an emptied one has no copy.
        Dbus::Copy if content.len() != 33 => draft.remove(DBUS, "D-Bus's copy would hand the old id back"),
        Dbus::Copy => draft.put(DBUS, content, meta, "D-Bus's copy of the id"),
    }
}

/// Is D-Bus's file a link, of whatever spelling, to /etc/machine-id?
fn leads_to_the_id(draft: &Draft<'_>) -> Result<bool> {
    let is_link = draft.stat(DBUS)?.is_some_and(|stat| stat.kind == root::Kind::Link);
    Ok(is_link && draft.resolve(DBUS)? == draft.place(PATH)?)
}

fn journal(options: &Options, draft: &mut Draft<'_>, old: &str, new: Option<&str>) -> Result<()> {
    let from = format!("var/log/journal/{old}");
    if !draft.is_dir(&from)? {
        return Ok(());
    }
    match (options.journal, new) {
        (Journal::Keep, _) => {}
        (Journal::Rename, Some(new)) => {
            let to = format!("var/log/journal/{new}");
            if !draft.exists(&to)? {
                draft.rename(&from, &to, "the journal is named after the machine-id")?;
            }
        }
        _ => draft.remove(&from, "the template's journal, named after its machine-id")?,
    }
    Ok(())
}

/// PID 1 and journald read the id once, when they start.
fn live(draft: &mut Draft<'_>, renewal: &Renewal) {
    let (true, Some(new)) = (draft.guest.systemd && draft.purpose == Purpose::Reset, renewal.new.clone()) else {
        return;
    };
    let root = &draft.guest.root;
    let seen = root.read(PATH).ok().flatten().map(|id| String::from_utf8_lossy(&id).trim().to_owned());
    // journald keeps its runtime journal under the id that it started with, systemd-journald.service(8).
    let runtime = root.list("run/log/journal").unwrap_or_default();
    let started_with = runtime.into_iter().find(|id| is_valid(id) && *id != new);
    let stale = seen.as_deref().filter(|id| is_valid(id) && *id != new).map(str::to_owned);
    if let Some(before) = started_with.or(stale) {
        draft.live(Live::MachineId { before, after: new }, "PID 1 and journald hold the id that they started with");
    }
}
