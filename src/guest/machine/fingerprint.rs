// SPDX-License-Identifier: MIT OR Apache-2.0
//! What tells one machine from another, and whether two of them are one.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Disk, Machine};

/// Serial numbers that a hypervisor counts up in every guest alike, by the beginning of a word: QEMU's default for a
/// SCSI disk (libvirt, Proxmox), VMware's NVMe disks, VirtualBox's, Google's.
const POSITIONAL: &[&str] = &["drive-", "NVME_", "NVMe_", "VB1234-56789", "persistent-disk-", "nvme_card"];

/// What two fingerprints say of their machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Likeness {
    /// One machine.
    Same,
    /// Two machines.
    Other,
    /// Nothing can be compared: to be treated as if it were one.
    Unreadable,
}

/// A part of a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// UUID of the machine.
    SmbiosUuid,
    /// Serial numbers and world-wide ids of its disks.
    Disks,
    /// Permanent hardware addresses of its interfaces.
    Macs,
    /// VM generation id.
    GenerationId,
}

impl Part {
    /// What tells machines apart where the policy does not say otherwise.
    pub const USUAL: [Part; 3] = [Part::SmbiosUuid, Part::Disks, Part::Macs];
}

/// What tells a machine from others. It outlives a reboot, a migration, and more disks or interfaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fingerprint {
    /// UUID of the machine, lower case.
    pub smbios_uuid: Option<String>,
    /// Serial numbers and world-wide ids, sorted, each once.
    pub disks: Vec<String>,
    /// Permanent hardware addresses, lower case, sorted, each once.
    pub macs: Vec<String>,
    /// VM generation id, lower case. It changes when a snapshot is restored in place, so it is kept and shown, and
    /// decides nothing but where the policy says so.
    pub generation_id: Option<String>,
}

impl Fingerprint {
    pub(super) fn of(machine: &Machine) -> Fingerprint {
        Fingerprint {
            smbios_uuid: machine.smbios_uuid.clone(),
            disks: sorted(machine.disks.iter().flat_map(ids)),
            macs: sorted(machine.links.iter().filter_map(|link| link.mac.as_deref())),
            generation_id: machine.generation_id.clone(),
        }
    }

    /// Is there anything to compare?
    pub fn is_readable(&self) -> bool {
        self.smbios_uuid.is_some() || !self.disks.is_empty() || !self.macs.is_empty()
    }

    /// Are these fingerprints of one machine? Only what both have is compared, and one contradiction is enough:
    ///
    /// | UUID | disks | interfaces | |
    /// |---|---|---|---|
    /// | same | share one | share one | same: a reboot, a migration, a restored backup, more disks or interfaces |
    /// | differs | any | any | other: a copied disk in a new virtual machine |
    /// | same or none | share none | any | other: a definition copied with its UUID |
    /// | same or none | any | share none | other |
    /// | none | none | none | unreadable |
    pub fn compare(&self, other: &Fingerprint) -> Likeness {
        self.compare_by(other, &Part::USUAL)
    }

    /// As [`compare`](Fingerprint::compare), by these parts alone.
    pub fn compare_by(&self, other: &Fingerprint, parts: &[Part]) -> Likeness {
        let evidence: Vec<Option<bool>> = parts.iter().map(|part| self.agrees(other, *part)).collect();
        if evidence.contains(&Some(false)) {
            Likeness::Other
        } else if evidence.contains(&Some(true)) {
            Likeness::Same
        } else {
            Likeness::Unreadable
        }
    }

    /// Is one of these parts here, and not there?
    pub fn has_more_than(&self, other: &Fingerprint, parts: &[Part]) -> bool {
        parts.iter().any(|part| match part {
            Part::SmbiosUuid => self.smbios_uuid.is_some() && other.smbios_uuid.is_none(),
            Part::Disks => !self.disks.is_empty() && other.disks.is_empty(),
            Part::Macs => !self.macs.is_empty() && other.macs.is_empty(),
            Part::GenerationId => self.generation_id.is_some() && other.generation_id.is_none(),
        })
    }

