// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which device a text names, fstab(5): `UUID=`, `PARTUUID=`, the links of `/dev/disk` that udev makes of them, and fields of
//! a format that hold a plain id; what stands before an id says what it means.
//!
//! Lines that are comments change too, as one is often a line switched off. What names nothing that is known here, a mount
//! point say, stays.

use super::known_ids::{DASH, Quote};
use crate::plan::Kind;

/// What blkid(8) calls `UUID`.
const CONTENT: &[Kind] = &[Kind::FsUuid, Kind::SwapUuid, Kind::LuksUuid, Kind::LvmUuid, Kind::MdUuid];

/// Tags of libblkid(3) and mdadm.conf(5), and words of the kernel command line whose value is a plain id:
/// dracut.cmdline(7), systemd-cryptsetup-generator(8).
const TAGS: &[(&str, &[Kind])] = &[
    ("uuid", CONTENT),
    ("partuuid", &[Kind::PartitionId]),
    ("ptuuid", &[Kind::DiskId]),
    ("luks.uuid", &[Kind::LuksUuid]),
    ("luks.name", &[Kind::LuksUuid]),
    ("luks.options", &[Kind::LuksUuid]),
    ("luks.key", &[Kind::LuksUuid]),
    ("luks.data", &[Kind::LuksUuid]),
    ("luks.header", &[Kind::LuksUuid]),
    ("rd_luks_uuid", &[Kind::LuksUuid]),
    ("luks.partuuid", &[Kind::PartitionId]),
    ("md.uuid", &[Kind::MdUuid]),
    ("rd_md_uuid", &[Kind::MdUuid]),
];

/// Ends of the paths and unit names that udev's rules (60-persistent-storage, 13-dm-disk, 69-dm-lvm, 63-md-raid-arrays)
/// and systemd-escape(1) make of ids.
const LINKS: &[(&str, &[Kind])] = &[
    ("by-uuid/", CONTENT),
    ("by-uuid-", CONTENT),
    ("by-partuuid/", &[Kind::PartitionId]),
    ("by-partuuid-", &[Kind::PartitionId]),
    ("lvm-pv-uuid-", &[Kind::LvmUuid]),
    ("md-uuid-", &[Kind::MdUuid]),
    ("CRYPT-LUKS1-", &[Kind::LuksUuid]),
    ("CRYPT-LUKS2-", &[Kind::LuksUuid]),
    ("LVM-", &[Kind::LvmUuid]),
];

/// Where a mapping of the device mapper is named `luks-` and the container's UUID.
const MAPPINGS: [&str; 4] = ["/luks-", "mapper-luks-", "@luks-", "=luks-"];

/// What one format knows beside tags and paths.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules<'a> {
    /// Keys, options and commands whose value is a plain id.
    pub fields: &'a [String],
    /// Old UUIDs of LUKS containers whose mapping is named after them by name: see [`names_mapping`].
    pub named: &'a [String],
}

/// Does the text before it say that the id names a disk, or what is on it?
pub fn is_meant(quote: &Quote<'_>, rules: Rules<'_>) -> bool {
    let kind = quote.spelling.kind;
    // dracut.cmdline(7) takes `rd.luks.uuid=` with `luks-` before the UUID, too.
    let plain = quote.lead().strip_suffix("luks-").unwrap_or(quote.lead());
    if tag(plain).is_some_and(|tag| TAGS.iter().any(|(name, of)| *name == tag && of.contains(&kind))) {
        return true;
    }
    let lead = tail(quote.lead());
    if LINKS.iter().any(|(end, of)| lead.ends_with(end) && of.contains(&kind)) || is_second_of_lvm(&lead, kind) {
        return true;
    }
    // An instance of a template unit, as of beesd@.service.
    if lead.ends_with('@') && quote.is_long() && CONTENT.contains(&kind) {
        return true;
    }
    if field(quote.lead()).is_some_and(|field| rules.fields.iter().any(|known| known.eq_ignore_ascii_case(field))) {
        return true;
    }
    is_mapping(quote) && !is_kept_name(quote, rules.named)
}

