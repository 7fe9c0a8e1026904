// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mac-address`: what the network configuration says of hardware addresses, brought to the clone's own devices.
//!
//! A configuration *pins* an address, which two clones would then share, or *matches* one, which on a clone matches
//! nothing, so that the link stays down. The addresses of the template's devices are known from its seal or its stamp;
//! without either, what no device of this machine has is taken for the template's.

mod devices;
mod live;
mod pins;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::Regenerator;
use super::network::Survey;
use crate::formats::network::Mac;
use crate::plan::draft::{Draft, Purpose};
use crate::plan::{Kind, Renewal, Severity};

/// The regenerator.
pub struct MacAddress;

/// What becomes of a pinned address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Pinned {
    #[default]
    Unpin,
    Renew,
    Keep,
}

/// What becomes of an address that the hypervisor copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Copied {
    #[default]
    Report,
    Renew,
}

/// Table `[mac-address]`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    pinned: Pinned,
    copied: Copied,
    vendor: Vendor,
    by_order: bool,
    keep: Vec<String>,
}

/// The first three bytes of addresses that are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Vendor(Option<[u8; 3]>);

impl TryFrom<String> for Vendor {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Vendor> {
        if text.is_empty() {
            return Ok(Vendor(None));
        }
        let mac: Mac = format!("{text}:00:00:01")
            .parse()
            .with_context(|| format!("`{text}` is no vendor's prefix, as in 52:54:00"))?;
        if !mac.is_unicast() {
            bail!("`{text}` begins addresses of groups, not of links");
        }
        Ok(Vendor(mac.0.first_chunk().copied()))
    }
}

impl From<Vendor> for String {
    fn from(vendor: Vendor) -> String {
        let bytes = vendor.0.unwrap_or_default();
        if vendor.0.is_none() { String::new() } else { format!("{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2]) }
    }
}

impl Regenerator for MacAddress {
    const ID: &'static str = "mac-address";
    const ABOUT: &'static str = "Free the network configuration of the template's MAC addresses";
    const EXAMPLE: &'static str = r#"[mac-address]
# A MAC address that configuration gives a link. "unpin": the setting goes, and the link has the address of its device, which
# the hypervisor made for this machine and lets through; a bridge or bond that repeated a device's address gets that of this
# machine's device. "renew": a new one, locally administered. "keep": nothing changes.
# What configuration knows a device by is always moved to this machine's device.
pinned = "unpin"
# A device whose own address is the template's, because the hypervisor copied it: "report", or "renew": configuration gives
# the link a new one.
copied = "report"
# The first three bytes of new addresses, as in "52:54:00"; empty for locally administered ones.
vendor = ""
# May devices that nothing else tells apart be taken in the order of their names?
by-order = false
# Links that are left as they are.
keep = []
"#;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        if draft.purpose == Purpose::Seal {
            record(draft);
            return Ok(());
        }
        // A finished file says nothing of what it said, and what quotes the old value still has to follow.
        for earlier in draft.decided_of(Kind::MacAddress).cloned().collect::<Vec<_>>() {
            draft.renewed(earlier);
        }
        let mut survey = Survey::of(draft)?;
        survey.tell_rivals(draft);
        let mut moved = devices::follow(options, draft, &mut survey)?;
        moved.extend(pins::release(options, draft, &mut survey)?);
        moved.extend(pins::override_copied(options, draft, &mut survey)?);
        survey.write(draft, "MAC addresses of the template")?;
        live::bring(draft, &survey, &moved)
    }
}

/// What a clone must know of its template's devices; nothing of it changes.
fn record(draft: &mut Draft<'_>) {
    for link in draft.guest.links.devices().cloned().collect::<Vec<_>>() {
        let old = link.permanent_mac.map(|mac| mac.to_string());
        draft.renewed(Renewal { kind: Kind::MacAddress, subject: link.subject(), old, new: None });
    }
}

/// A device of the template.
#[derive(Debug, Clone)]
struct TemplateDevice {
    mac: Mac,
    name: Option<String>,
    path: Option<String>,
}

/// The template's devices, as far as its seal or stamp tells.
fn template(draft: &Draft<'_>) -> Vec<TemplateDevice> {
    let recorded = draft.foreign_of(Kind::MacAddress).filter_map(|renewal| {
        let mac = renewal.old.as_ref()?.parse().ok()?;
        let mut words = renewal.subject.split(' ');
        let name = words.next().filter(|name| *name != "-").map(str::to_owned);
        Some(TemplateDevice { mac, name, path: words.next().map(str::to_owned) })
    });
    recorded.collect()
}

impl Options {
    /// Does policy keep this link?
    fn keeps(&self, names: &[&str]) -> bool {
        self.keep.iter().any(|keep| names.contains(&keep.as_str()))
    }

    /// A new address, always the same for the same old one.
    fn make(&self, draft: &Draft<'_>, old: Mac) -> Mac {
        let bytes = draft.seed().derive(&format!("mac-address/{old}"));
        let mut six = [0; 6];
        six.copy_from_slice(&bytes[..6]);
        Mac::made(six, self.vendor.0)
    }
}

/// A link that got another address or name by a file that changed.
#[derive(Debug, Clone)]
struct Moved {
    /// The link as it is called now.
    link: String,
    /// The address that it shall have now, where that is not what udev or its configuration system gives it by itself.
    address: Option<Mac>,
    /// Is it udev that applies it?
    by_udev: bool,
}

/// Says that something was left.
fn left(draft: &mut Draft<'_>, path: &str, line: usize, message: &str) {
    draft.finding(Severity::Warning, &format!("/{path}"), format!("line {line}: {message}"));
}
