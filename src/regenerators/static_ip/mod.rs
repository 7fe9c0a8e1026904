// SPDX-License-Identifier: MIT OR Apache-2.0
//! `static-ip`: addresses that the network configuration gives links, replaced where it is known by what.
//!
//! A machine that loses its address is out of reach, and one that keeps its template's takes the template off the
//! network. So an address goes only when the new one of that very link is known, and one that stays is told.

mod clash;
mod fresh;
mod pool;
mod suse;
mod targets;

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use self::clash::OnClash;
use self::pool::{Network, PoolFrom};
use self::targets::Target;
use super::Regenerator;
use super::network::Survey;
use crate::formats::network::addressing::{LinkSelector, Prefixed, Route};
use crate::formats::network::{Addresses, Edit, Family, Item, LinkKind, What};
use crate::plan::draft::{Draft, Purpose};
use crate::plan::{Kind, Renewal, Severity};
use crate::regenerators::hostname;

/// The regenerator.
pub struct StaticIp;

/// What becomes of an address for whose link nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Leave,
    Dhcp,
}

/// Table `[static-ip]`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    mode: Mode,
    pool: Network,
    pool_from: PoolFrom,
    pool_offset: u32,
    pool_gateway: String,
    pool_dns: Vec<IpAddr>,
    check: bool,
    on_clash: OnClash,
    assign: Vec<Assign>,
}

/// Which machine an entry of the table is for: every fact that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct MachineMatch {
    smbios_uuid: Option<String>,
    mac: Option<crate::formats::network::Mac>,
    serial: Option<String>,
    hostname: Option<String>,
}

/// `[[static-ip.assign]]`: what one link of one machine is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Assign {
    r#match: MachineMatch,
    link: LinkSelector,
    addresses: Vec<Prefixed>,
    gateways: Vec<IpAddr>,
    dns: Vec<IpAddr>,
    search: Vec<String>,
    routes: Vec<Route>,
    dhcp4: bool,
    dhcp6: bool,
}

impl Regenerator for StaticIp {
    const ID: &'static str = "static-ip";
    const ABOUT: &'static str = "Give links addresses of this machine's own in place of the template's";
    const EXAMPLE: &'static str = r#"[static-ip]
# A static address for whose link neither instance data nor anything below gives another. "leave": it stays, and is told. "dhcp": the link asks the
# network instead.
mode = "leave"
# One network from which a machine takes the address with its own number: "10.0.4.0/24"; empty for none. The number is
# what the host name ("hostname", which then must be given and not made at random) or the machine's serial number ("serial")
# ends with, and pool-offset is added. It goes to the one link that has a static address.
pool = ""
pool-from = "hostname"
pool-offset = 0
# Gateway and name servers of that network; without them those that are configured stay.
pool-gateway = ""
pool-dns = []
# true: before a link takes an address that this machine is told, all others on it are asked whether they have it: by ARP
# (RFC 5227) and IPv6's duplicate address detection (RFC 4862). That takes 4 s, and 10 s at the most; a link that is down is brought up for it. The
# running system asks, when it is reset: not a dry run, nor a guest below --root. Where a link has no carrier, the address is taken for free.
check = false
# What a link gets whose address somebody else has, for that family of addresses. "link-local": an address by which only its neighbours
# reach it. "dhcp": what the network gives it. "down": it is not brought up.
on-clash = "link-local"
# A table of machines. In `match` stand smbios-uuid, mac (of any of its devices), serial or hostname, in `link` its name, mac or
# path (pci-0000:00:03.0); without it the one link that is configured. Then dhcp4, dhcp6, dns, search, and routes with to, via
# and metric. A family of which nothing is said, and a list that is missing, are left as they are.
# [[static-ip.assign]]
# match = { smbios-uuid = "4c4c4544-0042-3510-8054-b7c04f4d3332" }
# link = { name = "eth0" }
# addresses = ["10.0.4.17/24", "2001:db8:4::17/64"]
# gateways = ["10.0.4.1"]
assign = []
"#;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        if draft.purpose == Purpose::Seal {
            return Ok(());
        }
        // A finished file says nothing of what it said, and what quotes the old value still has to follow.
        for earlier in draft.decided_of(Kind::IpAddress).cloned().collect::<Vec<_>>() {
            draft.renewed(earlier);
        }
        let mut survey = Survey::of(draft)?;
        let mut done = Vec::new();
        for known in known(options, draft, &survey)? {
            let targets =
                targets::of(&known.link, draft, &survey).with_context(|| format!("finding the link of {}", known.from));
            match targets {
                Ok(targets) => {
                    let (known, stays_down) = match options.check {
                        true => clash::heed(options.on_clash, draft, &survey, known, &targets)?,
                        false => (known, false),
                    };
                    if stays_down {
                        clash::stay_down(draft, &mut survey, &targets);
                    }
                    if !(stays_down && targets.is_empty()) {
                        done.extend(give(draft, &mut survey, &known, targets)?);
                    }
                }
                // A machine may be told of a link that it has not got, or not yet: its other links, and its name, are its own.
                Err(error) if draft.instance.addresses.contains(&known) => {
                    draft.finding(
                        Severity::Error,
                        StaticIp::ID,
                        format!("{error:#}; these addresses are taken by none"),
                    );
                }
                Err(error) => return Err(error),
            }
        }
        rest(options, draft, &mut survey, &done)?;
        survey.write(draft, "addresses of this machine's links")?;
        survey.tell_running(draft);
        Ok(())
    }
}

