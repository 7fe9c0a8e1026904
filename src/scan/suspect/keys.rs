// SPDX-License-Identifier: MIT OR Apache-2.0
//! Private keys and certificates, by how their files begin: bytes in, what it is out.

use memchr::memmem;

use super::super::base64;
use super::super::ssh::string;

/// Certificates of one file that are looked at; more are a list of authorities.
const MOST: usize = 8;

/// Letters of base64 that must follow a heading: a program that writes keys has the heading alone.
const LEAST: usize = 40;

/// Bytes after a heading in which they must: what stands between are headers, RFC 1421, 4.6.
const NEAR: usize = 400;

/// A private key, and where it begins.
pub fn private_key(bytes: &[u8]) -> Option<(&'static str, usize)> {
    whole_file(bytes).map(|form| (form, 0)).or_else(|| in_text(bytes))
}

/// Keys whose file is nothing else.
fn whole_file(bytes: &[u8]) -> Option<&'static str> {
    Some(match *bytes {
        // RFC 7292, 4: a SEQUENCE, of which the first is the version 3 and the second another SEQUENCE.
        [0x30, 0x82, _, _, 2, 1, 3, 0x30, ..] => "PKCS#12 store",
        // RFC 5958, 2, with the algorithm's SEQUENCE; RFC 8017, A.1.2; RFC 5915, 3.
        [0x30, 0x82, _, _, 2, 1, 0, 0x30, _, 6, ..] => "PKCS#8 private key",
        [0x30, _, 2, 1, 0, 0x30, _, 6, ..] | [0x30, 0x81, _, 2, 1, 0, 0x30, _, 6, ..] => "PKCS#8 private key",
        [0x30, 0x82, _, _, 2, 1, 0, 2, 0x82, ..] => "RSA private key",
        [0x30, 0x77, 2, 1, 1, 4, 0x20, ..] | [0x30, 0x81, _, 2, 1, 1, 4, 0x30 | 0x42, ..] => "EC private key",
        // OpenJDK, sun/security/provider/JavaKeyStore.java: after version and count, an entry's kind; 1 is a private key.
        [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 1 | 2, _, _, _, _, 0, 0, 0, 1, ..] => "Java key store",
        [0xce, 0xce, 0xce, 0xce, 0, 0, 0, 1 | 2, _, _, _, _, 0, 0, 0, 1 | 3, ..] => "Java key store",
        _ if is_dropbear(bytes) => "Dropbear private key",
        // GnuPG, agent/keyformat.txt.
        _ if bytes.starts_with(b"(11:private-key") || bytes.starts_with(b"(21:protected-private-key") => {
            "GnuPG private key"
        }
        _ => return None,
    })
}

/// The public key's strings, and behind them more: Dropbear, src/signkey.c, buf_put_priv_key.
fn is_dropbear(bytes: &[u8]) -> bool {
    let [0, 0, 0, 7 | 11 | 19, b's' | b'e', ..] = *bytes else { return false };
    let mut rest = bytes;
    let mut next = || {
        let (field, behind) = string(rest)?;
        rest = behind;
        Some(field)
    };
    // What comes last in a public key, by its place.
    let public = match next() {
        Some(b"ssh-ed25519") => return next().is_some_and(|key| key.len() == 64),
        Some(b"ssh-rsa") => 2,
        Some(b"ssh-dss") => 4,
        Some(name) if name.starts_with(b"ecdsa-sha2-") => 2,
        _ => return false,
    };
    (0..public).all(|_| next().is_some()) && next().is_some_and(|secret| !secret.is_empty())
}

/// PEM, OpenSSH's files, OpenPGP's armour, PuTTY's, age's.
fn in_text(bytes: &[u8]) -> Option<(&'static str, usize)> {
    for at in memmem::find_iter(bytes, b"-----BEGIN ") {
        let heading = &bytes[at + 11..bytes.len().min(at + 60)];
        let Some(end) = memmem::find(heading, b"-----") else { continue };
        let form = match &heading[..end] {
            b"OPENSSH PRIVATE KEY" => "OpenSSH private key",
            b"PGP PRIVATE KEY BLOCK" => "OpenPGP private key",
            b"SSH2 ENCRYPTED PRIVATE KEY" => "SSH2 private key",
            label if label.ends_with(b"PRIVATE KEY") => "PEM private key",
            _ => continue,
        };
        if is_body(&bytes[at + 11 + end + 5..]) {
            return Some((form, at));
        }
    }
    let words: [(&[u8], &'static str); 3] = [
        (b"PuTTY-User-Key-File-", "PuTTY private key"),
        (b"AGE-SECRET-KEY-1", "age private key"),
        (b"Private-Lines: ", "PuTTY private key"),
    ];
    let found = words.into_iter().filter_map(|(word, form)| Some((form, memmem::find(bytes, word)?)));
    found.into_iter().find(|(_, at)| *at == 0 || bytes[at - 1] == b'\n')
}

/// Does a key follow?
fn is_body(after: &[u8]) -> bool {
    let near = &after[..after.len().min(NEAR)];
    let is_key = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    // JSON and the like have `\n` for the end of a line.
    near.split(|byte| matches!(byte, b'\n' | b'\r' | b'\\'))
        .any(|line| line.iter().filter(|byte| is_key(byte)).count() >= LEAST)
}

/// A certificate that has one of these names, and where it begins.
pub fn certificate(bytes: &[u8], names: &[String]) -> Option<usize> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let places: Vec<usize> = memmem::find_iter(bytes, BEGIN).take(MOST + 1).collect();
    if places.len() > MOST {
        return None;
    }
    let named = |at: &usize| {
        let text = &bytes[at + BEGIN.len()..];
        let text = &text[..memmem::find(text, b"-----").unwrap_or(text.len())];
        let der = base64::decode(text, text.len());
        names.iter().any(|name| has_word(&der, name))
    };
    places.into_iter().find(named)
}

