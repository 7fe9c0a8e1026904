// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the initramfs of this boot says of itself: that reseal is in it, and which UUIDs its files quote.
//!
//! It is unpacked in memory, and gone when the system is up; the stage that runs in it leaves a list in the boot's /run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::root::Root;

/// The list, a UUID and a path on each line.
pub const LIST: &str = "run/reseal/initramfs";

/// A larger file is no configuration.
const LARGEST: u64 = 1 << 20;
/// Digits of a UUID between its dashes, RFC 9562.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
/// What stands between them: in text, and in the names of units, systemd.unit(5).
const DASHES: [&[u8]; 2] = [b"-", b"\\x2d"];

/// UUIDs, in lower case, each with a file that quotes it, in its name or in its text; programs and what is mounted are left out.
pub fn quotes(top: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    look(top, fs::metadata(top)?.dev(), &mut found)?;
    Ok(found)
}

fn look(dir: &Path, device: u64, found: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let about = fs::symlink_metadata(&path)?;
        let place = path.to_string_lossy();
        let mut note = |bytes: &[u8]| {
            for id in uuids(bytes) {
                found.entry(id).or_insert_with(|| place.to_string());
            }
        };
        note(path.file_name().unwrap_or_default().as_encoded_bytes());
        if about.is_symlink() {
            note(fs::read_link(&path)?.as_os_str().as_encoded_bytes());
        } else if about.is_file() && about.len() <= LARGEST {
            note(&text(&path)?);
        } else if about.is_dir() && about.dev() == device {
            look(&path, device, found)?;
        }
    }
    Ok(())
}

/// What a file holds, and nothing where that is a program or a module, which are nearly all of an initramfs.
fn text(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.by_ref().take(4).read_to_end(&mut bytes)?;
    if bytes == b"\x7fELF" {
        return Ok(Vec::new());
    }
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Every UUID in it, whatever stands before: `\x2f` ends in a digit. One too many keeps an id, one too few costs a boot.
fn uuids(bytes: &[u8]) -> impl Iterator<Item = String> {
    let first_dashes = memchr::memchr2_iter(b'-', b'\\', bytes);
    first_dashes.filter_map(|at| uuid(&bytes[at.checked_sub(GROUPS[0])?..]))
}

/// The UUID that the bytes begin with.
fn uuid(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes;
    let mut groups = Vec::new();
    for (number, digits) in GROUPS.into_iter().enumerate() {
        if number > 0 {
            rest = DASHES.iter().find_map(|dash| rest.strip_prefix(*dash))?;
        }
        let (group, after) = rest.split_at_checked(digits)?;
        groups.push(std::str::from_utf8(group).ok().filter(|group| group.bytes().all(|b| b.is_ascii_hexdigit()))?);
        rest = after;
    }
    Some(groups.join("-").to_ascii_lowercase())
}

/// The list that the initramfs of this boot has left; none where there was no reseal in it.
pub fn left(root: &Root) -> Option<BTreeMap<String, String>> {
    let bytes = root.read(LIST).ok()??;
    let text = String::from_utf8_lossy(&bytes);
    Some(text.lines().filter_map(|line| line.split_once(' ')).map(|(id, at)| (id.to_owned(), at.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6b331ec4-b909-4b3b-b878-bdaa00000003";

    #[test]
    fn every_quote_is_found_and_programs_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, content: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        put("etc/cmdline.d/95root-dev.conf", &format!(" root=UUID={} \n", ID.to_uppercase()));
        let other = ID.replace("0003", "0004");
        put(&format!("hooks/devexists-\\x2fdev\\x2f{}.sh", other.replace('-', "\\x2d")), "");
        put("bin/tool", &format!("\x7fELF {}", ID.replace("0003", "0005")));
        put("etc/none", "6b331ec4-b909-4b3b-b878-bdaa0000000");
        let found = quotes(dir.path()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), [ID, &other]);
        assert!(found[ID].ends_with("etc/cmdline.d/95root-dev.conf"));

        put(LIST, &found.iter().map(|(id, at)| format!("{id} {at}\n")).collect::<String>());
        assert_eq!(left(&Root::open(dir.path()).unwrap()), Some(found));
    }
}
