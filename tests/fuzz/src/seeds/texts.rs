// SPDX-License-Identifier: MIT OR Apache-2.0
//! Seeds of the text targets: the files as distributions ship them, and reseal's own.

use std::fs;
use std::process::Command;

use reseal::keys;
use reseal::plan::key::{KeySpec, PgpAlgorithm, SshAlgorithm};
use reseal::policy::instance::INSTANCE_EXAMPLE;
use reseal::policy::{Policy, RUN_EXAMPLE};
use reseal::regenerators::PIPELINE;

use crate::text::NEXT;

fn seed(parts: &[&str]) -> Vec<u8> {
    parts.join(&NEXT.to_string()).into_bytes()
}

/// For the pure formats.
pub fn text() -> Vec<Vec<u8>> {
    const UUID: [&str; 2] = ["0aaa1111-2222-4333-8444-555555555555", "0bbb1111-2222-4333-8444-555555555555"];
    let fstab = format!(
        "# /etc/fstab\nUUID={0} / ext4 errors=remount-ro 0 1\nPARTUUID=\"{0}\" /boot\tvfat\n\
         /dev/disk/by-uuid/{0} none swap sw 0 0\nlabel {0}-01\nRESUME=UUID={0}\n",
        UUID[0]
    );
    [
        ["tags", &fstab, UUID[0], UUID[1]],
        ["hosts", "127.0.0.1\tlocalhost\n127.0.1.1\ttmpl.example.com tmpl # tmpl\n::1 ip6\n10.0.0.9 tmpl2 x-tmpl\n", "tmpl", "web"],
        ["keys", "# a = b\nmydestination = $myhostname,\n\ttmpl,\n  localhost\nrelay = tmpl\nlinux root=tmpl quiet\n", "tmpl", "web"],
        ["words", "tmpl tmpl2 my-tmpl tmpl.lan (tmpl),tmpl id-abc-1 0abc", "tmpl", "web"],
        ["assignments", "# HOSTNAME=no\nNETWORKING=yes\r\nHOSTNAME=\"tmpl\"\r\nexport X = a\nY='b c'\n", "HOSTNAME", "web"],
        ["template", "web-{mac:6}.{hostname}-{random}.{serial}{uuid:8}{machine-id:4}", "", ""],
        ["template", "/etc/reseal/x", "", ""],
        ["passwd", "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\nssh_keys:x:998:\n", "ssh_keys", ""],
        ["sshd", "Include /etc/ssh/sshd_config.d/*.conf \"b c\"\nHostKey=/k\\ y # the key\n\"HostKey\" '/k'\nMatch User git\n  Include x\n  HostKey /no\nMatch all\nHostKeyAgent SSH_AUTH_SOCK\nHostCertificate /c\n", "", ""],
    ]
    .iter()
    .map(|parts| seed(parts))
    .collect()
}

/// For policy, catalogue and record.
pub fn policy() -> Vec<Vec<u8>> {
    let examples: Vec<&str> =
        [RUN_EXAMPLE, INSTANCE_EXAMPLE].into_iter().chain(PIPELINE.iter().map(|entry| entry.example)).collect();
    let mut all: Vec<_> = examples.iter().map(|example| seed(&["policy", example, example])).collect();
    all.push(seed(&["policy", &examples.concat(), &Policy::shipped()]));
    all.push(seed(&["policy", "[hostname]\nname = \"web-{mac:6}\"\n", "[run]\nskip = [\"residue\"]\n"]));
    let whole = [
        include_str!("../../../../src/catalogue/residue/core.toml"),
        include_str!("../../../../src/catalogue/residue/logs.toml"),
        include_str!("../../../../src/catalogue/references.toml"),
    ];
    for text in whole {
        all.push(seed(&["catalogue", text]));
        all.extend(text.split("\n\n").filter(|entry| entry.contains("[[")).map(|entry| seed(&["catalogue", entry])));
    }
    all.push(seed(&["record", RECORD]));
    all
}

