// SPDX-License-Identifier: MIT OR Apache-2.0
//! What lies on the guest's disk images: partitions, and the formats and ids found by reading them, never by a cache.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::disks::device::{Device, Window};
use crate::disks::layout::partitions;
use crate::disks::{self, Blocks as _, Format, Found};

/// A disk image.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Disk {
    /// Where it is on the machine that reseal runs on.
    pub path: String,
    /// Does a machine boot from it?
    pub boots: bool,
    /// What lies on it.
    pub parts: Vec<Part>,
}

/// The whole disk, or a partition of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Part {
    /// The partition's number; none for the whole disk.
    pub number: Option<u32>,
    /// Byte offset on the disk.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
    /// What was found there.
    pub found: Vec<Found>,
    /// What has a signature there and is not sound.
    pub unsound: Vec<Unsound>,
}

/// Something that is not what its signature promises.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Unsound {
    /// The format whose signature it has.
    pub format: Format,
    /// What is wrong.
    pub message: String,
}

impl Disk {
    /// Reads an image.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn read(path: &Path) -> Result<Disk> {
        let open = || -> Result<(PathBuf, Device)> { Ok((std::fs::canonicalize(path)?, Device::open(path)?)) };
        let (absolute, device) = open().with_context(|| format!("opening the image {}", path.display()))?;
        let mut parts = vec![part(&device, None, 0, device.size())];
        let mut boots = false;
        match partitions(&device) {
            Ok(list) => {
                for one in list {
                    boots |= one.boots;
                    parts.push(part(&device, Some(one.number), one.offset, one.size));
                }
            }
            Err(trouble) => parts[0].unsound.push(Unsound { format: Format::Gpt, message: trouble.to_string() }),
        }
        Ok(Disk { path: absolute.to_string_lossy().into_owned(), boots, parts })
    }
}

fn part(device: &Device, number: Option<u32>, offset: u64, size: u64) -> Part {
    let window = Window::new(device, offset, size);
    let (mut found, mut unsound) = (Vec::new(), Vec::new());
    for format in Format::ALL {
        match disks::probe(&window, format) {
            Ok(one) => found.extend(one),
            Err(trouble) => unsound.push(Unsound { format, message: trouble.to_string() }),
        }
    }
    Part { number, offset, size, found, unsound }
}
