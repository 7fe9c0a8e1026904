// SPDX-License-Identifier: MIT OR Apache-2.0
//! nm-settings-keyfile(5), and what NetworkManager.conf(5) says of single links.

use anyhow::Result;

use super::sections::{self, Entry, Style};
use super::{Definition, Edit, Item, LinkKind, Mac, Place, Selector, What};

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

/// The line that pins an address: below the section's heading, or in a new section at the end.
pub fn pin(text: &str, mac: Mac) -> Edit {
    let line = format!("cloned-mac-address={mac}\n");
    let mut at = 0;
    for whole in text.split_inclusive('\n') {
        at += whole.len();
        let heading = whole.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if heading.is_some_and(|heading| WIRED.contains(&heading)) {
            let end = if whole.ends_with('\n') { "" } else { "\n" };
            return Edit { span: at..at, new: format!("{end}{line}") };
        }
    }
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    Edit { span: text.len()..text.len(), new: format!("{end}\n[ethernet]\n{line}") }
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
                    whole: span.clone(),
                    span,
                    instead: String::new(),
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
