// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which file systems of an image make up the guest's tree, by the image's own fstab(5): read as what it is, another's
//! word. The type of a file system is what stands on the disk, and of the options only the subvolume counts.

use super::{Disk, Disks, Part, partition_id};
use crate::disks::{Format, Found};
use crate::formats::fstab::{self, Entry, Source};

/// Where the firmware's FAT file system is mounted; the kernel that mounts an image may have no FAT.
pub const OF_FIRMWARE: [&str; 3] = ["/boot/efi", "/efi", "/boot/firmware"];

/// A file system of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// The image.
    pub image: String,
    /// Byte offset and size on it.
    pub place: (u64, u64),
    /// The partition, for messages.
    pub name: String,
    /// The type, as mount(2) has it.
    pub kind: String,
    /// `subvol=` or `subvolid=` of a btrfs; else empty.
    pub options: String,
    /// Its mount point, absolute.
    pub point: String,
    /// Can the guest do without it, as its fstab says, or may this machine?
    pub optional: bool,
}

/// What cannot be mounted, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The mount point, or the partition.
    pub subject: String,
    /// Why, a sentence.
    pub why: String,
    /// May there be files of the guest on it that a seal must reach?
    pub needed: bool,
}

/// What may be the guest's root: every file system of Linux that stands there whole, at `/`.
pub fn candidates(disks: &Disks) -> Vec<Branch> {
    let parts = disks.parts().filter_map(|(_, part)| branch(part).ok().flatten());
    parts.filter(|branch| branch.kind != "vfat").collect()
}

/// What on these disks is not mounted, and why.
pub fn closed(disks: &Disks) -> Vec<String> {
    disks.parts().filter_map(|(_, part)| branch(part).err()).collect()
}

/// The file systems below the root `root`, outer mount points first, by the guest's fstab; and what of them is missing.
pub fn branches(disks: &Disks, root: &Branch, text: &str) -> (Vec<Branch>, Vec<Missing>) {
    let (mut found, mut missing): (Vec<Branch>, Vec<Missing>) = (Vec::new(), Vec::new());
    for entry in fstab::entries(text) {
        if entry.is_swap() || !entry.target.starts_with('/') || entry.target == "/" {
            continue;
        }
        let optional = entry.has("noauto") || entry.has("nofail") || OF_FIRMWARE.contains(&entry.target.as_str());
        let needed = !optional;
        let mut miss = |why: String| missing.push(Missing { subject: entry.target.clone(), why, needed });
        match of_entry(disks, &entry) {
            Ok(None) => {}
            Ok(Some(_)) if !is_plain(&entry.target) => miss("its mount point is not a plain path".to_owned()),
            Ok(Some(branch)) if found.iter().any(|earlier| earlier.point == entry.target) => {
                miss(format!("{} is one of two file systems for it", branch.name));
            }
            Ok(Some(branch)) => found.push(Branch { point: entry.target.clone(), optional, ..branch }),
            Err(why) => miss(why),
        }
    }
    found.sort_by_key(|branch| branch.point.matches('/').count());
    for (_, part) in disks.parts() {
        let is_used = |branch: &Branch| branch.image == part.path && branch.place == (part.offset, part.size);
        if is_used(root) || found.iter().any(is_used) || missing.iter().any(|one| one.why.contains(&part.place())) {
            continue;
        }
        let what = match branch(part) {
            Ok(Some(branch)) if branch.kind == "vfat" => continue,
            Ok(Some(branch)) => format!("it holds {}, which the guest's fstab does not name", branch.kind),
            Err(why) => why,
            Ok(None) => continue,
        };
        missing.push(Missing { subject: part.place(), why: what, needed: false });
    }
    (found, missing)
}

/// An absolute path without `.` and `..`.
fn is_plain(path: &str) -> bool {
    path.split('/').skip(1).all(|name| !matches!(name, "" | "." | ".."))
}

