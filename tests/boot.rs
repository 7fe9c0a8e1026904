// SPDX-License-Identifier: MIT OR Apache-2.0
//! The package in real Debian guests that systemd boots: templates, their clones, live servers, bad days.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use guests::boot::{Boot, Facts};
use guests::tree::{Guest, differences};
use guests::{Need, packages, ready};

mod guests;

const NEEDS: &[Need] = &[Need::Root, Need::Nspawn];

/// What systemd itself rewrites below /etc.
const VOLATILE: &[&str] = &["etc/.updated", "etc/.pwd.lock", "etc/ld.so.cache"];

/// A guest that has been in use: ids of its own everywhere, and the machine-id copied to where D-Bus once kept it.
fn lived_in() -> Guest {
    let guest = Guest::debian();
    guest.write("etc/hostname", "template\n");
    guest.write("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 template\n");
    guest.boot();
    guest.write("var/lib/dbus/machine-id", &format!("{}\n", guest.read("etc/machine-id")));
    assert!(is_machine_id(&guest.read("etc/machine-id")));
    assert_eq!(guest.host_keys().len(), 3);
    guest
}

/// A template of journey 2: in use, and reseal installed into it while it was off.
fn unsealed_template() -> Guest {
    let guest = lived_in();
    guest.install_offline(packages::deb());
    assert!(!guest.has("etc/reseal/stamp"), "an offline installation left a stamp");
    guest
}

/// Lays the package down where a task can install it.
fn put_package(guest: &Guest) {
    fs::copy(packages::deb(), guest.path("var/cache/reseal.deb")).expect("copying the package");
}

/// Everything that two guests must not share.
fn identity(guest: &Guest) -> BTreeSet<String> {
    let mut values = guest.host_keys().into_values().collect::<BTreeSet<_>>();
    values.extend([guest.read("etc/machine-id"), guest.read("etc/hostname")]);
    values
}

fn share_nothing(one: &BTreeSet<String>, other: &BTreeSet<String>, story: &str) {
    let shared = one.intersection(other).collect::<Vec<_>>();
    assert!(shared.is_empty(), "shared: {shared:?}\n{story}");
}

fn is_machine_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Boots a guest for the first time and checks that it woke up as itself.
fn first_boot(guest: &Guest, template: &BTreeSet<String>) -> Facts {
    first_boot_with(guest, template, &Boot::default())
}

fn first_boot_with(guest: &Guest, template: &BTreeSet<String>, boot: &Boot) -> Facts {
    let facts = guest.boot_with(boot);
    let story = facts.story();
    assert_eq!(facts.get("state"), "running", "{story}");
    check_whole(guest, &facts);
    assert_eq!(facts.unit("reseal", "Result"), "success", "{story}");
    assert_eq!(facts.unit("reseal", "ActiveState"), "active", "the unit did not run\n{story}");
    share_nothing(&identity(guest), template, &story);
    assert_eq!(facts.unit("reseal-keys", "ConditionResult"), "no", "keys were left over\n{story}");
    check_in_force(guest, &facts);
    facts
}

