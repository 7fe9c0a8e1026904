// SPDX-License-Identifier: MIT OR Apache-2.0
//! OpenPGP key stores that real programs made, renewed by the program and judged by those programs: gpg, pacman-key, sq.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use reseal::plan::derive::Seed;
use reseal::plan::draft::{Past, Purpose};
use reseal::regenerators::{self, OnError};
use support::skip;

/// A guest in a directory, with a policy; the agents of its homes die with it.
struct Guest(tempfile::TempDir);

impl Guest {
    /// `None`, and a loud word, without one of these programs.
    fn new(test: &str, programs: &[&str], policy: &str) -> Option<Guest> {
        for program in programs {
            if !["/usr/bin", "/usr/sbin"].iter().any(|dir| Path::new(dir).join(program).exists()) {
                skip(test, &format!("{program} is not installed"));
                return None;
            }
        }
        // The path of an agent's socket has at most 108 bytes, unix(7).
        let guest = Guest(tempfile::tempdir_in("/tmp").unwrap());
        guest.write("etc/reseal/policy.toml", format!("[run]\nonly = [\"pgp-keys\"]\n{policy}").as_bytes());
        guest.write("etc/hostname", b"clone\n");
        guest.write("etc/hosts", b"127.0.1.1 clone.example.com clone\n");
        Some(guest)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, content: &[u8]) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), content).unwrap();
    }

    fn home(&self, path: &str) -> Home {
        fs::create_dir_all(self.path(path)).unwrap();
        fs::set_permissions(self.path(path), Permissions::from_mode(0o700)).unwrap();
        Home(self.path(path))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reseal"));
        command.arg("--root").arg(self.0.path()).args(arguments).stdin(Stdio::null());
        command
    }

    fn reseal(&self, arguments: &[&str]) -> String {
        text(self.command(arguments))
    }

    /// A run that leaves nothing to be done: the next one has no steps.
    fn renew(&self) -> String {
        let said = self.reseal(&["apply", "--yes"]);
        let again = self.reseal(&["--dry-run"]);
        assert!(again.contains("\n0 changes") || again.starts_with("0 changes"), "{again}");
        said
    }
}

/// A GnuPG home.
struct Home(PathBuf);

impl Home {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--yes", "--quiet", "--no-permission-warning"]).args(arguments);
        command.env("GNUPGHOME", &self.0).env("LC_ALL", "C").current_dir(&self.0);
        command
    }

    fn gpg(&self, arguments: &[&str]) -> String {
        text(self.command(arguments))
    }

    fn make(&self, user_id: &str, algorithm: &str) -> String {
        self.gpg(&["--passphrase", "", "--quick-generate-key", user_id, algorithm, "default", "never"]);
        self.fingerprint(user_id)
    }

    fn fingerprint(&self, user_id: &str) -> String {
        let listed = self.gpg(&["--with-colons", "--list-keys", user_id]);
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// The fingerprints of primary keys with a secret.
    fn secrets(&self) -> Vec<String> {
        let listed = self.gpg(&["--with-colons", "--list-secret-keys"]);
        let mut lines = listed.lines();
        let mut found = Vec::new();
        while let Some(line) = lines.next() {
            if line.starts_with("sec:") {
                found.push(lines.next().unwrap().split(':').nth(9).unwrap().to_owned());
            }
        }
        found
    }

    fn stop(&self) {
        let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", &self.0).output();
    }

    /// Signs, encrypts to itself, decrypts, with the one key that it has, which it trusts.
    fn works(&self) {
        let [key] = &self.secrets()[..] else { panic!("{:?}", self.secrets()) };
        fs::write(self.0.join("text"), "renewed").unwrap();
        self.gpg(&["--recipient", key, "--sign", "--encrypt", "--output", "sealed", "text"]);
        let opened = self.command(&["--status-fd", "1", "--output", "opened", "--decrypt", "sealed"]).output().unwrap();
        let status = String::from_utf8_lossy(&opened.stdout).into_owned();
        assert!(status.contains("GOODSIG") && status.contains("TRUST_ULTIMATE"), "{status}");
        assert_eq!(fs::read_to_string(self.0.join("opened")).unwrap(), "renewed");
        for name in ["text", "sealed", "opened"] {
            fs::remove_file(self.0.join(name)).unwrap();
        }
        self.stop();
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.stop();
    }
}

