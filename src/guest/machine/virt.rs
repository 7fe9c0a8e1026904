// SPDX-License-Identifier: MIT OR Apache-2.0
//! Container, virtual machine or neither: the order of evidence and the words of systemd-detect-virt(1), whose
//! reasons are in systemd's `src/basic/virt.c`.
//!
//! systemd chooses the evidence by the architecture it was built for; here the files decide, so that any machine's
//! files can be judged on any other.

use super::{exists, line};
use crate::root::Root;

/// A hypervisor without a name we know.
const OTHER_VM: &str = "vm-other";
/// A container without a name we know.
const OTHER_CONTAINER: &str = "container-other";

/// Names that a container may give itself and that say something; systemd's Container Interface,
/// <https://systemd.io/CONTAINER_INTERFACE>.
const CONTAINERS: &[&str] =
    &["docker", "lxc", "lxc-libvirt", "podman", "pouch", "proot", "rkt", "systemd-nspawn", "wsl"];

/// What CPUID leaf 0x4000_0000 answers.
const SIGNATURES: &[(&str, &str)] = &[
    ("KVMKVMKVM", "kvm"),
    ("Linux KVM Hv", "kvm"),
    ("TCGTCGTCGTCG", "qemu"),
    ("XenVMMXenVMM", "xen"),
    ("VMwareVMware", "vmware"),
    ("Microsoft Hv", "microsoft"),
    ("bhyve bhyve ", "bhyve"),
    ("ACRNACRNACRN", "acrn"),
    ("QNXQVMBSQG", "qnx"),
    ("SRESRESRESRE", "sre"),
    ("Apple VZ", "apple"),
];

/// SMBIOS fields that name the hypervisor. The product is first, because QEMU says there that it runs on KVM.
const FIRMWARE_FIELDS: &[&str] = &["product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version"];

/// How such a field begins.
const FIRMWARE_NAMES: &[(&str, &str)] = &[
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("KubeVirt", "kvm"),
    ("Amazon EC2", "amazon"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VMW", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Oracle Corporation", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("Hyper-V", "microsoft"),
    ("Apple Virtualization", "apple"),
    ("Google Compute Engine", "google"),
];

/// The container around this root, if there is one.
pub(super) fn container(root: &Root) -> Option<&'static str> {
    // /proc/bc is only there on the host.
    if exists(root, "proc/vz") && !exists(root, "proc/bc") {
        return Some("openvz");
    }
    // https://github.com/microsoft/WSL/issues/423
    if line(root, "proc/sys/kernel/osrelease").is_some_and(|text| text.contains("Microsoft") || text.contains("WSL")) {
        return Some("wsl");
    }
    if traced_by_proot(root) {
        return Some("proot");
    }
    let name = line(root, "run/host/container-manager").or_else(|| line(root, "run/systemd/container"));
    match name.or_else(|| init_variable(root, "container")).as_deref() {
        // Set to nothing, it means that this is no container, whatever the files say.
        Some("") => None,
        // What several image builders write into every image.
        Some("oci") => marker(root).or(Some(OTHER_CONTAINER)),
        Some(name) => Some(CONTAINERS.iter().find(|known| **known == name).copied().unwrap_or(OTHER_CONTAINER)),
        None => marker(root).or_else(|| in_cgroup_namespace(root).then_some(OTHER_CONTAINER)),
    }
}

/// proot makes no namespaces: it is the debugger of everything inside.
fn traced_by_proot(root: &Root) -> bool {
    let tracer = field(root, "proc/self/status", "TracerPid");
    let pid = tracer.and_then(|pid| pid.parse::<u32>().ok()).filter(|pid| *pid != 0);
    pid.and_then(|pid| line(root, &format!("proc/{pid}/comm"))).is_some_and(|name| name.starts_with("proot"))
}

/// A variable in the environment that PID 1 was started with.
fn init_variable(root: &Root, name: &str) -> Option<String> {
    let environment = root.read("proc/1/environ").ok()??;
    let value = environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=".as_slice()))?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// Files that container engines leave. Docker's is last: it is also found in images made from a container.
fn marker(root: &Root) -> Option<&'static str> {
    [("run/.containerenv", "podman"), (".dockerenv", "docker")]
        .into_iter()
        .find_map(|(path, name)| exists(root, path).then_some(name))
}