/// An identity that is complete, on disk and in the running guest.
fn check_whole(guest: &Guest, facts: &Facts) {
    let story = facts.story();
    let id = guest.read("etc/machine-id");
    assert!(is_machine_id(&id), "/etc/machine-id is {id:?}\n{story}");
    let link = fs::read_link(guest.path("var/lib/dbus/machine-id")).expect("/var/lib/dbus/machine-id is a link");
    assert!(link.ends_with("etc/machine-id"), "/var/lib/dbus/machine-id leads to {}", link.display());
    assert_eq!(facts.get("host-name"), guest.read("etc/hostname"), "{story}");
    assert_eq!(guest.host_keys().len(), 3, "{story}");
    assert!(guest.has("etc/reseal/stamp"), "no stamp\n{story}");
    assert!(!guest.has("etc/reseal/journal/run"), "the journal is still there\n{story}");
    assert!(!facts.messages(None).contains("ordering cycle"), "{story}");
    // The unit's umask lets nobody read what is new; what everybody must read has its own mode.
    let mode = |path: &str| fs::metadata(guest.path(path)).expect(path).permissions().mode() & 0o7777;
    for (path, wanted) in [("etc/machine-id", 0o444), ("etc/hostname", 0o644), ("etc/hosts", 0o644)] {
        assert_eq!(mode(path), wanted, "{path}");
    }
    for name in guest.host_keys().keys() {
        assert_eq!(mode(&format!("etc/ssh/{name}")), 0o644, "{name}");
        assert_eq!(mode(&format!("etc/ssh/{}", name.trim_end_matches(".pub"))), 0o600, "{name}");
    }
    check_sshd(guest, facts);
}

/// sshd is up and shows the keys that are on disk.
fn check_sshd(guest: &Guest, facts: &Facts) {
    let story = facts.story();
    assert_eq!(facts.get("sshd.status"), "0", "sshd -t: {}\n{story}", facts.get("sshd.test"));
    assert_eq!(facts.unit("ssh", "ActiveState"), "active", "{story}");
    let shown = facts.get("keyscan").lines().filter_map(|line| line.split_whitespace().nth(2).map(str::to_owned));
    let shown = shown.collect::<BTreeSet<_>>();
    assert_eq!(shown, guest.host_keys().into_values().collect(), "sshd shows other keys than those on disk\n{story}");
}

/// PID 1, journald and D-Bus go by the new id in the very boot that made it.
fn check_in_force(guest: &Guest, facts: &Facts) {
    let (id, story) = (guest.read("etc/machine-id"), facts.story());
    assert_eq!(facts.get("machine-id.mount"), "", "a transient machine-id is still mounted\n{story}");
    for seen_by in ["machine-id", "machine-id.init", "machine-id.dbus"] {
        assert_eq!(facts.get(seen_by), id, "{seen_by}\n{story}");
    }
    for journal in facts.get("journals").lines() {
        assert!(journal.ends_with(&id), "a journal of another machine: {journal}\n{story}");
    }
    let end = facts.unit("reseal", "ExecMainExitTimestampMonotonic").parse::<u64>().expect("a time");
    let time =
        |entry: &serde_json::Value| entry["__MONOTONIC_TIMESTAMP"].as_str().and_then(|time| time.parse::<u64>().ok());
    let after =
        facts.journal().into_iter().filter(|entry| time(entry).is_some_and(|time| time > end)).collect::<Vec<_>>();
    assert!(after.len() > 10, "the journal of the first boot is lost\n{story}");
    for entry in after {
        assert_eq!(entry["_MACHINE_ID"], *id, "journald still writes for another machine: {entry}");
    }
    // The transient id must go for everybody, so the unit may not have a mount namespace of its own.
    assert_eq!(facts.get("mount-namespace"), facts.get("mount-namespace.init"), "{story}");
}

/// Boots a guest again and checks that nothing happens to it.
fn next_boot_changes_nothing(guest: &Guest) -> Facts {
    next_boot_changes_nothing_with(guest, &Boot::default())
}

fn next_boot_changes_nothing_with(guest: &Guest, boot: &Boot) -> Facts {
    let before = etc(guest);
    let facts = guest.boot_with(boot);
    let story = facts.story();
    assert_eq!(facts.get("state"), "running", "{story}");
    assert_eq!(differences(&before, &etc(guest)), [""; 0], "{story}");
    assert_eq!(facts.unit("reseal", "ConditionResult"), "no", "the unit was not skipped\n{story}");
    assert_eq!(facts.unit("reseal", "ActiveState"), "inactive", "{story}");
    assert_eq!(facts.get("machine-id"), guest.read("etc/machine-id"));
    check_sshd(guest, &facts);
    facts
}

