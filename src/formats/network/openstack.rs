// SPDX-License-Identifier: MIT OR Apache-2.0
//! OpenStack's `network_data.json`, as its schema in nova's doc/api_schemas/network_data.json has it.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::addressing::{Addresses, LinkSelector};
use super::cloud_init::{Links, prefixed, push_route};
use crate::plan::show::printable;

/// Types of links that software makes in the guest.
const MADE: [&str; 3] = ["bond", "vlan", "bridge"];

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    links: Vec<Link>,
    #[serde(default)]
    networks: Vec<Network>,
    #[serde(default)]
    services: Vec<Service>,
}

#[derive(Deserialize)]
struct Link {
    id: String,
    #[serde(rename = "type", default)]
    kind: String,
    ethernet_mac_address: Option<String>,
}

#[derive(Deserialize)]
struct Network {
    link: String,
    #[serde(rename = "type")]
    kind: String,
    ip_address: Option<String>,
    netmask: Option<String>,
    #[serde(default)]
    routes: Vec<Road>,
    #[serde(default)]
    services: Vec<Service>,
}

#[derive(Deserialize)]
struct Road {
    network: String,
    netmask: Option<String>,
    gateway: IpAddr,
}

#[derive(Deserialize)]
struct Service {
    #[serde(rename = "type")]
    kind: String,
    address: IpAddr,
}

/// What each link is told, and what is left out.
///
/// # Errors
/// When it is malformed.
pub fn links(text: &str) -> Result<Links> {
    let document: Document = serde_json::from_str(text)?;
    let (mut told, mut left) = Links::default();
    for link in &document.links {
        let id = printable(&link.id);
        if MADE.contains(&link.kind.as_str()) {
            left.push(format!("the link {id} of type {} is left out", link.kind));
            continue;
        }
        let Some(mac) = &link.ethernet_mac_address else { bail!("the link {id} has no MAC address") };
        let mac = Some(mac.parse().with_context(|| format!("the link {id}"))?);
        let mut addresses = Addresses { link: LinkSelector { mac, ..LinkSelector::default() }, ..Addresses::default() };
        for network in document.networks.iter().filter(|network| network.link == link.id) {
            take(network, &mut addresses).with_context(|| format!("a network of the link {id}"))?;
        }
        told.push(addresses);
    }
    if let Some(link) = told.iter_mut().find(|link| !link.addresses.is_empty()) {
        let servers = document.services.iter().filter(|service| service.kind == "dns").map(|service| service.address);
        let new: Vec<IpAddr> = servers.filter(|server| !link.dns.contains(server)).collect();
        link.dns.extend(new);
    }
    Ok((told, left))
}

fn take(network: &Network, told: &mut Addresses) -> Result<()> {
    match network.kind.as_str() {
        "ipv4_dhcp" => told.dhcp4 = true,
        "ipv6_dhcp" | "ipv6_dhcpv6-stateful" => told.dhcp6 = true,
        "ipv4" | "ipv6" => {
            let address = network.ip_address.as_deref().context("no ip_address")?;
            told.addresses.push(prefixed(address, network.netmask.as_deref())?);
        }
        // The router says all that there is to know.
        "ipv6_slaac" | "ipv6_dhcpv6-stateless" => {}
        other => bail!("`{}` is no type of a network", printable(other)),
    }
    for road in &network.routes {
        push_route(told, prefixed(&road.network, road.netmask.as_deref())?, road.gateway, None);
    }
    let servers = network.services.iter().filter(|service| service.kind == "dns").map(|service| service.address);
    told.dns.extend(servers);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_known_by_their_addresses() {
        let text = r#"{"links": [{"id": "tap0", "type": "ovs", "ethernet_mac_address": "52:54:00:12:34:56", "mtu": 1450},
            {"id": "tap1", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:57"}, {"id": "b", "type": "bond"}],
          "networks": [{"id": "network0", "link": "tap0", "type": "ipv4", "ip_address": "192.0.2.7", "netmask": "255.255.255.0",
            "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"},
                       {"network": "198.51.100.0", "netmask": "255.255.255.0", "gateway": "192.0.2.254"}]},
           {"id": "network1", "link": "tap0", "type": "ipv6", "ip_address": "2001:db8::7", "netmask": "ffff:ffff:ffff:ffff::",
            "routes": [{"network": "::", "netmask": "::", "gateway": "2001:db8::1"}]},
           {"id": "network2", "link": "tap1", "type": "ipv4_dhcp"}],
          "services": [{"type": "dns", "address": "192.0.2.53"}]}"#;
        let (told, left) = links(text).unwrap();
        let words = |told: &Addresses| serde_json::to_string(told).unwrap();
        assert!(words(&told[0]).contains(r#""addresses":["192.0.2.7/24","2001:db8::7/64"],"gateways":["192.0.2.1","2001:db8::1"],"dns":["192.0.2.53"]"#), "{}", words(&told[0]));
        assert_eq!(told[0].routes.len(), 1);
        assert!(told[1].dhcp4 && told[1].addresses.is_empty());
        assert_eq!(left, ["the link b of type bond is left out"]);
    }

    #[test]
    fn what_is_malformed_is_said() {
        for (text, part) in [
            ("{", "EOF"),
            (r#"{"links": [{"id": "a"}]}"#, "the link a has no MAC address"),
            (r#"{"links": [{"id": "a", "ethernet_mac_address": "x"}]}"#, "the link a: `x` is no MAC address"),
            (
                r#"{"links": [{"id": "a", "ethernet_mac_address": "52:54:00:12:34:56"}], "networks": [{"link": "a", "type": "ipv4"}]}"#,
                "no ip_address",
            ),
        ] {
            let error = format!("{:#}", links(text).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
