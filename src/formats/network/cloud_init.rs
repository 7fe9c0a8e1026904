// SPDX-License-Identifier: MIT OR Apache-2.0
//! What cloud-init's NoCloud tells a guest: the name in `meta-data`, and `network-config` of version 1 and 2.
//!
//! Bonds, bridges, VLANs and Wi-Fi are said to be left out: who needs them has them in the image.

use std::net::IpAddr;

use anyhow::{Context as _, Result, anyhow, bail};

use super::addressing::{Addresses, LinkSelector, Prefixed, Route};
use super::yaml::{self, Node};
use crate::formats::ip_parameter::netmask;
use crate::plan::show::printable;

/// What is told, and what of the text is left out.
pub type Links = (Vec<Addresses>, Vec<String>);

/// `local-hostname` of `meta-data`.
///
/// # Errors
/// When it is not YAML.
pub fn host_name(text: &str) -> Result<Option<String>> {
    let Some(document) = yaml::read(text)? else { return Ok(None) };
    Ok(document.get("local-hostname").and_then(Node::text).map(str::to_owned))
}

/// What `network-config` tells each link.
///
/// # Errors
/// With the line of what is malformed.
pub fn links(text: &str) -> Result<Links> {
    let Some(document) = yaml::read(text)? else { return Ok(Links::default()) };
    let document = document.get("network").unwrap_or(&document);
    match document.get("version").and_then(Node::text) {
        Some("1") => first(document),
        Some("2") => second(document),
        _ => bail!("line {}: no version 1 or 2", document.line),
    }
}

/// "Networking config Version 1".
fn first(document: &Node) -> Result<Links> {
    let (mut links, mut left) = Links::default();
    let (mut servers, mut domains) = (Vec::new(), Vec::new());
    for entry in document.get("config").map(Node::items).unwrap_or_default() {
        match word(entry, "type").unwrap_or_default() {
            "physical" => {
                let mut told = Addresses {
                    link: by_mac_or_name(entry, "mac_address", word(entry, "name"))?,
                    ..Addresses::default()
                };
                for subnet in entry.get("subnets").map(Node::items).unwrap_or_default() {
                    subnet_of_first(subnet, &mut told)?;
                }
                links.push(told);
            }
            "nameserver" => {
                servers.extend(list(entry, "address", parse_ip)?);
                domains.extend(list(entry, "search", plain)?);
            }
            other => left.push(format!("line {}: a link of type `{}` is left out", entry.line, printable(other))),
        }
    }
    // They are the whole machine's, and a link of it has to ask them.
    if let Some(link) = links.iter_mut().find(|link| !link.addresses.is_empty()) {
        link.dns.extend(servers);
        link.search.extend(domains);
    }
    Ok((links, left))
}

fn subnet_of_first(subnet: &Node, told: &mut Addresses) -> Result<()> {
    match word(subnet, "type").unwrap_or_default() {
        "dhcp" | "dhcp4" => told.dhcp4 = true,
        "dhcp6" | "ipv6_dhcpv6-stateful" => told.dhcp6 = true,
        "static" | "static6" => {
            let address = subnet.get("address").with_context(|| format!("line {}: no address", subnet.line))?;
            told.addresses.push(with_netmask(address, subnet.get("netmask"))?);
        }
        "manual" | "ipv6_slaac" | "ipv6_dhcpv6-stateless" => {}
        other => bail!("line {}: `{}` is no type of a subnet", subnet.line, printable(other)),
    }
    told.gateways.extend(list(subnet, "gateway", parse_ip)?);
    told.dns.extend(list(subnet, "dns_nameservers", parse_ip)?);
    told.search.extend(list(subnet, "dns_search", plain)?);
    for route in subnet.get("routes").map(Node::items).unwrap_or_default() {
        let to = route.get("network").or_else(|| route.get("destination"));
        let to = to.with_context(|| format!("line {}: a route without network", route.line))?;
        let via = route.get("gateway").with_context(|| format!("line {}: a route without gateway", route.line))?;
        let mask = route.get("netmask").or_else(|| route.get("prefix"));
        push_route(told, with_netmask(to, mask)?, parse_ip(via)?, metric(route)?);
    }
    Ok(())
}

