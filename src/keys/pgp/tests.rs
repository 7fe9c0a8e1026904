// SPDX-License-Identifier: MIT OR Apache-2.0
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tempfile::TempDir;

use super::super::tests::{installed, run};
use sequoia_openpgp::parse::Parse as _;

use super::*;

/// A GnuPG home of its own, whose agent dies with it.
struct Home(TempDir);

impl Home {
    fn new() -> Home {
        Home(tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir_in("/tmp").unwrap())
    }

    fn gpg(&self, arguments: &[&str]) -> String {
        run(Command::new("gpg")
            .args(["--batch", "--yes", "--quiet"])
            .args(arguments)
            .env("GNUPGHOME", self.0.path())
            .current_dir(self.0.path()))
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.0.path().join(name), content).unwrap();
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.0.path()).status();
    }
}

#[test]
fn gnupg_uses_every_algorithm() {
    if !installed("gpg") {
        return;
    }
    let rsa = ("1", "1");
    for (algorithm, (sign, encrypt), armored) in [
        (PgpAlgorithm::Cv25519, ("22", "18"), true),
        (PgpAlgorithm::Rsa3072, rsa, false),
        (PgpAlgorithm::Rsa4096, rsa, true),
    ] {
        let home = Home::new();
        let key = make(algorithm, "Clone <root@clone>", armored, None).unwrap();
        assert_eq!(key.private.starts_with(b"-----BEGIN PGP PRIVATE KEY BLOCK-----"), armored);
        home.write("key", &key.private);
        home.gpg(&["--import", "key"]);
        let listed = home.gpg(&["--list-secret-keys", "--with-colons"]);
        assert!(listed.contains(&format!("fpr:::::::::{}:", key.fingerprint)), "{listed}");
        assert!(listed.contains(":Clone <root@clone>:"), "{listed}");
        // Field 4 is the algorithm, 12 what the key may be used for, capitals for the whole: GnuPG's doc/DETAILS.
        let keys = listed.lines().filter(|line| line.starts_with('s')).map(|line| line.split(':').collect());
        let mut uses: Vec<_> = keys.map(|key: Vec<_>| (key[11].trim_end_matches(char::is_uppercase), key[3])).collect();
        uses.sort();
        assert_eq!(uses, [("c", sign), ("e", encrypt), ("s", sign)], "{listed}");

        home.write("text", b"renewed");
        home.gpg(&[
            "--trust-model",
            "always",
            "--sign",
            "--encrypt",
            "--recipient",
            "root@clone",
            "--output",
            "sealed",
            "text",
        ]);
        assert_eq!(home.gpg(&["--decrypt", "sealed"]), "renewed");
        home.write("key.rev", &key.companion.content);
        home.gpg(&["--import", "key.rev"]);
        assert!(home.gpg(&["--list-keys", "--with-colons"]).contains("\npub:r:"));
    }
}

#[test]
fn keys_of_gnupg_are_read() {
    if !installed("gpg") {
        return;
    }
    let home = Home::new();
    for (name, algorithm) in [("a", "default"), ("b", "rsa3072"), ("c", "dsa2048")] {
        home.gpg(&["--passphrase", "", "--quick-generate-key", name, algorithm]);
    }
    home.gpg(&["--export", "--output", "ring"]);
    home.gpg(&["--passphrase", "", "--armor", "--export-secret-keys", "--output", "secret"]);
    for (file, has_secret) in [("ring", false), ("secret", true)] {
        let keys = read(&fs::read(home.0.path().join(file)).unwrap()).unwrap();
        let found: Vec<_> = keys.iter().map(|key| (key.user_ids.concat(), key.has_secret)).collect();
        assert_eq!(found, ["a", "b", "c"].map(|name| (name.to_owned(), has_secret)));
        assert_eq!(keys[1].algorithm, Some(PgpAlgorithm::Rsa3072));
        assert_eq!(keys[2].algorithm, None);
        assert!(keys[0].created.elapsed().unwrap() < Duration::from_secs(3600));
        let listed = home.gpg(&["--list-keys", "--with-colons"]);
        assert!(keys.iter().all(|key| listed.contains(&key.fingerprint)));
    }
}

