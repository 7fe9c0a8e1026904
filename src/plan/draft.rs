// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest as it will be: reads fall through to disk, edits stay in memory and become the plan.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};

use super::derive::Seed;
use super::key::KeySpec;
use super::{Change, Content, Finding, Kind, Live, Plan, PublicForm, Renewal, Severity, Stage, State, Step, VERSION};
use crate::guest::Guest;
use crate::root::{self, Meta, split, trim};

/// Links followed in one path before it counts as a loop, path_resolution(7).
const MOST_LINKS: usize = 40;

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Give this guest an identity of its own.
    Reset,
    /// Make this guest generic before it is copied.
    Seal,
}

/// What earlier runs on this machine decided; nothing is decided twice.
#[derive(Debug, Clone)]
pub struct Past {
    /// The seed to derive from.
    pub seed: Seed,
    /// Old and new values of a run of this very machine: they are taken over, never found anew.
    pub decided: Vec<Renewal>,
    /// Old and new values of another machine's run, or the template's as `seal` recorded it. The guest may hold
    /// either, so both count as old.
    pub foreign: Vec<Renewal>,
    /// Was the guest sealed, so that what it holds of an identity was made since?
    pub sealed: bool,
}

impl Past {
    /// No past: everything is decided from this seed.
    pub fn none(seed: Seed) -> Past {
        Past { seed, decided: Vec::new(), foreign: Vec::new(), sealed: false }
    }
}

/// What a path will hold.
#[derive(Debug, Clone)]
enum Node {
    Absent,
    File(Vec<u8>, Meta),
    Link(String),
    Key(KeySpec, Meta),
    /// Comes into being by an earlier step of the plan and is not looked into.
    Opaque,
}

/// One entry of the plan in the making; files are completed from the nodes at the end.
#[derive(Debug, Clone)]
struct Touch {
    what: Op,
    by: Vec<String>,
    why: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Op {
    Node(String),
    Ready(Change),
}

/// The guest as it will be.
#[derive(Debug, Clone)]
pub struct Draft<'g> {
    /// The guest as it is.
    pub guest: &'g Guest,
    /// What the run is for.
    pub purpose: Purpose,
    past: Past,
    by: &'static str,
    mounted: BTreeSet<String>,
    nodes: BTreeMap<String, Node>,
    /// What stood on disk at each path that is touched.
    before: BTreeMap<String, State>,
    moves: Vec<(String, String)>,
    touches: Vec<Touch>,
    renewals: Vec<Renewal>,
    findings: Vec<Finding>,
}

