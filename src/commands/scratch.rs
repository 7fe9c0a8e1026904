// SPDX-License-Identifier: MIT OR Apache-2.0
//! A directory of the program's own, which goes when it is dropped.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::plan::derive::Seed;

/// A directory that goes when its owner ends, however that ends.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// Makes one below the directory for temporary files, for nobody else to read.
    pub fn new(name: &str) -> Result<Scratch> {
        Scratch::below(&std::env::temp_dir(), name)
    }

    /// Makes one in memory, shm_open(3), where syncing takes no time; or as [`Scratch::new`] does.
    pub fn in_memory(name: &str) -> Result<Scratch> {
        let asked = std::env::var_os("TMPDIR").is_some();
        let made = if asked { None } else { Scratch::below(Path::new("/dev/shm"), name).ok() };
        made.map_or_else(|| Scratch::new(name), Ok)
    }

    /// A file without a name, for what does not fit into memory: it goes when it is closed, however that comes. On a
    /// disk, where /tmp may be in memory (file-hierarchy(7)).
    pub fn file() -> Result<fs::File> {
        let asked = std::env::var_os("TMPDIR").is_some();
        let made = if asked { None } else { Scratch::below(Path::new("/var/tmp"), "file").ok() };
        let scratch = made.map_or_else(|| Scratch::new("file"), Ok)?;
        let path = scratch.0.join("file");
        let made = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        made.with_context(|| format!("making {}", path.display()))
    }

    fn below(dir: &Path, name: &str) -> Result<Scratch> {
        let name = format!("reseal-{name}-{}", Seed::random(name.as_bytes())?.letters("directory", 10));
        let path = dir.join(name);
        // Fails when it exists, so that nothing of another's is used or removed.
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("reseal: {} is left behind: {error}", self.0.display());
        }
    }
}
