// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading the guest as it will be.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

use super::{Draft, Node};
use crate::root::{self, Meta, split, trim};

/// Links followed in one path before it counts as a loop, path_resolution(7).
const MOST_LINKS: usize = 40;

impl Draft<'_> {
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
        for (_, to) in &self.moves {
            if split(to).0 == place && self.exists(to)? {
                names.insert(split(to).1.to_owned());
            }
        }
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
        let mut parts = trim(pattern).split('/').peekable();
        while let Some(part) = parts.next() {
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
                    // What is looked for in a directory that is missing is missing.
                    if parts.peek().is_some() || self.exists(&path)? {
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
    pub(super) fn backing(&self, place: &str) -> String {
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
}
