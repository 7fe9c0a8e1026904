// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a policy picks by: a format, a mount point, a device or a label.

use serde::{Deserialize, Serialize};

use super::unit::Member;
use crate::disks::Format;

/// A word of `only` or `keep`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pick {
    /// `xfs`.
    Format(Format),
    /// `/srv`.
    MountPoint(String),
    /// `/dev/vdb1`, or the name under /dev/mapper; of a disk all that is on it.
    Device(String),
    /// `LABEL=data`.
    Label(String),
}

impl Pick {
    /// Does it pick this one?
    pub fn takes(&self, member: &Member<'_>) -> bool {
        let usage = &member.part.usage;
        match self {
            Pick::Format(format) => member.found.format == *format,
            Pick::MountPoint(at) => usage.mount_points.contains(at),
            Pick::Label(label) => member.found.label.as_ref() == Some(label),
            Pick::Device(path) => {
                [&member.part.place(), &member.part.path, &member.disk.path].contains(&path)
                    || usage.name.as_ref() == Some(path)
            }
        }
    }
}

impl TryFrom<String> for Pick {
    type Error = String;

    fn try_from(word: String) -> Result<Pick, String> {
        if let Some(label) = word.strip_prefix("LABEL=") {
            return Ok(Pick::Label(label.to_owned()));
        }
        match word.strip_prefix("/dev/") {
            Some(_) => Ok(Pick::Device(word)),
            None if word.starts_with('/') => Ok(Pick::MountPoint(word)),
            None => match Format::ALL.into_iter().find(|format| format.name() == word) {
                Some(format) => Ok(Pick::Format(format)),
                None => Err(format!("`{word}` is no format, mount point, device or LABEL=")),
            },
        }
    }
}

impl From<Pick> for String {
    fn from(pick: Pick) -> String {
        match pick {
            Pick::Format(format) => format.name().to_owned(),
            Pick::MountPoint(word) | Pick::Device(word) => word,
            Pick::Label(label) => format!("LABEL={label}"),
        }
    }
}
