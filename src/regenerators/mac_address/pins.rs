// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses that configuration gives a link in place of its device's.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{Copied, Moved, Options, Pinned, TemplateDevice, template};
use crate::formats::network::{Definition, Item, LinkKind, Mac, What};
use crate::guest::links::{Configurator, Link};
use crate::plan::draft::Draft;
use crate::plan::{Kind, Renewal, Severity};
use crate::regenerators::network::{File, Survey, selects};

/// Takes pinned addresses away, or makes new ones.
pub fn release(options: &Options, draft: &mut Draft<'_>, survey: &mut Survey) -> Result<Vec<Moved>> {
    if options.pinned == Pinned::Keep {
        return Ok(Vec::new());
    }
    let template = template(draft);
    let matched: BTreeSet<Mac> = all(survey, What::Match).filter_map(Item::mac).collect();
    let (mut moved, mut decided) = (Vec::new(), Vec::new());
    for file in &mut survey.files {
        for definition in &file.definitions {
            for item in definition.all(What::Pin) {
                // `permanent`, `stable`, `random` and the like pin nothing.
                let Some(old) = item.mac().filter(|mac| mac.is_unicast()) else { continue };
                if options.keeps(&[definition.id.as_str()]) || is_own(draft, old) {
                    continue;
                }
                if old.is_shared_on_purpose() {
                    let message =
                        format!("line {}: {old} is of VRRP, which machines share on purpose; it stays", item.line);
                    draft.finding(Severity::Note, &format!("/{}", file.path), message);
                    continue;
                }
                let repeated = definition.kind == LinkKind::Virtual
                    && (template.iter().any(|device| device.mac == old) || matched.contains(&old));
                let device = repeated.then(|| counterpart(draft, &template, old, &decided)).flatten();
                let new = match (options.pinned, device) {
                    (_, Some(mac)) => Some(mac),
                    (Pinned::Renew, None) => Some(options.make(draft, old)),
                    _ => None,
                };
                file.edits.push(new.map_or_else(|| item.without(), |new| item.with(new.like(&item.value))));
                let by_udev = file.owner == Configurator::Udev;
                for link in draft.guest.links.devices().filter(|link| by_udev && link.mac == Some(old)) {
                    moved.push(Moved { link: link.name.clone(), address: new.or(link.permanent_mac), by_udev });
                }
                decided.push(Renewal {
                    kind: Kind::MacAddress,
                    subject: definition.id.clone(),
                    old: Some(old.to_string()),
                    new: new.map(|new| new.to_string()),
                });
            }
        }
    }
    for renewal in decided {
        draft.renewed(renewal);
    }
    Ok(moved)
}

fn all(survey: &Survey, what: What) -> impl Iterator<Item = &Item> {
    survey.files.iter().flat_map(|file| &file.definitions).flat_map(move |definition| definition.all(what))
}

/// Is it an address of this machine already: its device's, or one that was made for it?
fn is_own(draft: &Draft<'_>, mac: Mac) -> bool {
    let copied = template(draft).iter().any(|device| device.mac == mac);
    let made = draft.decided_of(Kind::MacAddress).any(|past| past.new.as_deref() == Some(&mac.to_string()));
    made || draft.guest.links.has(mac) && !copied
}

/// The address of the device here that stands where the template's device stood, as far as that was decided or recorded.
fn counterpart(draft: &Draft<'_>, template: &[TemplateDevice], old: Mac, decided: &[Renewal]) -> Option<Mac> {
    let text = old.to_string();
    let mut known = draft.decided_now(Kind::MacAddress).chain(draft.decided_of(Kind::MacAddress)).chain(decided);
    if let Some(new) =
        known.find(|renewal| renewal.old.as_ref() == Some(&text)).and_then(|renewal| renewal.new.as_ref())
    {
        return new.parse().ok();
    }
    let device = template.iter().find(|device| device.mac == old)?;
    let mut links = draft.guest.links.devices();
    let fits = |link: &&Link| match &device.path {
        Some(path) => link.path.as_ref() == Some(path),
        None => device.name.as_ref() == Some(&link.name),
    };
    links.find(fits).and_then(|link| link.permanent_mac)
}

/// Gives a link whose device has the template's own address another one, by the configuration that is in charge of it.
pub fn override_copied(options: &Options, draft: &mut Draft<'_>, survey: &mut Survey) -> Result<Vec<Moved>> {
    let template = template(draft);
    let mut moved = Vec::new();
    for link in draft.guest.links.devices().cloned().collect::<Vec<_>>() {
        let Some(old) = link.permanent_mac.filter(|mac| template.iter().any(|device| device.mac == *mac)) else {
            continue;
        };
        if options.copied == Copied::Report {
            let message = format!(
                "its device has the template's own address {old}: unless this machine is the template, the hypervisor \
                 copied it; `mac-address.copied = \"renew\"` gives the link another"
            );
            draft.finding(Severity::Warning, &link.name, message);
            continue;
        }
        let new = options.make(draft, old);
        let done = |file: &File| file.definitions.iter().any(|d| d.all(What::Pin).any(|item| item.mac() == Some(new)));
        draft.decide_value(Kind::MacAddress, &link.subject(), &old.to_string(), &new.to_string());
        if survey.files.iter().any(done) {
            continue;
        }
        if options.keeps(&[link.name.as_str()]) {
            continue;
        }
        match place(survey, &link, new) {
            Some(by_udev) => moved.push(Moved { link: link.name.clone(), address: Some(new), by_udev }),
            None => {
                let message = format!(
                    "its device has the template's own address {old}, and no file that configures it has a place for another"
                );
                draft.finding(Severity::Error, &link.name, message);
            }
        }
    }
    Ok(moved)
}

/// Pins an address where the link is configured. Is it udev that reads it?
fn place(survey: &mut Survey, link: &Link, new: Mac) -> Option<bool> {
    let charge = survey.in_charge(link);
    let fits = |definition: &Definition| definition.kind == LinkKind::Device && selects(definition, link);
    for file in survey.files.iter_mut().filter(|file| charge.contains(&file.owner)) {
        // A fragment of a pattern would give the address to all links that it fits.
        let alone = |definition: &&Definition| {
            fits(definition) && !definition.selector.names.iter().any(|name| name.contains(['*', '?', '[', '!']))
        };
        if let Some(definition) = file.definitions.iter().find(alone)
            && let Some(edit) = file.syntax.pin(&file.text, definition, new)
        {
            file.edits.push(edit);
            return Some(file.owner == Configurator::Udev);
        }
    }
    None
}
