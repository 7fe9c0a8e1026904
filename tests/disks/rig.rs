// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tests of all formats share: images, vendors' tools, a cut at every write, broken images.
#![allow(dead_code)]

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use reseal::disks::{Patch, SectorWrite, Trouble};
use tempfile::TempDir;

/// So many writes of one batch are tried in every combination; of more, samples.
const ALL_SUBSETS: usize = 10;
const SAMPLES: usize = 1000;

/// Where administrators' tools are, which are not on every user's path.
const BIN: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

fn found(tool: &str) -> Option<PathBuf> {
    BIN.iter().map(|dir| Path::new(dir).join(tool)).find(|path| path.exists())
}

/// Are all these programs here? If not, the test is skipped loudly.
pub fn have(test: &str, tools: &[&str]) -> bool {
    let missing = tools.iter().find(|tool| found(tool).is_none());
    if let Some(tool) = missing {
        crate::support::skip(test, &format!("{tool} is not here"));
    }
    missing.is_none()
}

/// Runs a vendor's tool with no input.
pub fn tool<I: AsRef<std::ffi::OsStr>>(name: &str, arguments: impl IntoIterator<Item = I>) -> Output {
    let path = found(name).unwrap_or_else(|| panic!("{name} is not here"));
    let mut command = Command::new(path);
    command.args(arguments).stdin(Stdio::null()).env("LC_ALL", "C").env("MTOOLS_SKIP_CHECK", "1");
    command.output().unwrap()
}

/// What the tool says on both channels; it must succeed.
pub fn told<I: AsRef<std::ffi::OsStr>>(name: &str, arguments: impl IntoIterator<Item = I>) -> String {
    let output = tool(name, arguments);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{name}: {}: {text}", output.status);
    text
}

/// One value as blkid(8) probes it from the bytes, empty where it finds none.
pub fn blkid(path: &Path, tag: &str) -> String {
    let output =
        tool("blkid", ["-p".as_ref(), "-o".as_ref(), "value".as_ref(), "-s".as_ref(), tag.as_ref(), path.as_os_str()]);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A sparse file of `mebibytes` in a directory of its own.
pub fn blank(mebibytes: u64) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    File::create(&path).unwrap().set_len(mebibytes << 20).unwrap();
    (dir, path)
}

/// Files of several sizes and names below `dir`, to be put into an image.
pub fn content(dir: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    for (name, length) in [("empty", 0), ("small", 11), ("a longer name.text", 5000), ("big", 300_000)] {
        let path = dir.join(name);
        fs::write(&path, noise(length, length as u64 + 1)).unwrap();
        names.push(path);
    }
    names
}

/// Bytes that are the same for the same seed.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    (0..length).map(|_| dice.roll() as u8).collect()
}

/// xorshift64*: the same rolls at every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }
}

/// Writes as an executor does: only where that stands which was read.
fn write(image: &mut [u8], write: &SectorWrite) {
    let start = usize::try_from(write.offset).unwrap();
    let place = &mut image[start..start + write.after.len()];
    assert_eq!(write.before.len(), write.after.len());
    assert_eq!((start % 512, place.len() % 512), (0, 0), "{write:?} is not of whole sectors");
    assert!(*place == write.before[..], "{write:?} does not find what it expects");
    place.copy_from_slice(&write.after);
}

/// The image after the whole patch.
pub fn patched(image: &[u8], patch: &Patch) -> Vec<u8> {
    let mut image = image.to_vec();
    patch.batches.iter().flatten().for_each(|each| write(&mut image, each));
    image
}

/// The subsets of `count` writes that are tried, as lists of flags; neither none nor all of them.
fn subsets(count: usize) -> Vec<Vec<bool>> {
    if count <= ALL_SUBSETS {
        return (1..(1usize << count).saturating_sub(1))
            .map(|mask| (0..count).map(|bit| mask >> bit & 1 == 1).collect())
            .collect();
    }
    let mut dice = Dice(count as u64);
    (0..SAMPLES).map(|_| (0..count).map(|_| dice.roll() & 1 == 1).collect()).collect()
}

