// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the running system makes of its disks: what is mounted, in use as swap, stacked, and on the way to `/`.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::{Aside, Disk, Node, Part};
use crate::disks::Format;
use crate::formats::fstab::{self, Source};
use crate::guest::mounts;
use crate::root::{Root, trim};

/// Mount points whose file systems the boot loader, the kernel or the initramfs find by an id of their own.
const BOOT_PATH: [&str; 3] = ["/", "/usr", "/boot"];

/// What the running system makes of a device; all empty for an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Usage {
    /// The name that people know it by, where the kernel's own says nothing: `/dev/mapper/vg-data`.
    pub name: Option<String>,
    /// Where it is mounted, or is to be by fstab(5).
    pub mount_points: Vec<String>,
    /// Is it mounted now?
    pub mounted: bool,
    /// Has reseal mounted it, for itself?
    pub aside: bool,
    /// Is it in use as swap space?
    pub swap: bool,
    /// Has the initramfs looked for a hibernated system on it?
    pub resume: bool,
    /// What stands on it: `/dev/dm-0`.
    pub holders: Vec<String>,
    /// Which of `/`, `/usr` and `/boot` stand on it.
    pub carries: Vec<String>,
    /// Can it not be written?
    pub read_only: bool,
    /// Is it reached over a network, where other machines may use it?
    pub network: bool,
    /// Why it cannot be read, if it cannot.
    pub unreadable: Option<String>,
}

/// The usage of every device by name, what reseal has mounted `aside` left out; a sentence where these are not the disks of this guest.
pub fn of(
    root: &Root,
    nodes: &BTreeMap<String, Node>,
    aside: &[Aside],
) -> Result<std::result::Result<BTreeMap<String, Usage>, String>> {
    let text = |path: &str| -> Result<String> {
        Ok(String::from_utf8_lossy(&root.read(path)?.unwrap_or_default()).into_owned())
    };
    let mut usages: BTreeMap<String, Usage> = nodes
        .iter()
        .map(|(name, node)| {
            let usage = Usage {
                name: node.mapped.as_ref().map(|mapped| format!("/dev/mapper/{mapped}")),
                holders: node.holders.iter().map(|holder| format!("/dev/{holder}")).collect(),
                read_only: node.read_only,
                network: node.network,
                ..Usage::default()
            };
            (name.clone(), usage)
        })
        .collect();
    let mut rooted = false;
    for mount in mounts::of(&text("proc/self/mountinfo")?) {
        let by_number = nodes.values().find(|node| node.dev == mount.dev).map(|node| node.name.clone());
        let Some(usage) =
            by_number.or_else(|| named(root, nodes, &mount.source)).and_then(|name| usages.get_mut(&name))
        else {
            continue;
        };
        if aside.iter().any(|own| own.point == mount.point) {
            usage.aside = true;
            continue;
        }
        usage.mounted = true;
        rooted |= mount.point == "/";
        if BOOT_PATH.contains(&mount.point.as_str()) {
            usage.carries.push(mount.point.clone());
        }
        usage.mount_points.push(mount.point);
    }
    if !rooted {
        // A chroot or a container shows the disks of its host; a root on a network or in memory says nothing of them.
        let why = "the root file system is on none of the disks that can be seen, so they may be another system's";
        return Ok(Err(why.to_owned()));
    }
    // proc_swaps(5).
    for path in text("proc/swaps")?.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next()) {
        if let Some(usage) = named(root, nodes, path).and_then(|name| usages.get_mut(&name)) {
            usage.swap = true;
        }
    }
    // Documentation/power/interface.rst of the kernel: the device that it was told to resume from.
    let resume = text("sys/power/resume").unwrap_or_default();
    for node in nodes.values().filter(|node| !node.dev.is_empty() && node.dev == resume.trim()) {
        usages.entry(node.name.clone()).or_default().resume = true;
    }
    Ok(Ok(usages))
}