fn text(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (said, complaint) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status} {said} {complaint}");
    said.into_owned()
}

/// Files below a directory in which a fingerprint still stands, in digits or in bytes.
fn quoting(dir: &Path, fingerprint: &str) -> Vec<PathBuf> {
    let digit = |at: usize| u8::from_str_radix(&fingerprint[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..fingerprint.len()).step_by(2).map(digit).collect();
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(quoting(&entry.path(), fingerprint));
        } else if kind.is_file() {
            let file = fs::read(entry.path()).unwrap();
            let holds = |value: &[u8]| file.windows(value.len()).any(|part| part == value);
            // The key id too, which signatures name.
            if holds(&bytes) || holds(&bytes[12..]) || holds(fingerprint.as_bytes()) {
                found.push(entry.path());
            }
        }
    }
    found
}

const RENEWED: &str =
    "[[pgp-keys.store]]\npath = \"/root/.gnupg\"\naction = \"renew\"\nuser-id = \"{fqdn} <root@{fqdn}>\"\n";

/// A home with a key ring of either form: nothing of the old key is left in it, its friends' keys are as they were, and
/// what the old key had certified for this machine the new one has.
#[test]
fn a_home_is_renewed() {
    let test = "a_home_is_renewed";
    for (algorithm, wanted, ring) in [
        ("rsa3072", "cv25519", "pubring.kbx"),
        ("ed25519", "rsa3072", "pubring.gpg"),
        ("nistp384", "cv25519", "pubring.kbx"),
    ] {
        let policy = format!("{RENEWED}algorithm = \"{wanted}\"\nvalid-days = 365\n");
        let Some(guest) = Guest::new(test, &["gpg", "gpgconf"], &policy) else { return };
        let (home, friends) = (guest.home("root/.gnupg"), guest.home("friends"));
        if ring == "pubring.gpg" {
            fs::write(home.0.join(ring), "").unwrap();
        }
        for friend in ["ann", "bob"] {
            friends.make(friend, "ed25519");
            home.command(&["--import"]).stdin(Stdio::null());
            let file = friends.0.join(format!("{friend}.asc"));
            friends.gpg(&["--output", file.to_str().unwrap(), "--export", friend]);
            home.gpg(&["--import", file.to_str().unwrap()]);
        }
        friends.stop();
        let old = home.make("Template <root@template>", algorithm);
        home.gpg(&[
            "--passphrase",
            "",
            "--quick-add-key",
            &old,
            if algorithm == "rsa3072" { "rsa3072" } else { "cv25519" },
            "encr",
            "never",
        ]);
        home.gpg(&["--quick-lsign-key", &home.fingerprint("ann")]);
        let bob = home.gpg(&["--armor", "--export", "bob"]);
        fs::create_dir_all(guest.path("gone")).unwrap();
        // The agent of the old key is left running.
        let told = guest.reseal(&["--dry-run"]);
        assert!(told.contains(&old) && !told.contains("PRIVATE"), "{told}");
        let said = guest.renew();
        assert!(said.contains(&old), "{said}");
        let [new] = &home.secrets()[..] else { panic!("{:?}", home.secrets()) };
        assert_ne!(*new, old);
        let listed = home.gpg(&["--with-colons", "--list-keys"]);
        assert!(listed.contains(":clone.example.com <root@clone.example.com>:"), "{listed}");
        let mine = listed.lines().find(|line| line.starts_with("pub:u:")).unwrap_or_else(|| panic!("{listed}"));
        assert!(!mine.split(':').nth(6).unwrap().is_empty(), "it expires: {mine}");
        assert_eq!(home.gpg(&["--armor", "--export", "bob"]), bob);
        let signatures = home.gpg(&["--with-colons", "--check-sigs", "ann"]);
        let by_new = signatures.lines().filter(|line| line.starts_with("sig:!") && line.contains(&new[24..]));
        assert_eq!(by_new.filter(|line| line.contains(":10l:")).count(), 1, "{signatures}");
        assert!(listed.contains("\npub:f:"), "ann is as valid as before: {listed}");
        assert_eq!(quoting(&home.0, &old), Vec::<PathBuf>::new());
        assert!(guest.path(&format!("var/lib/reseal/pgp/{old}.asc")).exists());
        home.works();
        // The revocation certificate revokes it.
        let revocation = home.0.join(format!("openpgp-revocs.d/{new}.rev"));
        home.gpg(&["--import", revocation.to_str().unwrap()]);
        assert!(home.gpg(&["--with-colons", "--list-keys", new]).contains("pub:r:"));
        let litter: Vec<PathBuf> = [".reseal", ".reseal.pgp", ".reseal.pgp.rev"].map(|name| home.0.join(name)).into();
        assert!(litter.iter().all(|path| !path.exists()));
    }
}

