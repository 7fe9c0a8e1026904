// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must be true of a machine that has come up, and of the ids of two of them.

use std::collections::BTreeSet;

use crate::facts::{Facts, Ids};
use crate::machine::Machine;

/// The ids of single devices in a btrfs or an array: nothing is found by them, and they are left alone.
const OF_A_MEMBER: &str = "UUID_SUB";

/// Boots machines side by side.
pub fn boot_all(machines: &mut [Machine]) -> Vec<Facts> {
    std::thread::scope(|scope| {
        let boots = machines.iter_mut().map(|machine| scope.spawn(|| machine.boot())).collect::<Vec<_>>();
        boots.into_iter().map(|boot| boot.join().expect("a boot")).collect()
    })
}

/// The machine is up, with everything in place that its fstab names, checked, and with the files that it had.
pub fn came_up(facts: &Facts) {
    let story = facts.story();
    assert_eq!(facts.get("state"), "running", "{story}");
    assert_eq!(facts.get("jobs"), "", "jobs are left\n{story}");
    for word in
        ["Timed out", "timed out", "Dependency failed", "ordering cycle", "start operation timed out", "check forced"]
    {
        assert!(!facts.console.contains(word), "{word:?} on the console\n{story}");
    }

    let mut swaps = 0;
    for line in facts.fstab() {
        match line[2] {
            "swap" => swaps += 1,
            _ => assert!(facts.mounts().contains_key(line[1]), "{} is not mounted\n{story}", line[1]),
        }
        // What the checker said names the device. Those of the root and of /usr ran in the initramfs.
        if line[5] == "2" && line[1] != "/usr" {
            let device = facts.mounts()[line[1]];
            assert!(facts.was_checked(device), "{device} was not checked\n{story}");
        }
    }
    assert_eq!(facts.get("swaps").lines().count(), swaps, "{story}");
    assert!(facts.get("findmnt.verify").contains(" 0 errors"), "{}\n{story}", facts.get("findmnt.verify"));
    assert!(facts.get("mdstat").contains("[2/2] [UU]"), "{}\n{story}", facts.get("mdstat"));
    let whole = facts.get("sums").lines().filter(|line| line.ends_with(" ok")).count();
    assert_eq!(whole, facts.get("sums").lines().count(), "files have changed\n{story}");
    assert!(whole >= 11, "files are missing\n{story}");

    // The tools that own an id agree with what stands on the disk, and references with both.
    let ids = facts.ids();
    let id = |place: &str, what: &str| &*ids[&(place.into(), what.into())];
    assert_eq!(facts.get("luks"), id("vdb5", "UUID"), "{story}");
    assert!(facts.get("crypttab").contains(id("vdb5", "UUID")), "{}\n{story}", facts.get("crypttab"));
    assert!(facts.get("mdadm.conf").contains(id("md", "MD_UUID")), "{}\n{story}", facts.get("mdadm.conf"));
    assert!(facts.get("pvs").contains(id("vdb6", "UUID")), "{}\n{story}", facts.get("pvs"));
    // What the next boot goes by names the root as it is, and no other one; the first boot's command line is older.
    let (root, boot) = (format!(" root=UUID={} ", id("vda1", "UUID")), facts.get("boot.uuid"));
    for line in facts.get("grub.cfg").lines() {
        let is_kernel = line.trim_start().starts_with("linux");
        assert!(!is_kernel || line.contains(&root) && !line.contains("reseal."), "{line}\n{story}");
        assert!(!line.contains("--fs-uuid") || line.ends_with(boot), "{line}\n{story}");
    }
    let stub = facts.get("stub.cfg");
    assert!(
        stub.starts_with(&format!("search.fs_uuid {boot} root hd")) && stub.lines().count() == 3,
        "{stub}\n{story}"
    );
    for (one, other) in [("vdb4", "vdc1"), ("vdb7", "vdc2")] {
        assert_eq!(id(one, "UUID"), id(other, "UUID"), "halves of two arrays\n{story}");
    }
}

/// Every id that is still the template's, the ones that may be left out.
pub fn shared(one: &Ids, other: &Ids) -> Vec<String> {
    let must_go = |ids: &Ids| {
        let ids = ids.iter().filter(|((_, what), _)| what != OF_A_MEMBER);
        ids.map(|(key, value)| (value.clone(), key.clone())).collect::<Vec<_>>()
    };
    // Only a btrfs has the others, and roots differ.
    let places = |ids: &Ids| must_go(ids).into_iter().map(|(_, place)| place).collect::<BTreeSet<_>>();
    assert_eq!(places(one), places(other), "ids have come or gone");
    let values = must_go(other).into_iter().map(|(value, _)| value).collect::<BTreeSet<_>>();
    let still = must_go(one).into_iter().filter(|(value, _)| values.contains(value));
    still.map(|(value, (place, what))| format!("{place} {what} {value}")).collect()
}

/// No id of one machine is an id of another.
pub fn share_nothing(one: &Facts, other: &Facts) {
    share_only(one, other, &[]);
}

/// These ids of one machine are ids of another, and no others: `vde2 UUID`.
pub fn share_only(one: &Facts, other: &Facts, names: &[&str]) {
    let shared = shared(&one.ids(), &other.ids());
    let same = shared.len() == names.len() && shared.iter().zip(names).all(|(id, name)| id.starts_with(name));
    assert!(same, "{} shared ids:\n{}\n{}", shared.len(), shared.join("\n"), one.story());
}

/// A boot after which nothing is as it was not before.
pub fn changed_nothing(before: &Facts, after: &Facts) {
    assert_eq!(after.ids(), before.ids(), "{}", after.story());
    let (was, is) = (before.etc(), after.etc());
    let paths = was.keys().chain(is.keys()).collect::<BTreeSet<_>>();
    let changed = paths.into_iter().filter(|path| was.get(*path) != is.get(*path)).collect::<Vec<_>>();
    assert!(changed.is_empty(), "changed below /etc: {changed:?}\n{}", after.story());
}
