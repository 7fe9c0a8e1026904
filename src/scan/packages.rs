// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which package a file belongs to, and whether it is as the package brought it: dpkg's own lists, read without dpkg.
//!
//! `/var/lib/dpkg/info/*.list` and `*.md5sums`, and the `Conffiles` of `/var/lib/dpkg/status`, dpkg(1) and
//! deb-conffiles(5). The database of rpm is a binary one and is not read.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use md5::{Digest as _, Md5};

use super::walk;
use crate::plan::derive::hex;
use crate::root::Root;

const LISTS: &str = "var/lib/dpkg/info";

/// What packages say of some files.
#[derive(Debug, Default)]
pub struct Packages {
    owner: BTreeMap<String, String>,
    /// Directories of several packages.
    shared: BTreeSet<String>,
    shipped: BTreeSet<String>,
}

impl Packages {
    /// What they say of these paths, which have no slash in front.
    ///
    /// # Errors
    /// When dpkg's lists cannot be read.
    pub fn of(root: &Root, paths: &BTreeSet<String>) -> Result<Packages> {
        let mut all = Packages::default();
        if paths.is_empty() {
            return Ok(all);
        }
        // Since the merge of / and /usr a list may name a file by either path.
        let merged = |path: &str| path.strip_prefix("usr/").map(str::to_owned);
        let mut wanted: BTreeMap<String, &String> = BTreeMap::new();
        let above = |path: &String| path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect::<Vec<_>>();
        let directories: BTreeSet<String> = paths.iter().flat_map(above).collect();
        for path in paths.iter().chain(&directories) {
            wanted.insert(path.clone(), path);
            if let Some(short) = merged(path) {
                wanted.entry(short).or_insert(path);
            }
        }
        let mut owners: BTreeSet<String> = BTreeSet::new();
        for name in root.list(LISTS)? {
            let Some(package) = name.strip_suffix(".list") else { continue };
            for line in text(root, &format!("{LISTS}/{name}"))?.lines() {
                if let Some(path) = wanted.get(line.trim_start_matches('/')) {
                    let known = package.split(':').next().unwrap_or(package);
                    if all.owner.insert((*path).clone(), known.to_owned()).is_some_and(|other| other != known) {
                        all.shared.insert((*path).clone());
                    }
                    if paths.contains(*path) {
                        owners.insert(package.to_owned());
                    }
                }
            }
        }
        let mut sums: BTreeMap<&String, String> = BTreeMap::new();
        for package in &owners {
            for line in text(root, &format!("{LISTS}/{package}.md5sums"))?.lines() {
                if let Some((sum, path)) = line.split_once("  ")
                    && let Some(path) = wanted.get(path)
                {
                    sums.insert(path, sum.to_owned());
                }
            }
        }
        if !owners.is_empty() {
            for line in text(root, "var/lib/dpkg/status")?.lines().filter(|line| line.starts_with(" /")) {
                let mut words = line.split_whitespace();
                if let (Some(path), Some(sum)) = (words.next(), words.next())
                    && let Some(path) = wanted.get(path.trim_start_matches('/'))
                {
                    sums.insert(path, sum.to_owned());
                }
            }
        }
        for (path, sum) in sums {
            if sum_of(root, path).is_some_and(|now| now == sum) {
                all.shipped.insert(path.clone());
            }
        }
        Ok(all)
    }

    /// The package that it belongs to.
    pub fn owner(&self, path: &str) -> Option<&str> {
        self.owner.get(path).map(String::as_str)
    }

    /// The package that it belongs to, or else the nearest directory above it that is of one package alone.
    pub fn nearest(&self, path: &str) -> Option<&str> {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        let here = |path: &&str| self.owner.contains_key(*path);
        let nearest = [path].into_iter().chain(above.rev()).find(here)?;
        self.owner(nearest).filter(|_| !self.shared.contains(nearest))
    }

    /// Is it as its package brought it? Then it holds nothing of this guest.
    pub fn is_shipped(&self, path: &str) -> bool {
        self.shipped.contains(path)
    }

    /// Has the guest a database of packages that is not read?
    pub fn are_unknown(root: &Root) -> bool {
        let has = |path: &str| root.stat(path).is_ok_and(|stat| stat.is_some());
        ["var/lib/rpm", "usr/lib/sysimage/rpm"].into_iter().any(has) && !has("var/lib/dpkg/status")
    }
}

fn text(root: &Root, path: &str) -> Result<String> {
    Ok(String::from_utf8_lossy(&root.read(path)?.unwrap_or_default()).into_owned())
}

/// MD5 of a file; `None` when it cannot be read.
fn sum_of(root: &Root, path: &str) -> Option<String> {
    let file = walk::open(root, path.as_bytes()).ok()?;
    let (mut sum, mut block) = (Md5::new(), vec![0; 64 << 10]);
    loop {
        match rustix::io::read(&file, &mut block[..]).ok()? {
            0 => return Some(hex(&sum.finalize())),
            length => sum.update(&block[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn dpkg_says_what_is_as_it_came() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for (path, content) in [
            ("var/lib/dpkg/info/other.list", "/etc\n"),
            (
                "var/lib/dpkg/info/web.list",
                "/.\n/etc\n/etc/web.d\n/etc/web.conf\n/lib/web\n/usr/share/web\n/usr/share/other\n",
            ),
            (
                "var/lib/dpkg/info/web.md5sums",
                "900150983cd24fb0d6963f7d28e17f72  lib/web\n900150983cd24fb0d6963f7d28e17f72  usr/share/web\n",
            ),
            ("var/lib/dpkg/status", "Package: web\nConffiles:\n /etc/web.conf 900150983cd24fb0d6963f7d28e17f72\n"),
            ("etc/web.conf", "abc"),
            ("usr/lib/web", "abc"),
            ("usr/share/web", "changed"),
            ("usr/share/other", "abc"),
        ] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), content).unwrap();
        }
        let root = Root::open(root).unwrap();
        let paths = ["etc/web.conf", "usr/lib/web", "usr/share/web", "usr/share/other", "etc/none"];
        let packages = Packages::of(&root, &paths.map(str::to_owned).into()).unwrap();
        assert_eq!(paths.map(|path| packages.owner(path)), [Some("web"), Some("web"), Some("web"), Some("web"), None]);
        assert_eq!(paths.map(|path| packages.is_shipped(path)), [true, true, false, false, false]);
        assert_eq!(packages.nearest("usr/share/web"), Some("web"));
        let packages = Packages::of(&root, &["etc/web.d/made".to_owned(), "etc/made".to_owned()].into()).unwrap();
        assert_eq!((packages.nearest("etc/web.d/made"), packages.owner("etc/web.d/made")), (Some("web"), None));
        assert_eq!(packages.nearest("etc/made"), None);
        assert!(!Packages::are_unknown(&root));
    }
}
