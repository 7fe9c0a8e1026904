// SPDX-License-Identifier: MIT OR Apache-2.0
//! The block devices of the running system as sysfs has them: what is a partition of what, and what stands on what.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::disks::Format;
use crate::root::Root;

/// Where sysfs lists disks and partitions alike.
const CLASS: &str = "sys/class/block";

/// Devices that are no disks of this guest: they are memory, files of it, optical or other removable media, or shared
/// with other machines by the network.
const NO_DISKS: [&str; 10] = ["ram", "zram", "loop", "fd", "sr", "nbd", "rbd", "drbd", "zd", "mtdblock"];

/// What says, in a device's place in /sys/devices, that it is reached over a network: a session of iSCSI, a remote port
/// of Fibre Channel, NVMe over fabrics.
const NETWORKS: [&str; 3] = ["/session", "/rport-", "/nvme-fabrics/"];

/// Formats that are not in the way of what stands on them: a device that is a part of something else has no other.
const CONTAINERS: [Format; 4] = [Format::Md, Format::Lvm, Format::Luks, Format::Bcache];

/// A block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The kernel's name, `vda1`.
    pub name: String,
    /// Major and minor number as sysfs and proc_pid_mountinfo(5) write them.
    pub dev: String,
    /// In bytes.
    pub size: u64,
    /// The disk that it is a partition of.
    pub disk: Option<String>,
    /// Which partition it is.
    pub number: Option<u32>,
    /// What stands on it.
    pub holders: Vec<String>,
    /// What it stands on.
    pub slaves: Vec<String>,
    /// Its name under /dev/mapper.
    pub mapped: Option<String>,
    /// The device mapper's UUID: `LVM-..`, `CRYPT-..`, `mpath-..`.
    pub mapping: Option<String>,
    /// Can it not be written?
    pub read_only: bool,
    /// Is it reached over a network, where another machine may use it too?
    pub network: bool,
}

impl Node {
    /// The formats that are looked for on it.
    pub fn formats(&self) -> &'static [Format] {
        if self.holders.is_empty() { &Format::ALL } else { &CONTAINERS }
    }
}

/// The disks, partitions and mappings, by name. Paths to one disk are left out, the disk (a multipath mapping) is not;
/// so are the hidden parts of logical volumes, and what the device mapper has suspended, where reading would hang.
pub fn nodes(root: &Root) -> Result<BTreeMap<String, Node>> {
    let mut nodes = BTreeMap::new();
    for name in root.list(CLASS)? {
        if let Some(node) = node(root, name)? {
            nodes.insert(node.name.clone(), node);
        }
    }
    let multipath = |node: &Node| node.mapping.as_ref().is_some_and(|mapping| mapping.starts_with("mpath-"));
    let paths: Vec<String> =
        nodes.values().filter(|node| multipath(node)).flat_map(|node| node.slaves.clone()).collect();
    nodes.retain(|name, node| !paths.contains(name) && !node.disk.as_ref().is_some_and(|disk| paths.contains(disk)));
    spread_networks(&mut nodes);
    Ok(nodes)
}

fn node(root: &Root, name: String) -> Result<Option<Node>> {
    let at = |file: &str| format!("{CLASS}/{name}/{file}");
    let line = |file: &str| -> Option<String> {
        let text = String::from_utf8(root.read(&at(file)).ok()??).ok()?;
        Some(text.trim().to_owned()).filter(|line| !line.is_empty())
    };
    let numbered =
        |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let size = line("size").and_then(|sectors| sectors.parse::<u64>().ok()).unwrap_or(0).saturating_mul(512);
    if size == 0 || NO_DISKS.iter().any(|prefix| numbered(prefix)) || line("dm/suspended").as_deref() == Some("1") {
        return Ok(None);
    }
    // ../../devices/pci0000:00/0000:00:05.0/virtio2/block/vda/vda1
    let place = root.read_link(&format!("{CLASS}/{name}"))?.unwrap_or_default();
    let number = line("partition").and_then(|number| number.parse().ok());
    let above = place.rsplit('/').nth(1).map(str::to_owned);
    let disk = if number.is_some() { above } else { None };
    let removable = match &disk {
        Some(disk) => root.read(&format!("{CLASS}/{disk}/removable"))?.is_some_and(|text| text.starts_with(b"1")),
        None => line("removable").as_deref() == Some("1"),
    };
    let mapping = line("dm/uuid");
    // A volume's hidden parts have a word behind the two ids of 32 letters: LVM-...-real, -cow, -tdata (lib/uuid.h).
    let hidden = mapping.as_ref().is_some_and(|id| id.starts_with("LVM-") && id.len() > "LVM-".len() + 64);
    if removable || hidden {
        return Ok(None);
    }
    Ok(Some(Node {
        dev: line("dev").unwrap_or_default(),
        size,
        disk,
        number,
        holders: root.list(&at("holders"))?,
        slaves: root.list(&at("slaves"))?,
        mapped: line("dm/name"),
        mapping,
        read_only: line("ro").as_deref() == Some("1"),
        network: NETWORKS.iter().any(|word| place.contains(word)),
        name,
    }))
}

