// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names and addresses.

use std::net::IpAddr;

use super::{Edge, Form, List};

/// A host name, as a word.
pub fn name(all: &mut List, name: &str) {
    all.any_case(Form::Plain, name, Edge::Name);
    if name.contains('-') {
        all.any_case(Form::Escaped, &name.replace('-', crate::formats::known_ids::DASH), Edge::Name);
    }
}

/// The address of a link.
pub fn mac(all: &mut List, bytes: [u8; 6]) {
    let joined = |between: &str| bytes.map(|byte| format!("{byte:02x}")).join(between);
    all.any_case(Form::Colons, &joined(":"), Edge::Digits);
    all.any_case(Form::Pxe, &format!("01-{}", joined("-")), Edge::Digits);
    all.any_case(Form::Dashed, &joined("-"), Edge::Digits);
    all.any_case(Form::Escaped, &joined("\\x3a"), Edge::Digits);
    all.any_case(Form::Bare, &joined(""), Edge::Digits);
    all.raw(Form::Raw, &bytes);
    // RFC 4291, appendix A: the universal bit is turned over, ff:fe comes into the middle.
    let [a, b, c, d, e, f] = bytes.map(u16::from);
    let (first, second) = ((a ^ 2) << 8 | b, c << 8 | 0xff);
    all.any_case(Form::Eui64, &format!("{first:x}:{second:x}:fe{d:02x}:{:x}", e << 8 | f), Edge::Digits);
}

/// An address, whole.
pub fn ip(all: &mut List, address: IpAddr) {
    all.any_case(Form::Plain, &address.to_string(), if address.is_ipv4() { Edge::Ipv4 } else { Edge::Ipv6 });
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            all.exact(Form::Reverse, &format!("{d}.{c}.{b}.{a}.in-addr.arpa"), Edge::Ipv4);
            all.exact(Form::Dashed, &format!("{a}-{b}-{c}-{d}"), Edge::Digits);
        }
        IpAddr::V6(address) => {
            let groups = address.segments().map(|group| format!("{group:04x}")).join(":");
            all.any_case(Form::Colons, &groups, Edge::Ipv6);
            all.any_case(Form::Colons, &address.segments().map(|group| format!("{group:x}")).join(":"), Edge::Ipv6);
            all.raw(Form::Raw, &address.octets());
            let digits = groups.replace(':', "");
            let reverse: Vec<String> = digits.chars().rev().map(String::from).collect();
            all.any_case(Form::Reverse, &format!("{}.ip6.arpa", reverse.join(".")), Edge::Digits);
        }
    }
}
