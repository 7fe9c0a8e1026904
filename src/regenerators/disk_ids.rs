// SPDX-License-Identifier: MIT OR Apache-2.0
//! `fs-uuids`, `swap`, `luks` and `disk-ids`: the ids on the guest's disk images.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Regenerator;
use crate::disks::device::{Device, Window};
use crate::disks::{self, Format, Found, Id};
use crate::guest::disks::{Disk, Part};
use crate::plan::draft::{Draft, Purpose};
use crate::plan::{Kind, Renewal, Severity};

/// What becomes of the ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Renew,
    Keep,
}

/// The table of each of these regenerators.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    mode: Mode,
    keep: Vec<Format>,
}

/// UUIDs and serial numbers of file systems.
pub struct FsUuids;
/// Swap space.
pub struct Swap;
/// LUKS containers.
pub struct Luks;
/// Volume groups of LVM2.
pub struct Lvm;
/// Members of software RAID.
pub struct Md;
/// Partition tables.
pub struct DiskIds;

impl Regenerator for FsUuids {
    const ID: &'static str = "fs-uuids";
    const ABOUT: &'static str = "Give the file systems on a disk image new UUIDs and serial numbers";
    const EXAMPLE: &'static str = r#"[fs-uuids]
# "renew", or "keep". It acts on images that are named with --image.
mode = "renew"
# Formats that are left as they are: "ext", "xfs", "btrfs", "fat", "exfat", "ntfs".
keep = []
"#;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        let formats = [Format::Ext, Format::Xfs, Format::Btrfs, Format::Fat, Format::Exfat, Format::Ntfs, Format::F2fs];
        plan(options, draft, &formats)
    }
}

impl Regenerator for Swap {
    const ID: &'static str = "swap";
    const ABOUT: &'static str = "Give swap space on a disk image a new UUID";
    const EXAMPLE: &'static str = "[swap]\n# \"renew\", or \"keep\".\nmode = \"renew\"\nkeep = []\n";
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        plan(options, draft, &[Format::Swap])
    }
}

impl Regenerator for Luks {
    const ID: &'static str = "luks";
    const ABOUT: &'static str = "Give LUKS headers on a disk image a new UUID; the volume key stays, and is reported";
    const EXAMPLE: &'static str = "[luks]\n# \"renew\", or \"keep\".\nmode = \"renew\"\nkeep = []\n";
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        plan(options, draft, &[Format::Luks])
    }
}

impl Regenerator for Lvm {
    const ID: &'static str = "lvm";
    const ABOUT: &'static str = "Give the LVM volume group on a disk image, and its volumes, new UUIDs";
    const EXAMPLE: &'static str = "[lvm]\n# \"renew\", or \"keep\". A group of several disks is told, and left as it is.\nmode = \"renew\"\nkeep = []\n";
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        plan(options, draft, &[Format::Lvm])
    }
}

impl Regenerator for Md {
    const ID: &'static str = "md";
    const ABOUT: &'static str = "Tell of members of software RAID arrays on a disk image";
    const EXAMPLE: &'static str = "";
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        plan(options, draft, &[Format::Md])
    }
}

impl Regenerator for DiskIds {
    const ID: &'static str = "disk-ids";
    const ABOUT: &'static str = "Give the partition table of a disk image, and its partitions, new ids";
    const EXAMPLE: &'static str = r#"[disk-ids]
# "renew", or "keep".
mode = "renew"
# Tables that are left as they are: "gpt", "mbr".
keep = []
"#;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        plan(options, draft, &[Format::Gpt, Format::Mbr])
    }
}

fn plan(options: &Options, draft: &mut Draft<'_>, formats: &[Format]) -> Result<()> {
    // A template's copies are given ids when they are reset; sealing has nothing to empty here.
    if options.mode == Mode::Keep || draft.purpose == Purpose::Seal {
        return Ok(());
    }
    let guest = draft.guest;
    for disk in &guest.disks {
        for part in &disk.parts {
            for bad in part.unsound.iter().filter(|bad| formats.contains(&bad.format)) {
                let message = format!(
                    "the {} there is not sound, and nothing is written to it: {}",
                    bad.format.name(),
                    bad.message
                );
                draft.finding(Severity::Warning, &place(disk, part), message);
            }
            for found in part.found.iter().filter(|found| formats.contains(&found.format)) {
                if !options.keep.contains(&found.format) {
                    plan_one(draft, disk, part, found)?;
                }
            }
        }
    }
    Ok(())
}

