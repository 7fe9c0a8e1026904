// SPDX-License-Identifier: MIT OR Apache-2.0
//! What looks like an identity that nobody knows is found; what is known, shipped or only alike is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::rig::Tree;

const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n-----END PRIVATE KEY-----\n";

fn private(tree: &Tree, path: &str, content: impl AsRef<[u8]>) {
    let path = tree.put(path, content);
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Rank, path and kind of each, in order.
fn suspects(tree: &Tree, arguments: &[&str]) -> (Option<i32>, Vec<String>) {
    let report = tree.scan_with(&[&["--suspect"], arguments].concat());
    let word = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let rows = report.document["suspects"].as_array().unwrap().iter();
    let rows = rows.map(|row| ["rank", "path", "what", "package"].map(|key| word(row, key)).join(" "));
    (report.exit, rows.collect())
}

#[test]
fn every_kind_is_found_and_ranked() {
    let tree = Tree::new();
    tree.put("etc/hostname", "golden\n");
    private(&tree, "srv/agent/key.pem", PEM);
    private(&tree, "opt/tool/state.json", format!("{{\"key\": {:?}}}", PEM));
    private(&tree, "etc/agent/store.p12", b"\x30\x82\x09\x01\x02\x01\x03\x30\x82\x01");
    private(&tree, "etc/agent/agent.conf", "# drawn\npassword = Xk29fLq0vBn3Zt7p\n");
    private(&tree, "var/lib/agent/seal", (0..=255).rev().collect::<Vec<u8>>());
    tree.put("var/lib/agent/machine-id", "7b1c2d3e4f5a46978899aabbccddeef1\n");
    tree.put("var/lib/agent/state.xml", "<id>0aaa1111-2b22-4333-8444-55555555555f</id>\n");
    tree.put("etc/agent/two", "0aaa1111-2b22-4333-8444-55555555555f 1aaa1111-2b22-4333-8444-55555555555f\n");
    let der = base64ct_pem(b"0\x0c\x0dgolden.local0");
    tree.put("etc/agent/cert.pem", der);
    tree.put("var/lib/dpkg/info/agent.list", "/etc\n/etc/agent\n/var/lib/agent\n");
    tree.put("var/lib/dpkg/info/base.list", "/etc\n");
    let (exit, rows) = suspects(&tree, &[]);
    assert_eq!(
        rows,
        [
            "high /etc/agent/store.p12 private-key agent",
            "high /opt/tool/state.json private-key -",
            "high /srv/agent/key.pem private-key -",
            "high /etc/agent/agent.conf secret agent",
            "high /var/lib/agent/seal secret agent",
            "medium /etc/agent/cert.pem certificate agent",
            "medium /var/lib/agent/machine-id id-file agent",
            "medium /var/lib/agent/state.xml id agent",
            "low /etc/agent/two id agent",
        ]
    );
    assert_eq!(exit, Some(4));
    for format in ["human", "json"] {
        let shown = String::from_utf8(tree.reseal(&["scan", "--suspect", "--format", format]).stdout).unwrap();
        assert!(shown.contains("setting password") && shown.contains("/etc/agent/agent.conf"), "{shown}");
        for secret in ["Xk29f", "MIIEv", "7b1c2d", "0aaa1111"] {
            assert!(!shown.contains(secret), "{secret} is shown:\n{shown}");
        }
    }
    let (exit, rows) = suspects(&tree, &["--set", "scan.allow=['/srv/**', '/opt/**', '/var/**', '/etc/agent/[a-s]*']"]);
    assert_eq!((exit, rows), (Some(0), vec!["low /etc/agent/two id agent".to_owned()]));
}

fn base64ct_pem(der: &[u8]) -> String {
    let text = std::process::Command::new("base64")
        .arg("-w64")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut child = text.unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), der).unwrap();
    let text = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    format!("-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n")
}

#[test]
fn what_is_known_or_shipped_is_not_told() {
    let tree = Tree::new();
    // A regenerator's, the catalogue's, reseal's own.
    tree.put("etc/machine-id", "7b1c2d3e4f5a46978899aabbccddeef1\n");
    tree.put("etc/ssh/sshd_config", "");
    tree.put("usr/sbin/sshd", "");
    private(&tree, "etc/ssh/ssh_host_rsa_key", PEM);
    private(&tree, "etc/munge/munge.key", (0..=255).rev().collect::<Vec<u8>>());
    tree.put("etc/reseal/offline", "0aaa1111-2b22-4333-8444-55555555555f");
    tree.put("etc/fstab", "UUID=0aaa1111-2b22-4333-8444-55555555555f / ext4 defaults 0 1\n");
    // A package's test key, its lists, and what only speaks of secrets.
    tree.put("usr/share/web/test.key", PEM);
    let sums = std::process::Command::new("md5sum").arg(tree.root().join("usr/share/web/test.key")).output().unwrap();
    let sum = String::from_utf8(sums.stdout).unwrap().split(' ').next().unwrap().to_owned();
    tree.put("var/lib/dpkg/info/web.list", "/usr/share/web/test.key\n");
    tree.put("var/lib/dpkg/info/web.md5sums", format!("{sum}  usr/share/web/test.key\n"));
    tree.put("var/lib/dpkg/info/uuid", "0aaa1111-2b22-4333-8444-55555555555f");
    tree.put("etc/tool.conf", "password = /etc/secret1234\ntoken = $TOKEN_1234567\n# secret = Xk29fLq0vBn3Zt7p\n");
    tree.put("etc/code.sh", "echo '-----BEGIN PRIVATE KEY-----'\n");
    tree.put("etc/fixed.xml", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b\n");
    std::os::unix::fs::symlink("/nonexistent", tree.root().join("etc/uuid-link")).unwrap();
    let (exit, rows) = suspects(&tree, &[]);
    assert_eq!((exit, rows), (Some(0), Vec::<String>::new()));
}

#[test]
fn a_real_debian_is_quiet() {
    let guests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/guests");
    let trees = fs::read_dir(guests).into_iter().flatten().flatten().map(|entry| entry.path());
    let Some(debian) = trees.into_iter().find(|path| path.join("var/lib/dpkg/status").exists()) else {
        // The tier `boot` makes it; this one needs none.
        return;
    };
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_reseal"))
        .args(["scan", "--suspect", "--format", "json", "--root"])
        .arg(&debian)
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["suspects"].as_array().unwrap();
    assert!(rows.len() <= 3, "{} suspects in {}: {rows:#?}", rows.len(), debian.display());
}
