// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file tree as text, so that two trees can be compared and read; secrets and what is random in them are named, not shown.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use reseal::keys::{pgp, ssh};

/// The tree below `root`, an entry a paragraph, sorted; reseal's own records are left out unless `records`.
pub fn describe(root: &Path, records: bool) -> String {
    let mut out = String::new();
    visit(root, "", records, &mut out);
    out
}

fn visit(dir: &Path, prefix: &str, records: bool, out: &mut String) {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let path = dir.join(&name);
        let name = format!("{prefix}{}", name.to_string_lossy());
        if !records
            && [
                "etc/reseal/stamp",
                "etc/reseal/offline",
                "etc/reseal/sealed",
                "etc/reseal/template",
                "etc/reseal/journal",
                "var/lib/reseal",
            ]
            .contains(&name.as_str())
        {
            continue;
        }
        let meta = fs::symlink_metadata(&path).unwrap();
        let mode = meta.mode() & 0o7777;
        if meta.is_dir() {
            // A directory that reseal's records alone are in is theirs too.
            if !records && name == "etc/reseal" && fs::read_dir(&path).unwrap().count() <= 1 {
                continue;
            }
            if fs::read_dir(&path).unwrap().next().is_none() {
                out.push_str(&format!("-- dir {name}\n"));
            }
            visit(&path, &format!("{name}/"), records, out);
        } else if meta.is_symlink() {
            out.push_str(&format!("-- link {name} -> {}\n", fs::read_link(&path).unwrap().display()));
        } else if meta.file_type().is_fifo() {
            out.push_str(&format!("-- fifo {name}\n"));
        } else if meta.len() > 1 << 20 {
            out.push_str(&format!("-- file {name} {mode:04o}\n<{} bytes>\n", meta.len()));
        } else {
            out.push_str(&format!("-- file {} {mode:04o}\n{}", mask_name(&name), content(&fs::read(&path).unwrap())));
        }
    }
}

/// Keys are random in every run, so that only their kind can be compared.
fn content(bytes: &[u8]) -> String {
    if let Ok(ssh::PrivateFile::OpenSsh(key)) = ssh::read_private(bytes) {
        return format!("<private {} {}>\n", key.family(), key.bits());
    }
    if let Ok(key) = ssh::read_public(bytes) {
        let line = key.line().unwrap();
        return format!(
            "<public {} {} {}>\n",
            key.family(),
            key.bits(),
            line.trim().splitn(3, ' ').nth(2).unwrap_or("-")
        );
    }
    if let Ok(keys) = pgp::read(bytes) {
        let key = &keys[0];
        return format!("<pgp {} {}>\n", if key.has_secret { "secret" } else { "public" }, key.user_ids.join(", "));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if text.contains("-----BEGIN PGP") => "<pgp revocation>\n".to_owned(),
        Ok(text) if text.is_empty() || text.ends_with('\n') => mask(text),
        Ok(text) => format!("{}\n<no newline>\n", mask(text)),
        Err(_) => format!("<{} bytes>\n", bytes.len()),
    }
}

/// Replaces fingerprints and public keys, which no two runs share.
pub fn mask(text: &str) -> String {
    let text = mask_after(text, "SHA256:", 43, |letter| letter.is_ascii_alphanumeric() || "+/".contains(letter));
    let text = mask_after(&text, "AAAA", 60, |letter| letter.is_ascii_alphanumeric() || "+/=".contains(letter));
    // What a case has drawn stands behind this key.
    let drawn = |letter: char| letter.is_ascii_alphanumeric() || "+/=._".contains(letter);
    let text = mask_after(&mask_after(&text, "DRAWN=", 16, drawn), "DRAWN=\"", 16, drawn);
    let text = mask_armour(&text);
    // OpenPGP fingerprints: 40 digits in capitals.
    let digit = |letter: char| letter.is_ascii_digit() || ('A'..='F').contains(&letter);
    let runs = text.split_inclusive(|letter: char| !digit(letter));
    runs.map(|run| {
        let length = run.chars().take_while(|letter| digit(*letter)).count();
        if length == 40 { format!("<fingerprint>{}", &run[40..]) } else { run.to_owned() }
    })
    .collect()
}

/// A file's name without the fingerprint that it is named after: in capitals, or in small digits and two directories.
fn mask_name(name: &str) -> String {
    match name.split_once("pgp.cert.d/") {
        Some((directory, of)) if of.len() == 41 => format!("{directory}pgp.cert.d/<fingerprint>"),
        _ => mask(name),
    }
}

/// Replaces what stands in OpenPGP armour and in PEM, shown as added or not, and how many lines it has.
fn mask_armour(text: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        inside &= !line.contains("-----END ");
        let counts = line.contains("@@ ") && lines.peek().is_some_and(|next| next.contains("-----BEGIN "));
        if counts {
            out.push_str("  @@\n");
        } else if !inside {
            out.push_str(line);
        }
        inside |= line.contains("-----BEGIN ");
    }
    out
}

fn mask_after(text: &str, start: &str, least: usize, inside: impl Fn(char) -> bool) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(start) {
        let value = &rest[at + start.len()..];
        let end = value.find(|letter: char| !inside(letter)).unwrap_or(value.len());
        out.push_str(&rest[..at + start.len()]);
        out.push_str(if end >= least { "..." } else { &value[..end] });
        rest = &value[end..];
    }
    out + rest
}

/// Copies the files of a tree, and nothing else that is in it.
pub fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_files(&entry.path(), &target);
            fs::set_permissions(&target, entry.metadata().unwrap().permissions()).unwrap();
        } else if kind.is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Copies a tree, links as links.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path()).unwrap(), target).unwrap();
        } else if kind.is_fifo() {
            nix::unistd::mkfifo(&target, nix::sys::stat::Mode::S_IRWXU).unwrap();
        } else if entry.metadata().unwrap().len() > 1 << 20 {
            fs::File::create(&target).unwrap().set_len(entry.metadata().unwrap().len()).unwrap();
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
