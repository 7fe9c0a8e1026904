// SPDX-License-Identifier: MIT OR Apache-2.0
//! systemd.network(5), systemd.netdev(5) and systemd.link(5), and the drop-ins of each.

use std::net::IpAddr;

use anyhow::Result;

use super::sections::{self, Entry, Style, insert};
use super::{Addresses, Definition, Edit, Family, Item, LinkKind, Place, Selector, Syntax, What, fit};

/// The one definition of a file; the fragments of a drop-in directory are told by their own names.
///
/// # Errors
/// With the line.
pub fn read(syntax: Syntax, name: &str, text: &str) -> Result<Vec<Definition>> {
    let entries = sections::read(text, Style::Systemd)?;
    let mut selector = Selector::default();
    let mut items: Vec<Item> = Vec::new();
    let mut netdev = None;
    for entry in &entries {
        let words = || entry.value.split_whitespace().map(str::to_owned);
        match (syntax, entry.section, entry.key) {
            (Syntax::NetworkdNetwork | Syntax::Link, "Match", "MACAddress" | "PermanentMACAddress") => {
                items.extend(entry.items(text, What::Match));
            }
            (Syntax::NetworkdNetwork, "Match", "Name") | (Syntax::Link, "Match", "OriginalName") => {
                selector.names.extend(words());
            }
            (Syntax::NetworkdNetwork | Syntax::Link, "Match", "Path") => selector.paths.extend(words()),
            (Syntax::Link, "Link", "Name") => selector.set_name = Some(entry.value.to_owned()),
            (Syntax::NetworkdNetwork | Syntax::Link, "Link", "MACAddress")
            | (Syntax::NetworkdNetdev, "NetDev" | "Peer", "MACAddress") => items.push(entry.item(What::Pin)),
            (Syntax::NetworkdNetdev, "NetDev", "Name") => netdev = Some(entry.value.to_owned()),
            (Syntax::NetworkdNetwork, "Network", "Address") | (Syntax::NetworkdNetwork, "Address", "Address") => {
                items.push(entry.item(What::Address));
            }
            (Syntax::NetworkdNetwork, "Network", "Gateway") => items.push(entry.item(What::Gateway)),
            (Syntax::NetworkdNetwork, "Route", "Gateway") => items.push(route(&entries, entry)),
            (Syntax::NetworkdNetwork, "Network", "DNS") => items.extend(entry.items(text, What::Dns)),
            (Syntax::NetworkdNetwork, "Network", "Domains") => items.extend(entry.items(text, What::Search)),
            (Syntax::NetworkdNetwork, "Network", "DHCP") => items.push(entry.item(What::Method)),
            _ => {}
        }
    }
    // An address that is empty takes earlier ones away.
    items.retain(|item| !item.value.is_empty());
    let id = netdev.clone().or_else(|| selector.set_name.clone()).or_else(|| selector.names.first().cloned());
    selector.names.extend(netdev);
    Ok(vec![Definition {
        id: id.unwrap_or_else(|| name.split('.').next().unwrap_or_default().to_owned()),
        kind: if syntax == Syntax::NetworkdNetdev { LinkKind::Virtual } else { LinkKind::Device },
        selector,
        items,
        end: Some(Place { at: text.len(), indent: String::new() }),
        line: 1,
    }])
}

/// A route's gateway; without a destination it is the default one.
fn route(entries: &[Entry<'_>], gateway: &Entry<'_>) -> Item {
    let to = entries.iter().find(|entry| entry.number == gateway.number && entry.key == "Destination");
    match to.map(|entry| entry.value).filter(|to| !["0.0.0.0/0", "::/0"].contains(to)) {
        None => gateway.item(What::Gateway),
        Some(to) => Item { value: format!("{to} {}", gateway.value), ..gateway.item(What::Route) },
    }
}

/// Routes of families that reach their link alone go with all that is said of them: one without its gateway would be another.
fn without_routes(text: &str, to: &Addresses) -> Result<Vec<Edit>> {
    let entries = sections::read(text, Style::Systemd)?;
    let goes = |number: usize| {
        let mut routes = entries.iter().filter(|entry| entry.number == number && entry.section == "Route");
        routes.any(|entry| {
            let ip = || entry.value.split('/').next()?.parse().ok();
            entry.key == "Gateway" && ip().is_some_and(|ip: IpAddr| to.on_link.contains(&Family::of(ip)))
        })
    };
    let all = entries.iter().filter(|entry| entry.section == "Route" && goes(entry.number));
    Ok(all.map(|entry| Edit { span: entry.whole.clone(), new: String::new() }).collect())
}

/// See [`Syntax::readdress`].
///
/// # Errors
/// With the line.
pub fn readdress(text: &str, definition: &Definition, to: &Addresses, only_clear: bool) -> Result<Vec<Edit>> {
    let (mut edits, mut lines, mut sections) = (Vec::new(), Vec::new(), String::new());
    let mut put = |items: Vec<&Item>, key: &str, values: Vec<String>| {
        let (changes, rest) = fit(&items, if only_clear { &[] } else { &values });
        edits.extend(changes);
        lines.extend(rest.into_iter().filter(|_| !only_clear).map(|value| format!("{key}={value}")));
    };
    let of = |what: What, family: Family| -> Vec<&Item> {
        definition.all(what).filter(|item| item.ip().is_some_and(|ip: IpAddr| Family::of(ip) == family)).collect()
    };
    for family in Family::ALL.into_iter().filter(|family| to.is_about(*family)) {
        let values = to.of(family).iter().map(ToString::to_string).collect();
        put(of(What::Address, family), "Address", values);
        if let Some(values) = to.gateways_wanted(family) {
            put(of(What::Gateway, family), "Gateway", values);
        }
    }
    if !to.dns.is_empty() {
        put(definition.all(What::Dns).collect(), "DNS", to.dns.iter().map(ToString::to_string).collect());
    }
    if !to.search.is_empty() {
        put(definition.all(What::Search).collect(), "Domains", to.search.clone());
    }
    for route in to.routes.iter().filter(|_| !only_clear) {
        let wanted = format!("{} {}", route.to, route.via);
        if !definition.all(What::Route).any(|item| item.value == wanted) {
            let metric = route.metric.map_or(String::new(), |metric| format!("Metric={metric}\n"));
            sections.push_str(&format!("\n[Route]\nDestination={}\nGateway={}\n{metric}", route.to, route.via));
        }
    }
    if !to.on_link.is_empty() {
        edits.extend(without_routes(text, to)?);
    }
    let method = definition.all(What::Method).last();
    let now = method.map_or("no", |item| item.value.as_str());
    let (now4, now6) = match now {
        "ipv4" | "v4" => (true, false),
        "ipv6" | "v6" => (false, true),
        word => {
            (["yes", "both", "true", "1", "on"].contains(&word), ["yes", "both", "true", "1", "on"].contains(&word))
        }
    };
    let wanted = |family, now| if to.is_about(family) { to.dhcp(family) } else { now };
    let (new4, new6) = (wanted(Family::V4, now4), wanted(Family::V6, now6));
    let word = match (new4, new6) {
        (true, true) => "yes",
        (true, false) => "ipv4",
        (false, true) => "ipv6",
        (false, false) => "no",
    };
    if (new4, new6) != (now4, now6) && !only_clear {
        match method {
            Some(item) => edits.push(item.with(word)),
            None => lines.push(format!("DHCP={word}")),
        }
    }
    edits.extend(insert(text, &["Network"], "Network", &lines));
    if !sections.is_empty() {
        edits.push(Edit { span: text.len()..text.len(), new: sections });
    }
    Ok(edits)
}