    /// Does this part say that they are one machine? `None` where one of the two has nothing to compare.
    fn agrees(&self, other: &Fingerprint, part: Part) -> Option<bool> {
        let both = |one: &Option<String>, two: &Option<String>, same: fn(&str, &str) -> bool| {
            one.as_deref().zip(two.as_deref()).map(|(one, two)| same(one, two))
        };
        match part {
            Part::SmbiosUuid => both(&self.smbios_uuid, &other.smbios_uuid, is_same_uuid),
            Part::Disks => share(&self.disks, &other.disks),
            Part::Macs => share(&self.macs, &other.macs),
            Part::GenerationId => both(&self.generation_id, &other.generation_id, |one, two| one == two),
        }
    }
}

/// Before SMBIOS 2.6 the byte order of the first three fields was anybody's guess, so a new firmware or kernel may
/// turn them round: cloud-init knows it from Azure, cloudinit/sources/azure/identity.py, `byte_swap_system_uuid`.
fn is_same_uuid(one: &str, two: &str) -> bool {
    let turned = Uuid::parse_str(one).map(|uuid| Uuid::from_bytes(uuid.to_bytes_le()).to_string());
    one == two || turned.is_ok_and(|turned| turned == two)
}

fn share(one: &[String], two: &[String]) -> Option<bool> {
    (!one.is_empty() && !two.is_empty()).then(|| one.iter().any(|id| two.contains(id)))
}

/// The ids of a disk that are its own. Both kinds, because which of them a kernel shows changes with its version.
fn ids(disk: &Disk) -> impl Iterator<Item = &str> {
    let serial = disk.serial.as_deref().filter(|serial| !is_positional(serial));
    // Beside a positional serial number, a WWID is only worth something if it is not made from that number.
    let is_own = |wwid: &&str| ["naa.", "eui.", "uuid."].iter().any(|kind| wwid.starts_with(kind));
    let is_doubtful = disk.serial.is_some() && serial.is_none();
    let wwid = disk.wwid.as_deref().filter(|wwid| is_own(wwid) || !is_doubtful && !is_positional(wwid));
    serial.into_iter().chain(wwid)
}