/// The name of the device that a path below /dev leads to.
pub fn named(root: &Root, nodes: &BTreeMap<String, Node>, path: &str) -> Option<String> {
    let below = path.strip_prefix("/dev/")?;
    if nodes.contains_key(below) {
        return Some(below.to_owned());
    }
    let mapped =
        below.strip_prefix("mapper/").and_then(|name| nodes.values().find(|n| n.mapped.as_deref() == Some(name)));
    let linked = || {
        let target = root.read_link(trim(path)).ok()??;
        let name = target.rsplit('/').next()?.to_owned();
        nodes.contains_key(&name).then_some(name)
    };
    mapped.map(|node| node.name.clone()).or_else(linked)
}

/// Adds what fstab(5) says of devices that are not mounted yet, and what the ways to `/`, `/usr` and `/boot` stand on.
pub fn complete(root: &Root, nodes: &BTreeMap<String, Node>, disks: &mut [Disk]) -> Result<()> {
    let fstab = root.read("etc/fstab")?.unwrap_or_default();
    for entry in fstab::entries(&String::from_utf8_lossy(&fstab)) {
        let names = sought(root, nodes, disks, &entry.source);
        for part in disks.iter_mut().flat_map(|disk| &mut disk.parts).filter(|part| names.contains(&part.path)) {
            let usage = &mut part.usage;
            if BOOT_PATH.contains(&entry.target.as_str()) && !usage.carries.contains(&entry.target) {
                usage.carries.push(entry.target.clone());
            }
            if entry.target.starts_with('/') && !usage.mount_points.contains(&entry.target) {
                usage.mount_points.push(entry.target.clone());
            }
        }
    }
    // A device carries what stands on it; the layers are few.
    for _ in 0..nodes.len() {
        let mut carried: Vec<(String, String)> = Vec::new();
        for part in disks.iter().flat_map(|disk| &disk.parts) {
            let below = part.path.strip_prefix("/dev/").and_then(|name| nodes.get(name)).into_iter();
            let below = below.flat_map(|node| &node.slaves).map(|slave| format!("/dev/{slave}"));
            carried
                .extend(below.flat_map(|slave| part.usage.carries.iter().map(move |at| (slave.clone(), at.clone()))));
        }
        let mut grown = false;
        for part in disks.iter_mut().flat_map(|disk| &mut disk.parts) {
            for (_, at) in carried.iter().filter(|(slave, _)| *slave == part.path) {
                if !part.usage.carries.contains(at) {
                    part.usage.carries.push(at.clone());
                    grown = true;
                }
            }
        }
        if !grown {
            break;
        }
    }
    Ok(())
}

/// The devices that a line of fstab(5) or crypttab(5) may mean, `/dev/vda1`; several where an id is not unique.
pub fn sought(root: &Root, nodes: &BTreeMap<String, Node>, disks: &[Disk], source: &Source) -> Vec<String> {
    let by = |means: &dyn Fn(&Disk, &Part) -> bool| {
        let parts = disks.iter().flat_map(|disk| disk.parts.iter().map(move |part| (disk, part)));
        parts.filter(|(disk, part)| means(disk, part)).map(|(_, part)| part.path.clone()).collect()
    };
    match source {
        Source::Uuid(uuid) => by(&|_, part| {
            let contents = part.found.iter().filter(|found| !found.format.is_table());
            contents.filter_map(|found| found.ids.first()).any(|id| id.value.eq_ignore_ascii_case(uuid))
        }),
        Source::PartUuid(uuid) => {
            by(&|disk, part| partition_id(disk, part).is_some_and(|id| id.eq_ignore_ascii_case(uuid)))
        }
        Source::Label(label) => by(&|_, part| part.found.iter().any(|found| found.label.as_ref() == Some(label))),
        Source::Device(path) => named(root, nodes, path).map(|name| format!("/dev/{name}")).into_iter().collect(),
        Source::Other(_) => Vec::new(),
    }
}