/// In a control group namespace the top of the hierarchy is some group of the host, and shows it: cgroups(7).
fn in_cgroup_namespace(root: &Root) -> bool {
    if !exists(root, "proc/self/ns/cgroup") {
        return false;
    }
    let group = |file: &str| exists(root, &format!("sys/fs/cgroup/{file}"));
    if group("cgroup.controllers") {
        // A kernel too old for cgroup.type is also too old to list its features.
        return group("cgroup.events") && (group("cgroup.type") || !exists(root, "sys/kernel/cgroup/features"));
    }
    group("systemd") && !group("systemd/release_agent")
}

/// The hypervisor below this root, if there is one.
pub(super) fn virtual_machine(root: &Root, cpu: Option<&str>) -> Option<&'static str> {
    let firmware = firmware(root);
    // These know better than the CPU, which would only say that they are made of KVM, or, of Xen, that it is Hyper-V.
    if let Some("oracle" | "xen" | "amazon" | "parallels" | "google") = firmware {
        return firmware;
    }
    if field(root, "proc/cpuinfo", "vendor_id").is_some_and(|vendor| vendor.starts_with("User Mode Linux")) {
        return Some("uml");
    }
    let signed = cpu.and_then(|signature| lookup(SIGNATURES, |name| name == signature));
    if exists(root, "proc/xen") {
        // A paravirtual guest sees the CPU of whatever is below Xen. The domain that drives the hardware is a guest
        // only if Xen itself is in one.
        return if is_xen_dom0(root) { signed.filter(|word| *word != "xen") } else { Some("xen") };
    }
    // QEMU says "Microsoft Hv" too, to make Windows use its enlightenments.
    if let Some(word) = signed.filter(|word| *word != "microsoft") {
        return Some(word);
    }
    let claims = [firmware, xen_sysfs(root), device_tree(root), control_program(root)];
    let named = claims.into_iter().flatten().find(|word| *word != OTHER_VM);
    named.or(signed).or_else(|| (cpu.is_some() || claims.contains(&Some(OTHER_VM))).then_some(OTHER_VM))
}

/// The signature of the hypervisor that the CPU admits to; empty when it admits to one and its name cannot be had.
pub(super) fn cpu(root: &Root) -> Option<String> {
    #[cfg(target_arch = "x86_64")]
    if root.is_running_system() {
        // Leaf 1, ECX bit 31 is kept free for this; the leaves from 0x4000_0000 are the hypervisor's.
        // https://lwn.net/Articles/301888/
        use std::arch::x86_64::__cpuid;
        return (__cpuid(1).ecx >> 31 == 1).then(|| {
            let leaf = __cpuid(0x4000_0000);
            let bytes = [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes).concat();
            String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
        });
    }
    let flags = field(root, "proc/cpuinfo", "flags")?;
    flags.split_whitespace().any(|flag| flag == "hypervisor").then(String::new)
}

fn firmware(root: &Root) -> Option<&'static str> {
    let names = FIRMWARE_FIELDS.iter().filter_map(|field| line(root, &format!("sys/class/dmi/id/{field}")));
    let named = names.into_iter().find_map(|text| lookup(FIRMWARE_NAMES, |name| text.starts_with(name)));
    match named {
        Some("amazon") if !is_amazon_vm(root) => None,
        None if smbios_says_vm(root) == Some(true) => Some(OTHER_VM),
        named => named,
    }
}

/// Amazon's hardware has the same names as its virtual machines, but for the product where SMBIOS says no more.
fn is_amazon_vm(root: &Root) -> bool {
    smbios_says_vm(root).unwrap_or_else(|| {
        let product = line(root, "sys/class/dmi/id/product_name").unwrap_or_default();
        !product.split_once(".metal").is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('-'))
    })
}

