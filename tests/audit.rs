// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal audit` and `reseal verify` as a person and a script call them, on inventories that `reseal inspect` printed.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::case::Case;
use support::tree::copy;

/// Calls the program with files that do not fit into memory below a directory of the test.
fn reseal(arguments: &[&str], input: &[u8], tmp: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reseal"));
    command.args(arguments).env("TMPDIR", tmp).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // One that reads nothing closes the pipe.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().unwrap()
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A fleet: directories with guests, and one for their inventories.
struct Fleet {
    dir: tempfile::TempDir,
}

impl Fleet {
    /// Two copies of one guest, which has not been sealed.
    fn of_two_copies() -> Fleet {
        let fleet = Fleet { dir: tempfile::tempdir().unwrap() };
        let case = Case::all().into_iter().find(|case| case.name == "debian-whole").unwrap();
        case.make(&fleet.path("a"));
        copy(&fleet.path("a"), &fleet.path("b"));
        fs::create_dir(fleet.path("inventories")).unwrap();
        fs::create_dir(fleet.path("tmp")).unwrap();
        fleet.inspect("a");
        fleet.inspect("b");
        fleet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn call(&self, arguments: &[&str], input: &[u8]) -> Output {
        reseal(arguments, input, &self.path("tmp"))
    }

    fn inspect(&self, guest: &str) -> Value {
        let output = self.call(&["inspect", "--root", &self.name(guest), "--format", "json"], b"");
        assert!(output.status.success(), "{}", text(&output.stderr));
        fs::write(self.path(&format!("inventories/{guest}.json")), &output.stdout).unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str], input: &[u8]) -> (Option<i32>, Value) {
        let output = self.call(&[&["audit", "--format", "json"], arguments].concat(), input);
        let json = serde_json::from_slice(&output.stdout);
        (output.status.code(), json.unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr))))
    }
}

