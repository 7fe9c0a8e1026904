// SPDX-License-Identifier: MIT OR Apache-2.0
//! netplan(5), and both versions of cloud-init's network configuration.

mod version_1;

use std::ops::Range;

use anyhow::{Result, bail};

use super::yaml::{self, Node};
use super::{Addresses, Definition, Edit, Family, Group, Item, LinkKind, Place, Selector, What, fit};

/// Keys of netplan under which links stand; in the first ones they are devices, netplan(5).
const DEVICES: [&str; 3] = ["ethernets", "wifis", "modems"];
const VIRTUAL: [&str; 7] = ["bonds", "bridges", "vlans", "tunnels", "vrfs", "dummy-devices", "virtual-ethernets"];

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
        found.extend(version_1::read(text, entry));
    }
    found.sort_by_key(|definition| definition.line);
    Ok(found)
}

/// See [`super::Syntax::readdress`].
///
/// # Errors
/// When the file cannot be read, or is of cloud-init's version 1 and has no place for what is new.
pub fn readdress(text: &str, definition: &Definition, to: &Addresses, only_clear: bool) -> Result<Vec<Edit>> {
    let root = yaml::read(text)?;
    let body = root.as_ref().and_then(|root| body(root, definition));
    let Some(body) = body else {
        let mut edits = version_1::readdress(definition, to, only_clear)?;
        edits.extend(super::without_ways(definition, to));
        return Ok(edits);
    };
    let mut change = Change { text, body, edits: Vec::new(), routes: Vec::new() };
    let quoted = |value: &dyn ToString| format!("\"{}\"", value.to_string());
    let wanted: Vec<String> = to.addresses.iter().filter(|_| !only_clear).map(ToString::to_string).collect();
    change.list("addresses", definition.all(What::Address).collect(), &wanted, |item| {
        item.ip().is_some_and(|ip| to.is_about(Family::of(ip)))
    });
    for family in Family::ALL.into_iter().filter(|family| to.is_about(*family)) {
        if let Some(gateway) = to.gateways_wanted(family) {
            let of = |item: &&Item| item.ip().is_some_and(|ip| Family::of(ip) == family);
            let items: Vec<&Item> = definition.all(What::Gateway).filter(of).collect();
            let (edits, rest) = fit(&items, if only_clear { &[] } else { &gateway });
            change.edits.extend(edits);
            // netplan before 0.103 does not know the word `default`.
            let everywhere = if family == Family::V4 { "0.0.0.0/0" } else { "::/0" };
            for via in rest.iter().filter(|_| !only_clear) {
                change.route(everywhere, via, None);
            }
        }
        let key = if family == Family::V4 { "dhcp4" } else { "dhcp6" };
        let is_on = body.get(key).and_then(Node::text).is_some_and(|word| ["true", "yes", "on", "y"].contains(&word));
        if is_on != to.dhcp(family) && !only_clear {
            let word = if to.dhcp(family) { "true" } else { "false" };
            change.edits.push(match body.get(key) {
                Some(node) => Edit { span: node.span.clone(), new: word.to_owned() },
                None => yaml::insert_pair(text, body, key, word),
            });
        }
    }
    for route in to.routes.iter().filter(|_| !only_clear) {
        let (to, via) = (route.to.to_string(), route.via.to_string());
        if !definition.all(What::Route).any(|item| item.value == format!("{to} {via}")) {
            change.route(&to, &via, route.metric);
        }
    }
    if !only_clear {
        change.servers(definition, to, quoted);
    }
    change.edits.extend(super::without_ways(definition, to));
    change.add_routes();
    Ok(change.edits)
}

/// See [`super::Syntax::stay_down`]. Of networkd before 248, which does not know `ActivationPolicy=`, netplan says so and goes on.
///
/// # Errors
/// When the file cannot be read, or is of cloud-init's version 1, which has no word for it.
pub fn stay_down(text: &str, definition: &Definition) -> Result<Vec<Edit>> {
    let root = yaml::read(text)?;
    let Some(body) = root.as_ref().and_then(|root| body(root, definition)) else {
        bail!(
            "line {}: version 1 of cloud-init's configuration has no word for a link that stays down",
            definition.line
        )
    };
    // netplan(5) wants the word off, which to YAML 1.1 is a truth value.
    Ok(match body.get("activation-mode") {
        Some(node) if node.text() == Some("off") => Vec::new(),
        Some(node) => vec![Edit { span: node.span.clone(), new: "\"off\"".to_owned() }],
        None => vec![yaml::insert_pair(text, body, "activation-mode", "\"off\"")],
    })
}

/// What is said of a definition's link; none in version 1.
fn body<'r>(root: &'r Node, definition: &Definition) -> Option<&'r Node> {
    let network = root.get("network").unwrap_or(root);
    let mut bodies = DEVICES.iter().chain(&VIRTUAL).filter_map(|name| network.get(name)).flat_map(Node::pairs);
    let (_, body) = bodies.find(|(id, _)| id.line == definition.line && id.text() == Some(&definition.id))?;
    Some(body)
}

/// Changes of one definition.
struct Change<'t> {
    text: &'t str,
    body: &'t Node,
    edits: Vec<Edit>,
    /// Routes that are added, all at once: a key may not stand twice.
    routes: Vec<String>,
}

