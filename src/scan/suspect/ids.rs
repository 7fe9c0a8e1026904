// SPDX-License-Identifier: MIT OR Apache-2.0
//! What looks like an id of 128 bits, and names of files that say that one is in them.

/// More ids than these in one file are a list, of checksums as a rule.
const MOST: usize = 8;

/// Longest file that a bare row of digits is taken for an id in: larger ones hold checksums.
const SMALL: usize = 4 << 10;

/// Ids that specifications give, UAPI.2 Discoverable Partitions and UEFI: their beginnings, in small letters.
const GIVEN: [&str; 12] = [
    "00000000-0000",
    "ffffffff-ffff",
    "c12a7328-f81f",
    "0fc63daf-8483",
    "4f68bce3-e8cd",
    "44479540-f297",
    "21686148-6449",
    "8be4df61-93ca",
    "e6d6d379-f507",
    "0657fd6d-a4ab",
    "bc13c2ff-59e6",
    "a19d880f-05fc",
];

/// Does a file's name say that it holds an id?
pub fn is_named(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // Words that belong to one another, however they are joined.
    let words: Vec<&str> = name.split(['-', '_', '.', ' ']).filter(|word| !word.is_empty()).collect();
    let pair = |first: &str| {
        let joined = format!("{first}id");
        words.windows(2).any(|two| two[0] == first && two[1] == "id") || words.iter().any(|word| **word == joined)
    };
    let single =
        ["uuid", "guid"].iter().any(|word| words.iter().any(|part| part.trim_matches(char::is_numeric) == *word));
    single
        || [
            "host",
            "machine",
            "node",
            "instance",
            "installation",
            "install",
            "device",
            "client",
            "server",
            "system",
            "engine",
            "agent",
            "cluster",
            "hw",
        ]
        .into_iter()
        .any(pair)
}

/// The first id in a text, and how many there are; `None` where there is none, or a list of them.
pub fn in_text(text: &str) -> Option<(usize, usize)> {
    let mut found: Vec<(usize, &str)> = Vec::new();
    for (at, word) in words(text) {
        let is_id = is_uuid(word) || text.len() <= SMALL && is_bare(word);
        if is_id && !GIVEN.iter().any(|given| word.to_ascii_lowercase().starts_with(given)) {
            found.push((at, word));
        }
    }
    let first = found.first()?.0;
    (found.len() <= MOST).then_some((first, found.len()))
}

/// Runs of digits, letters and dashes, and where each begins.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    let start = text.as_ptr() as usize;
    text.split(move |letter| !is_part(letter)).map(move |word| (word.as_ptr() as usize - start, word))
}

/// RFC 9562, 4: with its version and variant, which a made-up one need not have.
fn is_uuid(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            14 => (b'1'..=b'8').contains(byte),
            19 => matches!(byte.to_ascii_lowercase(), b'8' | b'9' | b'a' | b'b'),
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_bare(word: &str) -> bool {
    let digits = word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    // Decimal digits alone, or few of them, are a number or a pattern.
    digits && word.bytes().any(|byte| byte.is_ascii_alphabetic()) && super::secrets::bits(word.as_bytes()) > 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ids() {
        for name in [
            "uuid",
            "node.uuid",
            "machine-id",
            "machine_id",
            "hostid",
            "host-id",
            "engine-id",
            "agent.GUID",
            "client_id",
        ] {
            assert!(is_named(name), "{name}");
        }
        for name in [
            "uuidgen.1.gz",
            "libuuid1:amd64.list",
            "identity",
            "id_rsa",
            "hosts",
            "ghostid",
            "machine",
            "idmap",
            "grid",
        ] {
            assert!(!is_named(name), "{name}");
        }
    }

    #[test]
    fn ids_are_told_from_checksums() {
        let id = "0aaa1111-2b22-4333-8444-55555555555f";
        assert_eq!(in_text(&format!("id = {id}\n")), Some((5, 1)));
        assert_eq!(in_text("{\"id\":\"7b1c2d3e4f5a46978899aabbccddeef1\"}"), Some((7, 1)));
        for none in [
            "",
            "id = 00000000-0000-0000-0000-000000000000",
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
            // No version.
            "0aaa1111-2b22-0333-8444-55555555555f",
            "x0aaa1111-2b22-4333-8444-55555555555f",
            "11111111111111111111111111111111",
            "1234567890123456789012345678901a1",
        ] {
            assert_eq!(in_text(none), None, "{none}");
        }
        assert_eq!(in_text(&format!("{id}\n").repeat(MOST + 1)), None);
        assert_eq!(in_text(&format!("{}7b1c2d3e4f5a46978899aabbccddeef1", " ".repeat(SMALL))), None);
    }
}
