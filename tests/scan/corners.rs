// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a value can hide, and where the scan must not go.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::rig::{Tree, name};
use super::support::case::Case;

const UUID: &str = "0aaa1111-2b22-4333-8444-55555555555f";

fn old() -> [&'static str; 2] {
    ["fs-uuid=0aaa1111-2b22-4333-8444-55555555555f", "hostname=template"]
}

#[test]
fn names_and_targets() {
    let tree = Tree::new();
    tree.put(&format!("srv/{UUID}.conf"), "");
    tree.put(&format!("srv/{}/below", UUID.replace('-', "")), "x");
    tree.put("srv/template/below", "x");
    symlink(format!("/dev/disk/by-uuid/{UUID}"), tree.root().join("srv/link")).unwrap();
    tree.put("srv/templates", "");
    let rows = tree.scan(&old()).rows("left");
    let row = |path: &str, place: &str, form: &str| (path.to_owned(), place.to_owned(), form.to_owned());
    assert_eq!(
        rows,
        [
            row(&format!("/srv/{UUID}.conf"), "name", "plain"),
            row(&format!("/srv/{}", UUID.replace('-', "")), "name", "bare"),
            row("/srv/link", "target", "plain"),
            row("/srv/template", "name", "plain"),
        ]
    );
}

#[test]
fn over_the_ends_of_blocks_and_behind_holes() {
    let tree = Tree::new();
    for (number, before) in (262_000..263_000).step_by(7).chain([524_287, 1 << 20, 3_000_001]).enumerate() {
        let mut content = vec![b' '; before];
        content.extend_from_slice(format!("{UUID} template").as_bytes());
        content.resize(content.len() + number * 13 % 700, b' ');
        tree.put(&format!("srv/{number}"), content);
    }
    let mut sparse = File::create(tree.root().join("srv/sparse")).unwrap();
    for at in [1 << 20, 1 << 33, (1 << 34) + 4000] {
        sparse.seek(SeekFrom::Start(at)).unwrap();
        sparse.write_all(UUID.as_bytes()).unwrap();
    }
    sparse.set_len(1 << 40).unwrap();
    let report = tree.scan(&old());
    let files = fs::read_dir(tree.root().join("srv")).unwrap().count();
    assert_eq!(report.rows("left").len(), 2 * files - 1);
    assert_eq!(report.row("/srv/sparse")["times"], 3);
    assert_eq!(report.row("/srv/sparse")["offsets"][2], (1u64 << 34) + 4000);
    assert!(report.document["bytes"].as_u64().unwrap() < 200_000_000, "holes are not read");
}

#[test]
fn what_is_outside_is_never_reached() {
    let tree = Tree::new();
    fs::create_dir(tree.beside("outside")).unwrap();
    fs::write(tree.beside("outside/secret"), UUID).unwrap();
    symlink(tree.beside("outside"), tree.root().join("dir")).unwrap();
    symlink(tree.beside("outside/secret"), tree.root().join("file")).unwrap();
    symlink("../../outside/secret", tree.root().join("etc/up")).unwrap();
    symlink(".", tree.root().join("loop")).unwrap();
    nix::unistd::mkfifo(&tree.root().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.root().join("socket")).unwrap();
    let report = tree.scan(&old());
    assert_eq!(report.paths("left"), [""; 0]);
    assert_eq!(report.exit, Some(0));
    assert_eq!(report.document["unread-count"], 0);
}