/// What `pacman-key --init` made is renewed by default, and the distribution's keys stay as they are and stay valid.
#[test]
fn pacmans_local_key_is_renewed() {
    let Some(guest) = Guest::new("pacmans_local_key_is_renewed", &["gpg", "pacman-key"], "") else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("pacmans_local_key_is_renewed", "pacman-key takes root");
    }
    let (home, distribution) = (guest.home("etc/pacman.d/gnupg"), guest.home("distribution"));
    let pacman_key = |arguments: &[&str]| {
        let mut command = Command::new("pacman-key");
        command.args(["--gpgdir", home.0.to_str().unwrap(), "--config", "/etc/pacman.conf"]);
        command.args(arguments).env("LC_ALL", "C");
        text(command)
    };
    pacman_key(&["--init"]);
    let packager = distribution.make("Packager <packager@distribution>", "ed25519");
    let key = distribution.0.join("packager.gpg");
    distribution.gpg(&["--output", key.to_str().unwrap(), "--export", &packager]);
    distribution.stop();
    pacman_key(&["--add", key.to_str().unwrap()]);
    pacman_key(&["--lsign-key", &packager]);
    home.stop();
    let [old] = &home.secrets()[..] else { panic!("{:?}", home.secrets()) };
    let before = home.gpg(&["--armor", "--export", &packager]);
    // A keyring of the distribution that it was populated from.
    guest.write("usr/share/pacman/keyrings/archlinux.gpg", &fs::read(&key).unwrap());
    guest.renew();
    let [new] = &home.secrets()[..] else { panic!("{:?}", home.secrets()) };
    assert_ne!(new, old);
    assert_eq!(home.gpg(&["--armor", "--export", &packager]), before);
    assert_eq!(fs::read(guest.path("usr/share/pacman/keyrings/archlinux.gpg")).unwrap(), fs::read(&key).unwrap());
    let listed = home.gpg(&["--with-colons", "--list-keys"]);
    assert!(listed.contains(":Pacman Keyring Master Key <pacman@localhost>:"), "{listed}");
    assert!(listed.contains("\npub:f:"), "the packager's key is valid: {listed}");
    assert_eq!(quoting(&home.0, old), Vec::<PathBuf>::new());
    let mode = |name: &str| fs::metadata(home.0.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("pubring.gpg"), mode("trustdb.gpg")), (0o644, 0o644));
    pacman_key(&["--updatedb"]);
    assert!(pacman_key(&["--list-sigs", &packager]).contains("Pacman Keyring Master Key"));
    home.works();
}

