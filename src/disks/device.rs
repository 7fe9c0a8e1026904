// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices and images as [`Blocks`]: a file that is open, and a part of one.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::Path;

use nix::fcntl::OFlag;

use super::Blocks;

/// An image file or a block device that is open for reading.
#[derive(Debug)]
pub struct Device {
    file: File,
    size: u64,
}

impl Device {
    /// Opens an image or a block device; a fifo or a character device, which opening could block or set off, is an error.
    ///
    /// # Errors
    /// When it is neither, or cannot be opened.
    pub fn open(path: &Path) -> io::Result<Device> {
        let kind = std::fs::metadata(path)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither an image file nor a block device"));
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mut file = File::from(nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())?);
        // metadata(2) knows no size of a block device; its end does.
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Device { file, size })
    }
}

impl Blocks for Device {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// A partition of a device, or any other run of its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Window<'d, B: Blocks + ?Sized> {
    blocks: &'d B,
    offset: u64,
    size: u64,
}

impl<'d, B: Blocks + ?Sized> Window<'d, B> {
    /// The bytes from `offset` on, as many as `size`; what lies beyond the device's end is cut off.
    pub fn new(blocks: &'d B, offset: u64, size: u64) -> Window<'d, B> {
        let size = size.min(blocks.size().saturating_sub(offset));
        Window { blocks, offset, size }
    }
}

impl<B: Blocks + ?Sized> Blocks for Window<'_, B> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match offset.checked_add(buffer.len() as u64) {
            Some(end) if end <= self.size => self.blocks.read_at(self.offset + offset, buffer),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_where_it_says() {
        let bytes: Vec<u8> = (0..=255).collect();
        let window = Window::new(bytes.as_slice(), 100, 50);
        let mut two = [0; 2];
        window.read_at(48, &mut two).unwrap();
        assert_eq!(two, [148, 149]);
        assert!(window.read_at(49, &mut two).is_err());
        assert!(window.read_at(u64::MAX, &mut two).is_err());
        assert_eq!(Window::new(bytes.as_slice(), 200, 500).size(), 56);
        assert_eq!(Window::new(bytes.as_slice(), 500, 500).size(), 0);
    }

    #[test]
    fn only_images_and_block_devices_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Device::open(dir.path()).is_err());
        assert!(Device::open(Path::new("/dev/zero")).is_err());
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Device::open(&fifo).is_err());
        let image = dir.path().join("image");
        std::fs::write(&image, [7; 512]).unwrap();
        assert_eq!(Device::open(&image).unwrap().size(), 512);
    }
}
