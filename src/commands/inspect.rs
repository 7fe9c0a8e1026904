// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal inspect`: where the guest runs, and every identity that it holds.

use anyhow::Result;
use serde::Serialize;

use super::{Access, Exit, is_human, open_with_disks, policy, print, print_json, style};
use crate::cli::Options;
use crate::guest::Guest;
use crate::guest::disks::Disk;
use crate::guest::instance::Instance;
use crate::guest::links::{Configurator, Link};
use crate::guest::machine::Machine;
use crate::keys::ssh;
use crate::plan::draft::{Draft, Past, Purpose};
use crate::plan::{Finding, Kind, Renewal, Severity, derive::Seed, show};
use crate::policy::Policy;
use crate::policy::instance::InstancePolicy;
use crate::regenerators::network::Survey;
use crate::regenerators::{self, OnError};
use crate::root::trim;
use crate::stamp::Record;

/// One identity as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Its kind.
    pub kind: Kind,
    /// Which one of its kind.
    pub subject: String,
    /// Its value: public, or a digest.
    pub value: String,
}

/// The document that `--format json` prints.
#[derive(Debug, Serialize)]
struct Inventory<'a> {
    version: u32,
    machine: &'a Machine,
    disks: &'a [Disk],
    links: Vec<LinkFacts>,
    instance: &'a Instance,
    identities: Vec<Identity>,
    findings: Vec<Finding>,
}

/// A link, and what configures it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct LinkFacts {
    #[serde(flatten)]
    link: Link,
    in_charge: Vec<Configurator>,
}

/// The guest's links. A file that is not understood is a finding of the regenerator that reads it.
fn links(guest: &Guest) -> Result<Vec<LinkFacts>> {
    let draft = Draft::new(guest, Purpose::Reset, Past::none(Seed::random(b"")?));
    let survey = Survey::of(&draft).unwrap_or_default();
    let facts = |link: &Link| LinkFacts { in_charge: survey.in_charge(link), link: link.clone() };
    Ok(guest.links.list.iter().map(facts).collect())
}

/// Every identity of a guest: what a reset without any past would renew, by its old value, and what else its disks hold.
pub fn identities(guest: &Guest) -> Result<(Vec<Identity>, Vec<Finding>)> {
    let (mut identities, findings) = renewed_by(guest, Policy::default())?;
    // An id that must stay is an identity all the same.
    for (kind, subject, value) in regenerators::on_disks(guest) {
        if !identities.iter().any(|id| id.kind == kind && id.value == value) {
            identities.push(Identity { kind, subject, value });
        }
    }
    Ok((identities, findings))
}

/// What a reset by this policy without any past would renew, by its old value.
pub fn renewed_by(guest: &Guest, mut policy: Policy) -> Result<(Vec<Identity>, Vec<Finding>)> {
    let past = Past::none(Seed::random(b"")?);
    // The values are those of now, whatever the guest is told.
    policy.instance = InstancePolicy::nobody();
    let plan = regenerators::plan(&policy, guest, past, Purpose::Reset, OnError::GoOn)?;
    let of = |renewal: Renewal| Some(Identity { kind: renewal.kind, subject: renewal.subject, value: renewal.old? });
    Ok((plan.renewals.into_iter().filter_map(of).collect(), plan.findings))
}

/// Runs the command.
pub fn run(options: &Options) -> Result<Exit> {
    let guest = open_with_disks(options, Access::Look)?;
    let (identities, mut findings) = identities(&guest)?;
    findings.splice(0..0, guest.findings.iter().cloned());
    let instance = instance(options, &guest, &mut findings);
    if !is_human(options) {
        let links = links(&guest)?;
        let (machine, disks) = (&guest.machine, &guest.disks.list[..]);
        print_json(&Inventory { version: 1, machine, disks, links, instance: &instance, identities, findings })?;
        return Ok(Exit::Done);
    }
    let mut text = format!("{}\n", guest.machine.describe());
    text.push_str(&machine(&guest.machine)?);
    for LinkFacts { link, in_charge } in links(&guest)? {
        let names: Vec<String> = in_charge.iter().map(Configurator::to_string).collect();
        let by =
            if names.is_empty() { "not configured".to_owned() } else { format!("configured by {}", names.join(", ")) };
        let mac = link.mac.or(link.permanent_mac).map_or_else(|| "no address".to_owned(), |mac| mac.to_string());
        text.push_str(&format!("  link {}: {mac}, {by}\n", show::printable(&link.subject())));
    }
    for line in instance.describe() {
        text.push_str(&format!("  {}\n", show::printable(&line)));
    }
    text.push('\n');
    let rows: Vec<[String; 3]> = identities
        .iter()
        .map(|id| [id.kind.to_string(), show::printable(&id.subject), show::printable(&id.value)])
        .collect();
    text.push_str(&show::table(&["identity", "which", "value"], &rows));
    text.push_str(&show::findings(&findings, style()));
    print(&text)?;
    Ok(Exit::Done)
}

/// What the guest is told of itself. The identities were found without policy and without it, so its troubles are findings
/// here.
fn instance(options: &Options, guest: &Guest, findings: &mut Vec<Finding>) -> Instance {
    let mut tell = |severity, message: String| {
        findings.push(Finding { severity, by: "instance".into(), subject: "instance data".into(), message });
    };
    let sources = policy(options, guest).map(|policy| policy.instance).unwrap_or_else(|error| {
        tell(Severity::Error, format!("{error:#}; by this policy instance data cannot be read"));
        InstancePolicy::nobody()
    });
    let instance = Instance::of(guest, &sources);
    instance.troubles.iter().for_each(|trouble| tell(trouble.severity, trouble.message.clone()));
    instance
}

/// The facts that are known, a line each.
fn machine(machine: &Machine) -> Result<String> {
    let mut text = String::new();
    let serde_json::Value::Object(facts) = serde_json::to_value(machine)? else { return Ok(text) };
    for (name, value) in facts {
        let value = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(value) => value,
            serde_json::Value::Array(values) if values.is_empty() => continue,
            value => value.to_string(),
        };
        text.push_str(&format!("  {name}: {}\n", show::printable(&value)));
    }
    Ok(text)
}

/// The new host keys between the lines that cloud-init users look for on the console.
pub fn host_keys(guest: &Guest, record: &Record) -> String {
    let mut fingerprints = String::new();
    let mut lines = String::new();
    for made in record.renewals.iter().filter(|made| made.kind == Kind::SshHostKey && made.new.is_some()) {
        let public = guest.root.read(&format!("{}.pub", trim(&made.subject))).ok().flatten().unwrap_or_default();
        let Ok(key) = ssh::read_public(&public) else { continue };
        let Ok(line) = key.line() else { continue };
        let comment = line.trim_end().splitn(3, ' ').nth(2).unwrap_or_default();
        fingerprints.push_str(&format!("{} {} {comment} ({})\n", key.bits(), key.fingerprint(), key.family()));
        lines.push_str(&line);
    }
    if lines.is_empty() {
        return lines;
    }
    format!(
        "-----BEGIN SSH HOST KEY FINGERPRINTS-----\n{fingerprints}-----END SSH HOST KEY FINGERPRINTS-----\n\
         -----BEGIN SSH HOST KEY KEYS-----\n{lines}-----END SSH HOST KEY KEYS-----\n"
    )
}
