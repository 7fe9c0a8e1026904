// SPDX-License-Identifier: MIT OR Apache-2.0
//! The GUID partition table: the disk's GUID and those of its partitions, in both tables, all else as it was.
//!
//! Offsets are those of the UEFI specification 2.10, section 5.3. The order of writing is not its order: Linux looks
//! at the backup table only when `gpt` stands on its command line (`find_valid_gpt` in block/partitions/efi.c), so a
//! primary table whose checksum is wrong for the time of two writes is a disk without partitions. Here the primary
//! table is valid after every write: the backup is renewed first, then the primary *header* turns to the backup's
//! entries (which every reader follows, the header says where they are), its own entries are renewed while nobody
//! reads them, and the header turns back.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::sector::{byte, bytes, changed, le16, le32, le64, put, read_within};
use super::{Blocks, Format, Found, Id, Patch, Trouble, crc, read};

const SIGNATURE: &[u8; 8] = b"EFI PART";
/// Where the primary table's entries stand on every disk that is not out of the ordinary.
const HOME: u64 = 2;
const MOST_ENTRIES: u32 = 1024;
const LARGEST_ENTRY: u32 = 4096;

/// One of the two headers, whose own checksum is right.
struct Header {
    lba: u64,
    sector: Vec<u8>,
}

impl Header {
    fn alternate(&self) -> u64 {
        le64(&self.sector, 32)
    }
    fn first_usable(&self) -> u64 {
        le64(&self.sector, 40)
    }
    fn last_usable(&self) -> u64 {
        le64(&self.sector, 48)
    }
    fn disk(&self) -> Uuid {
        Uuid::from_bytes_le(bytes(&self.sector, 56))
    }
    fn entries(&self) -> u64 {
        le64(&self.sector, 72)
    }
    fn count(&self) -> u32 {
        le32(&self.sector, 80)
    }
    fn entry_size(&self) -> u32 {
        le32(&self.sector, 84)
    }
    /// Length of the entries in bytes; both factors are bounded by `header`.
    fn length(&self) -> usize {
        self.count() as usize * self.entry_size() as usize
    }
    fn fits(&self, entries: &[u8]) -> bool {
        entries.get(..self.length()).is_some_and(|entries| crc::crc32(entries) == le32(&self.sector, 88))
    }

    /// This header for another disk GUID and other entries at another place.
    fn turned(&self, disk: Uuid, entries: &[u8], at: u64) -> Vec<u8> {
        let mut sector = self.sector.clone();
        put(&mut sector, 56, &disk.to_bytes_le());
        put(&mut sector, 72, &at.to_le_bytes());
        put(&mut sector, 88, &crc::crc32(entries.get(..self.length()).unwrap_or_default()).to_le_bytes());
        let sum = checksum(&sector).unwrap_or_default();
        put(&mut sector, 16, &sum.to_le_bytes());
        sector
    }
}

/// Both tables, sound enough to be written.
struct Tables {
    unit: usize,
    primary: Header,
    backup: Header,
    /// The sectors at LBA 2, whoever reads them.
    home: Vec<u8>,
    /// The sectors that the backup header names.
    away: Vec<u8>,
}

/// What GPT stands on this disk; none also where the MBR before it does not protect it, for then the kernel sees none.
///
/// # Errors
/// When the disk cannot be read, or its primary table is not sound.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    let Some(unit) = unit(blocks)? else { return Ok(None) };
    let primary = header(blocks, unit, 1)?;
    let live = entries(blocks, unit, &primary)?;
    if !primary.fits(&live) {
        return Err(damaged_primary("the checksum of its entries is wrong"));
    }
    let mut ids = vec![Id { name: "disk-guid".into(), value: primary.disk().to_string() }];
    ids.extend(partitions(&primary, &live).map(|(number, entry)| Id {
        name: format!("partition-{number}"),
        value: Uuid::from_bytes_le(bytes(entry, 16)).to_string(),
    }));
    let refusal = match tables(blocks, unit, primary).and_then(|tables| tables.agree(None)) {
        Ok(()) => None,
        Err(Trouble::Refused(why)) => Some(why),
        Err(trouble) => return Err(trouble),
    };
    Ok(Some(Found { refusal, ..Found::of(Format::Gpt, "gpt", ids) }))
}

