// SPDX-License-Identifier: MIT OR Apache-2.0
//! The running system: the program as the `/` of namespaces of its own, where it may change whatever it likes.
//!
//! Each test makes a tree with the program in it and calls it by unshare(1) and chroot(1), as root of a user namespace
//! where the caller is not root. The machine's facts are files below the tree's /sys.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::case::Case;
use support::tree::describe;

/// A guest with the program in it, that says it is a virtual machine with this SMBIOS UUID.
struct Live(tempfile::TempDir);

const HERE: &str = "11111111-2222-4333-8444-555555555555";
const ELSEWHERE: &str = "99999999-2222-4333-8444-555555555555";

impl Live {
    /// `None`, and a loud word, where namespaces are not to be had.
    fn new(test: &str) -> Option<Live> {
        let dir = tempfile::tempdir().unwrap();
        let case = Case::all().into_iter().find(|case| case.name == "debian-whole").unwrap();
        case.make(dir.path());
        let live = Live(dir);
        for path in ["proc", "sys/class/dmi/id", "tmp", "run", "dev", "usr/bin"] {
            fs::create_dir_all(live.path(path)).unwrap();
        }
        live.become_machine(HERE);
        fs::write(live.path("sys/class/dmi/id/sys_vendor"), "QEMU\n").unwrap();
        fs::copy(env!("CARGO_BIN_EXE_reseal"), live.path("usr/bin/reseal")).unwrap();
        for library in libraries() {
            let target = live.path(library.to_str().unwrap().trim_start_matches('/'));
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(library, target).unwrap();
        }
        let works = live.shell("true");
        if !works.status.success() {
            support::skip(test, &format!("no namespaces: {}", String::from_utf8_lossy(&works.stderr).trim()));
            return None;
        }
        Some(live)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn become_machine(&self, uuid: &str) {
        fs::write(self.path("sys/class/dmi/id/product_uuid"), format!("{uuid}\n")).unwrap();
    }

    /// Runs a script in the namespaces, outside the tree; `$ROOT` is the tree.
    fn shell(&self, script: &str) -> Output {
        let mut command = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "sh", "-euc", script]);
        command.env("ROOT", self.0.path()).env_remove("RESEAL_LOG").stdin(Stdio::null()).output().unwrap()
    }

    /// Runs the program in the tree; everywhere counts as a place to act.
    fn reseal(&self, arguments: &str) -> Output {
        self.reseal_after(":", arguments)
    }

    fn reseal_after(&self, preparation: &str, arguments: &str) -> Output {
        let everywhere = r#"--set 'run.where=["vm","container","bare-metal"]'"#;
        self.shell(&format!(
            "hostname \"$(cat \"$ROOT/etc/hostname\")\"; {preparation}; mount -t proc proc \"$ROOT/proc\" 2>/dev/null || true; \
             status=0; chroot \"$ROOT\" /usr/bin/reseal {everywhere} {arguments} || status=$?; \
             hostname > \"$ROOT/tmp/hostname\" || true; exit $status"
        ))
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn files(&self) -> String {
        describe(&self.path("etc"), true)
    }
}

/// What the program is linked with, by its own loader.
fn libraries() -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg(env!("CARGO_BIN_EXE_reseal")).output().unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(|path| Path::new(path).to_path_buf()).collect()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn without_a_terminal_only_yes_changes_anything() {
    let Some(live) = Live::new("without_a_terminal_only_yes_changes_anything") else { return };
    let before = live.files();
    let asked = live.reseal("apply");
    assert_eq!(code(&asked), 2, "{}", said(&asked));
    assert_eq!(live.files(), before);
    let done = live.reseal("apply --yes");
    assert_eq!(code(&done), 0, "{}", said(&done));
    assert_eq!(live.read("tmp/hostname"), live.read("etc/hostname"), "the running kernel has the new name");
    assert_ne!(live.read("etc/hostname"), "tmpl\n");
    assert_eq!(live.read("etc/reseal/stamp"), live.read("var/lib/reseal/stamp"));
    assert!(!live.path("etc/reseal/journal").exists());
}

#[test]
fn at_a_terminal_the_plan_is_shown_in_colour_and_asked_for() {
    let Some(live) = Live::new("at_a_terminal_the_plan_is_shown_in_colour_and_asked_for") else { return };
    let at_terminal = |answer: &str| {
        let everywhere = r#"--set 'run.where=["vm","container","bare-metal"]'"#;
        let call = format!("chroot $ROOT /usr/bin/reseal apply {everywhere}").replace('"', "\\\"");
        live.shell(&format!("hostname tmpl; echo {answer} | script -qec \"{call}\" /dev/null"))
    };
    let before = live.files();
    let declined = at_terminal("n");
    assert!(said(&declined).contains("\x1b[32m+") && said(&declined).contains("[y/N]"), "{}", said(&declined));
    assert_eq!(live.files(), before);
    let done = at_terminal("y");
    assert!(live.path("etc/reseal/stamp").exists(), "{}", said(&done));
}

