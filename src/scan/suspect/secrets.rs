// SPDX-License-Identifier: MIT OR Apache-2.0
//! What looks like a secret that was drawn: by its setting's name and its randomness, or by a file that is nothing else.

/// Words of a setting's name.
const NAMES: [&str; 19] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "privatekey",
    "private_key",
    "psk",
    "cookie",
    "authkey",
    "auth_key",
    "encryption_key",
    "shared_key",
    "pass",
    "salt",
    "requirepass",
    "masterauth",
];

/// Shorter values are chosen by people, or are words.
const SHORTEST: usize = 12;

/// Longest value.
const LONGEST: usize = 512;

/// Randomness of a letter, in bits; English has no more than 3 of so few letters, and no digits among them.
const RANDOM: f64 = 3.0;

/// A setting that looks like a secret: its name, and where it begins.
pub fn setting(text: &str) -> Option<(&str, usize)> {
    let start = text.as_ptr() as usize;
    text.lines().find_map(|line| {
        let line = line.trim();
        if line.is_empty()
            || line.starts_with(['#', ';', '/', '*', '!'])
            || line.starts_with("--")
            || line.starts_with("<!")
        {
            return None;
        }
        let (name, value) = parts(line)?;
        let small = name.to_ascii_lowercase().replace('-', "_");
        let is_named = NAMES.iter().any(|word| {
            small == *word || small.ends_with(&format!("_{word}")) || small.ends_with(word) && word.len() > 4
        });
        (is_named && is_random(value)).then(|| (name, line.as_ptr() as usize - start))
    })
}

/// Name and value of a line, whatever the file's syntax is: `name = value`, `name: value`, `name value`, `"name": "value",`,
/// `<name>value</name>`, `define('NAME', 'value');`.
fn parts(line: &str) -> Option<(&str, &str)> {
    let is_edge = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != '-';
    let line = line
        .strip_prefix("define(")
        .or_else(|| line.strip_prefix("export "))
        .or_else(|| line.strip_prefix("set "))
        .unwrap_or(line);
    let line = line.trim_start_matches(is_edge);
    let end = line.find(is_edge)?;
    // Sections before a name: `[server] key`, `a.b.c = d`.
    let name = &line[..end];
    let rest = line[end..].trim_start_matches(|letter: char| letter.is_whitespace() || "\"'=:,>".contains(letter));
    let value = rest.split(|letter: char| letter.is_whitespace() || "\"'<,;)".contains(letter)).next()?;
    (!name.is_empty()).then_some((name, value))
}

/// Is it drawn, and no word, path, address or place for one?
fn is_random(value: &str) -> bool {
    let kinds: [fn(&u8) -> bool; 3] = [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit];
    let mixed = kinds.iter().filter(|kind| value.bytes().any(|byte| kind(&byte))).count() >= 2;
    let place = value.starts_with(['/', '$', '%', '{', '<', '@', '&', '~', '!'])
        || value.contains("://")
        || value.contains("${")
        || value.contains("{{");
    let lower = value.to_ascii_lowercase();
    let word = [
        "example",
        "changeme",
        "change_me",
        "placeholder",
        "secret",
        "password",
        "your",
        "xxxx",
        "default",
        "/etc",
        "/var",
    ];
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    (SHORTEST..=LONGEST).contains(&value.len())
        && mixed
        && digits >= 2
        && !place
        && value.bytes().all(|byte| byte.is_ascii_graphic())
        && !word.iter().any(|word| lower.contains(word))
        && bits(value.as_bytes()) >= RANDOM
}

/// Is a whole file one secret: a single word, or random bytes?
pub fn whole_file(bytes: &[u8]) -> Option<&'static str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let word = text.trim();
            let one = !word.contains(char::is_whitespace) && word.bytes().all(|byte| byte.is_ascii_graphic());
            (one && word.len() >= 16 && is_random(word)).then_some("one random word")
        }
        // As many bytes give at most so many bits a byte; text in another encoding and tables have far fewer.
        Err(_) => {
            let most = (bytes.len() as f64).log2().min(8.0);
            let has = (16..=4096).contains(&bytes.len()) && bits(bytes) > 0.93 * most;
            (has && !is_packed(bytes)).then_some("random bytes")
        }
    }
}

/// Packed files look random.
fn is_packed(bytes: &[u8]) -> bool {
    let heads: [&[u8]; 10] = [
        b"\x1f\x8b",
        b"\xfd7zXZ",
        b"\x28\xb5\x2f\xfd",
        b"BZh",
        b"PK\x03\x04",
        b"\x89PNG",
        b"\xff\xd8\xff",
        b"GIF8",
        b"\x99\x01",
        b"\x99\x02",
    ];
    heads.iter().any(|head| bytes.starts_with(head))
}

/// Randomness of a byte, in bits: Shannon's entropy of how often each occurs.
pub fn bits(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let all = bytes.len() as f64;
    counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / all).map(|part| -part * part.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_were_drawn() {
        for (line, name) in [
            ("password = Xk29fLq0vBn3Zt7p", "password"),
            ("rpc_secret: \"b7f1c09ad2e84356\"", "rpc_secret"),
            ("  \"api-key\": \"b7f1c09ad2e84356aa\",", "api-key"),
            ("requirepass Xk29fLq0vBn3Zt7p", "requirepass"),
            ("<Token>b7f1c09ad2e84356</Token>", "Token"),
            ("define('AUTH_SALT', 'q8#Vb2!kLm9@wZ4x');", "AUTH_SALT"),
            ("export DB_PASSWORD=Xk29fLq0vBn3Zt7p", "DB_PASSWORD"),
            ("PrivateKey = 8F7C1dR0pQ3nWmX5yTzUeKbVhGjLsAaOiNfMqBcDx2k=", "PrivateKey"),
        ] {
            let text = format!("# a file\nname = x\n{line}\n");
            assert_eq!(setting(&text).map(|(name, _)| name), Some(name), "{line}");
            assert_eq!(&text[setting(&text).unwrap().1..][..1], &line.trim()[..1]);
        }
        for none in [
            "# password = Xk29fLq0vBn3Zt7p",
            "password = /etc/secrets/file1234",
            "password = $ENVIRONMENT_1234",
            "password = changeme1234567",
            "password = correcthorsebattery",
            "password = x1",
            "token_url = https://a.example/1234567",
            "compass = Xk29fLq0vBn3Zt7p",
            "title = Xk29fLq0vBn3Zt7p",
            "password",
            "",
        ] {
            assert_eq!(setting(none), None, "{none}");
        }
    }

    #[test]
    fn files_that_are_nothing_else() {
        use sha2::{Digest as _, Sha256};
        let random: Vec<u8> = (0..4_u8).flat_map(|number| Sha256::digest([number]).to_vec()).collect();
        assert_eq!(whole_file(&random), Some("random bytes"));
        assert_eq!(whole_file(b"b7f1c09ad2e84356aa\n"), Some("one random word"));
        let head = [&b"\x1f\x8b"[..], &random].concat();
        for none in [
            &b""[..],
            b"localhost\n",
            b"two words1234567890",
            b"1234567890123456\n",
            &head,
            &random[..8],
            "Grüße an alle \u{fffd}".as_bytes(),
        ] {
            assert_eq!(whole_file(none), None, "{none:?}");
        }
    }
}