/// The writes that give the disk the GUID `disk` and each partition the GUID that `new` has for its number; a
/// partition that `new` does not name keeps its own. Numbers, types, names, attributes and places stay.
///
/// The primary header is written twice, so one of its writes finds there what the one before it wrote.
///
/// # Errors
/// When the disk cannot be read, when either table is not sound or unusual, when `new` names a partition that is not
/// there, and when two partitions would share a GUID.
pub fn plan(blocks: &(impl Blocks + ?Sized), disk: Uuid, new: &BTreeMap<u32, Uuid>) -> Result<Patch, Trouble> {
    let unit = unit(blocks)?.ok_or_else(|| Trouble::Damaged("there is no GUID partition table".into()))?;
    let tables = tables(blocks, unit, header(blocks, unit, 1)?)?;
    tables.agree(Some(new))?;
    let target = renamed(&tables.primary, tables.live(), new);
    let present: BTreeSet<u32> = partitions(&tables.primary, &target).map(|(number, _)| number).collect();
    if let Some(number) = new.keys().find(|number| !present.contains(number)) {
        return Err(Trouble::Refused(format!("there is no partition {number}")));
    }
    let guids: BTreeSet<[u8; 16]> = partitions(&tables.primary, &target).map(|(_, entry)| bytes(entry, 16)).collect();
    if guids.len() < present.len() || guids.contains(&[0; 16]) || disk.is_nil() {
        return Err(Trouble::Refused("a GUID of the table would be nil or stand in it twice".into()));
    }

    let Tables { unit, primary, backup, home, away } = &tables;
    let place = |lba: u64| lba.saturating_mul(*unit as u64);
    let header = |at: &Header, from: &[u8], to: &[u8]| changed(place(at.lba), from, to, *unit);
    let final_primary = primary.turned(disk, &target, HOME);
    let final_backup = backup.turned(disk, &target, backup.entries());
    let renew_home = changed(place(HOME), home, &target, *unit);
    let renew_away = changed(place(backup.entries()), away, &target, *unit);
    // A cut among several writes would leave GUIDs in the backup that nothing accounts for.
    if renew_away.len() > 1 && tables.has_third(&target) {
        return Err(damaged_backup("its GUIDs are of another change that was cut"));
    }
    let mut patch = Patch::default();
    if tables.turned_away() {
        patch.then(renew_home);
        patch.then(header(primary, &primary.sector, &final_primary));
        patch.then(renew_away);
        patch.then(header(backup, &backup.sector, &final_backup));
    } else {
        patch.then(renew_away);
        patch.then(header(backup, &backup.sector, &final_backup));
        if renew_home.is_empty() {
            patch.then(header(primary, &primary.sector, &final_primary));
        } else {
            let turned = primary.turned(disk, &target, backup.entries());
            patch.then(header(primary, &primary.sector, &turned));
            patch.then(renew_home);
            patch.then(header(primary, &turned, &final_primary));
        }
    }
    Ok(patch)
}

/// Number and entry of each partition in `entries`.
fn partitions<'a>(header: &Header, entries: &'a [u8]) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
    let used = entries.chunks_exact(header.entry_size() as usize).take(header.count() as usize);
    (1..).zip(used).filter(|(_, entry)| bytes::<16>(entry, 0) != [0; 16])
}

/// `entries` with the GUIDs of `new`.
fn renamed(header: &Header, entries: &[u8], new: &BTreeMap<u32, Uuid>) -> Vec<u8> {
    let mut entries = entries.to_vec();
    let used = entries.chunks_exact_mut(header.entry_size() as usize).take(header.count() as usize);
    for (number, entry) in (1..).zip(used) {
        if let Some(guid) = new.get(&number) {
            put(entry, 16, &guid.to_bytes_le());
        }
    }
    entries
}

