// SPDX-License-Identifier: MIT OR Apache-2.0
//! What lies on the guest's disks: formats and ids found by reading them, never by a cache, and what is made of each.
//!
//! The disks are those of the running system, by sysfs, or images that are named.

mod aside;
mod sysfs;
mod tree;
mod usage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use crate::disks::device::{Device, Window};
use crate::disks::foreign::{self, Foreign};
use crate::disks::layout::partitions;
use crate::disks::{self, Blocks as _, Format, Found};
use crate::formats::fstab::{self, Source};
use crate::plan::Renewal;
use crate::root::Root;
pub use aside::{Aside, wanted as wanted_aside};
pub use sysfs::{Node, nodes};
pub use tree::{Branch, Missing, branches, candidates, closed};
pub use usage::{Usage, partition_id};

/// The guest's disks.
#[derive(Debug, Default)]
pub struct Disks {
    /// In the order of their names.
    pub list: Vec<Disk>,
    /// Why the disks of the running system were not looked at, a sentence.
    pub unseen: Option<String>,
    /// What reseal has mounted for itself.
    pub aside: Vec<Aside>,
    /// Are they images whose files are the guest's tree, which is mounted?
    pub hold_the_tree: bool,
    from: From,
    nodes: BTreeMap<String, Node>,
}

#[derive(Debug, Default, Clone)]
enum From {
    /// A tree without disks.
    #[default]
    Nowhere,
    Images(Vec<PathBuf>),
    RunningSystem,
}

/// A disk or an image.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Disk {
    /// Where it is on the machine that reseal runs on.
    pub path: String,
    /// Does a machine boot from it?
    pub boots: bool,
    /// What lies on it.
    pub parts: Vec<Part>,
}

/// The whole disk, or a partition of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Part {
    /// The partition's number; none for the whole disk.
    pub number: Option<u32>,
    /// What is opened to reach it: a device of its own, or the image.
    pub path: String,
    /// Byte offset on what is opened.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
    /// What was found there.
    pub found: Vec<Found>,
    /// What has a signature there and is not sound.
    pub unsound: Vec<Unsound>,
    /// What stands there in a format that is known and not changed.
    pub foreign: Option<Foreign>,
    /// What the running system makes of it.
    pub usage: Usage,
}

/// Something that is not what its signature promises.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Unsound {
    /// The format whose signature it has.
    pub format: Format,
    /// What is wrong.
    pub message: String,
}