fn everything(guest: &Guest) -> BTreeMap<String, String> {
    ["etc", "usr", "var"].into_iter().flat_map(|dir| guest.digest(dir)).collect()
}

fn etc(guest: &Guest) -> BTreeMap<String, String> {
    let mut digest = guest.digest("etc");
    digest.retain(|path, _| !VOLATILE.contains(&path.as_str()));
    digest
}

#[test]
fn clones_of_a_template_that_was_not_sealed_wake_up_as_themselves() {
    if !ready("clones_of_a_template_that_was_not_sealed_wake_up_as_themselves", NEEDS) {
        return;
    }
    guests::own_mounts();
    let template = unsealed_template();
    let of_template = identity(&template);
    let clones = [template.copy(), template.copy()];
    for clone in &clones {
        let facts = first_boot(clone, &of_template);
        eprintln!("first boot: {:.1} s", facts.took.as_secs_f32());
    }
    share_nothing(&identity(&clones[0]), &identity(&clones[1]), "two clones");
    for clone in &clones {
        next_boot_changes_nothing(clone);
    }
}

#[test]
fn installing_on_a_live_server_changes_nothing_now_or_later() {
    if !ready("installing_on_a_live_server_changes_nothing_now_or_later", NEEDS) {
        return;
    }
    guests::own_mounts();
    let server = lived_in();
    put_package(&server);
    let (before, identity_before) = (etc(&server), identity(&server));
    let task = "dpkg --install /var/cache/reseal.deb
        systemctl start sysinit.target multi-user.target
        test \"$(systemctl is-active reseal.service)\" = inactive";
    let facts = server.boot_with(&Boot { task, ..Boot::default() });
    assert_eq!(facts.get("task.status"), "0", "{}", facts.story());
    assert_eq!(facts.get("state"), "running", "{}", facts.story());
    let mut changed = differences(&before, &etc(&server));
    changed.retain(|path| !path.starts_with("etc/reseal") && !path.contains("/reseal") && !path.ends_with(".wants"));
    assert_eq!(changed, [""; 0], "{}", facts.story());
    assert!(server.has("etc/reseal/stamp"), "the server was not adopted\n{}", facts.story());
    next_boot_changes_nothing(&server);
    assert_eq!(identity(&server), identity_before);
}

#[test]
fn clones_of_a_sealed_template_wake_up_as_themselves() {
    if !ready("clones_of_a_sealed_template_wake_up_as_themselves", NEEDS) {
        return;
    }
    guests::own_mounts();
    let template = lived_in();
    put_package(&template);
    let of_template = identity(&template);
    // Whatever is started between the sealing and the power-off must not set off the reset in the template itself.
    let task = "dpkg --install /var/cache/reseal.deb
        reseal seal --yes
        systemctl start sysinit.target multi-user.target
        test \"$(systemctl is-active reseal.service)\" = inactive";
    let facts = template.boot_with(&Boot { task, ..Boot::default() });
    assert_eq!(facts.get("task.status"), "0", "{}", facts.story());
    assert!(!template.has("etc/reseal/stamp"), "sealed, and yet stamped\n{}", facts.story());
    let clones = [template.copy(), template.copy()];
    for clone in &clones {
        first_boot(clone, &of_template);
    }
    share_nothing(&identity(&clones[0]), &identity(&clones[1]), "two clones");
    next_boot_changes_nothing(&clones[0]);
}

