// SPDX-License-Identifier: MIT OR Apache-2.0
//! The head of an XFS log: the last record, which on a filesystem that was unmounted says just that.
//!
//! Found as the kernel does it (fs/xfs/xfs_log_recover.c: `xlog_find_head`, `xlog_rseek_logrec_hdr`,
//! `xlog_check_unmount_rec`): each 512-byte block begins with the number of its round through the log, so a binary
//! search finds where this round ends, whatever the log's size.

use uuid::Uuid;

use crate::disks::fields::{array, be32, be64, le32, put, uuid};
use crate::disks::{Blocks, Trouble, crc, read};

const BLOCK: u64 = 512;
/// `XLOG_HEADER_MAGIC_NUM`.
const MAGIC: u32 = 0xfeed_babe;
/// `XLOG_UNMOUNT_TRANS`.
const UNMOUNT: u8 = 0x20;
/// `XLOG_MAX_RECORD_BSIZE`.
const RECORD_MAX: u32 = 256 * 1024;
/// `XLOG_HEADER_CYCLE_SIZE`: one header block serves that many bytes of log buffer.
const PER_HEADER: u32 = 32 * 1024;
/// Records under way at one time, `XLOG_MAX_ICLOGS` of the largest size: what lies behind the end is wholly written.
const IN_FLIGHT: u64 = 8 * RECORD_MAX as u64 / BLOCK;
const LENGTH: usize = 12;
const CRC: usize = 32;
const UUID: usize = 304;

/// The head record's first header block.
pub(super) struct Head {
    /// Where the sectors that hold it begin, in bytes.
    pub offset: u64,
    /// These sectors, one of 512 bytes, or one of the filesystem's if those are larger.
    pub sectors: Vec<u8>,
    /// Where the header begins in them.
    at: usize,
    /// Header blocks after the first one that its checksum goes over.
    extended: Vec<u8>,
    payload: Vec<u8>,
    /// How much of the header its checksum covers; none where there is no checksum.
    summed: Option<usize>,
}

/// The head of the log of `length` bytes at `start`.
///
/// # Errors
/// [`Trouble::Refused`] when it is not the record of an unmount, [`Trouble::Damaged`] when its checksum is wrong.
pub(super) fn head(
    blocks: &(impl Blocks + ?Sized),
    start: u64,
    length: u64,
    sector_size: u64,
) -> Result<Head, Trouble> {
    let log = Log { blocks, start, count: length / BLOCK };
    let end = log.end()?;
    let Some(block) = log.last_record(end)? else { return Err(dirty()) };
    let header = log.read(block, 1)?;
    let (payload_length, buffer) = (be32(&header, LENGTH), be32(&header, 320));
    if payload_length == 0 || payload_length > RECORD_MAX || buffer > RECORD_MAX {
        return Err(dirty());
    }
    // Version 2 logs have a header block for each 32 KiB of buffer (`xlog_logrec_hblks`).
    let headers = if be32(&header, 8) & 2 != 0 { buffer.div_ceil(PER_HEADER).max(1) } else { 1 };
    let payload_blocks = u64::from(payload_length).div_ceil(BLOCK);
    let after = block + u64::from(headers) + payload_blocks;
    // The checksum goes over those that serve this record's length, though all are there.
    let used = payload_length.div_ceil(PER_HEADER).min(headers);
    let extended = log.read((block + 1) % log.count, u64::from(used) - 1)?;
    let mut payload = log.read((block + u64::from(headers)) % log.count, payload_blocks)?;
    payload.truncate(payload_length as usize);
    // One operation that says unmounted, its flags the tenth byte, and nothing after it.
    let unmounted = after % log.count == end % log.count
        && be64(&header, 16) & 0xffff_ffff == block
        && be32(&header, 40) == 1
        && array::<1>(&payload, 9)[0] & UNMOUNT != 0;
    if !unmounted {
        return Err(dirty());
    }
    let position = start + block * BLOCK;
    let offset = position - position % sector_size;
    let mut head = Head {
        offset,
        sectors: read(blocks, offset, sector_size as usize)?,
        at: (position - offset) as usize,
        extended,
        payload,
        summed: None,
    };
    // mkfs.xfs leaves the checksum out.
    let stored = le32(&header, CRC);
    if stored != 0 {
        // The struct is shorter by its padding where 64-bit numbers are aligned to 32 bits, as on i386.
        let summed = [328, 324].into_iter().find(|summed| head.checksum(&header, *summed) == stored);
        head.summed = Some(summed.ok_or_else(|| {
            Trouble::Damaged("the last record in the log of this XFS has a wrong checksum: see xfs_repair(8)".into())
        })?);
    }
    Ok(head)
}

