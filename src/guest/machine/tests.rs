// SPDX-License-Identifier: MIT OR Apache-2.0
//! Machines as directories of files, each with the facts that such a system really shows.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::*;

/// A tree with these files. A name that ends in `/` is a directory.
fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
    tree_of_bytes(&files)
}

fn tree_of_bytes(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
    let root = Root::open(dir.path()).unwrap();
    (dir, root)
}

const GUEST_CPU: (&str, &str) =
    ("proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vme sse2 hypervisor lahf_lm\n");
const BARE_CPU: (&str, &str) =
    ("proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vme sse2 lahf_lm\n");
const ARM_CPU: (&str, &str) =
    ("proc/cpuinfo", "processor\t: 0\nBogoMIPS\t: 125.00\nFeatures\t: fp asimd evtstrm aes\n");

/// What a tree is found to be, and what it is with this answer of CPUID.
fn check(files: &[(&str, &str)], cpu: Option<&str>, expected: &str) -> Machine {
    let (_dir, root) = tree(files);
    let machine = match cpu {
        Some(_) => Machine::detect_on(&root, cpu),
        None => Machine::detect(&root),
    };
    assert_eq!(machine.describe(), expected, "{files:?}");
    machine
}

#[test]
fn kvm_on_qemu() {
    let mut page = vec![0u8; 4096];
    page[40..56].copy_from_slice(&[
        0xaf, 0x6e, 0x4e, 0x32, 0xd1, 0xd1, 0xf6, 0x4b, 0xbf, 0x41, 0xb9, 0xbb, 0x6c, 0x91, 0xfb, 0x87,
    ]);
    let (dir, root) = tree_of_bytes(&[
        (GUEST_CPU.0, GUEST_CPU.1.as_bytes()),
        ("sys/devices/virtual/dmi/id/sys_vendor", b"QEMU\n"),
        ("sys/devices/virtual/dmi/id/product_name", b"Standard PC (Q35 + ICH9, 2009)\n"),
        ("sys/devices/virtual/dmi/id/product_version", b"pc-q35-7.2\n"),
        ("sys/devices/virtual/dmi/id/product_uuid", b"8F0F5D6C-1D2B-4C6A-9B52-3E8D1F0A7C11\n"),
        ("sys/devices/virtual/dmi/id/product_serial", b"Not Specified\n"),
        ("sys/devices/virtual/dmi/id/bios_vendor", b"SeaBIOS\n"),
        ("sys/class/dmi/", b""),
        ("sys/firmware/qemu_fw_cfg/by_key/42/raw", &page),
        ("sys/firmware/qemu_fw_cfg/by_name/etc/", b""),
        ("sys/block/vda/serial", b"root-disk"),
        ("sys/block/vdb/serial", b""),
        ("sys/block/loop0/serial", b"no disk"),
        ("sys/block/dm-0/wwid", b"no disk"),
        ("sys/block/zram0/size", b"0\n"),
        ("sys/block/sr0/device/wwid", b"t10.ATA     QEMU DVD-ROM                            QM00001\n"),
        ("sys/class/net/ens3/address", b"52:54:00:AB:cd:01\n"),
        ("sys/class/net/ens3/addr_assign_type", b"0\n"),
        ("sys/class/net/ens3/device/", b""),
        ("sys/class/net/ens4/address", b"3e:11:22:33:44:55\n"),
        ("sys/class/net/ens4/addr_assign_type", b"1\n"),
        ("sys/class/net/ens4/device/", b""),
        ("sys/class/net/br0/address", b"52:54:00:ab:cd:99\n"),
        ("sys/class/net/br0/addr_assign_type", b"0\n"),
        ("sys/class/net/lo/address", b"00:00:00:00:00:00\n"),
        ("sys/class/net/lo/addr_assign_type", b"0\n"),
    ]);
    // The links that sysfs has there.
    symlink("../../devices/virtual/dmi/id", dir.path().join("sys/class/dmi/id")).unwrap();
    symlink("../../by_key/42", dir.path().join("sys/firmware/qemu_fw_cfg/by_name/etc/vmgenid_guid")).unwrap();

    let machine = Machine::detect_on(&root, Some("KVMKVMKVM"));
    assert_eq!(machine.describe(), "virtual machine (kvm, type 1)");
    assert_eq!(Machine::detect_on(&root, Some("Linux KVM Hv")).describe(), "virtual machine (kvm, type 1)");
    assert_eq!(Machine::detect_on(&root, Some("TCGTCGTCGTCG")).describe(), "virtual machine (qemu, type 2)");
    // Enlightenments make a QEMU guest look like Hyper-V, and without CPUID nothing tells KVM from emulation.
    assert_eq!(Machine::detect_on(&root, Some("Microsoft Hv")).describe(), "virtual machine (qemu)");
    assert_eq!(Machine::detect(&root).describe(), "virtual machine (qemu)");

    assert_eq!(machine.vendor.as_deref(), Some("QEMU"));
    assert_eq!(machine.product.as_deref(), Some("Standard PC (Q35 + ICH9, 2009)"));
    assert_eq!(machine.smbios_serial, None);
    assert_eq!(
        machine.fingerprint(),
        Fingerprint {
            smbios_uuid: Some("8f0f5d6c-1d2b-4c6a-9b52-3e8d1f0a7c11".into()),
            disks: vec!["root-disk".into()],
            macs: vec!["52:54:00:ab:cd:01".into()],
            generation_id: Some("324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87".into()),
        }
    );
    let names: Vec<&str> = machine.disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(names, ["vda", "vdb"]);
    assert_eq!(machine.links[1], Link { name: "ens4".into(), mac: None });

    let text = serde_json::to_string(&machine).unwrap();
    assert!(text.starts_with(r#"{"place":"vm","technology":"kvm","hypervisor-type":1,"smbios-uuid":"#), "{text}");
    assert_eq!(serde_json::from_str::<Machine>(&text).unwrap(), machine);
    assert!(serde_json::from_str::<Machine>(&text.replacen("place", "spot", 1)).is_err());
}

#[test]
fn vmware() {
    let (_dir, root) = tree_of_bytes(&[
        (GUEST_CPU.0, GUEST_CPU.1.as_bytes()),
        ("sys/class/dmi/id/sys_vendor", b"VMware, Inc.\n"),
        ("sys/class/dmi/id/product_name", b"VMware7,1\n"),
        ("sys/class/dmi/id/bios_vendor", b"VMware, Inc.\n"),
        ("sys/class/dmi/id/product_uuid", b"1a2f4d56-1e9c-337b-0d42-6a5e3f8b9c10\n"),
        ("sys/class/dmi/id/product_serial", b"VMware-56 4d 2f 1a 9c 1e 7b 33-0d 42 6a 5e 3f 8b 9c 10\n"),
        ("sys/block/sda/device/wwid", b"naa.6000c29d2f6a1b9e4c7d8e5f3a2b1c0d\n"),
        ("sys/block/sda/device/vpd_pg80", b"\x00\x80\x00\x206000c29d2f6a1b9e4c7d8e5f3a2b1c0dJUNK"),
        ("sys/block/sda/removable", b"0\n"),
        ("sys/block/sdb/device/wwid", b"naa.a stick\n"),
        ("sys/block/sdb/removable", b"1\n"),
    ]);
    let machine = Machine::detect(&root);
    assert_eq!(machine.describe(), "virtual machine (vmware)");
    assert_eq!(Machine::detect_on(&root, Some("VMwareVMware")).describe(), "virtual machine (vmware)");
    assert_eq!(machine.smbios_serial.as_deref(), Some("VMware-56 4d 2f 1a 9c 1e 7b 33-0d 42 6a 5e 3f 8b 9c 10"));
    assert_eq!(
        machine.disks,
        [Disk {
            name: "sda".into(),
            serial: Some("6000c29d2f6a1b9e4c7d8e5f3a2b1c0d".into()),
            wwid: Some("naa.6000c29d2f6a1b9e4c7d8e5f3a2b1c0d".into())
        }]
    );
}

#[test]
fn hyper_v() {
    let vendor = ("sys/class/dmi/id/sys_vendor", "Microsoft Corporation\n");
    let product = ("sys/class/dmi/id/product_name", "Virtual Machine\n");
    let second = ("sys/class/dmi/id/product_version", "Hyper-V UEFI Release v4.1\n");
    check(&[GUEST_CPU, vendor, product, second], None, "virtual machine (microsoft, type 1)");
    // The first generation has a board's version there; only the CPU says more.
    let first = ("sys/class/dmi/id/product_version", "7.0\n");
    check(&[GUEST_CPU, vendor, product, first], Some("Microsoft Hv"), "virtual machine (microsoft, type 1)");
    check(&[GUEST_CPU, vendor, product, first], None, "virtual machine (vm-other)");
    // The same vendor on its own hardware.
    check(&[BARE_CPU, vendor, ("sys/class/dmi/id/product_name", "Surface Pro 7\n")], None, "bare metal");
}

#[test]
fn virtualbox_and_parallels() {
    let files = [
        GUEST_CPU,
        ("sys/class/dmi/id/sys_vendor", "innotek GmbH\n"),
        ("sys/class/dmi/id/product_name", "VirtualBox\n"),
        ("sys/class/dmi/id/board_vendor", "Oracle Corporation\n"),
        ("sys/class/dmi/id/product_serial", "0\n"),
    ];
    // Its paravirtualisation provider calls itself KVM.
    for cpu in [None, Some("KVMKVMKVM"), Some("VBoxVBoxVBox")] {
        let machine = check(&files, cpu, "virtual machine (oracle, type 2)");
        assert_eq!(machine.smbios_serial, None);
    }
    let product = ("sys/class/dmi/id/product_name", "Parallels Virtual Platform\n");
    check(&[GUEST_CPU, product], Some("prl hyperv  "), "virtual machine (parallels, type 2)");
}

#[test]
fn xen_guests() {
    let hvm = [
        GUEST_CPU,
        ("proc/xen/", ""),
        ("sys/hypervisor/type", "xen\n"),
        ("sys/hypervisor/properties/features", "000031d1\n"),
        ("sys/class/dmi/id/sys_vendor", "Xen\n"),
        ("sys/class/dmi/id/product_name", "HVM domU\n"),
    ];
    // With viridian extensions it poses as Hyper-V.
    for cpu in [None, Some("XenVMMXenVMM"), Some("Microsoft Hv")] {
        check(&hvm, cpu, "virtual machine (xen, type 1)");
    }
    let paravirtual = [
        BARE_CPU,
        ("proc/xen/capabilities", ""),
        ("sys/hypervisor/type", "xen\n"),
        ("sys/hypervisor/uuid", "6f3e0c52-8a5b-4a7e-9f0d-2b6c1d4e8a90\n"),
    ];
    let machine = check(&paravirtual, None, "virtual machine (xen, type 1)");
    assert_eq!(machine.smbios_uuid.as_deref(), Some("6f3e0c52-8a5b-4a7e-9f0d-2b6c1d4e8a90"));
}

#[test]
fn xen_dom0_is_bare_metal() {
    let hardware = [
        GUEST_CPU,
        ("sys/class/dmi/id/sys_vendor", "Dell Inc.\n"),
        ("sys/class/dmi/id/product_name", "PowerEdge R640\n"),
        ("sys/hypervisor/type", "xen\n"),
        ("sys/hypervisor/uuid", "00000000-0000-0000-0000-000000000000\n"),
    ];
    let by_features =
        [&hardware[..], &[("proc/xen/", ""), ("sys/hypervisor/properties/features", "00002f05\n")]].concat();
    let by_capabilities = [&hardware[..], &[("proc/xen/capabilities", "control_d\n")]].concat();
    let neither = [&hardware[..], &[("proc/xen/capabilities", "\n")]].concat();
    for files in [&by_features, &by_capabilities] {
        let machine = check(files, None, "bare metal");
        assert_eq!((machine.technology, machine.smbios_uuid), (None, None));
        check(files, Some("XenVMMXenVMM"), "bare metal");
        // Xen in a virtual machine.
        check(files, Some("VMwareVMware"), "virtual machine (vmware)");
    }
    check(&neither, None, "virtual machine (xen, type 1)");
}

#[test]
fn amazon() {
    let vendor = ("sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
    let files = [
        GUEST_CPU,
        vendor,
        ("sys/class/dmi/id/product_name", "c5.large\n"),
        ("sys/class/dmi/id/product_uuid", "ec2a1f4b-3c8d-4e5f-9a6b-7c8d9e0f1a2b\n"),
        ("sys/class/dmi/id/product_serial", "ec2a1f4b-3c8d-4e5f-9a6b-7c8d9e0f1a2b\n"),
        ("sys/block/nvme0n1/wwid", "nvme.1d0f-766f6c3061-416d617a6f6e-00000001\n"),
        ("sys/block/nvme0n1/device/serial", "vol0a1b2c3d4e5f60718\n"),
        ("sys/block/nvme0c0n1/hidden", "1\n"),
    ];
    let machine = check(&files, None, "virtual machine (amazon, type 1)");
    assert_eq!(machine.disks.len(), 1);
    assert_eq!(machine.disks[0].serial.as_deref(), Some("vol0a1b2c3d4e5f60718"));
    check(&files, Some("KVMKVMKVM"), "virtual machine (amazon, type 1)");

    check(&[BARE_CPU, vendor, ("sys/class/dmi/id/product_name", "c5.metal\n")], None, "bare metal");
    check(&[BARE_CPU, vendor, ("sys/class/dmi/id/product_name", "m7i.metal-24xl\n")], None, "bare metal");
    // What SMBIOS says counts for more than the name.
    let mut table = [0u8; 24];
    table[1] = 24;
    for (bits, expected) in [(0x1c, "virtual machine (amazon, type 1)"), (0x0c, "bare metal")] {
        table[0x13] = bits;
        let (_dir, root) = tree_of_bytes(&[
            ("sys/class/dmi/id/sys_vendor", b"Amazon EC2\n"),
            ("sys/firmware/dmi/entries/0-0/raw", &table),
            (BARE_CPU.0, BARE_CPU.1.as_bytes()),
        ]);
        assert_eq!(Machine::detect(&root).describe(), expected);
    }
}

#[test]
fn other_hypervisors() {
    let google = ("sys/class/dmi/id/product_name", "Google Compute Engine\n");
    check(&[GUEST_CPU, google], Some("KVMKVMKVM"), "virtual machine (google, type 1)");
    check(&[GUEST_CPU, ("sys/class/dmi/id/sys_vendor", "BHYVE\n")], None, "virtual machine (bhyve, type 2)");
    // Firecracker has no SMBIOS.
    check(&[GUEST_CPU], Some("KVMKVMKVM"), "virtual machine (kvm, type 1)");
    check(&[GUEST_CPU], Some("SomethingNew"), "virtual machine (vm-other)");
    check(&[("proc/cpuinfo", "vendor_id\t: User Mode Linux\n")], None, "virtual machine (uml, type 2)");
}

#[test]
fn s390() {
    let cpu = ("proc/cpuinfo", "vendor_id       : IBM/S390\n# processors    : 2\n");
    let partition = "Manufacturer:         IBM\nType:                 3906\n\nLPAR Number:          12\nLPAR Name:            LP12\n";
    check(&[cpu, ("proc/sysinfo", partition)], None, "bare metal");
    let zvm = format!(
        "{partition}\nVM00 Name:            LINUX1\nVM00 Control Program: z/VM    7.1.0\nVM00 Adjustment:      83\n"
    );
    check(&[cpu, ("proc/sysinfo", &zvm)], None, "virtual machine (zvm, type 1)");
    let kvm = format!(
        "{partition}\nVM00 Control Program: KVM/Linux\nVM00 UUID:            2c7a5b1e-66f0-4d0c-8f3e-1b9d7a4c5e60\n"
    );
    let machine = check(&[cpu, ("proc/sysinfo", &kvm)], None, "virtual machine (kvm, type 1)");
    assert_eq!(machine.smbios_uuid.as_deref(), Some("2c7a5b1e-66f0-4d0c-8f3e-1b9d7a4c5e60"));
}

#[test]
fn device_trees() {
    let virt = [
        ARM_CPU,
        ("proc/device-tree/compatible", "linux,dummy-virt\0"),
        ("proc/device-tree/model", "linux,dummy-virt\0"),
        ("proc/device-tree/fw-cfg@9020000/compatible", "qemu,fw-cfg-mmio\0"),
    ];
    // TCG or KVM: the tree does not say.
    let machine = check(&virt, None, "virtual machine (qemu)");
    assert_eq!(machine.product.as_deref(), Some("linux,dummy-virt"));
    // With UEFI there is SMBIOS, where QEMU says KVM.
    let uefi = [
        ARM_CPU,
        ("sys/class/dmi/id/sys_vendor", "QEMU\n"),
        ("sys/class/dmi/id/product_name", "KVM Virtual Machine\n"),
    ];
    check(&uefi, None, "virtual machine (kvm, type 1)");
    let xen = ("proc/device-tree/hypervisor/compatible", "xen,xen-4.17\0xen,xen\0");
    check(&[ARM_CPU, xen], None, "virtual machine (xen, type 1)");
    let power = [
        ("proc/cpuinfo", "cpu\t\t: POWER9 (architected), altivec supported\n"),
        ("proc/device-tree/hypervisor/compatible", "linux,kvm\0"),
        ("proc/device-tree/vm,uuid", "0b5f8f5e-1d6b-4c5d-a9c0-3d1f2e4b6a78\0"),
    ];
    let machine = check(&power, None, "virtual machine (kvm, type 1)");
    assert_eq!(machine.smbios_uuid.as_deref(), Some("0b5f8f5e-1d6b-4c5d-a9c0-3d1f2e4b6a78"));
    let partition = [
        power[0],
        ("proc/device-tree/ibm,partition-name", "lpar7\0"),
        ("proc/device-tree/hmc-managed?", ""),
        ("proc/device-tree/compatible", "IBM,9009-42A\0"),
    ];
    check(&partition, None, "virtual machine (powervm, type 1)");
    let raspberry = [
        ARM_CPU,
        ("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0"),
        ("proc/device-tree/serial-number", "10000000a1b2c3d4\0"),
    ];
    let machine = check(&raspberry, None, "bare metal");
    assert_eq!(machine.smbios_serial.as_deref(), Some("10000000a1b2c3d4"));
}

#[test]
fn bare_metal() {
    let machine = check(
        &[
            BARE_CPU,
            ("sys/class/dmi/id/sys_vendor", "LENOVO\n"),
            ("sys/class/dmi/id/product_name", "20QV00CEUS\n"),
            ("sys/class/dmi/id/product_uuid", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF\n"),
            ("sys/class/dmi/id/product_serial", "To Be Filled By O.E.M.\n"),
        ],
        None,
        "bare metal",
    );
    assert_eq!((machine.place, machine.smbios_uuid, machine.smbios_serial), (Place::BareMetal, None, None));
    let sample = ("sys/class/dmi/id/product_uuid", "03000200-0400-0500-0006-000700080009\n");
    assert_eq!(check(&[BARE_CPU, sample], None, "bare metal").smbios_uuid, None);
}

#[test]
fn containers() {
    // All of them see their host's hardware, and none of it is theirs.
    let host = [
        GUEST_CPU,
        ("sys/class/dmi/id/sys_vendor", "QEMU\n"),
        ("sys/class/dmi/id/product_uuid", "8f0f5d6c-1d2b-4c6a-9b52-3e8d1f0a7c11\n"),
        ("sys/block/vda/serial", "host-disk"),
        ("sys/class/net/eth0/address", "02:42:ac:11:00:02\n"),
    ];
    let environ = "proc/1/environ";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[(".dockerenv", ""), (environ, "PATH=/usr/bin\0HOSTNAME=3f2a\0HOME=/root\0")], "docker"),
        (&[("run/.containerenv", "engine=\"podman-4.3.1\"\n"), (environ, "container=podman\0TERM=xterm\0")], "podman"),
        (&[("run/.containerenv", ""), (environ, "container=oci\0")], "podman"),
        (&[(environ, "container=oci\0")], "container-other"),
        (
            &[("run/host/container-manager", "systemd-nspawn\n"), ("run/systemd/container", "systemd-nspawn\n")],
            "systemd-nspawn",
        ),
        (&[(environ, "container=lxc\0container_ttys=/dev/pts/1\0")], "lxc"),
        (&[("run/systemd/container", "lxc\n"), (".dockerenv", "")], "lxc"),
        (&[("run/systemd/container", "brand-new\n")], "container-other"),
        (&[("proc/vz/", "")], "openvz"),
        (&[("proc/sys/kernel/osrelease", "5.15.153.1-microsoft-standard-WSL2\n")], "wsl"),
        (&[("proc/sys/kernel/osrelease", "4.4.0-19041-Microsoft\n")], "wsl"),
        (&[("proc/self/status", "Name:\tsh\nTracerPid:\t77\n"), ("proc/77/comm", "proot\n")], "proot"),
        (
            &[
                ("proc/self/ns/cgroup", ""),
                ("sys/fs/cgroup/cgroup.controllers", "cpu\n"),
                ("sys/fs/cgroup/cgroup.events", ""),
                ("sys/fs/cgroup/cgroup.type", "domain\n"),
            ],
            "container-other",
        ),
        (&[("proc/self/ns/cgroup", ""), ("sys/fs/cgroup/systemd/tasks", "")], "container-other"),
    ];
    for (files, expected) in cases {
        let machine = check(&[&host[..], files].concat(), None, &format!("container ({expected})"));
        assert_eq!(machine.place, Place::Container);
        assert!(!machine.fingerprint().is_readable(), "{expected}");
        assert_eq!((machine.smbios_uuid, machine.disks.len(), machine.links.len()), (None, 0, 0), "{expected}");
    }
    let none: &[&[(&str, &str)]] = &[
        &[("proc/vz/", ""), ("proc/bc/", "")],
        &[("proc/self/status", "TracerPid:\t77\n"), ("proc/77/comm", "gdb\n")],
        &[("proc/self/ns/cgroup", ""), ("sys/fs/cgroup/cgroup.controllers", "cpu\n")],
        &[("proc/self/ns/cgroup", ""), ("sys/fs/cgroup/systemd/release_agent", "")],
        &[(".dockerenv", ""), (environ, "container=\0")],
        &[(environ, "mycontainer=docker\0")],
    ];
    for files in none {
        check(&[&host[..], files].concat(), None, "virtual machine (qemu)");
    }
}

#[test]
fn nothing_to_see() {
    check(&[("etc/hostname", "a\n")], None, "unknown machine");
    assert_eq!(Machine::offline().describe(), "a file tree (offline)");
    assert!(!Machine::offline().fingerprint().is_readable());
}

#[test]
fn hostile_files_do_no_harm() {
    let noise: Vec<u8> = (0..1u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let long = [b"\x1b[31mSerial\x07\x7f".as_slice(), &vec![b'9'; 5000]].concat();
    let (dir, root) = tree_of_bytes(&[
        ("proc/1/environ", &noise),
        ("proc/cpuinfo", &noise),
        ("proc/sysinfo", &noise),
        ("proc/self/status", b"TracerPid: 99999999999999999999\n"),
        ("proc/device-tree/hypervisor/compatible/", b""),
        ("proc/xen/capabilities", &noise),
        ("sys/class/dmi/id/product_serial", &long),
        ("sys/class/dmi/id/product_uuid", b"\xff\xfe\x00"),
        ("sys/class/dmi/id/sys_vendor", b"\xff\xff\xff\n"),
        ("sys/class/dmi/id/product_name", b"  \x01\x02 \n"),
        ("sys/firmware/dmi/entries/0-0/raw", b"\x00\xff"),
        ("sys/firmware/qemu_fw_cfg/by_name/etc/vmgenid_guid/raw", b"short"),
        ("sys/block/sda/device/vpd_pg80", b"\x00\x80\xff\xffAB"),
        ("sys/block/sdb/device/vpd_pg80", b"\x00"),
        ("sys/class/net/eth0/device/", b""),
        ("sys/class/net/eth0/addr_assign_type", b"0\n"),
        ("sys/class/net/eth0/address", "é:é:é:é:é:é\n".as_bytes()),
    ]);
    symlink("self", dir.path().join("sys/class/dmi/id/board_vendor")).unwrap();
    nix::unistd::mkfifo(&dir.path().join("sys/hypervisor"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let machine = Machine::detect(&root);
    assert_eq!(machine.describe(), "virtual machine (xen, type 1)");
    let serial = machine.smbios_serial.unwrap();
    assert!(serial.starts_with("[31mSerial999") && serial.chars().count() == LONGEST_FACT, "{serial}");
    assert_eq!((machine.smbios_uuid, machine.product, machine.generation_id), (None, None, None));
    assert_eq!(machine.disks[0].serial.as_deref(), Some("AB"));
    assert_eq!(machine.links[0].mac, None);
}

/// What no installation can bring; not by eprintln, which the test runner would keep to itself.
fn skipped(reason: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
}

#[test]
fn agrees_with_systemd_detect_virt() {
    let ask = |argument: &str| {
        let output = Command::new("systemd-detect-virt").arg(argument).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if !crate::keys::tests::installed("systemd-detect-virt") {
        return;
    }
    let known = ask("--list").unwrap();
    let root = Root::open(Path::new("/")).unwrap();
    let vm = virt::virtual_machine(&root, virt::cpu(&root).as_deref());
    for (argument, ours) in [("--container", virt::container(&root)), ("--vm", vm)] {
        let ours = ours.unwrap_or("none");
        if known.lines().any(|word| word == ours) {
            assert_eq!(ask(argument).as_deref(), Some(ours), "systemd-detect-virt {argument}");
        } else {
            skipped(&format!("this systemd-detect-virt {argument} is too old to know {ours}"));
        }
    }
    let technology = Machine::of_running_system().technology;
    assert_eq!(technology.as_deref(), virt::container(&root).or(vm));
}

#[test]
fn agrees_with_sysinfo() {
    let root = Root::open(Path::new("/")).unwrap();
    if !exists(&root, "sys/class/dmi/id") {
        skipped("this machine has no SMBIOS");
        return;
    }
    // The files alone, as a fixture's are read, against what the running system's facts come from. A field that is
    // missing is never asked for: see hardware::smbios.
    type Ask = fn() -> Result<String, sysinfo::Error>;
    let fields: [(&str, Ask); 4] = [
        ("product_uuid", sysinfo::Product::uuid),
        ("product_serial", sysinfo::Product::serial_number),
        ("product_name", sysinfo::Product::name),
        ("sys_vendor", sysinfo::Product::vendor_name),
    ];
    for (field, ask) in fields {
        let path = format!("sys/class/dmi/id/{field}");
        if exists(&root, &path) {
            assert_eq!(ask().ok().and_then(|text| clean(text.as_bytes())), line(&root, &path), "{field}");
        }
    }
}
