// SPDX-License-Identifier: MIT OR Apache-2.0
//! On-disk identity, bytes in and bytes out: what a device holds, and the sector writes that give it another id.
//!
//! A format reads through [`Blocks`] and answers with a [`Patch`]: batches of writes in the one order that leaves a
//! device that opens after every cut, with what stood there before. It writes nothing itself.

mod any;
pub mod bcache;
pub mod btrfs;
pub mod crc;
pub mod device;
pub mod exfat;
pub mod ext;
pub mod f2fs;
pub mod fat;
mod fields;
pub mod foreign;
pub mod gpt;
mod kin;
pub mod layout;
pub mod luks;
pub mod lvm;
pub mod mbr;
pub mod md;
pub mod ntfs;
pub mod sector;
pub mod swap;
pub mod xfs;

use kin::{Kin, Seat};
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

pub use any::{plan, plan_all, probe};
pub use kin::relate;

/// A device, a partition or an image, read at byte offsets.
pub trait Blocks {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// Reads exactly `buffer.len()` bytes at `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` beyond the end, and whatever the device gives.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl<B: Blocks + ?Sized> Blocks for &B {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buffer)
    }
}

impl Blocks for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let eof = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let start = usize::try_from(offset).map_err(|_| eof())?;
        let end = start.checked_add(buffer.len()).ok_or_else(eof)?;
        buffer.copy_from_slice(self.get(start..end).ok_or_else(eof)?);
        Ok(())
    }
}

/// `length` bytes at `offset`.
///
/// # Errors
/// As [`Blocks::read_at`].
pub fn read(blocks: &(impl Blocks + ?Sized), offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; length];
    blocks.read_at(offset, &mut buffer)?;
    Ok(buffer)
}

/// What a device is, by its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// ext2, ext3 or ext4.
    Ext,
    /// XFS, version 4 or 5.
    Xfs,
    /// btrfs.
    Btrfs,
    /// Linux swap space.
    Swap,
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// exFAT.
    Exfat,
    /// NTFS.
    Ntfs,
    /// F2FS.
    F2fs,
    /// LUKS, version 1 or 2.
    Luks,
    /// A physical volume of LVM2.
    Lvm,
    /// A member of a Linux software RAID.
    Md,
    /// A backing or a cache device of bcache.
    Bcache,
    /// A GUID partition table.
    Gpt,
    /// An MBR partition table.
    Mbr,
}

impl Format {
    /// As policy and plan name it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Ext => "ext",
            Format::Xfs => "xfs",
            Format::Btrfs => "btrfs",
            Format::Swap => "swap",
            Format::Fat => "fat",
            Format::Exfat => "exfat",
            Format::Ntfs => "ntfs",
            Format::F2fs => "f2fs",
            Format::Luks => "luks",
            Format::Lvm => "lvm",
            Format::Md => "md",
            Format::Bcache => "bcache",
            Format::Gpt => "gpt",
            Format::Mbr => "mbr",
        }
    }
}

/// One id that a device holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Id {
    /// Which one: `uuid`, `serial`, `disk-guid`, `partition-1`, ...
    pub name: String,
    /// Its value as blkid(8) writes it.
    pub value: String,
}

/// Devices that hold one thing together, and whose ids are changed together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Group {
    /// Devices of the same format and the same key belong together. It is the same before, during and after a change.
    pub key: String,
    /// How many of them are needed at least.
    pub members: u32,
}

/// What stands on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Found {
    /// The format.
    pub format: Format,
    /// Version or variant as its own tools name it, `ext4`, `FAT32`, `2`.
    pub variant: String,
    /// Its ids.
    pub ids: Vec<Id>,
    /// Its label, if it has one.
    pub label: Option<String>,
    /// Why its ids are not changed as it stands, a sentence; none when they can be.
    pub refusal: Option<String>,
    /// What else it belongs to; none for a format, or an instance of one, that stands alone.
    pub group: Option<Group>,
    /// Does a LUKS header hold a token that only a TPM opens?
    pub tpm: bool,
    /// For [`relate`].
    #[serde(skip)]
    kin: Kin,
}

impl Found {
    /// With nothing but ids.
    pub(crate) fn of(format: Format, variant: &str, ids: Vec<Id>) -> Found {
        Found {
            format,
            variant: variant.into(),
            ids,
            label: None,
            refusal: None,
            group: None,
            tpm: false,
            kin: Kin::Known,
        }
    }
}

/// One write: some sectors, as they were and as they shall be.
#[derive(Clone, PartialEq, Eq)]
pub struct SectorWrite {
    /// Byte offset on the device.
    pub offset: u64,
    /// What stands there when its turn comes: as read, or as an earlier batch of the patch left it.
    pub before: Vec<u8>,
    /// What shall stand there, of the same length.
    pub after: Vec<u8>,
}

/// Sectors may hold anything, also secrets.
impl fmt::Debug for SectorWrite {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes at {}", self.after.len(), self.offset)
    }
}

/// The writes that change an id: batch after batch, each flushed to the medium before the next begins.
///
/// The writes of one batch may reach the medium in any order, or only some of them; whatever a cut leaves, the device
/// opens under its old or its new id, and planning again from there ends at the same bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// Writes between two flushes.
    pub batches: Vec<Vec<SectorWrite>>,
}

/// Why a device is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// It is not what its signature promises: nothing is written to it.
    #[error("{0}")]
    Damaged(String),
    /// It is sound, and not changed all the same; the sentence says why, and what would do it.
    #[error("{0}")]
    Refused(String),
}