/// What a line mounts; nothing for what is no file system on a disk.
fn of_entry(disks: &Disks, entry: &Entry) -> Result<Option<Branch>, String> {
    let sought: Vec<(&Disk, &Part)> = match &entry.source {
        Source::Other(path) if path.starts_with('/') => {
            return Err(format!("{path} is mounted there, which is no disk"));
        }
        Source::Other(_) => return Ok(None),
        source => disks.parts().filter(|(disk, part)| is_meant(disks, disk, part, source)).collect(),
    };
    let [(_, part)] = sought[..] else {
        return Err(match sought.len() {
            0 => format!("{} is not in the image", entry.source),
            many => format!("{} is in the image {many} times", entry.source),
        });
    };
    let Some(branch) = branch(part)? else { return Err(format!("{} holds no file system", part.place())) };
    let subvolume = |option: &&String| {
        let path = option.strip_prefix("subvol=").filter(|path| path.split('/').all(|name| name != ".."));
        let id = option.strip_prefix("subvolid=").filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()));
        branch.kind == "btrfs" && (path.is_some() || id.is_some())
    };
    let options = entry.options.iter().filter(subvolume).cloned().collect::<Vec<_>>().join(",");
    Ok(Some(Branch { options, ..branch }))
}

/// Does a line of fstab(5) mean this partition?
pub fn is_meant(disks: &Disks, disk: &Disk, part: &Part, source: &Source) -> bool {
    let contents = || part.found.iter().filter(|found| !found.format.is_table());
    match source {
        Source::Uuid(uuid) => {
            contents().filter_map(|found| found.ids.first()).any(|id| id.value.eq_ignore_ascii_case(uuid))
        }
        Source::PartUuid(uuid) => partition_id(disk, part).is_some_and(|id| id.eq_ignore_ascii_case(uuid)),
        Source::Label(label) => contents().any(|found| found.label.as_ref() == Some(label)),
        Source::Device(path) => kernel_name(path).is_some_and(|(number, partition)| {
            part.number == partition && disks.list.get(number).is_some_and(|named| std::ptr::eq(named, disk))
        }),
        Source::Other(_) => false,
    }
}

/// Which disk and partition a name of the kernel's means, where the images are the guest's disks in their order.
fn kernel_name(path: &str) -> Option<(usize, Option<u32>)> {
    let name = path.strip_prefix("/dev/")?;
    let number = |digits: &str| digits.parse().ok().filter(|number| *number > 0);
    if let Some(rest) = ["sd", "vd", "xvd", "hd"].iter().find_map(|driver| name.strip_prefix(driver)) {
        let letter = rest.bytes().next().filter(u8::is_ascii_lowercase)?;
        let partition = if rest.len() == 1 { None } else { Some(number(&rest[1..])?) };
        return Some((usize::from(letter - b'a'), partition));
    }
    let (disk, partition) = match name.split_once('p') {
        Some((disk, partition)) => (disk, Some(number(partition)?)),
        None => (name, None),
    };
    let disk = match disk.strip_prefix("nvme") {
        Some(rest) => rest.strip_suffix("n1")?,
        None => disk.strip_prefix("mmcblk")?,
    };
    Some((disk.parse().ok()?, partition))
}

