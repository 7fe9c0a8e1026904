// SPDX-License-Identifier: MIT OR Apache-2.0
//! interfaces(5) of Debian's ifupdown.

use std::ops::Range;

use anyhow::{Result, bail};

use super::sections::{line_end, words};
use super::{Definition, Item, LinkKind, Place, Selector, What};

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
        items.push(item(What::Method, method, span, &line.whole, line.number));
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
    match what {
        What::Dns | What::Search => {
            let items = rest.iter().map(|(word, span)| item(what, word, span, &line.whole, line.number));
            definition.items.extend(items);
        }
        _ => definition
            .items
            .extend(address.take(1).map(|(word, span)| item(what, word, span, &line.whole, line.number))),
    }
}

fn item(what: What, value: &str, span: &Range<usize>, whole: &Range<usize>, line: usize) -> Item {
    Item {
        what,
        value: value.to_owned(),
        span: span.clone(),
        whole: whole.clone(),
        instead: String::new(),
        quote: "",
        line,
    }
}
