// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changes of network links that are down.

use std::ffi::c_char;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::libc;

use super::tools;
use crate::formats::network::Mac;
use crate::root::Root;

/// The address that a link has now; `None` when there is no such link.
pub fn address(root: &Root, link: &str) -> Result<Option<String>> {
    let text = root.read(&format!("sys/class/net/{link}/address"))?;
    Ok(text.map(|text| String::from_utf8_lossy(&text).trim().to_owned()))
}

/// Gives a link another address. One that came up since the plan was made, or has another address, is left alone.
pub fn set_address(root: &Root, link: &str, before: &str, after: &str) -> Result<()> {
    let now = address(root, link)?.with_context(|| format!("the link {link} is gone"))?;
    if now != before {
        bail!("the link {link} has the address {now} and not {before}");
    }
    let mac: Mac = after.parse()?;
    let socket = UnixDatagram::unbound()?;
    // SAFETY: an ifreq of zeros is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if link.len() >= libc::IFNAMSIZ {
        bail!("`{link}` is no name of a link");
    }
    for (to, from) in request.ifr_name.iter_mut().zip(link.bytes()) {
        *to = from as c_char;
    }
    // SAFETY: the kernel reads the name and writes the flags, which lie in `request`, netdevice(7).
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request) })?;
    // SAFETY: the call above has filled this member of the union.
    if i32::from(unsafe { request.ifr_ifru.ifru_flags }) & libc::IFF_UP != 0 {
        bail!("the link {link} is up");
    }
    let mut address = libc::sockaddr { sa_family: libc::ARPHRD_ETHER, sa_data: [0; 14] };
    for (to, from) in address.sa_data.iter_mut().zip(mac.0) {
        *to = from as c_char;
    }
    request.ifr_ifru.ifru_hwaddr = address;
    // SAFETY: the kernel reads the name and the address, which lie in `request`.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFHWADDR as _, &raw const request) })?;
    Ok(())
}

/// Has udev read its files anew, and go over these links as if they had just appeared: it renames those that are down,
/// systemd.link(5).
pub fn set_up(links: &[String], settle: &str) -> Result<()> {
    tools::run("udevadm", &["control", "--reload"])?;
    for link in links {
        tools::run("udevadm", &["trigger", "--action=add", &format!("/sys/class/net/{link}")])?;
    }
    tools::run("udevadm", &["settle", settle])
}
