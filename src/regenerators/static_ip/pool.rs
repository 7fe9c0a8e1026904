// SPDX-License-Identifier: MIT OR Apache-2.0
//! One network from which every machine takes the address with its own number.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::Options;
use crate::formats::network::addressing::Prefixed;
use crate::formats::network::{Addresses, What};
use crate::plan::Kind;
use crate::plan::draft::Draft;
use crate::regenerators::network::Survey;

/// Where a machine's number stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolFrom {
    /// At the end of its host name's first label.
    #[default]
    Hostname,
    /// At the end of its serial number.
    Serial,
}

/// A network, or none: `10.0.4.0/24`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(Option<Prefixed>);

impl TryFrom<String> for Network {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Network> {
        if text.is_empty() {
            return Ok(Network(None));
        }
        let network: Prefixed = text.parse()?;
        if network.network() != network {
            bail!("`{text}` is an address in the network {}", network.network());
        }
        Ok(Network(Some(network)))
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.0.map_or_else(String::new, |network| network.to_string())
    }
}

impl Network {
    /// What the pool gives this machine; none without a pool.
    ///
    /// # Errors
    /// When the machine has no number, or the network no such address.
    pub fn take(self, options: &Options, draft: &Draft<'_>, name: &str) -> Result<Option<Addresses>> {
        let Some(network) = self.0 else { return Ok(None) };
        let (what, text) = match options.pool_from {
            PoolFrom::Hostname => ("host name", name.split('.').next().unwrap_or_default()),
            PoolFrom::Serial => ("serial number", draft.guest.machine.smbios_serial.as_deref().unwrap_or_default()),
        };
        let digits = &text[text.trim_end_matches(|c: char| c.is_ascii_digit()).len()..];
        let number: u128 =
            digits.parse().with_context(|| format!("static-ip.pool: the {what} `{text}` ends with no number"))?;
        let number = number + u128::from(options.pool_offset);
        let address = nth(network, number)
            .with_context(|| format!("static-ip.pool: {network} is exhausted: it has no address number {number}"))?;
        let gateways = match options.pool_gateway.as_str() {
            "" => Vec::new(),
            gateway => vec![gateway.parse().with_context(|| format!("static-ip.pool-gateway: `{gateway}`"))?],
        };
        Ok(Some(Addresses {
            addresses: vec![Prefixed { address, length: network.length }],
            gateways,
            dns: options.pool_dns.clone(),
            from: format!("number {number} of static-ip.pool"),
            ..Addresses::default()
        }))
    }
}

/// The address with this number in a network; not the network's own, nor that which reaches all of it.
fn nth(network: Prefixed, number: u128) -> Option<IpAddr> {
    let bits = if network.address.is_ipv4() { 32 } else { 128 } - u32::from(network.length);
    let size = 1_u128.checked_shl(bits).unwrap_or(u128::MAX);
    let last = if network.address.is_ipv4() { size.saturating_sub(1) } else { size };
    if number == 0 || number >= last {
        return None;
    }
    Some(match network.address {
        IpAddr::V4(first) => IpAddr::V4((u32::from(first) + u32::try_from(number).ok()?).into()),
        IpAddr::V6(first) => IpAddr::V6((u128::from(first) + number).into()),
    })
}

/// Is the address that the pool gives someone else's, as far as can be seen from here?
///
/// # Errors
/// When it is.
pub fn check(taken: &mut Addresses, options: &Options, draft: &Draft<'_>, survey: &Survey) -> Result<()> {
    let Some(new) = taken.addresses.first().map(|one| one.address) else { return Ok(()) };
    if let Some(entry) = options.assign.iter().position(|entry| entry.addresses.iter().any(|one| one.address == new)) {
        bail!("{}: {new} is that of entry {} of static-ip.assign", taken.from, entry + 1);
    }
    let definitions = || survey.files.iter().flat_map(|file| &file.definitions);
    let is_server = |what| definitions().flat_map(|one| one.all(what)).any(|item| item.ip() == Some(new));
    if is_server(What::Gateway) || taken.gateways.contains(&new) {
        bail!("{}: {new} is the gateway's", taken.from);
    }
    // Once it is given, it is found where it was written.
    let is_given = draft.decided_of(Kind::IpAddress).any(|past| past.new.as_deref() == Some(&new.to_string()));
    if is_server(What::Address) && !is_given {
        bail!("{}: {new} is the template's own", taken.from);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_so_many_addresses() {
        let nth = |network: &str, number| nth(network.parse().unwrap(), number).map(|address| address.to_string());
        assert_eq!(nth("10.0.4.0/24", 17).as_deref(), Some("10.0.4.17"));
        assert_eq!(nth("10.0.4.0/22", 300).as_deref(), Some("10.0.5.44"));
        assert_eq!(nth("2001:db8::/64", 17).as_deref(), Some("2001:db8::11"));
        for (network, number) in
            [("10.0.4.0/24", 0), ("10.0.4.0/24", 255), ("10.0.4.0/24", 256), ("10.0.4.7/32", 1), ("::/128", 1)]
        {
            assert_eq!(nth(network, number), None, "{network} {number}");
        }
        assert!(Network::try_from("10.0.4.1/24".to_owned()).is_err());
    }
}