impl Disks {
    /// Reads images.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn of_images(images: &[PathBuf]) -> Result<Disks> {
        let mut list = images.iter().map(|image| Disk::read(image)).collect::<Result<Vec<_>>>()?;
        relate(&mut list);
        Ok(Disks { list, from: From::Images(images.to_vec()), ..Disks::default() })
    }

    /// Looks at the disks of the running system, whose tree is `root`; `aside` is what reseal has mounted for itself. A disk that cannot be opened is told, no error.
    ///
    /// # Errors
    /// When /sys or /proc cannot be read.
    pub fn of_running_system(root: &Root, aside: Vec<Aside>) -> Result<Disks> {
        let nodes = sysfs::nodes(root)?;
        let mut disks = Disks { from: From::RunningSystem, aside, ..Disks::default() };
        let usages = match usage::of(root, &nodes, &disks.aside)? {
            Ok(usages) => usages,
            Err(why) => {
                disks.unseen = Some(why);
                return Ok(disks);
            }
        };
        for node in nodes.values().filter(|node| node.disk.is_none()) {
            let own = std::iter::once(node).chain(nodes.values().filter(|part| part.disk.as_ref() == Some(&node.name)));
            let parts = own.map(|part| read_node(part, usages.get(&part.name).cloned().unwrap_or_default())).collect();
            disks.list.push(Disk { path: format!("/dev/{}", node.name), boots: false, parts });
        }
        relate(&mut disks.list);
        usage::complete(root, &nodes, &mut disks.list)?;
        disks.nodes = nodes;
        Ok(disks)
    }

    /// Disks as if the running system had them.
    #[cfg(test)]
    pub fn as_if_running(list: Vec<Disk>) -> Disks {
        Disks { list, from: From::RunningSystem, ..Disks::default() }
    }

    /// The same disks read anew: what stood on them was gathered before a run.
    ///
    /// # Errors
    /// As the first time.
    pub fn again(&self, root: &Root) -> Result<Disks> {
        match &self.from {
            From::Nowhere => Ok(Disks::default()),
            From::Images(images) => Ok(Disks { hold_the_tree: self.hold_the_tree, ..Disks::of_images(images)? }),
            From::RunningSystem => Disks::of_running_system(root, self.aside.clone()),
        }
    }

    /// Are they those of the system that this program runs on?
    pub fn are_running(&self) -> bool {
        matches!(self.from, From::RunningSystem)
    }

    /// The devices that a line of fstab(5) or crypttab(5) may mean, `/dev/vda1`; several where an id is not unique.
    pub fn sought(&self, root: &Root, source: &Source) -> Vec<String> {
        if let From::Images(_) = self.from {
            return self
                .parts()
                .filter(|(disk, part)| tree::is_meant(self, disk, part, source))
                .map(|(_, part)| part.place())
                .collect();
        }
        usage::sought(root, &self.nodes, &self.list, source)
    }

    /// A block device of the running system, by its path.
    pub fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path.strip_prefix("/dev/")?)
    }

    /// What fstab(5) and crypttab(5) name by an id, a label or a path, and is not there. `decided` are renewals of this
    /// guest: a device that has its new id is there, although the file may still have the old one. What may lie inside a
    /// volume of crypttab(5) that is not open is not missed.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn missing(&self, root: &Root, decided: &[Renewal]) -> Result<Vec<String>> {
        let text = |path: &str| -> Result<String> {
            Ok(String::from_utf8_lossy(&root.read(path)?.unwrap_or_default()).into_owned())
        };
        let auto = |options: &[String]| !options.iter().any(|option| option == "noauto");
        let volumes = fstab::volumes(&text("etc/crypttab")?);
        let is_open = |name: &str| self.nodes.values().any(|node| node.mapped.as_deref() == Some(name));
        let closed: Vec<_> = volumes.into_iter().filter(|volume| !is_open(&volume.name)).collect();
        let entries = fstab::entries(&text("etc/fstab")?).into_iter().filter(|entry| auto(&entry.options));
        let entries = entries.map(|entry| entry.source).filter(|source| match source {
            Source::Device(path) => !closed.iter().any(|volume| path == &format!("/dev/mapper/{}", volume.name)),
            _ => closed.is_empty(),
        });
        let opened = closed.iter().filter(|volume| auto(&volume.options)).map(|volume| volume.source.clone());
        let renewed = |source: &Source| {
            let (Source::Uuid(id) | Source::PartUuid(id)) = source else { return None };
            let of = decided.iter().find(|renewal| renewal.old.as_deref() == Some(id))?.new.clone()?;
            Some(if matches!(source, Source::Uuid(_)) { Source::Uuid(of) } else { Source::PartUuid(of) })
        };
        let is_here = |source: &Source| !self.sought(root, source).is_empty();
        let all = entries.chain(opened).filter(|source| !matches!(source, Source::Other(_)));
        let missing = all.filter(|source| !is_here(source) && !renewed(source).is_some_and(|new| is_here(&new)));
        Ok(missing.map(|source| source.to_string()).collect())
    }

    /// Does the old id of a renewal still stand on one of them? Then whatever quotes it must not follow yet.
    pub fn still_hold(&self, renewal: &Renewal) -> bool {
        let Some(value) = renewal.old.as_ref().filter(|_| renewal.kind.is_on_disk()) else { return false };
        let found = self.parts().flat_map(|(_, part)| &part.found);
        let of_mbr = || self.parts().filter_map(|(disk, part)| partition_id(disk, part)).any(|id| id == *value);
        found.flat_map(|found| &found.ids).any(|id| id.value == *value) || of_mbr()
    }

    /// Every part of every disk.
    pub fn parts(&self) -> impl Iterator<Item = (&Disk, &Part)> {
        self.list.iter().flat_map(|disk| disk.parts.iter().map(move |part| (disk, part)))
    }
}