/// Is it the name that the mapping of one of these containers keeps?
pub fn is_kept_name(quote: &Quote<'_>, named: &[String]) -> bool {
    tail(quote.lead()).ends_with("luks-") && named.iter().any(|old| old.eq_ignore_ascii_case(&quote.spelling.old))
}

/// Is it the name of a mapping, `/dev/mapper/luks-UUID`?
fn is_mapping(quote: &Quote<'_>) -> bool {
    let lead = tail(quote.lead());
    quote.spelling.kind == Kind::LuksUuid && MAPPINGS.iter().any(|end| lead.ends_with(end))
}

/// Does a line of crypttab(5), or a word `rd.luks.name=UUID=luks-UUID` of the kernel command line, name the mapping
/// `luks-` and this UUID? Then that is its name whatever the container's UUID is; without one, dracut and
/// systemd-cryptsetup-generator(8) make the name from the UUID.
pub fn names_mapping(text: &str, uuid: &str) -> bool {
    let name = format!("luks-{uuid}");
    let in_table =
        text.lines().any(|line| line.split_whitespace().next().is_some_and(|n| n.eq_ignore_ascii_case(&name)));
    let mut words = text.split(|letter: char| letter.is_whitespace() || "\"'".contains(letter));
    in_table || words.any(|word| word.contains("luks.name=") && word.ends_with(&format!("={name}")))
}

/// The key whose value begins where this text ends: before `=`, `:` or a blank, with quotes or without.
pub fn field(lead: &str) -> Option<&str> {
    // One of several alternatives in a match of udev(7): `=="one|two"`.
    let lead = if lead.ends_with('|') { lead.rfind('"').map_or(lead, |at| &lead[..at]) } else { lead };
    let key = lead.trim_end_matches(|letter: char| "\"'\\ \t=:!+}".contains(letter));
    let word = &key[key.rfind(|letter: char| !is_key(letter)).map_or(0, |at| at + char_length(key, at))..];
    (key.len() < lead.trim_end_matches(['"', '\'', '\\']).len() && !word.is_empty()).then_some(word)
}

/// The tag right before a value, in small letters: `--uuid="`, `root=UUID=`.
fn tag(lead: &str) -> Option<String> {
    let key = lead.trim_end_matches(['"', '\'', '\\']).strip_suffix('=')?;
    let word = &key[key.rfind(|letter: char| !is_key(letter)).map_or(0, |at| at + char_length(key, at))..];
    let word = word.trim_start_matches('-').to_ascii_lowercase();
    // Words that only an initramfs follows start with `rd.`.
    Some(word.strip_prefix("rd.").map_or(word.clone(), str::to_owned))
}

fn is_key(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_.-".contains(letter)
}

fn char_length(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(1, char::len_utf8)
}

/// The last letters, unit names unescaped.
fn tail(lead: &str) -> String {
    let start = lead.char_indices().rev().nth(79).map_or(0, |(at, _)| at);
    lead[start..].replace(DASH, "-").replace("\\x2f", "/")
}

/// The id of a logical volume, after that of its group: `LVM-` and twice 32 letters.
fn is_second_of_lvm(lead: &str, kind: Kind) -> bool {
    let group = lead.len().checked_sub(32).and_then(|at| lead.split_at_checked(at));
    kind == Kind::LvmUuid && group.is_some_and(|(before, _)| before.ends_with("LVM-"))
}

#[cfg(test)]
mod tests {
    use super::super::known_ids::KnownIds;
    use super::*;

    const OLD: &str = "0aaa1111-2222-4333-8444-555555555555";
    const NEW: &str = "0bbb1111-2222-4333-8444-555555555555";

    fn with(kind: Kind, text: &str, fields: &[&str], named: &[&str]) -> String {
        let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
        let named: Vec<String> = named.iter().map(ToString::to_string).collect();
        let rules = Rules { fields: &fields, named: &named };
        KnownIds::new([(kind, OLD, NEW)]).replace(text, |quote| is_meant(quote, rules))
    }

