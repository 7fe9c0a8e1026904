// SPDX-License-Identifier: MIT OR Apache-2.0
//! What knows a device by the template's address is given the address of this machine's device.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::{Moved, Options, TemplateDevice, left, template};
use crate::formats::network::{Definition, Item, Mac, What};
use crate::guest::links::{Configurator, Link};
use crate::plan::Kind;
use crate::plan::draft::Draft;
use crate::regenerators::network::Survey;

/// Moves every match on an address that no device has.
pub fn follow(options: &Options, draft: &mut Draft<'_>, survey: &mut Survey) -> Result<Vec<Moved>> {
    let stale = stale(draft, survey);
    let answers = answers(options, draft, survey, &stale);
    let mut moved = Vec::new();
    let mut decided = Vec::new();
    for file in &mut survey.files {
        for definition in &file.definitions {
            let names: Vec<&str> = names(definition).collect();
            for item in definition.all(What::Match) {
                let Some(old) = item.mac().filter(|mac| stale.contains(mac)) else { continue };
                if options.keeps(&names) {
                    continue;
                }
                match &answers[&old] {
                    Ok(link) => {
                        let Some(new) = link.permanent_mac else { continue };
                        file.edits.push(item.with(new.like(&item.value)));
                        decided.push((link.subject(), old, new));
                        let by_udev = is_by_udev(file.owner, definition);
                        moved.push(Moved { link: link.name.clone(), address: None, by_udev });
                    }
                    Err(why) => left(
                        draft,
                        &file.path,
                        item.line,
                        &format!("`{}` is known by the address {old}, which no device here has; {why}", definition.id),
                    ),
                }
            }
        }
    }
    for (subject, old, new) in decided {
        draft.decide_value(Kind::MacAddress, &subject, &old.to_string(), &new.to_string());
    }
    Ok(moved)
}

/// Does udev name or set up the link by this definition? netplan's `set-name` and matches become .link files.
fn is_by_udev(owner: Configurator, definition: &Definition) -> bool {
    owner == Configurator::Udev || definition.selector.set_name.is_some()
}

/// The names by which a definition calls its link, the surest first.
fn names(definition: &Definition) -> impl Iterator<Item = &str> {
    let selector = &definition.selector;
    selector.set_name.iter().chain(&selector.names).chain([&definition.id]).map(String::as_str)
}

/// Addresses by which a device is known, and that none has.
fn stale(draft: &Draft<'_>, survey: &Survey) -> BTreeSet<Mac> {
    let all = survey.files.iter().flat_map(|file| &file.definitions).flat_map(|definition| definition.all(What::Match));
    // One that was made, and pinned since, is no device's, and not the template's.
    let made: BTreeSet<Mac> =
        draft.decided_of(Kind::MacAddress).filter_map(|past| past.new.as_ref()?.parse().ok()).collect();
    all.filter_map(|item| item.mac())
        .filter(|mac| mac.is_unicast() && !made.contains(mac))
        .filter(|mac| {
            !draft
                .guest
                .links
                .list
                .iter()
                .any(|link| link.permanent_mac == Some(*mac) || link.mac == Some(*mac) && link.permanent_mac.is_none())
        })
        .collect()
}