#[test]
fn a_stamped_machine_keeps_its_identity_unless_renewed() {
    let Some(live) = Live::new("a_stamped_machine_keeps_its_identity_unless_renewed") else { return };
    assert_eq!(code(&live.reseal("apply --yes")), 0);
    let first = live.files();
    let again = live.reseal("apply --yes");
    assert_eq!(code(&again), 0);
    assert!(said(&again).contains("has its identity already"), "{}", said(&again));
    let forced = live.reseal("apply --yes --force");
    assert!(said(&forced).contains("\n0 changes, 1 findings"), "{}", said(&forced));
    assert_eq!(code(&live.reseal("apply --stage system")), 0);
    assert_eq!(without_stamp(&live.files()), without_stamp(&first));
    // What grew since, as a seed does, stays; what was damaged, as a key, is mended.
    fs::write(live.path("var/lib/systemd/random-seed"), "grown since").unwrap();
    fs::write(live.path("etc/ssh/ssh_host_ed25519_key"), "").unwrap();
    let mended = live.reseal("apply --yes --force");
    assert!(said(&mended).contains("\n1 changes, "), "{}", said(&mended));
    assert!(live.read("etc/ssh/ssh_host_ed25519_key").contains("PRIVATE KEY"));
    assert_eq!(live.read("var/lib/systemd/random-seed"), "grown since");
    let id = live.read("etc/machine-id");
    let renewed = live.reseal("apply --yes --renew");
    assert_eq!(code(&renewed), 0, "{}", said(&renewed));
    assert_ne!(live.read("etc/machine-id"), id);
}

fn without_stamp(text: &str) -> String {
    text.split("-- ").filter(|entry| !entry.starts_with("file reseal/")).collect()
}

#[test]
fn a_stamp_of_another_machine_is_told_and_only_renewed_on_request() {
    let Some(live) = Live::new("a_stamp_of_another_machine_is_told_and_only_renewed_on_request") else { return };
    assert_eq!(code(&live.reseal("apply --yes")), 0);
    live.become_machine(ELSEWHERE);
    let before = live.files();
    let refused = live.reseal("apply --yes");
    assert_eq!(code(&refused), 1, "{}", said(&refused));
    assert!(said(&refused).contains("made on another machine"), "{}", said(&refused));
    assert!(said(&live.reseal("status")).contains("copied"));
    assert_eq!(live.files(), before);
    let id = live.read("etc/machine-id");
    assert_eq!(code(&live.reseal("apply --yes --renew")), 0);
    assert_ne!(live.read("etc/machine-id"), id);
    assert!(said(&live.reseal("status")).contains("resealed"));
}

#[test]
fn a_lost_stamp_is_put_back_on_its_own_machine_only() {
    let Some(live) = Live::new("a_lost_stamp_is_put_back_on_its_own_machine_only") else { return };
    assert_eq!(code(&live.reseal("apply --stage system")), 0);
    let (stamp, id) = (live.read("etc/reseal/stamp"), live.read("etc/machine-id"));
    fs::remove_file(live.path("etc/reseal/stamp")).unwrap();
    let back = live.reseal("apply --stage system");
    assert!(said(&back).contains("put back"), "{}", said(&back));
    assert_eq!((live.read("etc/reseal/stamp"), live.read("etc/machine-id")), (stamp, id.clone()));
    fs::remove_file(live.path("etc/reseal/stamp")).unwrap();
    live.become_machine(ELSEWHERE);
    assert_eq!(code(&live.reseal("apply --stage system")), 0);
    assert_ne!(live.read("etc/machine-id"), id);
}

