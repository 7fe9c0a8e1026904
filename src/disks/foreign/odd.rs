// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ids that do not stand at a place of their own.

use super::some;
use crate::disks::fields::{be32, be64, le64, text};
use crate::disks::{Blocks, Trouble};
use uuid::Uuid;

pub(super) const ZFS_REMEDY: &str = "`zpool reguid POOL` gives the pool another while it is imported and whole";

/// The GUID of the pool that the device is in: `vdev_label_t` of OpenZFS's include/sys/vdev_impl.h.
pub(super) fn zfs(blocks: &dyn Blocks) -> Result<Option<String>, Trouble> {
    const LABEL: u64 = 256 << 10;
    /// In each label, the name-value list is behind 16 KiB, uberblocks fill its second half.
    const LIST: (u64, usize) = (16 << 10, 112 << 10);
    const UBERBLOCKS: (u64, usize) = (128 << 10, 128 << 10);
    const MAGIC: u64 = 0x00ba_b10c;
    if blocks.size() < 4 * LABEL {
        return Ok(None);
    }
    let end = blocks.size() / LABEL * LABEL;
    for label in [0, LABEL, end - 2 * LABEL, end - LABEL] {
        let Some(list) = some(blocks, label + LIST.0, LIST.1)? else { continue };
        // In XDR: nvs_header_t says 1 for that, then the endianness of who wrote it.
        let Some(guid) = (list.first() == Some(&1)).then(|| pool_guid(&list)).flatten() else { continue };
        let Some(ring) = some(blocks, label + UBERBLOCKS.0, UBERBLOCKS.1)? else { continue };
        // An uberblock is of 1 KiB or more, in the endianness of who wrote it.
        if ring.chunks(1 << 10).any(|block| le64(block, 0) == MAGIC || be64(block, 0) == MAGIC) {
            return Ok(Some(guid.to_string()));
        }
    }
    Ok(None)
}

/// A pair in XDR: name with its length, padded to 4 bytes, type, number of values, value.
fn pool_guid(list: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"\0\0\0\x09pool_guid\0\0\0";
    const UINT64: u32 = 8;
    let at = list.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let whole = list.len() >= at + 16;
    (whole && be32(list, at) == UINT64 && be32(list, at + 4) == 1).then(|| be64(list, at + 8))
}

/// The volume's GUID is in its metadata, whose place is in the header; libyal's documentation of the format.
pub(super) fn bitlocker(blocks: &dyn Blocks) -> Result<Option<String>, Trouble> {
    let Some(header) = some(blocks, 0, 512)? else { return Ok(None) };
    let at = if header.get(3..11) == Some(b"-FVE-FS-") { le64(&header, 176) } else { le64(&header, 440) };
    // Windows Vista keeps it elsewhere.
    if header.get(1) == Some(&0x52) {
        return Ok(None);
    }
    let Some(metadata) = some(blocks, at, 96)? else { return Ok(None) };
    let id = metadata.get(80..96).and_then(|id| <[u8; 16]>::try_from(id).ok());
    Ok(id.filter(|_| metadata.starts_with(b"-FVE-FS-")).map(|id| Uuid::from_bytes_le(id).to_string()))
}

/// When it was changed, or made, in the primary volume descriptor (ECMA-119, 8.4), as blkid(8) writes it.
pub(super) fn iso9660(blocks: &dyn Blocks) -> Result<Option<String>, Trouble> {
    let Some(descriptor) = some(blocks, 32 << 10, 2048)? else { return Ok(None) };
    for at in [830, 813] {
        let date = text(&descriptor, at, 16);
        if date.len() == 16 && date.bytes().all(|byte| byte.is_ascii_digit()) && date.bytes().any(|byte| byte != b'0') {
            let cuts = [0, 4, 6, 8, 10, 12, 14, 16];
            return Ok(Some(cuts.windows(2).map(|cut| &date[cut[0]..cut[1]]).collect::<Vec<_>>().join("-")));
        }
    }
    Ok(None)
}