fn plan_one(draft: &mut Draft<'_>, disk: &Disk, part: &Part, found: &Found) -> Result<()> {
    let place = place(disk, part);
    // Two formats in one place: which of them is in use cannot be told from here.
    let format = found.format;
    let rivals = part.found.iter().filter(|other| other.format != format && !other.format.is_table()).count();
    let refusal = match (&found.refusal, rivals) {
        (Some(refusal), _) => Some(refusal.clone()),
        (None, 1..) if !format.is_table() => Some("another format's signature stands there too".to_owned()),
        _ => trial(draft, disk, part, found).err().map(|error| format!("{error:#}")),
    };
    if let Some(refusal) = refusal {
        let message = format!("the ids of the {} are left as they are: {refusal}", found.variant);
        draft.finding(Severity::Warning, &place, message);
        return Ok(());
    }
    let before: Vec<Id> = found.ids.iter().filter(|id| format.renews(id)).cloned().collect();
    let mut after = Vec::new();
    for id in &before {
        let (subject, new) = next(draft, disk, part, found, id);
        let renewal = draft.decide(kind(format, id), &subject, Some(id.value.clone()), |_| Ok(Some(new)))?;
        after.push(Id { name: id.name.clone(), value: renewal.new.clone().unwrap_or_else(|| id.value.clone()) });
        if format == Format::Mbr {
            partitions_of_mbr(draft, disk, &renewal)?;
        }
    }
    let why = "clones that share it are taken for one disk";
    draft.set_id(&disk.path, (part.offset, part.size), format, [before, after], why);
    if format == Format::Luks {
        let message = "every clone opens with the template's volume key, whatever its UUID; `cryptsetup reencrypt` gives it its own";
        draft.finding(Severity::Warning, &place, message);
    }
    Ok(())
}

/// The image and the partition's number: `/images/disk.raw:1`.
fn place(disk: &Disk, part: &Part) -> String {
    match part.number {
        Some(number) => format!("{}:{number}", disk.path),
        None => disk.path.clone(),
    }
}

/// The name of an id among the renewals, and the value that it is to have: an earlier run's, or a fresh one.
fn next(draft: &Draft<'_>, disk: &Disk, part: &Part, found: &Found, id: &Id) -> (String, String) {
    let (place, format) = (place(disk, part), found.format);
    let alone = found.ids.iter().filter(|id| format.renews(id)).count() == 1;
    let subject = if alone { place } else { format!("{place} {}", id.name) };
    let decided = draft.decided(kind(format, id), &subject).and_then(|past| past.new.clone());
    let new = decided.unwrap_or_else(|| format.fresh(draft.seed(), &format!("{}/{subject}", format.name())));
    (subject, new)
}

/// Can it be done? What a format refuses only when it plans shows here, before anything is decided. It is tried with the
/// very ids that it shall have: half of them may stand there from a run that was cut.
fn trial(draft: &Draft<'_>, disk: &Disk, part: &Part, found: &Found) -> Result<()> {
    let (format, device) = (found.format, Device::open(std::path::Path::new(&disk.path))?);
    let new = |id: &Id| Id { name: id.name.clone(), value: next(draft, disk, part, found, id).1 };
    let ids: Vec<Id> = found.ids.iter().filter(|id| format.renews(id)).map(new).collect();
    disks::plan(&Window::new(&device, part.offset, part.size), format, &ids)?;
    Ok(())
}

fn kind(format: Format, id: &Id) -> Kind {
    match format {
        Format::Swap => Kind::SwapUuid,
        Format::Luks => Kind::LuksUuid,
        Format::Lvm => Kind::LvmUuid,
        Format::Md => Kind::MdUuid,
        Format::Mbr => Kind::DiskId,
        Format::Gpt if id.name == "disk-guid" => Kind::DiskId,
        Format::Gpt => Kind::PartitionId,
        _ => Kind::FsUuid,
    }
}

/// The kernel makes a partition's id from the signature and its number: `1a2b3c4d-01` (block/partitions/msdos.c).
fn partitions_of_mbr(draft: &mut Draft<'_>, disk: &Disk, table: &Renewal) -> Result<()> {
    let (Some(old), Some(new)) = (&table.old, &table.new) else { return Ok(()) };
    for number in disk.parts.iter().filter_map(|part| part.number) {
        let of = |signature: &str| Some(format!("{signature}-{number:02x}"));
        let (subject, new) = (format!("{}:{number}", disk.path), of(new));
        draft.decide(Kind::PartitionId, &subject, of(old), |_| Ok(new))?;
    }
    Ok(())
}
