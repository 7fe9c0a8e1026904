// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two guests into which the same packages were installed independently, and which were both started once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sha2::{Digest as _, Sha256};

use crate::guests::boot::{Boot, Facts};
use crate::guests::tree::Guest;
use crate::guests::{alone, run, said, source};
use crate::list::Batch;

/// Host names: words that stand in no package.
const NAMES: [&str; 2] = ["fernhollow-7301", "mossgarden-4862"];

/// Nothing that a container cannot have is waited for long, and what starts late has its time.
const SHORT: &str = "[Manager]\nDefaultTimeoutStartSec=30s\nDefaultTimeoutStopSec=5s\n";
const TASK: &str = "sleep 10\n";

/// The programs of packages must not start while they are installed, invoke-rc.d(8).
const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// Two installations.
pub struct Pair {
    pub layers: [PathBuf; 2],
}

impl Pair {
    /// Those of a batch; made when they are not there.
    pub fn of(batch: &Batch) -> Pair {
        let recipe = [include_str!("pair.rs"), &batch.packages.join(" ")].concat();
        let hash = Sha256::digest(recipe.as_bytes());
        let name = format!("{}-{:02x}{:02x}{:02x}{:02x}", batch.name, hash[0], hash[1], hash[2], hash[3]);
        let dir = workplace().join(name);
        fs::create_dir_all(&dir).expect("making a directory");
        let layers = NAMES.map(|name| dir.join(name));
        for (name, layer) in NAMES.iter().zip(&layers) {
            if !layer.is_dir() {
                make(batch, name, layer);
            }
        }
        Pair { layers }
    }

    /// A copy of one of them.
    pub fn copy(&self, which: usize) -> Guest {
        Guest::kept(&self.layers[which])
    }

    /// The units that had failed when it had been started.
    pub fn failed(&self, which: usize) -> BTreeSet<String> {
        let text = fs::read_to_string(self.layers[which].with_extension("failed")).expect("reading a list of units");
        text.lines().map(str::to_owned).collect()
    }
}

/// Where everything is kept.
fn workplace() -> PathBuf {
    let dir = source().join("target/differential");
    fs::create_dir_all(dir.join("archives/partial")).expect("making a directory");
    fs::create_dir_all(dir.join("lists/partial")).expect("making a directory");
    dir
}

fn make(batch: &Batch, name: &str, layer: &Path) {
    let guest = Guest::debian();
    guest.write("etc/hostname", &format!("{name}\n"));
    guest.write("etc/hosts", &format!("127.0.0.1 localhost\n127.0.1.1 {name}\n"));
    guest.write("etc/systemd/system.conf.d/short.conf", SHORT);
    install(&guest, batch, name);
    let facts = start(&guest);
    let failed: Vec<String> = failed(&facts).into_iter().collect();
    fs::write(layer.with_extension("failed"), failed.join("\n")).expect("writing a list of units");
    guest.keep(layer);
}

/// Starts a guest, gives its services some seconds, and switches it off.
pub fn start(guest: &Guest) -> Facts {
    guest.boot_with(&Boot { task: TASK, ..Boot::default() })
}

/// The units that failed.
pub fn failed(facts: &Facts) -> BTreeSet<String> {
    facts.get("failed").lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Packages are fetched once, and installed where neither network nor this machine's kernel can be reached.
fn install(guest: &Guest, batch: &Batch, name: &str) {
    let packages: Vec<&str> = batch.packages.iter().map(String::as_str).collect();
    fs::copy("/etc/resolv.conf", guest.path("etc/resolv.conf")).expect("copying resolv.conf");
    alone("differential", || {
        attached(guest, || {
            if is_old() {
                run(&mut guest.chroot(&["apt-get", "-q", "update"]));
            }
            let fetch = ["apt-get", "-q", "-y", "--no-install-recommends", "--download-only", "install"];
            run(&mut guest.chroot(&[&fetch, &packages[..]].concat()));
        });
    });
    fs::remove_file(guest.path("etc/resolv.conf")).expect("removing resolv.conf");
    guest.write("usr/sbin/policy-rc.d", POLICY);
    run(Command::new("chmod").arg("755").arg(guest.path("usr/sbin/policy-rc.d")));
    let binds = [("archives", "/var/cache/apt/archives"), ("lists", "/var/lib/apt/lists")]
        .map(|(from, to)| format!("--bind={}:{to}", workplace().join(from).display()));
    let install = ["apt-get", "-q", "-y", "--no-install-recommends", "--no-download", "install"];
    let output = guest.run_inside(name, &binds.each_ref().map(String::as_str), &[&install, &packages[..]].concat());
    assert!(output.status.success(), "installing {packages:?}: {}", said(&output));
    fs::remove_file(guest.path("usr/sbin/policy-rc.d")).expect("removing policy-rc.d");
}

/// Are apt's lists older than a day?
fn is_old() -> bool {
    let lists = fs::read_dir(workplace().join("lists")).expect("reading a directory").flatten();
    let of_packages = lists.filter(|entry| entry.file_name().to_string_lossy().ends_with("_InRelease"));
    let times = of_packages.filter_map(|entry| entry.path().join("../partial").metadata().ok()?.modified().ok());
    let newest = times.max();
    newest.is_none_or(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > Duration::from_secs(86_400)))
}

/// With apt's lists and archives in place.
fn attached(guest: &Guest, work: impl FnOnce()) {
    let places = [("archives", "var/cache/apt/archives"), ("lists", "var/lib/apt/lists")];
    let none = None::<&str>;
    for (from, to) in places {
        mount(Some(&workplace().join(from)), &guest.path(to), none, MsFlags::MS_BIND, none).expect("binding");
    }
    work();
    for (_, to) in places {
        umount2(&guest.path(to), MntFlags::empty()).expect("unbinding");
    }
}
