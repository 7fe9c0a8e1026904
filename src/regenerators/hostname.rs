// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hostname`: the static host name, hostname(5), and the running kernel's.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Regenerator;
use crate::formats::name_template::{Field, LONGEST, NameTemplate, Part, check};
use crate::formats::{assignments, hosts};
use crate::plan::draft::{Draft, Purpose};
use crate::plan::{Kind, Live, Renewal, Severity};

/// Files that hold nothing but the name; the first is made where none exists.
const FILES: [&str; 2] = ["etc/hostname", "etc/HOSTNAME"];
/// Shell assignments that hold it: Red Hat before 7, and OpenRC.
const ASSIGNED: [(&str, &str); 2] = [("etc/sysconfig/network", "HOSTNAME"), ("etc/conf.d/hostname", "hostname")];
/// Names that say that there is none, hostname(5) and Red Hat's installer.
const NO_NAME: [&str; 4] = ["localhost", "localhost.localdomain", "(none)", "-"];
/// [`Renewal::subject`] of the name itself.
pub const SUBJECT: &str = "static";

/// The regenerator.
pub struct Hostname;

/// Where the name comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Set,
    Dhcp,
    Keep,
}

/// Table `[hostname]`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    mode: Mode,
    name: NameTemplate,
}

impl Regenerator for Hostname {
    const ID: &'static str = "hostname";
    const ABOUT: &'static str = "Give the guest a host name of its own";
    const EXAMPLE: &'static str = r#"[hostname]
# "set": the name below. "dhcp": the static name is cleared, the network gives one. "keep": nothing changes.
# Sealing keeps the name: the clone's own is made from it.
mode = "set"
# A name, or a template with the fields {hostname} (the old name's first label), {machine-id}, {mac}, {serial}, {uuid}
# (the last two of SMBIOS) and {random}; a number after a colon cuts a field to that length: "web-{mac:6}".
# Without a dot in it, the old name's domain stays. A name from instance data goes before it.
name = "{hostname}-{random:6}"
"#;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        if options.mode == Mode::Keep || draft.purpose == Purpose::Seal {
            return Ok(());
        }
        let current = current(draft)?;
        let renewal = match options.mode {
            Mode::Dhcp => draft.decide(Kind::Hostname, SUBJECT, current, |_| Ok(None))?,
            _ => {
                let name = match draft.decided(Kind::Hostname, SUBJECT) {
                    Some(_) => None,
                    None => {
                        let told = draft.instance.hostname.as_ref().map(|told| told.value.clone());
                        let told = told.map(NameTemplate::try_from).transpose()?;
                        Some(compose(told.as_ref().unwrap_or(&options.name), draft, current.as_deref())?)
                    }
                };
                draft.decide(Kind::Hostname, SUBJECT, current, |_| Ok(name))?
            }
        };
        match &renewal.new {
            Some(name) => write(draft, name)?,
            None => clear(draft)?,
        }
        renew_full_names(draft, &renewal)
    }
}

