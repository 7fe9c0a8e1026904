// SPDX-License-Identifier: MIT OR Apache-2.0
//! The UUID of an ext4 file system that is mounted, changed by the kernel.
//!
//! Numbers and structures are those of include/uapi/linux/ext4.h and fs/ext4/ioctl.c. The kernel changes the UUID in one
//! transaction, but a file system with metadata_csum must have a checksum seed of its own before, which Linux 6.18 can
//! switch on, and is written into the superblock under an older one. The journal holds the new superblock then; boot loaders and blkid(8) read the place itself, so the journal
//! is written back, and the place is read past the page cache.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::libc;
use uuid::Uuid;

use crate::disks::device::Device;
use crate::disks::ext;
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
            seed(&dir, Path::new(&place.device)).context("switching metadata_csum_seed on")?;
            call(&dir, SET_UUID, &mut request)?;
        }
        Err(Errno::ENOTTY) => bail!("this kernel cannot change the UUID of what is mounted: Linux 6.0 can"),
        result => result?,
    }
    rustix::fs::syncfs(&dir)?;
    write_back(&dir).context("writing the journal back")?;
    let found = on_medium(Path::new(&place.device))?;
    if found != uuid {
        bail!("{} holds the UUID {found} and not {uuid}", place.device);
    }
    Ok(())
}

/// Has the kernel write what stands only in an ext4's journal to its place, for readers that do not play the journal.
///
/// # Errors
/// When it fails; there is nothing to write back where there is no journal, or no ext4, or no right to ask for it.
pub fn write_back(dir: &impl AsRawFd) -> Result<(), Errno> {
    match call(dir, CHECKPOINT, &mut [0; 4]) {
        Err(Errno::ENODEV | Errno::ENOTTY | Errno::EOPNOTSUPP | Errno::EPERM) => Ok(()),
        result => result,
    }
}

/// Switches the checksum seed on. The kernel takes it for a file system without metadata_csum too, which could not be
/// mounted any more; and it writes the default mount options anew, so those that are there are given back.
fn seed(dir: &File, device: &Path) -> Result<()> {
    let mut tuning = [0_u8; TUNING];
    match call(dir, GET_TUNING, &mut tuning) {
        Err(Errno::ENOTTY) => return seed_from_outside(dir, device),
        result => result?,
    }
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

/// Switches the checksum seed on by writing the superblock, as tune2fs(8) does where the kernel has no call for it (before
/// 6.18). The mounted file system keeps its superblock in the device's page cache and looks there for its features; its
/// checksums begin with the same number before and after.
fn seed_from_outside(dir: &File, device: &Path) -> Result<()> {
    // What the file system knows of itself is in its superblock now.
    rustix::fs::syncfs(dir)?;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(device)?;
    for batch in ext::plan_seed(&Device::open(device)?)?.batches {
        for write in batch {
            file.write_all_at(&write.after, write.offset)?;
        }
        file.sync_data()?;
    }
    Ok(())
}

fn call(dir: &impl AsRawFd, number: libc::c_ulong, argument: &mut [u8]) -> Result<(), Errno> {
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::Command;

    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::disks::Id;

    fn run(program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program).args(arguments).env("LC_ALL", "C").output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
        said
    }

    fn skip(why: &str) {
        let _ = writeln!(std::io::stderr(), "SKIPPED: the_kernel_changes_what_it_has_mounted: {why}");
        assert!(std::env::var_os("RESEAL_TEST_REQUIRE").is_none(), "{why}");
    }

    /// With each set of features: the new UUID is on the medium while it is mounted, nothing else has changed, and the
    /// vendor's checker is silent.
    #[test]
    fn the_kernel_changes_what_it_has_mounted() {
        if !nix::unistd::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            return skip("it takes root and loop devices");
        }
        // The mounts are this thread's, and go with it.
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let sets = [
            ("metadata_csum,^metadata_csum_seed", false),
            ("metadata_csum,^metadata_csum_seed", true),
            ("metadata_csum_seed", false),
            ("^metadata_csum,^uninit_bg", false),
            ("^has_journal", false),
        ];
        for (features, outside) in sets {
            let dir = tempfile::tempdir().unwrap();
            let (image, point) = (dir.path().join("image"), dir.path().join("mnt"));
            File::create(&image).unwrap().set_len(64 << 20).unwrap();
            std::fs::create_dir(&point).unwrap();
            let (image, point) = (image.to_str().unwrap(), point.to_str().unwrap());
            run("mke2fs", &["-q", "-F", "-t", "ext4", "-O", features, image]);
            run("tune2fs", &["-e", "remount-ro", "-E", "mount_opts=nodelalloc", image]);
            let device = run("losetup", &["--find", "--show", image]).trim().to_owned();
            mount(Some(device.as_str()), point, Some("ext4"), MsFlags::empty(), None::<&str>).unwrap();
            std::fs::write(format!("{point}/file"), vec![7; 100_000]).unwrap();
            let new = "6b331ec4-b909-4b3b-b878-bdaa00000003";
            let after = vec![Id { name: "uuid".into(), value: new.into() }];
            let place = Place { device: device.clone(), offset: 0, size: 64 << 20, before: Vec::new(), after };
            // As an older kernel has it done, in one of the cases.
            if outside {
                seed_from_outside(&File::open(point).unwrap(), Path::new(&device)).unwrap();
            }
            let done = set(&place, point);
            let raw = std::fs::read(image).unwrap()[1024 + 0x68..][..16].to_vec();
            umount2(point, MntFlags::empty()).unwrap();
            run("losetup", &["--detach", &device]);
            match done {
                // Before Linux 6.0 there is no such call.
                Err(error) if format!("{error:#}").contains("Linux") => {
                    skip(&format!("{features}: {error:#}"));
                    continue;
                }
                done => done.unwrap(),
            }
            assert_eq!(Uuid::from_slice(&raw).unwrap().to_string(), new, "{features}: on the medium while mounted");
            // The next boot's check is not forced by backups that know other features.
            let checked = run("e2fsck", &["-n", image]);
            assert!(!checked.contains("backup"), "{features}: {checked}");
            run("e2fsck", &["-fn", image]);
            let told = run("tune2fs", &["-l", image]);
            let has = |line: &str| told.lines().any(|found| found.split_whitespace().eq(line.split(' ')));
            assert!(has(&format!("Filesystem UUID: {new}")), "{told}");
            assert!(has("Errors behavior: Remount read-only") && has("Mount options: nodelalloc"), "{told}");
            let content = run("debugfs", &["-R", "stat file", image]);
            assert!(content.contains("Size: 100000"), "{content}");
        }
    }
}
