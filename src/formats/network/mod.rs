// SPDX-License-Identifier: MIT OR Apache-2.0
//! Network configuration, as far as it tells one machine from another: where in a file it stands, and how to change it.
//!
//! No file is modelled whole. A reader finds the *definitions* of links in it, and in each the *items* that matter, with
//! the bytes where they stand. A change is a list of [`Edit`]s of such spans, so comments, order and unknown settings stay
//! as they are. `Syntax` is one file format; what is done with the items is the regenerators' affair.

pub mod addressing;
pub mod cloud_init;
mod ifcfg;
pub mod ifupdown;
mod keyfile;
pub mod mac;
mod netplan;
mod networkd;
pub mod openstack;
mod sections;
mod udev_rules;
mod yaml;

use std::net::IpAddr;
use std::ops::Range;

use anyhow::{Result, bail};

pub use addressing::Addresses;
pub use mac::Mac;
use sections::Style;

/// Larger files are no network configuration. In bytes.
pub const LARGEST: usize = 1 << 20;
/// The longest name of a link, `IFNAMSIZ` of linux/if.h less the NUL.
pub const LONGEST_NAME: usize = 15;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Syntax {
    /// netplan(5), and version 2 of cloud-init's network configuration, which is the same.
    Netplan,
    /// systemd.network(5) and its drop-ins.
    NetworkdNetwork,
    /// systemd.netdev(5) and its drop-ins.
    NetworkdNetdev,
    /// systemd.link(5) and its drop-ins, which udev reads.
    Link,
    /// nm-settings-keyfile(5): a connection of NetworkManager.
    Keyfile,
    /// NetworkManager.conf(5).
    NetworkManagerConf,
    /// interfaces(5) of ifupdown.
    Ifupdown,
    /// ifcfg files of Red Hat.
    IfcfgRedHat,
    /// ifcfg(5) of SUSE.
    IfcfgSuse,
    /// The routes beside either.
    Routes,
    /// udev(7).
    UdevRules,
}

/// What a definition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// A device, or whatever has the name.
    Device,
    /// A link that software makes: a bond, bridge, VLAN, tunnel and the like.
    Virtual,
}

/// What an item says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A MAC address that the link is given in place of its own.
    Pin,
    /// The MAC address by which the link is known.
    Match,
    /// An address with the length of its prefix, or without where another item has it.
    Address,
    /// The length of a prefix, or a netmask.
    Prefix,
    /// A default gateway.
    Gateway,
    /// A route.
    Route,
    /// A name server.
    Dns,
    /// A search domain.
    Search,
    /// What follows from an address and goes with it: `broadcast`, `network`.
    Derived,
    /// How addresses are had: `DHCP=yes`, `method=manual`, `inet static`.
    Method,
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// That of an address.
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// Something that a definition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What.
    pub what: What,
    /// The value, without quotes.
    pub value: String,
    /// Where the value stands.
    pub span: Range<usize>,
    /// What goes when the item goes and others of its group stay.
    pub piece: Range<usize>,
    /// The items that stand in one setting with it.
    pub group: Group,
    /// What a new value needs around it.
    pub quote: &'static str,
    /// Its line, from 1.
    pub line: usize,
}

/// Items that stand in one setting, `DNS=192.0.2.1 192.0.2.2`; most stand alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// How many they are.
    pub size: usize,
    /// What goes when all of them go: the line or lines.
    pub span: Range<usize>,
    /// What stands there then; empty but where nothing would be wrong.
    pub instead: String,
}

impl Group {
    /// One item that has its lines for itself.
    pub fn alone(span: Range<usize>) -> Group {
        Group { size: 1, span, instead: String::new() }
    }
}

impl Item {
    /// The item with another value.
    pub fn with(&self, value: impl Into<String>) -> Edit {
        let quote = self.quote;
        Edit { span: self.span.clone(), new: format!("{quote}{}{quote}", value.into()) }
    }

    /// The file without the item.
    pub fn without(&self) -> Edit {
        match self.group.size {
            1 => Edit { span: self.group.span.clone(), new: self.group.instead.clone() },
            _ => Edit { span: self.piece.clone(), new: String::new() },
        }
    }

    /// The address that stands at the start of the value, before a prefix or a gateway.
    pub fn ip(&self) -> Option<IpAddr> {
        self.value.split(['/', ',', ';', ' ']).next()?.parse().ok()
    }

