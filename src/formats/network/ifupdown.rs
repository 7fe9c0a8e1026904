// SPDX-License-Identifier: MIT OR Apache-2.0
//! interfaces(5) of Debian's ifupdown.

use std::ops::Range;

use anyhow::{Result, bail};

use super::sections::{line_end, words};
use super::{Addresses, Definition, Edit, Family, Group, Item, LinkKind, Place, Selector, What, fit};

/// Words that begin a stanza, interfaces(5).
const STANZAS: [&str; 10] = [
    "iface",
    "mapping",
    "template",
    "auto",
    "no-auto-down",
    "no-scripts",
    "source",
    "source-directory",
    "rename",
    "source-dir",
];

/// The stanzas `iface` of a file.
///
/// # Errors
/// With the line, on what ifup(8) would refuse.
pub fn read(text: &str) -> Result<Vec<Definition>> {
    let mut definitions: Vec<Definition> = Vec::new();
    let mut in_iface = false;
    for line in lines(text) {
        let all: Vec<(&str, Range<usize>)> = words(text, line.span.clone()).collect();
        let Some((first, _)) = all.first() else { continue };
        if STANZAS.contains(first) || first.starts_with("allow-") {
            in_iface = *first == "iface";
            if in_iface {
                definitions.push(stanza(&all, &line)?);
            }
            continue;
        }
        let Some(definition) = definitions.last_mut().filter(|_| in_iface) else { continue };
        option(definition, &all, &line);
        definition.end = Some(Place { at: line.whole.end, indent: line.indent.to_owned() });
    }
    Ok(definitions)
}

/// What `source` and `source-directory` name, in the order of the file: patterns, and whether each is a directory.
pub fn sources(text: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for line in lines(text) {
        let mut all = words(text, line.span.clone()).map(|(word, _)| word);
        let is_directory = match all.next() {
            Some("source") => false,
            Some("source-directory" | "source-dir") => true,
            _ => continue,
        };
        found.extend(all.map(|pattern| (pattern.to_owned(), is_directory)));
    }
    found
}

/// A line with those that continue it.
struct Line<'t> {
    span: Range<usize>,
    whole: Range<usize>,
    indent: &'t str,
    number: usize,
}

/// All lines but comments and empty ones. A line that ends with a backslash goes on in the next, also a comment does not.
fn lines(text: &str) -> Vec<Line<'_>> {
    let (mut at, mut number, mut found) = (0, 0, Vec::new());
    while at < text.len() {
        let (start, first) = (at, number + 1);
        at = line_end(text, at);
        number += 1;
        let bare = text[start..at].trim();
        if bare.is_empty() || bare.starts_with('#') {
            continue;
        }
        while text[start..at].trim_end_matches('\n').ends_with('\\') && at < text.len() {
            at = line_end(text, at);
            number += 1;
        }
        let body = text[start..at].trim_end();
        let indent = &body[..body.len() - body.trim_start().len()];
        found.push(Line { span: start..start + body.len(), whole: start..at, indent, number: first });
    }
    found
}

fn stanza(all: &[(&str, Range<usize>)], line: &Line<'_>) -> Result<Definition> {
    // `iface eth0 inherits other`, and with ifupdown-ng a name alone, are stanzas too.
    let Some((name, _)) = all.get(1) else { bail!("line {}: iface without a name", line.number) };
    let mut items = Vec::new();
    if let Some((family, _)) = all.get(2)
        && ["inet", "inet6"].contains(family)
    {
        let Some((method, span)) = all.get(3) else {
            bail!("line {}: iface {name} {family} without a method", line.number)
        };
        items.push(item(What::Method, method, span, line.number));
    }
    Ok(Definition {
        // An alias is the link that it is on.
        id: name.split(':').next().unwrap_or(name).to_owned(),
        kind: LinkKind::Device,
        selector: Selector { names: vec![name.split(':').next().unwrap_or(name).to_owned()], ..Selector::default() },
        items,
        end: Some(Place { at: line.whole.end, indent: "    ".to_owned() }),
        line: line.number,
    })
}

