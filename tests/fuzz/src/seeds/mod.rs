// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a target begins with: images by the vendors' tools in all their variants, of each the sectors that reseal reads.

mod array;
mod images;
mod several;
pub mod texts;

pub use several::groups;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use reseal::disks::device::Device;
use reseal::disks::layout::partitions;
use reseal::disks::{self, Blocks, Format};
use sha2::{Digest as _, Sha256};

use crate::dice::Dice;
use crate::sparse::{SECTOR, Sparse};
use crate::{oracle, repair};

/// When `RESEAL_FUZZ_SEEDS` names a directory the program puts its seeds there, and ends.
pub fn lay(make: impl FnOnce() -> Vec<Vec<u8>>) {
    let Some(directory) = std::env::var_os("RESEAL_FUZZ_SEEDS") else { return };
    let directory = Path::new(&directory);
    fs::create_dir_all(directory).unwrap();
    for seed in make() {
        let name: String = Sha256::digest(&seed).iter().take(10).map(|byte| format!("{byte:02x}")).collect();
        fs::write(directory.join(name), seed).unwrap();
    }
    std::process::exit(0)
}

/// Seeds of a disk format: every variant as it was made, and as a cut leaves it.
pub fn disk(format: Format) -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    let commands = images::commands(format);
    for (number, command) in commands.iter().enumerate() {
        let image = directory.path().join(number.to_string());
        if let Some(device) = made(command, &image).then(|| recorded(&image, format)) {
            all.push(device);
        }
        let _ = fs::remove_file(image);
    }
    if all.is_empty() && !commands.is_empty() {
        eprintln!("SKIPPED: seeds of {}: the tools that make it are not here", format.name());
    }
    eprintln!("{} of {} variants of {}", all.len(), commands.len(), format.name());
    all.extend(array::members(format));
    for device in &all {
        let mut again = device.clone();
        repair::checksums(format, &mut again, &mut Dice::new(0));
        // Of what is refused not all that a checksum covers was read.
        let refused =
            disks::probe(device.begin(), format).is_ok_and(|found| found.is_some_and(|found| found.refusal.is_some()));
        assert!(refused || again.same(device), "a sound {} is repaired", format.name());
    }
    let half: Vec<Sparse> = all.iter().flat_map(|device| oracle::half_changed(format, device)).collect();
    all.iter().chain(&half).map(Sparse::encode).collect()
}

/// Runs a script that makes the image `$1`; what a tool does not know to make is left out.
fn made(command: &str, image: &Path) -> bool {
    let script = format!("set -e; PATH=$PATH:/usr/sbin:/sbin; {command}");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c".as_ref(), script.as_ref(), "sh".as_ref(), image.as_os_str()]).env("LC_ALL", "C");
    let output = shell.stdin(Stdio::null()).output().unwrap();
    if !output.status.success() {
        eprintln!("not made: {command}: {}", String::from_utf8_lossy(&output.stderr).trim().replace('\n', " "));
    }
    output.status.success()
}

/// The sectors that reseal reads of an image.
fn recorded(image: &Path, format: Format) -> Sparse {
    let device = Device::open(image).unwrap();
    let watched = Watched::over(&device);
    let found = disks::probe(&watched, format).unwrap_or_default();
    let _ = partitions(&watched);
    if let Some(found) = found {
        let _ = oracle::plan(&watched, format, &oracle::renewed(format, &found.ids));
    }
    watched.seen()
}

/// Formats that are only recognised, and some that are not among them.
pub fn foreign() -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for (number, command) in images::FOREIGN.iter().enumerate() {
        let image = directory.path().join(number.to_string());
        if made(command, &image) {
            let device = Device::open(&image).unwrap();
            let watched = Watched::over(&device);
            let _ = disks::foreign::probe(&watched);
            all.push(watched.seen().encode());
        }
    }
    eprintln!("{} of {} formats", all.len(), images::FOREIGN.len());
    all.extend(disk(Format::Swap));
    all
}

/// A device that notes which of its sectors are read.
struct Watched<'d, B> {
    device: &'d B,
    sectors: RefCell<BTreeSet<u64>>,
}

impl<'d, B: Blocks> Watched<'d, B> {
    fn over(device: &'d B) -> Watched<'d, B> {
        Watched { device, sectors: RefCell::default() }
    }

    /// The device with the sectors alone that were read.
    fn seen(self) -> Sparse {
        let mut sparse = Sparse::new(self.device.size());
        for number in self.sectors.into_inner() {
            let mut sector = [0; SECTOR];
            let offset = number * SECTOR as u64;
            let length = (self.device.size() - offset).min(SECTOR as u64) as usize;
            self.device.read_at(offset, &mut sector[..length]).unwrap();
            sparse.put(offset, &sector);
        }
        sparse
    }
}

impl<B: Blocks> Blocks for Watched<'_, B> {
    fn size(&self) -> u64 {
        self.device.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.device.read_at(offset, buffer)?;
        let end = (offset + buffer.len() as u64).div_ceil(SECTOR as u64);
        self.sectors.borrow_mut().extend(offset / SECTOR as u64..end);
        Ok(())
    }
}
