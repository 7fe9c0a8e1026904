// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loop devices over parts of an image, which the kernel takes away with their last user.
//!
//! Numbers and structures are those of include/uapi/linux/loop.h.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::libc;

const GET_FREE: libc::c_ulong = 0x4c82;
/// Since Linux 5.8; the device never shows more of the image than its part.
const CONFIGURE: libc::c_ulong = 0x4c0a;
const READ_ONLY: u32 = 1;
/// The device is taken away with its last user, however that ends.
const AUTOCLEAR: u32 = 4;
/// How often another program may take the free device first.
const MOST_TRIES: usize = 64;

/// `struct loop_config`, with its `struct loop_info64` in the middle.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// A loop device; it is there as long as this is, or something is mounted from it.
#[derive(Debug)]
pub struct Loop {
    /// Its path.
    pub path: String,
    _open: File,
}

/// Makes a part of an image, byte offset and size, a device.
///
/// # Errors
/// When the kernel gives none.
pub fn attach(image: &File, (offset, size): (u64, u64), write: bool) -> Result<Loop> {
    let control =
        OpenOptions::new().read(true).write(true).open("/dev/loop-control").context("opening loop-control")?;
    for _ in 0..MOST_TRIES {
        // SAFETY: the request takes no argument.
        let number = Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) })
            .context("asking for a free loop device")?;
        let path = format!("/dev/loop{number}");
        let open = OpenOptions::new().read(true).write(write).open(&path).with_context(|| format!("opening {path}"))?;
        let mut file_name = [0; 64];
        // For those who list loop devices.
        file_name[..6].copy_from_slice(b"reseal");
        let flags = AUTOCLEAR | if write { 0 } else { READ_ONLY };
        let info = Info {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset,
            size,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags,
            file_name,
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        };
        let fd = u32::try_from(image.as_raw_fd()).context("a file without a number")?;
        let config = Config { fd, block_size: 0, info, reserved: [0; 8] };
        // SAFETY: the request reads one `struct loop_config`, which `config` is, and keeps no pointer to it.
        match Errno::result(unsafe { libc::ioctl(open.as_raw_fd(), CONFIGURE, &raw const config) }) {
            Ok(_) => return Ok(Loop { path, _open: open }),
            Err(Errno::EBUSY) => {}
            Err(Errno::EINVAL | Errno::ENOTTY) => bail!("this kernel attaches no part of an image: Linux 5.8 does"),
            Err(errno) => return Err(errno).with_context(|| format!("attaching {path}")),
        }
    }
    bail!("every free loop device was taken by others");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_as_long_as_the_kernels() {
        assert_eq!(size_of::<Info>(), 232);
        assert_eq!(size_of::<Config>(), 304);
        assert_eq!(std::mem::offset_of!(Config, info), 8);
    }
}
