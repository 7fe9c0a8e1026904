// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal demo`: resets two copies of a throw-away guest, and compares them with it and with each other.
//!
//! It needs no rights and touches nothing outside a temporary directory of its own, which it removes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;

use super::apply::carry_out;
use super::inspect::{Identity, identities};
use super::scratch::Scratch;
use super::{Exit, is_human, policy, print, print_json};
use crate::apply;
use crate::cli::Options;
use crate::guest::Guest;
use crate::guest::disks::{Disk, Disks};
use crate::keys;
use crate::plan::draft::Purpose;
use crate::plan::key::{KeySpec, PgpAlgorithm, SshAlgorithm};
use crate::plan::{Kind, derive::Seed, show};
use crate::regenerators::{self, OnError};
use crate::run::Run;
use crate::stamp::Memory;

/// One identity in all three guests.
#[derive(Debug, Serialize)]
struct Row {
    kind: Kind,
    subject: String,
    template: String,
    copies: [Option<String>; 2],
    shared: bool,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<Exit> {
    let work = Scratch::new("demo")?;
    let template = work.0.join("template");
    make_template(&template).context("making the template guest")?;
    let copies = ["copy-1", "copy-2"].map(|name| work.0.join(name));
    let has_disk = make_disk(&template).context("making the template's disk")?;
    if !has_disk {
        eprintln!("reseal: mke2fs(8) is not installed, so the guests have no disk image");
    }
    for copy in &copies {
        copy_tree(&template, copy).context("copying the template guest")?;
        reset(options, copy)?;
    }
    let rows = compare(&template, &copies)?;
    let shared = rows.iter().filter(|row| row.shared).count();
    if is_human(options) {
        print(&table(&rows))?;
        print(&format!("{} identities, {shared} shared\n", rows.len()))?;
    } else {
        print_json(&serde_json::json!({ "version": 1, "identities": rows, "shared": shared }))?;
    }
    Ok(if shared == 0 { Exit::Done } else { Exit::Leftovers })
}

/// A guest as a Debian installation leaves it, with real keys.
fn make_template(root: &Path) -> Result<()> {
    let seed = Seed::random(b"template")?;
    let id = seed.uuid("machine-id").simple().to_string();
    let secret = |token: &str| seed.derive(token).to_vec();
    let files: [(&str, u32, Vec<u8>); 13] = [
        ("etc/machine-id", 0o444, format!("{id}\n").into()),
        ("etc/hostname", 0o644, b"template\n".into()),
        ("etc/hosts", 0o644, b"127.0.0.1\tlocalhost\n127.0.1.1\ttemplate.example.com template\n".into()),
        ("etc/mailname", 0o644, b"template.example.com\n".into()),
        ("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/bash\n".into()),
        ("etc/ssh/sshd_config", 0o644, b"Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n".into()),
        (
            "etc/postfix/main.cf",
            0o644,
            b"myhostname = template.example.com\nmydestination = $myhostname, template, localhost\n".into(),
        ),
        (
            "etc/udev/rules.d/70-persistent-net.rules",
            0o644,
            b"SUBSYSTEM==\"net\", ATTR{address}==\"52:54:00:12:34:56\", NAME=\"eth0\"\n".into(),
        ),
        ("var/lib/systemd/random-seed", 0o600, secret("random-seed")),
        ("var/lib/systemd/credential.secret", 0o400, secret("credential")),
        ("var/lib/dhcp/dhclient.eth0.leases", 0o644, b"default-duid \"\\000\\001\\000\\001\";\n".into()),
        (
            "boot/loader/entries/debian.conf",
            0o644,
            format!("title Debian\nmachine-id {id}\noptions root=LABEL=root systemd.machine_id={id}\n").into(),
        ),
        (&format!("var/log/journal/{id}/system.journal"), 0o640, b"LPKSHHRH".into()),
    ];
    for (path, mode, content) in &files {
        put(root, path, *mode, content)?;
    }
    fs::create_dir_all(root.join("var/lib/dbus"))?;
    symlink("/etc/machine-id", root.join("var/lib/dbus/machine-id"))?;
    let ssh = |algorithm| KeySpec::SshHost { algorithm, comment: "root@template".to_owned() };
    let pgp = KeySpec::pgp(PgpAlgorithm::Cv25519, "template.example.com", true);
    let wanted = [
        ("etc/ssh/ssh_host_ed25519_key", ssh(SshAlgorithm::Ed25519)),
        ("etc/ssh/ssh_host_ecdsa_key", ssh(SshAlgorithm::EcdsaP256)),
        ("etc/ssh/ssh_host_rsa_key", ssh(SshAlgorithm::Rsa3072)),
        (SIGNING_KEY, pgp),
    ];
    let specs = wanted.each_ref().map(|(_, spec)| spec.clone());
    for ((path, _), key) in wanted.iter().zip(keys::make_all(&specs)) {
        let key = key?;
        put(root, path, 0o600, &key.private)?;
        put(root, &format!("{path}{}", key.companion.suffix), 0o644, &key.companion.content)?;
    }
    Ok(())
}

/// The OpenPGP key that the template signs a repository of its own with.
const SIGNING_KEY: &str = "etc/repository/signing-key.asc";

/// A disk image with an ext4 file system, and an fstab that quotes its UUID, where the tool is there.
fn make_disk(root: &Path) -> Result<bool> {
    let Some(mke2fs) =
        ["/usr/sbin/mke2fs", "/sbin/mke2fs", "/usr/bin/mke2fs"].iter().find(|path| Path::new(path).exists())
    else {
        return Ok(false);
    };
    let path = root.join(DISK);
    fs::File::create(&path)?.set_len(8 << 20)?;
    let made =
        Command::new(mke2fs).args(["-q", "-t", "ext4"]).arg(&path).env("LC_ALL", "C").stdout(Stdio::null()).status()?;
    ensure!(made.success(), "mke2fs: {made}");
    let disk = Disk::read(&path)?;
    let ids = disk.parts.iter().flat_map(|part| &part.found).flat_map(|found| &found.ids);
    let lines: String = ids.map(|id| format!("UUID={} /srv ext4 defaults 0 2\n", id.value)).collect();
    put(root, "etc/fstab", 0o644, lines.as_bytes())?;
    Ok(true)
}

/// The guest's disk, beside its files.
const DISK: &str = "disk.raw";

/// The guest with its disk.
fn open_guest(root: &Path) -> Result<Guest> {
    let mut guest = Guest::open(root)?;
    if root.join(DISK).exists() {
        guest.disks = Disks::of_images(&[root.join(DISK)])?;
    }
    Ok(guest)
}

fn put(root: &Path, path: &str, mode: u32, content: &[u8]) -> Result<()> {
    let path = root.join(path);
    fs::create_dir_all(path.parent().context("a path without a parent")?)?;
    fs::write(&path, content)?;
    Ok(fs::set_permissions(&path, fs::Permissions::from_mode(mode))?)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn reset(options: &Options, root: &Path) -> Result<()> {
    let guest = open_guest(root)?;
    let mut policy = policy(options, &guest)?;
    if options.policy.is_none() {
        policy.overlay(&format!("[[pgp-keys.store]]\npath = \"/{SIGNING_KEY}\"\naction = \"renew\"\n"))?;
    }
    let _lock = apply::lock(&guest)?;
    let past = Memory::read(&guest)?.past(&guest, Purpose::Reset, false)?;
    let plan = regenerators::plan(&policy, &guest, past.clone(), Purpose::Reset, OnError::Stop)?;
    let run = Run { guest: &guest, policy: &policy, purpose: Purpose::Reset, on_error: OnError::Stop };
    match carry_out(&run, &plan, &past)? {
        (Exit::Done, _) => Ok(()),
        (exit, _) => bail!("resetting {} ended with {exit:?}", root.display()),
    }
}

fn compare(template: &Path, copies: &[PathBuf; 2]) -> Result<Vec<Row>> {
    let values = |root: &Path| -> Result<BTreeMap<(Kind, String), String>> {
        let guest = open_guest(root)?;
        let (mut found, _) = identities(&guest)?;
        let keys = keys::pgp::read(&guest.root.read(SIGNING_KEY)?.unwrap_or_default())?;
        found.extend(keys.into_iter().map(|key| Identity {
            kind: Kind::PgpKey,
            subject: format!("/{SIGNING_KEY}"),
            value: key.fingerprint,
        }));
        // A disk is named by its path, in each guest another.
        let home = root.to_string_lossy();
        Ok(found.into_iter().map(|id| ((id.kind, id.subject.replace(&*home, "")), id.value)).collect())
    };
    let copies = [values(&copies[0])?, values(&copies[1])?];
    let row = |((kind, subject), template): ((Kind, String), String)| {
        let at = (kind, subject.clone());
        let [one, two] = copies.each_ref().map(|copy| copy.get(&at).cloned());
        let shared = [&one, &two].into_iter().flatten().any(|value| *value == template) || one.is_some() && one == two;
        Row { kind, subject, template, copies: [one, two], shared }
    };
    Ok(values(template)?.into_iter().map(row).collect())
}

fn table(rows: &[Row]) -> String {
    let short = |value: &str| {
        let mut text: String = show::printable(value).chars().take(24).collect();
        if value.chars().count() > 24 {
            text.push_str("..");
        }
        text
    };
    let copy = |value: &Option<String>| value.as_deref().map_or("(gone)".to_owned(), short);
    let rows: Vec<[String; 6]> = rows
        .iter()
        .map(|row| {
            let shared = if row.shared { "SHARED" } else { "own" };
            let [one, two] = row.copies.each_ref().map(copy);
            [row.kind.to_string(), row.subject.clone(), short(&row.template), one, two, shared.to_owned()]
        })
        .collect();
    show::table(&["identity", "which", "template", "copy 1", "copy 2", ""], &rows)
}