/// All that is known of this machine's links: by instance data, or the table, or the pool.
fn known(options: &Options, draft: &Draft<'_>, survey: &Survey) -> Result<Vec<Addresses>> {
    // A name that cannot be read is told by its own regenerator.
    let name = hostname::current(draft).ok().flatten().unwrap_or_default();
    // What the place tells this very machine goes before a table that was written for all.
    let mut found: Vec<Addresses> = draft.instance.addresses.clone();
    let is_told = !found.is_empty();
    for (number, entry) in
        options.assign.iter().enumerate().filter(|(_, entry)| !is_told && entry.r#match.holds(draft, &name))
    {
        found.push(entry.addresses(number + 1));
    }
    if found.is_empty()
        && let Some(mut taken) = options.pool.take(options, draft, &name)?
    {
        pool::check(&mut taken, options, draft, survey)?;
        found.push(taken);
    }
    for one in &found {
        check(one)?;
    }
    Ok(found)
}

/// Can a link have these?
fn check(addresses: &Addresses) -> Result<()> {
    for one in &addresses.addresses {
        let ip = one.address;
        let last = u8::from(ip.is_ipv4()) * 31 + u8::from(ip.is_ipv6()) * 127;
        if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() {
            anyhow::bail!("{}: {ip} is no address of a machine", addresses.from);
        }
        if one.length < last && one.network().address == ip {
            anyhow::bail!("{}: {one} is the address of a network, not of a machine", addresses.from);
        }
        if addresses.gateways.contains(&ip) || addresses.dns.contains(&ip) && addresses.gateways.is_empty() {
            anyhow::bail!("{}: {ip} is the gateway's or name server's", addresses.from);
        }
    }
    Ok(())
}

impl MachineMatch {
    /// Is it this machine? An entry that names nothing is none.
    fn holds(&self, draft: &Draft<'_>, name: &str) -> bool {
        let machine = &draft.guest.machine;
        let is = |wanted: &Option<String>, have: Option<&str>| {
            wanted.as_ref().map(|wanted| have.is_some_and(|have| have.eq_ignore_ascii_case(wanted)))
        };
        let label = name.split('.').next().unwrap_or_default();
        let facts = [
            is(&self.smbios_uuid, machine.smbios_uuid.as_deref()),
            is(&self.serial, machine.smbios_serial.as_deref()),
            self.mac.map(|mac| draft.guest.links.has(mac)),
            self.hostname.as_ref().map(|wanted| wanted == name || wanted == label),
        ];
        facts.iter().flatten().all(|holds| *holds) && facts.iter().any(Option::is_some)
    }
}

impl Assign {
    fn addresses(&self, number: usize) -> Addresses {
        let entry = self.clone();
        Addresses {
            link: entry.link,
            addresses: entry.addresses,
            gateways: entry.gateways,
            dns: entry.dns,
            search: entry.search,
            routes: entry.routes,
            dhcp4: entry.dhcp4,
            dhcp6: entry.dhcp6,
            on_link: Vec::new(),
            from: format!("entry {number} of static-ip.assign"),
        }
    }
}

/// Gives a link its addresses by every definition of it; and which families of which definitions are settled by that.
fn give(
    draft: &mut Draft<'_>,
    survey: &mut Survey,
    to: &Addresses,
    targets: Vec<Target>,
) -> Result<Vec<(usize, usize, Family)>> {
    let mut done = Vec::new();
    if targets.is_empty() {
        fresh::make(draft, survey, to)?;
    }
    suse::complete(draft, survey, to, &targets)?;
    for Target { file, definition, only_clear } in targets {
        let edits = survey.readdress(file, definition, to, only_clear)?;
        survey.files[file].edits.extend(edits);
        let what = &survey.files[file].definitions[definition];
        let old: Vec<IpAddr> = what.all(What::Address).filter_map(Item::ip).collect();
        let id = what.id.clone();
        for family in Family::ALL.into_iter().filter(|family| to.is_about(*family)) {
            done.push((file, definition, family));
            let new = to.of(family);
            for (index, old) in old.iter().filter(|old| Family::of(**old) == family).enumerate() {
                // Where there are fewer now, what quotes one that goes means the machine.
                renew(draft, &id, *old, new.get(index).or(new.first()).map(|new| new.address));
            }
        }
    }
    Ok(done)
}

impl Survey {
    fn readdress(&self, file: usize, definition: usize, to: &Addresses, only_clear: bool) -> Result<Vec<Edit>> {
        let file = &self.files[file];
        let edits = file.syntax.readdress(&file.text, &file.definitions[definition], to, only_clear);
        edits.with_context(|| format!("changing /{}", file.path))
    }
}

fn renew(draft: &mut Draft<'_>, link: &str, old: IpAddr, new: Option<IpAddr>) {
    if Some(old) != new {
        let (old, new) = (Some(old.to_string()), new.map(|new| new.to_string()));
        draft.renewed(Renewal { kind: Kind::IpAddress, subject: link.to_owned(), old, new });
    }
}

/// The static addresses for which nothing was known.
fn rest(options: &Options, draft: &mut Draft<'_>, survey: &mut Survey, done: &[(usize, usize, Family)]) -> Result<()> {
    for file in 0..survey.files.len() {
        for definition in 0..survey.files[file].definitions.len() {
            let open: Vec<Family> =
                Family::ALL.into_iter().filter(|family| !done.contains(&(file, definition, *family))).collect();
            one(options, draft, survey, (file, definition), &open)?;
        }
    }
    Ok(())
}

fn one(
    options: &Options,
    draft: &mut Draft<'_>,
    survey: &mut Survey,
    (file, definition): (usize, usize),
    open: &[Family],
) -> Result<()> {
    let what = &survey.files[file].definitions[definition];
    let is_open = |ip: &IpAddr| {
        let made = draft.decided_of(Kind::IpAddress).any(|past| past.new.as_deref() == Some(&ip.to_string()));
        open.contains(&Family::of(*ip)) && !is_local(*ip) && !made
    };
    let items = what.all(What::Address).filter(|item| item.ip().is_some_and(|ip| is_open(&ip)));
    let items: Vec<Item> = items.cloned().collect();
    let Some(first) = items.first() else { return Ok(()) };
    let (path, id) = (format!("/{}", survey.files[file].path), what.id.clone());
    let values: Vec<&str> = items.iter().map(|item| item.value.as_str()).collect();
    let told = format!("line {}: `{id}` has the static address {}", first.line, values.join(", "));
    // A bridge for this machine's own guests has no one to ask.
    let is_inner = what.kind == LinkKind::Virtual && what.all(What::Gateway).next().is_none();
    if options.mode == Mode::Leave {
        // Two machines with one address on a wire are the worst that a clone can do to its template.
        let severity = if is_inner { Severity::Warning } else { Severity::Error };
        draft.finding(severity, &path, format!("{told}; nothing says what is this machine's, so it is left"));
        return Ok(());
    }
    if is_inner {
        draft.finding(Severity::Error, &path, format!("{told}; no gateway is on this link, so it is left"));
        return Ok(());
    }
    let old: Vec<IpAddr> = items.iter().filter_map(Item::ip).collect();
    let has = |family| old.iter().any(|ip| Family::of(*ip) == family);
    let to = Addresses { dhcp4: has(Family::V4), dhcp6: has(Family::V6), ..Addresses::default() };
    match survey.readdress(file, definition, &to, false) {
        Ok(edits) => {
            survey.files[file].edits.extend(edits);
            for old in old {
                renew(draft, &id, old, None);
            }
        }
        Err(error) => draft.finding(Severity::Error, &path, format!("{told}, which is left: {error:#}")),
    }
    Ok(())
}

/// Addresses that mean the same on every machine.
fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified(),
    }
}
