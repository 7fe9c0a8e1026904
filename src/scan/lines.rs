// SPDX-License-Identifier: MIT OR Apache-2.0
//! Places in a text file as a person looks for them: by line, with what stands there.

use std::os::fd::AsFd;

use nix::errno::Errno;

/// Bytes at the beginning that say whether a file is text: as grep(1) does, by a byte that is zero.
const HEAD: usize = 8 << 10;

/// Bytes shown before and after a place.
const AROUND: u64 = 40;

/// A place by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: u64,
    /// What stands there, cut to what a screen holds.
    pub text: String,
}

/// The lines in which these places of a file are; `None` when it is no text.
///
/// # Errors
/// When it cannot be read.
pub fn of(file: &impl AsFd, places: &[u64]) -> Result<Option<Vec<Line>>, Errno> {
    let mut block = vec![0; 64 << 10];
    let (mut base, mut number) = (0, 1);
    let mut lines = Vec::new();
    let mut places = places.iter().peekable();
    while places.peek().is_some() {
        let length = read_at(file, &mut block, base)?;
        if length == 0 {
            break;
        }
        let bytes = &block[..length];
        if base == 0 && bytes[..length.min(HEAD)].contains(&0) {
            return Ok(None);
        }
        let mut done = 0;
        while let Some(place) = places.next_if(|place| **place < base + length as u64) {
            let here = usize::try_from(place.saturating_sub(base)).unwrap_or(0);
            number += bytes[done..here.max(done)].iter().filter(|byte| **byte == b'\n').count() as u64;
            done = here.max(done);
            lines.push(Line { number, text: around(file, *place)? });
        }
        number += bytes[done..].iter().filter(|byte| **byte == b'\n').count() as u64;
        base += length as u64;
    }
    Ok(Some(lines))
}

/// The part of the line around a place.
fn around(file: &impl AsFd, place: u64) -> Result<String, Errno> {
    let start = place.saturating_sub(AROUND);
    let mut bytes = [0; 3 * AROUND as usize];
    let length = read_at(file, &mut bytes, start)?;
    let bytes = &bytes[..length];
    let here = usize::try_from(place - start).unwrap_or(0).min(length);
    let first = bytes[..here].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let last = bytes[here..].iter().position(|byte| *byte == b'\n').map_or(length, |at| here + at);
    Ok(String::from_utf8_lossy(&bytes[first..last]).trim().to_owned())
}

fn read_at(file: &impl AsFd, bytes: &mut [u8], at: u64) -> Result<usize, Errno> {
    rustix::io::pread(file, bytes, at).map_err(|error| Errno::from_raw(error.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(content: &[u8], places: &[u64]) -> Option<Vec<(u64, String)>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let lines = of(&std::fs::File::open(file.path()).unwrap(), places).unwrap();
        lines.map(|lines| lines.into_iter().map(|line| (line.number, line.text)).collect())
    }

    #[test]
    fn lines_are_counted_over_blocks() {
        assert_eq!(
            lines(b"one\ntwo x\nthree", &[0, 8, 10]).unwrap(),
            [(1, "one".to_owned()), (2, "two x".to_owned()), (3, "three".to_owned())]
        );
        let long = "12345678\n".repeat(20_000) + "here";
        let place = long.len() as u64 - 4;
        assert_eq!(
            lines(long.as_bytes(), &[9, place]).unwrap(),
            [(2, "12345678".to_owned()), (20_001, "here".to_owned())]
        );
        assert_eq!(lines(b"a\0b", &[2]), None);
        assert_eq!(lines(b"", &[2]).unwrap(), []);
    }
}
