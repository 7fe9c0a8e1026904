// SPDX-License-Identifier: MIT OR Apache-2.0
//! A boot entry of UEFI firmware: `EFI_LOAD_OPTION`, UEFI Specification 2.10, 3.1.3, behind the attributes of its variable
//! as efivarfs shows them.

use uuid::Uuid;

/// `HARDDRIVE_DEVICE_PATH`, 10.3.5.1: type, subtype, length; where in it the GUID stands, and the bytes that say that it
/// is one of a GPT.
const HARD_DRIVE: [u8; 4] = [4, 1, 42, 0];
const SIGNATURE: usize = 24;
const OF_GPT: [u8; 2] = [2, 2];
/// "End entire device path", 10.3.1.
const END: [u8; 4] = [0x7f, 0xff, 4, 0];
/// Marks the description of an entry that stands in for another.
const MARK: &str = " (reseal)";

/// A boot entry, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootEntry {
    /// The attributes of the variable, then those of the option.
    attributes: [u8; 8],
    /// UCS-2, without the zero at its end.
    description: Vec<u8>,
    /// Device paths.
    path: Vec<u8>,
    /// Handed to what is started.
    optional: Vec<u8>,
    /// Where in `path` the GUIDs of partitions stand.
    guids: Vec<usize>,
}

impl BootEntry {
    /// Reads one; none where anything about it is unusual.
    pub fn read(file: &[u8]) -> Option<BootEntry> {
        let (attributes, rest) = file.split_first_chunk::<8>()?;
        let (size, rest) = rest.split_first_chunk::<2>()?;
        let end = rest.chunks_exact(2).position(|letter| letter == [0, 0])? * 2;
        let (description, rest) = (rest[..end].to_vec(), &rest[end + 2..]);
        let (path, optional) = rest.split_at_checked(u16::from_le_bytes(*size).into())?;
        let guids = guids(path)?;
        let (path, optional) = (path.to_vec(), optional.to_vec());
        Some(BootEntry { attributes: *attributes, description, path, optional, guids })
    }

    /// The entry as it is written.
    pub fn bytes(&self) -> Vec<u8> {
        let size = u16::try_from(self.path.len()).unwrap_or_default().to_le_bytes();
        [&self.attributes[..], &size, &self.description, &[0, 0], &self.path, &self.optional].concat()
    }

    /// The GUIDs of the partitions that it names.
    pub fn partitions(&self) -> impl Iterator<Item = Uuid> {
        self.guids.iter().filter_map(|at| Uuid::from_slice_le(self.path.get(*at..at + 16)?).ok())
    }

    /// The same with other GUIDs, where `new` gives one for what stands there.
    #[must_use]
    pub fn with(&self, new: impl Fn(Uuid) -> Option<Uuid>) -> BootEntry {
        let mut entry = self.clone();
        for (at, guid) in self.guids.iter().zip(self.partitions()) {
            if let (Some(new), Some(place)) = (new(guid), entry.path.get_mut(*at..at + 16)) {
                place.copy_from_slice(&new.to_bytes_le());
            }
        }
        entry
    }

    /// The same, marked as one that stands in for another.
    #[must_use]
    pub fn marked(&self) -> BootEntry {
        BootEntry { description: [&self.description[..], &mark()].concat(), ..self.clone() }
    }

    /// Without the mark; none where there is none.
    pub fn unmarked(&self) -> Option<BootEntry> {
        let description = self.description.strip_suffix(&mark()[..])?.to_vec();
        Some(BootEntry { description, ..self.clone() })
    }

    /// Are they the same but for the partitions?
    pub fn is_like(&self, other: &BootEntry) -> bool {
        let bare = |entry: &BootEntry| entry.with(|_| Some(Uuid::nil()));
        bare(self) == bare(other)
    }
}

fn mark() -> Vec<u8> {
    MARK.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Where the GUIDs of partitions stand in device paths.
fn guids(path: &[u8]) -> Option<Vec<usize>> {
    let (mut guids, mut at) = (Vec::new(), 0);
    loop {
        let node = path.get(at..)?;
        let size = usize::from(u16::from_le_bytes([*node.get(2)?, *node.get(3)?]));
        let body = node.get(..size).filter(|_| size >= 4)?;
        if body == END && node.len() == size {
            return Some(guids);
        }
        if body.starts_with(&HARD_DRIVE) && body.ends_with(&OF_GPT) {
            guids.push(at + SIGNATURE);
        }
        at += size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Uuid = Uuid::from_u128(0x0aaa1111_2222_4333_8444_555555555555);
    const NEW: Uuid = Uuid::from_u128(0x0bbb1111_2222_4333_8444_555555555555);

    /// An entry with these nodes before the end of its path.
    fn file(description: &str, nodes: &[u8]) -> Vec<u8> {
        let description: Vec<u8> = description.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let path = [nodes, &END].concat();
        let size = (path.len() as u16).to_le_bytes();
        [&[7, 0, 0, 0, 1, 0, 0, 0][..], &size, &description, &path, b"optional"].concat()
    }

    fn drive(guid: Uuid, kind: [u8; 2]) -> Vec<u8> {
        [&HARD_DRIVE[..], &[1, 0, 0, 0], &[9; 16], &guid.to_bytes_le(), &kind].concat()
    }

    #[test]
    fn the_partitions_of_an_entry_change_and_nothing_else_does() {
        let nodes = |guid| [&drive(guid, OF_GPT)[..], &[4, 4, 8, 0, b'x', 0, 0, 0]].concat();
        let entry = BootEntry::read(&file("debian", &nodes(OLD))).unwrap();
        assert_eq!(entry.bytes(), file("debian", &nodes(OLD)));
        assert_eq!(entry.partitions().collect::<Vec<_>>(), [OLD]);
        let followed = entry.with(|guid| (guid == OLD).then_some(NEW));
        assert_eq!(followed.bytes(), file("debian", &nodes(NEW)));
        assert!(followed.is_like(&entry) && followed != entry);
        assert_eq!(followed.marked().bytes(), file("debian (reseal)", &nodes(NEW)));
        assert_eq!(followed.marked().unmarked(), Some(followed));
        assert_eq!(entry.unmarked(), None);
        // The signature of an MBR is no GUID, whatever it looks like.
        let entry = BootEntry::read(&file("", &drive(OLD, [1, 1]))).unwrap();
        assert_eq!(entry.partitions().count(), 0);
    }

    #[test]
    fn an_entry_that_is_cut_off_or_leads_beyond_itself_is_none() {
        let whole = file("debian", &drive(OLD, OF_GPT));
        let least = whole.len() - b"optional".len();
        (0..least).for_each(|size| assert_eq!(BootEntry::read(&whole[..size]), None, "{size}"));
        let shortest = file("x", &[]);
        assert!(BootEntry::read(&shortest).is_some());
        for node in [&[4, 1, 0, 0][..], &[4, 1, 3, 0], &[4, 1, 255, 255], &[4, 1]] {
            assert_eq!(BootEntry::read(&file("x", node)), None, "{node:?}");
        }
    }
}
