// SPDX-License-Identifier: MIT OR Apache-2.0
//! systemd.network(5), systemd.netdev(5) and systemd.link(5), and the drop-ins of each.

use anyhow::Result;

use super::sections::{self, Style};
use super::{Definition, Item, LinkKind, Place, Selector, Syntax, What};

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
            (Syntax::NetworkdNetwork, "Route", "Gateway") => items.push(entry.item(What::Route)),
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