/// The logical sector size that the table was made for, none where there is no protected table.
fn unit(blocks: &(impl Blocks + ?Sized)) -> Result<Option<usize>, Trouble> {
    let Some(start) = read_within(blocks, 0, 512)? else { return Ok(None) };
    // As is_pmbr_valid in block/partitions/efi.c: one entry of the type 0xee that starts at sector 1.
    let protects = |entry: &[u8]| byte(entry, 4) == 0xee && le32(entry, 8) == 1;
    if le16(&start, 510) != 0xaa55 || !start[446..510].chunks_exact(16).any(protects) {
        return Ok(None);
    }
    for unit in [512, 4096] {
        if read_within(blocks, unit as u64, unit)?.is_some_and(|sector| sector.starts_with(SIGNATURE)) {
            return Ok(Some(unit));
        }
    }
    Ok(None)
}

fn damaged_primary(why: &str) -> Trouble {
    Trouble::Damaged(format!("the primary GUID partition table is damaged: {why}"))
}

fn damaged_backup(why: &str) -> Trouble {
    Trouble::Refused(format!(
        "the backup GUID partition table is not sound ({why}): `sgdisk --verify` explains it, and \
         `sgdisk --move-second-header` writes it again from the primary"
    ))
}

/// The checksum that a header should have, none when its length cannot be.
fn checksum(sector: &[u8]) -> Option<u32> {
    let length = usize::try_from(le32(sector, 12)).ok().filter(|length| *length >= 92)?;
    let mut header = sector.get(..length)?.to_vec();
    put(&mut header, 16, &[0; 4]);
    Some(crc::crc32(&header))
}

/// The header at `lba`, whose signature, checksum, place and numbers are right.
fn header(blocks: &(impl Blocks + ?Sized), unit: usize, lba: u64) -> Result<Header, Trouble> {
    let damaged = if lba == 1 { damaged_primary } else { damaged_backup };
    let offset = lba.checked_mul(unit as u64).ok_or_else(|| damaged("its header is beyond the end of the disk"))?;
    let sector = read_within(blocks, offset, unit)?.ok_or_else(|| damaged("its header is beyond the end"))?;
    let header = Header { lba, sector };
    if !header.sector.starts_with(SIGNATURE) || checksum(&header.sector) != Some(le32(&header.sector, 16)) {
        return Err(damaged("the checksum of its header is wrong"));
    }
    let size = header.entry_size();
    if le64(&header.sector, 24) != lba
        || !(1..=MOST_ENTRIES).contains(&header.count())
        || !(128..=LARGEST_ENTRY).contains(&size)
        || !size.is_power_of_two()
        || header.first_usable() > header.last_usable()
    {
        return Err(damaged("its header contradicts itself"));
    }
    Ok(header)
}

/// The whole sectors that hold the entries of `header`.
fn entries(blocks: &(impl Blocks + ?Sized), unit: usize, header: &Header) -> Result<Vec<u8>, Trouble> {
    let damaged = if header.lba == 1 { damaged_primary } else { damaged_backup };
    let offset = header.entries().checked_mul(unit as u64);
    let found = match offset {
        Some(offset) => read_within(blocks, offset, header.length().next_multiple_of(unit))?,
        None => None,
    };
    found.ok_or_else(|| damaged("its entries are beyond the end"))
}

