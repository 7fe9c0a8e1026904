// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changing one id on an image of 100 GB and of 1 GB, beside the tool of its vendor, in turn; then all that a first boot's
//! early stage does itself for a guest with six file systems (looking, planning, journal, ids, fstab, verification), beside
//! the six tools, which leave fstab as it is. PID 1 and udev are not in it.
//!
//! Whole processes on sparse images in the page cache; both write and sync. `RESEAL_BENCH_ROUNDS` is the number of rounds.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

/// What is made, how, and how its vendor changes the id; `IMAGE` stands for the file.
struct Subject {
    name: &'static str,
    make: &'static [&'static str],
    theirs: &'static [&'static str],
}

const SUBJECTS: [Subject; 9] = [
    Subject {
        name: "ext4, Debian 12's features",
        make: &["mke2fs", "-q", "-F", "-t", "ext4", "IMAGE"],
        theirs: &["tune2fs", "-f", "-U", "random", "IMAGE"],
    },
    Subject {
        name: "ext4 with metadata_csum_seed",
        make: &["mke2fs", "-q", "-F", "-t", "ext4", "-O", "metadata_csum_seed", "IMAGE"],
        theirs: &["tune2fs", "-U", "random", "IMAGE"],
    },
    Subject {
        name: "XFS",
        make: &["mkfs.xfs", "-q", "-f", "IMAGE"],
        theirs: &["xfs_admin", "-U", "generate", "IMAGE"],
    },
    Subject { name: "btrfs", make: &["mkfs.btrfs", "-q", "-f", "IMAGE"], theirs: &["btrfstune", "-f", "-m", "IMAGE"] },
    Subject { name: "FAT32", make: &["mkfs.fat", "-F", "32", "IMAGE"], theirs: &["fatlabel", "-i", "-r", "IMAGE"] },
    Subject {
        name: "swap",
        make: &["mkswap", "-q", "IMAGE"],
        theirs: &["swaplabel", "-U", "6b331ec4-b909-4b3b-b878-bdaa00000001", "IMAGE"],
    },
    Subject {
        name: "LUKS2",
        make: &[
            "cryptsetup",
            "luksFormat",
            "--batch-mode",
            "--type=luks2",
            "--pbkdf=pbkdf2",
            "--pbkdf-force-iterations=1000",
            "--key-file=/etc/hostname",
            "IMAGE",
        ],
        theirs: &["cryptsetup", "luksUUID", "--batch-mode", "--uuid=6b331ec4-b909-4b3b-b878-bdaa00000002", "IMAGE"],
    },
    Subject {
        name: "GPT, 4 partitions",
        make: &["sgdisk", "-n0:0:+1M", "-n0:0:+1M", "-n0:0:+1M", "-n0:0:+1M", "IMAGE"],
        theirs: &["sgdisk", "-G", "IMAGE"],
    },
    Subject {
        name: "MBR",
        make: &["sfdisk", "-q", "--disk-id", "IMAGE", "0x1234"],
        theirs: &["sfdisk", "-q", "--disk-id", "IMAGE", "0x1a2b3c4d"],
    },
];