impl<'g> Draft<'g> {
    /// An untouched view of the guest.
    pub fn new(guest: &'g Guest, purpose: Purpose, past: Past) -> Draft<'g> {
        Draft {
            guest,
            purpose,
            past,
            by: "",
            mounted: guest.mount_points(),
            nodes: BTreeMap::new(),
            before: BTreeMap::new(),
            moves: Vec::new(),
            touches: Vec::new(),
            renewals: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Names the regenerator that drafts from now on.
    pub fn author(&mut self, id: &'static str) {
        self.by = id;
    }

    // --- deciding ---

    /// 32 bytes that depend on the run's seed and `token`.
    pub fn seed(&self) -> &Seed {
        &self.past.seed
    }

    /// Decides the new value of an identity, once: what an earlier run of this machine decided is taken over.
    /// `old` is what the guest holds now; `new` is asked only when nothing was decided.
    ///
    /// # Errors
    /// Those of `new`.
    pub fn decide(
        &mut self,
        kind: Kind,
        subject: &str,
        old: Option<String>,
        new: impl FnOnce(&Draft<'_>) -> Result<Option<String>>,
    ) -> Result<Renewal> {
        let renewal = match self.decided(kind, subject) {
            Some(earlier) => earlier.clone(),
            None => Renewal { kind, subject: subject.to_owned(), old, new: new(self)? },
        };
        self.renewals.push(renewal.clone());
        Ok(renewal)
    }

    /// What an earlier run of this machine decided about an identity.
    pub fn decided(&self, kind: Kind, subject: &str) -> Option<&Renewal> {
        self.past.decided.iter().find(|past| past.kind == kind && past.subject == subject)
    }

    /// What this machine's earlier run decided about all identities of a kind.
    pub fn decided_of(&self, kind: Kind) -> impl Iterator<Item = &Renewal> {
        self.past.decided.iter().filter(move |past| past.kind == kind)
    }

    /// What the template or another machine's unfinished run recorded for a kind.
    pub fn foreign_of(&self, kind: Kind) -> impl Iterator<Item = &Renewal> {
        self.past.foreign.iter().filter(move |past| past.kind == kind)
    }

    /// Was the guest sealed before it was copied?
    pub fn is_sealed(&self) -> bool {
        self.past.sealed
    }

    /// Is something mounted over this path in the running system?
    pub fn is_mounted(&self, path: &str) -> bool {
        self.mounted.contains(path)
    }

    /// Must this file go? It is told by its digest, so that what grows again after the reset is left alone.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn goes(&mut self, kind: Kind, path: &str) -> Result<bool> {
        let subject = format!("/{}", trim(path));
        let digest = match State::of(&self.guest.root, &self.backing(&self.place(path)?))? {
            State::File(content) => content.digest(),
            State::Large(size) => format!("{size} bytes"),
            _ => String::new(),
        };
        if self.decided(kind, &subject).is_some_and(|past| past.old.as_ref() != Some(&digest)) {
            return Ok(false);
        }
        self.decide(kind, &subject, Some(digest), |_| Ok(None))?;
        Ok(true)
    }

    /// Adds a renewal that says only how a value went.
    pub fn renewed(&mut self, renewal: Renewal) {
        if !self.renewals.contains(&renewal) {
            self.renewals.push(renewal);
        }
    }

    /// All renewals drafted so far, and with each the values that another machine's run left: any of them may still be
    /// quoted somewhere.
    pub fn renewals(&self) -> Vec<Renewal> {
        let mut all = self.renewals.clone();
        for renewal in &self.renewals {
            for other in self.past.foreign.iter().filter(|o| o.kind == renewal.kind && o.subject == renewal.subject) {
                for value in [&other.old, &other.new].into_iter().flatten() {
                    if renewal.old.as_ref() != Some(value) && renewal.new.as_ref() != Some(value) {
                        all.push(Renewal { old: Some(value.clone()), ..renewal.clone() });
                    }
                }
            }
        }
        all
    }

    /// Tells the operator.
    pub fn finding(&mut self, severity: Severity, subject: &str, message: impl Into<String>) {
        let finding =
            Finding { severity, by: self.by.to_owned(), subject: subject.to_owned(), message: message.into() };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    // --- reading ---

    /// Where a path leads when every link in it is followed, the last one too; the end need not exist.
    ///
    /// # Errors
    /// On a loop of links, or when a link cannot be read.
    pub fn resolve(&self, path: &str) -> Result<String> {
        let mut out: Vec<String> = Vec::new();
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    out.pop();
                    continue;
                }
                _ => out.push(name),
            }
            if let Some(target) = self.link_at(&out.join("/"))? {
                links += 1;
                if links > MOST_LINKS {
                    bail!("resolving /{}: a loop of symbolic links", trim(path));
                }
                out.pop();
                if target.starts_with('/') {
                    out.clear();
                }
                rest.extend(target.split('/').rev().map(str::to_owned));
            }
        }
        Ok(out.join("/"))
    }

    /// A path with the links in its directories followed, but not its last component.
    ///
    /// # Errors
    /// As [`Draft::resolve`].
    pub fn place(&self, path: &str) -> Result<String> {
        let (parent, name) = split(path);
        let parent = self.resolve(parent)?;
        Ok(if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") })
    }

    /// Target of the link at `path`, if it is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_link(&self, path: &str) -> Result<Option<String>> {
        self.link_at(&self.place(path)?)
    }

    fn link_at(&self, place: &str) -> Result<Option<String>> {
        match self.node(place) {
            Some(Node::Link(target)) => Ok(Some(target.clone())),
            Some(_) => Ok(None),
            None => self.guest.root.read_link(&self.backing(place)),
        }
    }

    /// The content of a file, links followed; `None` when it is missing.
    ///
    /// # Errors
    /// When it is no regular file, too large, or cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let place = self.resolve(path)?;
        match self.node(&place) {
            Some(Node::File(bytes, _)) => Ok(Some(bytes.clone())),
            Some(_) => Ok(None),
            None => self.guest.root.read(&self.backing(&place)),
        }
    }

