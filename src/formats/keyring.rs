// SPDX-License-Identifier: MIT OR Apache-2.0
//! GnuPG's public key rings: a file of OpenPGP packets (`pubring.gpg`), or a keybox (`pubring.kbx`).
//!
//! A ring is cut into the blocks of its certificates; a block that is not asked for stays as it is, byte for byte.

use anyhow::{Context as _, Result, bail, ensure};

/// One certificate, or what else stands in a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'r> {
    /// All of it.
    pub bytes: &'r [u8],
    /// The OpenPGP packets in it; none for a keybox's header, its X.509 certificates and what was deleted.
    pub packets: Option<&'r [u8]>,
}

/// Cuts a ring of either form into its blocks; together they are the ring.
///
/// # Errors
/// When a length is wrong; the message says at which byte.
pub fn blocks(ring: &[u8]) -> Result<Vec<Block<'_>>> {
    // The magic of the first blob's header, kbx/keybox-blob.c.
    if ring.get(8..12) == Some(b"KBXf") { keybox(ring) } else { packets(ring) }
}

/// kbx/keybox-blob.c in GnuPG: length of the blob, its type (0 empty, 1 header, 2 OpenPGP, 3 X.509), version, flags, then
/// where in it the packets stand and how many bytes they have. Numbers have the first byte first.
fn keybox(ring: &[u8]) -> Result<Vec<Block<'_>>> {
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < ring.len() {
        let read = || -> Option<Block<'_>> {
            let rest = &ring[at..];
            let bytes = rest.get(..number(rest, 0)?).filter(|bytes| bytes.len() >= 5)?;
            let packets = match bytes[4] {
                2 => Some(bytes.get(number(bytes, 8)?..)?.get(..number(bytes, 12)?)?),
                _ => None,
            };
            Some(Block { bytes, packets })
        };
        let block = read().with_context(|| format!("the keybox is damaged at byte {at}"))?;
        at += block.bytes.len();
        blocks.push(block);
    }
    Ok(blocks)
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(four)).ok()
}

/// RFC 4880, 4.2: a certificate begins with its public (6) or secret (5) key.
fn packets(ring: &[u8]) -> Result<Vec<Block<'_>>> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at < ring.len() {
        let (tag, header, body) = header(&ring[at..]).with_context(|| format!("no OpenPGP packet at byte {at}"))?;
        if matches!(tag, 5 | 6) || at == 0 {
            starts.push(at);
        }
        let end = at.checked_add(header).and_then(|start| start.checked_add(body)).filter(|end| *end <= ring.len());
        let Some(end) = end else { bail!("the packet at byte {at} is longer than the ring") };
        at = end;
    }
    let ends = starts.iter().skip(1).copied().chain([ring.len()]);
    let block = |(start, end): (&usize, usize)| {
        let bytes = &ring[*start..end];
        Block { bytes, packets: Some(bytes) }
    };
    Ok(starts.iter().zip(ends).map(block).collect())
}

/// Tag of the packet, length of its header, length of its body.
fn header(bytes: &[u8]) -> Result<(u8, usize, usize)> {
    let short = "it is cut off";
    let first = *bytes.first().context(short)?;
    ensure!(first & 0x80 != 0, "the first bit is not set");
    let big = |from: usize, count: usize| -> Result<usize> {
        let bytes = bytes.get(from..from + count).context(short)?;
        Ok(bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    if first & 0x40 == 0 {
        let count = match first & 3 {
            0 => 1,
            1 => 2,
            2 => 4,
            _ => bail!("its length is not told"),
        };
        return Ok((first >> 2 & 0xf, 1 + count, big(1, count)?));
    }
    let (size, body) = match big(1, 1)? {
        length @ 0..192 => (2, length),
        length @ 192..224 => (3, ((length - 192) << 8) + big(2, 1)? + 192),
        255 => (6, big(2, 4)?),
        _ => bail!("it comes in parts"),
    };
    Ok((first & 0x3f, size, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_cut_at_every_certificate() {
        // Old and new headers: a key, a user id, a trust packet; another key with a length of two octets.
        let long = [&[0xc6, 192, 8][..], &[7; 200]].concat();
        let ring = [&[0x98, 2, 1, 2, 0xb4, 1, b'x', 0xb0, 0][..], &long].concat();
        let found = blocks(&ring).unwrap();
        assert_eq!(found.iter().map(|block| block.bytes.len()).collect::<Vec<_>>(), [9, 203]);
        assert_eq!(found.iter().flat_map(|block| block.bytes.to_vec()).collect::<Vec<_>>(), ring);
        assert_eq!(blocks(&[]).unwrap(), []);
        let cut = format!("{:#}", blocks(&ring[..20]).unwrap_err());
        assert_eq!(cut, "the packet at byte 9 is longer than the ring");
        for bad in [&[0x98][..], b"text", &[0x9b, 1], &[0xc6, 230, 1]] {
            assert!(blocks(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_keybox_is_cut_at_every_blob() {
        let header = [&32_u32.to_be_bytes()[..], &[1, 1, 0, 2], b"KBXf", &[0; 20]].concat();
        let openpgp = [&20_u32.to_be_bytes()[..], &[2, 1, 0, 0], &[0, 0, 0, 16, 0, 0, 0, 3], b"abcd"].concat();
        let empty = [&6_u32.to_be_bytes()[..], &[0, 1]].concat();
        let ring = [header.clone(), openpgp, empty].concat();
        let found = blocks(&ring).unwrap();
        assert_eq!(found.iter().map(|block| block.packets).collect::<Vec<_>>(), [None, Some(&b"abc"[..]), None]);
        assert_eq!(found.iter().flat_map(|block| block.bytes.to_vec()).collect::<Vec<_>>(), ring);
        for length in 1..ring.len() {
            let whole = [32, 52].contains(&length) || length < 12;
            assert!(whole || blocks(&ring[..length]).is_err(), "{length}");
        }
        // A blob of no length would be read for ever.
        let zero = [&header[..], &[0; 8]].concat();
        assert!(format!("{:#}", blocks(&zero).unwrap_err()).contains("damaged at byte 32"));
    }
}