impl Head {
    /// The filesystem that the record names.
    pub(super) fn uuid(&self) -> Uuid {
        uuid(&self.sectors, self.at + UUID)
    }

    /// The sectors with another id in the record.
    pub(super) fn with(&self, new: Uuid) -> Vec<u8> {
        let mut sectors = self.sectors.clone();
        put(&mut sectors, self.at + UUID, new.as_bytes());
        if let Some(summed) = self.summed {
            let sum = self.checksum(sectors.get(self.at..).unwrap_or_default(), summed);
            put(&mut sectors, self.at + CRC, &sum.to_le_bytes());
        }
        sectors
    }

    /// `xlog_cksum`: header, used part of each further header block, payload.
    fn checksum(&self, header: &[u8], summed: usize) -> u32 {
        let mut header = array::<328>(header, 0);
        put(&mut header, CRC, &[0; 4]);
        let register = crc::crc32c_raw(!0, header.get(..summed).unwrap_or(&header));
        // `struct xlog_rec_ext_header`: 65 words.
        let register = self
            .extended
            .chunks(BLOCK as usize)
            .fold(register, |sum, block| crc::crc32c_raw(sum, block.get(..260).unwrap_or(block)));
        !crc::crc32c_raw(register, &self.payload)
    }
}

struct Log<'a, B: ?Sized> {
    blocks: &'a B,
    start: u64,
    count: u64,
}

impl<B: Blocks + ?Sized> Log<'_, B> {
    /// Blocks from `block`, going on at the start of the log where it ends.
    fn read(&self, block: u64, count: u64) -> Result<Vec<u8>, Trouble> {
        if block >= self.count || count > self.count {
            return Err(dirty());
        }
        let first = count.min(self.count - block);
        let mut bytes = read(self.blocks, self.start + block * BLOCK, (first * BLOCK) as usize)?;
        bytes.extend(read(self.blocks, self.start, ((count - first) * BLOCK) as usize)?);
        Ok(bytes)
    }

    fn round_at(&self, block: u64) -> Result<u32, Trouble> {
        Ok(round(&self.read(block, 1)?))
    }

    /// The first block that is not of the latest round, at most the log's length.
    fn end(&self) -> Result<u64, Trouble> {
        if self.count < 2 {
            return Err(dirty());
        }
        let (latest, older) = (self.round_at(0)?, self.round_at(self.count - 1)?);
        let mut end = self.count;
        if latest != older {
            let mut known = 0;
            end -= 1;
            while end - known > 1 {
                let middle = known.midpoint(end);
                if self.round_at(middle)? == older { end = middle } else { known = middle }
            }
            if older.checked_add(1) != Some(latest) {
                return Err(dirty());
            }
        }
        // A hole before the end is a write that a cut left out; the kernel then takes what is before the hole.
        let window = IN_FLIGHT.min(self.count);
        let first = (end + self.count - window) % self.count;
        let bytes = self.read(first, window)?;
        let whole = (first..)
            .zip(bytes.chunks(BLOCK as usize))
            .all(|(number, block)| round(block) == if number % self.count < end { latest } else { older });
        if latest == 0 || !whole { Err(dirty()) } else { Ok(end) }
    }

    /// The block where the record before `end` begins.
    fn last_record(&self, end: u64) -> Result<Option<u64>, Trouble> {
        // The largest record with its headers, which may begin before the end of the log and go on at its start.
        let window = (u64::from(RECORD_MAX) / BLOCK + 16).min(self.count);
        let first = (end + self.count - window) % self.count;
        let bytes = self.read(first, window)?;
        let back = bytes.chunks(BLOCK as usize).rposition(|block| be32(block, 0) == MAGIC);
        Ok(back.map(|back| (first + back as u64) % self.count))
    }
}

/// The round of a block; a header keeps it behind its magic (`xlog_get_cycle`).
fn round(block: &[u8]) -> u32 {
    let word = be32(block, 0);
    if word == MAGIC { be32(block, 4) } else { word }
}

fn dirty() -> Trouble {
    Trouble::Refused(
        "the log of this XFS is not that of a clean unmount, and its records carry the UUID: mount and unmount it once"
            .into(),
    )
}
