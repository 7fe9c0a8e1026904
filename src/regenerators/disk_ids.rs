// SPDX-License-Identifier: MIT OR Apache-2.0
//! `fs-uuids`, `swap`, `luks`, `lvm`, `md` and `disk-ids`: the ids on the guest's disks and disk images.

mod boot_path;
mod firmware;
mod pick;
mod refusal;
mod running;
mod unit;
mod volume_key;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Regenerator;
use crate::disks::foreign::Foreign;
use crate::disks::{Format, Found};
use crate::guest::Guest;
use crate::guest::disks::Part;
use crate::plan::draft::{Draft, Purpose};
use crate::plan::{Kind, Renewal, Severity, Stage, Via};
use pick::Pick;
use refusal::Outlook;
use unit::{Unit, kind};
use volume_key::VolumeKeys;

pub use boot_path::{boot_files, may_be_anchored};
pub use running::plan as plan_running_system;

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
    only: Vec<Pick>,
    keep: Vec<Pick>,
}

/// The table of `luks`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Volumes {
    mode: Mode,
    only: Vec<Pick>,
    keep: Vec<Pick>,
    tpm: Mode,
    volume_key: VolumeKeys,
}

impl Default for Volumes {
    fn default() -> Volumes {
        Volumes {
            mode: Mode::Renew,
            only: Vec::new(),
            keep: Vec::new(),
            tpm: Mode::Keep,
            volume_key: VolumeKeys::Report,
        }
    }
}

/// What becomes of the firmware's boot entries that name a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BootEntries {
    #[default]
    Keep,
    Rewrite,
}

/// The table of `disk-ids`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Tables {
    mode: Mode,
    only: Vec<Pick>,
    keep: Vec<Pick>,
    tpm: Mode,
    boot_entries: BootEntries,
}

impl Default for Tables {
    fn default() -> Tables {
        Tables {
            mode: Mode::Renew,
            only: Vec::new(),
            keep: Vec::new(),
            tpm: Mode::Keep,
            boot_entries: BootEntries::Keep,
        }
    }
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
    const ABOUT: &'static str = "Give file systems new UUIDs and serial numbers";
    const EXAMPLE: &'static str = r#"[fs-uuids]
# "renew", or "keep". File systems that are mounted, ext4 apart, change at the next first boot only.
mode = "renew"
# If not empty, only these are renewed. Each is a format ("ext", "xfs", "btrfs", "fat", "exfat", "ntfs", "f2fs",
# "bcache"), a mount point ("/srv"), a device ("/dev/vdb1"), or a label ("LABEL=data").
only = []
# These are left as they are.
keep = []
"#;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        use Format::{Bcache, Btrfs, Exfat, Ext, F2fs, Fat, Ntfs, Xfs};
        let formats = [Ext, Xfs, Btrfs, Fat, Exfat, Ntfs, F2fs, Bcache];
        let picks = (options.mode, &options.only[..], &options.keep[..]);
        // What is not the root's is told by the stage that follows.
        if draft.guest.stage == Some(Stage::Initrd) {
            return plan(picks, Mode::Renew, draft, &formats);
        }
        if let Some(why) = draft.guest.disks.unseen.clone() {
            draft.finding(Severity::Note, "disks", format!("their ids are left as they are: {why}"));
        }
        let unreadable = |part: &Part| Some((part.place(), part.usage.unreadable.clone()?));
        let parts: Vec<_> = draft.guest.disks.parts().filter_map(|(_, part)| unreadable(part)).collect();
        for (place, why) in parts {
            draft.finding(Severity::Warning, &place, format!("what is on it is not known: {why}"));
        }
        let foreign = |part: &Part| Some((part.place(), part.foreign.clone()?));
        let parts: Vec<_> = draft.guest.disks.parts().filter_map(|(_, part)| foreign(part)).collect();
        for (place, Foreign { name, remedy, .. }) in parts {
            draft.finding(Severity::Warning, &place, format!("the ids of the {name} are left as they are: {remedy}"));
        }
        let (disks, decided) = (&draft.guest.disks, draft.decided_disk_ids());
        if disks.are_running() && draft.guest.stage.is_some() {
            for missing in disks.missing(&draft.guest.root, &decided)? {
                let message = format!("pending: {missing} is not there; if it comes, it has the ids of the template");
                draft.finding(Severity::Warning, "/etc/fstab", message);
            }
        }
        plan(picks, Mode::Renew, draft, &formats)
    }
}

impl Regenerator for Swap {
    const ID: &'static str = "swap";
    const ABOUT: &'static str = "Give swap space a new UUID";
    const EXAMPLE: &'static str = r#"[swap]
# "renew", or "keep". Swap space that the initramfs resumes from is left as it is.
mode = "renew"
# As in [fs-uuids]: only these, and not these.
only = []
keep = []
"#;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        plan((options.mode, &options.only, &options.keep), Mode::Renew, draft, &[Format::Swap])
    }
}

