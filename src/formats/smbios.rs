// SPDX-License-Identifier: MIT OR Apache-2.0
//! The strings of SMBIOS tables, DMTF DSP0134: structures of a type, a length and fields, each followed by its strings.

/// `End-of-Table`, DSP0134 section 7.45.
const END: u8 = 127;
/// Type, length, and a number of two bytes.
const HEADER: usize = 4;

/// The strings of all structures of a type, in their order. Tables that end early give those that are whole.
pub fn strings(tables: &[u8], kind: u8) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut rest = tables;
    while let [this, length, ..] = *rest {
        let length = usize::from(length);
        // The strings begin behind the fields, and end with an empty one; where there is none stand two zeros.
        let Some(after) = rest.get(length..).filter(|_| length >= HEADER) else { break };
        let Some(end) = after.windows(2).position(|pair| pair == [0, 0]) else { break };
        if this == kind {
            found.extend(after[..end].split(|byte| *byte == 0).filter(|string| !string.is_empty()));
        }
        if this == END {
            break;
        }
        rest = &after[end + 2..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two structures of type 11, one of type 1 between, the end, and rubbish behind it.
    fn tables() -> Vec<u8> {
        let mut tables = Vec::new();
        tables.extend(b"\x0b\x05\x00\x01\x02one\0two=2\0\0");
        tables.extend(b"\x01\x06\x01\x01\x01\x02QEMU\0\0");
        tables.extend(b"\x04\x04\x02\x01\0\0");
        tables.extend(b"\x0b\x05\x03\x01\x01three\0\0");
        tables.extend(b"\x7f\x04\x04\x01\0\0\x0b\x05\x03\x01\x01four\0\0");
        tables
    }

    #[test]
    fn strings_are_found_by_type_up_to_the_end() {
        let tables = tables();
        assert_eq!(strings(&tables, 11), [&b"one"[..], b"two=2", b"three"]);
        assert_eq!(strings(&tables, 1), [b"QEMU"]);
        assert!(strings(&tables, 4).is_empty() && strings(&[], 11).is_empty());
    }

    #[test]
    fn every_cut_and_every_length_is_taken_calmly() {
        let whole = tables();
        for end in 0..whole.len() {
            assert!(strings(&whole[..end], 11).len() <= 3);
        }
        for length in 0..=255 {
            let mut bad = whole.clone();
            bad[1] = length;
            strings(&bad, 11);
        }
    }
}
