// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program as a person or a script calls it, on guests that are directories.

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::case::Case;
use support::tree::{copy, describe};

/// A Debian guest with keys, from the case of that name.
fn guest() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let case = Case::all().into_iter().find(|case| case.name == "debian-whole").unwrap();
    case.make(&dir.path().join("root"));
    dir
}

fn reseal(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reseal")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn on(dir: &tempfile::TempDir, arguments: &[&str]) -> Output {
    let root = dir.path().join("root");
    reseal(&[&["--root", root.to_str().unwrap()], arguments].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

#[test]
fn a_bare_call_prints_help() {
    let output = reseal(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("Usage: reseal"));
    assert_eq!(reseal(&["--help"]).status.code(), Some(0));
    assert_eq!(reseal(&["--no-such-option"]).status.code(), Some(2));
    assert_eq!(reseal(&["--root", "/nonexistent", "--dry-run"]).status.code(), Some(1));
}

#[test]
fn a_dry_run_shows_the_plan_and_changes_nothing() {
    let dir = guest();
    let before = describe(dir.path(), true);
    let output = on(&dir, &["--dry-run"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(shown.contains("-tmpl\n"), "{shown}");
    let last = shown.lines().last().unwrap();
    assert_eq!(last, "8 changes, 0 findings");
    assert!(!shown.contains('\x1b'), "no colour where there is no terminal");
    let plan = json(&on(&dir, &["--dry-run", "--format", "json"]));
    assert_eq!(plan["version"], 1);
    assert_eq!(plan["steps"].as_array().unwrap().len(), 8);
    for key in ["kind", "subject", "old", "new"] {
        assert!(plan["renewals"][0].get(key).is_some(), "{key}");
    }
    assert_eq!(describe(dir.path(), true), before);
}

#[test]
fn apply_resets_once_and_says_what_it_did() {
    let dir = guest();
    let done = json(&on(&dir, &["apply", "--format", "json"]));
    let root = dir.path().join("root");
    let id = fs::read_to_string(root.join("etc/machine-id")).unwrap();
    assert_eq!(done["renewals"][0]["new"], id.trim());
    let key =
        done["renewals"].as_array().unwrap().iter().find(|r| r["subject"] == "/etc/ssh/ssh_host_ed25519_key").unwrap();
    assert!(key["new"].as_str().unwrap().starts_with("SHA256:"));
    let again = on(&dir, &["apply"]);
    assert!(text(&again.stdout).contains("0 changes, 0 findings"), "{}", text(&again.stdout));
    assert_eq!(fs::read_to_string(root.join("etc/machine-id")).unwrap(), id);
    // A new run on request.
    json(&on(&dir, &["apply", "--renew", "--format", "json"]));
    assert_ne!(fs::read_to_string(root.join("etc/machine-id")).unwrap(), id);
    let status = json(&on(&dir, &["status", "--format", "json"]));
    assert_eq!(status["state"], "offline");
}

#[test]
fn apply_prints_fingerprints_between_the_known_lines() {
    let dir = guest();
    let shown = text(&on(&dir, &["apply"]).stdout);
    let (_, rest) = shown.split_once("-----BEGIN SSH HOST KEY FINGERPRINTS-----\n").unwrap();
    let (lines, _) = rest.split_once("-----END SSH HOST KEY FINGERPRINTS-----\n").unwrap();
    assert_eq!(lines.lines().count(), 2);
    assert!(lines.lines().all(|line| line.starts_with("256 SHA256:") && line.ends_with(')')), "{lines}");
    assert!(shown.contains("-----BEGIN SSH HOST KEY KEYS-----\n"));
    assert!(!shown.contains("PRIVATE"));
}

#[test]
fn an_earlier_plan_is_applied_exactly_or_refused() {
    let dir = guest();
    let plan = dir.path().join("plan.json");
    let output = on(&dir, &["--dry-run", "--format", "json"]);
    fs::write(&plan, &output.stdout).unwrap();
    let wanted: Value = serde_json::from_slice(&output.stdout).unwrap();
    let other = tempfile::tempdir().unwrap();
    copy(&dir.path().join("root"), &other.path().join("root"));
    fs::write(other.path().join("root/etc/hosts"), "127.0.1.1 tmpl # changed since\n").unwrap();
    let before = describe(other.path(), true);
    let refused = on(&other, &["apply", "--plan", plan.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("changed since the plan was made"), "{}", text(&refused.stderr));
    assert_eq!(describe(other.path(), true), before);
    let done = json(&on(&dir, &["apply", "--format", "json", "--plan", plan.to_str().unwrap()]));
    assert_eq!(done["renewals"][0]["new"], wanted["renewals"][0]["new"]);
    // A plan is for one run: the guest is another now.
    assert_eq!(on(&dir, &["apply", "--plan", plan.to_str().unwrap()]).status.code(), Some(1));
    fs::write(&plan, "{}").unwrap();
    assert_eq!(on(&dir, &["apply", "--plan", plan.to_str().unwrap()]).status.code(), Some(2));
    fs::write(&plan, "not json").unwrap();
    assert_eq!(on(&dir, &["apply", "--plan", plan.to_str().unwrap()]).status.code(), Some(2));
}

#[test]
fn a_mistake_in_the_policy_is_named_and_nothing_is_touched() {
    let dir = guest();
    let policy = dir.path().join("root/etc/reseal/policy.toml");
    fs::create_dir_all(policy.parent().unwrap()).unwrap();
    let wrong: [(&[u8], &str); 8] = [
        (b"[hostnam]\n", "line 1: unknown table `hostnam`; did you mean `hostname`?"),
        (b"\n[hostname]\nnam = \"x\"\n", "line 3: unknown field `nam`"),
        (b"[hostname]\nname = 7\n", "line 2: "),
        (b"[hostname]\nname = \"a b\"\n", "line 2: "),
        (b"[machine-id]\nmode = \"emtpy\"\n", "did you mean `empty`?"),
        (b"[run]\nwhere = [\"vn\"]\n", "did you mean `vm`?"),
        (b"[hostname\n", "line 1: "),
        (b"[hostname]\nname = \"\xff\"\n", "line 2: not UTF-8"),
    ];
    for (content, message) in wrong {
        fs::write(&policy, content).unwrap();
        let before = describe(dir.path(), true);
        for arguments in [&["apply"][..], &["--dry-run"], &["seal"], &["policy", "check"], &["list"]] {
            let output = on(&dir, arguments);
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
            assert!(error.contains("/etc/reseal/policy.toml: ") && error.contains(message), "{error}");
        }
        assert_eq!(describe(dir.path(), true), before);
    }
    fs::File::create(&policy).unwrap().set_len(1 << 30).unwrap();
    assert_ne!(on(&dir, &["apply"]).status.code(), Some(0));
}

#[test]
fn policy_comes_from_its_places_in_order() {
    let dir = guest();
    let root = dir.path().join("root");
    let put = |path: &str, name: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("[hostname]\nname = \"{name}\"\n")).unwrap();
    };
    let name = |arguments: &[&str]| {
        let shown = json(&on(&dir, &[&["policy", "show", "--format", "json"], arguments].concat()));
        shown["settings"]["hostname"]["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(name(&[]), "{hostname}-{random:6}");
    for (path, expected) in [
        ("usr/lib/reseal/policy.d/10.toml", "vendor"),
        ("etc/reseal/policy.toml", "admin"),
        ("etc/reseal/policy.d/20.toml", "admin-drop-in-20"),
        ("etc/reseal/policy.d/30.toml", "admin-drop-in-30"),
    ] {
        put(path, expected);
        assert_eq!(name(&[]), expected);
    }
    let file = dir.path().join("own.toml");
    fs::write(&file, "[hostname]\nname = \"from-file\"\n").unwrap();
    assert_eq!(name(&["--policy", file.to_str().unwrap()]), "from-file");
    put("run/reseal/policy.d/10.toml", "runtime");
    assert_eq!(name(&["--policy", file.to_str().unwrap()]), "runtime");
    assert_eq!(name(&["--set", "hostname.name=set"]), "set");
    fs::write(&file, "[hostname]\nmode = \"keep\"\n").unwrap();
    fs::remove_file(root.join("run/reseal/policy.d/10.toml")).unwrap();
    assert_eq!(
        name(&["--policy", file.to_str().unwrap()]),
        "vendor",
        "--policy stands in for the files under /etc only"
    );
    assert_eq!(on(&dir, &["policy", "show", "--set", "hostname.nam=x"]).status.code(), Some(2));
    assert_eq!(on(&dir, &["policy", "show", "--only", "hostnme"]).status.code(), Some(2));
    let shipped = text(&reseal(&["policy", "default"]).stdout);
    fs::write(&file, shipped).unwrap();
    assert_eq!(on(&dir, &["policy", "check", "--policy", file.to_str().unwrap()]).status.code(), Some(0));
}

#[test]
fn only_and_skip_choose_regenerators() {
    let dir = guest();
    let kinds = |arguments: &[&str]| -> Vec<String> {
        let plan = json(&on(&dir, &[&["--dry-run", "--format", "json"], arguments].concat()));
        let mut kinds: Vec<String> =
            plan["renewals"].as_array().unwrap().iter().map(|r| r["kind"].as_str().unwrap().to_owned()).collect();
        kinds.dedup();
        kinds
    };
    assert_eq!(kinds(&["--only", "hostname"]), ["hostname"]);
    assert_eq!(kinds(&["--skip", "hostname,machine-id,residue,credential-secret"]), ["ssh-host-key"]);
}

#[test]
fn sealing_leaves_a_template_whose_copies_differ() {
    let dir = guest();
    let sealed = on(&dir, &["seal"]);
    assert_eq!(sealed.status.code(), Some(0), "{}", text(&sealed.stderr));
    let root = dir.path().join("root");
    assert_eq!(fs::read_to_string(root.join("etc/machine-id")).unwrap(), "");
    assert!(!root.join("etc/ssh/ssh_host_ed25519_key").exists());
    assert!(!root.join("etc/reseal/journal").exists());
    let record = fs::read_to_string(root.join("etc/reseal/sealed")).unwrap();
    assert!(record.contains("\"seed\": null"), "clones must not share a seed: {record}");
    assert_eq!(json(&on(&dir, &["status", "--format", "json"]))["state"], "sealed");
    let again = on(&dir, &["seal"]);
    assert!(text(&again.stdout).contains("0 changes"), "{}", text(&again.stdout));
    let values = |name: &str| {
        let copied = tempfile::tempdir().unwrap();
        copy(&root, &copied.path().join("root"));
        let done = json(&on(&copied, &["apply", "--format", "json"]));
        assert!(
            copied.path().join("root/etc/ssh/ssh_host_ecdsa_key").exists(),
            "{name}: the set that the template had"
        );
        let renewals = done["renewals"].as_array().unwrap().clone();
        renewals.into_iter().filter_map(|r| r["new"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let (one, two) = (values("one"), values("two"));
    assert_eq!(one.len(), two.len());
    assert!(one.len() >= 4 && one.iter().all(|value| !two.contains(value)), "{one:?} {two:?}");
}

#[test]
fn inspect_list_and_status_are_one_document_each() {
    let dir = guest();
    let inventory = json(&on(&dir, &["inspect", "--format", "json"]));
    assert_eq!(inventory["machine"]["place"], "offline");
    let found = inventory["identities"].as_array().unwrap();
    assert!(found.iter().any(|id| id["kind"] == "machine-id" && id["value"] == "0123456789abcdef0123456789abcdef"));
    let list = json(&on(&dir, &["list", "--format", "json"]));
    let seed = list["residue"].as_array().unwrap().iter().find(|entry| entry["id"] == "random-seed").unwrap();
    assert_eq!(seed["found"], serde_json::json!(["var/lib/systemd/random-seed"]));
    assert_eq!(json(&on(&dir, &["status", "--format", "json"]))["state"], "unsealed");
    for arguments in [&["inspect"][..], &["list"], &["status"], &["policy", "show"]] {
        let output = on(&dir, arguments);
        assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_demo_shares_nothing_and_leaves_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_reseal"))
        .args(["demo", "--format", "json"])
        .env("TMPDIR", tmp.path())
        .output()
        .unwrap();
    let shown = json(&output);
    assert_eq!(shown["shared"], 0);
    assert!(shown["identities"].as_array().unwrap().len() >= 10);
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
    // It fails when something stays shared.
    let kept = Command::new(env!("CARGO_BIN_EXE_reseal"))
        .args(["demo", "--set", "machine-id.mode=keep"])
        .env("TMPDIR", tmp.path())
        .output()
        .unwrap();
    assert_eq!(kept.status.code(), Some(4));
    assert!(text(&kept.stdout).contains("SHARED"));
}

#[test]
fn two_runs_at_once_do_not_mix() {
    let dir = guest();
    let root = dir.path().join("root");
    let guest = reseal::guest::Guest::open(&root).unwrap();
    let lock = reseal::apply::lock(&guest).unwrap();
    let refused = on(&dir, &["apply"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("another run"), "{}", text(&refused.stderr));
    drop(lock);
    assert!(on(&dir, &["apply"]).status.success());
}

/// The real thing: the process is killed at random moments, and run again.
#[test]
fn a_killed_run_resumes() {
    let template = guest();
    let mut killed = 0;
    for round in 0u64..24 {
        let dir = tempfile::tempdir().unwrap();
        copy(&template.path().join("root"), &dir.path().join("root"));
        let root = dir.path().join("root");
        let mut child = Command::new(env!("CARGO_BIN_EXE_reseal"))
            .args(["apply", "--root", root.to_str().unwrap()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(500 + round * 900));
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().signal().is_some());
        let first = journal_values(&root);
        let done = json(&on(&dir, &["apply", "--format", "json"]));
        for (subject, value) in first {
            let renewal = done["renewals"].as_array().unwrap().iter().find(|r| r["subject"] == subject.as_str());
            assert_eq!(renewal.unwrap()["new"], value.as_str(), "what was decided before the kill stays decided");
        }
        assert!(!root.join("etc/reseal/journal").exists());
        let left = describe(&root, false);
        assert!(!left.contains(".reseal "), "{left}");
        assert!(!left.contains("0123456789abcdef"), "{left}");
    }
    assert!(killed > 2, "the rounds were too slow to kill anything: {killed}");
}

/// Derived values that the journal of a cut run holds.
fn journal_values(root: &Path) -> Vec<(String, String)> {
    let Ok(journal) = fs::read(root.join("etc/reseal/journal/run")) else { return Vec::new() };
    let journal: Value = serde_json::from_slice(&journal).unwrap();
    let renewals = journal["renewals"].as_array().unwrap();
    let derived = renewals.iter().filter(|r| r["kind"] != "ssh-host-key");
    derived.filter_map(|r| Some((r["subject"].as_str()?.to_owned(), r["new"].as_str()?.to_owned()))).collect()
}

#[test]
fn a_polite_stop_comes_between_two_steps_and_is_resumed() {
    let dir = guest();
    let root = dir.path().join("root");
    // Keys of this size take long enough for the signal to come while they are made.
    let slow = ["--set", "ssh-host-keys.types=[\"rsa-4096\"]", "--root", root.to_str().unwrap(), "apply"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_reseal")).args(slow).stdout(Stdio::null()).spawn().unwrap();
    while !root.join("etc/reseal/journal/run").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(json(&on(&dir, &["status", "--format", "json"]))["state"], "unfinished");
    assert!(reseal(&slow).status.success());
    assert!(!root.join("etc/reseal/journal").exists());
}

/// Every kind of way out of a root, each towards a tree beside it that must be neither read nor written.
#[test]
fn nothing_outside_the_root_is_read_or_written() {
    let dir = guest();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    fs::create_dir_all(outside.join("sub")).unwrap();
    let secret = "outside-secret-name";
    for name in ["machine-id", "hostname", "hosts", "seed", "sub/journal", "sub/stamp", "sshd_config", "passwd"] {
        fs::write(outside.join(name), format!("{secret}\n")).unwrap();
    }
    let way_out = |path: &str, target: String| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir_all(&path);
        std::os::unix::fs::symlink(target, path).unwrap();
    };
    let absolute = outside.to_str().unwrap().to_owned();
    way_out("etc/hostname", "../../outside/hostname".into());
    way_out("etc/hosts", format!("{absolute}/hosts"));
    way_out("etc/machine-id", "../../../../../../../../../../../../../../etc/machine-id".into());
    way_out("etc/reseal", "../../outside/sub".into());
    way_out("etc/passwd", format!("{absolute}/passwd"));
    way_out("etc/ssh/sshd_config.d", absolute.clone());
    way_out("var/lib/systemd", format!("{absolute}/sub"));
    way_out("var/lib/dhcp", "../../../outside".into());
    way_out("var/log", absolute.clone());
    way_out("boot", "/../../../../..".into());
    way_out("usr/lib/reseal", format!("{absolute}/../outside"));
    fs::write(
        root.join("etc/ssh/sshd_config"),
        format!("Include {absolute}/sshd_config\nHostKey ../../../outside/seed\n"),
    )
    .unwrap();
    let before = describe(&outside, true);
    let host_id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    for arguments in [
        &["--dry-run"][..],
        &["--dry-run", "--format", "json"],
        &["inspect"],
        &["list"],
        &["status"],
        &["apply"],
        &["apply", "--renew"],
        &["seal"],
    ] {
        if arguments == ["apply"] {
            // A link in place of reseal's own directory stops every run; the rest of the ways out is tried without it.
            assert_eq!(on(&dir, &["apply"]).status.code(), Some(1));
            fs::remove_file(root.join("etc/reseal")).unwrap();
        }
        let output = on(&dir, arguments);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(!said.contains(secret), "{arguments:?}: {said}");
        assert!(host_id.len() < 32 || !said.contains(host_id.trim()), "{arguments:?}: {said}");
        assert_eq!(describe(&outside, true), before, "{arguments:?}");
    }
    // It did its work, inside.
    assert!(fs::symlink_metadata(root.join("etc/machine-id")).unwrap().is_file());
    assert!(root.join("etc/reseal/sealed").exists());
}

#[test]
fn mistakes_that_show_only_with_the_catalogue_are_mistakes_in_the_policy() {
    let dir = guest();
    let before = describe(dir.path(), true);
    for (set, message) in [
        ("residue.enable=[\"shell-histori\"]", "no entry `shell-histori`; did you mean `shell-history`?"),
        ("residue.groups=[\"cor\"]", "no group `cor`; did you mean `core`?"),
        ("ssh-host-keys.types=[\"rsa-2048\",\"rsa-4096\"]", "would share the file"),
        ("ssh-host-keys.sshfp=\"../../x\"", "no absolute path"),
        ("run.where=[\"offline\"]", "unknown variant"),
    ] {
        for command in ["apply", "policy"] {
            let arguments =
                if command == "policy" { &["policy", "check", "--set", set][..] } else { &["apply", "--set", set] };
            let output = on(&dir, arguments);
            assert_eq!(output.status.code(), Some(2), "{set}: {}", text(&output.stderr));
            assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));
        }
    }
    assert_eq!(describe(dir.path(), true), before);
    let entry = dir.path().join("root/etc/reseal/catalogue.d/site.toml");
    fs::create_dir_all(entry.parent().unwrap()).unwrap();
    fs::write(entry, "[[residue]]\nid = \"x\"\nabuot = \"y\"\n").unwrap();
    let output = on(&dir, &["apply"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("/etc/reseal/catalogue.d/site.toml: line 3: unknown field `abuot`"));
}

#[test]
fn a_dry_run_stays_one_whatever_stands_beside_it() {
    let dir = guest();
    assert!(on(&dir, &["seal"]).status.success());
    let before = describe(dir.path(), true);
    for arguments in
        [&["--dry-run", "apply", "--stage", "system"][..], &["--dry-run", "seal"], &["apply", "--renew", "--dry-run"]]
    {
        assert!(on(&dir, arguments).status.success());
        assert_eq!(describe(dir.path(), true), before, "{arguments:?}");
    }
}

#[test]
fn quotes_follow_with_any_selection_unless_they_are_skipped_by_name() {
    let dir = guest();
    let shown = text(&on(&dir, &["--dry-run", "--only", "hostname"]).stdout);
    assert!(shown.contains("write /etc/hosts"), "{shown}");
    let shown = text(&on(&dir, &["--dry-run", "--skip", "references"]).stdout);
    assert!(!shown.contains("write /etc/hosts") && shown.contains("were not looked at"), "{shown}");
}

#[test]
fn sealing_twice_forgets_nothing_and_an_offline_reset_ends_the_seal() {
    let dir = guest();
    let root = dir.path().join("root");
    assert!(on(&dir, &["seal"]).status.success());
    let first: Value = serde_json::from_slice(&fs::read(root.join("etc/reseal/sealed")).unwrap()).unwrap();
    assert!(on(&dir, &["seal"]).status.success());
    let second: Value = serde_json::from_slice(&fs::read(root.join("etc/reseal/sealed")).unwrap()).unwrap();
    let olds = |record: &Value| {
        let renewals = record["renewals"].as_array().unwrap().clone();
        let mut olds: Vec<String> = renewals.iter().filter_map(|r| r["old"].as_str().map(str::to_owned)).collect();
        olds.sort();
        olds
    };
    assert_eq!(olds(&first), olds(&second));
    assert!(on(&dir, &["apply"]).status.success());
    assert!(!root.join("etc/reseal/sealed").exists(), "an id that is made now must not be taken for one of PID 1's");
}

#[test]
fn an_unmounted_mount_point_is_no_guest() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["apply", "seal"] {
        let output = reseal(&["--root", dir.path().to_str().unwrap(), command]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("has no /etc"), "{}", text(&output.stderr));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
