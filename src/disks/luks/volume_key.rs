// SPDX-License-Identifier: MIT OR Apache-2.0
//! The volume key of a LUKS2 volume: what tells one from another, and what cryptsetup-reencrypt(8) finds there.
//!
//! Names and fields are those of the LUKS2 On-Disk Format Specification 1.1.0, section 3.

use serde_json::{Map, Value};

use super::{BINARY, Two, be16, description, read};
use crate::disks::{Blocks, Trouble};

/// What cryptsetup keeps beside the key slots while it encrypts anew: checksums of what it is at. With 64 KiB it is at some
/// megabytes at a time.
const SCRATCH: u64 = 64 << 10;

/// The volume key, as far as the header tells of it without opening anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeKey {
    /// Digests that the data's key is checked by, base64 as the header has it; two while it is being encrypted anew.
    pub digests: Vec<String>,
    /// Is it being encrypted anew, or was it when the machine went off?
    pub under_way: bool,
    /// How many key slots open it.
    pub slots: usize,
    /// Has it tokens, which name key slots to other programs?
    pub has_tokens: bool,
    /// Is there room in the header for a slot of the new key, and for what cryptsetup is at meanwhile?
    pub has_room: bool,
}

/// The volume key of a volume of version 2; none of one of version 1.
///
/// # Errors
/// As [`probe`](super::probe).
pub fn volume_key(blocks: &(impl Blocks + ?Sized)) -> Result<Option<VolumeKey>, Trouble> {
    if be16(&read(blocks, 0, BINARY)?, 6) != 2 {
        return Ok(None);
    }
    let header = match Two::sound(blocks)? {
        Two { first, second } if second.sequence() > first.sequence() => second,
        Two { first, .. } => first,
    };
    of(&description(&header.bytes)?, header.bytes.len() as u64).map(Some)
}

/// Reads the description of a header of this size.
fn of(json: &Value, size: u64) -> Result<VolumeKey, Trouble> {
    let objects = |name: &str| json.get(name).and_then(Value::as_object);
    let slots = objects("keyslots").ok_or_else(|| super::damaged("its description has no key slots"))?;
    let kind = |slot: &Value| slot.get("type").and_then(Value::as_str).map(str::to_owned);
    let mandatory = json.pointer("/config/requirements/mandatory").and_then(Value::as_array);
    let under_way = mandatory.into_iter().flatten().filter_map(Value::as_str).any(|name| name.contains("reencrypt"))
        || slots.values().any(|slot| kind(slot).as_deref() == Some("reencrypt"));
    let of_data =
        |digest: &&Value| digest.get("segments").and_then(Value::as_array).is_some_and(|segments| !segments.is_empty());
    let digests = objects("digests").into_iter().flat_map(Map::values).filter(of_data);
    let mut digests: Vec<String> =
        digests.filter_map(|digest| digest.get("digest")?.as_str().map(str::to_owned)).collect();
    digests.sort();
    if digests.is_empty() {
        return Err(super::damaged("nothing in its description checks the key of the data"));
    }
    Ok(VolumeKey {
        digests,
        under_way,
        slots: slots.values().filter(|slot| kind(slot).as_deref() == Some("luks2")).count(),
        has_tokens: objects("tokens").is_some_and(|tokens| !tokens.is_empty()),
        has_room: has_room(json, slots, size),
    })
}

/// Is there room for another slot as large as the largest, and for the scratch area?
fn has_room(json: &Value, slots: &Map<String, Value>, size: u64) -> bool {
    let number = |value: Option<&Value>| value.and_then(Value::as_str).and_then(|text| text.parse::<u64>().ok());
    let Some(room) = number(json.pointer("/config/keyslots_size")) else { return false };
    let area = |slot: &Value| Some((number(slot.pointer("/area/offset"))?, number(slot.pointer("/area/size"))?));
    let Some(mut areas) = slots.values().map(area).collect::<Option<Vec<_>>>() else { return false };
    areas.sort_unstable();
    let largest = areas.iter().map(|(_, size)| *size).max().unwrap_or_default();
    // The area of the slots follows the two headers.
    let (mut at, mut free) = (2 * size, Vec::new());
    for (offset, size) in areas {
        free.push(offset.saturating_sub(at));
        at = at.max(offset.saturating_add(size));
    }
    free.push((2 * size).saturating_add(room).saturating_sub(at));
    free.sort_unstable_by(|one, other| other.cmp(one));
    let (first, second) = (free[0], free.get(1).copied().unwrap_or_default());
    first >= largest.saturating_add(SCRATCH) || (first >= largest.max(SCRATCH) && second >= largest.min(SCRATCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(offset: u64, size: u64) -> Value {
        serde_json::json!({"type": "luks2", "area": {"offset": offset.to_string(), "size": size.to_string()}})
    }

    fn volume(slots: Value, room: u64) -> Value {
        serde_json::json!({
            "keyslots": slots,
            "digests": {"0": {"digest": "b2xk", "segments": ["0"]}, "1": {"digest": "b3RoZXI=", "segments": []}},
            "config": {"keyslots_size": room.to_string()},
        })
    }

    #[test]
    fn room_is_what_the_slots_leave() {
        let room = |slots: Value, room: u64| of(&volume(slots, room), 1 << 14).unwrap().has_room;
        let start = 2 << 14;
        let one = || serde_json::json!({"0": slot(start, 258_048)});
        assert!(room(one(), 16 << 20));
        assert!(!room(one(), 258_048) && !room(one(), 2 * 258_048) && room(one(), 2 * 258_048 + SCRATCH));
        // In two gaps.
        let apart = serde_json::json!({"0": slot(start + 258_048, 258_048)});
        assert!(room(apart.clone(), 2 * 258_048 + SCRATCH) && !room(apart, 2 * 258_048 + SCRATCH - 1));
        assert!(!room(serde_json::json!({"0": {"type": "luks2"}}), 16 << 20), "a slot without a place");
        assert!(!room(serde_json::json!({"0": slot(u64::MAX, u64::MAX)}), 1));
    }

    #[test]
    fn the_digest_of_the_data_tells_the_key() {
        let mut json = volume(serde_json::json!({"0": slot(32_768, 4096)}), 1 << 20);
        let key = of(&json, 1 << 14).unwrap();
        assert_eq!(
            (&key.digests[..], key.slots, key.under_way, key.has_tokens),
            (&["b2xk".to_owned()][..], 1, false, false)
        );
        json["tokens"] = serde_json::json!({"0": {"type": "x"}});
        json["config"]["requirements"] = serde_json::json!({"mandatory": ["online-reencrypt-v2"]});
        let key = of(&json, 1 << 14).unwrap();
        assert!(key.under_way && key.has_tokens);
        for hostile in ["{}", "[]", "{\"keyslots\":{}}", "{\"keyslots\":[],\"digests\":7}"] {
            assert!(of(&serde_json::from_str(hostile).unwrap(), 1 << 14).is_err(), "{hostile}");
        }
    }
}
