// SPDX-License-Identifier: MIT OR Apache-2.0
//! nm-settings-keyfile(5), and what NetworkManager.conf(5) says of single links.

use anyhow::Result;

use super::sections::{self, Entry, Style, insert};
use super::{Addresses, Definition, Edit, Family, Group, Item, LinkKind, Mac, Place, Selector, What, fit};

/// Settings of links that have a MAC address, by their names in key files, old and new: nm-settings-keyfile(5), "Plugin keyfile".
const WIRED: [&str; 4] = ["ethernet", "802-3-ethernet", "wifi", "802-11-wireless"];
/// Types of connections whose link is a device.
const DEVICES: [&str; 6] = ["ethernet", "802-3-ethernet", "wifi", "802-11-wireless", "infiniband", "bluetooth"];

/// The one connection of a file.
///
/// # Errors
/// With the line.
pub fn read(name: &str, text: &str) -> Result<Vec<Definition>> {
    let entries = sections::read(text, Style::Glib)?;
    let value = |section: &str, key: &str| {
        entries.iter().find(|entry| entry.section == section && entry.key == key).map(|entry| entry.value.to_owned())
    };
    let kind = match value("connection", "type") {
        Some(kind) if !DEVICES.contains(&kind.as_str()) => LinkKind::Virtual,
        _ => LinkKind::Device,
    };
    let mut items: Vec<Item> = Vec::new();
    for entry in &entries {
        match (entry.section, entry.key) {
            (section, "cloned-mac-address") if WIRED.contains(&section) => items.push(entry.item(What::Pin)),
            // The bridge's own, not that of a device.
            ("bridge", "mac-address") => items.push(entry.item(What::Pin)),
            (section, "mac-address") if WIRED.contains(&section) => items.push(entry.item(What::Match)),
            ("ipv4" | "ipv6", key) => items.extend(addressing(entry, key)),
            _ => {}
        }
    }
    items.retain(|item| !item.value.is_empty());
    let list = |value: Option<String>| -> Vec<String> {
        let value = value.unwrap_or_default();
        value.split([';', ' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let mut names: Vec<String> =
        value("connection", "interface-name").into_iter().filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        names = list(value("match", "interface-name"));
    }
    let id = names.first().cloned().or_else(|| value("connection", "id"));
    Ok(vec![Definition {
        id: id.unwrap_or_else(|| name.trim_end_matches(".nmconnection").to_owned()),
        kind,
        selector: Selector { names, set_name: None, paths: list(value("match", "path")) },
        items,
        end: Some(Place { at: text.len(), indent: String::new() }),
        line: 1,
    }])
}

/// `address1=10.0.0.2/24,10.0.0.1` holds the gateway too; it is one item, and its owner takes it apart.
fn addressing(entry: &Entry<'_>, key: &str) -> Option<Item> {
    let numbered = |stem: &str| key.strip_prefix(stem).is_some_and(|n| n.bytes().all(|digit| digit.is_ascii_digit()));
    let what = match key {
        "method" => What::Method,
        "gateway" => What::Gateway,
        "dns" => What::Dns,
        "dns-search" => What::Search,
        _ if numbered("address") || numbered("addresses") => What::Address,
        _ if numbered("route") || numbered("routes") => What::Route,
        _ => return None,
    };
    Some(entry.item(what))
}

/// The line that pins an address.
pub fn pin(text: &str, mac: Mac) -> Option<Edit> {
    insert(text, &WIRED, "ethernet", &[format!("cloned-mac-address={mac}")])
}

/// See [`super::Syntax::readdress`].
///
/// # Errors
/// When the file cannot be read.
pub fn readdress(text: &str, to: &Addresses, only_clear: bool) -> Result<Vec<Edit>> {
    let entries = sections::read(text, Style::Glib)?;
    let mut edits = Vec::new();
    for (family, name) in [(Family::V4, "ipv4"), (Family::V6, "ipv6")] {
        let section: Vec<&Entry<'_>> = entries.iter().filter(|entry| entry.section == name).collect();
        let mut section = Section { section, edits: Vec::new(), lines: Vec::new() };
        if to.is_about(family) {
            section.addresses(family, to, only_clear);
        }
        let dns: Vec<String> =
            to.dns.iter().filter(|server| Family::of(**server) == family).map(ToString::to_string).collect();
        if !to.dns.is_empty() && to.is_about(family) {
            section.set("dns", if only_clear { Vec::new() } else { dns });
        }
        // One place is enough: NetworkManager takes the domains of both.
        let has_search = section.get("dns-search").is_some();
        if !to.search.is_empty() && (has_search || family == Family::V4) {
            section.set("dns-search", if only_clear { Vec::new() } else { to.search.clone() });
        }
        section.routes(family, to, only_clear);
        let Section { lines, edits: more, .. } = section;
        edits.extend(more);
        edits.extend(insert(text, &[name], name, &lines));
    }
    Ok(edits)
}

/// `[ipv4]` or `[ipv6]`, and what changes in it.
struct Section<'t> {
    section: Vec<&'t Entry<'t>>,
    edits: Vec<Edit>,
    lines: Vec<String>,
}

impl Section<'_> {
    fn get(&self, key: &str) -> Option<&Entry<'_>> {
        self.section.iter().copied().find(|entry| entry.key == key)
    }

    /// Sets a list, or takes it away.
    fn set(&mut self, key: &str, values: Vec<String>) {
        let value: String = values.iter().map(|value| format!("{value};")).collect();
        let edit = self
            .get(key)
            .map(|entry| entry.item(What::Dns))
            .map(|item| if value.is_empty() { item.without() } else { item.with(&value) });
        match edit {
            Some(edit) => self.edits.push(edit),
            None if value.is_empty() => {}
            None => self.lines.push(format!("{key}={value}")),
        }
    }

    fn addresses(&mut self, family: Family, to: &Addresses, only_clear: bool) {
        let numbered = |entry: &&&Entry<'_>| {
            let number = entry.key.strip_prefix("addresses").or_else(|| entry.key.strip_prefix("address"));
            number.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
        };
        let items: Vec<Item> = self.section.iter().filter(numbered).map(|entry| entry.item(What::Address)).collect();
        // The gateway may stand behind the first address.
        let within = items.iter().find_map(|item| item.value.split([',', ';']).nth(1)).map(|old| old.trim().to_owned());
        let gateway = to.gateways_wanted(family);
        let mut values: Vec<String> = to.of(family).iter().map(ToString::to_string).collect();
        if let (Some(first), Some(old)) = (values.first_mut(), &within) {
            let gateway = match &gateway {
                None => Some(old),
                Some(new) => new.first(),
            };
            first.push_str(&gateway.map_or(String::new(), |gateway| format!(",{gateway}")));
        }
        let (changes, rest) = fit(&items.iter().collect::<Vec<_>>(), if only_clear { &[] } else { &values });
        self.edits.extend(changes);
        for (index, value) in rest.iter().enumerate().filter(|_| !only_clear) {
            self.lines.push(format!("address{}={value}", items.len() + index + 1));
        }
        let standing = self.get("gateway").map(|entry| entry.item(What::Gateway));
        match (gateway.as_deref(), standing) {
            (Some([new]), Some(item)) if !only_clear => self.edits.push(item.with(new)),
            (Some(_), Some(item)) => self.edits.push(item.without()),
            (Some([new]), None) if within.is_none() && !only_clear => self.lines.push(format!("gateway={new}")),
            _ => {}
        }
        if only_clear {
            return;
        }
        let method = if to.of(family).is_empty() { "auto" } else { "manual" };
        match self.get("method").map(|entry| entry.item(What::Method)) {
            Some(item) if item.value == method => {}
            Some(item) => self.edits.push(item.with(method)),
            None => self.lines.push(format!("method={method}")),
        }
    }

    fn routes(&mut self, family: Family, to: &Addresses, only_clear: bool) {
        let mut number = self.section.iter().filter(|entry| entry.key.starts_with("route")).count();
        for route in to.routes.iter().filter(|route| !only_clear && Family::of(route.via) == family) {
            let value = format!(
                "{},{}{}",
                route.to,
                route.via,
                route.metric.map_or(String::new(), |metric| format!(",{metric}"))
            );
            if !self.section.iter().any(|entry| entry.value == value) {
                number += 1;
                self.lines.push(format!("route{number}={value}"));
            }
        }
    }
}