#[test]
fn a_journal_of_another_machine_lends_no_seed() {
    let Some(live) = Live::new("a_journal_of_another_machine_lends_no_seed") else { return };
    let whole = live.reseal("apply --stage system");
    assert_eq!(code(&whole), 0, "{}", said(&whole));
    // As if the run had been cut before the stamp, and the disk copied then.
    fs::create_dir_all(live.path("etc/reseal/journal")).unwrap();
    fs::rename(live.path("etc/reseal/stamp"), live.path("etc/reseal/journal/run")).unwrap();
    fs::remove_file(live.path("var/lib/reseal/stamp")).unwrap();
    let (id, name, key) =
        (live.read("etc/machine-id"), live.read("etc/hostname"), live.read("etc/ssh/ssh_host_ed25519_key"));
    // Here it goes on, with the same values.
    let resumed = live.reseal("apply --stage system");
    assert_eq!(code(&resumed), 0, "{}", said(&resumed));
    assert_eq!((live.read("etc/machine-id"), live.read("etc/hostname")), (id.clone(), name.clone()));
    assert_eq!(live.read("etc/ssh/ssh_host_ed25519_key"), key);
    // Elsewhere every value is new, and quotes of the template's and of the half-reset name alike follow.
    fs::create_dir_all(live.path("etc/reseal/journal")).unwrap();
    fs::rename(live.path("etc/reseal/stamp"), live.path("etc/reseal/journal/run")).unwrap();
    fs::remove_file(live.path("var/lib/reseal/stamp")).unwrap();
    live.become_machine(ELSEWHERE);
    fs::write(live.path("etc/hosts"), format!("127.0.1.1 tmpl\n127.0.1.2 {name}")).unwrap();
    let reset = live.reseal("apply --stage system");
    assert_eq!(code(&reset), 0, "{}", said(&reset));
    assert_ne!(live.read("etc/machine-id"), id);
    assert_ne!(live.read("etc/ssh/ssh_host_ed25519_key"), key);
    let new = live.read("etc/hostname");
    assert_ne!(new, name);
    assert_eq!(live.read("etc/hosts"), format!("127.0.1.1 {new}127.0.1.2 {new}"));
}

