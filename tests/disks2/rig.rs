// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images, their tools, and the cuts: every state that an interrupted change can leave.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use reseal::disks::{Blocks, Patch, SectorWrite, Trouble};
use uuid::Uuid;

use crate::support;

/// A device that is a file.
pub struct Image {
    pub path: PathBuf,
    file: File,
}

impl Image {
    /// An empty one of `size` bytes.
    pub fn new(directory: &Path, name: &str, size: u64) -> Image {
        let path = directory.join(name);
        File::create(&path).unwrap().set_len(size).unwrap();
        Image::open(path)
    }

    pub fn open(path: PathBuf) -> Image {
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        Image { path, file }
    }

    /// The same bytes in another file.
    pub fn copy(&self, name: &str) -> Image {
        let path = self.path.with_file_name(name);
        run("cp", &["--sparse=always", self.path.to_str().unwrap(), path.to_str().unwrap()]);
        Image::open(path)
    }

    pub fn put(&self, offset: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, offset).unwrap();
    }

    pub fn get(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).unwrap();
        bytes
    }

    /// Carries a patch out, and insists that it knew what it changes.
    pub fn apply(&self, patch: &Patch) {
        for write in patch.batches.iter().flatten() {
            self.write(write);
        }
    }

    fn write(&self, write: &SectorWrite) {
        assert_eq!(write.before.len(), write.after.len());
        assert!(
            write.offset.is_multiple_of(512) && write.after.len().is_multiple_of(512),
            "{write:?}: not whole sectors"
        );
        assert_ne!(write.before, write.after, "{write:?} changes nothing");
        assert!(self.get(write.offset, write.before.len()) == write.before, "{write:?}: not as it was read");
        self.put(write.offset, &write.after);
    }

    pub fn arg(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

impl Blocks for Image {
    fn size(&self) -> u64 {
        self.file.metadata().unwrap().len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// An image with some bytes changed, or with its end missing.
pub struct Spoilt<'a> {
    pub image: &'a Image,
    pub size: u64,
    pub at: u64,
    pub flip: u8,
    /// How many bytes from there are flipped.
    pub width: u64,
}

impl Blocks for Spoilt<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.image.read_at(offset, buffer)?;
        for at in self.at..self.at.saturating_add(self.width) {
            if let Some(index) = at.checked_sub(offset)
                && let Some(byte) = buffer.get_mut(index as usize)
            {
                *byte ^= self.flip;
            }
        }
        Ok(())
    }
}

/// Plans over the image with every byte of `sectors` flipped and every end missing; `checked` are those where each bit
/// is under a checksum. Nothing may panic, and no checked flip may give a patch.
pub fn spoil(
    image: &Image,
    sectors: &[(u64, u64)],
    checked: bool,
    needed: u64,
    mut plan: impl FnMut(&Spoilt<'_>) -> Result<Patch, Trouble>,
) {
    let size = image.size();
    for (start, length) in sectors {
        for at in *start..start + length {
            // Single bits, a byte, and numbers that become as large as zeros can.
            for (flip, width) in [(1, 1), (0x80, 1), (0xff, 1), (0xff, 4), (0xff, 8)] {
                let planned = plan(&Spoilt { image, size, at, flip, width });
                // A sum, md's, does not see a zero become all ones.
                let seen = checked && width == 1;
                assert!(!seen || planned.is_err(), "at {at} {width} bytes flipped by {flip:#x}: {planned:?}");
            }
        }
    }
    for size in (0..64).map(|step| step * 512).chain((1..64).map(|step| needed / 64 * step)).chain([needed - 1]) {
        let planned = plan(&Spoilt { image, size, at: 0, flip: 0, width: 0 });
        assert!(planned.is_err(), "{size} bytes of it: {planned:?}");
    }
}

/// Leaves the images in every state that a cut of `plan` can leave them in: after each batch, and with each subset of
/// the writes of the next (a thousand at random beyond ten writes). `judge` says whether they open; planned again and
/// carried out, they must end at the same bytes as without a cut. They are left wholly changed. Several are written
/// batch by batch, and device by device: whoever carries the patches out may do either. Returns the count.
pub fn cut_everywhere(
    images: &[Image],
    plan: impl Fn(&[Image]) -> Vec<Patch>,
    mut judge: impl FnMut(&[Image], Cut),
) -> usize {
    let patches = plan(images);
    let rounds = patches.iter().map(|patch| patch.batches.len()).max().unwrap_or(0);
    let batch = |image: usize, round: usize| {
        patches[image].batches.get(round).into_iter().flatten().map(move |write| (image, write)).collect::<Vec<_>>()
    };
    let together = (0..rounds).map(|round| (0..images.len()).flat_map(|image| batch(image, round)).collect());
    let one_by_one = (0..images.len()).flat_map(|image| (0..rounds).map(move |round| (image, round)));
    let one_by_one = one_by_one.map(|(image, round)| batch(image, round)).filter(|batch| !batch.is_empty());
    let mut orders: Vec<Vec<Vec<(usize, &SectorWrite)>>> = vec![together.collect()];
    if images.len() > 1 {
        orders.push(one_by_one.collect());
    }
    assert!(!orders[0].is_empty(), "the plan is empty");
    let touched: Vec<_> = orders[0]
        .iter()
        .flatten()
        .map(|(image, write)| (*image, write.offset, images[*image].get(write.offset, write.before.len())))
        .collect();
    let restore = || touched.iter().for_each(|(image, offset, bytes)| images[*image].put(*offset, bytes));
    let finish = |patches: &[Patch]| {
        for (image, patch) in images.iter().zip(patches) {
            image.apply(patch);
        }
    };
    finish(&patches);
    let ends: Vec<_> = touched.iter().map(|(image, offset, was)| images[*image].get(*offset, was.len())).collect();
    assert!(plan(images).iter().all(|patch| patch.batches.is_empty()), "the second plan is not empty");
    restore();

    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut count = 0;
    let cuts =
        orders.iter().flat_map(|batches| batches.iter().enumerate().map(move |(done, batch)| (batches, done, batch)));
    for (batches, done, batch) in cuts {
        let subsets: Vec<Vec<bool>> = if batch.len() <= 10 {
            let all = 1_u32 << batch.len();
            (0..all).map(|bits| (0..batch.len()).map(|write| bits >> write & 1 == 1).collect()).collect()
        } else {
            let mut coin = || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random & 1 == 1
            };
            let mut subsets = vec![vec![false; batch.len()], vec![true; batch.len()]];
            subsets.extend((0..1000).map(|_| (0..batch.len()).map(|_| coin()).collect()));
            subsets
        };
        for subset in subsets {
            let whole = subset.iter().all(|written| *written);
            // The whole batch is the next one's empty subset.
            if whole && done + 1 < batches.len() {
                continue;
            }
            for (image, write) in batches[..done].iter().flatten() {
                images[*image].write(write);
            }
            for ((image, write), _) in batch.iter().zip(&subset).filter(|(_, written)| **written) {
                images[*image].write(write);
            }
            judge(images, Cut { batches: done + usize::from(whole), clean: whole || !subset.contains(&true) });
            let again = plan(images);
            for (image, patch) in again.iter().enumerate() {
                for write in patch.batches.iter().flatten() {
                    let known = touched.iter().any(|(at, offset, _)| (*at, *offset) == (image, write.offset));
                    assert!(known, "after a cut it also writes {write:?}");
                }
            }
            finish(&again);
            for ((image, offset, _), end) in touched.iter().zip(&ends) {
                assert!(
                    images[*image].get(*offset, end.len()) == *end,
                    "cut {done} {subset:?}: {offset} ends otherwise"
                );
            }
            count += 1;
            restore();
        }
    }
    finish(&patches);
    count
}