impl Change<'_> {
    /// Gives a list of the definition these values in place of the items that are `old`.
    fn list(&mut self, key: &str, items: Vec<&Item>, wanted: &[String], old: impl Fn(&Item) -> bool) {
        let mut new = wanted.iter().cloned();
        let mut values: Vec<String> = Vec::new();
        for item in &items {
            values.extend(if old(item) { new.next() } else { Some(item.value.clone()) });
        }
        values.extend(new);
        let (edits, rest) = fit(&items, &values);
        self.edits.extend(edits);
        let rest: Vec<String> = rest.iter().map(|value| format!("\"{value}\"")).collect();
        self.append(key, &rest);
    }

    fn append(&mut self, key: &str, values: &[String]) {
        self.edits.extend(match self.body.get(key) {
            Some(list) => yaml::append(self.text, list, values),
            None if values.is_empty() => None,
            None => Some(yaml::insert_pair(self.text, self.body, key, &format!("[{}]", values.join(", ")))),
        });
    }

    fn route(&mut self, to: &str, via: &str, metric: Option<u32>) {
        let metric = metric.map_or(String::new(), |metric| format!(", metric: {metric}"));
        self.routes.push(format!("{{to: \"{to}\", via: \"{via}\"{metric}}}"));
    }

    /// Where all routes of the list go, the new ones take their place: the key stays.
    fn add_routes(&mut self) {
        let routes = std::mem::take(&mut self.routes);
        let (Some(list), false) = (self.body.get("routes"), routes.is_empty()) else {
            return self.append("routes", &routes);
        };
        let goes = |span: &Range<usize>| {
            let covers = |edit: &Edit| edit.span.start <= span.start && span.end <= edit.span.end;
            self.edits.iter().any(|edit| edit.new.is_empty() && covers(edit))
        };
        let (Some(first), Some(last)) = (list.items().first(), list.items().last()) else {
            return self.append("routes", &routes);
        };
        if !list.items().iter().all(|item| goes(&item.span)) {
            return self.append("routes", &routes);
        }
        let edit = if let yaml::Value::List { flow: false, .. } = list.value {
            let (first, last) = (yaml::whole_lines(self.text, &first.span), yaml::whole_lines(self.text, &last.span));
            let indent = yaml::indent(self.text, first.start);
            let lines: String = routes.iter().map(|route| format!("{indent}- {route}\n")).collect();
            Edit { span: first.start..last.end, new: lines }
        } else {
            Edit { span: list.span.clone(), new: format!("[{}]", routes.join(", ")) }
        };
        self.edits.retain(|old| old.span.end <= edit.span.start || edit.span.end <= old.span.start);
        self.edits.push(edit);
    }

    fn servers(&mut self, definition: &Definition, to: &Addresses, quoted: impl Fn(&dyn ToString) -> String) {
        let dns: Vec<String> = to.dns.iter().map(ToString::to_string).collect();
        let mut made = Vec::new();
        for (what, key, values) in [(What::Dns, "addresses", &dns), (What::Search, "search", &to.search)] {
            if values.is_empty() {
                continue;
            }
            let (edits, rest) = fit(&definition.all(what).collect::<Vec<_>>(), values);
            self.edits.extend(edits);
            let rest: Vec<String> = rest.iter().map(|value| quoted(value)).collect();
            match self.body.get("nameservers") {
                Some(servers) => self.edits.extend(match servers.get(key) {
                    Some(list) => yaml::append(self.text, list, &rest),
                    None if rest.is_empty() => None,
                    None => Some(yaml::insert_pair(self.text, servers, key, &format!("[{}]", rest.join(", ")))),
                }),
                None => made.push(format!("{key}: [{}]", rest.join(", "))),
            }
        }
        if !made.is_empty() {
            self.edits.push(yaml::insert_pair(
                self.text,
                self.body,
                "nameservers",
                &format!("{{{}}}", made.join(", ")),
            ));
        }
    }
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
    let group = Group { instead, ..Group::alone(whole) };
    let (span, quote) = inside(text, value);
    Some(Item { what, value: value.text()?.to_owned(), piece: span.clone(), span, group, quote, line: name.line })
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
    let group = group(text, map, key);
    for (index, item) in node.items().iter().enumerate() {
        let scalar = item.pairs().first().map_or(item, |(name, _)| name);
        if let Some(value) = scalar.text() {
            let (span, quote) = inside(text, scalar);
            items.push(Item {
                what,
                value: value.to_owned(),
                span,
                piece: yaml::without_item(text, node, index),
                group: group.clone(),
                quote,
                line: scalar.line,
            });
        }
    }
}

/// The items of a list go with its key, when all of them go.
fn group(text: &str, map: &Node, key: &str) -> Group {
    let index = map.pairs().iter().position(|(name, _)| name.text() == Some(key)).unwrap_or(0);
    let (span, instead) = yaml::without_pair(text, map, index);
    Group { size: map.pairs()[index].1.items().len(), span, instead }
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
            let is_default = ["default", "0.0.0.0/0", "::/0", "0/0"].contains(&to);
            let value = via.text().unwrap_or_default();
            let (span, quote) = inside(text, via);
            items.push(Item {
                what: if is_default { What::Gateway } else { What::Route },
                value: if is_default { value.to_owned() } else { format!("{to} {value}") },
                span,
                piece: yaml::without_item(text, routes, index),
                group: group(text, body, "routes"),
                quote,
                line: via.line,
            });
        }
    }
}