/// "Networking config Version 2", netplan(5).
fn second(document: &Node) -> Result<Links> {
    let (mut links, mut left) = Links::default();
    for (kind, all) in document.pairs() {
        match kind.text().unwrap_or_default() {
            "version" | "renderer" => continue,
            "ethernets" => {}
            other => {
                left.push(format!("line {}: `{}` is left out", kind.line, printable(other)));
                continue;
            }
        }
        for (id, link) in all.pairs() {
            let id_text = id.text().unwrap_or_default();
            let (selector, name) = match link.get("match") {
                None => (link, Some(id_text)),
                Some(matched) => (matched, word(matched, "name")),
            };
            if name.is_some_and(|name| name.contains(['*', '?', '[']))
                || (name.is_none() && selector.get("macaddress").is_none())
            {
                left.push(format!(
                    "line {}: `{}` matches links by a pattern or driver, and is left out",
                    id.line,
                    printable(id_text)
                ));
                continue;
            }
            // A MAC address beside `set-name` in an entry without `match` pins it, netplan(5).
            let link_selector = match link.get("match") {
                None => LinkSelector { name: name.map(str::to_owned), ..LinkSelector::default() },
                Some(matched) => by_mac_or_name(matched, "macaddress", name)?,
            };
            links.push(link_of_second(link, link_selector)?);
        }
    }
    Ok((links, left))
}

fn link_of_second(node: &Node, link: LinkSelector) -> Result<Addresses> {
    let mut told =
        Addresses { link, dhcp4: truth(node, "dhcp4")?, dhcp6: truth(node, "dhcp6")?, ..Addresses::default() };
    for address in node.get("addresses").map(Node::items).unwrap_or_default() {
        // With options of its own an address is the one key of a mapping.
        let text = address.pairs().first().map_or(address, |(key, _)| key);
        told.addresses.push(with_netmask(text, None)?);
    }
    for key in ["gateway4", "gateway6"] {
        told.gateways.extend(list(node, key, parse_ip)?);
    }
    if let Some(servers) = node.get("nameservers") {
        told.dns.extend(list(servers, "addresses", parse_ip)?);
        told.search.extend(list(servers, "search", plain)?);
    }
    for route in node.get("routes").map(Node::items).unwrap_or_default() {
        let Some(via) = route.get("via") else { continue };
        let via = parse_ip(via)?;
        let to = route.get("to").with_context(|| format!("line {}: a route without `to`", route.line))?;
        let to = match to.text() {
            Some("default") => Prefixed { address: unspecified(via), length: 0 },
            _ => with_netmask(to, None)?,
        };
        push_route(&mut told, to, via, metric(route)?);
    }
    Ok(told)
}

fn unspecified(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { IpAddr::V4([0; 4].into()) } else { IpAddr::V6([0; 16].into()) }
}

/// A route to everywhere is a gateway.
pub(super) fn push_route(told: &mut Addresses, to: Prefixed, via: IpAddr, metric: Option<u32>) {
    if to.length > 0 {
        told.routes.push(Route { to: to.network(), via, metric });
    } else if !told.gateways.contains(&via) {
        told.gateways.push(via);
    }
}

/// A MAC address goes before a name, which the guest gives itself.
fn by_mac_or_name(node: &Node, key: &str, name: Option<&str>) -> Result<LinkSelector> {
    let Some(mac) = node.get(key) else {
        return Ok(LinkSelector { name: name.map(str::to_owned), ..LinkSelector::default() });
    };
    let parse = || mac.text().unwrap_or_default().parse();
    Ok(LinkSelector { mac: Some(parse().with_context(|| format!("line {}", mac.line))?), ..LinkSelector::default() })
}

fn word<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get(key).and_then(Node::text)
}

fn truth(node: &Node, key: &str) -> Result<bool> {
    match node.get(key).map(|value| (value.text().unwrap_or_default(), value.line)) {
        None => Ok(false),
        Some(("true" | "yes" | "on" | "True" | "TRUE" | "y", _)) => Ok(true),
        Some(("false" | "no" | "off" | "False" | "FALSE" | "n", _)) => Ok(false),
        Some((other, line)) => bail!("line {line}: `{}` is neither true nor false", printable(other)),
    }
}

fn metric(node: &Node) -> Result<Option<u32>> {
    let Some(value) = node.get("metric") else { return Ok(None) };
    let number = value.text().unwrap_or_default().parse();
    Ok(Some(number.with_context(|| format!("line {}: `metric` is no number", value.line))?))
}

/// The values of a key: a list, or the one.
fn list<T>(node: &Node, key: &str, each: fn(&Node) -> Result<T>) -> Result<Vec<T>> {
    match node.get(key) {
        None => Ok(Vec::new()),
        Some(value) if value.text().is_some() => Ok(vec![each(value)?]),
        Some(value) => value.items().iter().map(each).collect(),
    }
}

fn parse_ip(node: &Node) -> Result<IpAddr> {
    let text = node.text().unwrap_or_default();
    text.parse().map_err(|_| anyhow!("line {}: `{}` is no IP address", node.line, printable(text)))
}

fn plain(node: &Node) -> Result<String> {
    node.text().map(str::to_owned).with_context(|| format!("line {}: no text", node.line))
}

/// An address with its prefix behind it, or in a netmask beside it.
fn with_netmask(node: &Node, mask: Option<&Node>) -> Result<Prefixed> {
    let text = node.text().unwrap_or_default();
    prefixed(text, mask.and_then(Node::text)).with_context(|| format!("line {}", node.line))
}

