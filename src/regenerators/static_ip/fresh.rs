// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file for a link that none configures.

use anyhow::{Context as _, Result, bail};

use crate::formats::network::{Addresses, Syntax, apply};
use crate::guest::links::Configurator;
use crate::plan::draft::Draft;
use crate::regenerators::network::Survey;

/// Drafts a file of the system that the guest starts, netplan's where it has one.
///
/// # Errors
/// When the link's name is not known, or no system to configure it.
pub fn make(draft: &mut Draft<'_>, survey: &Survey, to: &Addresses) -> Result<()> {
    let named = draft.guest.links.devices().find(|link| {
        to.link.mac.is_none_or(|mac| link.permanent_mac == Some(mac))
            && to.link.path.as_ref().is_none_or(|path| link.path.as_ref() == Some(path))
    });
    let name = to.link.name.clone().or_else(|| named.map(|link| link.name.clone()));
    let name = name.with_context(|| format!("{}: the link that is meant is not seen", to.from))?;
    if name.len() > crate::formats::network::LONGEST_NAME
        || name.contains(['/', '\n', ' ', ':', '"', '\'', '#', '[', '*'])
    {
        bail!("{}: `{}` is no name of a link", to.from, crate::plan::show::printable(&name));
    }
    let has_netplan = draft.is_dir("etc/netplan")?
        && (draft.exists("usr/sbin/netplan")? || survey.files.iter().any(|file| file.owner == Configurator::Netplan));
    let started = [Configurator::Networkd, Configurator::NetworkManager, Configurator::Ifupdown];
    let owner = match started.into_iter().find(|owner| survey.charge.has(*owner)) {
        _ if has_netplan => Configurator::Netplan,
        Some(owner) => owner,
        None => bail!("{}: nothing configures {name}, and the guest starts nothing that could", to.from),
    };
    let (path, syntax, start, mode) = match owner {
        Configurator::Netplan => (
            "etc/netplan/90-reseal.yaml".to_owned(),
            Syntax::Netplan,
            format!("network:\n  version: 2\n  ethernets:\n    {name}:\n      dhcp4: false\n"),
            0o600,
        ),
        Configurator::Networkd => (
            format!("etc/systemd/network/05-reseal-{name}.network"),
            Syntax::NetworkdNetwork,
            format!("[Match]\nName={name}\n\n[Network]\nDHCP=no\n"),
            0o644,
        ),
        Configurator::NetworkManager => (
            format!("etc/NetworkManager/system-connections/reseal-{name}.nmconnection"),
            Syntax::Keyfile,
            format!(
                "[connection]\nid=reseal-{name}\nuuid={}\ntype=ethernet\ninterface-name={name}\nautoconnect-priority=10\n\n\
                 [ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=auto\n",
                draft.seed().uuid(&format!("connection/{name}"))
            ),
            0o600,
        ),
        _ => {
            let path = "etc/network/interfaces";
            let text = draft.text(path)?.unwrap_or_default();
            let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            let stanza = |family| format!("iface {name} {family} manual\n");
            let mut start = format!("{text}{end}\nauto {name}\n");
            for (family, word) in
                [(crate::formats::network::Family::V4, "inet"), (crate::formats::network::Family::V6, "inet6")]
            {
                if to.is_about(family) {
                    start.push_str(&stanza(word));
                }
            }
            (path.to_owned(), Syntax::Ifupdown, start, 0o644)
        }
    };
    let definitions = syntax.read("x", &start)?;
    let mut edits = Vec::new();
    for definition in definitions.iter().filter(|definition| definition.selector.names.contains(&name)) {
        edits.extend(syntax.readdress(&start, definition, to, false)?);
    }
    let meta = match draft.stat(&path)? {
        Some(stat) => stat.meta,
        None => draft.owned(mode)?,
    };
    let place = draft.resolve(&path)?;
    draft.put(&place, apply(&start, &edits), meta, &format!("{} for {name}, which nothing configures", to.from))
}
