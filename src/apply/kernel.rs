// SPDX-License-Identifier: MIT OR Apache-2.0
//! The UUID of an ext4 file system that is mounted, changed by the kernel.
//!
//! Numbers and structures are those of include/uapi/linux/ext4.h and fs/ext4/ioctl.c. The kernel changes the UUID in one
//! transaction, but a file system with metadata_csum must have a checksum seed of its own before, which Linux 6.18 can
//! switch on. The journal holds the new superblock then; boot loaders and blkid(8) read the place itself, so the journal
//! is written back, and the place is read past the page cache.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::libc;
use uuid::Uuid;

use crate::plan::Place;

/// `EXT4_IOC_SETFSUUID`: the size in the number is that of a header without the UUID.
const SET_UUID: libc::c_ulong = 0x4008_662c;
/// `EXT4_IOC_CHECKPOINT`.
const CHECKPOINT: libc::c_ulong = 0x4004_662b;
/// `EXT4_IOC_GET_TUNE_SB_PARAM` and `EXT4_IOC_SET_TUNE_SB_PARAM`.
const GET_TUNING: libc::c_ulong = 0x80e8_662d;
const SET_TUNING: libc::c_ulong = 0x40e8_662e;
/// `EXT4_TUNE_FL_EDIT_FEATURES`.
const EDIT_FEATURES: u32 = 0x4000;
const CSUM_SEED: u32 = 0x2000;
const METADATA_CSUM: u32 = 0x400;
/// `struct ext4_tune_sb_params`, and where in it are `set_flags`, the features to set, and the mount options.
const TUNING: usize = 232;
const TUNING_SET_FEATURES: usize = 80;

/// Gives the file system at a place, which is mounted at `mounted`, the UUID that it shall have.
///
/// # Errors
/// When the kernel cannot (before Linux 6.0, or on a file system whose checksums would change), and when the medium does
/// not hold it afterwards.
pub fn set(place: &Place, mounted: &str) -> Result<()> {
    let [id] = &place.after[..] else { bail!("ext4 has one UUID") };
    let uuid = Uuid::parse_str(&id.value)?;
    let dir = File::open(mounted).with_context(|| format!("opening {mounted}"))?;
    let mut request = [0_u8; 24];
    request[..4].copy_from_slice(&16_u32.to_ne_bytes());
    request[8..].copy_from_slice(uuid.as_bytes());
    match call(&dir, SET_UUID, &mut request) {
        // Its checksums begin with the UUID.
        Err(Errno::EOPNOTSUPP) => {
            seed(&dir)
                .context("switching metadata_csum_seed on, which Linux before 6.18 cannot while it is mounted")?;
            call(&dir, SET_UUID, &mut request)?;
        }
        Err(Errno::ENOTTY) => bail!("this kernel cannot change the UUID of what is mounted: Linux 6.0 can"),
        result => result?,
    }
    rustix::fs::syncfs(&dir)?;
    match call(&dir, CHECKPOINT, &mut [0; 4]) {
        // There is no journal to be written back.
        Err(Errno::ENODEV) => {}
        result => result.context("writing the journal back")?,
    }
    let found = on_medium(Path::new(&place.device))?;
    if found != uuid {
        bail!("{} holds the UUID {found} and not {uuid}", place.device);
    }
    Ok(())
}

/// Switches the checksum seed on. The kernel takes it for a file system without metadata_csum too, which could not be
/// mounted any more; and it writes the default mount options anew, so those that are there are given back.
fn seed(dir: &File) -> Result<()> {
    let mut tuning = [0_u8; TUNING];
    call(dir, GET_TUNING, &mut tuning)?;
    let number = |tuning: &[u8], at: usize| -> u32 {
        tuning[at..at + 4].iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
    };
    // feature_ro_compat stands at 72.
    if number(&tuning, 72) & METADATA_CSUM == 0 {
        bail!("it has no metadata_csum");
    }
    let mut change = [0_u8; TUNING];
    change[..4].copy_from_slice(&EDIT_FEATURES.to_ne_bytes());
    change[TUNING_SET_FEATURES..][..4].copy_from_slice(&CSUM_SEED.to_ne_bytes());
    change[100..164].copy_from_slice(&tuning[100..164]);
    Ok(call(dir, SET_TUNING, &mut change)?)
}

fn call(dir: &File, number: libc::c_ulong, argument: &mut [u8]) -> Result<(), Errno> {
    // SAFETY: each of the requests above reads or writes as many bytes as its structure has, which is what `argument`
    // has, and keeps no pointer to it.
    let result = unsafe { libc::ioctl(dir.as_raw_fd(), number, argument.as_mut_ptr()) };
    Errno::result(result).map(drop)
}

/// The UUID in the primary superblock, read past the page cache.
fn on_medium(device: &Path) -> Result<Uuid> {
    // O_DIRECT wants whole blocks at addresses that divide by their size, open(2).
    const BLOCK: usize = 4096;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(device)?;
    let mut room = vec![0; 2 * BLOCK];
    let start = room.as_ptr().align_offset(BLOCK);
    let block = room.get_mut(start..start + BLOCK).context("no aligned memory")?;
    file.read_exact_at(block, 0)?;
    Ok(Uuid::from_slice(&block[1024 + 0x68..][..16])?)
}
