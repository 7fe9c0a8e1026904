// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which configuration systems a guest starts: the links that an init system follows say so.

use serde::Serialize;

use crate::root::Root;

/// Something that configures links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Configurator {
    /// netplan, which has networkd or NetworkManager do the work.
    Netplan,
    /// systemd-networkd.
    Networkd,
    /// NetworkManager.
    NetworkManager,
    /// ifupdown.
    Ifupdown,
    /// The `network` scripts of Red Hat, or NetworkManager reading their files.
    NetworkScripts,
    /// wicked.
    Wicked,
    /// udev alone: names and addresses of devices.
    Udev,
    /// cloud-init, which writes files of the others.
    CloudInit,
}

/// Where it is seen that each is started: systemd's links, OpenRC's, and System V's; `*` within a component.
const STARTED: [(Configurator, &[&str]); 5] = [
    (Configurator::Networkd, &["etc/systemd/system/*.wants/systemd-networkd.service"]),
    (
        Configurator::NetworkManager,
        &[
            "etc/systemd/system/*.wants/NetworkManager.service",
            "etc/runlevels/*/NetworkManager",
            "etc/runlevels/*/networkmanager",
        ],
    ),
    (
        Configurator::NetworkScripts,
        // NetworkManager's plugin ifcfg-rh reads the same files, NetworkManager.conf(5).
        &["etc/rc.d/rc3.d/S*network", "etc/rc3.d/S*network", "etc/systemd/system/*.wants/NetworkManager.service"],
    ),
    (Configurator::Wicked, &["etc/systemd/system/*.wants/wicked.service", "etc/systemd/system/network.service"]),
    (
        Configurator::Ifupdown,
        &["etc/systemd/system/*.wants/networking.service", "etc/runlevels/*/networking", "etc/rcS.d/*networking"],
    ),
];

/// The configuration systems that a guest starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Charge(Vec<Configurator>);

impl Charge {
    /// Those of a guest. A directory that cannot be read starts nothing.
    pub fn of(root: &Root) -> Charge {
        let is_there = |pattern: &&&str| !matching(root, pattern).is_empty();
        let started = STARTED.iter().filter(|(_, places)| places.iter().any(|place| is_there(&place)));
        Charge(started.map(|(configurator, _)| *configurator).collect())
    }

    /// Is this one started? What works through others always is.
    pub fn has(&self, configurator: Configurator) -> bool {
        use Configurator::{CloudInit, Netplan, Udev};
        matches!(configurator, Netplan | Udev | CloudInit) || self.0.contains(&configurator)
    }

    /// Is none of them known to be started? Then whatever is configured counts.
    pub fn is_unknown(&self) -> bool {
        self.0.is_empty()
    }
}

/// The paths of a pattern with one `*` in each of its components at the most.
fn matching(root: &Root, pattern: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for part in pattern.split('/') {
        let join = |dir: &str, name: &str| if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
        found = match part.split_once('*') {
            Some((start, end)) => {
                let fits = |name: &String| {
                    name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
                };
                let inside = |dir: &String| {
                    let names = root.list(dir).unwrap_or_default().into_iter().filter(fits);
                    names.map(|name| join(dir, &name)).collect::<Vec<_>>()
                };
                found.iter().flat_map(inside).collect()
            }
            None => found.iter().map(|dir| join(dir, part)).collect(),
        };
    }
    found.retain(|path| root.stat(path).is_ok_and(|stat| stat.is_some()));
    found
}

impl std::fmt::Display for Configurator {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Configurator::Netplan => "netplan",
            Configurator::Networkd => "systemd-networkd",
            Configurator::NetworkManager => "NetworkManager",
            Configurator::Ifupdown => "ifupdown",
            Configurator::NetworkScripts => "network-scripts",
            Configurator::Wicked => "wicked",
            Configurator::Udev => "udev",
            Configurator::CloudInit => "cloud-init",
        })
    }
}
