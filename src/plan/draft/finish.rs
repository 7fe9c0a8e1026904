// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the draft to the plan: only what differs from the disk, in the order in which it may be done.

use anyhow::Result;

use super::{Draft, Node, Op};
use crate::plan::{Change, Content, Live, Plan, Stage, State, Step, VERSION};

impl Draft<'_> {
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
                let stage = match change {
                    _ if self.guest.stage == Some(Stage::Early) => Stage::Early,
                    Change::SetId { .. } => Stage::Early,
                    Change::Keygen { .. } | Change::Publish { .. } => Stage::Keys,
                    _ => Stage::System,
                };
                steps.push(Step { stage, change, by: touch.by.clone(), why: touch.why.clone() });
            }
        }
        steps.sort_by_key(|step| match &step.change {
            Change::Write { path, .. } | Change::Remove { path, .. } if on_boot_path(path) => 0,
            Change::Copy { .. } | Change::Live(Live::DeviceNames { .. }) => 0,
            // Whatever quotes an id may have had another one before: a name that is lost is worse than one too many.
            Change::SetId { .. } => 1,
            Change::Live(_) => 3,
            _ => 2,
        });
        Ok(Plan { version: VERSION, seed: self.past.seed, renewals: self.renewals, steps, findings: self.findings })
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

/// Files that firmware, boot loader and PID 1 read before any of reseal runs.
fn on_boot_path(path: &str) -> bool {
    ["boot/", "efi/", "etc/kernel/", "etc/default/grub"].iter().any(|prefix| path.starts_with(prefix))
}
