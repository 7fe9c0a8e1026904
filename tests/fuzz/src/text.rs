// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text that reseal reads and edits: what it writes it can read again, and an edit that changes nothing changes nothing.

use std::sync::LazyLock;

use reseal::catalogue::Catalogue;
use reseal::formats::absolute_path::AbsolutePath;
use reseal::formats::device_tags::{self, Rules};
use reseal::formats::known_ids::KnownIds;
use reseal::formats::name_template::NameTemplate;
use reseal::formats::{assignments, fstab, grub, hosts, keyring, keys as key_lines, passwd, sshd_config, words};
use reseal::keys::{NewKey, pgp, ssh};
use reseal::plan::Kind;
use reseal::plan::key::{KeySpec, PgpAlgorithm};
use reseal::policy::Policy;
use reseal::stamp::Record;

use crate::tally;

/// Between the arguments of one input.
pub const NEXT: char = '\u{1}';

/// The pure formats: a letter says which, then come the text and up to two names.
pub fn text(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return tally::count("not text") };
    let mut parts = input.split(NEXT);
    let [which, text, old, new] = [(); 4].map(|()| parts.next().unwrap_or_default());
    match which {
        "tags" => {
            fstab::entries(text);
            fstab::volumes(text);
            for kind in Kind::ON_DISKS {
                assert!(KnownIds::new([(kind, old, old)]).replace(text, |_| true).eq_ignore_ascii_case(text));
                for meant in [device_tags::is_meant, grub::is_meant] {
                    let rules = |fields| Rules { fields, named: &[] };
                    let ids = KnownIds::new([(kind, old, new)]);
                    let after = ids.replace(text, |quote| meant(quote, rules(&[])));
                    if !old.contains('\n') && !new.contains('\n') {
                        assert_eq!(text.matches('\n').count(), after.matches('\n').count());
                    }
                }
            }
        }
        "hosts" => {
            assert_eq!(hosts::replace(text, old, old), text);
            replaced(text, &hosts::replace(text, old, new), old, new);
            let full = hosts::full_names(text, old);
            assert!(full.iter().all(|name| name.starts_with(old) && text.contains(name.as_str())));
        }
        "keys" => {
            assert_eq!(key_lines::edit(text, &[old.into(), new.into()], str::to_owned), text);
            assert_eq!(key_lines::edit_words(text, "root", old, old), text);
            replaced(text, &key_lines::edit_words(text, "root", old, new), old, new);
        }
        "words" => {
            for replace in [words::replace_name, words::replace_hex] {
                assert_eq!(replace(text, old, old), text);
                replaced(text, &replace(text, old, new), old, new);
            }
        }
        "assignments" => {
            assert_eq!(assignments::edit(text, old, str::to_owned), text);
            let name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if name(old) && name(new) {
                let set = assignments::set(text, old, new);
                let expected = assignments::value(text, old).map(|_| new);
                assert_eq!(assignments::value(&set, old).as_deref(), expected);
                assert_eq!(assignments::set(&set, old, new), set);
                assert_eq!(assignments::value(&assignments::remove(text, old), old), None);
            }
        }
        "template" => {
            if let Ok(template) = NameTemplate::try_from(text.to_owned()) {
                assert_eq!(NameTemplate::try_from(template.to_string()).expect("its own text"), template);
            }
            if let Ok(path) = AbsolutePath::try_from(text.to_owned()) {
                assert_eq!(path.as_str(), text);
            }
        }
        "passwd" => {
            assert!(passwd::homes(text).iter().all(|home| home.starts_with('/') && text.contains(home.as_str())));
            passwd::group_id(text, old);
        }
        "sshd" => {
            let config = sshd_config::parse(text);
            let lines = text.lines().count();
            assert!(config.directives.iter().all(|one| (1..=lines).contains(&one.line)));
            assert!(config.refused.iter().all(|one| (1..=lines).contains(&one.line)));
        }
        _ => return tally::count("no format"),
    }
    tally::count("edited");
}

/// Where nothing was to be replaced nothing is, and no line comes or goes.
fn replaced(before: &str, after: &str, old: &str, new: &str) {
    if !before.to_ascii_lowercase().contains(&old.to_ascii_lowercase()) {
        assert_eq!(before, after);
    }
    if !old.contains('\n') && !new.contains('\n') {
        assert_eq!(before.matches('\n').count(), after.matches('\n').count());
    }
}

/// What an admin or a site writes in TOML, and what reseal itself remembers: a letter, then one or two texts.
pub fn policy(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return tally::count("not text") };
    let mut parts = input.split(NEXT);
    let [which, text, above] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let sound = match which {
        "policy" => policy_of(text, above),
        "catalogue" => {
            let mut all = Catalogue::built_in().expect("the built-in entries");
            let before = all.residue.len();
            let added = all.add("fuzz.toml", text);
            assert!(all.residue.len() >= before);
            added.is_ok()
        }
        "record" => record(text),
        _ => false,
    };
    tally::count(if sound { "sound" } else { "error" });
}

fn policy_of(text: &str, above: &str) -> bool {
    let Ok(mut policy) = Policy::parse("fuzz.toml", text) else { return false };
    let shown = policy.show().expect("a policy that was read can be shown");
    let again = Policy::parse("shown", &shown).expect("its own text");
    assert_eq!(again.show().expect("shown again"), shown);
    let alone = Policy::parse("above", above).is_ok();
    assert_eq!(policy.overlay(above).is_ok(), alone, "two layers that are each sound fit over each other");
    policy.show().expect("a merged policy can be shown");
    true
}

fn record(text: &str) -> bool {
    let Ok(record) = serde_json::from_str::<Record>(text) else { return false };
    let written = record.to_bytes().expect("a record that was read can be written");
    let again: Record = serde_json::from_slice(&written).expect("its own text");
    assert_eq!(again.to_bytes().expect("written again"), written);
    true
}

/// What a ring is renewed for.
static RENEWING: LazyLock<Option<NewKey>> =
    LazyLock::new(|| reseal::keys::make(&KeySpec::pgp(PgpAlgorithm::Cv25519, "clone", true)).ok());

/// Keys of the guest: an input goes to every reader.
pub fn keys(input: &[u8]) {
    let mut sound = ssh::read_private(input).is_ok();
    let publics = [ssh::read_public(input), ssh::read_certificate(input)];
    for key in publics.into_iter().flatten() {
        sound = true;
        let _ = (key.bits(), key.family(), key.sshfp("host"), key.known_hosts_line(&["host"]), key.name());
        if let Ok(line) = key.line() {
            let again = ssh::read_public(line.as_bytes()).expect("its own line");
            assert_eq!(again.fingerprint(), key.fingerprint());
        }
    }
    sound |= pgp::read(input).is_ok();
    if let Ok(blocks) = keyring::blocks(input) {
        sound |= !blocks.is_empty();
        assert_eq!(
            blocks.iter().flat_map(|block| block.bytes).copied().collect::<Vec<u8>>(),
            input,
            "a ring is its blocks"
        );
        // The certificate of the seeds: its files are found where it stands.
        let _ = pgp::ring::own(input, &["0000000000000000000000000000000000000000.key".to_owned()]);
        if let Some(key) = RENEWING.as_ref() {
            let _ = pgp::ring::renew(input, &key.private, &["00".repeat(20)]);
        }
    }
    tally::count(if sound { "a key" } else { "no key" });
}
