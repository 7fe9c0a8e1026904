// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much memory a decoder will take, from the first bytes of what is packed: bytes in, number out.

/// Bytes that say it: the longest header of a block of xz behind that of the file, and more than that of a frame of zstd.
pub const HEAD: usize = 12 + 1024;

/// The dictionary of the first block of an xz file; 0 where it has no block. The .xz file format, 3.1 and 5.3.1.
pub fn of_xz(head: &[u8]) -> Option<u64> {
    let block = head.get(12..)?;
    let size = usize::from(*block.first()?) * 4;
    if size == 0 {
        return Some(0);
    }
    let flags = *block.get(1)?;
    let mut rest = block.get(2..size)?;
    for sized in [0x40, 0x80] {
        if flags & sized != 0 {
            number(&mut rest)?;
        }
    }
    for _ in 0..=flags & 3 {
        let (id, length) = (number(&mut rest)?, usize::try_from(number(&mut rest)?).ok()?);
        let properties = rest.get(..length)?;
        if id == 0x21 {
            let bits = u32::from(*properties.first()?);
            return match bits {
                0..40 => Some(u64::from(2 | bits & 1) << (bits / 2 + 11)),
                40 => Some(u64::from(u32::MAX)),
                _ => None,
            };
        }
        rest = &rest[length..];
    }
    None
}

/// A number in bytes of seven bits, the lowest first, 1.2.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..9 {
        let byte = *rest.get(at)?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *rest = &rest[at + 1..];
            return Some(value);
        }
    }
    None
}

/// The window of a frame of zstd, RFC 8878, 3.1.1.1.
pub fn of_zstd(head: &[u8]) -> Option<u64> {
    let (flags, rest) = head.get(4..)?.split_first()?;
    if flags & 0x20 == 0 {
        let byte = *rest.first()?;
        let base = 1 << (10 + u32::from(byte >> 3));
        return Some(base + base / 8 * u64::from(byte & 7));
    }
    // One segment: the window is all of the content.
    let id = [0, 1, 2, 4][usize::from(flags & 3)];
    let length = [1, 2, 4, 8][usize::from(flags >> 6)];
    let mut bytes = [0; 8];
    bytes[..length].copy_from_slice(rest.get(id..id + length)?);
    Some(u64::from_le_bytes(bytes) + if length == 2 { 256 } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_real_programs() {
        // printf x | xz -9, xz -6, xz --x86 --lzma2=dict=1MiB; printf x | zstd, zstd --ultra -22 on a pipe, --long=27.
        let xz = |block: &[u8]| of_xz(&[b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46", block].concat());
        assert_eq!(xz(b"\x02\0\x21\x01\x1c\0\0\0\x10\xcf\x58\xcc"), Some(64 << 20));
        assert_eq!(xz(b"\x02\0\x21\x01\x16\0\0\0\x74\x2f\xe5\xa3"), Some(8 << 20));
        assert_eq!(xz(b"\x02\x01\x04\0\x21\x01\x10\0\xa8\x70\x8e\x86"), Some(1 << 20));
        assert_eq!(
            (xz(b"\0"), xz(b"\x02\0\x21\x01\x29\0\0\0"), xz(b"\x02\0\x03\x01\x29\0\0\0"), xz(b"\x02\0")),
            (Some(0), None, None, None)
        );
        let zstd = |frame: &[u8]| of_zstd(&[b"\x28\xb5\x2f\xfd", frame].concat());
        assert_eq!(zstd(b"\x24\x01\x09"), Some(1));
        assert_eq!(zstd(b"\x04\x88"), Some(128 << 20));
        assert_eq!(zstd(b"\x04\x58"), Some(2 << 20));
        assert_eq!((zstd(b"\x64\x00\x01"), zstd(b"\xe4\x01"), zstd(b"")), (Some(512), None, None));
    }
}
