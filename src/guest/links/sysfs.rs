// SPDX-License-Identifier: MIT OR Apache-2.0
//! The links of the running system, by sysfs, udev's records, and the kernel's own word for permanent addresses.

use std::ffi::c_char;
use std::os::fd::AsRawFd as _;

use anyhow::Result;
use nix::libc;

use super::Link;
use crate::formats::network::Mac;
use crate::guest::disks;
use crate::guest::mounts::{self, Mount};
use crate::root::Root;

/// Where sysfs lists them.
const CLASS: &str = "sys/class/net";
/// `NET_ADDR_PERM` of linux/netdevice.h, in `addr_assign_type`.
const PERMANENT: &str = "0";
/// `ARPHRD_ETHER` of linux/if_arp.h, in `type`: only these have addresses of six bytes that mean something.
const ETHERNET: &str = "1";
/// `IFF_UP` of linux/if.h, in `flags`.
const UP: u32 = 1;
/// `ETHTOOL_GPERMADDR` of linux/ethtool.h.
const GET_PERMANENT: u32 = 0x20;
/// File systems that lie on another machine, and so behind a link.
const ON_NETWORK: [&str; 7] = ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.glusterfs"];

/// All links but the loopback, by name.
///
/// # Errors
/// When /sys or /proc cannot be read.
pub fn links(root: &Root) -> Result<Vec<Link>> {
    let mut found = Vec::new();
    for name in root.list(CLASS)? {
        found.extend(link(root, name)?);
    }
    let carried = carried(root)?;
    // Which of several links leads there, routing decides from one packet to the next.
    for link in found.iter_mut().filter(|link| link.up) {
        link.carries.clone_from(&carried);
    }
    Ok(found)
}

fn link(root: &Root, name: String) -> Result<Option<Link>> {
    let line = |file: &str| -> Option<String> {
        let text = String::from_utf8(root.read(&format!("{CLASS}/{name}/{file}")).ok()??).ok()?;
        Some(text.trim().to_owned()).filter(|line| !line.is_empty())
    };
    if line("type").as_deref() != Some(ETHERNET) {
        return Ok(None);
    }
    // ../../devices/pci0000:00/0000:00:03.0/virtio2/net/eth0
    let place = root.read_link(&format!("{CLASS}/{name}"))?.unwrap_or_default();
    let driver = root.read_link(&format!("{CLASS}/{name}/device/driver"))?;
    let mac: Option<Mac> = line("address").and_then(|text| text.parse().ok());
    let flags = line("flags").and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok());
    let is_virtual = place.contains("/devices/virtual/");
    let permanent = match line("addr_assign_type").as_deref() {
        _ if is_virtual => None,
        Some(PERMANENT) => mac,
        _ if root.is_running_system() => permanent(&name),
        _ => None,
    };
    Ok(Some(Link {
        mac,
        permanent_mac: permanent.filter(|mac| mac.is_unicast()),
        path: line("ifindex").and_then(|index| path_by_udev(root, &index)).or_else(|| path_by_place(&place)),
        driver: driver.and_then(|target| Some(target.rsplit('/').next()?.to_owned())),
        r#virtual: is_virtual,
        up: flags.is_some_and(|flags| flags & UP != 0),
        carries: Vec::new(),
        name,
    }))
}

/// udev's own word, from its record of the link: systemd's src/libsystemd/sd-device, `n` and the index.
fn path_by_udev(root: &Root, index: &str) -> Option<String> {
    let record = root.read(&format!("run/udev/data/n{index}")).ok()??;
    let record = String::from_utf8_lossy(&record).into_owned();
    record.lines().find_map(|line| line.strip_prefix("E:ID_PATH=")).map(str::to_owned)
}

/// What udev will say of a PCI device, and of a virtio device on one: its `path_id` names the nearest PCI function.
fn path_by_place(place: &str) -> Option<String> {
    let is_function = |part: &&str| {
        let (slot, function) = part.split_once('.').unwrap_or_default();
        let fields: Vec<&str> = slot.split(':').collect();
        let hex =
            |text: &str, length: usize| text.len() == length && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        matches!(fields[..], [domain, bus, device] if domain.len() >= 4 && hex(bus, 2) && hex(device, 2))
            && hex(function, 1)
    };
    if place.contains("/usb") {
        return None;
    }
    place.split('/').rfind(is_function).map(|function| format!("pci-{function}"))
}

/// Which of `/` and `/usr` lie behind a network.
fn carried(root: &Root) -> Result<Vec<String>> {
    let mounts = root.read("proc/self/mountinfo")?.unwrap_or_default();
    let nodes = disks::nodes(root).unwrap_or_default();
    let mut found = Vec::new();
    for Mount { dev, point, kind, source, .. } in mounts::of(&String::from_utf8_lossy(&mounts)) {
        if !["/", "/usr"].contains(&point.as_str()) {
            continue;
        }
        let name = source.trim_start_matches("/dev/mapper/").trim_start_matches("/dev/");
        let node =
            nodes.values().find(|node| node.dev == dev || node.name == name || node.mapped.as_deref() == Some(name));
        if ON_NETWORK.contains(&kind.as_str()) || name.starts_with("nbd") || node.is_some_and(|node| node.network) {
            found.push(point);
        }
    }
    Ok(found)
}

