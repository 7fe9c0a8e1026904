// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one source says, checked: every name and address of instance data passes through here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};
use base64ct::{Base64, Encoding as _};
use serde::Deserialize;

use super::LARGEST;
use crate::formats::ip_parameter;
use crate::formats::name_template::check;
use crate::formats::network::LONGEST_NAME;
use crate::formats::network::addressing::Addresses;
use crate::plan::show::printable;

/// More links than this are no clone's.
const MOST_LINKS: usize = 64;
/// More addresses, routes or servers of one link are none's.
const MOST_OF_A_LINK: usize = 64;

/// What one source says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// Where it comes from, as it is told.
    pub from: String,
    /// The host name.
    pub hostname: Option<String>,
    /// What links are told.
    pub addresses: Vec<Addresses>,
    /// Policy keys, `table.key`.
    pub policy: BTreeMap<String, toml::Value>,
    /// What of it is left out, a sentence each.
    pub left: Vec<String>,
}

/// `instance.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    hostname: Option<String>,
    addresses: Vec<Addresses>,
    policy: BTreeMap<String, toml::Table>,
}

impl Told {
    /// Nothing yet.
    pub fn by(from: impl Into<String>) -> Told {
        Told { from: from.into(), ..Told::default() }
    }

    /// Takes what a source calls `hostname`, `ip` (the kernel's syntax) or `instance` (the text of an `instance.toml`).
    ///
    /// # Errors
    /// When the name is another, or the value malformed; the error does not repeat more of it than that.
    pub fn take(&mut self, name: &str, value: &[u8]) -> Result<()> {
        let take = |told: &mut Told| -> Result<()> {
            let text = text(value)?;
            match name {
                "hostname" => told.name(text.trim()),
                "ip" => text.lines().map(str::trim).filter(|line| !line.is_empty()).try_for_each(|line| told.ip(line)),
                "instance" => told.toml(text),
                _ => bail!("unknown name, expected hostname, ip or instance"),
            }
        };
        take(self).with_context(|| format!("`{}`", printable(name)))
    }

    /// As [`Told::take`], of text that is in base64, RFC 4648.
    ///
    /// # Errors
    /// Those of [`Told::take`], and when it is not.
    pub fn take_base64(&mut self, name: &str, value: &[u8]) -> Result<()> {
        let text: String = text(value)?.split_whitespace().collect();
        let bytes = Base64::decode_vec(&text).map_err(|_| anyhow::anyhow!("`{}`: not in base64", printable(name)))?;
        self.take(name, &bytes)
    }

    /// Takes a host name.
    ///
    /// # Errors
    /// When it can be none, or is another than before.
    pub fn name(&mut self, name: &str) -> Result<()> {
        check_name(name)?;
        if let Some(other) = self.hostname.as_ref().filter(|other| *other != name) {
            bail!("two host names, {other} and {name}");
        }
        self.hostname = Some(name.to_owned());
        Ok(())
    }

    /// Takes what links are told.
    ///
    /// # Errors
    /// When no link could have it.
    pub fn links(&mut self, links: Vec<Addresses>) -> Result<()> {
        links.iter().try_for_each(check_addresses)?;
        self.addresses.extend(links);
        ensure!(self.addresses.len() <= MOST_LINKS, "more than {MOST_LINKS} links");
        Ok(())
    }

    fn ip(&mut self, text: &str) -> Result<()> {
        let (name, addresses) = ip_parameter::read(text)?;
        if let Some(name) = name {
            self.name(&name)?;
        }
        self.links(addresses.into_iter().collect())
    }

    fn toml(&mut self, text: &str) -> Result<()> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let message = error.message().trim_end().replace('\n', " ");
            match line {
                Some(line) => anyhow::anyhow!("line {line}: {message}"),
                None => anyhow::anyhow!(message),
            }
        })?;
        if let Some(name) = &file.hostname {
            self.name(name)?;
        }
        ensure!(file.addresses.iter().all(|told| told.from.is_empty()), "`from` is not for instance data to say");
        self.links(file.addresses)?;
        for (table, keys) in file.policy {
            self.policy.extend(keys.into_iter().map(|(key, value)| (format!("{table}.{key}"), value)));
        }
        Ok(())
    }
}

