// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is inside of packed files: gzip, xz and zstd, and the archives of initramfs images, one behind the other and one in
//! the other, streamed.
//!
//! RFC 1952; the .xz file format 1.2; RFC 8878; cpio's "newc", Documentation/driver-api/early-userspace/buffer-format.rst
//! of Linux.

mod stream;
mod window;

use std::cell::Cell;
use std::io::{self, Read as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

use stream::{Part, Stream};

/// Bytes that one file may unpack to; more is a bomb, or a disk image.
const MOST_BYTES: u64 = 4 << 30;

/// Packed files inside of packed files: kernel modules in an initramfs are two.
const DEEPEST: usize = 3;

/// Window of a decoder that every thread may have at the same time; `zstd -3` and kernel modules have no more.
const SMALL: u64 = 2 << 20;

/// Window of a decoder that only one thread may have at a time. `xz -9` has 64 MiB, and is not unpacked.
const LARGE: u64 = 32 << 20;

/// Longest name in an archive, PATH_MAX.
const LONGEST_NAME: u64 = 4096;

/// What is looked at: a name in an archive, or what it or a packed file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The name of a member.
    Name,
    /// Bytes.
    Content,
}

/// Gets each name and content: the way to it inside of the file, where in it the reader stands, and a reader that it must
/// read to its end.
pub type Look<'l> = dyn FnMut(What, &str, u64, &mut dyn io::Read) -> io::Result<()> + 'l;

/// How a piece of a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Xz,
    Zstd,
    /// A frame of zstd without content.
    Skipped,
    Cpio,
    /// Known, and not unpacked.
    Other(&'static str),
}

impl Packing {
    fn of(head: &[u8]) -> Option<Packing> {
        Some(match *head {
            [0x1f, 0x8b, 8, ..] => Packing::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Skipped,
            [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] => Packing::Cpio,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => Packing::Other("bzip2"),
            [4, 0x22, 0x4d, 0x18, ..] | [2, 0x21, 0x4c, 0x18, ..] => Packing::Other("lz4"),
            [0x89, b'L', b'Z', b'O', 0, ..] => Packing::Other("lzop"),
            [0x5d, 0, 0, _, _, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ..] => Packing::Other("lzma"),
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Xz => "xz",
            Packing::Zstd | Packing::Skipped => "zstd",
            Packing::Cpio => "cpio",
            Packing::Other(word) => word,
        }
    }
}

/// Lets one thread at a time have a large window.
#[derive(Debug, Default)]
pub struct Large(Mutex<()>);

/// Looks at everything inside of a packed file, from its beginning; nothing where it is none. What is not packed in it is left
/// out: whoever reads the file as it is has seen that.
///
/// # Errors
/// A sentence, when not all of it could be unpacked.
pub fn look_inside(file: &mut dyn io::Read, large: &Large, look: &mut Look<'_>) -> Result<(), String> {
    let left = Cell::new(MOST_BYTES);
    let mut unpacking = Unpacking { look, left: &left, large, held: None };
    let mut whole = Stream::new(file, None);
    unpacking.pieces(&mut whole, "", 0).map_err(|error| match error.kind() {
        io::ErrorKind::Other => error.to_string(),
        _ => format!("damaged: {error}"),
    })
}

struct Unpacking<'u, 'l> {
    look: &'u mut Look<'l>,
    left: &'u Cell<u64>,
    large: &'u Large,
    held: Option<MutexGuard<'u, ()>>,
}

impl<'u> Unpacking<'u, '_> {
    /// Every piece of a stream: initramfs images are archives, packed and not, with zeros between them.
    fn pieces(&mut self, stream: &mut Stream<'_>, way: &str, depth: usize) -> io::Result<()> {
        loop {
            stream.skip_zeros()?;
            let head = stream.peek(window::HEAD)?;
            match Packing::of(head) {
                None if head.is_empty() => return Ok(()),
                // At the top it was seen as it stands.
                None if depth == 0 => return Ok(()),
                None => return (self.look)(What::Content, way, stream.at(), stream),
                Some(Packing::Other(word)) => return Err(wrong(format!("packed by {word}, which is not unpacked"))),
                Some(Packing::Cpio) => self.members(stream, way, depth)?,
                Some(Packing::Skipped) => {
                    let head = stream.take_array::<8>()?;
                    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
                    Part::new(stream, length.into()).skip()?;
                }
                Some(_) if depth == DEEPEST => return Err(wrong(format!("packed more than {DEEPEST} times"))),
                Some(packing) => {
                    let way = join(way, packing.word());
                    self.room(packing, stream)?;
                    match packing {
                        Packing::Gzip => self.unpacked(&mut GzDecoder::new(&mut *stream), &way, depth)?,
                        Packing::Xz => self.unpacked(&mut XzReader::new(&mut *stream, false), &way, depth)?,
                        _ => {
                            let frame = StreamingDecoder::new_with_max_window_size(&mut *stream, LARGE);
                            self.unpacked(&mut frame.map_err(wrong)?, &way, depth)?;
                        }
                    }
                }
            }
        }
    }

    fn unpacked(&mut self, decoder: &mut dyn io::Read, way: &str, depth: usize) -> io::Result<()> {
        self.pieces(&mut Stream::new(decoder, Some(self.left)), way, depth + 1)
    }

    /// Waits until there is memory for a decoder's window.
    fn room(&mut self, packing: Packing, stream: &mut Stream<'_>) -> io::Result<()> {
        let head = stream.peek(window::HEAD)?;
        let size = match packing {
            Packing::Xz => window::of_xz(head),
            Packing::Zstd => window::of_zstd(head),
            _ => Some(0),
        };
        let size = size.ok_or_else(|| wrong("damaged: its header"))?;
        if size > LARGE {
            return Err(wrong(format!("unpacking it takes {} MiB of memory", size >> 20)));
        }
        if size > SMALL && self.held.is_none() {
            self.held = Some(self.large.0.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Ok(())
    }

    /// The members of one archive.
    fn members(&mut self, stream: &mut Stream<'_>, way: &str, depth: usize) -> io::Result<()> {
        loop {
            let head = stream.take_array::<110>()?;
            if Packing::of(&head) != Some(Packing::Cpio) {
                return Err(wrong("damaged: not an archive any more"));
            }
            let (size, length) = (field(&head, 6)?, field(&head, 11)?);
            if length > LONGEST_NAME {
                return Err(wrong("damaged: a name that is too long"));
            }
            let mut name = Vec::new();
            Part::new(stream, length).read_to_end(&mut name)?;
            name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
            Part::new(stream, (110 + length).wrapping_neg() % 4).skip()?;
            if name == b"TRAILER!!!" {
                return Ok(());
            }
            let way = join(way, &String::from_utf8_lossy(&name));
            if depth > 0 {
                (self.look)(What::Name, &way, 0, &mut &name[..])?;
            }
            let mut part = Part::new(stream, size);
            self.pieces(&mut Stream::new(&mut part, None), &way, depth)?;
            part.skip()?;
            Part::new(stream, size.wrapping_neg() % 4).skip()?;
        }
    }
}

/// A field of a member's header: eight hexadecimal digits.
fn field(head: &[u8; 110], number: usize) -> io::Result<u64> {
    let digits = &head[6 + 8 * number..14 + 8 * number];
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|digit| digit.is_ascii_hexdigit()));
    text.and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or_else(|| wrong("damaged: not an archive any more"))
}

fn join(way: &str, part: &str) -> String {
    if way.is_empty() { part.to_owned() } else { format!("{way} > {part}") }
}

fn wrong(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::other(why)
}

#[cfg(test)]
mod tests;
