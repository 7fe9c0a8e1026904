// SPDX-License-Identifier: MIT OR Apache-2.0
//! What SUSE keeps beside a link's own file: its default route in ifroute(5), and name servers for the whole machine.

use anyhow::Result;

use super::targets::Target;
use crate::formats::assignments;
use crate::formats::network::{Addresses, Edit, Family, Syntax, What};
use crate::plan::Severity;
use crate::plan::draft::Draft;
use crate::regenerators::network::Survey;

/// netconfig(8)'s settings.
const CONFIG: &str = "etc/sysconfig/network/config";

/// Drafts what the link's own files have no place for.
pub fn complete(draft: &mut Draft<'_>, survey: &mut Survey, to: &Addresses, targets: &[Target]) -> Result<()> {
    let Some(own) = targets.iter().find(|target| survey.files[target.file].syntax == Syntax::IfcfgSuse) else {
        return Ok(());
    };
    let link = survey.files[own.file].definitions[own.definition].id.clone();
    let why = format!("{} for {link}", to.from);
    let path = format!("etc/sysconfig/network/ifroute-{link}");
    let is_missing = |family: &Family| {
        let has = |target: &Target| {
            let file = &survey.files[target.file];
            let mut gateways = file.definitions[target.definition].all(What::Gateway).filter_map(|item| item.ip());
            file.syntax == Syntax::Routes && gateways.any(|ip| Family::of(ip) == *family)
        };
        to.is_about(*family) && !targets.iter().any(has)
    };
    let gateways = Family::ALL.into_iter().filter(is_missing).filter_map(|family| to.gateway(family));
    let lines: String = gateways.map(|gateway| format!("default {gateway} - {link}\n")).collect();
    if !lines.is_empty() {
        let end = |text: &str| if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        match survey.files.iter_mut().find(|file| file.path == path) {
            Some(file) => {
                let (at, end) = (file.text.len(), end(&file.text));
                file.edits.push(Edit { span: at..at, new: format!("{end}{lines}") });
            }
            None => {
                let text = draft.text(&path)?.unwrap_or_default();
                draft.write(&path, format!("{text}{}{lines}", end(&text)), &why)?;
            }
        }
    }
    let servers: Vec<String> = to.dns.iter().map(ToString::to_string).collect();
    for (key, values) in [("NETCONFIG_DNS_STATIC_SERVERS", &servers), ("NETCONFIG_DNS_STATIC_SEARCHLIST", &to.search)] {
        if values.is_empty() {
            continue;
        }
        let text = draft.text(CONFIG)?.unwrap_or_default();
        if assignments::value(&text, key).is_none() {
            draft.finding(Severity::Error, &format!("/{CONFIG}"), format!("has no {key} for what {} gives", to.from));
        } else {
            draft.write(CONFIG, assignments::set(&text, key, &values.join(" ")), &why)?;
        }
    }
    Ok(())
}
