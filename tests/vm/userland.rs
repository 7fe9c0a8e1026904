// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Debian that the template is installed from: made once by mmdebstrap, kept as a tarball below target/guests.

use std::path::PathBuf;
use std::process::Command;

use crate::guests::{alone, run, workplace};
use crate::template::short_hash;

/// The release of Debian, by its code name; RESEAL_VM_RELEASE names another one than 12.
pub fn release() -> String {
    std::env::var("RESEAL_VM_RELEASE").unwrap_or_else(|_| "bookworm".to_owned())
}

/// A server with every kind of storage. Debian's cloud kernel has all the drivers, in a tenth of the size.
const PACKAGES: &str = "btrfs-progs,cryptsetup,cryptsetup-bin,dbus,dosfstools,e2fsprogs,fdisk,gdisk,grub-efi-amd64-signed,grub-pc-bin,\
    grub2-common,init-system-helpers,initramfs-tools,iproute2,kmod,linux-image-cloud-amd64,lvm2,mdadm,openssh-server,systemd,systemd-sysv,udev,xfsprogs,zstd";

/// No hibernation image to wait for, and of all the drivers in the world those that QEMU's disks need: the initramfs of a
/// quarter of the size is unpacked some seconds sooner.
const INITRAMFS: &str = r#"cd "$1" && mkdir -p etc/initramfs-tools/conf.d && echo RESUME=none >etc/initramfs-tools/conf.d/resume &&
    echo MODULES=list >etc/initramfs-tools/conf.d/modules && printf 'virtio_pci\nvirtio_blk\n' >etc/initramfs-tools/modules"#;

/// The tarball.
pub fn tarball() -> PathBuf {
    alone("vm-userland", || {
        let tarball = workplace().join(format!("vm-userland-{}.tar", short_hash(&[&release(), PACKAGES, INITRAMFS])));
        if !tarball.is_file() {
            let fresh = tarball.with_extension("new.tar");
            let mut mmdebstrap = Command::new("mmdebstrap");
            mmdebstrap.args(["--quiet", "--variant=minbase"]).arg(format!("--include={PACKAGES}"));
            mmdebstrap.arg(format!("--essential-hook={INITRAMFS}")).arg(release()).arg(&fresh);
            run(&mut mmdebstrap);
            std::fs::rename(&fresh, &tarball).expect("naming the tarball");
        }
        tarball
    })
}