/// An address with its prefix behind it, or in a netmask, or the length of a prefix, beside it.
pub(super) fn prefixed(text: &str, mask: Option<&str>) -> Result<Prefixed> {
    match mask {
        _ if text.contains('/') => text.parse(),
        None => bail!("`{}` has neither a prefix length nor a netmask", printable(text)),
        Some(mask) => {
            let length = match mask.parse::<IpAddr>() {
                Ok(IpAddr::V4(mask)) if mask.is_unspecified() => 0,
                Ok(IpAddr::V4(mask)) => netmask(mask)?,
                Ok(IpAddr::V6(mask)) => {
                    let bits = u128::from(mask);
                    anyhow::ensure!(bits.leading_ones() + bits.count_zeros() == 128, "`{mask}` is no netmask");
                    bits.leading_ones() as u8
                }
                Err(_) => return format!("{text}/{mask}").parse(),
            };
            format!("{text}/{length}").parse()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let (links, _) = links(text).unwrap();
        links.iter().map(|told| serde_json::to_string(told).unwrap()).collect()
    }

    const ONE: &str = r#"{"link":{"name":null,"mac":"52:54:00:12:34:56","path":null},"addresses":["192.0.2.7/24","2001:db8::7/64"],"gateways":["192.0.2.1"],"dns":["192.0.2.53","192.0.2.54"],"search":["example.com"],"routes":[{"to":"198.51.100.0/24","via":"192.0.2.254","metric":5}],"dhcp4":false,"dhcp6":false,"from":""}"#;

    #[test]
    fn version_1_is_read() {
        let text = "version: 1
config:
- type: physical
  name: eth0
  mac_address: '52:54:00:12:34:56'
  subnets:
  - type: static
    address: 192.0.2.7
    netmask: 255.255.255.0
    gateway: 192.0.2.1
    dns_nameservers: 192.0.2.53
    dns_search: [example.com]
    routes:
    - network: 198.51.100.0
      netmask: 255.255.255.0
      gateway: 192.0.2.254
      metric: 5
  - {type: static6, address: '2001:db8::7/64'}
- type: physical
  name: eth1
  subnets: [{type: dhcp}]
- {type: bond, name: bond0}
- type: nameserver
  address: [192.0.2.54]
";
        let told = shown(text);
        assert_eq!(told[0], ONE);
        assert!(told[1].contains(r#""name":"eth1""#) && told[1].contains(r#""dhcp4":true"#), "{}", told[1]);
        assert_eq!(links(text).unwrap().1, ["line 22: a link of type `bond` is left out"]);
    }

    #[test]
    fn version_2_is_read_also_below_network() {
        let text = "network:
  version: 2
  ethernets:
    id0:
      match: {macaddress: '52:54:00:12:34:56'}
      addresses: [192.0.2.7/24, '2001:db8::7/64']
      nameservers: {addresses: [192.0.2.53, 192.0.2.54], search: [example.com]}
      routes:
      - {to: default, via: 192.0.2.1}
      - {to: 198.51.100.9/24, via: 192.0.2.254, metric: 5}
    eth1: {dhcp4: true, dhcp6: 'no'}
    all: {match: {name: 'en*'}, dhcp4: true}
  vlans: {}
";
        let told = shown(text);
        assert_eq!(told[0], ONE);
        assert!(told[1].contains(r#""name":"eth1""#) && told.len() == 2, "{told:?}");
        assert_eq!(links(text).unwrap().1.len(), 2);
        assert_eq!(links(r#"{"version": 2, "ethernets": {"eth0": {"dhcp4": true}}}"#).unwrap().0.len(), 1);
    }

    #[test]
    fn what_is_malformed_has_its_line() {
        for (text, part) in [
            ("version: 3\n", "line 1: no version 1 or 2"),
            ("version: 1\nconfig:\n- type: physical\n  subnets:\n  - {type: static, address: 192.0.2.7}\n", "line 5"),
            ("version: 1\nconfig:\n- {type: physical, mac_address: x}\n", "line 3"),
            ("version: 1\nconfig:\n- type: physical\n  subnets: [{type: sttic}]\n", "`sttic` is no type"),
            ("version: 2\nethernets:\n  eth0: {dhcp4: perhaps}\n", "line 3: `perhaps`"),
            ("version: 2\nethernets:\n  eth0: {gateway4: x}\n", "line 3: `x` is no IP address"),
            ("version: 2\nversion: 2\n", "stands twice"),
            ("version: 2\nethernets: &a {eth0: *a}\n", "line 2"),
            ("version: 2\n\tethernets: {}\n", "found a tab"),
        ] {
            let error = format!("{:#}", links(text).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(host_name("instance-id: i-1\nlocal-hostname: web-1\n").unwrap().as_deref(), Some("web-1"));
        assert_eq!(host_name("").unwrap(), None);
    }
}
