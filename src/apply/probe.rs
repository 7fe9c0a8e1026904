// SPDX-License-Identifier: MIT OR Apache-2.0
//! Is an address free? Asked on the link itself before it is taken: ARP probes (RFC 5227) and IPv6 duplicate address
//! detection (RFC 4862). A link that is down is brought up for it, and goes down again.

mod packets;
mod socket;

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::formats::network::Mac;
use crate::plan::probed::{Clash, Probed, Unasked, Wanted};
use socket::{Link, Packet, Socket};

/// The most that all of it takes, whatever the links do.
const MOST: Duration = Duration::from_secs(10);
/// How long a link may take to have a carrier.
const CARRIER: Duration = Duration::from_secs(5);
/// How often each address is asked for: PROBE_NUM of RFC 5227, section 1.1.
const ROUNDS: u32 = 3;
/// From one time to the next: PROBE_MIN of RFC 5227, RetransTimer of RFC 4861.
const BETWEEN: Duration = Duration::from_secs(1);
/// How long an answer to the last is waited for: ANNOUNCE_WAIT of RFC 5227.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// Asks for all addresses at the same time, 4 s from when the links have a carrier, 10 s at most in all. Of a link that is not
/// there, gets no carrier, or lets nothing be sent, nothing is known afterwards; the others are asked on.
pub fn probe(wanted: &[Wanted]) -> Probed {
    let end = Instant::now() + MOST;
    let mut probed = Probed { asked: wanted.to_vec(), ..Probed::default() };
    let mut probes = Vec::new();
    for wanted in wanted {
        match Probe::new(wanted) {
            Ok(probe) => probes.push(probe),
            Err(error) => probed.unasked(&wanted.link, &error),
        }
    }
    let begun = Instant::now();
    probes.retain(|probe| {
        probe.wait_for_carrier(begun).map_err(|error| probed.unasked(&probe.wanted.link, &error)).is_ok()
    });
    for round in 0..ROUNDS {
        probes.retain(|probe| {
            let asked = probe.ask(&probed.clashes);
            asked.map_err(|error| probed.unasked(&probe.wanted.link, &error)).is_ok()
        });
        let wait = if round + 1 < ROUNDS { BETWEEN } else { AFTERWARDS };
        listen(&mut probes, (Instant::now() + wait).min(end), &mut probed);
    }
    probed
}

impl Probed {
    fn unasked(&mut self, link: &str, why: &Error) {
        self.unasked.push(Unasked { link: link.to_owned(), why: format!("{why:#}") });
    }
}

/// One link's addresses, and the sockets by which they are asked for.
struct Probe<'w> {
    wanted: &'w Wanted,
    link: Link,
    arp: Option<Socket>,
    ndp: Option<Socket>,
}

impl<'w> Probe<'w> {
    fn new(wanted: &'w Wanted) -> Result<Probe<'w>> {
        let link = Link::up(&wanted.link)?;
        let open = |protocol, any: bool| any.then(|| Socket::open(&link, protocol)).transpose();
        let arp = open(socket::ARP, wanted.addresses.iter().any(IpAddr::is_ipv4))?;
        let ndp = open(socket::IPV6, wanted.addresses.iter().any(IpAddr::is_ipv6))?;
        if let Some(ndp) = &ndp {
            ndp.join(packets::ALL_NODES)?;
            for address in &wanted.addresses {
                if let IpAddr::V6(address) = address {
                    ndp.join(packets::multicast(*address))?;
                }
            }
        }
        Ok(Probe { wanted, link, arp, ndp })
    }

    /// All links together have [`CARRIER`].
    fn wait_for_carrier(&self, begun: Instant) -> Result<()> {
        while !self.link.has_carrier()? {
            if begun.elapsed() > CARRIER {
                bail!("it has no carrier");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Asks for each address that nobody has claimed yet.
    fn ask(&self, clashes: &[Clash]) -> Result<()> {
        let is_taken =
            |address: &IpAddr| clashes.iter().any(|clash| clash.address == *address && clash.link == self.wanted.link);
        for address in self.wanted.addresses.iter().filter(|address| !is_taken(address)) {
            match (address, &self.arp, &self.ndp) {
                (IpAddr::V4(address), Some(arp), _) => {
                    arp.send([0xff; 6], &packets::arp_probe(self.link.mac, *address))?;
                }
                (IpAddr::V6(address), _, Some(ndp)) => {
                    ndp.send(packets::multicast(*address), &packets::solicitation(*address))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Notes who claims one of the addresses.
    fn hear(&self, clashes: &mut Vec<Clash>) -> Result<()> {
        for socket in self.arp.iter().chain(&self.ndp) {
            while let Some(Packet { from, bytes }) = socket.receive()? {
                let claim = if socket.protocol == socket::ARP {
                    packets::arp_claim(&bytes, self.link.mac).map(|(address, mac)| (IpAddr::V4(address), mac))
                } else {
                    packets::ndp_claim(&bytes, from, self.link.mac).map(|address| (IpAddr::V6(address), from))
                };
                let Some((address, owner)) = claim.filter(|(address, _)| self.wanted.addresses.contains(address))
                else {
                    continue;
                };
                let clash = Clash { link: self.wanted.link.clone(), address, owner: Mac(owner) };
                if !clashes.iter().any(|known| known.address == address && known.link == clash.link) {
                    clashes.push(clash);
                }
            }
        }
        Ok(())
    }
}

/// Hears what comes in until then; a link whose socket fails is left out.
fn listen(probes: &mut Vec<Probe<'_>>, until: Instant, probed: &mut Probed) {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || probes.is_empty() {
            return;
        }
        let sockets = probes.iter().flat_map(|probe| probe.arp.iter().chain(&probe.ndp));
        let mut polled: Vec<PollFd<'_>> =
            sockets.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut polled, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => {
                probes.drain(..).for_each(|probe| probed.unasked(&probe.wanted.link, &errno.into()));
                return;
            }
        }
        probes.retain(|probe| {
            let heard = probe.hear(&mut probed.clashes);
            heard.map_err(|error| probed.unasked(&probe.wanted.link, &error)).is_ok()
        });
    }
}
