// SPDX-License-Identifier: MIT OR Apache-2.0
//! LUKS: the UUID in the one header of version 1, and in the two of version 2 under their checksums.
//!
//! Offsets are those of the LUKS1 On-Disk Format Specification 1.2.3 and the LUKS2 On-Disk Format Specification 1.1.0.
//! What changes lies in the first sector of each header, so each is written by one sector; cryptsetup opens with the
//! header of the higher sequence id when the two differ, so the second is written first.

mod tokens;
mod volume_key;

use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha512};
use uuid::Uuid;

use super::fields::{array, be16, be32, be64, patch, put, text, write};
use super::{Blocks, Format, Found, Id, Patch, Trouble, read};

pub use volume_key::{VolumeKey, volume_key};

const MAGIC: &[u8; 6] = b"LUKS\xba\xbe";
const MAGIC_SECOND: &[u8; 6] = b"SKUL\xba\xbe";
/// What cryptsetup-reencrypt(8) puts there while it works on a version 1 volume.
const MAGIC_UNUSABLE: &[u8; 6] = b"LUKS\xde\xad";
const SECTOR: usize = 512;
const UUID: usize = 168;
const UUID_LENGTH: usize = 40;
const SEQUENCE: usize = 16;
const CHECKSUM: usize = 448;
/// The binary header of version 2; what follows is JSON.
const BINARY: usize = 4096;
/// What a header of version 2 may have, section 2.2.
const SIZES: std::ops::RangeInclusive<u64> = 1 << 14..=1 << 22;

/// What stands at the start of the device.
///
/// # Errors
/// [`Trouble::Damaged`] when a header is not sound, [`Trouble::Unreadable`] when it cannot be read.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    if blocks.size() < BINARY as u64 {
        return Ok(None);
    }
    let header = read(blocks, 0, BINARY)?;
    if !header.starts_with(MAGIC) && !header.starts_with(MAGIC_UNUSABLE) {
        return Ok(None);
    }
    let version = be16(&header, 6);
    let changeable = match version {
        1 => one(blocks, &header),
        _ => Two::of(blocks).map(|_| ()),
    };
    let refusal = match changeable {
        Ok(()) => None,
        Err(Trouble::Refused(why)) => Some(why),
        Err(trouble) => return Err(trouble),
    };
    let ids = vec![Id { name: "uuid".into(), value: text(&header, UUID, UUID_LENGTH) }];
    let label = if version == 2 { Some(text(&header, 24, 48)).filter(|label| !label.is_empty()) } else { None };
    Ok(Some(Found {
        label,
        refusal,
        tpm: is_sealed_to_tpm(blocks)?,
        ..Found::of(Format::Luks, &version.to_string(), ids)
    }))
}

/// Does a token of the first header of version 2 need a TPM, which a clone on another machine does not have?
///
/// # Errors
/// [`Trouble::Unreadable`] when it cannot be read; what is not sound has no tokens.
pub fn is_sealed_to_tpm(blocks: &(impl Blocks + ?Sized)) -> Result<bool, Trouble> {
    if blocks.size() < BINARY as u64 {
        return Ok(false);
    }
    let start = read(blocks, 0, BINARY)?;
    let size = be64(&start, 8);
    if !start.starts_with(MAGIC) || be16(&start, 6) != 2 || !SIZES.contains(&size) || size > blocks.size() {
        return Ok(false);
    }
    let bytes = read(blocks, 0, size as usize)?;
    Ok(description(&bytes).is_ok_and(|description| tokens::sealed(&description)))
}

