// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest said of itself after it had come up; see collect.sh.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A larger file is no text.
const LARGEST: u64 = 8 << 20;

/// Every id of a guest, by where it stands and what it is: ("vdb1", "UUID").
pub type Ids = BTreeMap<(String, String), String>;

/// One boot.
#[derive(Debug)]
pub struct Facts {
    files: BTreeMap<String, String>,
    /// What was printed on the console.
    pub console: String,
    /// From power on to power off.
    pub took: Duration,
}

impl Facts {
    /// The facts in a directory, and the console's log.
    pub fn read(dir: &Path, console: &Path) -> Facts {
        let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let mut files = BTreeMap::new();
        for file in fs::read_dir(dir).into_iter().flatten().flatten() {
            if file.metadata().is_ok_and(|it| it.len() <= LARGEST) {
                files.insert(file.file_name().to_string_lossy().into_owned(), text(&file.path()));
            }
        }
        Facts { files, console: text(console), took: Duration::ZERO }
    }

    /// Whether the guest sent all.
    pub fn is_complete(&self) -> bool {
        self.files.contains_key("complete")
    }

    /// One fact without white space at its ends; empty where nothing was written down.
    pub fn get(&self, name: &str) -> &str {
        self.files.get(name).map(|text| text.trim()).unwrap_or_default()
    }

    /// Every id on every disk.
    pub fn ids(&self) -> Ids {
        let mut ids = Ids::new();
        for line in self.get("ids").lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            let (Some(place), Some(what), Some(value)) = (words.next(), words.next(), words.next()) else {
                panic!("no id: {line:?}");
            };
            ids.insert((place, what), value);
        }
        ids
    }

    /// What is mounted: the device by its mount point.
    pub fn mounts(&self) -> BTreeMap<&str, &str> {
        let words = self.get("mounts").lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        words.filter(|words| words.len() > 1).map(|words| (words[0], words[1])).collect()
    }

    /// The lines of /etc/fstab, in words.
    pub fn fstab(&self) -> Vec<Vec<&str>> {
        let lines = self.get("fstab").lines().filter(|line| !line.trim_start().starts_with('#'));
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|words| words.len() == 6).collect()
    }

    /// Whether fsck said something about a device.
    pub fn was_checked(&self, device: &str) -> bool {
        let words = format!(" {device}: ");
        self.console.lines().any(|line| line.contains("systemd-fsck[") && line.contains(&words))
    }

    /// The checksums of what is below /etc, by path.
    pub fn etc(&self) -> BTreeMap<String, String> {
        let lines = self.get("etc").lines().filter_map(|line| line.split_once("  "));
        lines.map(|(sum, path)| (path.to_owned(), sum.to_owned())).collect()
    }

    /// All there is to say when a test fails.
    pub fn story(&self) -> String {
        let mut story = format!("state: {}\n", self.get("state"));
        for name in ["failed", "task.log", "ids.errors", "sums", "sums.errors", "mounts", "swaps", "fstab", "lsblk"] {
            if !self.get(name).is_empty() {
                story += &format!("{name}:\n{}\n", tail(self.get(name), 40));
            }
        }
        let reseal = self.console.lines().filter(|line| line.contains("reseal")).collect::<Vec<_>>().join("\n");
        story + &format!("of reseal:\n{}\nconsole:\n{}\n", tail(&reseal, 60), tail(&self.console, 40))
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all = text.lines().collect::<Vec<_>>();
    all[all.len().saturating_sub(lines)..].join("\n")
}