    #[test]
    fn every_spelling_of_the_tag_and_nothing_else() {
        for (line, changes) in [
            ("UUID=$ / ext4 errors=remount-ro 0 1", true),
            ("UUID=\"$\" / ext4", true),
            ("# UUID=$ /old ext4", true),
            ("/dev/disk/by-uuid/$ /data xfs x-systemd.requires=/dev/disk/by-uuid/$ 0 0", true),
            ("/dev/disk/by-uuid/$ /data ext4 journal_path=/dev/disk/by-uuid/$,x-systemd.after=UUID=$ 0 0", true),
            ("luks-x UUID=$ none luks", true),
            ("RESUME=UUID=$", true),
            ("GRUB_CMDLINE_LINUX=\"root=\\\"UUID=$\\\"\"", true),
            ("PARTUUID=$ /data ext4", false),
            ("/dev/disk/by-partuuid/$ /data ext4", false),
            ("UUID=$-01", false),
            ("label $ is no tag", false),
            ("MYUUID=$", false),
            ("LABEL=x /mnt/$ ext4", false),
        ] {
            let old = line.replace('$', OLD);
            let expected = line.replace('$', if changes { NEW } else { OLD });
            assert_eq!(with(Kind::FsUuid, &old, &[], &[]), expected);
            let capitals = line.replace('$', &OLD.to_uppercase());
            assert_eq!(with(Kind::FsUuid, &capitals, &[], &[]) != capitals, changes, "{line}");
        }
        let ids = KnownIds::new([
            (Kind::PartitionId, "1a2b3c4d-01", "ffffffff-01"),
            (Kind::FsUuid, "1A2B-3C4D", "0000-0001"),
        ]);
        let short = "PARTUUID=1a2b3c4d-01 1a2b3c4d-01 UUID=1a2b-3c4d x=1A2B-3C4D";
        let new = ids.replace(short, |quote| is_meant(quote, Rules::default()));
        assert_eq!(new, "PARTUUID=ffffffff-01 1a2b3c4d-01 UUID=0000-0001 x=1A2B-3C4D");
    }

    #[test]
    fn a_field_holds_a_plain_id() {
        for line in [
            "/srv *(rw,fsid=$)",
            "  \"fsid\" : \"$\",",
            "ENV{fsid}==\"$\", SYMLINK+=\"x\"",
            "ENV{fsid}!=\"other|$|*\"",
            "\tfsid = '$'",
            "fsid: $",
        ] {
            let old = line.replace('$', OLD);
            assert_eq!(with(Kind::LuksUuid, &old, &["fsid"], &[]), line.replace('$', NEW));
            assert_eq!(with(Kind::LuksUuid, &old, &["other"], &[OLD]), old);
        }
        assert_eq!(field("fsid"), None);
        assert_eq!(field("ä=\""), None);
        assert_eq!(field("ä x= "), Some("x"));
    }

    #[test]
    fn a_mapping_keeps_the_name_that_it_is_given() {
        let text =
            format!("/dev/mapper/luks-{OLD} / ext4\nrd.luks.uuid=luks-{OLD}\ndev-mapper-luks\\x2d{OLD}.device\n");
        assert_eq!(with(Kind::LuksUuid, &text, &[], &[]), text.replace(OLD, NEW));
        let kept = text.replace(&format!("uuid=luks-{OLD}"), &format!("uuid=luks-{NEW}"));
        assert_eq!(with(Kind::LuksUuid, &text, &[], &[OLD]), kept);
        let table = format!("# luks-x\nluks-{OLD} UUID={OLD} none discard\n");
        assert!(names_mapping(&table, OLD) && !names_mapping(&table, NEW));
        assert!(names_mapping(&format!("\"quiet rd.luks.name={NEW}=luks-{OLD}\""), OLD));
        assert!(!names_mapping(&text, OLD));
        assert_eq!(with(Kind::LuksUuid, &table, &[], &[OLD]), table.replace("UUID=0aaa", "UUID=0bbb"));
    }
}
