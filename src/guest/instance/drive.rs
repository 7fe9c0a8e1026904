// SPDX-License-Identifier: MIT OR Apache-2.0
//! A config drive: a small file system that the hypervisor attaches, known by its label. `RESEAL` holds an `instance.toml`,
//! `cidata` what cloud-init's NoCloud reads (`meta-data`, `network-config`), `config-2` what OpenStack gives.
//!
//! It is read here, sector by sector, and never mounted: a mount would change the running system while it is only planned,
//! would need root, and would hand what anybody made to the kernel's file system code. What is read is a few names and
//! files of bounded size, in code that has no `unsafe` and ends after a bounded number of reads.

mod fat;
mod iso9660;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use serde::Deserialize;

use super::{LARGEST, Told};
use crate::disks::Blocks;
use crate::disks::device::Device;
use crate::formats::network::{cloud_init, openstack};
use crate::guest::Guest;

/// Block devices that the system made itself.
const NOT_ATTACHED: [&str; 8] = ["dm-", "drbd", "loop", "md", "nbd", "ram", "zd", "zram"];

/// What a drive holds, by its label; the first goes before the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Reseal,
    NoCloud,
    OpenStack,
}

impl Kind {
    const LABELS: [(&'static str, Kind); 3] =
        [("RESEAL", Kind::Reseal), ("CIDATA", Kind::NoCloud), ("CONFIG-2", Kind::OpenStack)];

    fn of(label: &str) -> Option<Kind> {
        Kind::LABELS.iter().find(|(known, _)| known.eq_ignore_ascii_case(label)).map(|(_, kind)| *kind)
    }
}

/// A file system that is only read.
#[derive(Debug)]
enum Volume<'d> {
    Fat(fat::Volume<'d>),
    Iso(iso9660::Volume<'d>),
}

impl<'d> Volume<'d> {
    fn find(blocks: &'d dyn Blocks) -> Result<Option<Volume<'d>>> {
        if let Some(volume) = iso9660::Volume::find(blocks)? {
            return Ok(Some(Volume::Iso(volume)));
        }
        Ok(fat::Volume::find(blocks)?.map(Volume::Fat))
    }

    fn label(&self) -> &str {
        match self {
            Volume::Fat(volume) => &volume.label,
            Volume::Iso(volume) => &volume.label,
        }
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let read = match self {
            Volume::Fat(volume) => volume.read(path, LARGEST),
            Volume::Iso(volume) => volume.read(path, LARGEST),
        };
        read.with_context(|| format!("reading {path}"))
    }
}

/// What the drives say, in the order of their kinds. With `named`, which is a file of the guest or a device, no other is looked
/// for.
pub fn read(guest: &Guest, named: Option<&str>) -> Result<Vec<Told>> {
    if let Some(path) = named {
        if let Some(file) = guest.root.stat(path)?.filter(|stat| stat.kind != crate::root::Kind::Special) {
            let bytes =
                guest.root.read(path)?.with_context(|| format!("{path} cannot be read ({} bytes)", file.size))?;
            return of(path, &&bytes[..])?
                .map_or_else(|| bail!("{path} is no config drive"), |(_, told)| Ok(vec![told]));
        }
        if !guest.running {
            return Ok(Vec::new());
        }
        return match open(Path::new(path))? {
            Some(device) => {
                of(path, &device)?.map_or_else(|| bail!("{path} is no config drive"), |(_, told)| Ok(vec![told]))
            }
            None => Ok(Vec::new()),
        };
    }
    if !guest.running {
        return Ok(Vec::new());
    }
    let names = guest.root.list("sys/class/block")?;
    let attached =
        names.iter().filter(|name| !NOT_ATTACHED.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit())));
    let mut found: Vec<(Kind, Told)> = Vec::new();
    for name in attached {
        let path = format!("/dev/{name}");
        let Some(device) = open(Path::new(&path))? else { continue };
        found.extend(of(&path, &device)?);
    }
    found.sort_by_key(|(kind, _)| *kind);
    if let Some(pair) = found.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        bail!("{} and {} have the same label", pair[0].1.from, pair[1].1.from);
    }
    Ok(found.into_iter().map(|(_, told)| told).collect())
}

/// A device; none where it is gone, or has no medium.
fn open(path: &Path) -> Result<Option<Device>> {
    match Device::open(path) {
        Ok(device) => Ok(Some(device)),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT | Errno::ENOMEDIUM | Errno::ENXIO | Errno::ENODEV | Errno::EIO) => Ok(None),
            Some(errno) => Err(errno).with_context(|| format!("opening {}", path.display())),
            None => Err(error).with_context(|| format!("opening {}", path.display())),
        },
    }
}

/// What a device says, if it is a config drive; one that is none, sound or not, is nobody's affair here.
fn of(path: &str, blocks: &dyn Blocks) -> Result<Option<(Kind, Told)>> {
    let Ok(Some(volume)) = Volume::find(blocks) else { return Ok(None) };
    let Some(kind) = Kind::of(volume.label()) else { return Ok(None) };
    let mut told = Told::by(format!("the config drive {path} ({})", volume.label()));
    let take = match kind {
        Kind::Reseal => reseal(&volume, &mut told),
        Kind::NoCloud => no_cloud(&volume, &mut told),
        Kind::OpenStack => open_stack(&volume, &mut told),
    };
    take.with_context(|| told.from.clone())?;
    Ok(Some((kind, told)))
}

fn reseal(volume: &Volume<'_>, told: &mut Told) -> Result<()> {
    volume.read("instance.toml")?.map_or(Ok(()), |bytes| told.take("instance", &bytes))
}

/// Documentation of cloud-init, "NoCloud" and "Networking config".
fn no_cloud(volume: &Volume<'_>, told: &mut Told) -> Result<()> {
    if let Some(text) = text(volume, "meta-data")?
        && let Some(name) = cloud_init::host_name(&text).context("meta-data")?
    {
        told.name(&name).context("meta-data: local-hostname")?;
    }
    if let Some(text) = text(volume, "network-config")? {
        let (links, left) = cloud_init::links(&text).context("network-config")?;
        told.links(links).context("network-config")?;
        told.left.extend(left);
    }
    Ok(())
}

/// OpenStack's "Metadata", meta_data.json.
#[derive(Deserialize)]
struct MetaData {
    hostname: Option<String>,
    name: Option<String>,
}

fn open_stack(volume: &Volume<'_>, told: &mut Told) -> Result<()> {
    if let Some(text) = text(volume, "openstack/latest/meta_data.json")? {
        let meta: MetaData = serde_json::from_str(&text).context("meta_data.json")?;
        if let Some(name) = meta.hostname.or(meta.name) {
            told.name(&name).context("meta_data.json")?;
        }
    }
    if let Some(text) = text(volume, "openstack/latest/network_data.json")? {
        let (links, left) = openstack::links(&text).context("network_data.json")?;
        told.links(links).context("network_data.json")?;
        told.left.extend(left);
    }
    Ok(())
}

fn text(volume: &Volume<'_>, path: &str) -> Result<Option<String>> {
    let Some(bytes) = volume.read(path)? else { return Ok(None) };
    Ok(Some(String::from_utf8(bytes).with_context(|| format!("reading {path}"))?))
}
