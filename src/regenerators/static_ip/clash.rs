// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses that the network says are another's, and what their link gets instead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::targets::{self, Target};
use crate::formats::network::addressing::Prefixed;
use crate::formats::network::{Addresses, Family, Mac, Syntax};
use crate::guest::links::Configurator;
use crate::plan::Severity;
use crate::plan::draft::Draft;
use crate::plan::probed::Wanted;
use crate::regenerators::network::Survey;

/// What a link gets whose address somebody else has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnClash {
    /// An address by which it reaches only its neighbours.
    #[default]
    LinkLocal,
    /// What the network gives it.
    Dhcp,
    /// Nothing: it stays down.
    Down,
}

/// Has others asked for the addresses, or heeds what they said: what the link gets, and whether it stays down.
///
/// # Errors
/// When it is not clear which link is meant.
pub fn heed(
    on_clash: OnClash,
    draft: &mut Draft<'_>,
    survey: &Survey,
    known: Addresses,
    targets: &[Target],
) -> Result<(Addresses, bool)> {
    let links = targets::links(&known.link, draft, survey, targets)?;
    let all: Vec<IpAddr> = known.addresses.iter().map(|one| one.address).collect();
    let mut clashes: Vec<(String, IpAddr, Mac)> = Vec::new();
    for link in &links {
        let (asked, open): (Vec<IpAddr>, Vec<IpAddr>) =
            all.iter().partition(|address| draft.probed().was_asked(link, **address));
        if !open.is_empty() && draft.can_probe() {
            draft.probe(Wanted { link: link.clone(), addresses: open });
        } else if !open.is_empty() {
            let message = format!("nobody can be asked from here whether {} is free", list(&open));
            draft.finding(Severity::Note, link, message);
        }
        let unasked = draft.probed().unasked.iter().find(|one| one.link == *link).map(|one| one.why.clone());
        if let (Some(why), false) = (unasked, asked.is_empty()) {
            let message = format!("nobody could be asked for {}: {why}; the link takes what it was told", list(&asked));
            draft.finding(Severity::Warning, link, message);
        }
        let owned = asked.iter().filter_map(|ip| Some((link.clone(), *ip, draft.probed().owner(link, *ip)?)));
        clashes.extend(owned);
    }
    if clashes.is_empty() {
        return Ok((known, false));
    }
    let families: Vec<Family> = clashes.iter().map(|(_, ip, _)| Family::of(*ip)).collect();
    let instead = instead(on_clash, draft, &known, &families, &clashes[0].0);
    for (link, address, owner) in clashes {
        let family = Family::of(address);
        let gets = match on_clash {
            OnClash::LinkLocal => format!("the link gets {} instead", list(&ips(&instead, family))),
            OnClash::Dhcp => "the link asks the network for one".to_owned(),
            OnClash::Down => {
                format!("the link stays down, and gets {} when it is brought up", list(&ips(&instead, family)))
            }
        };
        draft.finding(Severity::Error, &link, format!("{owner} has {address} already ({}); {gets}", known.from));
    }
    Ok((instead, on_clash == OnClash::Down))
}

/// The same addresses, but for those of these families.
fn instead(on_clash: OnClash, draft: &Draft<'_>, known: &Addresses, families: &[Family], link: &str) -> Addresses {
    let mut instead = known.clone();
    let stays = |ip: IpAddr| !families.contains(&Family::of(ip));
    instead.addresses.retain(|one| stays(one.address));
    instead.gateways.retain(|ip| stays(*ip));
    instead.routes.retain(|route| stays(route.via));
    for family in Family::ALL.into_iter().filter(|family| families.contains(family)) {
        match (on_clash, family) {
            (OnClash::Dhcp, Family::V4) => instead.dhcp4 = true,
            (OnClash::Dhcp, Family::V6) => instead.dhcp6 = true,
            (OnClash::LinkLocal | OnClash::Down, family) => {
                instead.addresses.push(link_local(draft, link, family));
                instead.on_link.push(family);
            }
        }
    }
    instead
}

/// An address of this run's for a link, of RFC 3927 section 2.1 or RFC 4291 section 2.5.6.
fn link_local(draft: &Draft<'_>, link: &str, family: Family) -> Prefixed {
    let [a, b, c, d, e, f, g, h, ..] = draft.seed().derive(&format!("link-local/{link}"));
    match family {
        // The first and the last 256 are not to be used.
        Family::V4 => Prefixed { address: Ipv4Addr::new(169, 254, 1 + a % 254, b).into(), length: 16 },
        Family::V6 => {
            let bytes = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a, b, c, d, e, f, g, h];
            Prefixed { address: Ipv6Addr::from(bytes).into(), length: 64 }
        }
    }
}

/// Has the link of these definitions stay down.
pub fn stay_down(draft: &mut Draft<'_>, survey: &mut Survey, targets: &[Target]) {
    for target in targets {
        let file = &survey.files[target.file];
        let definition = file.definitions[target.definition].clone();
        let is_ifupdown = file.syntax == Syntax::Ifupdown;
        for index in 0..survey.files.len() {
            let file = &mut survey.files[index];
            let has_name = is_ifupdown && file.owner == Configurator::Ifupdown;
            if index != target.file && !has_name {
                continue;
            }
            match file.syntax.stay_down(&file.text, &definition) {
                Ok(edits) => file.edits.extend(edits),
                Err(error) => {
                    let message = format!("{error:#}; the link is brought up");
                    draft.finding(Severity::Error, &format!("/{}", file.path), message);
                }
            }
        }
    }
}

fn ips(addresses: &Addresses, family: Family) -> Vec<IpAddr> {
    addresses.of(family).iter().map(|one| one.address).collect()
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