#[test]
fn copies_share_everything_until_they_are_reset() {
    let fleet = Fleet::of_two_copies();
    let inventories = fleet.name("inventories");
    let (status, report) = fleet.json(&[&inventories], b"");
    assert_eq!(status, Some(4));
    assert_eq!(report["version"], 1);
    let shared = report["shared"].as_array().unwrap();
    let values: BTreeSet<(String, String)> = fleet.inspect("a")["identities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| (id["kind"].as_str().unwrap().to_owned(), id["value"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(shared.len(), values.len(), "{shared:#?}");
    assert!(shared.iter().all(|one| one["guests"] == serde_json::json!(["a", "b"])), "{shared:#?}");
    assert_eq!(shared[0]["severity"], "error");

    // As JSON lines on standard input, named by their host name and line.
    let line = |guest: &str| serde_json::to_string(&fleet.inspect(guest)).unwrap() + "\n";
    let lines = line("a") + &line("b");
    let (status, report) = fleet.json(&["-"], lines.as_bytes());
    assert_eq!((status, report["guests"].as_u64()), (Some(4), Some(2)));
    assert_eq!(report["shared"].as_array().unwrap().len(), values.len());

    for guest in ["a", "b"] {
        assert_eq!(fleet.call(&["apply", "--root", &fleet.name(guest)], b"").status.code(), Some(0));
        fleet.inspect(guest);
    }
    let (status, report) = fleet.json(&[&inventories], b"");
    assert_eq!((status, &report["shared"]), (Some(0), &serde_json::json!([])));
}

#[test]
fn people_get_a_table_and_what_may_be_shared_is_said() {
    let fleet = Fleet::of_two_copies();
    let all = fleet.call(&["audit", &fleet.name("inventories/a.json"), &fleet.name("inventories/b.json")], b"");
    assert_eq!(all.status.code(), Some(4));
    let shown = text(&all.stdout);
    assert!(shown.starts_with("severity"), "{shown}");
    assert!(shown.contains("machine-id") && shown.contains("a, b"), "{shown}");
    let kinds: BTreeSet<String> = fleet.inspect("a")["identities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| format!("--allow={}", id["kind"].as_str().unwrap()))
        .collect();
    let inventories = fleet.name("inventories");
    let mut arguments = vec!["audit", &inventories];
    arguments.extend(kinds.iter().map(String::as_str));
    let none = fleet.call(&arguments, b"");
    assert_eq!(none.status.code(), Some(0));
    assert!(text(&none.stdout).contains(" 0 values are shared"), "{}", text(&none.stdout));
    assert!(text(&none.stdout).contains("are allowed to be"), "{}", text(&none.stdout));
    for wrong in [&["audit"][..], &["audit", "--allow", "hostnam", "-"], &["audit", "--html", "/nonexistent/x", "-"]] {
        let output = fleet.call(wrong, b"");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", text(&output.stderr));
    }
}

#[test]
fn what_cannot_be_read_is_named_by_file_and_line() {
    let fleet = Fleet::of_two_copies();
    let inventory = fs::read(fleet.path("inventories/b.json")).unwrap();
    let cut = &inventory[..inventory.len() / 2];
    fs::write(fleet.path("inventories/cut.json"), [cut, b"\n\0\xff\n", &inventory].concat()).unwrap();
    let inventories = fleet.name("inventories");
    let output = fleet.call(&["audit", &inventories, &fleet.name("missing.json")], b"");
    assert_eq!(output.status.code(), Some(4));
    let told = text(&output.stderr);
    assert!(told.contains("cut.json:1: "), "{told}");
    assert!(told.contains("missing.json: "), "{told}");
    assert!(text(&output.stdout).contains("3 guests, "), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("2 documents could not be read"), "{}", text(&output.stdout));
    let nothing = fleet.call(&["audit", "-"], b"nonsense");
    assert_eq!(nothing.status.code(), Some(1));
    assert!(text(&nothing.stderr).contains("-:1: "), "{}", text(&nothing.stderr));
}

#[test]
fn the_page_is_one_file_that_needs_no_other() {
    let fleet = Fleet::of_two_copies();
    let page = fleet.name("page.html");
    let evil = "</td><script>alert(1)</script>";
    let line = |name: &str| {
        let identities = serde_json::json!([{ "kind": "hostname", "subject": evil, "value": evil }]);
        serde_json::json!({ "version": 1, "guest": name, "identities": identities }).to_string() + "\n"
    };
    let lines = line("one") + &line(evil) + evil + "\n";
    let output = fleet.call(&["audit", "--html", &page, "-"], lines.as_bytes());
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    let html = fs::read_to_string(&page).unwrap();
    assert_eq!(html.matches("<script").count(), 1, "the page's own");
    assert!(html.contains("default-src 'none'"));
    for loads in ["<link", "<img", "<iframe", "://", "url(", "@import", "import("] {
        assert!(!html.contains(loads), "{loads}");
    }
    assert!(html.contains("&lt;/td&gt;&lt;script&gt;"));
    for (open, close) in [("<table>", "</table>"), ("<tr>", "</tr>"), ("<td", "</td>"), ("<th>", "</th>")] {
        assert_eq!(html.matches(open).count(), html.matches(close).count(), "{open}");
    }
    // Where nothing can be read the old page stays, and nothing lies beside it.
    assert_eq!(fleet.call(&["audit", "--html", &page, "-"], b"").status.code(), Some(1));
    assert_eq!(fs::read_to_string(&page).unwrap(), html);
    let beside: Vec<_> = fs::read_dir(fleet.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside.len(), 5, "{beside:?}");
}

#[test]
fn what_goes_to_files_is_found_and_leaves_none() {
    let fleet = Fleet::of_two_copies();
    // One value that all have: it is all in one part, which does not stay in memory.
    let line = |number: usize| {
        format!(
            "{{\"version\":1,\"guest\":\"g{number}\",\"identities\":[\
             {{\"kind\":\"ssh-host-key\",\"subject\":\"k\",\"value\":\"{:0>200}\"}}]}}\n",
            7
        )
    };
    let lines: String = (0..20_000).map(line).collect();
    let (status, report) = fleet.json(&["-"], lines.as_bytes());
    assert_eq!((status, report["shared-values"].as_u64()), (Some(4), Some(1)));
    assert_eq!(report["shared"][0]["guests"].as_array().unwrap().len(), 20_000);
    assert_eq!(fs::read_dir(fleet.path("tmp")).unwrap().count(), 0);
    let nowhere = reseal(&["audit", "-"], lines.as_bytes(), Path::new("/nonexistent"));
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).contains("/nonexistent"), "{}", text(&nowhere.stderr));
}

/// The checks of `reseal verify` on a guest that are not good, as check, about and subject.
fn bad(verdict: &Value) -> Vec<[String; 3]> {
    let checks = verdict["checks"].as_array().unwrap();
    let text = |check: &Value, field: &str| check[field].as_str().unwrap().to_owned();
    let bad = checks.iter().filter(|check| check["good"] == false);
    bad.map(|check| ["check", "about", "subject"].map(|field| text(check, field))).collect()
}

impl Fleet {
    fn verify(&self, guest: &str, arguments: &[&str]) -> (Option<i32>, Value) {
        let root = self.name(guest);
        let output = self.call(&[&["verify", "--root", &root, "--format", "json"], arguments].concat(), b"");
        let json = serde_json::from_slice(&output.stdout);
        (output.status.code(), json.unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr))))
    }
}