fn option(definition: &mut Definition, all: &[(&str, Range<usize>)], line: &Line<'_>) {
    let (key, _) = &all[0];
    let rest = &all[1..];
    // ifupdown takes `hwaddress ether ADDRESS`, and the address alone; the class is a word of it.
    let address = rest.iter().filter(|(word, _)| !["ether", "ax25", "ARCnet", "netrom"].contains(word));
    let what = match *key {
        "hwaddress" | "bridge_hw" | "bridge-hw" | "bond-hwaddress" => What::Pin,
        "address" => What::Address,
        "netmask" => What::Prefix,
        "gateway" => What::Gateway,
        "broadcast" | "network" => What::Derived,
        "dns-nameservers" | "dns-nameserver" => What::Dns,
        "dns-search" | "dns-domain" => What::Search,
        key => {
            if key.starts_with("bridge") || key.starts_with("bond-mode") || key.starts_with("vlan") {
                definition.kind = LinkKind::Virtual;
            }
            return;
        }
    };
    if ["bridge_hw", "bridge-hw"].contains(key) {
        definition.kind = LinkKind::Virtual;
    }
    let wanted = match what {
        What::Dns | What::Search => rest.iter().collect::<Vec<_>>(),
        _ => address.take(1).collect(),
    };
    for (index, (word, span)) in wanted.iter().enumerate() {
        let piece = if index == 0 { span.clone() } else { wanted[index - 1].1.end..span.end };
        let group = Group { size: wanted.len(), ..Group::alone(line.whole.clone()) };
        definition.items.push(Item {
            what,
            value: (*word).to_owned(),
            span: span.clone(),
            piece,
            group,
            quote: "",
            line: line.number,
        });
    }
}

