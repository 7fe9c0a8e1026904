// SPDX-License-Identifier: MIT OR Apache-2.0

use std::fs;
use std::path::Path;

use super::*;
use crate::guest::machine::Machine;
use crate::policy::Policy;
use crate::root::LARGEST_FILE;

const FW_CFG: &str = "sys/firmware/qemu_fw_cfg/by_name/opt/org.reseal";

struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[(&str, &[u8])]) -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        for (path, bytes) in files {
            let path = tree.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        tree
    }

    fn guest(&self, place: Place) -> Guest {
        let machine = Machine {
            place,
            smbios_uuid: Some("11111111-2222-4333-8444-555555555555".into()),
            smbios_serial: Some("S1".into()),
            ..Machine::offline()
        };
        Guest { machine, ..Guest::open(self.path()).unwrap() }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn instance(files: &[(&str, &[u8])], place: Place, policy: &str) -> Instance {
    let policy = Policy::parse("policy", policy).unwrap();
    Instance::of(&Tree::new(files).guest(place), &policy.instance)
}

fn name(instance: &Instance) -> Option<(&str, &str)> {
    instance.hostname.as_ref().map(|answer| (answer.value.as_str(), answer.from.as_str()))
}

/// Structures of the types, each with its strings.
fn dmi(structures: &[(u8, &[&str])]) -> Vec<u8> {
    let mut tables = Vec::new();
    for (kind, strings) in structures {
        tables.extend([*kind, 5, 0, 0, strings.len() as u8]);
        strings.iter().for_each(|string| tables.extend([string.as_bytes(), b"\0"].concat()));
        tables.push(0);
    }
    tables.extend(b"\x7f\x04\xff\xfe\0\0");
    tables
}

const SMBIOS: &str = "sys/firmware/dmi/tables/DMI";

#[test]
fn every_source_is_asked_in_the_order_of_the_policy() {
    let tables = dmi(&[(1, &["QEMU", "reseal:hostname=of-type-1"]), (11, &["x", "reseal:hostname=of-smbios"])]);
    let fw_cfg = format!("{FW_CFG}/hostname/raw");
    let files: [(&str, &[u8]); 5] = [
        ("proc/cmdline", b"root=/dev/vda1 ro reseal.hostname=of-kernel quiet -- reseal.hostname=of-init\n"),
        ("run/credentials/@system/reseal.hostname", b"of-credentials\n"),
        (SMBIOS, &tables),
        (&fw_cfg, b"of-fw-cfg\0"),
        ("etc/reseal/instance.toml", b"hostname = \"of-file\"\n"),
    ];
    let table = "[[instance.machine]]\nmatch = { serial = \"S1\" }\nhostname = \"of-policy\"\n";
    let expected = [
        ("command-line", "of-kernel", "the kernel's command line"),
        ("credentials", "of-credentials", "credentials"),
        ("smbios", "of-smbios", "SMBIOS, type 11"),
        ("fw-cfg", "of-fw-cfg", "QEMU's fw_cfg"),
        ("file", "of-file", "/etc/reseal/instance.toml"),
        ("policy", "of-policy", "the policy"),
    ];
    for turn in 0..expected.len() {
        let order: Vec<_> = expected.iter().cycle().skip(turn).take(expected.len()).map(|(word, ..)| *word).collect();
        let told = instance(&files, Place::Vm, &format!("[instance]\nsources = {order:?}\n{table}"));
        assert_eq!(name(&told), Some((expected[turn].1, expected[turn].2)));
        assert_eq!(told.troubles, []);
    }
    assert_eq!(name(&instance(&files, Place::Vm, table)), Some(("of-kernel", "the kernel's command line")));
    assert_eq!(name(&instance(&files, Place::Container, table)), Some(("of-credentials", "credentials")));
    assert_eq!(name(&instance(&files, Place::Offline, table)), Some(("of-file", "/etc/reseal/instance.toml")));
    assert_eq!(instance(&files, Place::Vm, "[instance]\nsources = []\n"), Instance::default());
    assert_eq!(instance(&[], Place::Vm, ""), Instance::default());
}

#[test]
fn credentials_are_found_in_smbios_too() {
    for string in
        ["io.systemd.credential:reseal.hostname=web-1", "io.systemd.credential.binary:reseal.hostname=d2ViLTE="]
    {
        let tables = dmi(&[(11, &["io.systemd.credential:passwd.hashed-password.root=x", string])]);
        assert_eq!(name(&instance(&[(SMBIOS, &tables)], Place::Vm, "")), Some(("web-1", "SMBIOS, type 11")));
    }
}

#[test]
fn addresses_are_those_of_one_source() {
    let file = b"[[addresses]]\nlink = { mac = \"52:54:00:12:34:56\" }\naddresses = [\"192.0.2.9/24\"]\n";
    let files: [(&str, &[u8]); 2] = [
        ("proc/cmdline", b"reseal.ip=192.0.2.7::192.0.2.1:24::eth0:off reseal.ip=:::::eth1:dhcp"),
        ("etc/reseal/instance.toml", file),
    ];
    let told = instance(&files, Place::Vm, "");
    let names: Vec<_> =
        told.addresses.iter().map(|told| (told.link.name.as_deref(), told.dhcp4, &*told.from)).collect();
    let from = "the kernel's command line";
    assert_eq!(names, [(Some("eth0"), false, from), (Some("eth1"), true, from)]);
    let told = instance(&files, Place::Offline, "");
    assert_eq!(told.addresses[0].addresses[0].to_string(), "192.0.2.9/24");
    assert_eq!(told.describe(), ["addresses of link 52:54:00:12:34:56: 192.0.2.9/24, from /etc/reseal/instance.toml"]);
}

#[test]
fn only_allowed_keys_of_the_policy_are_set() {
    let file =
        b"[policy]\nhostname.mode = \"keep\"\nrun.skip = [\"machine-id\"]\nssh-host-keys.sshfp = \"/etc/shadow\"\n";
    let files: [(&str, &[u8]); 1] = [("etc/reseal/instance.toml", file)];
    let told = instance(&files, Place::Offline, "[instance]\nallow = [\"hostname.mode\", \"hostname.name\"]\n");
    assert_eq!(told.policy.keys().collect::<Vec<_>>(), ["hostname.mode"]);
    let refused: Vec<_> = told.troubles.iter().map(|trouble| (trouble.severity, trouble.message.as_str())).collect();
    let says = "/etc/reseal/instance.toml sets the policy key";
    let ignored = "which instance.allow does not name; it is ignored";
    let expected = [format!("{says} run.skip, {ignored}"), format!("{says} ssh-host-keys.sshfp, {ignored}")];
    assert_eq!(refused, expected.iter().map(|text| (Severity::Warning, text.as_str())).collect::<Vec<_>>());
    for key in [
        "run.skip",
        "run.only",
        "instance.allow",
        "ssh-host-keys.known-hosts",
        "pgp-keys.store",
        "residue.enable",
        "hostname",
        "",
    ] {
        let error = Policy::parse("policy", &format!("[instance]\nallow = [{key:?}]\n")).unwrap_err().to_string();
        assert!(error.starts_with("policy: line 2: instance data may not set"), "{error}");
    }
}

#[test]
fn an_allowed_key_is_checked_like_any_other_and_set_stands_above() {
    let policy = Policy::parse("policy", "[instance]\nallow = [\"hostname.mode\"]\n").unwrap();
    let told = |mode: &str| {
        let file = format!("[policy]\nhostname.mode = {mode:?}\n");
        let instance = Instance::of(
            &Tree::new(&[("etc/reseal/instance.toml", file.as_bytes())]).guest(Place::Vm),
            &policy.instance,
        );
        policy.told(&instance).and_then(|policy| policy.show())
    };
    assert!(told("keep").unwrap().contains("[hostname]\nmode = \"keep\""));
    let error = told("kept").unwrap_err().to_string();
    assert!(error.starts_with("/etc/reseal/instance.toml: line 2: unknown variant `kept`"), "{error}");
    let tree = Tree::new(&[("etc/reseal/instance.toml", b"[policy]\nhostname.mode = \"keep\"\n")]);
    let guest = tree.guest(Place::Vm);
    let set = ["instance.allow=[\"hostname.mode\"]".to_owned(), "hostname.mode=dhcp".to_owned()];
    let policy = Policy::load(&guest.root, None, &set).unwrap();
    let told = policy.told(&Instance::of(&guest, &policy.instance)).unwrap();
    assert!(told.show().unwrap().contains("[hostname]\nmode = \"dhcp\""));
}

#[test]
fn malformed_words_are_an_error_that_names_the_source_and_count_for_nothing() {
    let huge = vec![b'a'; LARGEST + 1];
    let larger = vec![b' '; LARGEST_FILE as usize + 1];
    let credential = "run/credentials/@system/reseal.hostname";
    let toml = "etc/reseal/instance.toml";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "proc/cmdline",
            b"reseal.hostname=ok reseal.ip=nonsense".to_vec(),
            "reading the kernel's command line: `ip`: ",
        ),
        ("proc/cmdline", b"reseal.hostname=a reseal.hostname=b".to_vec(), "two host names, a and b"),
        ("proc/cmdline", b"reseal.hostname=$(reboot)".to_vec(), "a host name is made of"),
        ("proc/cmdline", b"reseal.hostname=".to_vec(), "1 to 64 bytes"),
        ("proc/cmdline", b"reseal.hostname={random}".to_vec(), "a host name is made of"),
        ("proc/cmdline", b"reseal.hostname=localhost".to_vec(), "names every machine"),
        ("proc/cmdline", b"reseal.ip=192.0.2.0:::24".to_vec(), "the address of a network"),
        ("proc/cmdline", b"reseal.ip=192.0.2.255:::24".to_vec(), "or a broadcast"),
        ("proc/cmdline", b"reseal.ip=224.0.0.1:::24".to_vec(), "no address of a link"),
        ("proc/cmdline", b"reseal.ip=127.0.0.1:::8".to_vec(), "no address of a link"),
        ("proc/cmdline", b"reseal.ip=192.0.2.7:::24::../../etc:off".to_vec(), "no name of a link"),
        (credential, b"web-1\nweb-2".to_vec(), "reading credentials: the credential reseal.hostname is malformed"),
        (credential, b"\xff\xfe".to_vec(), "is malformed"),
        (credential, huge.clone(), "more than the 65536 bytes"),
        ("run/credentials/@system/reseal.passwd", b"x".to_vec(), "the credential reseal.passwd is malformed"),
        (SMBIOS, dmi(&[(11, &["reseal:hostname"])]), "reading SMBIOS: type 11: a string of reseal's without `=`"),
        (SMBIOS, dmi(&[(1, &["reseal:hostname=a b"])]), "reading SMBIOS: type 1: `hostname`"),
        (SMBIOS, dmi(&[(11, &["io.systemd.credential.binary:reseal.ip=%%"])]), "not in base64"),
        (
            toml,
            b"hostnam = 1\n".to_vec(),
            "reading a file: /etc/reseal/instance.toml: `instance`: line 1: unknown field",
        ),
        (toml, b"\n\n[[addresses]]\naddresses = [\"192.0.2.7\"]\n".to_vec(), "line 4: "),
        (toml, b"[[addresses]]\nfrom = \"root\"\n".to_vec(), "not for instance data to say"),
        (toml, b"[[addresses]]\nsearch = [\"a b\"]\n".to_vec(), "is no domain"),
        (toml, b"[[addresses]]\ngateways = [\"192.0.2.1\", \"192.0.2.2\"]\n".to_vec(), "two default gateways"),
        (toml, b"[[addresses]]\n".repeat(65), "more than 64 links"),
        (toml, huge, "more than the 65536 bytes"),
        (toml, larger, "more than the 16777216"),
    ];
    for (path, bytes, part) in cases {
        let told = instance(&[(path, &bytes)], Place::Vm, "");
        let [Trouble { severity: Severity::Error, message }] = &told.troubles[..] else { panic!("{part}: {told:?}") };
        assert!(message.contains(part), "{message} has no {part}");
        assert_eq!((&told.hostname, told.addresses.len()), (&None, 0), "{part}");
    }
}

#[test]
fn two_entries_of_the_policy_for_one_machine_are_an_error() {
    let uuid = "match = { smbios-uuid = \"11111111-2222-4333-8444-555555555555\" }\nhostname = \"a\"\n";
    let both =
        format!("[[instance.machine]]\n{uuid}[[instance.machine]]\nmatch = {{ serial = \"S1\" }}\nhostname = \"b\"\n");
    let told = instance(&[], Place::Vm, &both);
    assert!(told.troubles[0].message.contains("entries 1 and 2 of instance.machine both match"), "{told:?}");
    let other = format!("[[instance.machine]]\n{}", uuid.replace("}", ", serial = \"S2\" }"));
    assert_eq!(instance(&[], Place::Vm, &other), Instance::default());
    let none = Policy::parse("policy", "[[instance.machine]]\nmatch = {}\nhostname = \"a\"\n").unwrap_err().to_string();
    assert!(none.contains("would match every machine"), "{none}");
}
