// SPDX-License-Identifier: MIT OR Apache-2.0
//! LUKS, judged by cryptsetup(8), which also tries the passphrase.

use reseal::disks::luks::{plan, probe, volume_key};
use reseal::disks::{Patch, Trouble};
use uuid::Uuid;

use crate::rig::{self, Image, output, run};

/// A volume with the passphrase in the file returned, its key derived as cheaply as cryptsetup allows.
fn make(directory: &tempfile::TempDir, name: &str, options: &[&str]) -> (Image, String) {
    let image = Image::new(directory.path(), name, 24 << 20);
    let key = directory.path().join("key");
    std::fs::write(&key, "golden").unwrap();
    let key = key.to_str().unwrap().to_string();
    let cheap = ["luksFormat", "-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", &key];
    run("cryptsetup", &[&cheap, options, &[image.arg()]].concat());
    (image, key)
}

fn opens(image: &Image, key: &str) {
    run("cryptsetup", &["open", "--test-passphrase", "--disable-locks", "--key-file", key, image.arg()]);
}

/// Cuts everywhere; opening LUKS2 may write the older header, so that is done to a copy.
fn cuts(image: Image, key: &str, new: Uuid) -> (Image, usize) {
    let old = rig::blkid(&image, "UUID");
    // What luksDump says of the key slots and segments; reading repairs, so a copy is read.
    let rest = |image: &Image| {
        let dump = run("cryptsetup", &["luksDump", image.copy("dumped").arg()]);
        let telling = |line: &&str| !line.starts_with("UUID") && !line.starts_with("Epoch");
        dump.lines().filter(telling).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = rest(&image);
    let images = [image];
    let count = rig::cut_everywhere(
        &images,
        |images| vec![plan(&images[0], new).unwrap()],
        |images, cut| {
            let uuid = probe(&images[0]).unwrap().unwrap().ids[0].value.clone();
            assert!(uuid == old || uuid == new.to_string());
            let copy = images[0].copy("opened");
            opens(&copy, key);
            // What opening it repaired is planned upon like any other state.
            copy.apply(&plan(&copy, new).unwrap());
            assert_eq!(run("cryptsetup", &["luksUUID", copy.arg()]).trim(), new.to_string(), "{cut:?}");
            opens(&copy, key);
        },
    );
    let [image] = images;
    opens(&image, key);
    assert_eq!(run("cryptsetup", &["luksUUID", image.arg()]).trim(), new.to_string());
    assert_eq!(rig::blkid(&image, "UUID"), new.to_string());
    assert_eq!(rest(&image), before);
    (image, count)
}

#[test]
fn both_versions_open_at_every_cut() {
    let test = "luks::opens";
    if !rig::have(test, &["cryptsetup", "blkid"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    for (variant, options) in [
        ("1", &["--type", "luks1"][..]),
        ("1", &["--type", "luks1", "--hash", "sha512", "--cipher", "aes-cbc-essiv:sha256"]),
        ("2", &["--type", "luks2", "--label", "golden", "--subsystem", "seal"]),
        ("2", &["--type", "luks2", "--sector-size", "4096", "--luks2-metadata-size", "64k"]),
        ("2", &["--type", "luks2", "--luks2-metadata-size", "4m", "--luks2-keyslots-size", "4m"]),
    ] {
        let (image, key) = make(&directory, "volume", options);
        let (image, first) = cuts(image, &key, rig::fresh());
        // A second change, from a cut of the first.
        let half = plan(&image, rig::fresh()).unwrap().batches.remove(0);
        image.apply(&Patch { batches: vec![half] });
        let (image, second) = cuts(image, &key, rig::fresh());
        let found = probe(&image).unwrap().unwrap();
        assert_eq!((&*found.variant, found.refusal), (variant, None));
        count += first + second;
    }
    rig::report("LUKS", count);
}

/// LUKS2 with the other checksum that is known here; cryptsetup itself writes no other than SHA-256.
#[test]
fn sha512_headers_stay_valid() {
    let test = "luks::sha512";
    if !rig::have(test, &["cryptsetup"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (image, key) = make(&directory, "volume", &["--type", "luks2"]);
    for offset in [0, 16384] {
        let mut header = image.get(offset, 16384);
        header[72..104].fill(0);
        header[72..78].copy_from_slice(b"sha512");
        header[448..512].fill(0);
        let sum = <sha2::Sha512 as sha2::Digest>::digest(&header);
        header[448..512].copy_from_slice(&sum);
        image.put(offset, &header);
    }
    opens(&image, &key);
    image.apply(&plan(&image, rig::fresh()).unwrap());
    opens(&image, &key);
}

#[test]
fn tokens_that_need_a_tpm_are_seen() {
    let test = "luks::tokens";
    if !rig::have(test, &["cryptsetup", "base64"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    // As clevis(1) makes them: base64url without padding.
    let encoded = |json: &str| {
        std::fs::write(&path, json).unwrap();
        let text = run("base64", &["-w0", path.to_str().unwrap()]);
        text.trim().trim_end_matches('=').replace('+', "-").replace('/', "_")
    };
    let protected = |pin: &str, more: &str| {
        encoded(&format!("{{\"alg\":\"dir\",\"clevis\":{{\"pin\":\"{pin}\"{more}}},\"enc\":\"A256GCM\"}}"))
    };
    let clevis = |protected: &str| {
        format!("{{\"type\":\"clevis\",\"keyslots\":[\"0\"],\"jwe\":{{\"protected\":\"{protected}\",\"tag\":\"x\"}}}}")
    };
    let shared = |pin: &str| {
        let inner = protected(pin, "");
        clevis(&protected(
            "sss",
            &format!(",\"sss\":{{\"t\":1,\"jwe\":[\"{}..x.y.z\",\"{inner}..x.y.z\"]}}", protected("tang", "")),
        ))
    };
    // systemd's plugins for cryptsetup check what is imported.
    let systemd = |kind: &str| {
        format!(
            "{{\"type\":\"systemd-{kind}\",\"keyslots\":[\"0\"],\"tpm2-blob\":\"AAAA\",\"tpm2-pcrs\":[7],\
             \"tpm2-policy-hash\":\"00\",\"fido2-credential\":\"AAAA\",\"fido2-salt\":\"AAAA\",\"fido2-rp\":\"x\"}}"
        )
    };
    for (token, tpm) in [
        (systemd("tpm2"), true),
        (systemd("fido2"), false),
        (systemd("recovery"), false),
        (clevis(&protected("tpm2", "")), true),
        (clevis(&protected("tang", "")), false),
        (shared("tpm2"), true),
        (shared("tang"), false),
    ] {
        let (image, _) = make(&directory, "volume", &["--type", "luks2"]);
        assert!(!probe(&image).unwrap().unwrap().tpm);
        std::fs::write(&path, &token).unwrap();
        run("cryptsetup", &["token", "import", "--json-file", path.to_str().unwrap(), image.arg()]);
        assert_eq!(probe(&image).unwrap().unwrap().tpm, tpm, "{token}");
        // It stays a token of the volume under its new id.
        image.apply(&plan(&image, rig::fresh()).unwrap());
        assert_eq!(probe(&image).unwrap().unwrap().tpm, tpm, "{token}");
    }
    let (one, _) = make(&directory, "one", &["--type", "luks1"]);
    assert!(!probe(&one).unwrap().unwrap().tpm);
}

#[test]
fn what_is_not_plain_is_left_alone() {
    let test = "luks::bad";
    if !rig::have(test, &["cryptsetup"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let refused = |image: &Image, word: &str| {
        let refused = plan(image, rig::fresh());
        assert!(matches!(&refused, Err(Trouble::Refused(why)) if why.contains(word)), "{refused:?}");
        assert!(probe(image).unwrap().unwrap().refusal.unwrap().contains(word));
    };
    for version in ["luks1", "luks2"] {
        let header = Image::new(directory.path(), "header", 16 << 20);
        make(&directory, "elsewhere", &["--type", version, "--header", header.arg()]);
        refused(&header, "another device");
    }
    let (two, key) = make(&directory, "two", &["--type", "luks2"]);
    let under_way = two.copy("under-way");
    let begun = output(
        "cryptsetup",
        &[
            "reencrypt",
            "-q",
            "--init-only",
            "--disable-locks",
            "--resilience",
            "journal",
            "--key-file",
            &key,
            "--pbkdf",
            "pbkdf2",
            "--pbkdf-force-iterations",
            "1000",
            under_way.arg(),
        ],
    );
    if begun.status.success() {
        refused(&under_way, "encrypted anew");
    } else {
        // Without device-mapper it does not begin; the requirement is what it would have written first.
        let why = String::from_utf8_lossy(&begun.stderr).into_owned();
        for offset in [0, 16384] {
            let mut header = two.get(offset, 16384);
            let json = String::from_utf8(header[4096..].to_vec()).unwrap();
            let json = json.trim_end_matches('\0').replacen(
                "\"config\":{",
                "\"config\":{\"requirements\":{\"mandatory\":[\"online-reencrypt-v2\"]},",
                1,
            );
            assert!(json.contains("mandatory"), "{why} {json}");
            header[4096..4096 + json.len()].copy_from_slice(json.as_bytes());
            header[448..512].fill(0);
            let sum = <sha2::Sha256 as sha2::Digest>::digest(&header);
            header[448..480].copy_from_slice(&sum);
            under_way.put(offset, &header);
        }
        refused(&under_way, "encrypted anew");
    }
    let new = rig::fresh();
    rig::spoil(&two, &[(0, 512), (16384, 512), (4096, 64), (4096 + 16384, 64)], true, 16 << 20, |blocks| {
        plan(blocks, new)
    });
    let (one, _) = make(&directory, "one", &["--type", "luks1"]);
    rig::spoil(&one, &[(0, 8), (208, 4), (256, 4)], true, 2 << 20, |blocks| plan(blocks, new));
    rig::spoil(&one, &[(0, 592)], false, 2 << 20, |blocks| plan(blocks, new));
    one.put(0, b"LUKS\xde\xad");
    refused(&one, "encrypted anew");
}

/// What the header tells of the volume key, while cryptsetup-reencrypt(8) gives it another.
#[test]
fn another_volume_key_shows_in_the_header() {
    let test = "luks::volume_key";
    if !rig::have(test, &["cryptsetup", "losetup"]) || !rig::loops(test) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (image, key) = make(&directory, "volume", &["--type", "luks2"]);
    let first = volume_key(&image).unwrap().unwrap();
    assert_eq!((first.slots, first.digests.len()), (1, 1));
    assert!(first.has_room && !first.has_tokens && !first.under_way);

    let device = run("losetup", &["--find", "--show", image.arg()]).trim().to_owned();
    let reencrypt = |more: &[&str]| {
        run("cryptsetup", &[&["reencrypt", "--batch-mode", "--key-file", &key], more, &[&device]].concat());
        volume_key(&image).unwrap().unwrap()
    };
    let begun = reencrypt(&["--init-only"]);
    assert!(begun.under_way && begun.digests.contains(&first.digests[0]), "{begun:?}");
    let ended = reencrypt(&["--resume-only"]);
    assert!(!ended.under_way && !ended.digests.contains(&first.digests[0]), "{ended:?}");
    assert_eq!((ended.slots, ended.digests.len()), (1, 1));
    opens(&image, &key);

    let second = directory.path().join("second");
    std::fs::write(&second, "another").unwrap();
    let cheap = ["luksAddKey", "-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", &key];
    run("cryptsetup", &[&cheap[..], &[&device, second.to_str().unwrap()]].concat());
    assert_eq!(volume_key(&image).unwrap().unwrap().slots, 2);
    run("losetup", &["--detach", &device]);

    let (old, _) = make(&directory, "first", &["--type", "luks1"]);
    assert_eq!(volume_key(&old).unwrap(), None);
    // No room beside the one slot.
    let narrow = ["--type", "luks2", "--luks2-metadata-size", "16k", "--luks2-keyslots-size", "256k"];
    let (narrow, _) = make(&directory, "narrow", &narrow);
    assert!(!volume_key(&narrow).unwrap().unwrap().has_room);
}