#[test]
fn clones_of_an_image_that_another_machine_sealed_wake_up_as_themselves() {
    if !ready("clones_of_an_image_that_another_machine_sealed_wake_up_as_themselves", NEEDS) {
        return;
    }
    guests::own_mounts();
    let (builder, image) = (unsealed_template(), lived_in());
    put_package(&image);
    let of_image = identity(&image);
    // As some image builders do it, with /run and /proc of their own machine in the chroot.
    let task = "cd /mnt
        for dir in run proc; do mount --bind /$dir $dir; done
        chroot . dpkg --install /var/cache/reseal.deb
        umount run proc
        test ! -e etc/reseal/stamp
        reseal seal --yes --root /mnt";
    let bind = format!("--bind={}:/mnt", image.root().display());
    let facts = builder.boot_with(&Boot { task, options: &[&bind] });
    assert_eq!(facts.get("task.status"), "0", "{}", facts.story());
    assert_eq!(image.read("etc/machine-id"), "");
    assert_eq!(image.host_keys().len(), 0, "sealed, and yet with host keys");
    let clones = [image.copy(), image.copy()];
    for clone in &clones {
        first_boot(clone, &of_image);
    }
    share_nothing(&identity(&clones[0]), &identity(&clones[1]), "two clones");
}

#[test]
fn only_an_installation_adopts_and_a_purge_leaves_nothing() {
    if !ready("only_an_installation_adopts_and_a_purge_leaves_nothing", NEEDS) {
        return;
    }
    guests::own_mounts();
    let server = lived_in();
    put_package(&server);
    let before = everything(&server);
    let task = "stamp=/etc/reseal/stamp deb=/var/cache/reseal.deb; set -x
        dpkg --install $deb; test -e $stamp
        : an upgrade of a machine that is to be reset
        rm -r $stamp /var/lib/reseal; dpkg --install $deb; test ! -e $stamp
        : a removal, and the package again
        dpkg --remove reseal; dpkg --install $deb; test -e $stamp
        : an upgrade of a sealed template
        reseal seal --yes; dpkg --install $deb; test ! -e $stamp
        systemctl is-enabled reseal.service reseal-keys.service
        test \"$(systemctl is-active reseal.service)\" = inactive
        dpkg --purge reseal";
    let facts = server.boot_with(&Boot { task, ..Boot::default() });
    assert_eq!(facts.get("task.status"), "0", "{}", facts.story());
    let mut left = differences(&before, &everything(&server));
    // Sealing has taken away what it takes away, and dpkg keeps its own books.
    left.retain(|path| path.contains("reseal") && !path.starts_with("var/lib/dpkg") && path != "var/cache/reseal.deb");
    assert_eq!(left, [""; 0], "{}", facts.story());
}

#[test]
fn the_transient_id_of_pid_1_becomes_the_guests_own() {
    if !ready("the_transient_id_of_pid_1_becomes_the_guests_own", NEEDS) {
        return;
    }
    guests::own_mounts();
    let template = unsealed_template();
    let of_template = identity(&template);
    // On a first boot PID 1 mounts a transient id over /etc/machine-id: systemd's src/shared/machine-id-setup.c.
    let journal = format!("var/log/journal/{}", template.read("etc/machine-id"));
    fs::remove_dir_all(template.path(&journal)).expect("removing the journal");
    template.write("etc/machine-id", "uninitialized\n");
    let clone = template.copy();
    let facts = first_boot(&clone, &of_template);
    // What journald wrote before the reset says which id PID 1 had drawn.
    let of_pid_1 = facts.journal().first().and_then(|entry| entry["_MACHINE_ID"].as_str().map(str::to_owned));
    assert_eq!(of_pid_1.as_deref(), Some(&*clone.read("etc/machine-id")), "{}", facts.story());
    next_boot_changes_nothing(&clone);
}

/// In place of the program: it shows the program other hardware than the container's, and no container.
const DISGUISE: &str = r#"#!/bin/bash
exec unshare --mount /bin/bash -ec '
    for file in /run/host/container-manager /run/systemd/container /proc/1/environ; do
        [ ! -e $file ] || mount --bind /opt/hardware/nothing $file
    done
    mount --bind /opt/hardware/environ /proc/1/environ
    mount --bind /opt/hardware/block /sys/block
    mount --bind /opt/hardware/class /sys/class
    exec -a "$0" /usr/bin/reseal.real "$@"' "$0" "$@"