#[test]
fn a_clone_is_verified_against_its_template() {
    let fleet = Fleet::of_two_copies();
    let (root, template) = (fleet.name("b"), fleet.name("inventories/a.json"));
    // Before anything was done there is nothing to compare with, and everything is the template's.
    assert_eq!(fleet.call(&["verify", "--root", &root], b"").status.code(), Some(2));
    let (status, verdict) = fleet.verify("b", &["--against", &template]);
    assert_eq!(status, Some(4));
    let shared = fleet.inspect("b")["identities"].as_array().unwrap().len();
    assert_eq!(bad(&verdict).iter().filter(|[check, ..]| check == "differs").count(), shared);

    assert_eq!(fleet.call(&["apply", "--root", &root], b"").status.code(), Some(0));
    let (status, verdict) = fleet.verify("b", &["--against", &template]);
    assert_eq!((status, bad(&verdict)), (Some(0), Vec::new()));
    let count = |check: &str| verdict["checks"].as_array().unwrap().iter().filter(|one| one["check"] == check).count();
    assert!(count("differs") >= 4 && count("as recorded") >= 4 && count("loads") > 0, "{verdict:#}");
    let unchecked = verdict["unchecked"].to_string();
    assert!(unchecked.contains("does not run") && unchecked.contains("disks are not known"), "{unchecked}");

    // What is changed by hand afterwards shows, and what comes from the template, and what sshd could not load.
    let path = |name: &str| fleet.path("b").join(name);
    fs::write(path("etc/machine-id"), "fedcba9876543210fedcba9876543210\n").unwrap();
    let key = "etc/ssh/ssh_host_ed25519_key";
    for name in [key.to_owned(), format!("{key}.pub")] {
        fs::write(path(&name), fs::read(fleet.path("a").join(&name)).unwrap()).unwrap();
    }
    let (status, verdict) = fleet.verify("b", &["--against", &template]);
    assert_eq!(status, Some(4));
    let row = |check: &str, about: &str, subject: &str| [check.to_owned(), about.to_owned(), subject.to_owned()];
    let (subject, kind) = (format!("/{key}"), "ssh-host-key");
    let expected = [
        row("differs", kind, &subject),
        row("as recorded", "machine-id", "system"),
        row("as recorded", kind, &subject),
    ];
    assert_eq!(bad(&verdict), expected);
    let (_, verdict) = fleet.verify("b", &["--against", &template, "--allow", kind]);
    assert_eq!(bad(&verdict).len(), 2, "{:?}", bad(&verdict));
    fs::write(path(key), "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
    let (_, verdict) = fleet.verify("b", &[]);
    assert!(bad(&verdict).contains(&row("loads", kind, &subject)), "{verdict:#}");
    let human = text(&fleet.call(&["verify", "--root", &root], b"").stdout);
    assert!(human.contains("BAD") && human.contains(" failed\n"), "{human}");
    assert!(!human.contains("PRIVATE KEY"), "{human}");
    for wrong in ["/nonexistent", "/etc/hostname"] {
        assert_eq!(fleet.call(&["verify", "--root", &root, "--against", wrong], b"").status.code(), Some(2));
    }
}

/// Values that only the guest's own policy and catalogue renew are verified like the others.
#[test]
fn what_only_the_policy_renews_is_as_recorded() {
    let fleet = Fleet::of_two_copies();
    let path = |name: &str| fleet.path("b").join(name);
    fs::create_dir_all(path("var/lib/glusterd")).unwrap();
    fs::create_dir_all(path("etc/reseal/policy.d")).unwrap();
    let info = path("var/lib/glusterd/glusterd.info");
    fs::write(&info, "UUID=2a5d6a35-8a01-4a9f-9d6c-000000000002\noperating-version=100000\n").unwrap();
    let policy = "[residue]\nactions = { glusterfs-uuid = \"renew\" }\n";
    fs::write(path("etc/reseal/policy.d/gluster.toml"), policy).unwrap();
    assert_eq!(fleet.call(&["apply", "--root", &fleet.name("b")], b"").status.code(), Some(0));
    let template = fleet.name("inventories/a.json");
    let (status, verdict) = fleet.verify("b", &["--against", &template]);
    assert_eq!((status, bad(&verdict)), (Some(0), Vec::new()));
    let checks = verdict["checks"].as_array().unwrap();
    let is_it =
        |check: &&Value| check["subject"].as_str().unwrap().contains("glusterd") && check["check"] == "as recorded";
    assert!(checks.iter().any(|check| is_it(&check)), "{verdict:#}");
    fs::write(&info, "UUID=2a5d6a35-8a01-4a9f-9d6c-000000000002\n").unwrap();
    let (status, verdict) = fleet.verify("b", &["--against", &template]);
    assert!(status == Some(4) && bad(&verdict).len() == 1, "{:?}", bad(&verdict));
}

#[test]
fn what_seal_left_is_what_a_clone_is_verified_against() {
    let fleet = Fleet::of_two_copies();
    let root = fleet.name("b");
    assert_eq!(fleet.call(&["seal", "--root", &root], b"").status.code(), Some(0));
    assert_eq!(fleet.call(&["apply", "--root", &root], b"").status.code(), Some(0));
    assert!(fleet.path("b").join("etc/reseal/template").exists());
    assert!(!fleet.path("b").join("etc/reseal/sealed").exists());
    let (status, verdict) = fleet.verify("b", &[]);
    assert_eq!((status, bad(&verdict)), (Some(0), Vec::new()));
    assert!(!verdict["unchecked"].to_string().contains("template"), "{verdict:#}");
    // The template's key, brought back.
    let key = "etc/ssh/ssh_host_ed25519_key";
    for name in [key.to_owned(), format!("{key}.pub")] {
        fs::write(fleet.path("b").join(&name), fs::read(fleet.path("a").join(&name)).unwrap()).unwrap();
    }
    let (status, verdict) = fleet.verify("b", &[]);
    assert_eq!(status, Some(4));
    assert_eq!(bad(&verdict)[0][0], "differs");
}

/// Names of fields, wherever they are.
fn fields(value: &Value, path: &str, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            let path = format!("{path}.{name}");
            fields(value, &path, out);
            out.insert(path);
        }),
        Value::Array(list) => list.iter().for_each(|value| fields(value, &format!("{path}[]"), out)),
        _ => {}
    }
}

