// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tokens of a LUKS2 header: whether one is sealed to the TPM of the machine that it was enrolled on.
//!
//! A token names who opens it (LUKS2 On-Disk Format Specification 1.1.0, section 3.1). systemd-cryptenroll(1) writes
//! `systemd-tpm2`. clevis(1) writes a JWE (RFC 7516) whose protected header names a pin: `tpm2`, or `sss` (Shamir's secret
//! sharing) around others.

use serde_json::Value;

/// Pins within pins; real ones have one level.
const DEPTH: u32 = 4;

/// Does one of the tokens of this description need a TPM?
pub(super) fn sealed(description: &Value) -> bool {
    let tokens = description.get("tokens").and_then(Value::as_object);
    tokens.into_iter().flat_map(|tokens| tokens.values()).any(|token| match token.get("type").and_then(Value::as_str) {
        Some("systemd-tpm2") => true,
        Some("clevis") => token.pointer("/jwe/protected").and_then(Value::as_str).is_some_and(|it| pin(it, DEPTH)),
        _ => false,
    })
}

/// Is this protected header, base64url of JSON, of the pin `tpm2`, or of one around it?
fn pin(protected: &str, depth: u32) -> bool {
    let Some(header) = decoded(protected).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()) else {
        return false;
    };
    match header.pointer("/clevis/pin").and_then(Value::as_str) {
        Some("tpm2") => true,
        // Each in the compact form: its protected header up to the first full stop.
        Some("sss") if depth > 0 => {
            let parts = header.pointer("/clevis/sss/jwe").and_then(Value::as_array);
            let parts = parts.into_iter().flatten().filter_map(Value::as_str);
            parts.filter_map(|part| part.split('.').next()).any(|protected| pin(protected, depth - 1))
        }
        _ => false,
    }
}

/// base64url without padding, RFC 4648 section 5.
fn decoded(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let digit = ALPHABET.iter().position(|known| *known == letter)? as u32;
        (bits, count) = ((bits << 6 | digit) & 0xffff, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_is_decoded() {
        assert_eq!(decoded("eyJhIjoiw7_DvyJ9").as_deref(), Some("{\"a\":\"ÿÿ\"}".as_bytes()));
        assert_eq!(decoded("YWI").as_deref(), Some(&b"ab"[..]));
        assert_eq!(decoded("YQ==").as_deref(), Some(&b"a"[..]));
        assert_eq!(decoded("a+b"), None);
    }

    #[test]
    fn hostile_tokens_are_no_tpm() {
        for text in [
            "{}",
            "[]",
            "{\"tokens\":[]}",
            "{\"tokens\":{\"0\":7}}",
            "{\"tokens\":{\"0\":{\"type\":\"clevis\"}}}",
            "{\"tokens\":{\"0\":{\"type\":\"clevis\",\"jwe\":{\"protected\":\"####\"}}}}",
            "{\"tokens\":{\"0\":{\"type\":\"systemd-fido2\"}}}",
        ] {
            assert!(!sealed(&serde_json::from_str(text).unwrap()), "{text}");
        }
    }
}
