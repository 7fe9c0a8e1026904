// SPDX-License-Identifier: MIT OR Apache-2.0
//! The packages under test: those of dist/build, or those in the directory that RESEAL_TEST_PACKAGES names.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{alone, run, source};

/// The .deb.
pub fn deb() -> &'static Path {
    static DEB: OnceLock<PathBuf> = OnceLock::new();
    DEB.get_or_init(|| package("deb", "--deb-only"))
}

/// The .rpm.
pub fn rpm() -> &'static Path {
    static RPM: OnceLock<PathBuf> = OnceLock::new();
    RPM.get_or_init(|| package("rpm", "--rpm-only"))
}

fn package(kind: &str, only: &str) -> PathBuf {
    if let Some(dir) = std::env::var_os("RESEAL_TEST_PACKAGES") {
        return find_in(Path::new(&dir), kind);
    }
    alone("packages", || {
        // Nothing to do where the sources have not changed, but for a second of packing.
        run(Command::new(source().join("dist/build")).arg(only).current_dir(source()));
        find_in(&source().join("target/packages"), kind)
    })
}

fn find_in(dir: &Path, kind: &str) -> PathBuf {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|error| panic!("reading {}: {error}", dir.display()));
    let mut found =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == kind));
    found.next().unwrap_or_else(|| panic!("no .{kind} in {}", dir.display()))
}
