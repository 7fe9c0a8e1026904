// SPDX-License-Identifier: MIT OR Apache-2.0
//! The running system: the program as the `/` of namespaces of its own, where it may change whatever it likes.
//!
//! Each test makes a tree with the program in it and calls it by unshare(1) and chroot(1), as root of a user namespace
//! where the caller is not root. The machine's facts are files below the tree's /sys.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
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
        fs::create_dir_all(live.path("usr/lib/systemd/system-generators")).unwrap();
        symlink("../../../bin/reseal", live.path("usr/lib/systemd/system-generators/reseal-generator")).unwrap();
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

    /// Gives the machine this interface and no other.
    fn become_link(&self, mac: &str) {
        let dir = self.path("sys/class/net/eth0");
        fs::create_dir_all(dir.join("device")).unwrap();
        fs::write(dir.join("addr_assign_type"), "0\n").unwrap();
        fs::write(dir.join("address"), format!("{mac}\n")).unwrap();
    }

    /// Runs the generator by its name, as systemd does; what it leaves.
    fn generate(&self) -> Vec<String> {
        let done = self.shell(
            "cd \"$ROOT\"; rm -rf run/systemd/generator*; \
             mkdir -p run/systemd/generator run/systemd/generator.early run/systemd/generator.late; \
             mount -t proc proc proc 2>/dev/null || true; dirs=/run/systemd/generator; \
             chroot . /usr/lib/systemd/system-generators/reseal-generator $dirs $dirs.early $dirs.late",
        );
        assert_eq!(code(&done), 0, "{}", said(&done));
        let left = self.shell("cd \"$ROOT/run/systemd/generator\"; find . ! -type d | sort");
        String::from_utf8(left.stdout).unwrap().lines().map(|line| line.trim_start_matches("./").to_owned()).collect()
    }

    fn set_policy(&self, text: &str) {
        fs::create_dir_all(self.path("etc/reseal")).unwrap();
        fs::write(self.path("etc/reseal/policy.toml"), text).unwrap();
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

const TELLER: &str = "multi-user.target.wants/reseal-clone.service";

/// What the generator leaves where the units are to run although there is a stamp.
fn woken() -> Vec<String> {
    let units = ["reseal-early-volumes", "reseal-early", "reseal-keys", "reseal"];
    let drop_ins = units.iter().map(|unit| format!("{unit}.service.d/50-reseal-clone.conf"));
    let mut all: Vec<String> = drop_ins.chain([TELLER.to_owned()]).collect();
    all.sort();
    all
}

/// In the order of bytes, whatever the locale of sort(1).
fn sorted(mut files: Vec<String>) -> Vec<String> {
    files.sort();
    files
}

#[test]
fn a_boot_tells_a_copy_and_resets_it_where_the_policy_says_so() {
    let Some(live) = Live::new("a_boot_tells_a_copy_and_resets_it_where_the_policy_says_so") else { return };
    assert_eq!(live.generate(), [""; 0], "no stamp, nothing to ask");
    assert_eq!(code(&live.reseal("apply --yes")), 0);
    assert_eq!(live.generate(), [""; 0], "a stamp of this machine");
    let (before, id) = (live.files(), live.read("etc/machine-id"));

    live.become_machine(ELSEWHERE);
    assert_eq!(live.generate(), [TELLER]);
    let told = live.reseal("tell-clone");
    assert!(said(&told).contains("was made on another machine: this one is a copy"), "{}", said(&told));
    assert_eq!(code(&live.reseal("apply --stage system")), 0);
    assert_eq!(live.files(), before, "by default a copy is told, and nothing else");

    live.set_policy("[run]\non-clone = \"ignore\"\n");
    assert_eq!(live.generate(), [""; 0]);
    assert_eq!(code(&live.reseal("apply --stage system")), 0);

    live.set_policy("[run]\non-clone = \"reset\"\n");
    assert_eq!(sorted(live.generate()), woken());
    fs::create_dir_all(live.path("run/reseal")).unwrap();
    fs::write(live.path("run/reseal/booted"), "").unwrap();
    assert_eq!(live.generate(), [""; 0], "after the boot `systemctl daemon-reload` changes nothing");
    fs::remove_file(live.path("run/reseal/booted")).unwrap();
    // Cut off in the middle, and on again: the stamp is still the other machine's then.
    let reset = live.reseal("apply --stage system");
    assert_eq!(code(&reset), 0, "{}", said(&reset));
    assert!(said(&reset).contains("run.on-clone has it reset"), "{}", said(&reset));
    let new = live.read("etc/machine-id");
    assert_ne!(new, id);
    assert!(live.read("etc/reseal/stamp").contains(ELSEWHERE));
    assert!(said(&live.reseal("status")).contains("resealed"));
    assert_eq!(live.generate(), [""; 0], "now the stamp is this machine's");
    assert_eq!(code(&live.reseal("apply --stage system")), 0);
    assert_eq!(live.read("etc/machine-id"), new);
}

#[test]
fn a_copy_of_a_half_reset_copy_gets_values_of_its_own() {
    let Some(live) = Live::new("a_copy_of_a_half_reset_copy_gets_values_of_its_own") else { return };
    live.set_policy("[run]\non-clone = \"reset\"\n");
    assert_eq!(code(&live.reseal("apply --yes")), 0);
    let stamp = live.read("etc/reseal/stamp");
    live.become_machine(ELSEWHERE);
    assert_eq!(code(&live.reseal("apply --stage system")), 0);
    let id = live.read("etc/machine-id");
    // As if it had been cut before the last act: the run is written down, and the stamp is the old one still.
    let cut = || {
        fs::create_dir_all(live.path("etc/reseal/journal")).unwrap();
        fs::rename(live.path("etc/reseal/stamp"), live.path("etc/reseal/journal/run")).unwrap();
        fs::write(live.path("etc/reseal/stamp"), &stamp).unwrap();
        fs::write(live.path("var/lib/reseal/stamp"), &stamp).unwrap();
    };
    cut();
    assert_eq!(sorted(live.generate()), woken());
    assert_eq!(code(&live.reseal("apply --stage system")), 0);
    assert_eq!(live.read("etc/machine-id"), id, "here it goes on");
    cut();
    live.become_machine("aaaaaaaa-2222-4333-8444-555555555555");
    assert_eq!(sorted(live.generate()), woken());
    assert_eq!(code(&live.reseal("apply --stage system")), 0);
    assert_ne!(live.read("etc/machine-id"), id, "a copy of it begins anew");
}

#[test]
fn a_stamp_that_says_nothing_certain_resets_nothing_and_is_told() {
    let Some(live) = Live::new("a_stamp_that_says_nothing_certain_resets_nothing_and_is_told") else { return };
    live.set_policy("[run]\non-clone = \"reset\"\n");
    assert_eq!(code(&live.reseal("apply --yes")), 0);
    let (stamp, id) = (live.read("etc/reseal/stamp"), live.read("etc/machine-id"));
    let path = live.path("etc/reseal/stamp");
    let remove = || fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
    let put = |text: String| fs::write(&path, text).unwrap();
    let cases: [(&str, &dyn Fn(), &str); 6] = [
        ("by hand", &|| put(stamp.replace(HERE, ELSEWHERE)), "somebody has put it there"),
        ("of a later version", &|| put(stamp.replacen("\"version\": 1", "\"version\": 99", 1)), "a later reseal"),
        ("garbage", &|| put("{".to_owned()), "No boot resets this machine"),
        ("empty", &|| put(String::new()), "No boot resets this machine"),
        ("a directory", &|| fs::create_dir(&path).unwrap(), "No boot resets this machine"),
        (
            "a fifo",
            &|| nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            "No boot resets this machine",
        ),
    ];
    for (what, make, word) in cases {
        remove();
        make();
        let files = live.files();
        assert!(live.generate().contains(&TELLER.to_owned()), "{what}");
        let told = live.reseal("tell-clone");
        assert!(said(&told).contains(word), "{what}: {}", said(&told));
        for stage in ["early", "system", "keys"] {
            assert_eq!(code(&live.reseal(&format!("apply --stage {stage}"))), 0, "{what}");
        }
        assert_eq!((live.files(), live.read("etc/machine-id")), (files, id.clone()), "{what}");
    }
    remove();
    assert!(said(&live.reseal("apply --stage system")).contains("put back"));
    assert_eq!(live.read("etc/reseal/stamp"), stamp);
    // A policy with a mistake: a copy is told.
    live.become_machine(ELSEWHERE);
    live.set_policy("[run\n");
    assert_eq!(live.generate(), [TELLER]);
    assert_eq!(code(&live.reseal("apply --stage system")), 0);
    assert_eq!(live.read("etc/machine-id"), id);
}

#[test]
fn an_interface_that_comes_up_late_is_waited_for() {
    let Some(live) = Live::new("an_interface_that_comes_up_late_is_waited_for") else { return };
    live.set_policy("[run]\non-clone = \"reset\"\n");
    live.become_link("52:54:00:00:00:01");
    assert_eq!(code(&live.reseal("apply --yes")), 0);
    let id = live.read("etc/machine-id");
    assert_eq!(live.generate(), [""; 0]);
    // No driver yet, so nobody can tell: the units look again when it is there.
    fs::remove_dir_all(live.path("sys/class/net")).unwrap();
    assert_eq!(sorted(live.generate()), woken());
    live.become_link("52:54:00:00:00:01");
    assert_eq!(code(&live.reseal("apply --stage system")), 0);
    assert_eq!(live.read("etc/machine-id"), id);
    assert_eq!(said(&live.reseal("tell-clone")), "");
    // The same UUID, another interface.
    live.become_link("52:54:00:00:00:02");
    assert_eq!(code(&live.reseal("apply --stage system")), 0);
    assert_ne!(live.read("etc/machine-id"), id);
}

#[test]
fn the_policy_says_what_makes_a_copy() {
    let Some(live) = Live::new("the_policy_says_what_makes_a_copy") else { return };
    live.set_policy("[run]\non-clone = \"reset\"\nclone-by = [\"generation-id\"]\n");
    let page = live.path("sys/firmware/qemu_fw_cfg/by_name/etc/vmgenid_guid/raw");
    fs::create_dir_all(page.parent().unwrap()).unwrap();
    fs::write(&page, [[0; 40].as_slice(), &[1; 16]].concat()).unwrap();
    assert_eq!(code(&live.reseal("apply --yes")), 0);
    let id = live.read("etc/machine-id");
    live.become_machine(ELSEWHERE);
    assert_eq!(live.generate(), [""; 0], "the UUID does not count");
    fs::write(&page, [[0; 40].as_slice(), &[2; 16]].concat()).unwrap();
    assert_eq!(sorted(live.generate()), woken());
    assert_eq!(code(&live.reseal("apply --stage system")), 0);
    assert_ne!(live.read("etc/machine-id"), id);
    assert_eq!(live.generate(), [""; 0]);
}

#[test]
fn a_backup_in_a_new_machine_can_be_said_to_be_the_one() {
    let Some(live) = Live::new("a_backup_in_a_new_machine_can_be_said_to_be_the_one") else { return };
    assert_eq!(code(&live.reseal("apply --yes")), 0);
    let before = without_stamp(&live.files());
    live.become_machine(ELSEWHERE);
    assert_eq!(code(&live.reseal("adopt")), 0);
    assert!(said(&live.reseal("status")).contains("copied"));
    assert_eq!(code(&live.reseal("adopt --force")), 0);
    assert!(said(&live.reseal("status")).contains("adopted"));
    assert_eq!(without_stamp(&live.files()), before);
    assert_eq!(live.generate(), [""; 0]);
    let stamp = live.read("etc/reseal/stamp");
    assert_eq!(code(&live.reseal("adopt --force")), 0);
    assert_eq!(live.read("etc/reseal/stamp"), stamp, "a stamp of this machine stays");
}