/// Sealed, the secret is gone and the ring is left; the clone makes a key of its own in its place.
#[test]
fn a_sealed_home_and_file_get_keys_again() {
    let policy = format!("{RENEWED}[[pgp-keys.store]]\npath = \"/srv/repo.asc\"\naction = \"renew\"\n");
    let Some(guest) = Guest::new("a_sealed_home_and_file_get_keys_again", &["gpg"], &policy) else { return };
    let home = guest.home("root/.gnupg");
    let old = home.make("Template", "ed25519");
    fs::create_dir_all(guest.path("srv")).unwrap();
    let file = home.gpg(&["--armor", "--export-secret-keys", &old]);
    guest.write("srv/repo.asc", file.as_bytes());
    home.stop();
    guest.reseal(&["seal", "--yes"]);
    assert_eq!(home.secrets(), Vec::<String>::new());
    assert!(!guest.path("srv/repo.asc").exists());
    home.stop();
    guest.renew();
    assert_eq!(home.secrets().len(), 1);
    assert_eq!(quoting(&home.0, &old), Vec::<PathBuf>::new());
    assert!(fs::read_to_string(guest.path("srv/repo.asc")).unwrap().contains("PRIVATE KEY BLOCK"));
    home.works();
}

/// Killed at any moment, and run again: one new key, nothing of the old one, nothing half-done.
#[test]
fn a_killed_run_goes_on_to_one_key() {
    let Some(guest) = Guest::new("a_killed_run_goes_on_to_one_key", &["gpg"], RENEWED) else { return };
    let made = guest.home("root/.gnupg");
    let old = made.make("Template", "ed25519");
    made.stop();
    // How long a run takes here decides when it is killed; nothing is asserted about it.
    let mut cut = 0;
    for moment in 0..12 {
        let Some(copy) = Guest::new("", &[], RENEWED) else { return };
        let home = copy.home("root/.gnupg");
        support::tree::copy_files(&made.0, &home.0);
        let mut child = copy.command(&["apply", "--yes"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20 + 35 * moment));
        cut += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had started dies with it, as in a power cut.
        end_all_of(&home.0);
        copy.renew();
        assert_eq!(home.secrets().len(), 1, "after {moment}");
        assert_eq!(quoting(&home.0, &old), Vec::<PathBuf>::new(), "after {moment}");
        let names: Vec<_> = fs::read_dir(home.0.join("private-keys-v1.d")).unwrap().collect();
        assert_eq!(names.len(), 3, "the secrets of one key: {names:?}");
        home.works();
    }
    assert!(cut > 2, "nearly every run was over before it was killed: {cut}");
}

