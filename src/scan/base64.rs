// SPDX-License-Identifier: MIT OR Apache-2.0
//! Base64 (RFC 4648) as it stands in files: broken into lines, and without an end that is known beforehand.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Without padding.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(number >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    out
}

/// At most `most` bytes from the beginning of a text, up to what is neither a digit nor a line break.
pub fn decode(text: &[u8], most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut number, mut bits) = (0u32, 0);
    for byte in text {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'\r' | b'\n' => continue,
            _ => break,
        };
        number = number << 6 | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((number >> bits & 0xff) as u8);
            if out.len() == most {
                break;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_over_lines() {
        for (bytes, text) in [(&b""[..], ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"foobar", "Zm9vYmFy")] {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text.as_bytes(), 99), bytes);
        }
        assert_eq!(decode(b"Zm9v\r\nYm\nFy== comment", 99), b"foobar");
        assert_eq!(decode(b"Zm9vYmFy", 4), b"foob");
    }
}
