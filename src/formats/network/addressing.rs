// SPDX-License-Identifier: MIT OR Apache-2.0
//! The addresses that a link shall have: what instance data and policy say, and what every format writes.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use anyhow::{Context as _, Error, bail};
use serde::{Deserialize, Serialize};

use super::Family;

/// An address with the length of its prefix, `192.0.2.7/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefixed {
    /// The address.
    pub address: IpAddr,
    /// In bits.
    pub length: u8,
}

/// A route that is not the default one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Route {
    /// Where to.
    pub to: Prefixed,
    /// Through which router.
    pub via: IpAddr,
    /// The smaller, the sooner.
    #[serde(default)]
    pub metric: Option<u32>,
}

/// Which link is meant: every fact that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LinkSelector {
    /// Its name.
    pub name: Option<String>,
    /// Its permanent MAC address.
    pub mac: Option<super::Mac>,
    /// Its `ID_PATH`, `pci-0000:00:03.0`.
    pub path: Option<String>,
}

/// All that one link is told. Where a list is empty and neither DHCP is set, nothing is said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Addresses {
    /// Which link; empty for the only one that is configured.
    pub link: LinkSelector,
    /// Its addresses, both families.
    pub addresses: Vec<Prefixed>,
    /// Default gateways, one of a family.
    pub gateways: Vec<IpAddr>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Other routes.
    pub routes: Vec<Route>,
    /// Are IPv4 addresses had by DHCP?
    pub dhcp4: bool,
    /// Are IPv6 addresses had by DHCP?
    pub dhcp6: bool,
    /// Families whose addresses reach the link alone: no gateway and no route of them stands beside.
    #[serde(skip)]
    pub on_link: Vec<Family>,
    /// Where this comes from, as it is told: `SMBIOS, type 11`, `policy`.
    pub from: String,
}

impl Addresses {
    /// Its addresses of a family.
    pub fn of(&self, family: Family) -> Vec<Prefixed> {
        self.addresses.iter().copied().filter(|one| Family::of(one.address) == family).collect()
    }

    /// The default gateway of a family.
    pub fn gateway(&self, family: Family) -> Option<IpAddr> {
        self.gateways.iter().copied().find(|gateway| Family::of(*gateway) == family)
    }

    /// Are addresses of a family had by DHCP?
    pub fn dhcp(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.dhcp4,
            Family::V6 => self.dhcp6,
        }
    }

    /// Is anything said of a family?
    pub fn is_about(&self, family: Family) -> bool {
        self.dhcp(family) || !self.of(family).is_empty()
    }

    /// The gateways that shall stand: none where DHCP gives one; `None` where nothing is said.
    pub(super) fn gateways_wanted(&self, family: Family) -> Option<Vec<String>> {
        match self.gateway(family) {
            Some(gateway) => Some(vec![gateway.to_string()]),
            None if self.on_link.contains(&family) => Some(Vec::new()),
            None if self.dhcp(family) && self.of(family).is_empty() => Some(Vec::new()),
            None => None,
        }
    }
}

impl Prefixed {
    /// The netmask of an IPv4 prefix.
    pub fn netmask(self) -> Option<std::net::Ipv4Addr> {
        match self.address {
            IpAddr::V4(_) => Some(u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0).into()),
            IpAddr::V6(_) => None,
        }
    }

    /// The network that the address is in: its bits beyond the prefix are zero.
    pub fn network(self) -> Prefixed {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
        };
        Prefixed { address, ..self }
    }

    /// Does an address lie in this network?
    pub fn holds(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && Prefixed { address, ..self }.network() == self.network()
    }
}

impl fmt::Display for Prefixed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefixed {
    type Err = Error;

    fn from_str(text: &str) -> Result<Prefixed, Error> {
        let Some((address, length)) = text.split_once('/') else {
            bail!("`{text}` has no prefix length, as in 192.0.2.7/24")
        };
        let address: IpAddr = address.parse().with_context(|| format!("`{address}` is no IP address"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        match length.parse() {
            Ok(length) if length <= most => Ok(Prefixed { address, length }),
            _ => bail!("`{length}` is no prefix length: 0 to {most}"),
        }
    }
}

impl TryFrom<String> for Prefixed {
    type Error = Error;

    fn try_from(text: String) -> Result<Prefixed, Error> {
        text.parse()
    }
}

impl From<Prefixed> for String {
    fn from(prefixed: Prefixed) -> String {
        prefixed.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_read_and_used() {
        let one: Prefixed = "192.0.2.7/24".parse().unwrap();
        assert_eq!(one.netmask().unwrap().to_string(), "255.255.255.0");
        assert_eq!(one.network().to_string(), "192.0.2.0/24");
        assert!(one.holds("192.0.2.200".parse().unwrap()) && !one.holds("192.0.3.1".parse().unwrap()));
        let six: Prefixed = "2001:db8::7/64".parse().unwrap();
        assert_eq!((six.netmask(), six.network().to_string()), (None, "2001:db8::/64".to_owned()));
        assert!("0.0.0.0/0".parse::<Prefixed>().unwrap().holds("203.0.113.1".parse().unwrap()));
        assert!("::/0".parse::<Prefixed>().unwrap().holds("2001:db8::1".parse().unwrap()));
        assert!(!one.holds("2001:db8::1".parse().unwrap()));
        for text in ["192.0.2.7", "192.0.2.7/33", "2001:db8::/129", "x/24", "192.0.2.7/-1", "/24"] {
            assert!(text.parse::<Prefixed>().is_err(), "{text}");
        }
    }
}