/// The writes that give the volume the UUID `new`; none when its headers have it.
///
/// The volume key stays the one that every clone has; an open volume stays open.
///
/// # Errors
/// [`Trouble::Refused`] while it is being encrypted anew, with its header on another device, or with a requirement or
/// checksum that is not known here; [`Trouble::Damaged`] and [`Trouble::Unreadable`] as [`probe`].
pub fn plan(blocks: &(impl Blocks + ?Sized), new: Uuid) -> Result<Patch, Trouble> {
    let header = read(blocks, 0, BINARY)?;
    if be16(&header, 6) == 1 || header.starts_with(MAGIC_UNUSABLE) {
        one(blocks, &header)?;
        let (before, _) = header.split_at(SECTOR);
        let mut after = before.to_vec();
        put(&mut after, UUID, &field(new));
        return Ok(patch([vec![write(0, before, after)]]));
    }
    let Two { first, second } = Two::of(blocks)?;
    let newer = if second.sequence() > first.sequence() { &second } else { &first };
    let sequence = if newer.is(new) { Some(newer.sequence()) } else { newer.sequence().checked_add(1) };
    let sequence = sequence.ok_or_else(|| damaged("its sequence id is the highest there is"))?;
    let renamed = |header: &Header| {
        let mut after = header.bytes.clone();
        put(&mut after, SEQUENCE, &sequence.to_be_bytes());
        put(&mut after, UUID, &field(new));
        let sum = checksum(&after)?;
        put(&mut after, CHECKSUM, &sum);
        after.truncate(SECTOR);
        Ok::<_, Trouble>(vec![write(header.offset, header.bytes.get(..SECTOR).unwrap_or_default(), after)])
    };
    Ok(patch([renamed(&second)?, renamed(&first)?]))
}

/// Whether a version 1 header is sound and may be changed.
fn one(blocks: &(impl Blocks + ?Sized), header: &[u8]) -> Result<(), Trouble> {
    if header.starts_with(MAGIC_UNUSABLE) {
        return Err(under_way());
    }
    // LUKS_KEY_ENABLED and LUKS_KEY_DISABLED, of eight key slots of 48 bytes.
    let slots = (0..8).all(|slot| matches!(be32(header, 208 + 48 * slot), 0x00ac_71f3 | 0x0000_dead));
    if !header.starts_with(MAGIC) || be16(header, 6) != 1 || !slots || be32(header, 108) == 0 {
        return Err(damaged("its header is not of version 1, or a key slot neither on nor off"));
    }
    named(header)?;
    let payload = u64::from(be32(header, 104)) * SECTOR as u64;
    if payload == 0 || payload >= blocks.size() { Err(detached()) } else { Ok(()) }
}

/// The two headers of version 2.
struct Two {
    first: Header,
    second: Header,
}

struct Header {
    offset: u64,
    bytes: Vec<u8>,
}

impl Two {
    /// Both, each sound, of one volume, and free to be changed.
    fn of(blocks: &(impl Blocks + ?Sized)) -> Result<Two, Trouble> {
        let two = Two::sound(blocks)?;
        // Label, checksum algorithm, and what follows the UUID but for the header's own place, then the JSON.
        let same = [24..104, 208..256, 264..CHECKSUM, SECTOR..two.first.bytes.len()]
            .into_iter()
            .all(|range| two.first.bytes.get(range.clone()) == two.second.bytes.get(range));
        if !same {
            return Err(Trouble::Refused(
                "the two headers of this LUKS volume are of different times: opening it once makes them alike".into(),
            ));
        }
        two.first.changeable(blocks.size())?;
        Ok(two)
    }

    /// Both, each sound.
    fn sound(blocks: &(impl Blocks + ?Sized)) -> Result<Two, Trouble> {
        let start = read(blocks, 0, SECTOR)?;
        let size = be64(&start, 8);
        if !start.starts_with(MAGIC) || be16(&start, 6) != 2 || !size.is_power_of_two() || !SIZES.contains(&size) {
            return Err(damaged("its header is not of version 2 or has no size"));
        }
        let first = Header::at(blocks, 0, size, MAGIC)?;
        let second = Header::at(blocks, size, size, MAGIC_SECOND)?;
        Ok(Two { first, second })
    }
}