#[test]
fn a_file_of_two_names_is_told_once_and_depth_has_no_end() {
    let tree = Tree::new();
    let first = tree.put("srv/first", UUID);
    fs::hard_link(&first, tree.root().join("srv/second")).unwrap();
    // Deeper than PATH_MAX, and than there are file descriptors.
    let mut here = nix::fcntl::open(&tree.root(), nix::fcntl::OFlag::O_PATH, nix::sys::stat::Mode::empty()).unwrap();
    for _ in 0..1500 {
        nix::sys::stat::mkdirat(&here, "deep-down", nix::sys::stat::Mode::S_IRWXU).unwrap();
        here =
            nix::fcntl::openat(&here, "deep-down", nix::fcntl::OFlag::O_PATH, nix::sys::stat::Mode::empty()).unwrap();
    }
    let flags = nix::fcntl::OFlag::O_WRONLY | nix::fcntl::OFlag::O_CREAT;
    let file = nix::fcntl::openat(&here, "last", flags, nix::sys::stat::Mode::S_IRWXU).unwrap();
    File::from(file).write_all(UUID.as_bytes()).unwrap();
    let report = tree.scan(&old());
    let paths = report.paths("left");
    assert_eq!(paths.len(), 2);
    assert!(paths[0].ends_with("deep-down/last") && paths[0].len() > 15_000, "{}", paths[0].len());
    // What made it cannot remove it by path either.
    assert!(std::process::Command::new("rm").arg("-rf").arg(tree.root().join("deep-down")).status().unwrap().success());
}

#[test]
fn lines_are_named_and_nothing_private_is_shown() {
    let tree = Tree::new();
    tree.put("etc/public", format!("one\n# root of template is {UUID} here\n{UUID}\n"));
    let private = tree.put("etc/private", format!("password-of-template {UUID}\n"));
    fs::set_permissions(private, fs::Permissions::from_mode(0o640)).unwrap();
    tree.put("root/inside", format!("password-of-template {UUID}\n"));
    fs::set_permissions(tree.root().join("root"), fs::Permissions::from_mode(0o700)).unwrap();
    let report = tree.scan(&old()[..1]);
    let row = report.row("/etc/public");
    assert_eq!((&row["lines"], &row["times"]), (&serde_json::json!([2, 3]), &2.into()));
    assert!(row["text"].as_str().unwrap().contains("root of template is"));
    for format in ["json", "human"] {
        let shown = tree.reseal(&["scan", "--old", old()[0], "--format", format]);
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(shown.contains("/etc/private") && shown.contains("/root/inside"), "{shown}");
        assert!(!shown.contains("password-of"), "{shown}");
    }
}

#[test]
fn the_policy_allows_and_packages_and_records_explain() {
    let tree = Tree::new();
    tree.put("var/log/syslog", "template");
    tree.put("var/log/deep/er", "template");
    tree.put("var/lib/log", "template");
    tree.put("etc/reseal/old", "template");
    tree.put("var/lib/reseal/old", "template");
    tree.put("usr/share/shipped", "abc template");
    tree.put("usr/share/changed", "abc template!");
    tree.put("usr/share/template/x", "");
    let sum = "8bb19a9ad6b1e7dd2d5c7e0ee4ad2fe4";
    tree.put(
        "var/lib/dpkg/info/p.list",
        "/.\n/usr\n/usr/share\n/usr/share/shipped\n/usr/share/changed\n/usr/share/template\n/usr/share/template/x\n",
    );
    let sums = std::process::Command::new("md5sum").arg(tree.root().join("usr/share/shipped")).output().unwrap();
    let sum = String::from_utf8(sums.stdout).unwrap().split(' ').next().map_or(sum.to_owned(), str::to_owned);
    tree.put("var/lib/dpkg/info/p.md5sums", format!("{sum}  usr/share/shipped\n{sum}  usr/share/changed\n"));
    let report = tree.scan_with(&["--old", old()[1], "--set", "scan.allow=['/var/log/**']"]);
    assert_eq!(report.paths("allowed"), ["/var/log/deep/er", "/var/log/syslog"]);
    assert_eq!(report.paths("record"), ["/etc/reseal/old", "/var/lib/reseal/old"]);
    assert_eq!(report.paths("shipped"), ["/usr/share/shipped", "/usr/share/template", "/var/lib/dpkg/info/p.list"]);
    assert_eq!(report.paths("left"), ["/usr/share/changed", "/var/lib/log"]);
    assert_eq!(report.row("/usr/share/changed")["package"], "p");
    let allow = "scan.allow=['/var/**', '/usr/share/changed']";
    let report = tree.scan_with(&["--old", old()[1], "--set", allow]);
    assert_eq!((report.exit, report.paths("left").len()), (Some(0), 0));
}

