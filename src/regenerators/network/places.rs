// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where each system keeps its files. What a program makes anew at every boot, below /run, is none of them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

use crate::formats::network::{Syntax, ifupdown};
use crate::guest::links::Configurator;
use crate::plan::draft::Draft;
use crate::root;

/// Patterns, whose the files are, and how they are written.
const PLACES: [(&str, Configurator, Syntax); 23] = [
    ("etc/netplan/*.yaml", Configurator::Netplan, Syntax::Netplan),
    ("etc/systemd/network/*.network", Configurator::Networkd, Syntax::NetworkdNetwork),
    ("etc/systemd/network/*.network.d/*.conf", Configurator::Networkd, Syntax::NetworkdNetwork),
    ("etc/systemd/network/*.netdev", Configurator::Networkd, Syntax::NetworkdNetdev),
    ("etc/systemd/network/*.netdev.d/*.conf", Configurator::Networkd, Syntax::NetworkdNetdev),
    ("etc/systemd/network/*.link", Configurator::Udev, Syntax::Link),
    ("etc/systemd/network/*.link.d/*.conf", Configurator::Udev, Syntax::Link),
    ("etc/udev/rules.d/*.rules", Configurator::Udev, Syntax::UdevRules),
    ("etc/NetworkManager/NetworkManager.conf", Configurator::NetworkManager, Syntax::NetworkManagerConf),
    ("etc/NetworkManager/conf.d/*.conf", Configurator::NetworkManager, Syntax::NetworkManagerConf),
    ("etc/NetworkManager/system-connections/*", Configurator::NetworkManager, Syntax::Keyfile),
    ("etc/network/interfaces", Configurator::Ifupdown, Syntax::Ifupdown),
    ("etc/sysconfig/network-scripts/ifcfg-*", Configurator::NetworkScripts, Syntax::IfcfgRedHat),
    ("etc/sysconfig/network-scripts/route-*", Configurator::NetworkScripts, Syntax::Routes),
    ("etc/sysconfig/network-scripts/route6-*", Configurator::NetworkScripts, Syntax::Routes),
    ("etc/sysconfig/network/ifcfg-*", Configurator::Wicked, Syntax::IfcfgSuse),
    ("etc/sysconfig/network/ifroute-*", Configurator::Wicked, Syntax::Routes),
    ("etc/sysconfig/network/routes", Configurator::Wicked, Syntax::Routes),
    ("etc/cloud/cloud.cfg", Configurator::CloudInit, Syntax::Netplan),
    ("etc/cloud/cloud.cfg.d/*.cfg", Configurator::CloudInit, Syntax::Netplan),
    ("var/lib/cloud/seed/nocloud/network-config", Configurator::CloudInit, Syntax::Netplan),
    ("var/lib/cloud/seed/nocloud-net/network-config", Configurator::CloudInit, Syntax::Netplan),
    ("etc/cloud/network-config", Configurator::CloudInit, Syntax::Netplan),
];

/// How names of files end that are read by nobody.
const BACKUPS: [&str; 11] = [
    ".rpmsave",
    ".rpmnew",
    ".rpmorig",
    ".dpkg-old",
    ".dpkg-dist",
    ".bak",
    ".swp",
    ".old",
    ".orig",
    ".scpmbackup",
    ".augnew",
];

/// Levels of `source`; ifupdown has no limit, and nobody has more than one.
const DEEPEST: usize = 8;
/// A guest with more files of this kind is no guest.
const MOST_FILES: usize = 4096;

/// The files that are there, in the order of the table and of their names, each once.
///
/// # Errors
/// When a directory cannot be read, or there are too many.
pub fn files(draft: &Draft<'_>) -> Result<Vec<(String, Configurator, Syntax)>> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (pattern, owner, syntax) in PLACES {
        for path in draft.glob(pattern)? {
            if is_read(draft, &path, syntax)? && seen.insert(draft.resolve(&path)?) {
                let is_interfaces = syntax == Syntax::Ifupdown;
                found.push((path.clone(), owner, syntax));
                if is_interfaces {
                    sourced(draft, &path, &mut found, &mut seen, 0).with_context(|| format!("reading /{path}"))?;
                }
            }
        }
    }
    if found.len() > MOST_FILES {
        bail!("{} files configure the network, more than {MOST_FILES}", found.len());
    }
    Ok(found)
}

/// Is it a file that its program reads? A link to /dev/null masks the vendor's file.
fn is_read(draft: &Draft<'_>, path: &str, syntax: Syntax) -> Result<bool> {
    let end = draft.resolve(path)?;
    let is_file = draft.stat(&end)?.is_some_and(|stat| stat.kind == root::Kind::File);
    let name = path.rsplit('/').next().unwrap_or(path);
    Ok(is_file
        && match syntax {
            // Backups and the like: nm_keyfile_utils_ignore_filename of NetworkManager, ifcfg(5), nm-settings-ifcfg-rh(5).
            Syntax::Keyfile | Syntax::IfcfgRedHat | Syntax::IfcfgSuse | Syntax::Routes => {
                !name.ends_with('~') && !BACKUPS.iter().any(|end| name.ends_with(end))
            }
            _ => true,
        })
}

/// The files that `source` lines name, interfaces(5).
fn sourced(
    draft: &Draft<'_>,
    path: &str,
    found: &mut Vec<(String, Configurator, Syntax)>,
    seen: &mut BTreeSet<String>,
    depth: usize,
) -> Result<()> {
    if depth > DEEPEST {
        bail!("line 1: sourced more than {DEEPEST} levels deep");
    }
    for (pattern, is_directory) in ifupdown::sources(&draft.text(path)?.unwrap_or_default()) {
        let base = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        let pattern = if pattern.starts_with('/') { pattern } else { format!("{base}/{pattern}") };
        let pattern = if is_directory { format!("{}/*", pattern.trim_end_matches('/')) } else { pattern };
        for path in draft.glob(&pattern)? {
            // In a directory only names such as run-parts(8) takes, interfaces(5).
            let name = path.rsplit('/').next().unwrap_or(&path);
            let plain = name.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"_-".contains(&letter));
            if (!is_directory || plain)
                && is_read(draft, &path, Syntax::Ifupdown)?
                && seen.insert(draft.resolve(&path)?)
            {
                found.push((path.clone(), Configurator::Ifupdown, Syntax::Ifupdown));
                sourced(draft, &path, found, seen, depth + 1)?;
            }
        }
    }
    Ok(())
}