/// Cuts the change at every write: after each batch, and within a batch after each subset of it.
///
/// `judge` says by panicking that what the cut left does not open under the old or the new id; it gets a file and
/// the same bytes. Then `plan` is made again and must end where the whole change ends, which is returned.
pub fn cuts(
    name: &str,
    image: &[u8],
    plan: impl Fn(&[u8]) -> Result<Patch, Trouble>,
    judge: impl Fn(&Path, &[u8]),
) -> Vec<u8> {
    let patch = plan(image).unwrap();
    assert!(!patch.is_empty(), "{name}: nothing to cut");
    let whole = patched(image, &patch);
    assert!(plan(&whole).unwrap().is_empty(), "{name}: a second plan is not empty");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut");
    fs::write(&path, image).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let mut now = image.to_vec();
    let mut count = 0;
    for batch in &patch.batches {
        let mut places: Vec<(u64, u64)> =
            batch.iter().map(|each| (each.offset, each.offset + each.after.len() as u64)).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{name}: two writes of a batch overlap");

        let mut cut = |now: &mut Vec<u8>, flags: &[bool]| {
            let some: Vec<&SectorWrite> = batch.iter().zip(flags).filter(|(_, flag)| **flag).map(|(w, _)| w).collect();
            for each in &some {
                write(now, each);
                file.write_all_at(&each.after, each.offset).unwrap();
            }
            judge(&path, now);
            resume(name, now, &whole, &plan);
            count += 1;
            some
        };
        for flags in subsets(batch.len()) {
            for each in cut(&mut now, &flags) {
                let start = usize::try_from(each.offset).unwrap();
                now[start..start + each.before.len()].copy_from_slice(&each.before);
                file.write_all_at(&each.before, each.offset).unwrap();
            }
        }
        cut(&mut now, &vec![true; batch.len()]);
    }
    // Not by eprintln, which the test runner would keep to itself.
    let _ = writeln!(std::io::stderr(), "{name}: {count} cuts in {} batches", patch.batches.len());
    whole
}

/// From what a cut left, a new plan ends where the whole change ends; `now` is as before afterwards.
fn resume(name: &str, now: &mut [u8], whole: &[u8], plan: &impl Fn(&[u8]) -> Result<Patch, Trouble>) {
    let rest = plan(now).unwrap_or_else(|trouble| panic!("{name}: planning after a cut: {trouble}"));
    let writes: Vec<&SectorWrite> = rest.batches.iter().flatten().collect();
    writes.iter().for_each(|each| write(now, each));
    assert!(now == whole, "{name}: resuming ends elsewhere");
    for each in writes.iter().rev() {
        let start = usize::try_from(each.offset).unwrap();
        now[start..start + each.before.len()].copy_from_slice(&each.before);
    }
}

/// Each byte of `range` with one of its bits turned: an error, unless `harmless` says that it may be a patch.
pub fn flips(
    name: &str,
    image: &[u8],
    range: std::ops::Range<usize>,
    plan: impl Fn(&[u8]) -> Result<Patch, Trouble>,
    harmless: impl Fn(usize) -> bool,
) {
    let mut image = image.to_vec();
    let mut dice = Dice(range.start as u64 + 1);
    for at in range {
        let bit = 1u8 << (dice.roll() % 8);
        image[at] ^= bit;
        let planned = plan(&image);
        assert!(planned.is_err() || harmless(at), "{name}: bit {bit:#x} turned at {at:#x} and still planned");
        image[at] ^= bit;
    }
}

/// The image cut short at places of all kinds: always an error.
pub fn truncations(name: &str, image: &[u8], plan: impl Fn(&[u8]) -> Result<Patch, Trouble>) {
    let mut lengths = vec![0, 1, 511, 512, 1023, 1024, 1536, 2048, 4096, 65536, image.len() / 2, image.len() - 512];
    let mut dice = Dice(7);
    lengths.extend((0..200).map(|_| usize::try_from(dice.roll()).unwrap() % image.len()));
    for length in lengths.into_iter().filter(|length| *length < image.len()) {
        assert!(plan(&image[..length]).is_err(), "{name}: planned although only {length} bytes are there");
    }
}

/// Noise over `range`, again and again: anything but a panic.
pub fn garbage<T>(image: &[u8], range: std::ops::Range<usize>, act: impl Fn(&[u8]) -> T) {
    let mut dice = Dice(range.end as u64);
    for _ in 0..500 {
        let mut broken = image[..image.len().min(1 << 20)].to_vec();
        for _ in 0..=dice.roll() % 8 {
            let at = range.start + usize::try_from(dice.roll()).unwrap() % range.len();
            let value = [0, 0xff, 0x80, dice.roll() as u8][usize::try_from(dice.roll() % 4).unwrap()];
            let end = (at + [1, 2, 4, 8][usize::try_from(dice.roll() % 4).unwrap()]).min(range.end);
            broken[at..end].fill(value);
        }
        act(&broken);
    }
}
