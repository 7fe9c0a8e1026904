// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mounted file systems that hold no files of the guest: the kernel's own, those in memory, and those of other machines.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::statfs::fstatfs;

/// Number and name, linux/magic.h and statfs(2).
const LEFT_OUT: [(u32, &str); 33] = [
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x0102_1994, "tmpfs"),
    (0x1cd1, "devpts"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0xf97c_ff8c, "selinuxfs"),
    (0x4341_5d53, "smackfs"),
    (0x5a3c_69f0, "apparmorfs"),
    (0x6165_676c, "pstore"),
    (0xde5e_81e4, "efivarfs"),
    (0xcafe_4a11, "bpf"),
    (0x1980_0202, "mqueue"),
    (0x9584_58f6, "hugetlbfs"),
    (0x6265_6570, "configfs"),
    (0x6573_5543, "fusectl"),
    (0x4249_4e4d, "binfmt_misc"),
    (0x0187, "autofs"),
    (0x6759_6969, "rpc_pipefs"),
    (0x6e73_6673, "nsfs"),
    (0x0bad_1dea, "futexfs"),
    (0x6e66_7364, "nfsd"),
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
    (0x5346_414f, "afs"),
    (0x0bd0_0bd0, "lustre"),
];

/// What it is, if it is left out.
pub fn left_out(fd: &OwnedFd) -> Result<Option<String>, Errno> {
    // A number of 32 bits, which some machines have signed.
    let number = fstatfs(fd)?.filesystem_type().0 as u32;
    Ok(LEFT_OUT.iter().find(|(known, _)| *known == number).map(|(_, name)| (*name).to_owned()))
}
