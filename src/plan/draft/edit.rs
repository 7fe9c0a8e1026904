// SPDX-License-Identifier: MIT OR Apache-2.0
//! Drafting changes; nothing reaches the disk.

use anyhow::{Result, bail};

use super::{Anchor, Draft, Node, Op, Touch};
use crate::disks::Format;
use crate::plan::key::{KeySpec, Secret};
use crate::plan::{Change, Firmware, Live, Place, PublicForm, State, StoreForm, Via};
use crate::root::{self, Meta, trim};

impl Draft<'_> {
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

    /// Content that a file has while the ids of what lies in partitions change, so that what it names is found before and
    /// after. It must be [ended](Draft::end_anchor).
    ///
    /// # Errors
    /// When the path cannot be resolved.
    pub fn anchor(&mut self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let place = self.resolve(path)?;
        self.anchors.insert(place, Anchor { contents: bytes, tables: None });
        Ok(())
    }

    /// Content of a file that has an [anchor](Draft::anchor) while the ids of partitions change, none of which it names for
    /// the time of a change any more.
    ///
    /// # Errors
    /// When the path cannot be resolved.
    pub fn end_anchor(&mut self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let place = self.resolve(path)?;
        if let Some(anchor) = self.anchors.get_mut(&place) {
            anchor.tables = Some(bytes);
        }
        Ok(())
    }

    /// What was drafted with [`Draft::anchor`] for a file.
    ///
    /// # Errors
    /// When the path cannot be resolved.
    pub fn anchored(&self, path: &str) -> Result<Option<&Vec<u8>>> {
        Ok(self.anchors.get(&self.resolve(path)?).map(|anchor| &anchor.contents))
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

    /// Gives what lies on devices other ids.
    pub fn set_id(&mut self, format: Format, places: Vec<Place>, via: Via, why: &str) {
        self.ready(Change::SetId { format, places, via }, why);
    }

    /// Changes a variable of the firmware.
    pub fn firmware(&mut self, variable: Firmware, why: &str) {
        self.ready(Change::Firmware(variable), why);
    }

    /// Has the key that is made at `from` put into the key store at `path`, in place of the certificates `old` and the
    /// files `gone`.
    ///
    /// # Errors
    /// When a path cannot be resolved.
    pub fn key_store(
        &mut self,
        path: &str,
        form: StoreForm,
        from: &str,
        (old, gone): (Vec<String>, &[String]),
        why: &str,
    ) -> Result<()> {
        let gone = gone.iter().map(|path| self.place(path)).collect::<Result<_>>()?;
        self.ready(Change::KeyStore { path: self.place(path)?, form, from: self.place(from)?, old, gone }, why);
        Ok(())
    }

    /// Has the secret with the tag `old` replaced in a file, links followed. It comes after all that is written there.
    ///
    /// # Errors
    /// When the path cannot be resolved.
    pub fn secret(&mut self, path: &str, secret: Secret, old: &str, why: &str) -> Result<()> {
        let change = Change::Secret { path: self.resolve(path)?, secret, old: old.to_owned() };
        self.ready(change, why);
        Ok(())
    }

    /// Has a program make the file at `path` anew, which has the tag `old`.
    ///
    /// # Errors
    /// When the path cannot be resolved.
    pub fn run(&mut self, path: &str, command: Vec<String>, old: &str, why: &str) -> Result<()> {
        let change = Change::Run { path: self.resolve(path)?, command, old: old.to_owned() };
        self.ready(change, why);
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
}
