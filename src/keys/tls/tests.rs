// SPDX-License-Identifier: MIT OR Apache-2.0
//! New pairs, judged by openssl(1).

use std::fs;
use std::path::Path;
use std::process::Command;

use super::super::tests::{installed, run};
use super::*;

/// A self-signed pair as packages make them: an algorithm in openssl's words, and more arguments.
fn pair(dir: &Path, algorithm: &[&str], more: &[&str]) -> (String, String) {
    let (key, certificate) = (dir.join("old.key"), dir.join("old.crt"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-nodes", "-days", "365", "-newkey"]).args(algorithm).args(more);
    run(command.arg("-keyout").arg(&key).arg("-out").arg(&certificate));
    (fs::read_to_string(key).unwrap(), fs::read_to_string(certificate).unwrap())
}

fn names() -> Vec<(String, String)> {
    let pair = |old: &str, new: &str| (old.to_owned(), new.to_owned());
    vec![pair("tmpl", "web1"), pair("tmpl.example.com", "web1.example.org")]
}

const SUBJECT: [&str; 4] = [
    "-subj",
    "/C=DE/O=tmpl industries/CN=tmpl.example.com",
    "-addext",
    "subjectAltName=DNS:TMPL,DNS:tmpl.example.com,DNS:www.tmpl,DNS:tmpl.lan,DNS:tmpl2,IP:192.0.2.7",
];

#[test]
fn openssl_takes_the_new_pair() {
    if !installed("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (algorithm, shown) in [
        (&["rsa:2048"][..], "Public-Key: (2048 bit)"),
        (&["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "NIST CURVE: P-256"),
        (&["ec", "-pkeyopt", "ec_paramgen_curve:P-384"], "NIST CURVE: P-384"),
        (&["rsa:1024"], "Public-Key: (3072 bit)"),
    ] {
        let (key, certificate) = pair(dir.path(), algorithm, &SUBJECT);
        check(&key, &certificate, true).unwrap();
        let Made { file: new_key, certificate: new } =
            renew(&key, Some(&format!("# ours\n{certificate}# end\n")), &names()).unwrap();
        let new = String::from_utf8(new.unwrap()).unwrap();
        assert!(new.starts_with("# ours\n-----BEGIN") && new.ends_with("-----END CERTIFICATE-----\n# end\n"), "{new}");
        let (key_file, file) = (dir.path().join("new.key"), dir.path().join("new.crt"));
        fs::write(&key_file, &*new_key).unwrap();
        fs::write(&file, &new).unwrap();
        check(std::str::from_utf8(&new_key).unwrap(), &new, true).unwrap();
        assert!(check(&key, &new, true).is_err() && check(&key, &new, false).is_ok());

        let x509 = |arguments: &[&str]| run(Command::new("openssl").arg("x509").args(arguments).arg("-in").arg(&file));
        run(Command::new("openssl").args(["verify", "-x509_strict", "-check_ss_sig", "-CAfile"]).arg(&file).arg(&file));
        let public = run(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&key_file));
        assert_eq!(x509(&["-noout", "-pubkey"]), public);
        let text = x509(&["-noout", "-text"]);
        for wanted in [
            shown,
            "C = DE, O = tmpl industries, CN = web1.example.org",
            "DNS:web1, DNS:web1.example.org, DNS:www.tmpl, DNS:web1.lan, DNS:tmpl2, IP Address:192.0.2.7",
            "CA:TRUE",
        ] {
            assert!(text.replace('=', " = ").replace("  =  ", " = ").contains(wanted), "{wanted}: {text}");
        }
        // As long valid as the old one, whatever the day.
        let valid = read(&new).unwrap().1.tbs_certificate.validity;
        let length = valid.not_after.to_unix_duration() - valid.not_before.to_unix_duration();
        assert_eq!(length, Duration::from_secs(365 * 24 * 60 * 60));
        let ids = [&certificate, &new].map(|text| read(text).unwrap().1.tbs_certificate);
        assert_ne!(ids[0].serial_number, ids[1].serial_number);
        assert_ne!(ids[0].subject_public_key_info, ids[1].subject_public_key_info);
    }
}

#[test]
fn labels_and_whatever_else_is_in_a_file_stay() {
    if !installed("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (algorithm, tool, label, becomes) in [
        (&["ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..], "ec", "-----BEGIN EC PRIVATE", "-----BEGIN PRIVATE"),
        (&["rsa:2048"], "rsa", "-----BEGIN RSA PRIVATE", "-----BEGIN RSA PRIVATE"),
    ] {
        let (_, certificate) = pair(dir.path(), algorithm, &["-subj", "/CN=tmpl"]);
        let mut old = Command::new("openssl");
        old.arg(tool).arg("-in").arg(dir.path().join("old.key"));
        let old = run(if tool == "rsa" { old.arg("-traditional") } else { &mut old });
        let both = format!("{certificate}{old}");
        assert!(both.contains(label), "{both}");
        let Made { file: new, certificate: beside } = renew(&both, None, &names()).unwrap();
        let new = std::str::from_utf8(&new).unwrap();
        assert!(beside.is_none() && new.contains(becomes) && new.find("CERTIFICATE") < new.find(becomes));
        check(new, new, true).unwrap();
        let file = dir.path().join("both.pem");
        fs::write(&file, new).unwrap();
        run(Command::new("openssl").args(["verify", "-CAfile"]).arg(&file).arg(&file));
        run(Command::new("openssl").args(["pkey", "-noout", "-check", "-in"]).arg(&file));
    }
}

#[test]
fn what_is_not_self_signed_or_cannot_be_read_is_left() {
    if !installed("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (key, certificate) = pair(dir.path(), &["rsa:2048"], &["-subj", "/CN=authority"]);
    let file = |name: &str| dir.path().join(name);
    let mut request = Command::new("openssl");
    request.args(["req", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=tmpl", "-keyout"]).arg(file("host.key"));
    run(request.arg("-out").arg(file("host.csr")));
    let mut signed = Command::new("openssl");
    signed.args(["x509", "-req", "-CAcreateserial", "-in"]).arg(file("host.csr")).arg("-CA").arg(file("old.crt"));
    run(signed.arg("-CAkey").arg(file("old.key")).arg("-out").arg(file("host.crt")));
    let read = |name: &str| fs::read_to_string(file(name)).unwrap();
    let complaint = |key: &str, certificate: &str| format!("{:#}", check(key, certificate, true).unwrap_err());
    assert!(complaint(&read("host.key"), &read("host.crt")).contains("is signed by CN=authority"));
    assert!(complaint(&read("host.key"), &certificate).contains("that of another key"));
    let locked =
        run(Command::new("openssl").args(["pkey", "-aes256", "-passout", "pass:x", "-in"]).arg(file("old.key")));
    assert!(complaint(&locked, &certificate).contains("passphrase"));
    assert!(complaint("", &certificate).contains("no private key") && complaint(&key, "").contains("no certificate"));
    assert!(complaint(&key, &certificate.repeat(2)).contains("more than once"));
    assert!(complaint(&key[..key.len() / 2], &certificate).contains("does not end"));
    let damaged = certificate.replacen("MII", "MIJ", 1);
    assert!(complaint(&key, &damaged).contains("reading the certificate"));
    let ed25519 = run(Command::new("openssl").args(["genpkey", "-algorithm", "ed25519"]));
    assert!(complaint(&ed25519, &certificate).contains("no RSA key"));
}

#[test]
fn a_clock_that_is_not_set_makes_no_certificate_of_the_past() {
    let at = |seconds| time(Duration::from_secs(seconds)).unwrap();
    let old = Validity { not_before: at(1_700_000_000), not_after: at(1_700_086_400) };
    let seconds = |time: Time| time.to_unix_duration().as_secs();
    let new = validity(&old, UNIX_EPOCH).unwrap();
    assert_eq!((seconds(new.not_before), seconds(new.not_after)), (1_700_000_000, 1_700_086_400));
    let new = validity(&old, UNIX_EPOCH + Duration::from_secs(2_600_000_000)).unwrap();
    assert_eq!((seconds(new.not_before), seconds(new.not_after)), (2_600_000_000, 2_600_086_400));
    assert!(matches!(new.not_after, Time::GeneralTime(_)), "after 2049");
    let for_ever = Validity { not_before: at(1_700_000_000), not_after: Time::INFINITY };
    assert_eq!(validity(&for_ever, SystemTime::now()).unwrap().not_after, Time::INFINITY);
}
