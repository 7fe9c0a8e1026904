// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links and packet sockets, packet(7) and netdevice(7): no library in the tree knows the addresses of the link layer.

use std::ffi::c_char;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::libc;

/// EtherTypes.
pub const ARP: u16 = libc::ETH_P_ARP as u16;
pub const IPV6: u16 = libc::ETH_P_IPV6 as u16;
/// `ETHTOOL_GLINK` of linux/ethtool.h.
const GET_LINK: u32 = 0x0a;
/// Longer packets are none that is waited for.
const LONGEST: usize = 1514;

/// A link that is up as long as this is there.
pub struct Link {
    name: String,
    index: i32,
    /// The address it has now.
    pub mac: [u8; 6],
    control: UnixDatagram,
    was_down: bool,
}

impl Link {
    /// Brings a link up, if it is not.
    pub fn up(name: &str) -> Result<Link> {
        // Any family's socket takes the calls of netdevice(7), and the boot unit has no IP.
        let control = UnixDatagram::unbound()?;
        let mut link = Link { name: name.to_owned(), index: 0, mac: [0; 6], control, was_down: false };
        let request = link.ioctl(libc::SIOCGIFINDEX as _, |_| {}).context("no such link")?;
        // SAFETY: each call fills the member of the union that its name says, netdevice(7).
        link.index = unsafe { request.ifr_ifru.ifru_ifindex };
        let request = link.ioctl(libc::SIOCGIFHWADDR as _, |_| {})?;
        // SAFETY: as above.
        let address = unsafe { request.ifr_ifru.ifru_hwaddr };
        if address.sa_family != libc::ARPHRD_ETHER {
            bail!("it is no Ethernet");
        }
        for (to, from) in link.mac.iter_mut().zip(address.sa_data) {
            *to = from as u8;
        }
        let flags = link.flags()?;
        if flags & libc::IFF_UP == 0 {
            link.set_flags(flags | libc::IFF_UP)?;
            link.was_down = true;
        }
        Ok(link)
    }

    /// Does it hear the others?
    pub fn has_carrier(&self) -> Result<bool> {
        // IFF_RUNNING alone is set where nothing is known yet; it comes late, when packets pass.
        let is_running = self.flags()? & libc::IFF_RUNNING != 0;
        // struct ethtool_value of linux/ethtool.h.
        let mut value = [GET_LINK, 0_u32];
        let data = value.as_mut_ptr().cast::<c_char>();
        match self.ioctl(libc::SIOCETHTOOL as _, |request| request.ifr_ifru.ifru_data = data) {
            Ok(_) => Ok(is_running && value[1] != 0),
            Err(error) if error.downcast_ref() == Some(&Errno::EOPNOTSUPP) => Ok(is_running),
            Err(error) => Err(error),
        }
    }

    fn flags(&self) -> Result<i32> {
        let request = self.ioctl(libc::SIOCGIFFLAGS as _, |_| {})?;
        // SAFETY: the call has filled this member of the union; the flags are sixteen bits without a sign.
        Ok(i32::from(unsafe { request.ifr_ifru.ifru_flags } as u16))
    }

    fn set_flags(&self, flags: i32) -> Result<()> {
        self.ioctl(libc::SIOCSIFFLAGS as _, |request| request.ifr_ifru.ifru_flags = flags as _)?;
        Ok(())
    }