    /// The content of a text file.
    ///
    /// # Errors
    /// As [`Draft::read`], and when it is not UTF-8, with the line.
    pub fn text(&self, path: &str) -> Result<Option<String>> {
        let Some(bytes) = self.read(path)? else { return Ok(None) };
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
                bail!("reading /{}: line {line}: not UTF-8", trim(path))
            }
        }
    }

    /// Kind, size and owner of what stands at `path`, its last link not followed, as on disk or drafted.
    ///
    /// # Errors
    /// When the path cannot be resolved.
    pub fn stat(&self, path: &str) -> Result<Option<root::Stat>> {
        let place = self.place(path)?;
        let made = |kind, size, meta| Ok(Some(root::Stat { kind, size, meta }));
        match self.node(&place) {
            Some(Node::Absent) => Ok(None),
            Some(Node::File(bytes, meta)) => made(root::Kind::File, bytes.len() as u64, *meta),
            Some(Node::Key(_, meta)) => made(root::Kind::File, 0, *meta),
            Some(Node::Link(target)) => made(root::Kind::Link, target.len() as u64, Meta::root(0o777)),
            Some(Node::Opaque) => made(root::Kind::Directory, 0, Meta::root(0o755)),
            None => self.guest.root.stat(&self.backing(&place)),
        }
    }

    /// Is a key to be made at `path`?
    ///
    /// # Errors
    /// When the path cannot be resolved.
    pub fn is_to_be_made(&self, path: &str) -> Result<bool> {
        Ok(matches!(self.node(&self.place(path)?), Some(Node::Key(..))))
    }

    /// Does anything stand at `path`, links not followed?
    ///
    /// # Errors
    /// When the path cannot be resolved.
    pub fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.stat(path)?.is_some())
    }

    /// Is `path` a directory, links followed?
    ///
    /// # Errors
    /// When the path cannot be resolved.
    pub fn is_dir(&self, path: &str) -> Result<bool> {
        let end = self.resolve(path)?;
        Ok(end.is_empty() || self.stat(&end)?.is_some_and(|stat| stat.kind == root::Kind::Directory))
    }

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        let place = self.resolve(path)?;
        if self.node(&place).is_some() {
            return Ok(Vec::new());
        }
        let mut names: BTreeSet<String> = self.guest.root.list(&self.backing(&place))?.into_iter().collect();
        let prefix = if place.is_empty() { String::new() } else { format!("{place}/") };
        for (path, node) in self.nodes.range(prefix.clone()..) {
            let Some(name) = path.strip_prefix(&prefix) else { break };
            if name.contains('/') {
                continue;
            }
            match node {
                Node::Absent => names.remove(name),
                _ => names.insert(name.to_owned()),
            };
        }
        Ok(names.into_iter().collect())
    }

    /// The paths that match a pattern with `*` and `?` within its components, sorted, as they are named there.
    ///
    /// # Errors
    /// When the pattern is malformed or a directory cannot be read.
    pub fn glob(&self, pattern: &str) -> Result<Vec<String>> {
        let mut found = vec![String::new()];
        for part in trim(pattern).split('/') {
            let join = |dir: &str, name: &str| if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
            let mut next = Vec::new();
            if part.contains(['*', '?', '[']) {
                let matcher = glob::Pattern::new(part).with_context(|| format!("in the pattern {pattern}"))?;
                // As a shell does it: a leading dot is matched only by a dot.
                let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
                for dir in &found {
                    for name in self.list(dir)? {
                        if matcher.matches_with(&name, options) {
                            next.push(join(dir, &name));
                        }
                    }
                }
            } else {
                for dir in &found {
                    let path = join(dir, part);
                    if self.exists(&path)? {
                        next.push(path);
                    }
                }
            }
            found = next;
        }
        Ok(found)
    }

    fn node(&self, place: &str) -> Option<&Node> {
        if let Some(node) = self.nodes.get(place) {
            return Some(node);
        }
        // What stood below a directory that goes, goes too; what a copy brings is not looked into.
        let mut above = place;
        while let Some((parent, _)) = above.rsplit_once('/') {
            match self.nodes.get(parent) {
                Some(Node::Absent) => return Some(&Node::Absent),
                Some(Node::Opaque) => return Some(&Node::Opaque),
                Some(_) => return None,
                None => above = parent,
            }
        }
        None
    }

    /// Where the content of `place` is on disk now, moves undone.
    fn backing(&self, place: &str) -> String {
        let mut at = place.to_owned();
        for (from, to) in self.moves.iter().rev() {
            if at == *to {
                at = from.clone();
            } else if let Some(below) = at.strip_prefix(to.as_str()).and_then(|rest| rest.strip_prefix('/')) {
                at = format!("{from}/{below}");
            }
        }
        at
    }

    // --- drafting ---

    /// New content for a file; a link there is followed. Owner and mode stay, a new file is 0644.
    ///
    /// # Errors
    /// When something else than a file stands there.
    pub fn write(&mut self, path: &str, bytes: impl Into<Vec<u8>>, why: &str) -> Result<()> {
        let place = self.resolve(path)?;
        let meta = match self.stat(&place)? {
            Some(stat) if stat.kind != root::Kind::File => bail!("writing /{}: not a regular file", trim(path)),
            Some(stat) => stat.meta,
            None => self.owned(0o644)?,
        };
        self.put(&place, bytes, meta, why)
    }

    /// Puts a file in place of whatever stands at `path`, a link there not followed.
    ///
    /// # Errors
    /// When a directory or device stands there.
    pub fn put(&mut self, path: &str, bytes: impl Into<Vec<u8>>, meta: Meta, why: &str) -> Result<()> {
        let place = self.place(path)?;
        self.check_replaceable(&place)?;
        self.set(place, Node::File(bytes.into(), meta), why)
    }

    /// Puts a symbolic link in place of whatever stands at `path`.
    ///
    /// # Errors
    /// When a directory or device stands there.
    pub fn link(&mut self, path: &str, target: &str, why: &str) -> Result<()> {
        let place = self.place(path)?;
        self.check_replaceable(&place)?;
        self.set(place, Node::Link(target.to_owned()), why)
    }

    /// Has a key made at `path`, in place of whatever file stands there.
    ///
    /// # Errors
    /// When a directory or device stands there.
    pub fn keygen(&mut self, path: &str, key: KeySpec, meta: Meta, why: &str) -> Result<()> {
        let place = self.place(path)?;
        self.check_replaceable(&place)?;
        self.set(place, Node::Key(key, meta), why)
    }

    /// Removes what stands at `path`, a link itself, a directory with all that is in it; nothing when it is missing.
    ///
    /// # Errors
    /// When the path cannot be resolved.
    pub fn remove(&mut self, path: &str, why: &str) -> Result<()> {
        let place = self.place(path)?;
        if self.stat(&place)?.is_some() {
            self.set(place, Node::Absent, why)?;
        }
        Ok(())
    }

    /// Renames `from` to `to`.
    ///
    /// # Errors
    /// When `to` exists.
    pub fn rename(&mut self, from: &str, to: &str, why: &str) -> Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        if self.exists(&to)? {
            bail!("renaming /{from}: /{to} exists");
        }
        self.nodes.remove(&to);
        self.ready(Change::Move { from: from.clone(), to: to.clone() }, why);
        self.moves.push((from.clone(), to));
        self.nodes.insert(from, Node::Absent);
        Ok(())
    }

    /// Copies `from` to `to`; the copy is not looked into by later regenerators.
    ///
    /// # Errors
    /// When `to` exists.
    pub fn copy(&mut self, from: &str, to: &str, why: &str) -> Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        if self.exists(&to)? {
            bail!("copying /{from}: /{to} exists");
        }
        self.ready(Change::Copy { from, to: to.clone() }, why);
        self.nodes.insert(to, Node::Opaque);
        Ok(())
    }

    /// Changes the running system.
    pub fn live(&mut self, live: Live, why: &str) {
        self.ready(Change::Live(live), why);
    }

    /// Has the public halves of `keys` written to `path`.
    ///
    /// # Errors
    /// When the path cannot be resolved.
    pub fn publish(&mut self, path: &str, format: PublicForm, keys: Vec<String>, name: &str, why: &str) -> Result<()> {
        let meta = self.owned(0o644)?;
        let change = Change::Publish { path: self.place(path)?, format, keys, name: name.to_owned(), meta };
        self.ready(change, why);
        Ok(())
    }

    /// These permission bits, owned as the guest's root directory is: by root on a real one, by its maker on a tree
    /// that an ordinary user made.
    ///
    /// # Errors
    /// When the root directory cannot be looked at.
    pub fn owned(&self, mode: u32) -> Result<Meta> {
        let owner = self.guest.root.stat("")?.map_or(Meta::root(mode), |stat| stat.meta);
        Ok(Meta { mode, ..owner })
    }

    fn check_replaceable(&self, place: &str) -> Result<()> {
        match self.stat(place)?.map(|stat| stat.kind) {
            Some(root::Kind::Directory) => bail!("replacing /{place}: a directory stands there"),
            Some(root::Kind::Special) => bail!("replacing /{place}: a fifo, socket or device stands there"),
            _ => Ok(()),
        }
    }

    fn set(&mut self, place: String, node: Node, why: &str) -> Result<()> {
        if !self.before.contains_key(&place) {
            let state = State::of(&self.guest.root, &self.backing(&place))?;
            self.before.insert(place.clone(), state);
        }
        self.nodes.insert(place.clone(), node);
        self.touch(Op::Node(place), why);
        Ok(())
    }

    fn ready(&mut self, change: Change, why: &str) {
        self.touch(Op::Ready(change), why);
    }

    fn touch(&mut self, what: Op, why: &str) {
        let by = self.by.to_owned();
        match self.touches.iter_mut().find(|touch| touch.what == what) {
            Some(earlier) => {
                if !earlier.by.contains(&by) {
                    earlier.by.push(by);
                }
                if !earlier.why.split("; ").any(|reason| reason == why) {
                    earlier.why = format!("{}; {why}", earlier.why);
                }
            }
            None => self.touches.push(Touch { what, by: vec![by], why: why.to_owned() }),
        }
    }

    // --- the plan ---

    /// The finished list: only what differs from the disk, what the boot loader reads first, so that no identity
    /// changes before the boot path knows.
    ///
    /// # Errors
    /// When the guest cannot be read.
    pub fn into_plan(self) -> Result<Plan> {
        let mut steps = Vec::new();
        for touch in &self.touches {
            let change = match &touch.what {
                Op::Ready(change) => Some(change.clone()),
                Op::Node(place) => self.change(place)?,
            };
            if let Some(change) = change {
                let stage = if matches!(change, Change::Keygen { .. } | Change::Publish { .. }) {
                    Stage::Keys
                } else {
                    Stage::System
                };
                steps.push(Step { stage, change, by: touch.by.clone(), why: touch.why.clone() });
            }
        }
        steps.sort_by_key(|step| match &step.change {
            Change::Write { path, .. } | Change::Remove { path, .. } if on_boot_path(path) => 0,
            Change::Copy { .. } => 0,
            Change::Live(_) => 2,
            _ => 1,
        });
        Ok(Plan { version: VERSION, seed: self.past.seed, renewals: self.renewals, steps, findings: self.findings })
    }

    fn change(&self, place: &str) -> Result<Option<Change>> {
        let path = place.to_owned();
        let before = self.before.get(place).cloned().unwrap_or(State::Absent);
        // What is written over is shown beside its successor; what goes is shown by its digest, as it may be a secret
        // whatever its mode.
        let hidden = |before: State| match before {
            State::File(content) => State::File(Content { public: false, ..content }),
            before => before,
        };
        Ok(match &self.nodes[place] {
            Node::Opaque => None,
            Node::Absent if before == State::Absent => None,
            Node::Absent => Some(Change::Remove { path, before: hidden(before) }),
            Node::Link(target) if before == State::Link(target.clone()) => None,
            Node::Link(target) => Some(Change::Link { path, before: hidden(before), target: target.clone() }),
            Node::Key(key, meta) => {
                Some(Change::Keygen { path, key: key.clone(), before: hidden(before), meta: *meta })
            }
            Node::File(bytes, meta) => {
                let was = self.guest.root.stat(&self.backing(place))?;
                let same = matches!(&before, State::File(content) if content.bytes == *bytes);
                // Content seen through a bind mount says nothing of the file beneath.
                if same && was.is_some_and(|was| was.meta == *meta) && !self.mounted.contains(place) {
                    None
                } else {
                    let public = meta.is_public() && was.is_none_or(|was| was.meta.is_public());
                    Some(Change::Write { path, before, after: Content { bytes: bytes.clone(), public }, meta: *meta })
                }
            }
        })
    }
}

impl State {
    /// What stands at a path of the guest now, its last link not followed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(root: &root::Root, path: &str) -> Result<State> {
        let Some(stat) = root.stat(path)? else { return Ok(State::Absent) };
        Ok(match stat.kind {
            root::Kind::Directory => State::Directory,
            root::Kind::Special => State::Special,
            root::Kind::Link => State::Link(root.read_link(path)?.unwrap_or_default()),
            root::Kind::File if stat.size > root::LARGEST_FILE => State::Large(stat.size),
            root::Kind::File => match root.read(path)? {
                Some(bytes) => State::File(Content { bytes, public: stat.meta.is_public() }),
                None => State::Absent,
            },
        })
    }
}

/// Files that firmware, boot loader and PID 1 read before any of reseal runs.
fn on_boot_path(path: &str) -> bool {
    ["boot/", "efi/", "etc/kernel/", "etc/default/grub"].iter().any(|prefix| path.starts_with(prefix))
}