impl Regenerator for Luks {
    const ID: &'static str = "luks";
    const ABOUT: &'static str = "Give LUKS headers a new UUID; the volume key stays, and is reported";
    const EXAMPLE: &'static str = r#"[luks]
# "renew", or "keep".
mode = "renew"
# As in [fs-uuids]: only these, and not these.
only = []
keep = []
# "renew" goes ahead on a guest whose LUKS volumes a TPM opens; enroll it again afterwards, systemd-cryptenroll(1).
tpm = "keep"
# "report", or "reencrypt": `cryptsetup reencrypt` gives the volumes keys of their own after the boot, in the background. Only
# those of LUKS2 that one key slot opens, with the key file that crypttab names; the key file stays the template's.
volume-key = "report"
"#;
    type Options = Volumes;

    fn plan(options: &Volumes, draft: &mut Draft<'_>) -> Result<()> {
        let picks = (options.mode, &options.only[..], &options.keep[..]);
        plan(picks, options.tpm, draft, &[Format::Luks])?;
        if draft.purpose == Purpose::Seal || options.mode == Mode::Keep {
            return Ok(());
        }
        let units: Vec<Unit<'_>> =
            unit::all(&draft.guest.disks, &[Format::Luks]).into_iter().filter(|unit| is_picked(unit, picks)).collect();
        volume_key::plan(draft, &units, options.volume_key)
    }
}

impl Regenerator for Lvm {
    const ID: &'static str = "lvm";
    const ABOUT: &'static str = "Give LVM volume groups, and their volumes, new UUIDs";
    const EXAMPLE: &'static str = r#"[lvm]
# "renew", or "keep". A group with a volume in use is told, and left as it is.
mode = "renew"
# As in [fs-uuids]: only these, and not these. A group is picked by the device of one of its physical volumes, and the
# label is its name.
only = []
keep = []
"#;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        plan((options.mode, &options.only, &options.keep), Mode::Renew, draft, &[Format::Lvm])
    }
}

impl Regenerator for Md {
    const ID: &'static str = "md";
    const ABOUT: &'static str = "Give software RAID arrays new UUIDs";
    const EXAMPLE: &'static str = r#"[md]
# "renew", or "keep". An array in use, or that fstab names by its device, is told, and left as it is.
mode = "renew"
# As in [fs-uuids]: only these, and not these.
only = []
keep = []
"#;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        plan((options.mode, &options.only, &options.keep), Mode::Renew, draft, &[Format::Md])
    }
}

impl Regenerator for DiskIds {
    const ID: &'static str = "disk-ids";
    const ABOUT: &'static str = "Give partition tables, and their partitions, new ids";
    const EXAMPLE: &'static str = r#"[disk-ids]
# "renew", or "keep". The GUID of a partition that the kernel's command line names stays.
mode = "renew"
# If not empty, only these are renewed: "gpt", "mbr", or a disk ("/dev/vda").
only = []
# These are left as they are.
keep = []
# "renew" goes ahead on a guest whose LUKS volumes a TPM opens: it may have measured the table.
tpm = "keep"
# "keep" leaves the GUID of a partition that a boot entry of the firmware names; "rewrite" has the entry follow it.
boot-entries = "keep"
"#;
    type Options = Tables;

    fn plan(options: &Tables, draft: &mut Draft<'_>) -> Result<()> {
        let mut outlook = Outlook::of(draft);
        outlook.entries_follow = options.boot_entries == BootEntries::Rewrite;
        let picks = (options.mode, &options.only[..], &options.keep[..]);
        plan_among(picks, options.tpm, draft, &[Format::Gpt, Format::Mbr], &outlook)?;
        if draft.purpose == Purpose::Reset && !matches!(draft.guest.stage, Some(Stage::System | Stage::Keys)) {
            firmware::plan(draft, &outlook.firmware, outlook.entries_follow);
        }
        Ok(())
    }
}

fn plan(picks: (Mode, &[Pick], &[Pick]), tpm: Mode, draft: &mut Draft<'_>, formats: &[Format]) -> Result<()> {
    let outlook = Outlook::of(draft);
    plan_among(picks, tpm, draft, formats, &outlook)
}

