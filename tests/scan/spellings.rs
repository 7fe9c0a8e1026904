// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every spelling of every kind is found, in text and between bytes, and what is only like it is not.

use super::rig::Tree;

const UUID: &str = "0aaa1111-2b22-4333-8444-55555555555f";

/// The raw bytes of [`UUID`].
const BYTES: [u8; 16] =
    [0x0a, 0xaa, 0x11, 0x11, 0x2b, 0x22, 0x43, 0x33, 0x84, 0x44, 0x55, 0x55, 0x55, 0x55, 0x55, 0x5f];

/// Each planted alone between zeros, and as text; the word is how the scan must call it.
fn check(value: &str, planted: &[(&str, Vec<u8>)], unlike: &[&str]) {
    let tree = Tree::new();
    for (number, (_, bytes)) in planted.iter().enumerate() {
        tree.put(&format!("srv/{number}.bin"), [&[0; 300], &bytes[..], &[0; 300]].concat());
        tree.put(&format!("srv/{number}.txt"), [b"one\ntwo key=\"", &bytes[..], b"\"\n"].concat());
        tree.put(&format!("srv/{number}.alone"), bytes);
    }
    for (number, text) in unlike.iter().enumerate() {
        tree.put(&format!("srv/unlike-{number}"), text);
    }
    let report = tree.scan(&[value]);
    assert_eq!(report.exit, Some(4));
    let rows = report.rows("left");
    for (number, (form, bytes)) in planted.iter().enumerate() {
        for end in ["bin", "txt", "alone"] {
            let row = (format!("/srv/{number}.{end}"), "content".to_owned(), (*form).to_owned());
            assert!(rows.contains(&row), "{value} as {form}: {:?} in {rows:?}", String::from_utf8_lossy(bytes));
        }
    }
    let like: Vec<_> = rows.iter().filter(|row| row.0.starts_with("/srv/unlike")).collect();
    assert!(like.is_empty(), "{like:?} of {unlike:?}");
}

fn text(text: impl Into<String>) -> Vec<u8> {
    text.into().into_bytes()
}

#[test]
fn uuids() {
    let bare = UUID.replace('-', "");
    let mut gpt = BYTES;
    gpt[..4].reverse();
    gpt[4..6].reverse();
    gpt[6..8].reverse();
    let planted = [
        ("plain", text(UUID)),
        ("plain", text(UUID.to_uppercase())),
        ("plain", text(format!("x{UUID}x"))),
        ("bare", text(&bare)),
        ("bare", text(bare.to_uppercase())),
        ("escaped", text(UUID.replace('-', "\\x2d"))),
        ("escaped", text(UUID.to_uppercase().replace('-', "\\X2D"))),
        ("colons", text("0aaa1111:2b224333:84445555:5555555f")),
        ("raw", BYTES.to_vec()),
        ("gpt-bytes", gpt.to_vec()),
    ];
    let unlike = ["0aaa1111-2b22-4333-8444-555555555550", "0aaa1111-2b22-4333-8444-5555555555", "0aaa11112b22"];
    check(&format!("fs-uuid={UUID}"), &planted, &unlike);
    let planted = [("plain", text(&bare)), ("dashed", text(UUID)), ("raw", BYTES.to_vec())];
    check(&format!("machine-id={bare}"), &planted, &unlike);
}

#[test]
fn names() {
    let planted = [
        ("plain", text("template")),
        ("plain", text("TEMPLATE")),
        ("plain", text("template.lan")),
        ("plain", text("//template:80")),
    ];
    let unlike = ["template-a1b2", "templates", "a_template", "xtemplate", "re-template"];
    check("hostname=template", &planted, &unlike);
    check("hostname=web", &[("plain", text("web")), ("plain", text("\\tweb"))], &["webs", "web-1", "cobweb"]);
    check(
        "hostname=web-1.example.com",
        &[("plain", text("web-1.example.com"))],
        &["web-1.example.org", "web-1.example.community"],
    );
}

#[test]
fn addresses() {
    let planted = [
        ("colons", text("52:54:00:ab:cd:ef")),
        ("colons", text("52:54:00:AB:CD:EF")),
        ("dashed", text("52-54-00-ab-cd-ef")),
        ("pxe", text("01-52-54-00-ab-cd-ef")),
        ("bare", text("525400abcdef")),
        ("bare", text("525400ABCDEF")),
        ("escaped", text("52\\x3a54\\x3a00\\x3aab\\x3acd\\x3aef")),
        ("raw", vec![0x52, 0x54, 0, 0xab, 0xcd, 0xef]),
        ("eui64", text("fe80::5054:ff:feab:cdef")),
    ];
    check("mac-address=52:54:00:ab:cd:ef", &planted, &["525400abcdef01", "52:54:00:ab:cd:e0", "a525400abcdef"]);
    let planted = [
        ("plain", text("10.0.0.5")),
        ("plain", text("10.0.0.5/24")),
        ("plain", text("10.0.0.5.")),
        ("plain", text("10.0.0.5:22")),
        ("dashed", text("ip-10-0-0-5")),
        ("reverse", text("5.0.0.10.in-addr.arpa")),
    ];
    check("ip-address=10.0.0.5/24", &planted, &["10.0.0.50", "110.0.0.5", "10.0.0.5.1", "1.10.0.0.5", "10.0.0.5a"]);
    let planted = [
        ("plain", text("2001:db8::5")),
        ("plain", text("[2001:DB8::5]:22")),
        ("colons", text("2001:0db8:0000:0000:0000:0000:0000:0005")),
        ("colons", text("2001:db8:0:0:0:0:0:5")),
    ];
    check("ip-address=2001:db8::5", &planted, &["2001:db8::51", "12001:db8::5", "2001:db8::5:1"]);
}

