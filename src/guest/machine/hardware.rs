// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the hardware, or what poses as it, says of itself: firmware tables, disks, network interfaces.

use sysinfo::Product;
use uuid::Uuid;

use super::{Disk, Link, clean, exists, line};
use crate::root::Root;

/// What firmware says when nobody filled the field in, in lower case.
const PLACEHOLDERS: &[&str] = &[
    "0123456789",
    "123456789",
    "1234567890",
    "base board serial number",
    "chassis serial number",
    "default",
    "default string",
    "empty",
    "invalid",
    "n/a",
    "none",
    "not applicable",
    "not available",
    "not present",
    "not settable",
    "not specified",
    "o.e.m.",
    "oem",
    "system manufacturer",
    "system product name",
    "system serial number",
    "to be filled by o.e.m",
    "to be filled by o.e.m.",
    "undefined",
    "unknown",
];

/// The UUID in AMI's sample firmware, which many boards were sold with.
const SAMPLE_UUID: Uuid = Uuid::from_u128(0x03000200_0400_0500_0006_000700080009);

/// Offset of the GUID in QEMU's `etc/vmgenid_guid`: QEMU, docs/specs/vmgenid.rst, "GUID Storage Format".
const GENERATION_ID_OFFSET: usize = 40;

/// Block devices that are no disk of the machine: made by software, or for media that come and go.
const NOT_DISKS: &[&str] = &["bcache", "dm-", "drbd", "fd", "loop", "md", "nbd", "ram", "sr", "zd", "zram"];

/// UUID of the machine.
pub(super) fn uuid(root: &Root) -> Option<String> {
    // Without SMBIOS: a paravirtual guest of Xen, KVM on POWER, PowerVM.
    const INSTEAD: &[&str] =
        &["sys/hypervisor/uuid", "proc/device-tree/vm,uuid", "proc/device-tree/ibm,partition-uuid"];
    smbios(root, "product_uuid", Product::uuid)
        .and_then(|text| real_uuid(&text))
        .or_else(|| INSTEAD.iter().find_map(|path| real_uuid(&line(root, path)?)))
        .or_else(|| s390_uuid(root))
}

/// Serial number of the machine.
pub(super) fn serial(root: &Root) -> Option<String> {
    smbios(root, "product_serial", Product::serial_number).or_else(|| stated(root, "proc/device-tree/serial-number"))
}

/// Maker of the machine.
pub(super) fn vendor(root: &Root) -> Option<String> {
    smbios(root, "sys_vendor", Product::vendor_name)
}

/// Model of the machine.
pub(super) fn product(root: &Root) -> Option<String> {
    smbios(root, "product_name", Product::name).or_else(|| stated(root, "proc/device-tree/model"))
}

/// An SMBIOS field: from sysinfo where it can answer, from the file where it is a tree, or what is in it is not UTF-8.
fn smbios(root: &Root, field: &str, ask: fn() -> Result<String, sysinfo::Error>) -> Option<String> {
    let path = format!("sys/class/dmi/id/{field}");
    // Where the field is missing sysinfo tries others, /tmp/sysinfo/model at last, which anybody can write.
    if !exists(root, &path) {
        return None;
    }
    let asked = root.is_running_system().then(ask).and_then(Result::ok);
    let text = asked.and_then(|text| clean(text.as_bytes())).or_else(|| line(root, &path))?;
    (!is_placeholder(&text)).then_some(text)
}

/// The UUID of an s390 guest, or of its partition; the kernel's arch/s390/kernel/sysinfo.c prints them.
fn s390_uuid(root: &Root) -> Option<String> {
    let content = root.read("proc/sysinfo").ok()??;
    let text = String::from_utf8_lossy(&content);
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).and_then(real_uuid);
    value("VM00 UUID:").or_else(|| value("LPAR UUID:"))
}