impl Disk {
    /// Reads an image.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn read(path: &Path) -> Result<Disk> {
        let open = || -> Result<(PathBuf, Device)> { Ok((std::fs::canonicalize(path)?, Device::open(path)?)) };
        let (absolute, device) = open().with_context(|| format!("opening the image {}", path.display()))?;
        if let Some(kind) = packed(&device) {
            bail!(
                "{} is a {kind} image: `qemu-nbd --connect=/dev/nbd0 --format={kind} {0}` makes it a disk for --device \
                 /dev/nbd0, or `qemu-img convert -O raw` a raw image",
                path.display()
            );
        }
        let absolute = absolute.to_string_lossy().into_owned();
        let part = |number, offset, size| {
            let mut part = Part::at(&absolute, number, (offset, size), Usage::default());
            part.probe(&device, &Format::ALL);
            part
        };
        let mut parts = vec![part(None, 0, device.size())];
        let mut boots = false;
        match partitions(&device) {
            Ok(list) => {
                for one in list {
                    boots |= one.boots;
                    parts.push(part(Some(one.number), one.offset, one.size));
                }
            }
            Err(trouble) => parts[0].unsound.push(Unsound { format: Format::Gpt, message: trouble.to_string() }),
        }
        Ok(Disk { path: absolute, boots, parts })
    }
}

/// The format of an image that is not raw, as qemu-img(1) names it, by the first bytes that its specification gives it.
fn packed(device: &Device) -> Option<&'static str> {
    let start = disks::read(device, 0, 8).ok()?;
    let known: [(&[u8], &str); 3] = [(b"QFI\xfb", "qcow2"), (b"KDMV", "vmdk"), (b"vhdxfile", "vhdx")];
    known.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, name)| *name)
}

impl Part {
    pub(crate) fn at(path: &str, number: Option<u32>, place: (u64, u64), usage: Usage) -> Part {
        let (offset, size) = place;
        Part {
            number,
            path: path.to_owned(),
            offset,
            size,
            found: Vec::new(),
            unsound: Vec::new(),
            foreign: None,
            usage,
        }
    }

    fn probe(&mut self, device: &Device, formats: &[Format]) {
        let window = Window::new(device, self.offset, self.size);
        for format in formats {
            match disks::probe(&window, *format) {
                Ok(one) => self.found.extend(one),
                Err(trouble) => self.unsound.push(Unsound { format: *format, message: trouble.to_string() }),
            }
        }
        // One beside what is known may be left over from before.
        if self.found.iter().all(|found| found.format.is_table()) && formats.len() == Format::ALL.len() {
            self.foreign = foreign::probe(&window).ok().flatten();
        }
    }

    /// The image and the partition's number, `/images/disk.raw:1`, or the device.
    pub fn place(&self) -> String {
        match self.number {
            Some(number) if self.offset > 0 => format!("{}:{number}", self.path),
            _ => self.path.clone(),
        }
    }
}

/// Tells devices of a group that another of them describes.
fn relate(disks: &mut [Disk]) {
    let parts = disks.iter_mut().flat_map(|disk| &mut disk.parts);
    let mut found: Vec<&mut Found> = parts.flat_map(|part| &mut part.found).collect();
    disks::relate(&mut found);
}

fn read_node(node: &Node, mut usage: Usage) -> Part {
    let path = format!("/dev/{}", node.name);
    let formats = node.formats();
    let device = match formats[..] {
        [] => None,
        _ => match Device::open(Path::new(&path)) {
            Ok(device) => Some(device),
            Err(error) => {
                usage.unreadable = Some(error.to_string());
                None
            }
        },
    };
    let mut part = Part::at(&path, node.number, (0, node.size), usage);
    if let Some(device) = device {
        part.probe(&device, formats);
    }
    part
}