    /// The value as a MAC address; none for words such as `random`.
    pub fn mac(&self) -> Option<Mac> {
        self.value.parse().ok()
    }
}

/// How a definition finds its link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Names of links, or patterns of them.
    pub names: Vec<String>,
    /// The name that the link is given by it.
    pub set_name: Option<String>,
    /// `ID_PATH` of udev, or patterns of it: `pci-0000:00:03.0`.
    pub paths: Vec<String>,
}

/// What a file says of one link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name: that of the link, of the connection, or the key under which it stands.
    pub id: String,
    /// What it is about.
    pub kind: LinkKind,
    /// How it finds its link.
    pub selector: Selector,
    /// What it says, in the order of the file.
    pub items: Vec<Item>,
    /// Where new lines of it go, and what stands before each.
    pub end: Option<Place>,
    /// Its first line, from 1.
    pub line: usize,
}

/// A place for new lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Byte offset, at the start of a line.
    pub at: usize,
    /// The indentation there.
    pub indent: String,
}

impl Definition {
    /// The items of a kind.
    pub fn all(&self, what: What) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.what == what)
    }
}

/// A change of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced.
    pub span: Range<usize>,
    /// By what.
    pub new: String,
}

/// A text with all these changes. Of changes that lie within one another the widest is made; what is taken away may overlap.
pub fn apply(text: &str, edits: &[Edit]) -> String {
    let mut edits: Vec<&Edit> = edits.iter().collect();
    // What is put in stands before what is taken away there.
    edits.sort_by_key(|edit| (edit.span.start, !edit.span.is_empty(), std::cmp::Reverse(edit.span.end)));
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        if edit.span.start < at {
            // Two that go, and share the comma between them.
            at = if edit.new.is_empty() { at.max(edit.span.end) } else { at };
            continue;
        }
        out.push_str(&text[at..edit.span.start]);
        out.push_str(&edit.new);
        at = edit.span.end;
    }
    out.push_str(&text[at..]);
    out
}

impl Syntax {
    /// The definitions of a file. `name` is the file's own, without directories.
    ///
    /// # Errors
    /// With the line, when the program that reads the file would refuse it, or might take it for something else.
    pub fn read(self, name: &str, text: &str) -> Result<Vec<Definition>> {
        if text.len() > LARGEST {
            bail!("line 1: {} bytes, more than the {LARGEST} of any network configuration", text.len());
        }
        // Some of the readers take the character for a part of the value, and those that do not are served by others.
        if let Some(at) = text.find('\r') {
            bail!("line {}: a carriage return", line_at(text, at));
        }
        if let Some(at) = text.find('\0') {
            bail!("line {}: a NUL", line_at(text, at));
        }
        let definitions = match self {
            Syntax::Netplan => netplan::read(text)?,
            Syntax::NetworkdNetwork | Syntax::NetworkdNetdev | Syntax::Link => networkd::read(self, name, text)?,
            Syntax::Keyfile => keyfile::read(name, text)?,
            Syntax::NetworkManagerConf => keyfile::read_conf(text)?,
            Syntax::Ifupdown => ifupdown::read(text)?,
            Syntax::IfcfgRedHat | Syntax::IfcfgSuse => ifcfg::read(self, name, text)?,
            Syntax::Routes => ifcfg::read_routes(name, text)?,
            Syntax::UdevRules => udev_rules::read(text)?,
        };
        for definition in &definitions {
            let named = definition.selector.names.iter().chain(&definition.selector.set_name);
            if let Some(long) =
                named.into_iter().find(|name| name.len() > LONGEST_NAME && !name.contains(['*', '?', '[']))
            {
                bail!(
                    "line {}: `{}` is longer than the {LONGEST_NAME} characters of a link's name",
                    definition.line,
                    crate::plan::show::printable(long)
                );
            }
        }
        Ok(definitions)
    }

