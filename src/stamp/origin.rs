// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose stamp is it? The question that a boot asks before anything of reseal runs.

use super::{JOURNAL, Record, STAMP, STAMP_COPY};
use crate::guest::Guest;
use crate::guest::machine::{Fingerprint, Likeness, Part, Place};

/// Where a stamp comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From this machine, as far as can be told: what cannot be compared resets nothing.
    Here,
    /// From this machine as far as can be told now; parts of it have not come up yet.
    HereSoFar,
    /// From another machine, so this one is a copy.
    Elsewhere,
    /// From another machine, but the stamp's copy in /var is of this one: somebody has put it there.
    Misplaced,
    /// It cannot be read, for this reason.
    Unreadable(String),
}

impl Origin {
    /// Where the guest's stamp comes from, judged by these parts of its machine; `None` without a stamp.
    pub fn of(guest: &Guest, parts: &[Part]) -> Option<Origin> {
        let stamp = match guest.root.stat(STAMP).and_then(|found| found.map(|_| Record::read(guest, STAMP)).transpose())
        {
            Ok(None) => return None,
            Ok(Some(Some(stamp))) => stamp,
            // What the boot units' condition would not take for a stamp either, systemd.unit(5).
            Ok(Some(None)) => return None,
            Err(error) => return Some(Origin::Unreadable(format!("{error:#}"))),
        };
        let copy = Record::read(guest, STAMP_COPY).ok().flatten();
        // A run that has begun here has the word, whatever stands beside it.
        let begun = matches!(Record::read(guest, JOURNAL), Ok(Some(_)));
        let copy = copy.filter(|_| !begun).map(|copy| copy.fingerprint);
        let here = guest.machine.fingerprint();
        match judge(&stamp.fingerprint, copy.as_ref(), &here, parts) {
            // A container is not coming up: its hardware is not looked at.
            Origin::HereSoFar if guest.machine.place == Place::Container => Some(Origin::Here),
            origin => Some(origin),
        }
    }
}

fn judge(stamp: &Fingerprint, copy: Option<&Fingerprint>, here: &Fingerprint, parts: &[Part]) -> Origin {
    match stamp.compare_by(here, parts) {
        Likeness::Other if copy.is_some_and(|copy| copy.compare_by(here, parts) == Likeness::Same) => Origin::Misplaced,
        Likeness::Other => Origin::Elsewhere,
        _ if stamp.has_more_than(here, parts) => Origin::HereSoFar,
        _ => Origin::Here,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(uuid: &str, disks: &[&str], macs: &[&str]) -> Fingerprint {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let smbios_uuid = (!uuid.is_empty()).then(|| uuid.to_owned());
        Fingerprint { smbios_uuid, disks: list(disks), macs: list(macs), generation_id: None }
    }

    #[test]
    fn a_copy_is_told_from_a_machine_that_was_moved_mended_or_is_still_coming_up() {
        let (one, two) = ("11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555");
        let stamp = print(one, &["S1"], &["52:54:00:00:00:01"]);
        let nothing = Fingerprint::default();
        let rows = [
            ("a reboot, a migration, a backup put back", None, stamp.clone(), Origin::Here),
            (
                "one more of each",
                None,
                print(one, &["S1", "S2"], &["52:54:00:00:00:01", "52:54:00:00:00:02"]),
                Origin::Here,
            ),
            ("a disk copied into a new machine", None, print(two, &["S9"], &["52:54:00:00:00:09"]), Origin::Elsewhere),
            ("the same UUID, all else new", None, print(one, &["S9"], &["52:54:00:00:00:09"]), Origin::Elsewhere),
            ("drivers of the network are not loaded yet", None, print(one, &["S1"], &[]), Origin::HereSoFar),
            ("and the UUID is enough", None, print(two, &[], &[]), Origin::Elsewhere),
            ("nothing has come up yet", None, nothing.clone(), Origin::HereSoFar),
            ("put there by hand", Some(print(two, &[], &[])), print(two, &["S9"], &[]), Origin::Misplaced),
            ("stamp and its copy came together", Some(stamp.clone()), print(two, &["S9"], &[]), Origin::Elsewhere),
            ("a copy that says nothing", Some(nothing), print(two, &["S9"], &[]), Origin::Elsewhere),
        ];
        for (what, copy, here, expected) in rows {
            assert_eq!(judge(&stamp, copy.as_ref(), &here, &Part::USUAL), expected, "{what}");
        }
        assert_eq!(judge(&stamp, None, &print(two, &["S1"], &[]), &[Part::Disks]), Origin::Here, "as the policy says");
        assert_eq!(judge(&print(one, &[], &[]), None, &stamp, &Part::USUAL), Origin::Here, "all that is known is here");
        assert_eq!(
            judge(&Fingerprint::default(), None, &stamp, &Part::USUAL),
            Origin::Here,
            "a stamp that knows nothing"
        );
    }
}
