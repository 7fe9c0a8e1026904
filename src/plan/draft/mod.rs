// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest as it will be: reads fall through to disk, edits stay in memory and become the plan.

mod decide;
mod edit;
mod finish;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use super::derive::Seed;
use super::key::KeySpec;
use super::probed::{Probed, Wanted};
use super::{Change, Finding, Renewal, State};
use crate::guest::Guest;
use crate::guest::instance::Instance;
use crate::root::Meta;

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
    /// What the network was asked of the addresses that this run gives.
    pub probed: Probed,
}

impl Past {
    /// No past: everything is decided from this seed.
    pub fn none(seed: Seed) -> Past {
        Past { seed, decided: Vec::new(), foreign: Vec::new(), sealed: false, probed: Probed::default() }
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

/// What a file holds before it is written as drafted.
#[derive(Debug, Clone)]
struct Anchor {
    /// While the ids of what lies in partitions change.
    contents: Vec<u8>,
    /// While those of the partitions do, which may have stood in for the others.
    tables: Option<Vec<u8>>,
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
    /// What the guest is told of itself.
    pub instance: Instance,
    /// Do the files that quote a renewed identity follow it?
    pub quotes_follow: bool,
    past: Past,
    by: &'static str,
    mounted: BTreeSet<String>,
    nodes: BTreeMap<String, Node>,
    /// What stood on disk at each path that is touched.
    before: BTreeMap<String, State>,
    /// What files hold while the ids on disks change.
    anchors: BTreeMap<String, Anchor>,
    moves: Vec<(String, String)>,
    touches: Vec<Touch>,
    renewals: Vec<Renewal>,
    probes: Vec<Wanted>,
    findings: Vec<Finding>,
}

impl<'g> Draft<'g> {
    /// An untouched view of the guest.
    pub fn new(guest: &'g Guest, purpose: Purpose, past: Past) -> Draft<'g> {
        Draft {
            guest,
            purpose,
            instance: Instance::default(),
            quotes_follow: true,
            past,
            by: "",
            mounted: guest.mount_points(),
            nodes: BTreeMap::new(),
            before: BTreeMap::new(),
            anchors: BTreeMap::new(),
            moves: Vec::new(),
            touches: Vec::new(),
            renewals: Vec::new(),
            probes: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Names the regenerator that drafts from now on.
    pub fn author(&mut self, id: &'static str) {
        self.by = id;
    }
}
