// SPDX-License-Identifier: MIT OR Apache-2.0
//! A reader that can be looked into before it is read.

use std::cell::Cell;
use std::io::{self, BufRead, Read};

/// Bytes that are read at once.
const BLOCK: usize = 32 << 10;

/// Bytes from a source, with some of them in memory.
pub struct Stream<'s> {
    source: &'s mut dyn Read,
    bytes: Vec<u8>,
    from: usize,
    /// Bytes that were taken.
    at: u64,
    /// How much all that is unpacked may still be.
    left: Option<&'s Cell<u64>>,
}

impl<'s> Stream<'s> {
    /// A stream; `left` counts down where the source unpacks.
    pub fn new(source: &'s mut dyn Read, left: Option<&'s Cell<u64>>) -> Stream<'s> {
        Stream { source, bytes: Vec::new(), from: 0, at: 0, left }
    }

    /// Bytes that were taken.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next bytes, which stay: as many, or all that there are.
    pub fn peek(&mut self, length: usize) -> io::Result<&[u8]> {
        while self.bytes.len() - self.from < length && self.more()? {}
        let there = &self.bytes[self.from..];
        Ok(&there[..there.len().min(length)])
    }

    /// Takes zeros.
    pub fn skip_zeros(&mut self) -> io::Result<()> {
        loop {
            let there = self.fill_buf()?;
            let zeros = there.iter().position(|byte| *byte != 0).unwrap_or(there.len());
            if zeros == 0 {
                return Ok(());
            }
            self.consume(zeros);
        }
    }

    /// Takes so many bytes.
    pub fn take_array<const LENGTH: usize>(&mut self) -> io::Result<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads into memory; false at the end.
    fn more(&mut self) -> io::Result<bool> {
        self.bytes.drain(..self.from);
        self.from = 0;
        let there = self.bytes.len();
        self.bytes.resize(there + BLOCK, 0);
        let read = self.source.read(&mut self.bytes[there..]);
        self.bytes.truncate(there + *read.as_ref().unwrap_or(&0));
        let read = read?;
        if let Some(left) = self.left {
            let rest = left.get().checked_sub(read as u64);
            left.set(rest.ok_or_else(|| io::Error::other("there is more in it than is looked at"))?);
        }
        Ok(read > 0)
    }
}

impl BufRead for Stream<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.from == self.bytes.len() {
            self.more()?;
        }
        Ok(&self.bytes[self.from..])
    }

    fn consume(&mut self, length: usize) {
        self.from += length;
        self.at += length as u64;
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let length = there.len().min(into.len());
        into[..length].copy_from_slice(&there[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// The next bytes of a stream, which must be there.
pub struct Part<'p, 's> {
    stream: &'p mut Stream<'s>,
    left: u64,
}

impl<'p, 's> Part<'p, 's> {
    /// So many of them.
    pub fn new(stream: &'p mut Stream<'s>, length: u64) -> Part<'p, 's> {
        Part { stream, left: length }
    }

    /// Takes what is left of them.
    pub fn skip(&mut self) -> io::Result<()> {
        while self.left > 0 {
            let there = self.stream.fill_buf()?.len();
            if there == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let length = there.min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.stream.consume(length);
            self.left -= length as u64;
        }
        Ok(())
    }
}

impl Read for Part<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let length = self.stream.read(&mut into[..most])?;
        if length == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= length as u64;
        Ok(length)
    }
}
