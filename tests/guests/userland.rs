// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Debian 12 userland that all guests are made from: built by mmdebstrap, kept as a tarball and as an unpacked tree.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use super::{alone, find, run, workplace};

const RELEASE: &str = "bookworm";

/// A server as small as it can be while systemd boots it, D-Bus answers and sshd listens.
const PACKAGES: &[&str] =
    &["dbus", "init-system-helpers", "iproute2", "openssh-server", "systemd", "systemd-sysv", "udev"];

/// Runs collect.sh, where a test has put it, once the guest is up. Its description says which machine PID 1 thinks it is on.
const COLLECTOR: &str = "\
[Unit]
Description=Collect what a test wants to know of %m
ConditionPathExists=/run/facts/collect.sh
After=multi-user.target
[Service]
Type=exec
ExecStart=/bin/sh /run/facts/collect.sh
";

/// Lets a test see whether reseal runs in PID 1's mount namespace, as it must.
const WATCH: &str = "\
[Service]
ExecStartPre=-/bin/sh -c 'readlink /proc/self/ns/mnt >/run/facts/mount-namespace'
";

/// Lets a test ask the D-Bus daemon for its machine-id, which the policy of the system bus forbids to all.
const ASK_DBUS: &str = "\
<busconfig><policy context='default'>
<allow send_destination='org.freedesktop.DBus' send_interface='org.freedesktop.DBus.Peer'/>
</policy></busconfig>
";

/// The unpacked tree; it is only ever used as the lowest layer of an overlay.
pub fn tree() -> PathBuf {
    alone("userland", || {
        let tree = unpacked();
        if !tree.is_dir() {
            let fresh = tree.with_extension("new");
            let _ = fs::remove_dir_all(&fresh);
            fs::create_dir(&fresh).expect("making a directory");
            run(Command::new("tar").args(["--numeric-owner", "--xattrs", "-xpf"]).arg(tarball()).arg("-C").arg(&fresh));
            // mmdebstrap takes these from the machine that it runs on, modes and all.
            for file in ["etc/hostname", "etc/resolv.conf"] {
                fs::remove_file(fresh.join(file)).expect("removing a file");
            }
            add_collector(&fresh);
            fs::rename(&fresh, &tree).expect("naming the tree");
        }
        tree
    })
}

/// Why the userland cannot be had here; nothing when it can.
pub fn missing() -> Option<String> {
    let there = unpacked().is_dir() || packed().is_file();
    (!there && find("mmdebstrap").is_none()).then(|| "mmdebstrap is not installed".into())
}

fn tarball() -> PathBuf {
    let tarball = packed();
    if !tarball.is_file() {
        let fresh = tarball.with_extension("new.tar");
        let include = format!("--include={}", PACKAGES.join(","));
        run(Command::new("mmdebstrap").args(["--quiet", "--variant=minbase", &include, RELEASE]).arg(&fresh));
        fs::rename(&fresh, &tarball).expect("naming the tarball");
    }
    tarball
}

fn packed() -> PathBuf {
    named(&PACKAGES.join(" "), ".tar")
}

fn unpacked() -> PathBuf {
    named(include_str!("userland.rs"), "")
}

/// target/guests/debian-12-HASH, with HASH over all that the thing is made from.
fn named(recipe: &str, suffix: &str) -> PathBuf {
    let hash = Sha256::digest(recipe.as_bytes());
    workplace().join(format!("debian-12-{:02x}{:02x}{:02x}{:02x}{suffix}", hash[0], hash[1], hash[2], hash[3]))
}

/// Below /usr, so that /etc is as Debian made it.
fn add_collector(tree: &Path) {
    let units = tree.join("usr/local/lib/systemd/system");
    for dir in ["multi-user.target.wants", "reseal.service.d"] {
        fs::create_dir_all(units.join(dir)).expect("making a directory");
    }
    fs::write(units.join("collect.service"), COLLECTOR).expect("writing a unit");
    fs::write(units.join("reseal.service.d/watch.conf"), WATCH).expect("writing a drop-in");
    fs::write(tree.join("usr/share/dbus-1/system.d/reseal-test.conf"), ASK_DBUS).expect("writing a D-Bus policy");
    symlink("../collect.service", units.join("multi-user.target.wants/collect.service")).expect("linking a unit");
}
