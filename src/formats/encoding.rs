// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text of any encoding: an old fstab has its comments in Latin-1, and its devices must follow all the same.

/// The text of a file, and how it was encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnyText {
    /// The text; where it is not UTF-8, with a character of the same number for each byte.
    pub text: String,
    is_utf8: bool,
}

impl AnyText {
    /// Reads bytes of any kind; nothing is lost.
    pub fn read(bytes: Vec<u8>) -> AnyText {
        match String::from_utf8(bytes) {
            Ok(text) => AnyText { text, is_utf8: true },
            Err(error) => {
                let text = error.into_bytes().into_iter().map(char::from).collect();
                AnyText { text, is_utf8: false }
            }
        }
    }

    /// Another text in the same encoding; what is not ASCII must come from this one.
    pub fn encode(&self, text: &str) -> Vec<u8> {
        match self.is_utf8 {
            true => text.as_bytes().to_vec(),
            false => text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap_or(b'?')).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in [all, "für\r\n".into(), b"f\xfcr".to_vec(), Vec::new()] {
            let read = AnyText::read(bytes.clone());
            assert_eq!(read.encode(&read.text), bytes);
        }
    }
}
