// SPDX-License-Identifier: MIT OR Apache-2.0
//! netplan(5), and both versions of cloud-init's network configuration.

use std::ops::Range;

use anyhow::{Result, bail};

use super::yaml::{self, Node};
use super::{Definition, Item, LinkKind, Place, Selector, What};

/// Keys of netplan under which links stand; in the first ones they are devices, netplan(5).
const DEVICES: [&str; 3] = ["ethernets", "wifis", "modems"];
const VIRTUAL: [&str; 7] = ["bonds", "bridges", "vlans", "tunnels", "vrfs", "dummy-devices", "virtual-ethernets"];
/// Types of cloud-init's version 1 whose link is a device.
const V1_DEVICE: &str = "physical";

/// The definitions of a file; none where it has no `network`.
///
/// # Errors
/// With the line.
pub fn read(text: &str) -> Result<Vec<Definition>> {
    let Some(root) = yaml::read(text)? else { return Ok(Vec::new()) };
    // NoCloud's network-config may leave the key out.
    let Some(network) = root.get("network").or_else(|| root.get("version").map(|_| &root)) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for (kinds, kind) in [(&DEVICES[..], LinkKind::Device), (&VIRTUAL[..], LinkKind::Virtual)] {
        for group in kinds.iter().filter_map(|name| network.get(name)) {
            for (id, body) in group.pairs() {
                found.push(definition(text, id, body, kind)?);
            }
        }
    }
    for entry in network.get("config").map_or(&[][..], Node::items) {
        found.extend(version_1(text, entry));
    }
    found.sort_by_key(|definition| definition.line);
    Ok(found)
}

fn definition(text: &str, id: &Node, body: &Node, kind: LinkKind) -> Result<Definition> {
    let Some(name) = id.text() else { bail!("line {}: a link without a name", id.line) };
    let word = |node: Option<&Node>| node.and_then(Node::text).map(str::to_owned);
    let matched = body.get("match");
    let mut names: Vec<String> = match matched.and_then(|matched| matched.get("name")) {
        Some(node) => {
            node.text().into_iter().chain(node.items().iter().filter_map(Node::text)).map(str::to_owned).collect()
        }
        None => Vec::new(),
    };
    if matched.is_none() {
        names.push(name.to_owned());
    }
    let mut items = Vec::new();
    if let Some(matched) = matched {
        items.extend(pair(text, matched, "macaddress", What::Match));
    }
    items.extend(pair(text, body, "macaddress", What::Pin));
    addressing(text, body, &mut items);
    items.sort_by_key(|item| item.span.start);
    Ok(Definition {
        id: name.to_owned(),
        kind,
        selector: Selector { names, set_name: word(body.get("set-name")), paths: Vec::new() },
        items,
        end: end(text, body),
        line: id.line,
    })
}

/// Where another key of a mapping goes that is written in lines.
fn end(text: &str, body: &Node) -> Option<Place> {
    let yaml::Value::Map { pairs, flow: false } = &body.value else { return None };
    let first = yaml::whole_lines(text, &pairs.first()?.0.span);
    let last = yaml::whole_lines(text, &body.span);
    Some(Place { at: last.end, indent: yaml::indent(text, first.start).to_owned() })
}

/// The value of a key, if it is a scalar.
fn pair(text: &str, map: &Node, key: &str, what: What) -> Option<Item> {
    let index = map.pairs().iter().position(|(name, _)| name.text() == Some(key))?;
    let (name, value) = &map.pairs()[index];
    let (whole, instead) = yaml::without_pair(text, map, index);
    let (span, quote) = inside(text, value);
    Some(Item { what, value: value.text()?.to_owned(), span, whole, instead, quote, line: name.line })
}

/// Where a scalar stands inside its quotes; and quotes for a new value where it has none: a parser of YAML 1.1, such as
/// cloud-init's, takes addresses of digits and colons for numbers to the base of 60.
fn inside(text: &str, node: &Node) -> (Range<usize>, &'static str) {
    let Range { start, end } = node.span;
    match text[start..end].chars().next() {
        Some('"' | '\'') if end - start >= 2 => (start + 1..end - 1, ""),
        _ => (start..end, "\""),
    }
}

/// Each scalar of a list under a key; an address with options is the only key of a mapping.
fn list(text: &str, map: &Node, key: &str, what: What, items: &mut Vec<Item>) {
    let Some(node) = map.get(key) else { return };
    for (index, item) in node.items().iter().enumerate() {
        let scalar = item.pairs().first().map_or(item, |(name, _)| name);
        if let Some(value) = scalar.text() {
            let (span, quote) = inside(text, scalar);
            items.push(Item {
                what,
                value: value.to_owned(),
                span,
                whole: yaml::without_item(text, node, index),
                instead: String::new(),
                quote,
                line: scalar.line,
            });
        }
    }
}

fn addressing(text: &str, body: &Node, items: &mut Vec<Item>) {
    list(text, body, "addresses", What::Address, items);
    for key in ["gateway4", "gateway6"] {
        items.extend(pair(text, body, key, What::Gateway));
    }
    for key in ["dhcp4", "dhcp6"] {
        items.extend(pair(text, body, key, What::Method));
    }
    if let Some(servers) = body.get("nameservers") {
        list(text, servers, "addresses", What::Dns, items);
        list(text, servers, "search", What::Search, items);
    }
    if let Some(routes) = body.get("routes") {
        for (index, route) in routes.items().iter().enumerate() {
            let Some(via) = route.get("via").filter(|via| via.text().is_some()) else { continue };
            let to = route.get("to").and_then(Node::text).unwrap_or("default");
            let is_default = ["default", "0.0.0.0/0", "::/0"].contains(&to);
            let (span, quote) = inside(text, via);
            items.push(Item {
                what: if is_default { What::Gateway } else { What::Route },
                value: via.text().unwrap_or_default().to_owned(),
                span,
                whole: yaml::without_item(text, routes, index),
                instead: String::new(),
                quote,
                line: via.line,
            });
        }
    }
}

/// An entry of cloud-init's version 1, where the MAC address of a device is what it is known by.
fn version_1(text: &str, entry: &Node) -> Option<Definition> {
    let kind = entry.get("type")?.text()?;
    let name = entry.get("name")?.text()?;
    let kind = match kind {
        V1_DEVICE => LinkKind::Device,
        "bond" | "bridge" | "vlan" => LinkKind::Virtual,
        _ => return None,
    };
    let what = if kind == LinkKind::Device { What::Match } else { What::Pin };
    let mut items: Vec<Item> = pair(text, entry, "mac_address", what).into_iter().collect();
    for subnet in entry.get("subnets").map_or(&[][..], Node::items) {
        for (key, what) in
            [("address", What::Address), ("netmask", What::Prefix), ("gateway", What::Gateway), ("type", What::Method)]
        {
            items.extend(pair(text, subnet, key, what));
        }
        list(text, subnet, "dns_nameservers", What::Dns, &mut items);
        list(text, subnet, "dns_search", What::Search, &mut items);
    }
    items.sort_by_key(|item| item.span.start);
    let has_match = items.iter().any(|item| item.what == What::Match);
    Some(Definition {
        id: name.to_owned(),
        kind,
        selector: Selector {
            names: if has_match { Vec::new() } else { vec![name.to_owned()] },
            set_name: has_match.then(|| name.to_owned()),
            paths: Vec::new(),
        },
        items,
        end: None,
        line: entry.line,
    })
}
