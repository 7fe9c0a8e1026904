// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which definitions of which files are about a link.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::formats::network::addressing::LinkSelector;
use crate::formats::network::{Definition, Syntax, What};
use crate::guest::links::{Configurator, Link};
use crate::plan::draft::Draft;
use crate::regenerators::network::{Survey, selects};

/// A definition by its place in the survey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Which file.
    pub file: usize,
    /// Which of its definitions.
    pub definition: usize,
    /// Has another definition of the same system the addresses, so that here they only go?
    pub only_clear: bool,
}

/// The definitions of the link that is meant, of every system one that gets its addresses; none where it is configured nowhere.
///
/// # Errors
/// When it is not clear which link that is.
pub fn of(selector: &LinkSelector, draft: &Draft<'_>, survey: &Survey) -> Result<Vec<Target>> {
    let names = names(selector, draft, survey)?;
    let links: Vec<&Link> = draft.guest.links.list.iter().filter(|link| names.contains(&link.name)).collect();
    let mut found: Vec<Target> = Vec::new();
    for owner in owners(survey) {
        let fits = |definition: &Definition| {
            is_named(definition, &names) || links.iter().any(|link| selects(definition, link))
        };
        let all: Vec<(usize, usize)> = places(survey)
            .filter(|(file, definition)| {
                let definition = &survey.files[*file].definitions[*definition];
                survey.files[*file].owner == owner && fits(definition) && !is_for_several(definition, draft)
            })
            .collect();
        let has_any = |place: &&(usize, usize)| definition(survey, **place).all(What::Address).next().is_some();
        let is_started = survey.charge.is_unknown() || survey.charge.has(owner);
        // What is not started, and cloud-init's files, only have their addresses corrected.
        let first =
            all.iter().find(has_any).or_else(|| all.first().filter(|_| is_started && owner != Configurator::CloudInit));
        let Some(first) = first else { continue };
        for place in &all {
            // ifupdown's stanzas of one link share its addresses among them.
            let shares = owner == Configurator::Ifupdown && place.0 == first.0;
            // Gateways beside the file that has the addresses.
            let shares = shares || survey.files[place.0].syntax == Syntax::Routes;
            let only_clear = place != first && !shares;
            if !only_clear || has_any(&place) {
                found.push(Target { file: place.0, definition: place.1, only_clear });
            }
        }
    }
    Ok(found)
}

/// The names, as they are now, of the devices that get what the link is told that is meant; where none is seen, its names.
///
/// # Errors
/// When it is not clear which link that is.
pub fn links(
    selector: &LinkSelector,
    draft: &Draft<'_>,
    survey: &Survey,
    targets: &[Target],
) -> Result<BTreeSet<String>> {
    let names = names(selector, draft, survey)?;
    // A link that gets its name by a definition has another one until then.
    let is_meant = |link: &&Link| {
        let mut definitions = targets.iter().map(|target| definition(survey, (target.file, target.definition)));
        names.contains(&link.name) || definitions.any(|definition| selects(definition, link))
    };
    let seen: BTreeSet<String> = draft.guest.links.devices().filter(is_meant).map(|link| link.name.clone()).collect();
    Ok(if seen.is_empty() { names } else { seen })
}

/// The names of the one link that is meant.
fn names(selector: &LinkSelector, draft: &Draft<'_>, survey: &Survey) -> Result<BTreeSet<String>> {
    let LinkSelector { name, mac, path } = selector;
    if mac.is_some() || path.is_some() {
        let fits = |link: &&Link| {
            mac.is_none_or(|mac| link.permanent_mac == Some(mac))
                && path.as_ref().is_none_or(|path| link.path.as_ref() == Some(path))
                && name.as_ref().is_none_or(|name| link.name == *name)
        };
        let links: Vec<&Link> = draft.guest.links.devices().filter(fits).collect();
        let [link] = links[..] else {
            bail!("{} of this machine's devices fit {}", links.len(), told(selector));
        };
        return Ok([link.name.clone()].into());
    }
    if let Some(name) = name {
        return Ok([name.clone()].into());
    }
    // The one link that has static addresses, or that is configured at all, or the one device.
    let about = |fits: &dyn Fn(&Definition) -> bool| -> BTreeSet<String> {
        places(survey)
            .map(|place| definition(survey, place))
            .filter(|one| one.id != "lo" && fits(one))
            .map(|one| one.id.clone())
            .collect()
    };
    let has_static = about(&|definition| definition.all(What::Address).next().is_some());
    let has_method = about(&|definition| definition.all(What::Method).any(|item| item.value != "loopback"));
    let devices: BTreeSet<String> = draft.guest.links.devices().map(|link| link.name.clone()).collect();
    for names in [has_static, has_method, devices] {
        match names.len() {
            0 => {}
            1 => return Ok(names),
            count => bail!(
                "{count} links may be meant ({}), and `link` names none",
                names.into_iter().collect::<Vec<_>>().join(", ")
            ),
        }
    }
    bail!("no link is configured, and `link` names none")
}

fn told(selector: &LinkSelector) -> String {
    let mac = selector.mac.map(|mac| format!("the address {mac}"));
    let path = selector.path.as_ref().map(|path| format!("the path {path}"));
    let name = selector.name.as_ref().map(|name| format!("the name {name}"));
    mac.into_iter().chain(path).chain(name).collect::<Vec<_>>().join(" and ")
}

fn is_named(definition: &Definition, names: &BTreeSet<String>) -> bool {
    let selector = &definition.selector;
    names.contains(&definition.id) || selector.set_name.iter().chain(&selector.names).any(|name| names.contains(name))
}

/// Does a pattern of names mean more than one of this machine's devices?
fn is_for_several(definition: &Definition, draft: &Draft<'_>) -> bool {
    let has_pattern = definition.selector.names.iter().any(|name| name.contains(['*', '?', '[', '!']));
    has_pattern && draft.guest.links.devices().filter(|link| selects(definition, link)).count() != 1
}

fn owners(survey: &Survey) -> BTreeSet<Configurator> {
    survey.files.iter().map(|file| file.owner).filter(|owner| *owner != Configurator::Udev).collect()
}

/// Every definition that may have addresses.
fn places(survey: &Survey) -> impl Iterator<Item = (usize, usize)> {
    let has_addresses = |syntax| {
        !matches!(syntax, Syntax::NetworkdNetdev | Syntax::Link | Syntax::UdevRules | Syntax::NetworkManagerConf)
    };
    let files = survey.files.iter().enumerate().filter(move |(_, file)| has_addresses(file.syntax));
    files.flat_map(|(index, file)| (0..file.definitions.len()).map(move |definition| (index, definition)))
}

fn definition(survey: &Survey, (file, definition): (usize, usize)) -> &Definition {
    &survey.files[file].definitions[definition]
}
