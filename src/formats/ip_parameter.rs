// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's `ip=` parameter, Documentation/admin-guide/nfs/nfsroot.rst:
//! `CLIENT:SERVER:GATEWAY:NETMASK:HOSTNAME:DEVICE:AUTOCONF:DNS0:DNS1:NTP0`, or AUTOCONF alone.
//!
//! As dracut.cmdline(7) has it, the netmask may be the length of a prefix, and an IPv6 address stands in brackets. The
//! server, the NTP server and the methods `rarp` and `bootp` are of no use to a guest that has its root already.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};

use super::network::addressing::{Addresses, Prefixed};

/// The fields.
const MOST: usize = 10;

/// The host name and what the link is told; neither where the kernel is told to leave it alone.
///
/// # Errors
/// With the field that is wrong.
pub fn read(text: &str) -> Result<(Option<String>, Option<Addresses>)> {
    let fields = fields(text)?;
    ensure!(fields.len() <= MOST, "more than the {MOST} fields of ip=");
    if let [word] = fields[..]
        && !word.contains('.')
        && !word.contains(':')
    {
        return Ok((None, autoconf(word)?.then(dhcp)));
    }
    let field = |at: usize| fields.get(at).copied().filter(|field| !field.is_empty());
    let address = |at: usize, what: &str| -> Result<Option<IpAddr>> {
        let parse = |text: &str| text.parse().with_context(|| format!("`{text}` is no address of {what}"));
        // The kernel takes 0.0.0.0 for nothing.
        Ok(field(at).map(parse).transpose()?.filter(|address: &IpAddr| !address.is_unspecified()))
    };
    let mut told =
        if field(6).is_some_and(|word| word != "none") && autoconf(fields[6])? { dhcp() } else { Addresses::default() };
    if let Some(own) = address(0, "the machine")? {
        ensure!(!told.dhcp4, "an address and DHCP for the same link");
        told.addresses.push(Prefixed { address: own, length: prefix(field(3), own)? });
    }
    told.gateways.extend(address(2, "a gateway")?);
    for at in [7, 8] {
        told.dns.extend(address(at, "a name server")?);
    }
    told.link.name = field(5).map(str::to_owned);
    let says = !told.addresses.is_empty() || told.dhcp4;
    ensure!(says || (told.gateways.is_empty() && told.dns.is_empty()), "no address, and no DHCP");
    Ok((field(4).map(str::to_owned), says.then_some(told)))
}

/// Pieces between colons, but for those in brackets.
fn fields(text: &str) -> Result<Vec<&str>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('[') {
            Some(inside) => {
                let (field, after) = inside.split_once(']').context("`[` without `]`")?;
                ensure!(after.is_empty() || after.starts_with(':'), "`{after}` behind `]`");
                (field, after.strip_prefix(':'))
            }
            None => rest.split_once(':').map_or((rest, None), |(field, after)| (field, Some(after))),
        };
        fields.push(field);
        match after {
            Some(after) if fields.len() <= MOST => rest = after,
            _ => return Ok(fields),
        }
    }
}

/// Is an address had from the network?
fn autoconf(word: &str) -> Result<bool> {
    match word {
        "off" | "none" => Ok(false),
        "on" | "any" | "dhcp" => Ok(true),
        _ => bail!("`{word}` is no way to have an address: dhcp, on, any, off or none"),
    }
}

fn dhcp() -> Addresses {
    Addresses { dhcp4: true, ..Addresses::default() }
}

/// The kernel guesses a netmask that is missing from the address's class, which nobody means any more.
fn prefix(text: Option<&str>, own: IpAddr) -> Result<u8> {
    let text = text.context("no netmask")?;
    let most = if own.is_ipv4() { 32 } else { 128 };
    if let Ok(length) = text.parse::<u8>() {
        ensure!((1..=most).contains(&length), "`{text}` is no prefix length: 1 to {most}");
        return Ok(length);
    }
    match text.parse() {
        Ok(IpAddr::V4(mask)) if own.is_ipv4() => netmask(mask),
        _ => bail!("`{text}` is no netmask"),
    }
}

/// The length of the prefix that a netmask means.
///
/// # Errors
/// When its ones are not all at the front.
pub fn netmask(mask: std::net::Ipv4Addr) -> Result<u8> {
    let bits = u32::from(mask);
    ensure!(bits != 0 && bits.leading_ones() + bits.trailing_zeros() == 32, "`{mask}` is no netmask");
    Ok(bits.leading_ones() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_syntax_is_read() {
        let (name, told) = read("192.0.2.7::192.0.2.1:255.255.255.0:web-1:eth0:off:192.0.2.53:198.51.100.53").unwrap();
        let told = told.unwrap();
        assert_eq!(name.as_deref(), Some("web-1"));
        assert_eq!(told.addresses[0].to_string(), "192.0.2.7/24");
        assert_eq!((told.gateways[0].to_string(), told.dns.len()), ("192.0.2.1".to_owned(), 2));
        assert_eq!(told.link.name.as_deref(), Some("eth0"));
        let (name, told) = read("[2001:db8::7]::[2001:db8::1]:64::eth1:none").unwrap();
        let told = told.unwrap();
        assert_eq!((name, told.addresses[0].to_string()), (None, "2001:db8::7/64".to_owned()));
        assert_eq!(told.gateways[0].to_string(), "2001:db8::1");
        for text in ["dhcp", "on", "any", ":::::eth0:dhcp"] {
            assert!(read(text).unwrap().1.unwrap().dhcp4, "{text}");
        }
        assert_eq!(read(":::::eth0:dhcp").unwrap().1.unwrap().link.name.as_deref(), Some("eth0"));
        assert_eq!(read("off").unwrap(), (None, None));
        assert_eq!(read("::::web-2").unwrap(), (Some("web-2".to_owned()), None));
    }

    #[test]
    fn what_it_is_not_is_said() {
        for (text, part) in [
            ("192.0.2.7", "no netmask"),
            ("192.0.2.7:::255.0.255.0", "is no netmask"),
            ("192.0.2.7:::33", "no prefix length"),
            ("192.0.2.7:::0", "no prefix length"),
            ("192.0.2.300:::24", "no address of the machine"),
            ("192.0.2.7:::24:::dhcp", "an address and DHCP"),
            ("192.0.2.7::x:24", "no address of a gateway"),
            ("rarp", "no way to have an address"),
            ("", "no way to have an address"),
            ("[2001:db8::7", "without"),
            ("[2001:db8::7]x:", "behind"),
            ("::192.0.2.1", "no address, and no DHCP"),
            ("1:2:3:4:5:6:7:8:9:10:11", "more than the 10"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