/// Bit 4 of BIOS Characteristics Extension Byte 2, at 0x13 of structure type 0 (DMTF DSP0134, 7.1.2.2). Unset says
/// little: SeaBIOS never sets it. Only root can read it.
fn smbios_says_vm(root: &Root) -> Option<bool> {
    let raw = root.read("sys/firmware/dmi/entries/0-0/raw").ok()??;
    let length = *raw.get(1)?;
    Some(raw.get(0x13).filter(|_| length >= 0x14)? & 1 << 4 != 0)
}

fn is_xen_dom0(root: &Root) -> bool {
    // XENFEAT_dom0 in Xen's public/features.h, written in hexadecimal without 0x.
    let features = line(root, "sys/hypervisor/properties/features");
    if let Some(features) = features.and_then(|text| u64::from_str_radix(&text, 16).ok()) {
        return features & 1 << 11 != 0;
    }
    line(root, "proc/xen/capabilities").is_some_and(|text| text.split(',').any(|word| word.trim() == "control_d"))
}

fn xen_sysfs(root: &Root) -> Option<&'static str> {
    line(root, "sys/hypervisor/type").map(|kind| if kind == "xen" { "xen" } else { OTHER_VM })
}

fn device_tree(root: &Root) -> Option<&'static str> {
    let node = |path: &str| exists(root, &format!("proc/device-tree/{path}"));
    if let Some(kind) = line(root, "proc/device-tree/hypervisor/compatible") {
        return Some(match kind.as_str() {
            "linux,kvm" => "kvm",
            kind if kind.contains("xen") => "xen",
            kind if kind.contains("vmware") => "vmware",
            _ => OTHER_VM,
        });
    }
    if node("ibm,partition-name") && node("hmc-managed?") && !node("chosen/qemu,graphic-width") {
        return Some("powervm");
    }
    let nodes = root.list("proc/device-tree").unwrap_or_default();
    let is_qemu = nodes.iter().any(|name| name.contains("fw-cfg"))
        || line(root, "proc/device-tree/compatible").is_some_and(|kind| kind == "qemu,pseries");
    is_qemu.then_some("qemu")
}

/// What runs an s390 guest; in a bare partition there is no such field.
fn control_program(root: &Root) -> Option<&'static str> {
    let program = field(root, "proc/sysinfo", "VM00 Control Program")?;
    Some(if program.starts_with("z/VM") { "zvm" } else { "kvm" })
}

/// 1 or 2, where the technology settles it. 1 means that the hypervisor is the kernel that owns the hardware, 2 that
/// it is a program on top of one.
pub(super) fn hypervisor_type(technology: &str, cpu: Option<&str>) -> Option<u8> {
    match technology {
        // Hypervisors that boot on the hardware and have no system below them.
        "xen" | "microsoft" | "zvm" | "powervm" | "acrn" | "qnx" => Some(1),
        // KVM is a part of the host's own kernel and switches to the guest from there. Some call a host that also
        // runs other programs a type 2; the vendors and most textbooks say type 1.
        "kvm" => Some(1),
        // Amazon's Nitro and Google's hosts: KVM on hosts that do nothing else.
        "amazon" | "google" => Some(1),
        // VirtualBox and Parallels Desktop: applications, with a driver in the system they are installed on.
        "oracle" | "parallels" => Some(2),
        // bhyve(4): "a virtual machine monitor that is hosted by FreeBSD".
        "bhyve" => Some(2),
        // Apple's Virtualization framework: a service of macOS.
        "apple" => Some(2),
        // An ordinary process of the host.
        "uml" | "bochs" => Some(2),
        // QEMU that emulates the CPU is an ordinary process; without that signature it may be KVM under cover.
        "qemu" if cpu == Some("TCGTCGTCGTCG") => Some(2),
        // vmware: ESXi is type 1, Workstation and Fusion are type 2, and the guest sees no difference.
        _ => None,
    }
}

/// The value of the first `name : value` line.
fn field(root: &Root, path: &str, name: &str) -> Option<String> {
    let content = root.read(path).ok()??;
    let text = String::from_utf8_lossy(&content);
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn lookup(table: &[(&str, &'static str)], matches: impl Fn(&str) -> bool) -> Option<&'static str> {
    table.iter().find(|(name, _)| matches(name)).map(|(_, word)| *word)
}