/// `mac:` in lists of devices, NetworkManager.conf(5) "Device List Format".
///
/// # Errors
/// With the line.
pub fn read_conf(text: &str) -> Result<Vec<Definition>> {
    let mut definitions = Vec::new();
    // A key may stand twice here: later ones win.
    for entry in sections::read(text, Style::Systemd)? {
        let mut items = Vec::new();
        let is_list = matches!(
            entry.key.trim_end_matches(['+', '-']),
            "match-device" | "unmanaged-devices" | "no-auto-default" | "ignore-carrier"
        );
        let is_pin = entry.section.starts_with("connection") && entry.key.ends_with(".cloned-mac-address");
        if is_pin {
            items.push(entry.item(What::Pin));
        }
        let mut at = entry.span.start;
        for part in entry.value.split_inclusive([',', ';']).filter(|_| is_list) {
            let bare = part.trim_end_matches([',', ';']).trim();
            let word = bare.trim_start_matches("except:");
            let word = word.strip_prefix("mac:").unwrap_or(word);
            if word.parse::<Mac>().is_ok() {
                let from = at + (word.as_ptr() as usize - part.as_ptr() as usize);
                let span = from..from + word.len();
                items.push(Item {
                    what: What::Match,
                    value: word.to_owned(),
                    piece: span.clone(),
                    group: Group::alone(span.clone()),
                    span,
                    quote: "",
                    line: entry.line,
                });
            }
            at += part.len();
        }
        if !items.is_empty() {
            definitions.push(Definition {
                id: entry.section.to_owned(),
                kind: LinkKind::Device,
                selector: Selector::default(),
                items,
                end: None,
                line: entry.line,
            });
        }
    }
    Ok(definitions)
}