/// A string of DER that is this name, or one of its domain: the byte before it is its length, X.690, 8.1.3.4.
fn has_word(bytes: &[u8], name: &str) -> bool {
    let small = bytes.to_ascii_lowercase();
    memmem::find_iter(&small, name).filter(|at| *at > 0).any(|at| {
        let length = usize::from(bytes[at - 1]);
        length == name.len() || length > name.len() && small.get(at + name.len()) == Some(&b'.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_what_speaks_of_them() {
        let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n";
        let pem = |label: &str| format!("# key\n-----BEGIN {label}-----\n{body}-----END {label}-----\n");
        let form = |bytes: &[u8]| private_key(bytes);
        assert_eq!(form(pem("PRIVATE KEY").as_bytes()), Some(("PEM private key", 6)));
        assert_eq!(form(pem("ENCRYPTED PRIVATE KEY").as_bytes()).unwrap().0, "PEM private key");
        assert_eq!(form(pem("OPENSSH PRIVATE KEY").as_bytes()).unwrap().0, "OpenSSH private key");
        assert_eq!(form(pem("PGP PRIVATE KEY BLOCK").as_bytes()).unwrap().0, "OpenPGP private key");
        let json = pem("RSA PRIVATE KEY").replace('\n', "\\n");
        assert_eq!(form(format!("{{\"key\": \"{json}\"}}").as_bytes()).unwrap().0, "PEM private key");
        let headers =
            format!("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n{body}");
        assert!(form(headers.as_bytes()).is_some());
        for none in [
            pem("CERTIFICATE").as_str(),
            pem("PUBLIC KEY").as_str(),
            "echo '-----BEGIN PRIVATE KEY-----'\necho done\n",
            "-----BEGIN PRIVATE KEY",
            "# AGE-SECRET-KEY-1 is how they begin",
            "",
        ] {
            assert_eq!(form(none.as_bytes()), None, "{none}");
        }
        assert_eq!(form(b"PuTTY-User-Key-File-3: ssh-ed25519\n").unwrap().0, "PuTTY private key");
        assert_eq!(form(b"# created\nAGE-SECRET-KEY-1QQ\n").unwrap(), ("age private key", 10));
        for (bytes, wanted) in [
            (&b"\x30\x82\x09\x01\x02\x01\x03\x30\x82"[..], Some("PKCS#12 store")),
            (b"\x30\x82\x04\xbe\x02\x01\x00\x30\x0d\x06\x09", Some("PKCS#8 private key")),
            (b"\x30\x82\x04\xa4\x02\x01\x00\x02\x82\x01\x01", Some("RSA private key")),
            (b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x01", Some("Java key store")),
            // Certificates alone, as in a list of authorities.
            (b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x02", None),
            (b"\0\0\0\x07ssh-rsa\0\0\0\x01\x03\0\0\0\x01\x05", None),
            (b"\0\0\0\x07ssh-rsa\0\0\0\x01\x03\0\0\0\x01\x05\0\0\0\x01\x07", Some("Dropbear private key")),
            (b"\0\0\0\x07ssh-rsa\xff\xff\xff\xff", None),
        ] {
            assert_eq!(form(bytes).map(|(form, _)| form), wanted, "{bytes:?}");
        }
    }

    #[test]
    fn a_certificate_has_the_name_as_a_word() {
        let names = ["web-1".to_owned()];
        let pem = |der: &[u8]| {
            use base64ct::{Base64, Encoding as _};
            format!("x\n-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", Base64::encode_string(der))
        };
        assert_eq!(certificate(pem(b"\x0c\x05web-1\x30").as_bytes(), &names), Some(2));
        assert_eq!(certificate(pem(b"\x0c\x0bWEB-1.local\x30").as_bytes(), &names), Some(2));
        assert_eq!(certificate(pem(b"\x0c\x08my-web-1\x30").as_bytes(), &names), None);
        assert_eq!(certificate(pem(b"\x0c\x06web-12\x30").as_bytes(), &names), None);
        assert_eq!(certificate(pem(b"web-1").repeat(MOST + 1).as_bytes(), &names), None);
        assert_eq!(certificate(b"-----BEGIN CERTIFICATE-----", &names), None);
    }
}
