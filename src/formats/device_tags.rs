// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices by tag, fstab(5): `UUID=`, `PARTUUID=` and the links of `/dev/disk` that udev makes of them, quoted or not, in
//! capitals or not, wherever they stand in a file; a longer value is another device's.

/// Which tag names an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// A file system, swap space or container: `UUID=`, `/dev/disk/by-uuid/`.
    Uuid,
    /// A partition: `PARTUUID=`, `/dev/disk/by-partuuid/`.
    PartUuid,
}

/// Replaces an id wherever its tag stands before it; lines that are comments too, as one is often a line switched off.
pub fn replace(text: &str, tag: Tag, old: &str, new: &str) -> String {
    let (key, directory) = match tag {
        Tag::Uuid => ("UUID=", "by-uuid/"),
        Tag::PartUuid => ("PARTUUID=", "by-partuuid/"),
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = find(rest, old) {
        let (before, value) = rest.split_at(at);
        let (value, after) = value.split_at(old.len());
        let lead = before.trim_end_matches(['"', '\'']);
        // PARTUUID= ends with UUID= too.
        let tagged = lead.strip_suffix(key).is_some_and(|head| !head.ends_with(|c: char| c.is_ascii_alphanumeric()));
        let alone = !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
        out.push_str(before);
        out.push_str(if alone && (tagged || before.ends_with(directory)) { new } else { value });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Where `old` begins, whatever case its letters have.
fn find(text: &str, old: &str) -> Option<usize> {
    let (text, old) = (text.as_bytes(), old.as_bytes());
    if old.is_empty() {
        return None;
    }
    text.windows(old.len()).position(|window| window.eq_ignore_ascii_case(old))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0aaa1111-2222-4333-8444-555555555555";
    const NEW: &str = "0bbb1111-2222-4333-8444-555555555555";

    #[test]
    fn every_spelling_of_the_tag_and_nothing_else() {
        for (line, changes) in [
            ("UUID=$ / ext4 errors=remount-ro 0 1", true),
            ("UUID=\"$\" / ext4", true),
            ("# UUID=$ /old ext4", true),
            ("/dev/disk/by-uuid/$ /data xfs x-systemd.requires=/dev/disk/by-uuid/$ 0 0", true),
            ("luks-x UUID=$ none luks", true),
            ("RESUME=UUID=$", true),
            ("PARTUUID=$ /data ext4", false),
            ("/dev/disk/by-partuuid/$ /data ext4", false),
            ("UUID=$-01", false),
            ("label $ is no tag", false),
            ("MYUUID=$", false),
        ] {
            let old = line.replace('$', OLD);
            let expected = line.replace('$', if changes { NEW } else { OLD });
            assert_eq!(replace(&old, Tag::Uuid, OLD, NEW), expected);
            let capitals = line.replace('$', &OLD.to_uppercase());
            assert_eq!(replace(&capitals, Tag::Uuid, OLD, NEW) != capitals, changes, "{line}");
        }
        assert_eq!(
            replace("PARTUUID=1a2b3c4d-01 /", Tag::PartUuid, "1a2b3c4d-01", "ffffffff-01"),
            "PARTUUID=ffffffff-01 /"
        );
        assert_eq!(replace("PARTUUID=1a2b3c4d-01 ä", Tag::Uuid, "", "x"), "PARTUUID=1a2b3c4d-01 ä");
    }
}
