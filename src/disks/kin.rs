// SPDX-License-Identifier: MIT OR Apache-2.0
//! Groups of devices that do not name their group: those that do name their members.

use std::collections::BTreeSet;

use super::{Found, Group};

/// What a device says of the group that it is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Kin {
    /// All, or there is none.
    #[default]
    Known,
    /// All, and who else is in it.
    Names(Vec<Seat>),
    /// Only who itself is.
    Seeks(Seat),
}

/// A device, as a group describes its members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seat {
    pub id: String,
    /// In bytes.
    pub size: u64,
    /// Where what is the group's begins, in bytes.
    pub start: u64,
}

impl Seat {
    /// What stays while ids change.
    pub(super) fn place(&self) -> (u64, u64) {
        (self.size, self.start)
    }
}

/// Puts devices that do not name their group into those of the others, and lifts their refusal: to be called once with
/// all that [`probe`](super::probe) found, on every device there is.
///
/// Those are LVM's physical volumes without metadata in use. One whose id has been changed already, while the metadata
/// of its group was not, is known by its size.
pub fn relate(found: &mut [&mut Found]) {
    let mut groups: Vec<(Group, Vec<Seat>)> = Vec::new();
    for one in found.iter() {
        if let (Kin::Names(seats), Some(group)) = (&one.kin, &one.group) {
            match groups.iter_mut().find(|(known, _)| known.key == group.key) {
                Some((_, known)) => known.extend(seats.iter().cloned()),
                None => groups.push((group.clone(), seats.clone())),
            }
        }
    }
    let ids = found.iter().flat_map(|one| &one.ids).map(|id| id.value.replace('-', ""));
    let ids: BTreeSet<String> = ids.collect();
    for one in found.iter_mut() {
        let Kin::Seeks(own) = &one.kin else { continue };
        let by = |is: &dyn Fn(&Seat) -> bool| {
            let mut fitting = groups.iter().filter(|(_, seats)| seats.iter().any(is));
            fitting.next().filter(|_| fitting.next().is_none()).map(|(group, _)| group.clone())
        };
        let group = by(&|seat| seat.id == own.id)
            .or_else(|| by(&|seat| !ids.contains(&seat.id) && seat.place() == own.place()));
        if let Some(group) = group {
            (one.group, one.refusal) = (Some(group), None);
        }
    }
}
