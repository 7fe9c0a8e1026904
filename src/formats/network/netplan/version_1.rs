// SPDX-License-Identifier: MIT OR Apache-2.0
//! Version 1 of cloud-init's network configuration.

use anyhow::{Result, bail};

use super::super::yaml::Node;
use super::super::{Addresses, Definition, Edit, Family, Item, LinkKind, Selector, What, fit};
use super::{list, pair};

/// An entry of cloud-init's version 1, where the MAC address of a device is what it is known by.
pub fn read(text: &str, entry: &Node) -> Option<Definition> {
    let kind = entry.get("type")?.text()?;
    let name = entry.get("name")?.text()?;
    let kind = match kind {
        "physical" => LinkKind::Device,
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

/// New values in the places of old ones.
///
/// # Errors
/// When there are more new ones than places, or another method is wanted.
pub fn readdress(definition: &Definition, to: &Addresses, only_clear: bool) -> Result<Vec<Edit>> {
    let mut edits = Vec::new();
    for family in Family::ALL.into_iter().filter(|family| to.is_about(*family)) {
        let of = |item: &&Item| item.ip().is_some_and(|ip| Family::of(ip) == family);
        let addresses: Vec<&Item> = definition.all(What::Address).filter(of).collect();
        let wanted = to.of(family);
        let masks: Vec<&Item> = definition.all(What::Prefix).collect();
        if only_clear || addresses.len() != wanted.len() || !masks.is_empty() && addresses.len() > 1 {
            bail!(
                "line {}: version 1 of cloud-init's configuration is changed only address by address",
                definition.line
            );
        }
        let values: Vec<String> = match masks.first() {
            Some(mask) => {
                let netmask = wanted.first().and_then(|first| first.netmask()).map(|mask| mask.to_string());
                edits.extend(fit(&[*mask], &netmask.into_iter().collect::<Vec<_>>()).0);
                wanted.iter().map(|one| one.address.to_string()).collect()
            }
            None => wanted.iter().map(ToString::to_string).collect(),
        };
        edits.extend(fit(&addresses, &values).0);
        let gateways: Vec<&Item> = definition.all(What::Gateway).filter(of).collect();
        if let Some(gateway) = to.gateways_wanted(family) {
            let (changes, rest) = fit(&gateways, &gateway);
            if !rest.is_empty() {
                bail!("line {}: no place for the gateway {}", definition.line, rest.join(", "));
            }
            edits.extend(changes);
        }
    }
    Ok(edits)
}
