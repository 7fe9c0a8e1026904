// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the draft to the plan: only what differs from the disk, in the order in which it may be done.

use anyhow::{Result, bail};

use super::{Anchor, Draft, Node, Op};
use crate::plan::{Change, Content, Live, Plan, Stage, State, Step, VERSION};

/// The stage of a whole run that a change belongs to.
fn stage_of(change: &Change) -> Stage {
    match change {
        Change::SetId { .. } | Change::Firmware(_) => Stage::Early,
        Change::Keygen { .. } | Change::Publish { .. } | Change::KeyStore { .. } => Stage::Keys,
        Change::Secret { .. } | Change::Run { .. } => Stage::Keys,
        _ => Stage::System,
    }
}

/// When in a run a step comes; in the order of the touches within one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// What the boot loader reads, in a form that holds before and after: no id changes before the boot path knows.
    Anchors,
    /// Ids of what lies in partitions. Whatever quotes an id may have had another one before: a name that is lost is worse
    /// than one too many.
    Contents,
    /// What the boot loader reads, as it stays: nothing names a partition only for the time of the change any more.
    BootFiles,
    /// Ids of tables.
    Tables,
    /// All other files.
    Files,
    /// The running system.
    Live,
    /// Secrets in files: after all else that is written there, and read from there.
    Secrets,
    /// Key stores: they take the files that keys were made in, and programs change them. What fails there holds nothing
    /// else up.
    KeyStores,
    /// Programs of the guest that make files anew: they find everything as it will be.
    Programs,
}

impl Draft<'_> {
    /// The finished list: only what differs from the disk, what the boot loader reads first, so that no identity
    /// changes before the boot path knows.
    ///
    /// # Errors
    /// When the guest cannot be read.
    pub fn into_plan(self) -> Result<Plan> {
        let mut steps = Vec::new();
        for (place, anchor) in &self.anchors {
            self.anchor_steps(place, anchor, &mut steps)?;
        }
        for touch in &self.touches {
            let change = match &touch.what {
                Op::Ready(change) => Some(change.clone()),
                Op::Node(place) => self.change(place)?,
            };
            if let Some(change) = change {
                let stage = match (&change, self.guest.stage.filter(|stage| stage.is_of_disks())) {
                    (_, Some(stage)) => stage,
                    (change, None) => stage_of(change),
                };
                let step = Step { stage, change, by: touch.by.clone(), why: touch.why.clone() };
                steps.push((self.turn(&step.change), step));
            }
        }
        steps.sort_by(|(one, _), (other, _)| one.cmp(other));
        let steps = steps.into_iter().map(|(_, step)| step).collect();
        Ok(Plan {
            version: VERSION,
            seed: self.past.seed,
            renewals: self.renewals,
            probes: self.probes,
            steps,
            findings: self.findings,
        })
    }

    fn turn(&self, change: &Change) -> Turn {
        match change {
            Change::Write { path, .. } if self.anchors.contains_key(path) => Turn::Files,
            Change::Write { path, .. } | Change::Remove { path, .. } if on_boot_path(path) => Turn::Anchors,
            Change::Copy { .. } | Change::Live(Live::DeviceNames { .. }) => Turn::Anchors,
            Change::Firmware(variable) if !variable.settles => Turn::Anchors,
            Change::SetId { format, .. } if format.is_table() => Turn::Tables,
            Change::SetId { .. } => Turn::Contents,
            Change::Live(_) => Turn::Live,
            Change::Secret { .. } => Turn::Secrets,
            Change::KeyStore { .. } => Turn::KeyStores,
            Change::Run { .. } => Turn::Programs,
            _ => Turn::Files,
        }
    }

    /// The steps that give a file the content that it has while ids change, and take it away again.
    fn anchor_steps(&self, place: &str, anchor: &Anchor, steps: &mut Vec<(Turn, Step)>) -> Result<()> {
        let Some(tables) = &anchor.tables else { bail!("/{place} would stay as it is only while ids change") };
        let mut before = State::of(&self.guest.root, &self.backing(place))?;
        let Some(stat) = self.guest.root.stat(&self.backing(place))? else { bail!("/{place} is gone") };
        let touch = self.touches.iter().find(|touch| touch.what == Op::Node(place.to_owned()));
        let by = touch.map(|touch| touch.by.clone()).unwrap_or_default();
        for (turn, bytes, why) in [
            (Turn::Anchors, &anchor.contents, "names what it needs so that it is found before ids change and after"),
            (Turn::BootFiles, tables, "names what it needs by the new ids"),
        ] {
            let after = Content { bytes: bytes.clone(), public: stat.meta.is_public() };
            if before == State::File(after.clone()) {
                continue;
            }
            let change = Change::Write { path: place.to_owned(), before, after: after.clone(), meta: stat.meta };
            let stage = self.guest.stage.filter(|stage| stage.is_of_disks()).unwrap_or(Stage::Early);
            steps.push((turn, Step { stage, change, by: by.clone(), why: why.to_owned() }));
            before = State::File(after);
        }
        Ok(())
    }

    /// The paths that the plan changes, as it stands.
    ///
    /// # Errors
    /// When the guest cannot be read.
    pub fn changed(&self) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        for touch in &self.touches {
            match &touch.what {
                Op::Node(place) if self.change(place)?.is_some() => paths.push(place.clone()),
                Op::Ready(Change::Move { from, to }) => paths.extend([from.clone(), to.clone()]),
                _ => {}
            }
        }
        Ok(paths)
    }

    fn change(&self, place: &str) -> Result<Option<Change>> {
        let path = place.to_owned();
        let mut before = self.before.get(place).cloned().unwrap_or(State::Absent);
        let tables = self.anchors.get(place).and_then(|anchor| anchor.tables.as_ref());
        if let (Some(tables), State::File(content)) = (tables, &mut before) {
            content.bytes.clone_from(tables);
        }
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

/// Files that firmware, boot loader and PID 1 read before any of reseal runs.
fn on_boot_path(path: &str) -> bool {
    ["boot/", "efi/", "etc/kernel/", "etc/default/grub"].iter().any(|prefix| path.starts_with(prefix))
}