/// Kills every process whose command line names this directory, which is the test's own.
fn end_all_of(home: &Path) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(home.to_str().unwrap()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// What tells whom the machine trusts is never changed, whatever the policy names.
#[test]
fn public_trust_is_never_touched() {
    let places = [
        "etc/apt/trusted.gpg",
        "etc/apt/trusted.gpg.d/debian.asc",
        "etc/apt/keyrings/vendor.gpg",
        "usr/share/keyrings/debian.gpg",
        "etc/pki/rpm-gpg/RPM-GPG-KEY",
        "usr/share/pacman/keyrings/archlinux.gpg",
        "srv/others.asc",
    ];
    let store =
        |(path, action): (&str, &str)| format!("[[pgp-keys.store]]\npath = \"/{path}\"\naction = \"{action}\"\n");
    for action in ["renew", "remove"] {
        let policy: String = places.iter().map(|path| store((path, action))).collect();
        let Some(guest) = Guest::new("public_trust_is_never_touched", &["gpg"], &policy) else { return };
        let home = guest.home("tmp/vendor");
        let key = home.make("Vendor", "ed25519");
        let file = home.gpg(&["--armor", "--export", &key]);
        // Even where a secret key stands, keyrings of trust are nobody's to change.
        let secret = home.gpg(&["--armor", "--export-secret-keys", &key]);
        home.stop();
        for path in places {
            guest.write(path, if path.ends_with("debian.asc") { secret.as_bytes() } else { file.as_bytes() });
        }
        let before: Vec<_> = places.iter().map(|path| fs::read(guest.path(path)).unwrap()).collect();
        let said = guest.renew();
        let left = said.matches("left as it is").count();
        assert_eq!(left, places.len(), "{said}");
        guest.reseal(&["seal", "--yes"]);
        let after: Vec<_> = places.iter().map(|path| fs::read(guest.path(path)).unwrap()).collect();
        assert_eq!(before, after);
    }
}

/// A home that cannot be changed is left, and told with the command that would do it.
#[test]
fn homes_that_cannot_be_changed_are_left() {
    let test = "homes_that_cannot_be_changed_are_left";
    let Some(guest) = Guest::new(test, &["gpg"], RENEWED) else { return };
    let home = guest.home("root/.gnupg");
    home.make("Template", "ed25519");
    let plan = |gnupg: bool| {
        let opened = reseal::guest::Guest { gnupg, ..reseal::guest::Guest::open(guest.0.path()).unwrap() };
        let policy = fs::read_to_string(guest.path("etc/reseal/policy.toml")).unwrap();
        let policy = reseal::policy::Policy::parse("policy", &policy).unwrap();
        let past = Past::none(Seed::random(b"").unwrap());
        let plan = regenerators::plan(&policy, &opened, past, Purpose::Reset, OnError::Stop).unwrap();
        (
            plan.steps.len(),
            plan.renewals.len(),
            plan.findings.iter().map(|found| found.message.clone()).collect::<String>(),
        )
    };
    assert_eq!(plan(true).0, 3);
    let (steps, renewals, said) = plan(false);
    assert!(
        (steps, renewals) == (0, 0) && said.contains("gpgconf are not there") && said.contains("run gpg"),
        "{said}"
    );
    // Another key beside it: which one is the machine's own?
    home.make("Second", "ed25519");
    let (steps, renewals, said) = plan(true);
    assert!((steps, renewals) == (0, 0) && said.contains("2 secret keys; only one can be renewed"), "{said}");
    fs::write(home.0.join("common.conf"), "use-keyboxd\n").unwrap();
    let (steps, renewals, said) = plan(true);
    assert!((steps, renewals) == (0, 0) && said.contains("keyboxd"), "{said}");
}

/// sq reads, signs, encrypts, decrypts with a renewed file of every algorithm.
#[test]
fn sq_uses_renewed_files() {
    let test = "sq_uses_renewed_files";
    for algorithm in ["cv25519", "rsa3072"] {
        let policy = format!(
            "[[pgp-keys.store]]\npath = \"/key.asc\"\naction = \"renew\"\nalgorithm = \"{algorithm}\"\nvalid-days = 30\n"
        );
        let Some(guest) = Guest::new(test, &["sq", "gpg"], &policy) else { return };
        let home = guest.home("tmp/template");
        let old = home.make("Template", "ed25519");
        guest.write("key.asc", home.gpg(&["--armor", "--export-secret-keys", &old]).as_bytes());
        home.stop();
        guest.renew();
        let (key, mail) = (guest.path("key.asc"), guest.path("mail"));
        let sq = |arguments: &[&str]| {
            let mut command = Command::new("sq");
            command.arg("--force").args(arguments).current_dir(guest.0.path());
            text(command)
        };
        fs::write(&mail, "renewed").unwrap();
        let key = key.to_str().unwrap();
        let shown = sq(&["inspect", key]);
        assert!(shown.contains("Secret key: Unencrypted") && shown.contains("UserID: clone"), "{shown}");
        assert!(shown.contains("Expiration time") && !shown.contains(&old), "{shown}");
        sq(&["key", "extract-cert", "--output", "cert", key]);
        sq(&["encrypt", "--recipient-cert", "cert", "--signer-key", key, "--output", "sealed", "mail"]);
        sq(&["decrypt", "--recipient-key", key, "--signer-cert", "cert", "--output", "opened", "sealed"]);
        assert_eq!(fs::read_to_string(guest.path("opened")).unwrap(), "renewed");
    }
}
