// SPDX-License-Identifier: MIT OR Apache-2.0
//! A plan for people: what each step does with unified diffs, the identities, the findings. Secrets are never shown.

use std::fmt::Write as _;

use similar::TextDiff;

use super::key::{KeySpec, Secret};
use super::probed::Wanted;
use super::{Change, Content, Finding, Firmware, Live, Place, Plan, Renewal, Severity, State, Step};

/// Text in colour, or plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Use terminal colours (ECMA-48 SGR).
    pub colour: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The whole plan, ending with "N changes, M findings".
pub fn plan(plan: &Plan, style: Style) -> String {
    let mut out = String::new();
    for Wanted { link, addresses } in &plan.probes {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let title = format!("ask on {} who has {}", printable(link), addresses.join(", "));
        let why = "before anything is changed; what follows is done where nobody has them";
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "{} {}", style.paint("1", &title), style.paint("2", &format!("({why})")));
    }
    for step in &plan.steps {
        out.push_str(&self::step(step, style));
    }
    if !plan.steps.is_empty() {
        out.push('\n');
    }
    out.push_str(&renewals(&plan.renewals));
    out.push_str(&findings(&plan.findings, style));
    let _ = writeln!(out, "{} changes, {} findings", plan.steps.len(), plan.findings.len());
    out
}

/// One step: a line that says what and why, and the difference where it may be seen.
pub fn step(step: &Step, style: Style) -> String {
    let mut out =
        format!("{} {}\n", style.paint("1", &title(&step.change)), style.paint("2", &format!("({})", step.why)));
    match &step.change {
        Change::Write { before, after, .. } => out.push_str(&difference(before, after, style)),
        Change::Link { before: State::Link(old), .. } => {
            let _ = writeln!(out, "  was a link to {}", printable(old));
        }
        _ => {}
    }
    out
}

/// A step in a few words, for logs and messages too.
pub fn title(change: &Change) -> String {
    match change {
        Change::Write { path, before: State::Absent, .. } => format!("create /{path}"),
        Change::Write { path, .. } => format!("write /{path}"),
        Change::Remove { path, before: State::Directory } => format!("remove /{path}/"),
        Change::Remove { path, .. } => format!("remove /{path}"),
        Change::Move { from, to } => format!("rename /{from} to /{to}"),
        Change::Copy { from, to } => format!("copy /{from} to /{to}"),
        Change::Link { path, target, .. } => format!("link /{path} to {}", printable(target)),
        Change::Keygen { path, key: KeySpec::SshHost { algorithm, .. }, .. } => {
            format!("make the {} key /{path}", word(algorithm))
        }
        Change::Keygen { path, key: KeySpec::OpenPgp { algorithm, user_id, .. }, .. } => {
            format!("make the {} key of {} in /{path}", word(algorithm), printable(user_id))
        }
        Change::Secret { path, secret: Secret::Value { value, field }, .. } => {
            let place = field.as_ref().map_or(String::new(), |field| format!("{} of ", printable(&field.key)));
            format!("draw a new secret ({}) for {place}/{path}", word(value))
        }
        Change::Secret { path, secret: Secret::Certificate { certificate, .. }, .. } => {
            format!("make a new key /{path} and its self-signed certificate /{certificate}")
        }
        Change::Run { path, command, .. } => format!("run {} for a new /{path}", printable(&command.join(" "))),
        Change::KeyStore { path, old, .. } if old.is_empty() => format!("put the new key into /{path}/"),
        Change::KeyStore { path, old, .. } => {
            format!("put the new key into /{path}/ in place of {}", old.join(", "))
        }
        Change::SetId { format, places, .. } => {
            let place = |place: &Place| {
                let ids: Vec<String> = place.after.iter().map(|id| format!("{} {}", id.name, id.value)).collect();
                let at = if place.offset > 0 { format!("at byte {} of ", place.offset) } else { "on ".to_owned() };
                format!("{at}{} the {}", printable(&place.device), ids.join(", "))
            };
            let places: Vec<String> = places.iter().map(place).collect();
            format!("give the {} {}", word(format), places.join("; "))
        }
        Change::Publish { path, keys, .. } => format!("write the public halves of {} keys to /{path}", keys.len()),
        Change::Firmware(Firmware { name, before, after, .. }) => {
            let verb = match (before, after) {
                (None, _) => "make",
                (Some(_), Some(_)) => "write",
                (Some(_), None) => "remove",
            };
            format!("{verb} the firmware's variable {name}")
        }
        Change::Live(Live::Hostname { before, after }) => {
            format!("set the running host name {} to {after}", printable(before))
        }
        Change::Live(Live::MachineId { after, .. }) => format!("have PID 1 and journald use the machine-id {after}"),
        Change::Live(Live::DeviceNames { .. }) => {
            "keep the old names of devices alive for the rest of this boot".into()
        }
        Change::Live(Live::Units { start }) if start.is_empty() => "have PID 1 read its units anew".into(),
        Change::Live(Live::LinkAddress { link, before, after }) => {
            format!("give the link {} the address {after} in place of {}", printable(link), printable(before))
        }
        Change::Live(Live::LinkSetup { links }) => format!("have udev set {} up anew", printable(&links.join(", "))),
        Change::Live(Live::Units { start }) => {
            format!("have PID 1 read its units anew, and start {}", printable(&start.join(", ")))
        }
    }
}