/// For the matcher: values of every kind, and text that has them in some spellings.
pub fn scan() -> Vec<Vec<u8>> {
    [
        ("hostname=golden", "127.0.1.1 golden golden.lan GOLDEN golden-2 goldens"),
        (
            "uuid=0aaa1111-2b22-4333-8444-55555555555f\nfs-uuid=9C1F-33A7",
            "UUID=0aaa1111-2b22-4333-8444-55555555555f 0AAA11112B22433384445555 0aaa1111\\x2d2b22 9c1f33a7 0x9C1F33A7",
        ),
        (
            "mac-address=52:54:00:ab:cd:ef",
            "52:54:00:AB:CD:EF 01-52-54-00-ab-cd-ef 525400abcdef fe80::5054:ff:feab:cdef RT\0\u{ab}",
        ),
        (
            "ip-address=10.77.13.5\nip-address=fd00::1:5",
            "10.77.13.5 10.77.13.50 [fd00::1:5]:22 5.13.77.10.in-addr.arpa ip-10-77-13-5",
        ),
        (
            "lvm-uuid=AbCdEf-0123-4567-89ab-cdef-GHIJ-klmnop",
            "AbCdEf-0123-4567-89ab-cdef-GHIJ-klmnop AbCdEf0123456789abcdefGHIJklmnop",
        ),
        (
            "ssh-host-key=SHA256:W3ZldRm9fKqEsPqei0aaaabbbbccccddddeeeeffffg",
            "SHA256:W3ZldRm9fKqEsPqei0aaaabbbbccccddddeeeeffffg ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAA",
        ),
        (
            "pgp-key=FA1516896C901ED91BCA44F8EF0123456789ABCD",
            "FA15 1689 6C90 1ED9 1BCA  44F8 EF01 2345 6789 ABCD EF0123456789ABCD",
        ),
        ("text=some old words", "some old words, some old wordss"),
    ]
    .iter()
    .map(|(values, file)| seed(&[values, file]))
    .collect()
}

/// For what unpacks: what the programs make, one in the other.
pub fn unpack() -> Vec<Vec<u8>> {
    let packers = [
        "cat",
        "gzip -1",
        "gzip -9",
        "xz -0",
        "xz --check=sha256 --x86 --lzma2=dict=64KiB",
        "zstd -q -1",
        "zstd -q -19 --no-check",
        "bzip2",
    ];
    let archive = "printf 'etc/a\\netc/b\\n' | cpio --quiet -o -H newc";
    let inner = ["echo text", "head -c 70000 /dev/zero", archive, "cat /bin/true"];
    let directory = tempfile::tempdir().unwrap();
    let _ = fs::create_dir(directory.path().join("etc"));
    let _ = fs::write(directory.path().join("etc/a"), "one");
    let _ = fs::write(directory.path().join("etc/b"), "two".repeat(500));
    let mut scripts = Vec::new();
    for packer in packers {
        scripts.extend(inner.iter().map(|inner| format!("{inner} | {packer}")));
        scripts.push(format!("{archive}; head -c 100 /dev/zero; {archive} | {packer}; {archive} | gzip"));
    }
    scripts.push("echo x | gzip | xz | zstd -q | gzip".to_owned());
    let made = scripts.iter().filter_map(|script| {
        let output = Command::new("/bin/sh").arg("-ec").arg(script).current_dir(&directory).output().ok()?;
        (output.status.success() && output.stdout.len() < 100_000).then_some(output.stdout)
    });
    made.collect()
}