/// A partition's id as blkid(8) shows it.
pub fn partition_id(disk: &Disk, part: &Part) -> Option<String> {
    let number = part.number?;
    let tables = disk.parts.iter().filter(|whole| whole.number.is_none()).flat_map(|whole| &whole.found);
    tables.filter(|found| found.format.is_table()).find_map(|table| {
        let id = |name: &str| table.ids.iter().find(|id| id.name == name).map(|id| id.value.clone());
        match table.format {
            Format::Gpt => id(&format!("partition-{number}")),
            _ => id("disk-id").map(|signature| format!("{signature}-{number:02x}")),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::sysfs::{nodes, tests::make};
    use super::*;
    use crate::disks::{Found, Id};

    const MOUNTS: &str = "1 0 254:1 / / rw - ext4 /dev/root rw\n\
                          2 1 0:30 / /srv/my\\040data rw - btrfs /dev/vdb rw\n\
                          3 1 0:31 / /proc rw - proc proc rw\n";

    fn found(format: Format, id: &str, value: &str) -> Found {
        let ids = vec![Id { name: id.into(), value: value.into() }];
        Found::of(format, "", ids)
    }

    fn part(path: &str, number: Option<u32>, found: Vec<Found>, usage: &Usage) -> Part {
        Part { found, ..Part::at(path, number, (0, 1 << 20), usage.clone()) }
    }

    #[test]
    fn what_the_system_makes_of_its_disks() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        make(root, "pci0/block/vda", &[("dev", "254:0")]);
        make(root, "pci0/block/vda/vda1", &[("dev", "254:1"), ("partition", "1")]);
        make(root, "pci0/block/vda/vda2", &[("dev", "254:2"), ("partition", "2")]);
        make(root, "pci0/block/vdb", &[("dev", "254:16")]);
        make(root, "pci0/block/vdc", &[("dev", "254:32")]);
        make(root, "virtual/block/dm-0", &[("dev", "253:0"), ("dm/name", "vg-boot"), ("on/vdc", "")]);
        fs::create_dir_all(root.join("proc/self")).unwrap();
        fs::create_dir_all(root.join("sys/power")).unwrap();
        fs::create_dir(root.join("etc")).unwrap();
        fs::write(root.join("proc/self/mountinfo"), MOUNTS).unwrap();
        fs::write(root.join("proc/swaps"), "Filename Type Size Used Priority\n/dev/vda2 partition 1 0 -2\n").unwrap();
        fs::write(root.join("sys/power/resume"), "254:2\n").unwrap();
        fs::write(root.join("etc/fstab"), "UUID=B /boot ext4 defaults\nPARTUUID=1a2b3c4d-02 /x none x\n").unwrap();
        let root = Root::open(root).unwrap();
        let nodes = nodes(&root).unwrap();
        let usages = of(&root, &nodes, &[]).unwrap().unwrap();
        assert_eq!((&usages["vda1"].carries[..], usages["vda1"].mounted), (&["/".to_owned()][..], true));
        assert_eq!(usages["vdb"].mount_points, ["/srv/my data"]);
        assert!(usages["vda2"].swap && usages["vda2"].resume && !usages["vda2"].mounted);
        assert_eq!(usages["dm-0"].name.as_deref(), Some("/dev/mapper/vg-boot"));
        assert_eq!(usages["vdc"].holders, ["/dev/dm-0"]);

        let whole = |path: &str, found| Disk {
            path: path.into(),
            boots: false,
            parts: vec![part(path, None, found, &Usage::default())],
        };
        let mut vda = whole("/dev/vda", vec![found(Format::Mbr, "disk-id", "1a2b3c4d")]);
        vda.parts.push(part("/dev/vda2", Some(2), Vec::new(), &usages["vda2"]));
        let boot = whole("/dev/dm-0", vec![found(Format::Ext, "uuid", "b")]);
        let mut disks = vec![vda, boot, whole("/dev/vdc", Vec::new())];
        complete(&root, &nodes, &mut disks).unwrap();
        assert_eq!(disks[1].parts[0].usage.carries, ["/boot"], "by fstab, not mounted yet");
        assert_eq!(disks[2].parts[0].usage.carries, ["/boot"], "what it stands on");
        assert_eq!(disks[0].parts[1].usage.mount_points, ["/x"], "by the id that the kernel makes of a signature");
        assert_eq!(sought(&root, &nodes, &disks, &Source::Device("/dev/mapper/vg-boot".into())), ["/dev/dm-0"]);
    }

    #[test]
    fn disks_without_the_root_are_another_systems() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), "pci0/block/vda", &[("dev", "254:0")]);
        fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        fs::write(dir.path().join("proc/self/mountinfo"), "1 0 0:30 / / rw - overlay overlay rw\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(of(&root, &nodes(&root).unwrap(), &[]).unwrap().is_err());
    }
}