/// See [`super::Syntax::readdress`]. A stanza is of one family.
///
/// # Errors
/// On a method that gives addresses in a way of its own.
pub fn readdress(text: &str, definition: &Definition, to: &Addresses, only_clear: bool) -> Result<Vec<Edit>> {
    let Some(method) = definition.all(What::Method).next() else { return Ok(Vec::new()) };
    let family = family(text, method);
    if !to.is_about(family) || method.value == "loopback" {
        return Ok(Vec::new());
    }
    let Some(Place { at, indent }) = &definition.end else { return Ok(Vec::new()) };
    // Stanzas of one link and family share its addresses: one each, and the last makes stanzas for those that are left,
    // interfaces(5) "Multiple stanzas".
    let peers: Vec<usize> = read(text)?
        .iter()
        .filter(|peer| peer.id == definition.id)
        .filter(|peer| peer.all(What::Method).any(|method| self::family(text, method) == family))
        .map(|peer| peer.line)
        .collect();
    let rank = peers.iter().position(|line| *line == definition.line).unwrap_or(0);
    let all = if only_clear { Vec::new() } else { to.of(family) };
    let wanted = all.get(rank).copied();
    let only_clear = only_clear || rank > 0 && wanted.is_none();
    let more = if rank + 1 == peers.len() { all.get(peers.len()..).unwrap_or_default() } else { &[] };
    let (mut edits, mut lines) = (Vec::new(), Vec::new());
    let word = match (wanted, family) {
        _ if only_clear => "manual",
        (None, Family::V4) => "dhcp",
        (None, Family::V6) => "auto",
        _ => "static",
    };
    if !["static", "dhcp", "auto", "manual"].contains(&method.value.as_str()) {
        bail!("line {}: the method {} gives addresses in its own way", definition.line, method.value);
    }
    // `auto` and `dhcp` both ask the network.
    let is_asking = |word: &str| ["dhcp", "auto"].contains(&word);
    if method.value != word && !(is_asking(&method.value) && is_asking(word)) {
        edits.push(method.with(word));
    }
    let mut put = |what: What, key: &str, values: &[String]| {
        let items: Vec<&Item> = definition.all(what).collect();
        let (changes, rest) = fit(&items, values);
        edits.extend(changes);
        if !rest.is_empty() {
            lines.push(format!("{key} {}", rest.join(" ")));
        }
    };
    let mask = definition.all(What::Prefix).next().map(|item| item.value.clone());
    let (mut address, mut prefix) = (Vec::new(), Vec::new());
    if let Some(first) = wanted {
        match mask {
            // In the form that stands there.
            Some(mask) => {
                let dotted = first.netmask().filter(|_| mask.contains('.'));
                address.push(first.address.to_string());
                prefix.push(dotted.map_or(first.length.to_string(), |mask| mask.to_string()));
            }
            None => address.push(first.to_string()),
        }
    }
    let same = definition.all(What::Address).next().map(|item| &item.value) == address.first();
    put(What::Address, "address", &address);
    put(What::Prefix, "netmask", &prefix);
    if !same {
        put(What::Derived, "", &[]);
    }
    if let Some(gateway) = to.gateways_wanted(family) {
        put(What::Gateway, "gateway", if only_clear || rank > 0 { &[] } else { &gateway });
    }
    // resolvconf(8) takes name servers of either family from either.
    if rank == 0 && !only_clear && (family == Family::V4 || to.of(Family::V4).is_empty()) {
        let dns: Vec<String> = to.dns.iter().map(ToString::to_string).collect();
        for (what, key, values) in [(What::Dns, "dns-nameservers", &dns), (What::Search, "dns-search", &to.search)] {
            if !values.is_empty() {
                put(what, key, values);
            }
        }
    }
    for route in to.routes.iter().filter(|route| Family::of(route.via) == family && rank == 0 && !only_clear) {
        let metric = route.metric.map_or(String::new(), |metric| format!(" metric {metric}"));
        let line = format!("up ip route add {} via {}{metric} dev $IFACE", route.to, route.via);
        if !text.contains(&line) {
            lines.push(line);
        }
    }
    let mut new: String = lines.iter().map(|line| format!("{indent}{line}\n")).collect();
    for one in more {
        let family = if family == Family::V4 { "inet" } else { "inet6" };
        new.push_str(&format!("\niface {} {family} static\n{indent}address {one}\n", definition.id));
    }
    if !new.is_empty() {
        let end = if *at > 0 && !text[..*at].ends_with('\n') { "\n" } else { "" };
        edits.push(Edit { span: *at..*at, new: format!("{end}{new}") });
    }
    Ok(edits)
}

/// See [`super::Syntax::stay_down`]: the link's name goes from the lines that have it brought up, interfaces(5).
pub fn stay_down(text: &str, link: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    for line in lines(text) {
        let all: Vec<(&str, Range<usize>)> = words(text, line.span.clone()).collect();
        let Some(((first, _), names)) = all.split_first() else { continue };
        if *first != "auto" && !first.starts_with("allow-") {
            continue;
        }
        let goes = |name: &str| name.split([':', '=']).next() == Some(link);
        if names.iter().all(|(name, _)| goes(name)) {
            edits.push(Edit { span: line.whole.clone(), new: String::new() });
            continue;
        }
        for (index, (_, span)) in names.iter().enumerate().filter(|(_, (name, _))| goes(name)) {
            edits.push(Edit { span: all[index].1.end..span.end, new: String::new() });
        }
    }
    edits
}

/// The family of a stanza, by the word before its method.
fn family(text: &str, method: &Item) -> Family {
    if text[..method.span.start].trim_end().ends_with("inet6") { Family::V6 } else { Family::V4 }
}

fn item(what: What, value: &str, span: &Range<usize>, line: usize) -> Item {
    Item {
        what,
        value: value.to_owned(),
        span: span.clone(),
        piece: span.clone(),
        group: Group::alone(span.clone()),
        quote: "",
        line,
    }
}