/// QEMU's VM generation id, where the kernel's `qemu_fw_cfg` module is loaded. No other hypervisor's has a file: the
/// kernel's vmgenid driver keeps them to itself.
pub(super) fn generation_id(root: &Root) -> Option<String> {
    let page = root.read("sys/firmware/qemu_fw_cfg/by_name/etc/vmgenid_guid/raw").ok()??;
    let bytes = page.get(GENERATION_ID_OFFSET..)?.first_chunk()?;
    some_uuid(Uuid::from_bytes_le(*bytes))
}

/// The machine's disks.
pub(super) fn disks(root: &Root) -> Vec<Disk> {
    let names = root.list("sys/block").unwrap_or_default();
    let disk = |name: String| {
        let dir = format!("sys/block/{name}");
        let first = |files: [&str; 2]| files.iter().find_map(|file| stated(root, &format!("{dir}/{file}")));
        // A path of a multipath NVMe disk, or a stick that will be gone tomorrow.
        let is_passing = ["hidden", "removable"].iter().any(|flag| is(root, &format!("{dir}/{flag}"), "1"));
        (!is_passing).then(|| Disk {
            serial: first(["serial", "device/serial"]).or_else(|| scsi_serial(root, &dir)),
            wwid: first(["wwid", "device/wwid"]),
            name,
        })
    };
    names.into_iter().filter(|name| !is_virtual(name)).filter_map(disk).collect()
}

fn is_virtual(name: &str) -> bool {
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
    NOT_DISKS.contains(&kind)
}

/// SPC-4, "Unit Serial Number VPD page": four bytes of header, the last two the length of the text.
fn scsi_serial(root: &Root, dir: &str) -> Option<String> {
    let page = root.read(&format!("{dir}/device/vpd_pg80")).ok()??;
    let (header, text) = page.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    clean(text.get(..length).unwrap_or(text)).filter(|text| !is_placeholder(text))
}

/// The machine's network interfaces.
pub(super) fn links(root: &Root) -> Vec<Link> {
    let names = root.list("sys/class/net").unwrap_or_default();
    let dir = |name: &str| format!("sys/class/net/{name}");
    // Bridges, bonds, tunnels and the loopback have no device.
    let physical = names.into_iter().filter(|name| exists(root, &format!("{}/device", dir(name))));
    physical.map(|name| Link { mac: permanent_mac(root, &dir(&name)), name }).collect()
}

fn permanent_mac(root: &Root, dir: &str) -> Option<String> {
    // NET_ADDR_PERM in the kernel's netdevice.h; the others are random, stolen and set.
    let is_permanent = is(root, &format!("{dir}/addr_assign_type"), "0");
    let mac = line(root, &format!("{dir}/address")).filter(|_| is_permanent)?.to_ascii_lowercase();
    // Six bytes: the twenty of InfiniBand hold a number that changes from boot to boot.
    let is_mac = mac.split(':').count() == 6
        && mac.split(':').all(|byte| byte.len() == 2 && byte.chars().all(|c| c.is_ascii_hexdigit()));
    (is_mac && !is_placeholder(&mac)).then_some(mac)
}

fn is(root: &Root, path: &str, value: &str) -> bool {
    line(root, path).is_some_and(|text| text == value)
}

/// The first line of a file, unless it only holds the place of one.
fn stated(root: &Root, path: &str) -> Option<String> {
    line(root, path).filter(|text| !is_placeholder(text))
}

fn is_placeholder(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let mut rest = text.trim_start_matches("0x").chars().filter(char::is_ascii_alphanumeric);
    let first = rest.next();
    let is_blank = first.is_none() && text.is_ascii();
    is_blank || first.is_some_and(|c| "0fx".contains(c) && rest.all(|next| next == c)) || PLACEHOLDERS.contains(&&*text)
}

fn real_uuid(text: &str) -> Option<String> {
    some_uuid(Uuid::parse_str(text.trim()).ok()?)
}

fn some_uuid(uuid: Uuid) -> Option<String> {
    (!uuid.is_nil() && !uuid.is_max() && uuid != SAMPLE_UUID).then(|| uuid.to_string())
}