    /// The change that gives the link of a definition this MAC address in place of its own; none where the format or the
    /// definition has no place for it.
    pub fn pin(self, text: &str, definition: &Definition, mac: Mac) -> Option<Edit> {
        let place = definition.end.as_ref()?;
        let Place { at, indent } = place;
        let lines = match self {
            // In quotes: a YAML 1.1 parser takes some addresses for numbers to the base of 60.
            Syntax::Netplan => format!("{indent}macaddress: \"{mac}\"\n"),
            Syntax::NetworkdNetwork | Syntax::Link => format!("[Link]\nMACAddress={mac}\n"),
            Syntax::NetworkdNetdev => format!("[NetDev]\nMACAddress={mac}\n"),
            Syntax::Keyfile => return keyfile::pin(text, mac),
            Syntax::Ifupdown => format!("{indent}hwaddress ether {mac}\n"),
            Syntax::IfcfgRedHat | Syntax::IfcfgSuse => ifcfg::pin(self, mac),
            Syntax::NetworkManagerConf | Syntax::Routes | Syntax::UdevRules => return None,
        };
        let before = if *at > 0 && !text[..*at].ends_with('\n') { "\n" } else { "" };
        Some(Edit { span: *at..*at, new: format!("{before}{lines}") })
    }
}

impl Syntax {
    /// The changes that give the link of a definition these addresses. Of a family that they say nothing of, nothing changes; a
    /// list that is empty is left as it is. Where `only_clear`, what they replace goes and nothing comes: another
    /// definition has it.
    ///
    /// # Errors
    /// When the definition has a form that has no place for them.
    pub fn readdress(self, text: &str, definition: &Definition, to: &Addresses, only_clear: bool) -> Result<Vec<Edit>> {
        let mut edits = match self {
            Syntax::Netplan => netplan::readdress(text, definition, to, only_clear)?,
            Syntax::NetworkdNetwork => networkd::readdress(text, definition, to, only_clear)?,
            Syntax::Keyfile => keyfile::readdress(text, to, only_clear)?,
            Syntax::Ifupdown => ifupdown::readdress(text, definition, to, only_clear)?,
            Syntax::IfcfgRedHat | Syntax::IfcfgSuse => ifcfg::readdress(self, text, to, only_clear)?,
            Syntax::Routes => ifcfg::reroute(definition, to),
            Syntax::NetworkdNetdev | Syntax::Link | Syntax::NetworkManagerConf | Syntax::UdevRules => Vec::new(),
        };
        if self != Syntax::Netplan {
            edits.extend(without_ways(definition, to));
        }
        Ok(edits)
    }

    /// The changes by which the link of a definition is not brought up any more. In ifupdown's case any of its files may do
    /// that, and `definition` may be of another.
    ///
    /// # Errors
    /// When the format has no word for it.
    pub fn stay_down(self, text: &str, definition: &Definition) -> Result<Vec<Edit>> {
        match self {
            Syntax::Netplan => netplan::stay_down(text, definition),
            Syntax::NetworkdNetwork => sections::set(text, Style::Systemd, ("Link", "ActivationPolicy"), "down"),
            Syntax::Keyfile => sections::set(text, Style::Glib, ("connection", "autoconnect"), "false"),
            Syntax::Ifupdown => Ok(ifupdown::stay_down(text, &definition.id)),
            Syntax::IfcfgRedHat | Syntax::IfcfgSuse => ifcfg::stay_down(self, text),
            _ => Ok(Vec::new()),
        }
    }
}

/// Puts new values in the places of old ones, in their order: the changes, and the values for which there is no place. Old
/// ones that are too many go.
fn fit(items: &[&Item], values: &[String]) -> (Vec<Edit>, Vec<String>) {
    let mut edits = Vec::new();
    for (item, value) in items.iter().zip(values).filter(|(item, value)| item.value != **value) {
        edits.push(item.with(value));
    }
    let going = items.get(values.len()..).unwrap_or_default();
    for item in going {
        let group = &item.group;
        let all_go = going.iter().filter(|other| other.group.span == group.span).count() == group.size;
        edits.push(if all_go { Edit { span: group.span.clone(), new: group.instead.clone() } } else { item.without() });
    }
    edits.dedup();
    (edits, values.iter().skip(items.len()).cloned().collect())
}

/// Gateways and routes of families that reach their link alone go; where all of one list go, the list goes.
fn without_ways(definition: &Definition, to: &Addresses) -> Vec<Edit> {
    let goes = |item: &&Item| {
        matches!(item.what, What::Gateway | What::Route)
            && item.ip().is_some_and(|ip| to.on_link.contains(&Family::of(ip)))
    };
    fit(&definition.items.iter().filter(goes).collect::<Vec<_>>(), &[]).0
}

/// The number of the line in which a byte stands, from 1.
pub fn line_at(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
