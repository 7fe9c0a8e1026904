// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux swap space: the UUID in its one header.
//!
//! Offsets are those of `union swap_header` in the kernel's include/linux/swap.h; the signature ends the first page,
//! whose size is that of the machine which made it. One sector is written, so a cut leaves the old or the new header.

use uuid::Uuid;

use super::sector::{SECTOR, bytes, changed, le32, put, read_within, text};
use super::{Blocks, Format, Found, Id, Patch, Trouble};

/// The sector that holds version, size, UUID and label, and where the UUID stands in it.
const AT: u64 = 1024;
const UUID: usize = 12;

const PAGES: [u64; 5] = [4096, 8192, 16384, 32768, 65536];

/// What a hibernated machine puts in place of the signature, as libblkid's superblocks/swap.c knows them.
const IMAGES: [&[u8]; 5] =
    [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001", b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c"];

/// The variant of swap space that holds the memory of a hibernated machine: it knows what is on all of its disks, and
/// writes that when it wakes up.
pub const HIBERNATED: &str = "hibernated";

/// Swap space as read.
struct Swap {
    page: u64,
    signature: [u8; 10],
    sector: Vec<u8>,
}

/// What swap space stands on this device.
///
/// # Errors
/// When the device cannot be read, or its header is not sound.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    let Some(swap) = find(blocks)? else { return Ok(None) };
    let refusal = match check(blocks, &swap) {
        Ok(()) => None,
        Err(Trouble::Refused(why)) => Some(why),
        Err(trouble) => return Err(trouble),
    };
    let variant = match &swap.signature {
        b"SWAP-SPACE" => "0",
        b"SWAPSPACE2" => "1",
        _ => HIBERNATED,
    };
    let id = Id { name: "uuid".into(), value: Uuid::from_bytes(bytes(&swap.sector, UUID)).to_string() };
    Ok(Some(Found {
        label: text(&bytes::<16>(&swap.sector, 28)),
        refusal,
        ..Found::of(Format::Swap, variant, vec![id])
    }))
}

/// The write that gives swap space, which is not in use, the UUID `uuid`.
///
/// # Errors
/// When the device cannot be read, when the header is not sound, and when the memory of a hibernated machine is there.
pub fn plan(blocks: &(impl Blocks + ?Sized), uuid: Uuid) -> Result<Patch, Trouble> {
    let swap = find(blocks)?.ok_or_else(|| Trouble::Damaged("there is no swap signature".into()))?;
    check(blocks, &swap)?;
    if uuid.is_nil() {
        return Err(Trouble::Refused("a nil UUID is none".into()));
    }
    let mut after = swap.sector.clone();
    put(&mut after, UUID, uuid.as_bytes());
    let mut patch = Patch::default();
    patch.then(changed(AT, &swap.sector, &after, SECTOR));
    Ok(patch)
}

/// The swap space whose signature ends the smallest page: further on there may be anything, also what was swapped.
fn find(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Swap>, Trouble> {
    for page in PAGES {
        let Some(end) = read_within(blocks, page - 10, 10)? else { break };
        let known = end == b"SWAPSPACE2" || end == b"SWAP-SPACE" || IMAGES.iter().any(|image| end.starts_with(image));
        if known && let Some(sector) = read_within(blocks, AT, SECTOR)? {
            return Ok(Some(Swap { page, signature: bytes(&end, 0), sector }));
        }
    }
    Ok(None)
}

/// Refuses a hibernated machine's memory, and a header that is damaged or too old to have a UUID.
fn check(blocks: &(impl Blocks + ?Sized), swap: &Swap) -> Result<(), Trouble> {
    if swap.signature == *b"SWAP-SPACE" {
        return Err(Trouble::Refused(
            "it is swap space of version 0, which has no UUID: `mkswap` makes it anew".into(),
        ));
    }
    if swap.signature != *b"SWAPSPACE2" {
        return Err(Trouble::Refused(
            "it holds the memory of a hibernated machine, which resumes only from what it knows: boot and shut it down \
             once, or `mkswap`"
                .into(),
        ));
    }
    // Big-endian machines write their own byte order, and the kernel reads both (`setup_swap_map_and_extents`).
    let number = match le32(&swap.sector, 0) {
        1 => |bytes: [u8; 4]| u32::from_le_bytes(bytes),
        0x0100_0000 => |bytes: [u8; 4]| u32::from_be_bytes(bytes),
        _ => return Err(Trouble::Damaged("the swap header's version is unknown".into())),
    };
    let last_page = u64::from(number(bytes(&swap.sector, 4)));
    let bad_pages = u64::from(number(bytes(&swap.sector, 8)));
    // MAX_SWAP_BADPAGES: the list of 32-bit numbers from byte 1536 to the signature.
    if last_page == 0 || bad_pages > (swap.page - 10 - 1536) / 4 || bad_pages > last_page {
        return Err(Trouble::Damaged("the swap header's numbers cannot be".into()));
    }
    if last_page.saturating_add(1).saturating_mul(swap.page) > blocks.size() {
        return Err(Trouble::Damaged("the swap header names more pages than the device has".into()));
    }
    Ok(())
}
