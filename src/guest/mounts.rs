// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is mounted, as proc_pid_mountinfo(5) tells it.

use nix::mount::MsFlags;

use crate::formats::fstab::unescaped;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Major and minor number of what is mounted, `252:1`.
    pub dev: String,
    /// What of the file system is mounted: `/`, or a directory or subvolume in it.
    pub part: String,
    /// Where, absolute.
    pub point: String,
    /// The type of the file system.
    pub kind: String,
    /// What was named when it was mounted.
    pub source: String,
    /// Options of the mount, then those of the file system.
    options: [String; 2],
}

/// Options that are flags, as mount(2) has them.
const FLAGS: [(&str, MsFlags); 10] = [
    ("ro", MsFlags::MS_RDONLY),
    ("nosuid", MsFlags::MS_NOSUID),
    ("nodev", MsFlags::MS_NODEV),
    ("noexec", MsFlags::MS_NOEXEC),
    ("sync", MsFlags::MS_SYNCHRONOUS),
    ("dirsync", MsFlags::MS_DIRSYNC),
    ("noatime", MsFlags::MS_NOATIME),
    ("nodiratime", MsFlags::MS_NODIRATIME),
    ("relatime", MsFlags::MS_RELATIME),
    ("lazytime", MsFlags::MS_LAZYTIME),
];
/// What the kernel shows and does not take.
const SHOWN_ONLY: [&str; 3] = ["rw", "seclabel", "defaults"];

impl Mount {
    /// Its flags, to mount it so again.
    pub fn flags(&self) -> MsFlags {
        let words = self.options.iter().flat_map(|options| options.split(','));
        words
            .filter_map(|word| FLAGS.iter().find(|(name, _)| *name == word))
            .fold(MsFlags::empty(), |all, (_, one)| all | *one)
    }

    /// The options of the file system's own, to mount it so again.
    pub fn options(&self) -> String {
        let is_own = |word: &&str| !SHOWN_ONLY.contains(word) && !FLAGS.iter().any(|(name, _)| name == word);
        self.options[1].split(',').filter(is_own).collect::<Vec<_>>().join(",")
    }

    /// Can it not be written?
    pub fn is_read_only(&self) -> bool {
        self.flags().contains(MsFlags::MS_RDONLY)
    }
}

/// The mounts, in the order in which they were made.
pub fn of(text: &str) -> Vec<Mount> {
    text.lines().filter_map(one).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn one(line: &str) -> Option<Mount> {
    let (mount, system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(2);
    let (dev, part, point, first) = (mount.next()?, mount.next()?, mount.next()?, mount.next()?);
    let mut system = system.split(' ');
    let (kind, source, second) = (system.next()?, system.next()?, system.next().unwrap_or_default());
    Some(Mount {
        dev: dev.to_owned(),
        part: unescaped(part),
        point: unescaped(point),
        kind: kind.to_owned(),
        source: unescaped(source),
        options: [first.to_owned(), unescaped(second)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_made_again_as_it_was() {
        let text = "24 1 0:22 / /proc rw,nosuid - proc proc rw\n\
                    36 1 0:31 /@root /root ro,relatime shared:1 - btrfs /dev/vda\\0401 ro,seclabel,space_cache=v2,subvolid=256,subvol=/@root\n\
                    37 36 254:2 / /root/usr ro,nodev - xfs /dev/vda2 rw,attr2,noquota\nnonsense\n";
        let [_, root, usr] = &of(text)[..] else { panic!("three mounts") };
        assert_eq!((root.part.as_str(), root.source.as_str(), root.kind.as_str()), ("/@root", "/dev/vda 1", "btrfs"));
        assert_eq!(root.flags(), MsFlags::MS_RDONLY | MsFlags::MS_RELATIME);
        assert_eq!(root.options(), "space_cache=v2,subvolid=256,subvol=/@root");
        assert!(root.is_read_only() && usr.is_read_only(), "the mount, or all of it");
        assert_eq!((usr.point.as_str(), usr.options().as_str()), ("/root/usr", "attr2,noquota"));
    }
}
