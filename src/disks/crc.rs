// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checksums of disk formats: CRC-32 with one of two polynomials, as a register and as usually written; CRC-64.

const CASTAGNOLI: [u32; 256] = table(0x82f6_3b78);
const IEEE: [u32; 256] = table(0xedb8_8320);

/// The eight shifts of every byte, for a reflected polynomial.
const fn table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut register = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            register = if register & 1 == 1 { (register >> 1) ^ polynomial } else { register >> 1 };
            bit += 1;
        }
        table[byte] = register;
        byte += 1;
    }
    table
}

fn run(table: &[u32; 256], register: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(register, |register, byte| table[usize::from(register as u8 ^ byte)] ^ (register >> 8))
}

/// CRC-32C of `bytes`, going on from `register`, without a last inversion: what the kernel's `ext4_chksum` does.
#[must_use]
pub fn crc32c_raw(register: u32, bytes: &[u8]) -> u32 {
    run(&CASTAGNOLI, register, bytes)
}

/// CRC-32 of IEEE 802.3, inverted before and after: the one of the UEFI specification and of zip.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    !run(&IEEE, !0, bytes)
}

/// CRC-64 of ECMA-182, unreflected, inverted before and after: what bcache calls `bch_crc64` (CRC-64/WE).
#[must_use]
pub fn crc64(bytes: &[u8]) -> u64 {
    !bytes.iter().fold(!0, |register, byte| {
        (0..8).fold(register ^ u64::from(*byte) << 56, |register, _| {
            if register >> 63 == 1 { register << 1 ^ 0x42f0_e1eb_a9ea_3693 } else { register << 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the catalogue of parametrised CRC algorithms.
    #[test]
    fn the_check_values_come_out() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(!crc32c_raw(!0, b"123456789"), 0xe306_9283);
        assert_eq!(crc64(b"123456789"), 0x62ec_59e3_f1a4_f00a);
    }

    #[test]
    fn a_register_goes_on_where_it_stopped() {
        assert_eq!(crc32c_raw(crc32c_raw(!0, b"1234"), b"56789"), crc32c_raw(!0, b"123456789"));
    }
}