impl Header {
    fn at(blocks: &(impl Blocks + ?Sized), offset: u64, size: u64, magic: &[u8]) -> Result<Header, Trouble> {
        let header = Header { offset, bytes: read(blocks, offset, size as usize)? };
        let bytes = &header.bytes;
        if !bytes.starts_with(magic) || be16(bytes, 6) != 2 || be64(bytes, 8) != size || be64(bytes, 256) != offset {
            return Err(damaged("one of its headers is not there, or not at its place"));
        }
        if array::<64>(bytes, CHECKSUM) != checksum(bytes)? {
            return Err(damaged("one of its headers has a wrong checksum; cryptsetup repair may mend it"));
        }
        named(bytes)?;
        Ok(header)
    }

    /// Refuses a volume whose description names something under way, or not known here.
    fn changeable(&self, device: u64) -> Result<(), Trouble> {
        let json = description(&self.bytes)?;
        let mandatory = json.pointer("/config/requirements/mandatory").and_then(Value::as_array);
        let required: Vec<_> = mandatory.into_iter().flatten().map(|name| name.as_str().unwrap_or_default()).collect();
        if required.iter().any(|name| name.contains("reencrypt")) {
            return Err(under_way());
        }
        if let Some(name) = required.first() {
            return Err(Trouble::Refused(format!(
                "this LUKS volume requires {name:?}, which is not known here: use cryptsetup luksUUID"
            )));
        }
        let segments = json.get("segments").and_then(Value::as_object);
        let segments = segments.ok_or_else(|| damaged("its description names no segment"))?;
        for segment in segments.values() {
            let offset = segment.get("offset").and_then(Value::as_str).and_then(|offset| offset.parse::<u64>().ok());
            let offset = offset.ok_or_else(|| damaged("a segment has no offset"))?;
            if offset < 2 * self.bytes.len() as u64 || offset >= device {
                return Err(detached());
            }
        }
        // Without a segment the header describes nothing yet.
        if segments.is_empty() { Err(detached()) } else { Ok(()) }
    }

    fn sequence(&self) -> u64 {
        be64(&self.bytes, SEQUENCE)
    }

    fn is(&self, uuid: Uuid) -> bool {
        array::<UUID_LENGTH>(&self.bytes, UUID) == field(uuid)
    }
}

/// The JSON of a header of version 2.
fn description(header: &[u8]) -> Result<Value, Trouble> {
    let json = header.get(BINARY..).unwrap_or_default();
    let end = json.iter().position(|byte| *byte == 0).unwrap_or(json.len());
    serde_json::from_slice(&json[..end]).map_err(|error| damaged(&format!("its description is not JSON: {error}")))
}

/// The checksum over the whole header with its own field as zeros.
fn checksum(header: &[u8]) -> Result<[u8; 64], Trouble> {
    let mut zeroed = header.to_vec();
    put(&mut zeroed, CHECKSUM, &[0; 64]);
    let mut sum = [0; 64];
    match text(header, 72, 32).as_str() {
        "sha256" => put(&mut sum, 0, &Sha256::digest(&zeroed)),
        "sha512" => put(&mut sum, 0, &Sha512::digest(&zeroed)),
        other => {
            return Err(Trouble::Refused(format!(
                "the headers of this LUKS volume are checked by {other:?}, which is not known here: use cryptsetup luksUUID"
            )));
        }
    }
    Ok(sum)
}

/// The UUID's field: text, then zeros.
fn field(uuid: Uuid) -> [u8; UUID_LENGTH] {
    let mut field = [0; UUID_LENGTH];
    uuid.hyphenated().encode_lower(&mut field);
    field
}

fn named(header: &[u8]) -> Result<(), Trouble> {
    match Uuid::try_parse(&text(header, UUID, UUID_LENGTH)) {
        Ok(_) => Ok(()),
        Err(_) => Err(damaged("a header has no UUID")),
    }
}

fn under_way() -> Trouble {
    Trouble::Refused("this LUKS volume is being encrypted anew: let cryptsetup reencrypt end first".into())
}

fn detached() -> Trouble {
    Trouble::Refused(
        "this LUKS header has its data on another device: use cryptsetup luksUUID --header where both are known".into(),
    )
}

fn damaged(what: &str) -> Trouble {
    Trouble::Damaged(format!("this LUKS volume is not sound, {what}"))
}
