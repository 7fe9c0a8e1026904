// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes of any length through one buffer: a match that lies over the end of a block is found in the next one.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use rustix::fs::SeekFrom;

use super::matcher::{BEFORE, Match, Matcher};

/// Bytes that are looked at together: they stay in the processor's cache.
const BLOCK: usize = 256 << 10;

/// A buffer for one thread.
#[derive(Debug)]
pub struct Blocks {
    bytes: Vec<u8>,
    found: Vec<Match>,
}

impl Blocks {
    /// A buffer for this matcher.
    pub fn new(matcher: &Matcher) -> Blocks {
        Blocks { bytes: vec![0; BLOCK + 2 * (matcher.reach() + BEFORE)], found: Vec::new() }
    }

    /// Finds everything in what `read` gives until it gives nothing, or `size` bytes. `tell` gets the place of each match in
    /// the stream, from `start`, and the number of its spelling. Gives the number of bytes.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn search(
        &mut self,
        matcher: &Matcher,
        start: u64,
        size: u64,
        read: &mut dyn FnMut(&mut [u8]) -> io::Result<usize>,
        tell: &mut dyn FnMut(u64, usize),
    ) -> io::Result<u64> {
        // What is in the buffer, from where on it was not looked at, and where in the stream it begins.
        let (mut length, mut from, mut base, mut total) = (0, 0, start, 0u64);
        loop {
            let mut over = false;
            while length < self.bytes.len() && !over {
                let more = read(&mut self.bytes[length..])?;
                length += more;
                total += more as u64;
                over = more == 0 || total >= size;
            }
            let to = if over { length } else { length.saturating_sub(matcher.reach()) };
            if to > from {
                matcher.find(&self.bytes[..length], from, to, &mut self.found);
                self.found.drain(..).for_each(|found| tell(base + found.at as u64, found.spelling));
                from = to;
            }
            if over {
                return Ok(total);
            }
            let keep = from.saturating_sub(BEFORE);
            self.bytes.copy_within(keep..length, 0);
            base += keep as u64;
            length -= keep;
            from -= keep;
        }
    }

    /// Finds everything in a file; holes are not read.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn search_file(
        &mut self,
        matcher: &Matcher,
        file: &impl AsFd,
        size: u64,
        is_sparse: bool,
        tell: &mut dyn FnMut(u64, usize),
    ) -> Result<u64, Errno> {
        let mut read = |bytes: &mut [u8]| Ok(rustix::io::read(file, bytes)?);
        let whole = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
        if !is_sparse {
            return self.search(matcher, 0, size, &mut read, tell).map_err(whole);
        }
        let seek = |to| match rustix::fs::seek(file, to) {
            Ok(at) => Ok(Some(at)),
            Err(rustix::io::Errno::NXIO) => Ok(None),
            Err(error) => Err(Errno::from_raw(error.raw_os_error())),
        };
        let (mut at, mut total) = (0, 0);
        while let Some(start) = seek(SeekFrom::Data(at))? {
            let end = seek(SeekFrom::Hole(start))?.unwrap_or(size);
            seek(SeekFrom::Start(start))?;
            let mut rest = end.saturating_sub(start);
            let mut read = |bytes: &mut [u8]| {
                let most = bytes.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
                let more = rustix::io::read(file, &mut bytes[..most])?;
                rest -= more as u64;
                Ok(more)
            };
            total += self.search(matcher, start, end - start, &mut read, tell).map_err(whole)?;
            if end <= at {
                break;
            }
            at = end;
        }
        Ok(total)
    }
}