    fn ioctl(&self, number: libc::Ioctl, fill: impl FnOnce(&mut libc::ifreq)) -> Result<libc::ifreq> {
        if self.name.len() >= libc::IFNAMSIZ {
            bail!("`{}` is no name of a link", self.name);
        }
        // SAFETY: an ifreq of zeros is a valid one.
        let mut request: libc::ifreq = unsafe { zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(self.name.bytes()) {
            *to = from as c_char;
        }
        fill(&mut request);
        // SAFETY: the kernel reads and writes within the ifreq, and what it points to.
        Errno::result(unsafe { libc::ioctl(self.control.as_raw_fd(), number, &raw mut request) })?;
        Ok(request)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Whoever configures the link finds it as it was; udev renames only links that are down.
        if self.was_down
            && let Ok(flags) = self.flags()
        {
            let _ = self.set_flags(flags & !libc::IFF_UP);
        }
    }
}

/// What came in.
pub struct Packet {
    /// Who sent it.
    pub from: [u8; 6],
    /// From the network layer on.
    pub bytes: Vec<u8>,
}

/// A socket for the packets of one protocol on one link.
pub struct Socket {
    /// The EtherType.
    pub protocol: u16,
    index: i32,
    socket: OwnedFd,
}

impl Socket {
    /// Opens it, bound to the link.
    pub fn open(link: &Link, protocol: u16) -> Result<Socket> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // With protocol 0 nothing is received until it is bound to the link.
        // SAFETY: no pointers; what is returned is a new descriptor or an error.
        let socket = Errno::result(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: the descriptor is new and nobody else's.
        let socket = Socket { protocol, index: link.index, socket: unsafe { OwnedFd::from_raw_fd(socket) } };
        let address = socket.address([0; 6]);
        let (address, length) = (&raw const address, size_of::<libc::sockaddr_ll>() as u32);
        // SAFETY: the address is a sockaddr_ll of this length.
        Errno::result(unsafe { libc::bind(socket.socket.as_raw_fd(), address.cast(), length) })?;
        Ok(socket)
    }

    /// Receives what is sent to a group, too.
    pub fn join(&self, group: [u8; 6]) -> Result<()> {
        let mut request = libc::packet_mreq {
            mr_ifindex: self.index,
            mr_type: libc::PACKET_MR_MULTICAST as u16,
            mr_alen: 6,
            mr_address: [0; 8],
        };
        request.mr_address[..6].copy_from_slice(&group);
        let (value, length) = (&raw const request, size_of::<libc::packet_mreq>() as u32);
        let (level, option) = (libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP);
        // SAFETY: the value is a packet_mreq of this length.
        Errno::result(unsafe { libc::setsockopt(self.socket.as_raw_fd(), level, option, value.cast(), length) })?;
        Ok(())
    }

    /// Sends a packet.
    pub fn send(&self, to: [u8; 6], bytes: &[u8]) -> Result<()> {
        let address = self.address(to);
        let (address, length) = (&raw const address, size_of::<libc::sockaddr_ll>() as u32);
        let (data, size) = (bytes.as_ptr(), bytes.len());
        // SAFETY: data and address are of the lengths given.
        Errno::result(unsafe { libc::sendto(self.socket.as_raw_fd(), data.cast(), size, 0, address.cast(), length) })?;
        Ok(())
    }

    /// What has come in from others, if anything has.
    pub fn receive(&self) -> Result<Option<Packet>> {
        loop {
            let mut bytes = vec![0u8; LONGEST];
            // SAFETY: a sockaddr_ll of zeros is a valid one.
            let mut address: libc::sockaddr_ll = unsafe { zeroed() };
            let mut length = size_of::<libc::sockaddr_ll>() as u32;
            let (to, size, from) = (bytes.as_mut_ptr(), bytes.len(), &raw mut address);
            // SAFETY: the buffer and the address are of the lengths given.
            let got =
                unsafe { libc::recvfrom(self.socket.as_raw_fd(), to.cast(), size, 0, from.cast(), &raw mut length) };
            match Errno::result(got) {
                Ok(_) if address.sll_pkttype == libc::PACKET_OUTGOING => {}
                Ok(size) => {
                    bytes.truncate(size as usize);
                    let from = *address.sll_addr.first_chunk().context("no address")?;
                    return Ok(Some(Packet { from, bytes }));
                }
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn address(&self, mac: [u8; 6]) -> libc::sockaddr_ll {
        // SAFETY: a sockaddr_ll of zeros is a valid one.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = self.protocol.to_be();
        address.sll_ifindex = self.index;
        address.sll_halen = 6;
        address.sll_addr[..6].copy_from_slice(&mac);
        address
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