/// Both tables, each where it should be, and the partitions beside each other.
fn tables(blocks: &(impl Blocks + ?Sized), unit: usize, primary: Header) -> Result<Tables, Trouble> {
    let backup = header(blocks, unit, primary.alternate())?;
    if backup.lba == 1 || backup.alternate() != 1 {
        return Err(damaged_backup("its header does not name the primary one"));
    }
    // What the two have in common: usable sectors, number and size of entries.
    if backup.sector[40..56] != primary.sector[40..56] || backup.sector[80..88] != primary.sector[80..88] {
        return Err(damaged_backup("it does not agree with the primary"));
    }
    let away = entries(blocks, unit, &backup)?;
    let home = read(blocks, HOME.saturating_mul(unit as u64), away.len())?;
    let sectors = (away.len() / unit) as u64;
    let ends_before = |start: u64, end: u64| start.checked_add(sectors).is_some_and(|after| after <= end);
    if !ends_before(HOME, primary.first_usable())
        || backup.entries() <= primary.last_usable()
        || !ends_before(backup.entries(), backup.lba)
    {
        return Err(Trouble::Refused("the GUID partition table's entries are not where they usually are".into()));
    }
    let tables = Tables { unit, primary, backup, home, away };
    if !tables.turned_away() && tables.primary.entries() != HOME {
        return Err(Trouble::Refused("the GUID partition table's entries do not begin at sector 2".into()));
    }
    if !tables.primary.fits(tables.live()) {
        return Err(damaged_primary("the checksum of its entries is wrong"));
    }
    tables.beside_each_other()?;
    Ok(tables)
}

impl Tables {
    /// A cut left the primary header at the backup's entries.
    fn turned_away(&self) -> bool {
        self.primary.entries() == self.backup.entries()
    }

    /// The entries that a reader of the primary table sees.
    fn live(&self) -> &[u8] {
        if self.turned_away() { &self.away } else { &self.home }
    }

    /// Refuses partitions that overlap or are not among the usable sectors.
    fn beside_each_other(&self) -> Result<(), Trouble> {
        let mut spans: Vec<(u64, u64)> =
            partitions(&self.primary, self.live()).map(|(_, entry)| (le64(entry, 32), le64(entry, 40))).collect();
        spans.sort_unstable();
        let outside = |(start, end): &(u64, u64)| {
            start > end || *start < self.primary.first_usable() || *end > self.primary.last_usable()
        };
        if spans.iter().any(outside) {
            return Err(Trouble::Damaged("a partition is outside the usable sectors of its table".into()));
        }
        if spans.windows(2).any(|pair| pair[0].1 >= pair[1].0) {
            return Err(Trouble::Damaged("two partitions overlap".into()));
        }
        Ok(())
    }

    /// Is a GUID of the backup neither that of the primary nor the one in `target`, and the primary's not that one either?
    fn has_third(&self, target: &[u8]) -> bool {
        let size = self.primary.entry_size() as usize;
        let mut entries = self.away.chunks(size).zip(self.live().chunks(size).zip(target.chunks(size)));
        entries.any(|(copy, (live, new))| copy != live && copy != new && live != new)
    }

    /// Refuses two tables that differ in more than the GUIDs that are to be renewed; before these are known, in more
    /// than GUIDs.
    ///
    /// Entries that no checksum vouches for are taken for what a cut left only where every GUID is the old or the new
    /// one, or the primary has the new one already: then this change may have begun with a third in the backup. Nobody
    /// reads them, but anything else there means that somebody wrote who is not known here.
    fn agree(&self, new: Option<&BTreeMap<u32, Uuid>>) -> Result<(), Trouble> {
        let live = self.live();
        let (other, vouched) =
            if self.turned_away() { (&self.home, true) } else { (&self.away, self.backup.fits(&self.away)) };
        let size = self.primary.entry_size() as usize;
        for (number, (entry, copy)) in (1u32..).zip(live.chunks(size).zip(other.chunks(size))) {
            if entry == copy {
                continue;
            }
            let mut same = copy.to_vec();
            put(&mut same, 16, &bytes::<16>(entry, 16));
            let guids = [copy, entry].map(|entry| Uuid::from_bytes_le(bytes(entry, 16)));
            let known = new.is_none_or(|new| new.get(&number).is_some_and(|new| vouched || guids.contains(new)));
            if same != entry || !known || number > self.primary.count() {
                return Err(damaged_backup(&format!("its entry {number} is not that of the primary")));
            }
        }
        if self.turned_away() && !self.backup.fits(&self.away) {
            return Err(damaged_backup("the checksum of its entries is wrong"));
        }
        Ok(())
    }
}