/// For each stale address this machine's device, or why it is not known. A device is never given to two of them.
fn answers(
    options: &Options,
    draft: &Draft<'_>,
    survey: &Survey,
    stale: &BTreeSet<Mac>,
) -> BTreeMap<Mac, Result<Link, String>> {
    let links: Vec<Link> = draft.guest.links.devices().cloned().collect();
    let template = template(draft);
    let mut found: BTreeMap<Mac, Vec<Link>> = BTreeMap::new();
    for mac in stale {
        // What an earlier part of this run decided stands.
        let decided = draft.decided_of(Kind::MacAddress).find(|past| past.old.as_deref() == Some(&mac.to_string()));
        let decided = decided.and_then(|past| past.new.as_ref()?.parse::<Mac>().ok());
        let decided = links.iter().find(|link| decided.is_some() && link.permanent_mac == decided);
        let link = decided.cloned().map_or_else(|| candidates(*mac, survey, &links, &template), |link| vec![link]);
        found.insert(*mac, link);
    }
    // What is left on both sides, where it is one each, or in order if policy allows that.
    let taken: BTreeSet<String> =
        found.values().filter(|links| links.len() == 1).map(|links| links[0].name.clone()).collect();
    let free: Vec<&Link> = links.iter().filter(|link| !taken.contains(&link.name) && !is_known(survey, link)).collect();
    let open: Vec<Mac> =
        in_order(found.iter().filter(|(_, links)| links.is_empty()).map(|(mac, _)| *mac).collect(), survey);
    if open.len() == free.len() && (open.len() == 1 || options.by_order) {
        for (mac, link) in open.iter().zip(free) {
            found.insert(*mac, vec![link.clone()]);
        }
    }
    let claims = found.clone();
    let answer = |(mac, links): (Mac, Vec<Link>)| {
        let answer = match &links[..] {
            [] if draft.guest.links.list.is_empty() => Err("the devices of this machine are not seen".to_owned()),
            [] => Err("nothing tells which of this machine's devices is meant".to_owned()),
            [link] => {
                let rival = claims.iter().find(|(other, links)| **other != mac && links.contains(link));
                match rival {
                    Some((other, _)) => Err(format!("{} is claimed by {other} too", link.name)),
                    None => Ok(link.clone()),
                }
            }
            several => {
                let names: Vec<&str> = several.iter().map(|link| link.name.as_str()).collect();
                Err(format!("it may be {}", names.join(" or ")))
            }
        };
        (mac, answer)
    };
    found.into_iter().map(answer).collect()
}

/// The devices that what stands beside an address names: where the template had it, where the definition looks for it, and
/// what it is called. The first of these that says anything decides.
fn candidates(mac: Mac, survey: &Survey, links: &[Link], template: &[TemplateDevice]) -> Vec<Link> {
    let definitions: Vec<&Definition> = survey
        .files
        .iter()
        .flat_map(|file| &file.definitions)
        .filter(|definition| definition.all(What::Match).any(|item| item.mac() == Some(mac)))
        .collect();
    let devices = template.iter().filter(|device| device.mac == mac);
    let paths = devices.clone().filter_map(|device| device.path.clone());
    let paths: Vec<String> =
        paths.chain(definitions.iter().flat_map(|definition| definition.selector.paths.clone())).collect();
    let names = devices.filter_map(|device| device.name.clone());
    let names: Vec<String> =
        names.chain(definitions.iter().flat_map(|definition| self::names(definition)).map(str::to_owned)).collect();
    let by = |fits: &dyn Fn(&Link) -> bool| -> Vec<Link> { links.iter().filter(|link| fits(link)).cloned().collect() };
    let by_path = by(&|link| link.path.as_ref().is_some_and(|path| paths.contains(path)));
    if by_path.is_empty() { by(&|link| names.contains(&link.name)) } else { by_path }
}

/// Is a device known by its own address already, or by its very name? A pattern of names knows all.
fn is_known(survey: &Survey, link: &Link) -> bool {
    survey.files.iter().flat_map(|file| &file.definitions).any(|definition| {
        let mut matches = definition.all(What::Match).filter_map(Item::mac).peekable();
        match matches.peek() {
            Some(_) => matches.any(|mac| Some(mac) == link.permanent_mac),
            None => definition.selector.names.contains(&link.name),
        }
    })
}

/// Addresses in the order of what is known by them: `eth2` before `eth10`.
fn in_order(macs: Vec<Mac>, survey: &Survey) -> Vec<Mac> {
    let name = |mac: &Mac| {
        let mut definitions = survey.files.iter().flat_map(|file| &file.definitions);
        let definition =
            definitions.find(|definition| definition.all(What::Match).any(|item| item.mac() == Some(*mac)));
        let name = definition.and_then(|definition| names(definition).next()).unwrap_or_default().to_owned();
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let number: u32 = name[stem.len()..].parse().unwrap_or(0);
        (stem, number)
    };
    let mut macs = macs;
    macs.sort_by_cached_key(name);
    macs
}