"#;

/// What the disguise needs beside what the unit allows the program.
const ALLOW_DISGUISE: &str = "\
[Service]
CapabilityBoundingSet=CAP_SYS_ADMIN
RestrictNamespaces=no
SystemCallFilter=@mount
";

/// Has the program in this guest see the hardware at /opt/hardware. PID 1 still knows that it is in a container, or it would
/// take this machine's devices for its own.
fn disguise(guest: &Guest) {
    fs::rename(guest.path("usr/bin/reseal"), guest.path("usr/bin/reseal.real")).expect("moving the program");
    guest.write("usr/bin/reseal", DISGUISE);
    fs::set_permissions(guest.path("usr/bin/reseal"), fs::Permissions::from_mode(0o755)).expect("changing a mode");
    guest.write("usr/local/lib/systemd/system/reseal-clone.service.d/disguise.conf", ALLOW_DISGUISE);
}

/// Hardware for the program to see: what is in it is all that tells one machine from the next.
struct Hardware(tempfile::TempDir);

impl Hardware {
    fn new(uuid: &str, mac: &str) -> Hardware {
        let dir = tempfile::tempdir().expect("making a directory");
        let files = [
            ("class/dmi/id/product_uuid", uuid),
            ("class/dmi/id/sys_vendor", "QEMU"),
            ("class/net/eth7/addr_assign_type", "0"),
            ("class/net/eth7/address", mac),
            ("class/net/eth7/device/driver", ""),
            ("environ", "container="),
            ("nothing", ""),
        ];
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("making a directory");
            fs::write(path, text).expect("writing a fact");
        }
        fs::create_dir(dir.path().join("block")).expect("making a directory");
        Hardware(dir)
    }

    fn boot(&self, guest: &Guest, act: impl FnOnce(&Guest, &Boot) -> Facts) -> Facts {
        let bind = format!("--bind-ro={}:/opt/hardware", self.0.path().display());
        act(guest, &Boot { options: &[&bind], ..Boot::default() })
    }
}

#[test]
fn a_copy_of_a_guest_with_its_stamp_is_told_and_reset_where_the_policy_says_so() {
    if !ready("a_copy_of_a_guest_with_its_stamp_is_told_and_reset_where_the_policy_says_so", NEEDS) {
        return;
    }
    guests::own_mounts();
    let one = Hardware::new("11111111-2222-4333-8444-555555555555", "52:54:00:00:00:01");
    let same_uuid = Hardware::new("11111111-2222-4333-8444-555555555555", "52:54:00:00:00:02");
    let two = Hardware::new("99999999-2222-4333-8444-555555555555", "52:54:00:00:00:02");
    let template = unsealed_template();
    disguise(&template);
    let of_template = identity(&template);
    let guest = template.copy();
    let facts = one.boot(&guest, |guest, boot| first_boot_with(guest, &of_template, boot));
    assert!(guest.read("etc/reseal/stamp").contains("11111111-2222"), "no hardware was seen\n{}", facts.story());
    one.boot(&guest, next_boot_changes_nothing_with);
    let of_guest = identity(&guest);

    let told = guest.copy();
    let facts = two.boot(&told, |guest, boot| guest.boot_with(boot));
    assert_eq!(facts.get("state"), "running", "{}", facts.story());
    assert_eq!(identity(&told), of_guest, "by default a copy is told, and not reset\n{}", facts.story());
    assert!(facts.console.contains("was made on another machine"), "not told on the console\n{}", facts.story());
    assert!(facts.get("reseal.status").contains("copied"), "{}", facts.story());

    for (hardware, story) in [(&two, "a new UUID"), (&same_uuid, "the same UUID, another interface")] {
        let reset = guest.copy();
        reset.write("etc/reseal/policy.d/clone.toml", "[run]\non-clone = \"reset\"\n");
        hardware.boot(&reset, |guest, boot| first_boot_with(guest, &of_template, boot));
        share_nothing(&identity(&reset), &of_guest, story);
        hardware.boot(&reset, next_boot_changes_nothing_with);
    }
}