/// The serialised word of an enum without content.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn difference(before: &State, after: &Content, style: Style) -> String {
    let old = match before {
        State::File(content) => content.shown(),
        State::Link(target) => return format!("  was a link to {}\n", printable(target)),
        State::Large(size) => return format!("  was a file of {size} bytes\n"),
        State::Absent => Some(""),
        State::Directory | State::Special => None,
    };
    let (Some(old), Some(new)) = (old, after.shown()) else {
        return format!("  {} bytes that not everybody may read, sha256 {}\n", after.bytes.len(), after.digest());
    };
    if old == new {
        return "  the same content, with another owner or mode, or beneath a mount\n".to_owned();
    }
    let mut out = String::new();
    let diff = TextDiff::from_lines(old, new);
    for line in diff.unified_diff().context_radius(1).to_string().lines() {
        let code = match line.as_bytes().first() {
            Some(b'+') => "32",
            Some(b'-') => "31",
            Some(b'@') => "36",
            _ => "0",
        };
        let _ = writeln!(out, "  {}", style.paint(code, &printable(line)));
    }
    out
}

/// Text of a guest on a terminal: control characters could move the cursor or do worse.
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() && letter != '\t' { '\u{fffd}' } else { letter }).collect()
}

/// A table of identities, old and new.
pub fn renewals(renewals: &[Renewal]) -> String {
    let mut out = String::new();
    let rows: Vec<[String; 4]> = renewals
        .iter()
        .map(|renewal| {
            let value = |value: &Option<String>| printable(value.as_deref().unwrap_or("-"));
            [renewal.kind.to_string(), printable(&renewal.subject), value(&renewal.old), value(&renewal.new)]
        })
        .collect();
    if rows.is_empty() {
        return out;
    }
    out.push_str(&table(&["identity", "which", "old", "new"], &rows));
    out.push('\n');
    out
}

/// Columns under their headings, each as wide as its widest cell.
pub fn table<const N: usize>(headings: &[&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    let heading: [String; N] = std::array::from_fn(|column| headings[column].to_owned());
    for row in std::iter::once(&heading).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The findings, a line each.
pub fn findings(findings: &[Finding], style: Style) -> String {
    let mut out = String::new();
    for finding in findings {
        let (word, code) = match finding.severity {
            Severity::Note => ("note", "36"),
            Severity::Warning => ("warning", "33"),
            Severity::Error => ("error", "31"),
        };
        let _ = writeln!(
            out,
            "{}: {}: {}",
            style.paint(code, word),
            printable(&finding.subject),
            printable(&finding.message)
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Meta;

    #[test]
    fn secrets_are_shown_as_digests_only() {
        let content = |text: &str, public| Content { bytes: text.as_bytes().to_vec(), public };
        let write = |public| Step {
            stage: super::super::Stage::System,
            change: Change::Write {
                path: "etc/x".into(),
                before: State::File(content("old-secret\n", public)),
                after: content("new-secret\n", public),
                meta: Meta::root(0o600),
            },
            by: vec![],
            why: "why".into(),
        };
        let plain = Style { colour: false };
        assert_eq!(step(&write(true), plain), "write /etc/x (why)\n  @@ -1 +1 @@\n  -old-secret\n  +new-secret\n");
        for text in
            [step(&write(false), plain), format!("{:?}", write(false)), serde_json::to_string(&write(false)).unwrap()]
        {
            assert!(!text.contains("secret"), "{text}");
        }
        assert!(step(&write(true), Style { colour: true }).contains("\x1b[32m+new-secret"));
        assert_eq!(printable("a\x1b[2Jb"), "a\u{fffd}[2Jb");
    }
}