#[test]
fn a_transient_id_is_written_beneath_its_mount() {
    let Some(live) = Live::new("a_transient_id_is_written_beneath_its_mount") else { return };
    let made = "abcdefabcdefabcdefabcdefabcdefab";
    fs::write(live.path("run/machine-id"), format!("{made}\n")).unwrap();
    fs::remove_file(live.path("etc/machine-id")).unwrap();
    fs::write(live.path("etc/machine-id"), "").unwrap();
    // The tree must be a mount itself for the program to see mounts below its root.
    let mounted = "mount --bind \"$ROOT\" \"$ROOT\"; cd \"$ROOT\"; mount --bind run/machine-id etc/machine-id";
    let done = live.reseal_after(mounted, "apply --stage system");
    assert_eq!(code(&done), 0, "{}", said(&done));
    assert_eq!(live.read("etc/machine-id"), format!("{made}\n"), "PID 1's fresh id is adopted, on disk");
    // An id that PID 1 took from D-Bus's copy is the template's, machine-id(5).
    let Some(live) = Live::new("a_transient_id_is_written_beneath_its_mount") else { return };
    fs::write(live.path("run/machine-id"), format!("{made}\n")).unwrap();
    fs::remove_file(live.path("etc/machine-id")).unwrap();
    fs::write(live.path("etc/machine-id"), "").unwrap();
    fs::remove_file(live.path("var/lib/dbus/machine-id")).unwrap();
    fs::write(live.path("var/lib/dbus/machine-id"), format!("{made}\n")).unwrap();
    let done = live.reseal_after(mounted, "apply --stage system");
    assert_eq!(code(&done), 0, "{}", said(&done));
    let id = live.read("etc/machine-id");
    assert!(id.len() == 33 && !id.contains(made), "{id}");
    // The template's own id there is no fresh one.
    let Some(live) = Live::new("a_transient_id_is_written_beneath_its_mount") else { return };
    assert_eq!(code(&live.reseal("seal --yes")), 0);
    fs::write(live.path("run/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    let done = live.reseal_after(mounted, "apply --stage system");
    assert_eq!(code(&done), 0, "{}", said(&done));
    let id = live.read("etc/machine-id");
    assert!(id.len() == 33 && id != "0123456789abcdef0123456789abcdef\n", "{id}");
}

#[test]
fn what_cannot_be_written_is_left_whole() {
    let Some(live) = Live::new("what_cannot_be_written_is_left_whole") else { return };
    let before = live.files();
    for (mount, word) in [
        ("mount --bind \"$ROOT/etc\" \"$ROOT/etc\"; mount -o remount,bind,ro \"$ROOT/etc\"", "read-only"),
        (
            "mount --bind \"$ROOT\" \"$ROOT\"; mount --bind \"$ROOT/etc\" \"$ROOT/etc\"; cd \"$ROOT\"; \
             echo abcdefabcdefabcdefabcdefabcdefab > run/machine-id; mount --bind run/machine-id etc/machine-id; \
             mount -o remount,bind,ro etc",
            "read-only",
        ),
        (
            "mkdir -p /tmp/.reseal-full; mount -t tmpfs -o size=64k none /tmp/.reseal-full; cp -a \"$ROOT/etc/.\" /tmp/.reseal-full/; \
             mount --bind /tmp/.reseal-full \"$ROOT/etc\"",
            "are needed",
        ),
    ] {
        for arguments in ["apply --stage system", "apply --yes"] {
            let refused = live.reseal_after(mount, arguments);
            assert_eq!(code(&refused), 1, "{}", said(&refused));
            assert!(said(&refused).contains(word), "{}", said(&refused));
            assert_eq!(live.files(), before);
        }
    }
    assert_eq!(code(&live.reseal("apply --stage system")), 0);
}

#[test]
fn a_broken_policy_at_boot_still_renews_what_must_not_be_shared() {
    let Some(live) = Live::new("a_broken_policy_at_boot_still_renews_what_must_not_be_shared") else { return };
    fs::create_dir_all(live.path("etc/reseal")).unwrap();
    fs::write(live.path("etc/reseal/policy.toml"), "[hostname\n").unwrap();
    assert_eq!(code(&live.reseal("apply --yes")), 2);
    let old = live.read("etc/ssh/ssh_host_ed25519_key");
    let done = live.reseal("apply --stage system");
    assert_eq!(code(&done), 0, "{}", said(&done));
    assert!(said(&done).contains("/etc/reseal/policy.toml: line 1"), "{}", said(&done));
    assert_ne!(live.read("etc/machine-id"), "0123456789abcdef0123456789abcdef\n");
    assert_ne!(live.read("etc/ssh/ssh_host_ed25519_key"), old);
    assert_eq!(live.read("etc/hostname"), "tmpl\n");
    assert!(said(&live.reseal("status")).contains("policy.toml: line 1"));
    // Broken records do not stop a boot either.
    for record in ["stamp", "sealed", "journal/run"] {
        let Some(live) = Live::new("a_broken_policy_at_boot_still_renews_what_must_not_be_shared") else { return };
        fs::create_dir_all(live.path("etc/reseal/journal")).unwrap();
        fs::write(live.path("etc/reseal").join(record), "{\"version\": 99}").unwrap();
        let by_hand = live.reseal("apply --yes");
        assert_eq!(code(&by_hand), 1, "{}", said(&by_hand));
        assert!(said(&by_hand).contains("a later reseal"), "{}", said(&by_hand));
        let at_boot = live.reseal("apply --stage system");
        assert_eq!(code(&at_boot), 0, "{}", said(&at_boot));
        // A stamp is a stamp, even one of a later version; without one the guest is reset.
        let kept = live.read("etc/machine-id") == "0123456789abcdef0123456789abcdef\n";
        assert_eq!(kept, record == "stamp", "{record}");
    }
}

#[test]
fn where_the_policy_says_nothing_the_unit_does_nothing() {
    let Some(live) = Live::new("where_the_policy_says_nothing_the_unit_does_nothing") else { return };
    let before = live.files();
    let nowhere = "--set 'run.where=[]'";
    let unit = live.reseal(&format!("apply --stage system {nowhere}"));
    assert_eq!(code(&unit), 0);
    assert!(said(&unit).contains("lets the boot unit do nothing"), "{}", said(&unit));
    let by_hand = live.reseal(&format!("apply --yes {nowhere}"));
    assert_eq!(code(&by_hand), 1, "{}", said(&by_hand));
    assert_eq!(live.files(), before);
    assert_eq!(code(&live.reseal(&format!("apply --yes --force {nowhere}"))), 0);
    // A sealed machine was meant to be reset.
    assert_eq!(code(&live.reseal("seal --yes")), 0);
    assert_eq!(code(&live.reseal(&format!("apply --stage system {nowhere}"))), 0);
    assert!(live.path("etc/reseal/stamp").exists());
    assert!(!live.path("etc/reseal/sealed").exists());
}

#[test]
fn adopting_changes_nothing_and_stops_the_unit() {
    let Some(live) = Live::new("adopting_changes_nothing_and_stops_the_unit") else { return };
    let before = without_stamp(&live.files());
    assert_eq!(code(&live.reseal("adopt")), 0);
    assert_eq!(without_stamp(&live.files()), before);
    let stamp = live.read("etc/reseal/stamp");
    assert!(stamp.contains("\"adopted\"") && stamp.contains(HERE), "{stamp}");
    assert_eq!(code(&live.reseal("apply --stage system")), 0);
    assert_eq!(without_stamp(&live.files()), before);
    // A dry run on an adopted template shows what its clone would do.
    assert!(said(&live.reseal("--dry-run")).contains("-tmpl\n"));
    // A sealed template stays sealed when the package is upgraded.
    assert_eq!(code(&live.reseal("seal --yes")), 0);
    assert_eq!(code(&live.reseal("adopt")), 0);
    assert!(!live.path("etc/reseal/stamp").exists());
}