/// The permanent address of a link, ethtool(8) `-P`; everybody may ask.
fn permanent(name: &str) -> Option<Mac> {
    /// `struct ethtool_perm_addr` with room for the longest address, `MAX_ADDR_LEN`.
    #[repr(C)]
    struct Answer {
        command: u32,
        size: u32,
        bytes: [u8; 32],
    }
    // Any socket reaches the links, netdevice(7).
    let socket = std::os::unix::net::UnixDatagram::unbound().ok()?;
    let mut answer = Answer { command: GET_PERMANENT, size: 32, bytes: [0; 32] };
    // SAFETY: an ifreq of zeros is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays the NUL that ends the name.
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
        *to = from as c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut answer).cast();
    // SAFETY: the kernel reads the name and the command, and writes at most `size` bytes behind the header of `answer`,
    // which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    (result == 0 && answer.size == 6).then(|| answer.bytes.first_chunk().copied().map(Mac))?
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn make(root: &Path, place: &str, files: &[(&str, &str)]) {
        let name = place.rsplit('/').next().unwrap();
        let device = root.join("sys/devices").join(place);
        fs::create_dir_all(&device).unwrap();
        for (file, content) in [("type", "1"), ("addr_assign_type", "0"), ("flags", "0x1002")].iter().chain(files) {
            fs::write(device.join(file), format!("{content}\n")).unwrap();
        }
        fs::create_dir_all(root.join(CLASS)).unwrap();
        symlink(format!("../../devices/{place}"), root.join(CLASS).join(name)).unwrap();
    }

    #[test]
    fn links_are_told_by_sysfs() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let virtio = "pci0000:00/0000:00:02.0/0000:01:00.0/virtio2/net/ens18";
        make(at, virtio, &[("address", "52:54:00:00:00:01"), ("flags", "0x1003"), ("ifindex", "2")]);
        fs::create_dir_all(at.join("sys/bus/virtio/drivers/virtio_net")).unwrap();
        symlink(
            "/sys/bus/virtio/drivers",
            at.join("sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/virtio2/net/ens18/device"),
        )
        .unwrap();
        make(at, "pci0000:00/0000:00:14.0/usb1/1-1/net/eth1", &[("address", "52:54:00:00:00:02"), ("ifindex", "3")]);
        make(at, "virtual/net/br0", &[("address", "52:54:00:00:00:01")]);
        make(at, "virtual/net/lo", &[("type", "772"), ("address", "00:00:00:00:00:00")]);
        make(at, "pci0000:00/0000:00:05.0/net/ens5", &[("address", "02:00:00:00:00:09"), ("addr_assign_type", "3")]);
        fs::create_dir_all(at.join("run/udev/data")).unwrap();
        fs::write(at.join("run/udev/data/n3"), "I:1\nE:ID_PATH=pci-0000:00:14.0-usb-0:1:1.0\n").unwrap();
        fs::create_dir_all(at.join("proc/self")).unwrap();
        fs::write(
            at.join("proc/self/mountinfo"),
            "22 1 0:21 / / rw - nfs4 server:/root rw\n23 22 8:1 / /home rw - ext4 /dev/sda1 rw\n",
        )
        .unwrap();
        let found = links(&Root::open(at).unwrap()).unwrap();
        let told: Vec<(&str, Option<&str>)> =
            found.iter().map(|link| (link.name.as_str(), link.path.as_deref())).collect();
        assert_eq!(
            told,
            [
                ("br0", None),
                ("ens18", Some("pci-0000:01:00.0")),
                ("ens5", Some("pci-0000:00:05.0")),
                ("eth1", Some("pci-0000:00:14.0-usb-0:1:1.0")),
            ]
        );
        assert_eq!((found[0].r#virtual, found[0].permanent_mac), (true, None));
        assert_eq!((found[1].up, &found[1].carries[..]), (true, &["/".to_owned()][..]));
        assert!(!found[1].is_free() && found[3].is_free());
        assert_eq!((found[2].mac.is_some(), found[2].permanent_mac), (true, None), "set by somebody");
    }

    #[test]
    fn the_kernel_is_asked_for_permanent_addresses() {
        assert_eq!(permanent("no-such-link"), None);
        for link in links(&Root::open(Path::new("/")).unwrap()).unwrap().iter().filter(|link| !link.r#virtual) {
            // Where sysfs says it, the kernel says the same.
            let asked = permanent(&link.name);
            assert!(
                asked.is_none() || link.permanent_mac.is_none() || asked == link.permanent_mac,
                "{link:?} {asked:?}"
            );
        }
    }
}