#[test]
fn every_version_of_the_form_is_read_and_this_one_is_what_inspect_prints() {
    let fleet = Fleet::of_two_copies();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inventories");
    let now = fleet.inspect("a");
    let mut known = BTreeSet::new();
    for version in 1..=now["version"].as_u64().unwrap() {
        let path = dir.join(format!("version-{version}.json"));
        let document = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let json: Value = serde_json::from_str(&document).unwrap();
        let (status, report) = fleet.json(&[path.to_str().unwrap()], b"");
        assert_eq!(status, Some(0));
        assert_eq!(report["broken-documents"], 0);
        // The machine's UUID is one more.
        assert_eq!(report["values"].as_u64().unwrap() as usize, json["identities"].as_array().unwrap().len() + 1);
        known.clear();
        fields(&json, "", &mut known);
    }
    let mut printed = BTreeSet::new();
    fields(&now, "", &mut printed);
    let unknown: Vec<_> = printed.difference(&known).collect();
    assert!(unknown.is_empty(), "not in the form of this version: {unknown:?}");
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/inventory.md")).unwrap();
    for field in &known {
        let name = field.rsplit('.').next().unwrap_or_default();
        assert!(page.contains(&format!("`{name}`")), "docs/inventory.md does not explain {field}");
    }
}
