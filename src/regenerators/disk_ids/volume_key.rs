// SPDX-License-Identifier: MIT OR Apache-2.0
//! The volume keys of LUKS volumes: every clone opens with the template's until the volume is encrypted anew, which takes
//! hours, and therefore is done after the boot, where the policy wants it and it can be done unattended.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::unit::{Member, Unit};
use crate::disks::luks::volume_key;
use crate::formats::fstab::{self, Source, Volume};
use crate::formats::scheduled_keys::{self, PATH, Scheduled};
use crate::plan::draft::Draft;
use crate::plan::{Kind as PlanKind, Severity, Stage};
use crate::root::Kind;

/// What becomes of the volume key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeKeys {
    #[default]
    Report,
    Reencrypt,
}

/// Options of crypttab(5) with which the key file alone does not open the volume.
const MORE_THAN_A_FILE: [&str; 9] =
    ["keyfile-offset", "keyfile-size", "keyfile-erase", "header", "plain", "tcrypt", "bitlk", "keyscript", "offset"];

/// Says of every volume what becomes of its key, and writes the list of those that are to get another.
///
/// # Errors
/// When crypttab(5) or an earlier list cannot be read.
pub fn plan(draft: &mut Draft<'_>, units: &[Unit<'_>], wish: VolumeKeys) -> Result<()> {
    let volumes = fstab::volumes(&draft.text("etc/crypttab")?.unwrap_or_default());
    let mut scheduled = Vec::new();
    for unit in units {
        let place = unit.place();
        let can = match wish {
            VolumeKeys::Report => Err(None),
            VolumeKeys::Reencrypt => can_be_scheduled(draft, unit, &volumes).map_err(Some),
        };
        match can {
            Ok(volume) => {
                let message = format!(
                    "reseal-volume-keys.service gives it a volume key of its own after the boot; until then every \
                     clone opens with the template's, and {} opens it for ever: `cryptsetup luksChangeKey`",
                    volume.key_file
                );
                draft.finding(Severity::Note, &place, message);
                scheduled.push(volume);
            }
            Err(why) => {
                let why = why.map(|why| format!(" (not scheduled: {why})")).unwrap_or_default();
                let message = format!(
                    "every clone opens with the template's volume key, whatever its UUID; `cryptsetup reencrypt` gives \
                     it its own{why}"
                );
                draft.finding(Severity::Warning, &place, message);
            }
        }
    }
    // Later stages do not see the volumes as the early one does.
    if matches!(draft.guest.stage, Some(Stage::System | Stage::Keys)) {
        return Ok(());
    }
    if scheduled.is_empty() {
        return draft.remove(PATH, "it names volumes of another guest");
    }
    scheduled.sort_by_key(|volume| volume.uuid.clone());
    let meta = draft.owned(0o644)?;
    draft.put(PATH, scheduled_keys::print(&scheduled)?, meta, "`reseal reencrypt` goes by it after the boot")
}

/// The entry of a volume that cryptsetup-reencrypt(8) can encrypt anew while nobody looks on.
///
/// # Errors
/// Why it cannot, a sentence that goes on after a colon.
fn can_be_scheduled(draft: &Draft<'_>, unit: &Unit<'_>, volumes: &[Volume]) -> Result<Scheduled, String> {
    let Some(member) = unit.members.first() else { return Err("it has no device".into()) };
    let key = unit.read_first(|blocks| Ok(volume_key(blocks)?)).map_err(|error| format!("{error:#}"))?;
    let key = key.ok_or("it is of version 1, which is encrypted anew only while it is not in use")?;
    let [digest] = &key.digests[..] else { return Err("it is being encrypted anew".into()) };
    if key.under_way {
        return Err("it is being encrypted anew".into());
    }
    if key.slots != 1 || key.has_tokens {
        return Err("it has other key slots, or tokens, which would not open it any more".into());
    }
    if !key.has_room {
        return Err("its header has no room for another key".into());
    }
    if !member.part.usage.carries.is_empty() {
        return Err("the guest boots from it".into());
    }
    let is = member.found.ids.first().map(|id| id.value.clone()).ok_or("it has no UUID")?;
    // In a run that goes on, the volume may have the new one, and crypttab still the old one.
    let decided = draft.decided_value(PlanKind::LuksUuid, &is);
    let uuid = decided.and_then(|decided| decided.new.clone()).unwrap_or_else(|| is.clone());
    let ids = [Some(&is), Some(&uuid), decided.and_then(|decided| decided.old.as_ref())];
    let is_it = |volume: &&Volume| names(draft, member, &ids, &volume.source);
    let Some(volume) = volumes.iter().find(is_it) else { return Err("crypttab does not name it".into()) };
    let Some(file) = volume.key.as_ref().filter(|key| key.starts_with('/') && !key.contains(':')) else {
        return Err("crypttab names no key file for it".into());
    };
    let option = |option: &String| MORE_THAN_A_FILE.contains(&option.split('=').next().unwrap_or_default());
    if volume.options.iter().any(option) {
        return Err("crypttab opens it by more than a key file".into());
    }
    let stat = draft.guest.root.stat(file).map_err(|error| format!("{error:#}"))?;
    // Of /dev, or of a file system that is mounted later.
    if stat.is_none_or(|stat| stat.kind != Kind::File) {
        return Err(format!("the key file {file} is not there, or is no regular file"));
    }
    Ok(Scheduled { uuid, key_file: file.clone(), digest: digest.clone() })
}

/// Does a line of crypttab(5) mean this device, which has or had one of these UUIDs?
fn names(draft: &Draft<'_>, member: &Member<'_>, ids: &[Option<&String>], source: &Source) -> bool {
    match source {
        Source::Uuid(id) if ids.contains(&Some(id)) => true,
        source => draft.guest.disks.sought(&draft.guest.root, source) == [member.part.path.clone()],
    }
}
