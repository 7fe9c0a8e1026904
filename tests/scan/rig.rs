// SPDX-License-Identifier: MIT OR Apache-2.0
//! A tree to be scanned, and what the scan says of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A directory that is a guest's root, and one beside it.
pub struct Tree {
    dir: tempfile::TempDir,
}

impl Tree {
    pub fn new() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("root/etc")).unwrap();
        Tree { dir }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub fn reseal(&self, arguments: &[&str]) -> Output {
        let root = self.root();
        let arguments = [&["--root", root.to_str().unwrap()], arguments].concat();
        Command::new(env!("CARGO_BIN_EXE_reseal")).args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Scans for these values, and gives the document.
    pub fn scan(&self, old: &[&str]) -> Report {
        let old: Vec<&str> = old.iter().flat_map(|value| ["--old", value]).collect();
        self.scan_with(&old)
    }

    pub fn scan_with(&self, arguments: &[&str]) -> Report {
        let output = self.reseal(&[&["scan", "--format", "json"], arguments].concat());
        let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        });
        Report { exit: output.status.code(), document }
    }
}

pub struct Report {
    pub exit: Option<i32>,
    pub document: Value,
}

impl Report {
    /// Path, place and spelling of what has this standing.
    pub fn rows(&self, standing: &str) -> Vec<(String, String, String)> {
        let rows = self.document["found"].as_array().unwrap().iter().filter(|row| row["standing"] == standing);
        let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        rows.map(|row| (word(row, "path"), word(row, "in"), word(row, "spelling"))).collect()
    }

    pub fn paths(&self, standing: &str) -> Vec<String> {
        let mut paths: Vec<String> = self.rows(standing).into_iter().map(|(path, ..)| path).collect();
        paths.dedup();
        paths
    }

    /// The only row of a path.
    pub fn row(&self, path: &str) -> &Value {
        let rows: Vec<&Value> =
            self.document["found"].as_array().unwrap().iter().filter(|row| row["path"] == path).collect();
        assert_eq!(rows.len(), 1, "{path}: {rows:?}");
        rows[0]
    }
}

pub fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}