fn text(value: &[u8]) -> Result<&str> {
    ensure!(value.len() <= LARGEST, "more than {LARGEST} bytes");
    // QEMU and some tools end strings as C does.
    let value = value.strip_suffix(b"\0").unwrap_or(value);
    std::str::from_utf8(value).context("not UTF-8")
}

/// Can this be the name of a machine?
///
/// # Errors
/// A sentence that says why not.
pub fn check_name(name: &str) -> Result<()> {
    check(name).map_err(|error| anyhow::anyhow!(printable(&error.to_string())))?;
    ensure!(
        !name.split('.').next().is_some_and(|label| label.eq_ignore_ascii_case("localhost")),
        "`{name}` names every machine"
    );
    Ok(())
}

/// Can a link have all of this?
///
/// # Errors
/// A sentence that says why not.
pub fn check_addresses(told: &Addresses) -> Result<()> {
    if let Some(name) = &told.link.name {
        // dev_valid_name() in the kernel's net/core/dev.c; what is beyond ASCII would only be hard to read.
        let good = |c: char| c.is_ascii_graphic() && !"/:%".contains(c);
        let fits = (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(good) && name != "." && name != "..";
        ensure!(fits, "`{}` is no name of a link", printable(name));
    }
    if let Some(path) = &told.link.path {
        ensure!(
            path.len() <= 256 && path.chars().all(|c| c.is_ascii_graphic()),
            "`{}` is no path of a device",
            printable(path)
        );
    }
    let counts = [told.addresses.len(), told.gateways.len(), told.dns.len(), told.search.len(), told.routes.len()];
    ensure!(counts.iter().all(|count| *count <= MOST_OF_A_LINK), "more than {MOST_OF_A_LINK} addresses for one link");
    for address in &told.addresses {
        ensure!(is_a_host(address.address) && address.length > 0, "{address} is no address of a link");
        // RFC 950: all bits of the host zero are the network, all one every host of it; RFC 3021: but for two addresses.
        if let (IpAddr::V4(own), true) = (address.address, address.length < 31) {
            let host = u32::MAX >> address.length;
            let bits = u32::from(own) & host;
            ensure!(bits != 0 && bits != host, "{address} is the address of a network or a broadcast, of no link");
        }
    }
    for address in told.gateways.iter().chain(told.routes.iter().map(|route| &route.via)) {
        ensure!(is_a_host(*address), "{address} is no address of a router");
    }
    for family in [IpAddr::is_ipv4, IpAddr::is_ipv6] {
        ensure!(
            told.gateways.iter().filter(|gateway| family(gateway)).count() <= 1,
            "two default gateways of one family"
        );
    }
    for route in &told.routes {
        ensure!(
            route.to.address.is_ipv4() == route.via.is_ipv4(),
            "the route to {} leads through {}",
            route.to,
            route.via
        );
    }
    for server in &told.dns {
        ensure!(!server.is_unspecified() && !is_group(*server), "{server} is no address of a name server");
    }
    for domain in &told.search {
        check_domain(domain)?;
    }
    Ok(())
}

/// One machine's: not a group's, everybody's, nobody's or the machine's own loopback.
fn is_a_host(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !is_group(address)
}

fn is_group(address: IpAddr) -> bool {
    address.is_multicast() || matches!(address, IpAddr::V4(four) if four.is_broadcast() || four.octets()[0] >= 240)
}

fn check_domain(domain: &str) -> Result<()> {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    };
    let name = domain.strip_suffix('.').unwrap_or(domain);
    ensure!(domain.len() <= 253 && name.split('.').all(label), "`{}` is no domain", printable(domain));
    Ok(())
}