/// For entries of the catalogue: each of the built-in ones, with a file that it could be about.
pub fn catalogue() -> Vec<Vec<u8>> {
    let texts = [
        include_str!("../../../../src/catalogue/residue/core.toml"),
        include_str!("../../../../src/catalogue/residue/keys.toml"),
        include_str!("../../../../src/catalogue/residue/network.toml"),
        include_str!("../../../../src/catalogue/residue/web.toml"),
        include_str!("../../../../src/catalogue/references.toml"),
    ];
    let entries = texts.iter().flat_map(|text| text.split("\n\n").filter(|entry| entry.contains("[[")));
    let mut all: Vec<_> = entries.map(|entry| seed(&[entry])).collect();
    let entry = |more: &str| {
        format!(
            "[[residue]]\nid = 'a'\nabout = 'b'\npaths = ['/a']\naction = 'renew'\ngroup = 'g'\nseverity = 'low'\nsource = 's'\n{more}\n"
        )
    };
    for (more, file) in [
        ("value = 'uuid'", "0aaa1111-2222-4333-8444-555555555555\n"),
        ("value = 'hex-16'\nsecret = true", "b7f1c09ad2e84356b7f1c09ad2e84356"),
        (
            "value = 'iqn'\nfield = { syntax = 'assignment', key = 'InitiatorName' }",
            "# a\nInitiatorName=iqn.1993-08.org.debian:01:abc\n",
        ),
        (
            "value = 'password-20'\nsecret = true\nfield = { syntax = 'assignment', key = 's/password' }",
            "[s]\npassword = x\n[t]\npassword = y\n",
        ),
        ("value = 'decimal-9'\nfield = { syntax = 'json', key = 'id' }", "{\"id\": \"12\", \"x\": {\"id\": 3}}"),
        ("value = 'base64-32'\nfield = { syntax = 'xml', key = 'id' }", "<a><id>x</id></a>"),
    ] {
        all.push(seed(&[&entry(more), file]));
    }
    all
}

/// A stamp with one of each: renewal, finding, step.
const RECORD: &str = r#"{"version": 1, "reseal": "0.1.0", "form": "reset", "run": "5a", "fingerprint": {"uuid": "1"},
"boot": null, "seed": null, "renewals": [], "findings": [], "steps": []}"#;

/// For the key readers: what reseal makes, and what ssh-keygen(1) does beside that.
pub fn keys() -> Vec<Vec<u8>> {
    let host = |algorithm| KeySpec::SshHost { algorithm, comment: "root@clone".into() };
    let pgp = |armored| KeySpec::pgp(PgpAlgorithm::Cv25519, "clone", armored);
    let specs = [
        host(SshAlgorithm::Ed25519),
        host(SshAlgorithm::EcdsaP256),
        host(SshAlgorithm::Rsa2048),
        pgp(true),
        pgp(false),
    ];
    let made = specs.iter().filter_map(|spec| keys::make(spec).ok());
    let mut all: Vec<Vec<u8>> = made.flat_map(|key| [key.private.to_vec(), key.companion.content]).collect();
    let directory = tempfile::tempdir().unwrap();
    // Key rings of gpg(1): a keybox, and packets with a local signature.
    let script = "export GNUPGHOME=$0; chmod 700 $0
        for name in a b; do gpg -q --batch --passphrase '' --quick-generate-key $name ed25519; done
        gpg -q --batch --yes --quick-lsign-key $(gpg --list-keys --with-colons a | awk -F: '/^fpr/ { print $10; exit }')
        gpg --export --export-options export-local-sigs >$0/ring; gpgconf --kill all";
    let home = directory.path().join("home");
    let _ = fs::create_dir(&home);
    let _ = Command::new("/bin/sh").args(["-c", script]).arg(&home).output();
    all.extend(["pubring.kbx", "ring"].iter().filter_map(|ring| fs::read(home.join(ring)).ok()));
    for (number, options) in
        ["-t ed25519 -N secret", "-t rsa -m PEM -N ''", "-t ecdsa -b 521 -m PKCS8 -N ''", "-t rsa -b 2048 -N ''"]
            .iter()
            .enumerate()
    {
        let path = directory.path().join(number.to_string());
        let script = format!(
            "ssh-keygen -q {options} -C host -f {0} && ssh-keygen -q -h -s {0} -P secret -I id -n host -V +1d {0}.pub",
            path.display()
        );
        let _ = Command::new("/bin/sh").args(["-c", &script]).output();
        let files = ["", ".pub", "-cert.pub"].map(|suffix| format!("{}{suffix}", path.display()));
        all.extend(files.iter().filter_map(|file| fs::read(file).ok()));
    }
    all
}