#[test]
fn a_made_key_is_read_back() {
    let keys = [false, true].map(|armored| make(PgpAlgorithm::Cv25519, "web1", armored, None).unwrap());
    for key in &keys {
        let found = read(&key.private).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].fingerprint, found[0].has_secret), (&key.fingerprint, true));
        assert_eq!(found[0].algorithm, Some(PgpAlgorithm::Cv25519));
        assert_eq!(found[0].user_ids, ["web1"]);
    }
    let two_armored = [make(PgpAlgorithm::Cv25519, "x", true, None).unwrap().private, keys[1].private.clone()];
    assert_eq!(read(&[two_armored[0].as_slice(), two_armored[1].as_slice()].concat()).unwrap().len(), 2);
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    for file in [&b""[..], b"hello", &[0; 100]] {
        assert!(format!("{:#}", read(file).unwrap_err()).starts_with("reading an OpenPGP key: "));
    }
    let key = make(PgpAlgorithm::Cv25519, "web1", false, None).unwrap();
    assert!(read(&key.companion.content).is_err(), "a revocation certificate is no key");
    assert!(make(PgpAlgorithm::Cv25519, "a\nb", false, None).is_err());
    assert!(make(PgpAlgorithm::Cv25519, "", false, None).is_err());
}

#[test]
fn a_v6_key_is_made_and_read() {
    let key = make(PgpAlgorithm::V6Cv25519, "web1", true, Some(30)).unwrap();
    let found = read(&key.private).unwrap();
    assert_eq!((found[0].fingerprint.len(), found[0].algorithm), (64, Some(PgpAlgorithm::V6Cv25519)));
    assert_eq!((&found[0].fingerprint, found[0].has_secret), (&key.fingerprint, true));
    assert!(!String::from_utf8_lossy(&found[0].public).contains("PRIVATE"));
    let cert = Cert::from_bytes(&key.private).unwrap();
    let policy = sequoia_openpgp::policy::StandardPolicy::new();
    let valid = cert.with_policy(&policy, None).unwrap();
    let uses = |key: &sequoia_openpgp::cert::amalgamation::key::ValidErasedKeyAmalgamation<'_, _>| {
        (key.for_certification(), key.for_signing(), key.for_storage_encryption())
    };
    let mut uses: Vec<_> = valid.keys().map(|key| uses(&key)).collect();
    uses.sort();
    assert_eq!(uses, [(false, false, true), (false, true, false), (true, false, false)]);
    let lasts = valid.primary_key().key_validity_period().unwrap();
    assert_eq!(lasts, Duration::from_secs(30 * 24 * 60 * 60));
}

#[test]
fn keygrips_are_gnupgs() {
    if !installed("gpg") {
        return;
    }
    let home = Home::new();
    for algorithm in ["rsa2048", "dsa2048", "nistp256", "nistp384", "nistp521", "ed25519"] {
        home.gpg(&["--passphrase", "", "--quick-generate-key", algorithm, algorithm]);
    }
    for (of, algorithm) in [("ed25519", "cv25519"), ("dsa2048", "elg1024"), ("nistp521", "nistp521")] {
        let listed = home.gpg(&["--list-keys", "--with-colons", of]);
        let fingerprint = listed.lines().find(|line| line.starts_with("fpr:")).unwrap().split(':').nth(9).unwrap();
        home.gpg(&["--passphrase", "", "--quick-add-key", fingerprint, algorithm, "encr"]);
    }
    let listed = home.gpg(&["--list-keys", "--with-colons", "--with-keygrip"]);
    let told = listed.lines().filter(|line| line.starts_with("grp:")).map(|line| line.split(':').nth(9).unwrap());
    let files: Vec<String> = told.map(|grip| format!("{grip}.key")).collect();
    assert_eq!(files.len(), 9, "{listed}");
    let keybox = fs::read(home.0.path().join("pubring.kbx")).unwrap();
    home.gpg(&["--export", "--export-options", "export-local-sigs", "--output", "ring"]);
    for ring in [keybox, fs::read(home.0.path().join("ring")).unwrap()] {
        let (own, strangers) = ring::own(&ring, &[files.clone(), vec!["0.key".to_owned()]].concat()).unwrap();
        assert_eq!(strangers, ["0.key"]);
        let mut found: Vec<String> = own.iter().flat_map(|own| own.files.clone()).collect();
        let mut all = files.clone();
        found.sort();
        all.sort();
        assert_eq!(found, all);
        assert!(own.iter().all(|own| own.is_complete && own.uses.contains(&"certify")));
        let (part, _) = ring::own(&ring, &files[1..2]).unwrap();
        assert!(!part.is_empty());
    }
}