/// The static name now.
pub fn current(draft: &Draft<'_>) -> Result<Option<String>> {
    for path in FILES {
        let text = draft.text(path)?.unwrap_or_default();
        // hostname(5): the first line that is neither empty nor a comment.
        let name = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        if let Some(name) = name {
            return Ok(Some(name.to_owned()));
        }
    }
    for (path, key) in ASSIGNED {
        let text = draft.text(path)?.unwrap_or_default();
        if let Some(name) = assignments::value(&text, key).filter(|name| !name.is_empty()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The name for comments and records: a file that cannot be read is the regenerator's own finding.
pub fn name(draft: &Draft<'_>) -> String {
    current(draft).ok().flatten().unwrap_or_else(|| "localhost".to_owned())
}

fn compose(template: &NameTemplate, draft: &mut Draft<'_>, current: Option<&str>) -> Result<String> {
    let named = current.filter(|name| !NO_NAME.contains(name));
    let (label, domain) = named
        .and_then(|name| name.split_once('.'))
        .map_or((named, None), |(label, domain)| (Some(label), Some(domain)));
    let label = label.unwrap_or("host").to_ascii_lowercase();
    let mut pieces: Vec<(bool, String)> = Vec::new();
    for part in template.parts() {
        pieces.push(match part {
            Part::Text(text) => (false, text.clone()),
            Part::Field(Field::Hostname, length) => (true, label.chars().take(length.unwrap_or(LONGEST)).collect()),
            Part::Field(field, length) => (false, value(*field, *length, draft)),
        });
    }
    let dotted = template.parts().iter().any(|part| matches!(part, Part::Text(text) if text.contains('.')));
    if let Some(domain) = domain.filter(|_| !dotted) {
        pieces.push((false, format!(".{domain}")));
    }
    // A long old name gives way to the fields that tell the clones apart.
    let length: usize = pieces.iter().map(|(_, text)| text.len()).sum();
    if let Some((_, old)) = pieces.iter_mut().find(|(is_old, _)| *is_old && length > LONGEST - 1) {
        old.truncate(old.len().saturating_sub(length - (LONGEST - 1)));
        old.truncate(old.trim_end_matches('-').len());
    }
    let name: String = pieces.into_iter().map(|(_, text)| text).collect();
    check(&name)?;
    Ok(name)
}

fn value(field: Field, length: Option<usize>, draft: &mut Draft<'_>) -> String {
    let machine = &draft.guest.machine;
    let id = draft.renewals().into_iter().find(|renewal| renewal.kind == Kind::MachineId && renewal.new.is_some());
    let found = match field {
        Field::MachineId => id.and_then(|renewal| renewal.new).or_else(|| draft.text("etc/machine-id").ok().flatten()),
        Field::Mac => machine.links.iter().find_map(|link| link.mac.clone()),
        Field::Serial => machine.smbios_serial.clone(),
        Field::Uuid => machine.smbios_uuid.clone(),
        Field::Hostname | Field::Random => None,
    };
    let mut text: String = found.unwrap_or_default().to_ascii_lowercase();
    text.retain(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    if text.is_empty() {
        if field != Field::Random {
            let message = format!("this guest shows no {{{}}}; random letters stand in the name instead", field.name());
            draft.finding(Severity::Warning, "/etc/hostname", message);
        }
        return draft.seed().letters(&format!("hostname/{}", field.name()), length.unwrap_or(6));
    }
    let length = length.unwrap_or(text.len()).min(text.len());
    // A MAC address and a serial number differ at their end, an id anywhere.
    match field {
        Field::Mac | Field::Serial => text.split_off(text.len() - length),
        _ => text[..length].to_owned(),
    }
}

fn write(draft: &mut Draft<'_>, name: &str) -> Result<()> {
    let why = &match &draft.instance.hostname {
        // A domain may have been added to it.
        Some(told) if name.starts_with(&told.value) => format!("the host name, from {}", told.from),
        _ => "the host name".to_owned(),
    };
    let mut written = false;
    for path in FILES {
        if draft.exists(path)? {
            let text = draft.text(path)?.unwrap_or_default();
            let comments = text.lines().filter(|line| line.trim_start().starts_with('#'));
            let kept: String = comments.map(|line| format!("{line}\n")).collect();
            draft.write(path, format!("{kept}{name}\n"), why)?;
            written = true;
        }
    }
    for (path, key) in ASSIGNED {
        if let Some(text) = draft.text(path)?
            && assignments::value(&text, key).is_some()
        {
            draft.write(path, assignments::set(&text, key, name), why)?;
            written = true;
        }
    }
    if !written {
        draft.write(FILES[0], format!("{name}\n"), why)?;
    }
    if draft.guest.running {
        let before = nix::unistd::gethostname()?.to_string_lossy().into_owned();
        if before != name {
            draft.live(Live::Hostname { before, after: name.to_owned() }, "the running kernel's host name");
        }
    }
    Ok(())
}

fn clear(draft: &mut Draft<'_>) -> Result<()> {
    let why = "the network gives the host name";
    for path in FILES {
        draft.remove(path, why)?;
    }
    for (path, key) in ASSIGNED {
        if let Some(text) = draft.text(path)? {
            draft.write(path, assignments::remove(&text, key), why)?;
        }
    }
    Ok(())
}

/// The fully qualified names under which /etc/hosts knows the guest are identities that go with its host name.
fn renew_full_names(draft: &mut Draft<'_>, renewal: &Renewal) -> Result<()> {
    let (Some(old), Some(new)) = (&renewal.old, &renewal.new) else { return Ok(()) };
    if NO_NAME.contains(&old.as_str()) {
        return Ok(());
    }
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let (old_short, new_short) = (short(old), short(new));
    let known: Vec<Renewal> =
        draft.decided_of(Kind::Hostname).filter(|past| past.subject != SUBJECT).cloned().collect();
    // One that cannot be read is reported where it is rewritten; the name itself does not hang on it.
    let hosts = draft.text("etc/hosts").ok().flatten().unwrap_or_default();
    let mut pairs: Vec<(String, String)> = hosts::full_names(&hosts, &old_short)
        .into_iter()
        .map(|name| (name.clone(), name.replacen(&old_short, &new_short, 1)))
        .collect();
    if *old != old_short {
        pairs.push((old_short, new_short));
    }
    pairs.retain(|(name, _)| name != old);
    for known in known {
        draft.renewed(known);
    }
    for (number, (old, new)) in pairs.into_iter().enumerate() {
        let what = if old.contains('.') { "full" } else { "short" };
        let subject = if number == 0 { what.to_owned() } else { format!("{what} {}", number + 1) };
        draft.decide(Kind::Hostname, &subject, Some(old), |_| Ok(Some(new)))?;
    }
    Ok(())
}