/// A partition's file system; none where there is none.
///
/// # Errors
/// Why it is not mounted.
fn branch(part: &Part) -> Result<Option<Branch>, String> {
    let contents: Vec<&Found> = part.found.iter().filter(|found| !found.format.is_table()).collect();
    let [found] = contents[..] else {
        return match (contents.len(), &part.foreign) {
            (0, Some(foreign)) => Err(format!("{} holds {}, which is not mounted", part.place(), foreign.name)),
            (0, None) => Ok(None),
            _ => Err(format!("{} has the signatures of several formats", part.place())),
        };
    };
    let kind = match found.format {
        Format::Ext => found.variant.as_str(),
        Format::Xfs => "xfs",
        Format::Btrfs => "btrfs",
        Format::Fat => "vfat",
        Format::Swap => return Ok(None),
        other => return Err(format!("{} holds {}, which is not opened", part.place(), other.name())),
    };
    // The other device would be one of this machine's, as the kernel looks for it.
    if found.group.is_some() {
        return Err(format!("{} holds a part of a file system of several devices, which is not mounted", part.place()));
    }
    Ok(Some(Branch {
        image: part.path.clone(),
        place: (part.offset, part.size),
        name: part.place(),
        kind: kind.to_owned(),
        options: String::new(),
        point: "/".to_owned(),
        optional: false,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disks::Id;
    use crate::guest::disks::Usage;

    fn part(number: u32, format: Format, variant: &str, uuid: &str) -> Part {
        let ids = vec![Id { name: "uuid".into(), value: uuid.into() }];
        let place = (u64::from(number) << 20, 1 << 20);
        Part { found: vec![Found::of(format, variant, ids)], ..Part::at("/i", Some(number), place, Usage::default()) }
    }

    fn disks() -> Disks {
        let parts = vec![
            part(1, Format::Ext, "ext4", "a"),
            part(2, Format::Fat, "FAT32", "AB-CD"),
            part(3, Format::Btrfs, "btrfs", "c"),
            part(4, Format::Lvm, "2", "d"),
            part(5, Format::Xfs, "xfs", "e"),
        ];
        let disk = Disk { path: "/i".into(), boots: true, parts };
        Disks { list: vec![disk], ..Disks::default() }
    }

    #[test]
    fn the_tree_is_what_fstab_names_and_the_image_has() {
        let disks = disks();
        let all = candidates(&disks);
        assert_eq!(all.iter().map(|branch| branch.name.as_str()).collect::<Vec<_>>(), ["/i:1", "/i:3", "/i:5"]);
        let text = "UUID=a / ext4 defaults 0 1\n\
                    UUID=c /var/lib xfs subvol=@lib,device=/dev/sda,subvol=a/../b 0 0\n\
                    UUID=c /var btrfs subvolid=256,compress=zstd 0 0\n\
                    UUID=AB-CD /boot/efi vfat umask=0077 0 1\n\
                    tmpfs /tmp tmpfs size=1g 0 0\n\
                    UUID=none none swap sw 0 0\n";
        let (found, missing) = branches(&disks, &all[0], text);
        let shown: Vec<_> =
            found.iter().map(|b| (b.point.as_str(), b.kind.as_str(), b.options.as_str(), b.optional)).collect();
        let expected = [
            ("/var", "btrfs", "subvolid=256", false),
            ("/var/lib", "btrfs", "subvol=@lib", false),
            ("/boot/efi", "vfat", "", true),
        ];
        assert_eq!(shown, expected);
        assert_eq!(missing.iter().map(|one| one.subject.as_str()).collect::<Vec<_>>(), ["/i:4", "/i:5"]);
        assert!(missing.iter().all(|one| !one.needed), "{missing:?}");
    }

    #[test]
    fn what_fstab_must_not_say_is_missing_and_never_mounted() {
        let disks = disks();
        let root = &candidates(&disks)[0];
        let needed = [
            ("UUID=c /../../etc btrfs", "plain path"),
            ("UUID=c /srv/./x btrfs", "plain path"),
            ("UUID=c //srv btrfs", "plain path"),
            ("/etc /srv none bind", "no disk"),
            ("/dev/mapper/host-root /srv ext4", "not in the image"),
            ("/dev/sdb1 /srv ext4", "not in the image"),
            ("/dev/sda4 /srv ext4", "not opened"),
            ("LABEL=x /srv ext4", "not in the image"),
        ];
        for (line, why) in needed {
            let (found, missing) = branches(&disks, root, line);
            assert!(found.is_empty() && missing[0].needed && missing[0].why.contains(why), "{line}: {missing:?}");
        }
        let (found, missing) = branches(&disks, root, "/dev/sda3 /srv x\n/dev/sda5 /srv x\nserver:/x /net nfs\n");
        assert!(found.len() == 1 && missing[0].why.contains("one of two"), "{missing:?}");
        let (_, missing) = branches(&disks, root, "UUID=x /srv ext4 nofail\n");
        assert!(!missing[0].needed);
    }

    #[test]
    fn names_of_the_kernel() {
        for (path, means) in [
            ("/dev/sda", Some((0, None))),
            ("/dev/vdb12", Some((1, Some(12)))),
            ("/dev/nvme0n1p2", Some((0, Some(2)))),
            ("/dev/mmcblk1p1", Some((1, Some(1)))),
            ("/dev/sdaa1", None),
            ("/dev/sd", None),
            ("/dev/sda0", None),
            ("/dev/mapper/a", None),
            ("/dev/nvme0n2p1", None),
            ("/dev/sdä1", None),
        ] {
            assert_eq!(kernel_name(path), means, "{path}");
        }
    }
}