#[test]
fn a_broken_policy_still_gives_keys_and_a_machine_id() {
    if !ready("a_broken_policy_still_gives_keys_and_a_machine_id", NEEDS) {
        return;
    }
    guests::own_mounts();
    let template = unsealed_template();
    for policy in ["[machine-id\n", "[no-such-table]\n", "[machine-id]\nmode = 7\n"] {
        let clone = template.copy();
        clone.write("etc/reseal/policy.toml", policy);
        let facts = clone.boot();
        check_sshd(&clone, &facts);
        assert_ne!(clone.read("etc/machine-id"), template.read("etc/machine-id"), "{}", facts.story());
        let (keys, old) = (clone.host_keys(), template.host_keys());
        assert!(keys.iter().all(|(name, key)| old.get(name) != Some(key)), "{}", facts.story());
        assert!(facts.console.contains("policy"), "nothing about it on the console\n{}", facts.story());
        assert!(facts.get("reseal.status").contains("policy"), "nothing about it in the status\n{}", facts.story());
    }
}

#[test]
fn a_power_cut_in_the_first_boot_does_no_harm() {
    if !ready("a_power_cut_in_the_first_boot_does_no_harm", NEEDS) {
        return;
    }
    guests::own_mounts();
    let template = unsealed_template();
    let of_template = identity(&template);
    let cuts = std::env::var("RESEAL_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(3_u64);
    for cut in 0..cuts {
        let clone = template.copy();
        // Spread evenly over the time that matters, from the moment the journal appears.
        let after = Duration::from_millis(600 * cut / cuts);
        let mut begun = None;
        let was_cut = clone.boot_and_cut(|now| {
            if begun.is_none() && (clone.has("etc/reseal/journal/run") || clone.has("etc/reseal/stamp")) {
                begun = Some(now);
            }
            begun.is_some_and(|begun| now >= begun + after)
        });
        assert!(was_cut, "the guest was off before its power could be cut");
        let how_far = if clone.has("etc/reseal/stamp") { "stamped" } else { "under way" };
        let facts = clone.boot();
        eprintln!("cut {after:?} after the journal appeared, {how_far}; up again in {:.1} s", facts.took.as_secs_f32());
        assert_eq!(facts.get("state"), "running", "cut after {after:?}\n{}", facts.story());
        check_whole(&clone, &facts);
        share_nothing(&identity(&clone), &of_template, &facts.story());
        next_boot_changes_nothing(&clone);
    }
}

#[test]
fn a_guest_that_cannot_be_written_to_still_boots() {
    if !ready("a_guest_that_cannot_be_written_to_still_boots", NEEDS) {
        return;
    }
    guests::own_mounts();
    let template = unsealed_template();

    let clone = template.copy();
    let before = etc(&clone);
    let read_only = format!("--bind-ro={}:/etc", clone.path("etc").display());
    let facts = clone.boot_with(&Boot { options: &[&read_only], ..Boot::default() });
    assert_eq!(differences(&before, &etc(&clone)), [""; 0], "{}", facts.story());
    assert!(["running", "degraded"].contains(&facts.get("state")), "{}", facts.story());
    check_sshd(&clone, &facts);

    let clone = template.copy_on_small_disk("2m");
    let before = etc(&clone);
    let _ = fs::write(clone.path("var/ballast"), vec![0; 4 << 20]);
    let facts = clone.boot();
    assert_eq!(differences(&before, &etc(&clone)), [""; 0], "{}", facts.story());
    assert!(["running", "degraded"].contains(&facts.get("state")), "{}", facts.story());
    check_sshd(&clone, &facts);
}