fn is_positional(id: &str) -> bool {
    // QEMU's IDE and SATA disks: QM00001, QM00002.
    let is_counted = |word: &str| {
        word.strip_prefix("QM").is_some_and(|rest| rest.len() == 5 && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    id.split_whitespace().any(|word| is_counted(word) || POSITIONAL.iter().any(|start| word.starts_with(start)))
}

fn sorted<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut ids: Vec<String> = ids.map(str::to_owned).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "4c4c4544-0042-3510-8054-b7c04f4d3332";
    const OTHER_UUID: &str = "564d1f2a-9c1e-7b33-0d42-6a5e3f8b9c10";

    fn print(uuid: &str, disks: &[&str], macs: &[&str]) -> Fingerprint {
        Fingerprint {
            smbios_uuid: (!uuid.is_empty()).then(|| uuid.to_owned()),
            disks: sorted(disks.iter().copied()),
            macs: sorted(macs.iter().copied()),
            generation_id: None,
        }
    }

    #[test]
    fn every_row_of_the_table() {
        use Likeness::{Other, Same, Unreadable};
        let whole = print(UUID, &["S1"], &["52:54:00:00:00:01"]);
        let bare = print("", &["S1"], &["52:54:00:00:00:01"]);
        let empty = print("", &[], &[]);
        let rows = [
            ("a reboot", &whole, whole.clone(), Same),
            ("a migration to another host, a restored backup: the definition goes along", &whole, whole.clone(), Same),
            ("a disk added", &whole, print(UUID, &["S1", "S2"], &["52:54:00:00:00:01"]), Same),
            ("an interface added", &whole, print(UUID, &["S1"], &["52:54:00:00:00:01", "52:54:00:00:00:02"]), Same),
            ("a first disk whose serial can be read", &print(UUID, &[], &[]), whole.clone(), Same),
            ("only the UUID", &print(UUID, &[], &[]), print(UUID, &[], &[]), Same),
            ("bytes of the UUID turned round", &whole, print("44454c4c-4200-1035-8054-b7c04f4d3332", &[], &[]), Same),
            ("a copied disk in a new machine", &whole, print(OTHER_UUID, &["S1"], &["52:54:00:00:00:02"]), Other),
            ("all the same but the UUID", &whole, print(OTHER_UUID, &["S1"], &["52:54:00:00:00:01"]), Other),
            ("the UUID copied, all else new", &whole, print(UUID, &["S2"], &["52:54:00:00:00:02"]), Other),
            ("the UUID copied, other disks", &whole, print(UUID, &["S2"], &["52:54:00:00:00:01"]), Other),
            ("the UUID copied, other interfaces", &whole, print(UUID, &["S1"], &["52:54:00:00:00:02"]), Other),
            ("no UUID, all the same", &bare, bare.clone(), Same),
            ("no UUID, other disks", &bare, print("", &["S2"], &[]), Other),
            ("no UUID, other interfaces", &bare, print("", &[], &["52:54:00:00:00:02"]), Other),
            ("nothing now", &whole, empty.clone(), Unreadable),
            ("nothing on both sides", &empty, empty.clone(), Unreadable),
            ("nothing in common", &print(UUID, &[], &[]), bare.clone(), Unreadable),
        ];
        for (what, one, two, expected) in rows {
            assert_eq!(one.compare(&two), expected, "{what}");
            assert_eq!(two.compare(one), expected, "{what}, turned round");
        }
    }

    #[test]
    fn generation_id_does_not_decide() {
        let with = |id: &str, base: Fingerprint| Fingerprint { generation_id: Some(id.to_owned()), ..base };
        let whole = print(UUID, &["S1"], &[]);
        assert_eq!(with("1", whole.clone()).compare(&with("2", whole)), Likeness::Same);
        let alone = with("1", Fingerprint::default());
        assert!(!alone.is_readable());
        assert_eq!(alone.compare(&alone), Likeness::Unreadable);
    }

    #[test]
    fn the_policy_chooses_the_parts() {
        let whole = print(UUID, &["S1"], &["52:54:00:00:00:01"]);
        let other_macs = print(UUID, &["S1"], &["52:54:00:00:00:02"]);
        assert_eq!(whole.compare_by(&other_macs, &[Part::SmbiosUuid, Part::Disks]), Likeness::Same);
        assert_eq!(whole.compare_by(&other_macs, &[Part::Macs]), Likeness::Other);
        assert_eq!(whole.compare_by(&other_macs, &[]), Likeness::Unreadable);
        let with = |id: &str| Fingerprint { generation_id: Some(id.to_owned()), ..whole.clone() };
        let parts = [Part::SmbiosUuid, Part::GenerationId];
        assert_eq!(with("1").compare_by(&with("2"), &parts), Likeness::Other, "a snapshot, where the policy counts it");
        assert_eq!(with("1").compare_by(&whole, &parts), Likeness::Same, "an id that cannot be read counts nowhere");
        let early = print(UUID, &["S1"], &[]);
        assert!(whole.has_more_than(&early, &Part::USUAL));
        assert!(!early.has_more_than(&whole, &Part::USUAL) && !whole.has_more_than(&whole, &Part::USUAL));
        assert!(!whole.has_more_than(&early, &[Part::SmbiosUuid]), "a part that nobody asks for is not waited for");
    }

    #[test]
    fn positional_serials_are_no_identity() {
        let ids_of = |serial: Option<&str>, wwid: Option<&str>| {
            let disk = Disk { name: "sda".into(), serial: serial.map(Into::into), wwid: wwid.map(Into::into) };
            ids(&disk).map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(
            ids_of(Some("QM00001"), Some("t10.ATA     QEMU HARDDISK                           QM00001")).is_empty()
        );
        assert!(ids_of(None, Some("t10.QEMU    QEMU HARDDISK   drive-scsi0")).is_empty());
        assert!(
            ids_of(Some("VMware NVME_0000"), Some("nvme.15ad-564d77617265204e564d455f30303030-00000001")).is_empty()
        );
        assert_eq!(ids_of(Some("VMware NVME_0000"), Some("eui.a9d1a9a7feaf1d66")), ["eui.a9d1a9a7feaf1d66"]);
        assert_eq!(ids_of(Some("VBd3c7e9a1-5b2f4c80"), None), ["VBd3c7e9a1-5b2f4c80"]);
        assert_eq!(
            ids_of(Some("S4EWNX0M"), Some("naa.5002538e40a1b2c3")),
            ["S4EWNX0M", "naa.5002538e40a1b2c3"],
            "both: a newer kernel shows more"
        );
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let whole = print(UUID, &["S1"], &["52:54:00:00:00:01"]);
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<Fingerprint>(&text).unwrap(), whole);
        assert_eq!(toml::from_str::<Fingerprint>(&toml::to_string(&whole).unwrap()).unwrap(), whole);
        assert!(serde_json::from_str::<Fingerprint>(r#"{"smbios-uid":null}"#).is_err());
    }
}