/// Where a cut was.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// Batches that are wholly written; read where a cut is printed.
    #[allow(dead_code)]
    pub batches: usize,
    /// Nothing of the next one is.
    pub clean: bool,
}

/// Says how many cuts a test made, past the test runner's capture.
pub fn report(what: &str, cuts: usize) {
    let _ = writeln!(io::stderr(), "{what}: {cuts} cuts, none fatal");
}

/// An id that no other test has: XFS and btrfs mount each only once.
pub fn fresh() -> Uuid {
    Uuid::from_u128(rand::random::<u128>())
}

/// Whether the programs are there; says loudly when they are not.
pub fn have(test: &str, programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| find(program).is_none()).collect();
    if !missing.is_empty() {
        support::skip(test, &format!("no {missing:?}"));
    }
    missing.is_empty()
}

/// Whether the kernel mounts images of this type for us; says loudly when it does not.
pub fn mounts(test: &str, filesystem: &str) -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap();
    let known = known.lines().any(|line| line.trim() == filesystem);
    if !known {
        support::skip(test, &format!("the kernel has no {filesystem}"));
    }
    known && loops(test)
}

/// Whether there are loop devices for us; says loudly when there are none.
pub fn loops(test: &str) -> bool {
    let may = root() && Path::new("/dev/loop-control").exists();
    if !may {
        support::skip(test, "no loop devices for this user");
    }
    may
}

fn root() -> bool {
    run("id", &["-u"]).trim() == "0"
}

fn find(program: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().map(|at| Path::new(at).join(program)).find(|path| path.exists())
}

pub fn output(program: &str, arguments: &[&str]) -> Output {
    let path = find(program).unwrap_or_else(|| panic!("{program}: not found"));
    Command::new(path).args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).output().unwrap()
}

/// Runs a program that must succeed; its standard output.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = output(program, arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// Mounts an image on `$AT` in a mount namespace that ends, and frees its loop device, with the script; its output.
pub fn mounted(image: &Image, filesystem: &str, options: &str, script: &str) -> Result<String, String> {
    let at = image.path.parent().unwrap().join("mounted");
    std::fs::create_dir_all(&at).unwrap();
    let whole = format!(
        "set -e; mount -t {filesystem} -o loop{options} {} {at}; cd {at}; {script}; cd /; umount {at}",
        image.path.display(),
        at = at.display()
    );
    let output = output("unshare", &["--mount", "--propagation", "private", "sh", "-c", &whole]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// A script that makes some hundred files of several sizes, directories, links and attributes.
pub const FILL: &str = "mkdir -p a/b/c; for i in $(seq 150); do head -c $((i * 97)) /bin/true > a/f$i; done; \
     cp /bin/sh a/b/sh; ln a/f1 a/b/hard; ln -s ../f1 a/b/soft; chmod 600 a/f2; sync";

/// A script that prints one digest of all files.
pub const DIGEST: &str = "find . -type f -o -type l | sort | xargs sha256sum | sha256sum";

/// The value that blkid finds in the bytes of the image.
pub fn blkid(image: &Image, tag: &str) -> String {
    run("blkid", &["-p", "-o", "value", "-s", tag, image.arg()]).trim().to_string()
}