#[test]
fn what_cannot_be_read_is_no_proof() {
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let tree = Tree::new();
    let closed = tree.put("srv/closed", UUID);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let report = tree.scan(&old());
    assert_eq!(report.exit, Some(1));
    assert_eq!(report.document["unread"][0][0], "/srv/closed");
}

#[test]
fn mistakes_of_the_call() {
    let tree = Tree::new();
    let list = tree.put("list", "# old values\nfs-uuid=0aaa1111-2b22-4333-8444-55555555555f\n\nhostname=template\n");
    let list = list.to_str().unwrap();
    for (arguments, part) in [
        (&["scan"][..], "no record of what it was"),
        (&["scan", "--old", "template"], "expected KIND=VALUE"),
        (&["scan", "--old", "hostnam=template"], "unknown kind `hostnam`"),
        (&["scan", "--old", "hostname=x"], "shorter than 3"),
        (&["scan", "--old", "hostname=localhost"], "no name of one host"),
        (&["scan", "--old", "machine-id=uninitialized"], "no machine-id"),
        (&["scan", "--old", "mac-address=00:00:00:00:00:00"], "no address"),
        (&["scan", "--values", "/nonexistent"], "No such file"),
        (&["scan", "--against", list], "expected"),
        (&["scan", "--set", "scan.allow=['var']", "--values", list], "no absolute path"),
        (&["scan", "--image", list], "mount it"),
    ] {
        let output = tree.reseal(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    // The list itself, in the tree or not, is none of what is left.
    let report = tree.scan_with(&["--values", list]);
    assert_eq!((report.exit, report.document["values"].as_array().unwrap().len()), (Some(0), 2));
}

/// A Debian guest is reset; the template is planted here and there, and told by the run's own record.
#[test]
fn after_a_reset_only_what_was_planted_is_left() {
    let tree = Tree::new();
    let case = Case::all().into_iter().find(|case| case.name == "debian-whole").unwrap();
    fs::remove_dir_all(tree.root()).unwrap();
    case.make(&tree.root());
    let key = fs::read(tree.root().join("etc/ssh/ssh_host_ed25519_key")).unwrap();
    let id = fs::read_to_string(tree.root().join("etc/machine-id")).unwrap();
    let inventory = tree.reseal(&["inspect", "--format", "json"]);
    assert!(tree.reseal(&["apply", "--skip", "references"]).status.success());
    let inventory_path: PathBuf = tree.beside("template.json");
    fs::write(&inventory_path, inventory.stdout).unwrap();
    let quoting = tree.scan_with(&[]).paths("left");
    assert!(quoting.contains(&"/etc/hosts".to_owned()), "{quoting:?}");
    // What the record says and what the template's inventory says is the same.
    let against = ["--no-records", "--against", inventory_path.to_str().unwrap()];
    assert_eq!(tree.scan_with(&against).paths("left"), quoting);
    for path in quoting {
        fs::remove_file(tree.root().join(&path[1..])).unwrap();
    }
    let clean = tree.scan_with(&[]);
    assert_eq!((clean.exit, clean.paths("left").len()), (Some(0), 0));
    assert!(!clean.paths("record").is_empty());
    let copy = tree.put("var/backups/key", key);
    tree.put("var/lib/agent/state", format!("{{\"machine\":\"{}\"}}", id.trim().to_uppercase()));
    let report = tree.scan_with(&[]);
    assert_eq!(report.exit, Some(4));
    assert_eq!(report.paths("left"), ["/var/backups/key", "/var/lib/agent/state"]);
    assert_eq!(name(&copy), "key");
    assert!(report.row("/var/backups/key")["advice"].as_str().unwrap().contains("private key"));
}