fn main() -> Result<()> {
    let rounds: usize = std::env::var("RESEAL_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(15).max(1);
    println!("one id changed on a sparse image, medians of {rounds} in ms:");
    println!("  {:<30} {:>10} {:>10} {:>10} {:>8}", "", "ours, 1 GB", "100 GB", "theirs", "ratio");
    for subject in SUBJECTS {
        let missing = [subject.make, subject.theirs].iter().any(|line| program(line[0]).is_none());
        if missing {
            println!("SKIPPED: {}: {} or {} is not here", subject.name, subject.make[0], subject.theirs[0]);
            continue;
        }
        let dir = tempfile::tempdir()?;
        let (small, large) = (make(&subject, dir.path(), 1)?, make(&subject, dir.path(), 100)?);
        // One each: xfs_admin(8) leaves a log that reseal wants mounted once.
        let other = tempfile::tempdir()?;
        let their_image = make(&subject, other.path(), 100)?;
        let ours = |image: &Path| {
            time(Path::new(env!("CARGO_BIN_EXE_reseal")), &["apply", "--force", "--image", "IMAGE"], image)
        };
        let theirs = program(subject.theirs[0]).context("it was there")?;
        let mut times: [Vec<f64>; 3] = Default::default();
        for _ in 0..rounds {
            times[0].push(ours(&small)?);
            times[1].push(ours(&large)?);
            times[2].push(time(&theirs, &subject.theirs[1..], &their_image)?);
        }
        let [small, large, theirs] = times.map(median);
        println!("  {:<30} {small:10.1} {large:10.1} {theirs:10.1} {:8.3}", subject.name, large / theirs);
    }
    guest(rounds)
}

/// One file system of each of these, and fstab names all of them.
fn guest(rounds: usize) -> Result<()> {
    let subjects = &SUBJECTS[..6];
    if let Some(missing) = subjects.iter().flat_map(|it| [it.make[0], it.theirs[0]]).find(|it| program(it).is_none()) {
        println!("SKIPPED: a guest with six file systems: {missing} is not here");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("etc"))?;
    let (mut images, mut their_images) = (Vec::new(), Vec::new());
    for (number, subject) in subjects.iter().enumerate() {
        for (whose, list) in [("ours", &mut images), ("theirs", &mut their_images)] {
            let below = dir.path().join(format!("{whose}-{number}"));
            std::fs::create_dir(&below)?;
            list.push(make(subject, &below, 1)?);
        }
    }
    let blkid = program("blkid").context("blkid is not here")?;
    let id = |image: &PathBuf| -> Result<String> {
        let told = Command::new(&blkid).args(["-p", "-s", "UUID", "-o", "value"]).arg(image).output()?;
        Ok(String::from_utf8(told.stdout)?.trim().to_owned())
    };
    let mut arguments =
        ["apply", "--yes", "--force", "--only", "fs-uuids", "--only", "swap", "--root"].map(PathBuf::from).to_vec();
    arguments.push(root.clone());
    images.iter().for_each(|image| arguments.extend(["--image".into(), image.clone()]));
    let mut times: [Vec<f64>; 2] = Default::default();
    for _ in 0..rounds {
        let ids = images.iter().map(id).collect::<Result<Vec<_>>>()?;
        let line = |id: &String| format!("UUID={id} /srv/{id} auto defaults 0 2\n");
        std::fs::write(root.join("etc/fstab"), ids.iter().map(line).collect::<String>())?;
        let start = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_reseal")).args(&arguments).stdin(Stdio::null()).output()?;
        times[0].push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(output.status.success(), "reseal: {}", String::from_utf8_lossy(&output.stderr));
        let fstab = std::fs::read_to_string(root.join("etc/fstab"))?;
        for (image, old) in images.iter().zip(&ids) {
            let new = id(image)?;
            ensure!(new != *old && fstab.contains(&format!("UUID={new} ")), "{} has {new}: {fstab}", image.display());
        }
        // The next round is another guest's.
        std::fs::remove_dir_all(root.join("etc/reseal"))?;
        let mut theirs = 0.0;
        for (image, subject) in their_images.iter().zip(subjects) {
            theirs += time(&program(subject.theirs[0]).context("it was there")?, &subject.theirs[1..], image)?;
        }
        times[1].push(theirs);
    }
    let [ours, theirs] = times.map(median);
    println!("  {:<30} {ours:10.1} {:>10} {theirs:10.1} {:8.3}", "a guest with six of them", "", ours / theirs);
    Ok(())
}

fn make(subject: &Subject, dir: &Path, gigabytes: u64) -> Result<PathBuf> {
    let image = dir.join(format!("{gigabytes}.raw"));
    std::fs::File::create(&image)?.set_len(gigabytes * 1_000_000_000 / 4096 * 4096)?;
    if subject.name == "MBR" {
        // sfdisk(8) sets an id only in a table that is there.
        let mut sector = vec![0; 512];
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector[446 + 4] = 0x83;
        sector[446 + 8..446 + 16].copy_from_slice(&[0, 8, 0, 0, 0, 8, 0, 0]);
        std::os::unix::fs::FileExt::write_all_at(&std::fs::File::options().write(true).open(&image)?, &sector, 0)?;
    }
    time(&program(subject.make[0]).context("it was there")?, &subject.make[1..], &image)?;
    Ok(image)
}

fn program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().map(|dir| Path::new(dir).join(name)).find(|path| path.exists())
}

/// Runs a program on an image, and gives its time in milliseconds.
fn time(program: &Path, arguments: &[&str], image: &Path) -> Result<f64> {
    let mut command = Command::new(program);
    for argument in arguments {
        if *argument == "IMAGE" {
            command.arg(image)
        } else {
            command.arg(argument)
        };
    }
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).env("LC_ALL", "C").output()?;
    let elapsed = start.elapsed().as_secs_f64() * 1e3;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} {arguments:?}: {}: {said}", program.display(), output.status);
    Ok(elapsed)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
