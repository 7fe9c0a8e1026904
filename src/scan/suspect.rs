// SPDX-License-Identifier: MIT OR Apache-2.0
//! What looks like an identity of this installation, and neither the catalogue nor a regenerator knows: keys, certificates
//! with the host's name, ids, secrets. What it says of them is where they are, never what they are.

mod ids;
mod keys;
mod report;
mod secrets;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use nix::errno::Errno;
use serde::Serialize;

use super::progress::Progress;
use super::walk::{Dir, Entry, File, Unseen, Visitor, Walk};
use crate::root::Root;

pub use report::Report;

/// Bytes of a file that are looked at. Keys and settings of larger files stand near their beginnings or nowhere.
const HEAD: usize = 64 << 10;

/// The same below /usr, where hardly anything is the guest's own.
const HEAD_OF_USR: usize = 4 << 10;

/// Suspects that a list has room for.
const MOST: usize = 10_000;

/// Lists of packages and of checksums: full of digits that are in every copy.
const LISTS: [&str; 12] = [
    "var/lib/dpkg/",
    "var/lib/apt/",
    "var/lib/rpm/",
    "var/lib/dnf/",
    "var/lib/zypp/",
    "var/lib/pacman/",
    "var/lib/ucf/",
    "var/lib/pam/",
    "var/lib/systemd/catalog/",
    "var/cache/",
    "var/log/",
    "etc/ssl/certs/",
];

/// What it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A private key, or a store of them.
    PrivateKey,
    /// A certificate that has this host's name.
    Certificate,
    /// A secret: a setting, or a file that is nothing else.
    Secret,
    /// A file whose name says that an id is in it.
    IdFile,
    /// Ids of 128 bits in a file of any name.
    Id,
}

/// How sure it is, and how bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rank {
    /// Whoever has it can pass for this guest, or read what it keeps.
    High,
    /// It most likely tells copies apart.
    Medium,
    /// It may be one.
    Low,
}

/// One file that looks like one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// Path below the root.
    pub path: Vec<u8>,
    /// What it looks like.
    pub what: What,
    /// How sure that is.
    pub rank: Rank,
    /// More of it: the form of the key, the setting's name, how many ids.
    pub form: String,
    /// The line, from 1, in a text.
    pub line: Option<usize>,
}

/// All that was found.
#[derive(Debug)]
pub struct Found {
    /// In no order.
    pub suspects: Vec<Suspect>,
    /// How many there are beyond those.
    pub more: usize,
    /// What was not looked at.
    pub unseen: Unseen,
}

/// Looks through a guest of these host names.
///
/// # Errors
/// When the root itself cannot be read.
pub fn scan(root: &Root, names: &[String], progress: &Progress) -> Result<Found, Errno> {
    let names = names.iter().map(|name| name.to_ascii_lowercase()).filter(|name| name.len() > 2 && name != "localhost");
    let seeker = Seeker { names: names.collect(), progress, count: AtomicUsize::new(0) };
    let (found, unseen) = progress.during(root, || Walk::run(root, &seeker))?;
    let suspects: Vec<Suspect> = found.into_iter().flat_map(|local| local.suspects).collect();
    Ok(Found { more: seeker.count.load(Relaxed).saturating_sub(suspects.len()), suspects, unseen })
}

struct Seeker<'a> {
    names: Vec<String>,
    progress: &'a Progress,
    count: AtomicUsize,
}

struct Local {
    bytes: Vec<u8>,
    suspects: Vec<Suspect>,
}