#[test]
fn short_ids_of_disks() {
    let planted = [
        ("plain", text("1A2B-3C4D")),
        ("plain", text("1a2b-3c4d")),
        ("bare", text("1a2b3c4d")),
        ("escaped", text("1A2B\\x2d3C4D")),
    ];
    check("fs-uuid=1A2B-3C4D", &planted, &["1A2B-3C4D5", "91a2b3c4d"]);
    let planted = [("plain", text("1a2b3c4d")), ("plain", text("0x1a2b3c4d")), ("plain", text("1a2b3c4d-01"))];
    check("disk-id=1a2b3c4d", &planted, &["1a2b3c4d5", "a1a2b3c4d"]);
    let lvm = "AbCdEf-0123-4567-89ab-cdef-GHIJ-klmnop";
    check(
        &format!("lvm-uuid={lvm}"),
        &[("plain", text(lvm)), ("bare", text(lvm.replace('-', "")))],
        &[&lvm.to_lowercase()],
    );
    let ntfs = [("plain", text("01d2a3b4c5e6f708")), ("raw", vec![0x08, 0xf7, 0xe6, 0xc5, 0xb4, 0xa3, 0xd2, 0x01])];
    check("fs-uuid=01D2A3B4C5E6F708", &ntfs, &["01d2a3b4c5e6f7080"]);
}

#[test]
fn ssh_keys_by_their_fingerprint_alone() {
    let dir = tempfile::tempdir().unwrap();
    for (family, more) in [("ed25519", None), ("rsa", Some("2048")), ("ecdsa", None)] {
        let path = dir.path().join(family);
        let mut make = std::process::Command::new("ssh-keygen");
        make.args(["-q", "-N", "", "-t", family, "-f"]).arg(&path);
        more.into_iter().for_each(|bits| {
            make.args(["-b", bits]);
        });
        if !make.status().is_ok_and(|status| status.success()) {
            return super::support::skip("ssh_keys_by_their_fingerprint_alone", "ssh-keygen is not installed");
        }
        let shown = |form: &str| {
            let mut show = std::process::Command::new("ssh-keygen");
            let output = show.args(["-l", "-E", form, "-f"]).arg(&path).output().unwrap();
            String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
        };
        let fingerprint = shown("sha256");
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        let blob = public.split(' ').nth(1).unwrap();
        let raw = reseal::scan::base64::decode(blob.as_bytes(), 9999);
        let wrapped: Vec<&str> = blob.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let mut planted = vec![
            ("plain", text(&fingerprint)),
            ("public-key", text(blob)),
            ("public-key", text(wrapped.join("\n"))),
            ("public-key", text(format!("@cert-authority * {public}"))),
            ("raw", raw),
            ("private-key", std::fs::read(&path).unwrap()),
        ];
        let other = public.replace(blob, &format!("{}{}", &blob[..blob.len() - 8], "AAAAAAAA"));
        check(&format!("ssh-host-key={fingerprint}"), &planted, &[&other]);
        planted.push(("md5", text(shown("md5"))));
        check(&format!("ssh-key={}", public.trim()), &planted, &[&other]);
    }
}

#[test]
fn openpgp_fingerprints() {
    let fingerprint = "FA1516896C901ED91BCA44F8EF0123456789ABCD";
    let raw: Vec<u8> = (0..20).map(|at| u8::from_str_radix(&fingerprint[at * 2..at * 2 + 2], 16).unwrap()).collect();
    let planted = [
        ("plain", text(fingerprint)),
        ("plain", text(fingerprint.to_lowercase())),
        ("grouped", text("FA15 1689 6C90 1ED9 1BCA  44F8 EF01 2345 6789 ABCD")),
        ("grouped", text("FA15 1689 6C90 1ED9 1BCA 44F8 EF01 2345 6789 ABCD")),
        ("key-id", text("0xEF0123456789ABCD")),
        ("key-id", raw[12..].to_vec()),
        ("raw", raw),
    ];
    check(&format!("pgp-key={fingerprint}"), &planted, &["FA1516896C901ED91BCA44F8EF01234567890000"]);
}