/// What stands on a disk of the network is one, too.
fn spread_networks(nodes: &mut BTreeMap<String, Node>) {
    loop {
        let is_network = |name: &String| nodes.get(name).is_some_and(|node| node.network);
        let next: Vec<String> = nodes
            .values()
            .filter(|node| !node.network && node.slaves.iter().chain(&node.disk).any(is_network))
            .map(|node| node.name.clone())
            .collect();
        if next.is_empty() {
            return;
        }
        for name in next {
            if let Some(node) = nodes.get_mut(&name) {
                node.network = true;
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    /// Makes a block device below `root`, as sysfs would show it; `place` is below /sys/devices.
    pub fn make(root: &Path, place: &str, files: &[(&str, &str)]) {
        let name = place.rsplit('/').next().unwrap();
        let device = root.join("sys/devices").join(place);
        for dir in ["holders", "slaves", "dm"] {
            fs::create_dir_all(device.join(dir)).unwrap();
        }
        fs::write(device.join("size"), "2048\n").unwrap();
        for (file, content) in files {
            if let Some(on) = file.strip_prefix("on/") {
                symlink(format!("../../{on}"), device.join("slaves").join(on)).unwrap();
                let below = fs::canonicalize(root.join(CLASS).join(on)).unwrap();
                symlink(format!("../../{name}"), below.join("holders").join(name)).unwrap();
                continue;
            }
            fs::write(device.join(file), format!("{content}\n")).unwrap();
        }
        fs::create_dir_all(root.join(CLASS)).unwrap();
        symlink(format!("../../devices/{place}"), root.join(CLASS).join(name)).unwrap();
    }

    #[test]
    fn partitions_mappings_and_networks_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        make(root, "pci0/virtio0/block/vda", &[("dev", "254:0"), ("removable", "0")]);
        make(root, "pci0/virtio0/block/vda/vda1", &[("dev", "254:1"), ("partition", "1"), ("ro", "1")]);
        make(root, "platform/host3/session1/target3:0:0/block/sdb", &[("dev", "8:16")]);
        make(root, "virtual/block/dm-0", &[("dm/name", "vg-data"), ("dm/uuid", "LVM-x"), ("on/sdb", "")]);
        make(root, "virtual/block/dm-1", &[("dm/uuid", &format!("LVM-{}-real", "x".repeat(64)))]);
        make(root, "virtual/block/dm-2", &[("dm/suspended", "1")]);
        make(root, "virtual/block/loop0", &[]);
        make(root, "pci0/ata1/block/sr0", &[("removable", "1")]);
        make(root, "pci0/usb1/block/sdc", &[("removable", "1")]);
        make(root, "pci0/usb1/block/sdc/sdc1", &[("partition", "1")]);
        make(root, "pci0/ata2/block/sde", &[]);
        make(root, "virtual/block/dm-3", &[("dm/uuid", "mpath-3600"), ("on/sde", "")]);
        fs::write(root.join("sys/devices/pci0/ata1/block/empty"), "").unwrap();
        let nodes = nodes(&Root::open(root).unwrap()).unwrap();
        assert_eq!(nodes.keys().collect::<Vec<_>>(), ["dm-0", "dm-3", "sdb", "vda", "vda1"]);
        assert_eq!((nodes["vda1"].disk.as_deref(), nodes["vda1"].number), (Some("vda"), Some(1)));
        assert!(nodes["vda1"].read_only && !nodes["vda1"].network && nodes["vda"].size == 1 << 20);
        assert!(nodes["sdb"].network && nodes["dm-0"].network, "a volume on a disk of the network");
        assert_eq!(nodes["sdb"].holders, ["dm-0"]);
        assert_eq!(nodes["sdb"].formats(), CONTAINERS);
        assert_eq!(nodes["dm-0"].mapped.as_deref(), Some("vg-data"));
    }
}
