// SPDX-License-Identifier: MIT OR Apache-2.0
//! The packets of ARP (RFC 826, RFC 5227) and neighbour discovery (RFC 4861, RFC 4862), byte by byte.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The link-layer address of all nodes, RFC 2464 section 7.
pub const ALL_NODES: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// Hardware type Ethernet, protocol IPv4, and the lengths of their addresses.
const ARP_HEADER: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Asks who has an address without saying that anybody does: the sender's own is zero.
pub fn arp_probe(own: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    [&ARP_HEADER[..], &REQUEST, &own, &[0; 4], &[0; 6], &address.octets()].concat()
}

/// The address that somebody else claims by an ARP packet, and who: any packet of its owner, or another's probe for it,
/// RFC 5227 section 2.1.1.
pub fn arp_claim(packet: &[u8], own: [u8; 6]) -> Option<(Ipv4Addr, [u8; 6])> {
    let packet: &[u8; 28] = packet.first_chunk()?;
    let sender: [u8; 6] = *packet[8..].first_chunk()?;
    if packet[..6] != ARP_HEADER || sender == own {
        return None;
    }
    let address = |at: usize| -> Option<Ipv4Addr> { Some(Ipv4Addr::from(*packet[at..].first_chunk::<4>()?)) };
    let source = address(14)?;
    match (source.is_unspecified(), packet[6..8] == REQUEST) {
        (false, _) => Some((source, sender)),
        (true, true) => Some((address(24)?, sender)),
        (true, false) => None,
    }
}

/// The group of all nodes that may have an address, RFC 4291 section 2.7.1.
fn group(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from(b) << 8 | u16::from(c))
}

/// That group's link-layer address, RFC 2464 section 7.
pub fn multicast(address: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = group(address).octets();
    [0x33, 0x33, a, b, c, d]
}

/// Asks who has an address: from no address, without options, RFC 4862 section 5.4.2.
pub fn solicitation(address: Ipv6Addr) -> Vec<u8> {
    let mut message = [&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..], &address.octets()].concat();
    let to = group(address);
    let sum = checksum(Ipv6Addr::UNSPECIFIED, to, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let length = (message.len() as u16).to_be_bytes();
    let header = [&[0x60, 0, 0, 0, length[0], length[1], ICMPV6, 255][..], &[0; 16], &to.octets()].concat();
    [header, message].concat()
}

/// The address that somebody else claims: who answers for it, or solicits it from no address as it does itself (RFC 4862,
/// section 5.4.3). Packets that have passed a router do not count, RFC 4861 section 7.1.
pub fn ndp_claim(packet: &[u8], from: [u8; 6], own: [u8; 6]) -> Option<Ipv6Addr> {
    let (header, message) = packet.split_first_chunk::<40>()?;
    let is_near = header[0] >> 4 == 6 && header[6] == ICMPV6 && header[7] == 255;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let message = message.get(..length).filter(|message| is_near && message.len() >= 24 && from != own)?;
    let address = |at: usize| -> Option<Ipv6Addr> { Some(Ipv6Addr::from(*packet[at..].first_chunk::<16>()?)) };
    let (source, to, target) = (address(8)?, address(24)?, address(48)?);
    if checksum(source, to, message) != 0 || message[1] != 0 {
        return None;
    }
    match message[0] {
        ADVERTISEMENT => Some(target),
        SOLICITATION if source.is_unspecified() => Some(target),
        _ => None,
    }
}

/// RFC 4443 section 2.3; zero over a message that has the right one.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = (message.len() as u32).to_be_bytes();
    let pseudo = [&from.octets()[..], &to.octets(), &length, &[0, 0, 0, ICMPV6]].concat();
    let mut sum = 0u32;
    for part in [&pseudo[..], message] {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];

    #[test]
    fn every_arp_packet_of_an_owner_is_a_claim_and_another_probe_too() {
        let address: Ipv4Addr = "192.0.2.7".parse().unwrap();
        let probe = arp_probe(OWN, address);
        assert_eq!(probe.len(), 28);
        assert_eq!(arp_claim(&probe, OWN), None, "its own");
        assert_eq!(arp_claim(&probe, OTHER), Some((address, OWN)));
        let mut reply = arp_probe(OTHER, Ipv4Addr::UNSPECIFIED);
        reply[7] = 2;
        assert_eq!(arp_claim(&reply, OWN), None, "a reply from nobody");
        reply[14..18].copy_from_slice(&address.octets());
        assert_eq!(arp_claim(&reply, OWN), Some((address, OTHER)));
        for end in 0..28 {
            assert_eq!(arp_claim(&reply[..end], OWN), None);
        }
    }

    #[test]
    fn neighbours_claim_by_advertisement_and_by_asking_from_nowhere() {
        let address: Ipv6Addr = "2001:db8::1:2a3b".parse().unwrap();
        assert_eq!(multicast(address), [0x33, 0x33, 0xff, 1, 0x2a, 0x3b]);
        let asked = solicitation(address);
        assert_eq!(asked.len(), 64);
        assert_eq!(ndp_claim(&asked, OTHER, OWN), Some(address));
        assert_eq!(ndp_claim(&asked, OWN, OWN), None, "its own");
        // What an owner says: the same with another type and source, and a checksum that fits.
        let mut answer = asked.clone();
        answer[8..24].copy_from_slice(&address.octets());
        answer[40] = ADVERTISEMENT;
        answer[42..44].fill(0);
        let to = Ipv6Addr::from(*answer[24..].first_chunk::<16>().unwrap());
        let sum = checksum(address, to, &answer[40..]);
        answer[42..44].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(ndp_claim(&answer, OTHER, OWN), Some(address));
        for at in [7, 42, 50] {
            let mut bad = answer.clone();
            bad[at] ^= 1;
            assert_eq!(ndp_claim(&bad, OTHER, OWN), None, "byte {at}");
        }
        for end in 0..64 {
            assert_eq!(ndp_claim(&answer[..end], OTHER, OWN), None);
        }
    }
}