fn plan_among(
    picks: (Mode, &[Pick], &[Pick]),
    tpm: Mode,
    draft: &mut Draft<'_>,
    formats: &[Format],
    outlook: &Outlook,
) -> Result<()> {
    if draft.purpose == Purpose::Seal {
        return Ok(());
    }
    let disks = &draft.guest.disks;
    let unsound = disks.parts().flat_map(|(_, part)| part.unsound.iter().map(move |unsound| (part, unsound)));
    let unsound: Vec<_> = unsound.filter(|(_, unsound)| formats.contains(&unsound.format)).collect();
    for (part, unsound) in unsound.into_iter().filter(|_| draft.guest.stage != Some(Stage::Initrd)) {
        draft.finding(Severity::Warning, &part.place(), format!("left as it is: {}", unsound.message));
    }
    if picks.0 == Mode::Keep {
        return Ok(());
    }
    let tpm = tpm == Mode::Keep && disks.parts().any(|(_, part)| part.found.iter().any(|found| found.tpm));
    for unit in unit::all(disks, formats) {
        // The initramfs does what no later stage can.
        if draft.guest.stage == Some(Stage::Initrd) && !refusal::holds_the_root(&unit) {
            continue;
        }
        if is_picked(&unit, picks) {
            plan_one(draft, outlook, &unit, tpm)?;
        }
    }
    Ok(())
}

fn is_picked(unit: &Unit<'_>, (_, only, keep): (Mode, &[Pick], &[Pick])) -> bool {
    let picked = |picks: &[Pick]| unit.members.iter().any(|member| picks.iter().any(|pick| pick.takes(member)));
    !picked(keep) && (only.is_empty() || picked(only))
}

fn plan_one(draft: &mut Draft<'_>, outlook: &Outlook, unit: &Unit<'_>, tpm: bool) -> Result<()> {
    let (format, place) = (unit.format, unit.place());
    let keep = refusal::kept(outlook, unit);
    let after = unit.after(draft, &keep);
    let is_new = unit.members.iter().zip(&after).all(|(member, after)| unit.before(member) == *after);
    let carries = unit.members.iter().any(|member| !member.part.usage.carries.is_empty());
    let way = refusal::way(draft, outlook, unit, tpm).and_then(|via| {
        let changes = match via {
            // What is mounted is not to be planned by its sectors.
            Via::Kernel { .. } | Via::Aside | Via::Root => !is_new,
            _ => unit.trial(&after).map_err(|error| format!("{error:#}"))?.iter().any(|patch| !patch.is_empty()),
        };
        let anchors = if carries && changes { outlook.boot(draft).anchored(draft, unit, &after)? } else { Vec::new() };
        Ok((via, changes, anchors))
    });
    let (via, changes, anchors) = match way {
        Ok(way) => way,
        // An earlier stage of this run has set them, and now it is in use.
        Err(_) if is_new => (Via::Sectors, false, Vec::new()),
        Err(why) => {
            let message = format!("the ids of the {} are left as they are: {why}", unit.variant());
            draft.finding(Severity::Warning, &place, message);
            return Ok(());
        }
    };
    for (member, after) in unit.members.iter().zip(&after) {
        let alone = unit.before(member).len() == 1;
        for (old, new) in unit.before(member).iter().zip(after).filter(|(old, _)| !keep.contains(&old.value)) {
            let named = if alone { member.part.place() } else { format!("{} {}", member.part.place(), old.name) };
            let renewal = draft.decide_value(kind(format, old), &named, &old.value, &new.value);
            if format == Format::Mbr {
                partitions_of_mbr(draft, member, &renewal);
            }
        }
    }
    if !keep.is_empty() {
        let message = format!("the ids {} stay: firmware or kernel boot by them", keep.join(", "));
        draft.finding(Severity::Warning, &place, message);
    }
    for (path, bytes) in anchors {
        draft.anchor(&path, bytes)?;
    }
    if changes {
        draft.set_id(format, unit.places(after), via, "clones that share it are taken for one disk");
    }
    Ok(())
}

/// Every id on the guest's disks that a clone can have of its own, whether it can be changed or not: kind, place, value.
pub fn on_disks(guest: &Guest) -> Vec<(Kind, String, String)> {
    let of = |found: &Found, place: &str| -> Vec<_> {
        let ids = found.ids.iter().filter(|id| found.format.renews(id));
        ids.map(|id| (unit::kind(found.format, id), place.to_owned(), id.value.clone())).collect()
    };
    guest.disks.parts().flat_map(|(_, part)| part.found.iter().flat_map(|found| of(found, &part.place()))).collect()
}

/// The kernel makes a partition's id from the signature and its number: `1a2b3c4d-01` (block/partitions/msdos.c).
fn partitions_of_mbr(draft: &mut Draft<'_>, table: &unit::Member<'_>, renewal: &Renewal) {
    let (Some(old), Some(new)) = (&renewal.old, &renewal.new) else { return };
    for part in &table.disk.parts {
        let Some(number) = part.number else { continue };
        let of = |signature: &str| format!("{signature}-{number:02x}");
        draft.decide_value(Kind::PartitionId, &part.place(), &of(old), &of(new));
    }
}
