// SPDX-License-Identifier: MIT OR Apache-2.0
//! CRC-32C (Castagnoli), with the register as it is, since each format begins and ends it in its own way.

/// The polynomial 0x1EDC6F41 with its bits reversed (RFC 3720, appendix B.4).
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut register = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            register = if register & 1 == 1 { (register >> 1) ^ POLYNOMIAL } else { register >> 1 };
            bit += 1;
        }
        table[byte] = register;
        byte += 1;
    }
    table
};

/// The register after `bytes`, from `register`, with nothing inverted before or after.
///
/// The checksum that RFC 3720 names is `!raw(!0, bytes)`; ext4 leaves out the last inversion.
#[must_use]
pub fn raw(register: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(register, |register, byte| {
        let [low, ..] = register.to_le_bytes();
        TABLE[usize::from(low ^ byte)] ^ (register >> 8)
    })
}

#[cfg(test)]
mod tests {
    use super::raw;

    /// RFC 3720, appendix B.4.
    #[test]
    fn known_answers() {
        assert_eq!(!raw(!0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(!raw(!0, &[0xff; 32]), 0x62a8_ab43);
        assert_eq!(!raw(!0, b"123456789"), 0xe306_9283);
        assert_eq!(raw(raw(!0, b"1234"), b"56789"), raw(!0, b"123456789"));
    }
}