impl Visitor for Seeker<'_> {
    type Local = Local;

    fn local(&self) -> Local {
        Local { bytes: vec![0; HEAD], suspects: Vec::new() }
    }

    fn directory(&self, _: &mut Local, _: &Dir, _: &[Entry]) {}

    fn file(&self, local: &mut Local, file: File<'_>) -> Result<(), Errno> {
        let path = file.path();
        let text = String::from_utf8_lossy(&path);
        let is_usr = text.starts_with("usr/") && !text.starts_with("usr/local/");
        let mut length = 0;
        let most = if is_usr { HEAD_OF_USR } else { HEAD };
        while length < most {
            match rustix::io::read(&file.fd, &mut local.bytes[length..most]) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) => return Err(Errno::from_raw(error.raw_os_error())),
            }
        }
        self.progress.add(length as u64);
        let whole = file.stat.st_size.unsigned_abs() <= length as u64;
        let place = Place { is_usr, whole, public: file.is_public(), path: &text, names: &self.names };
        for (what, rank, form, at) in place.suspects(&local.bytes[..length]) {
            let is_text = !local.bytes[..length].contains(&0);
            let line = is_text.then(|| local.bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1);
            if self.count.fetch_add(1, Relaxed) < MOST {
                local.suspects.push(Suspect { path: path.clone(), what, rank, form, line });
            }
        }
        Ok(())
    }
}

/// What is known of a file beside what it holds.
struct Place<'a> {
    is_usr: bool,
    /// Was all of it read?
    whole: bool,
    public: bool,
    path: &'a str,
    names: &'a [String],
}

impl Place<'_> {
    /// What is suspect about these bytes of it, and where in them; of ids only the surest sign.
    fn suspects(&self, bytes: &[u8]) -> Vec<(What, Rank, String, usize)> {
        let mut found = Vec::new();
        if let Some((form, at)) = keys::private_key(bytes) {
            found.push((What::PrivateKey, Rank::High, form.to_owned(), at));
        }
        if self.is_usr || LISTS.iter().any(|list| self.path.starts_with(list)) {
            return found;
        }
        if let Some(at) = keys::certificate(bytes, self.names) {
            found.push((What::Certificate, Rank::Medium, "certificate with this host's name".to_owned(), at));
        }
        if !found.is_empty() {
            return found;
        }
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        let name = self.path.rsplit('/').next().unwrap_or(self.path);
        if ids::is_named(name) && self.whole && bytes.len() <= 4096 {
            let rank = if text.is_none_or(|text| ids::in_text(text).is_some()) { Rank::Medium } else { Rank::Low };
            return vec![(What::IdFile, rank, "its name says that it holds an id".to_owned(), 0)];
        }
        let in_state = ["etc/", "var/lib/", "opt/", "srv/", "usr/local/", "root/", "home/"];
        if !in_state.iter().any(|place| self.path.starts_with(place)) {
            return found;
        }
        if let Some((setting, at)) = text.and_then(secrets::setting) {
            found.push((What::Secret, Rank::High, format!("setting {setting}"), at));
        } else if self.whole
            && let Some(form) = secrets::whole_file(bytes)
            && (!self.public || is_named_secret(name) && text.is_some())
        {
            found.push((What::Secret, Rank::High, form.to_owned(), 0));
        } else if ["etc/", "var/lib/"].iter().any(|place| self.path.starts_with(place))
            && let Some((at, count)) = text.and_then(ids::in_text)
        {
            let form = if count == 1 { "an id of 128 bits".to_owned() } else { format!("{count} ids of 128 bits") };
            found.push((What::Id, if count == 1 { Rank::Medium } else { Rank::Low }, form, at));
        }
        found
    }
}

fn is_named_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["secret", "token", "cookie", "seed", "key", "password", "passwd"].iter().any(|word| name.contains(word))
}

/// What the catalogue and the regenerators know.
#[derive(Debug)]
pub struct Known {
    /// Files and directories that one of them is about, with all that is in them.
    pub paths: BTreeSet<String>,
    /// Files whose ids are quotes.
    pub quotes: BTreeSet<String>,
}

impl Known {
    fn has(&self, path: &str, what: What) -> bool {
        let mut above = path.match_indices('/').map(|(at, _)| &path[..at]).chain([path]);
        above.any(|path| self.paths.contains(path)) || what == What::Id && self.quotes.contains(path)
    }
}
