// SPDX-License-Identifier: MIT OR Apache-2.0
//! The list of formats that are only recognised.

use super::{Kind, Mark, Place, Reading, odd};

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;

pub(super) const KINDS: [Kind; 24] = [
    Kind {
        name: "bcachefs",
        marks: &[
            Mark::at(4 * K + 24, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"),
            Mark::at(2 * M + 24, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"),
        ],
        // Behind the magic and the UUID of its own is the one that users see.
        id: Reading::Uuid(32),
        remedy: "no released bcachefs-tools changes it (koverstreet/bcachefs issue 989): make a new one and copy the files",
    },
    Kind {
        name: "dm-verity hash tree",
        marks: &[Mark::at(0, b"verity\0\0")],
        id: Reading::Uuid(16),
        remedy: "it takes no part in the root hash: `veritysetup format --salt=SALT --uuid=UUID` with the salt that is \
                 there, which `veritysetup dump` shows, writes the same hashes under another",
    },
    Kind { name: "dm-integrity", marks: &[Mark::at(0, b"integrt\0")], id: Reading::Nothing, remedy: "it has no id" },
    Kind {
        // Internal meta data, at the end; drbdmeta(8).
        name: "DRBD 8 meta data",
        marks: &[drbd(b"\x83\x74\x02\x6b"), drbd(b"\x83\x74\x02\x6c")],
        id: Reading::Hex(-20, 8),
        remedy: DRBD_REMEDY,
    },
    Kind {
        name: "DRBD 9 meta data",
        marks: &[drbd(b"\x83\x74\x02\x6d")],
        id: Reading::Hex(-12, 8),
        remedy: DRBD_REMEDY,
    },
    Kind {
        // The id of the OSD is the line behind it, Ceph's BlueStore::_write_bdev_label.
        name: "Ceph BlueStore",
        marks: &[Mark::at(0, b"bluestore block device")],
        id: Reading::Text(23, 36),
        remedy: "the monitors know it by this id: remove the OSD, and make another by `ceph-volume lvm create`",
    },
    Kind {
        name: "VMFS",
        marks: &[Mark::at(M, b"\x0d\xd0\x01\xc0")],
        id: Reading::Text(532, 35),
        remedy: "`esxcli storage vmfs snapshot resignature` gives a copy a signature of its own, on an ESXi host",
    },
    Kind {
        name: "Stratis",
        marks: &[Mark::at(516, STRATIS), Mark::at(9 * 512 + 4, STRATIS)],
        id: Reading::Text(28, 32),
        remedy: "nothing changes it (stratisd issue 1470): make a new pool and copy the files",
    },
    Kind {
        name: "VDO",
        marks: &[Mark::at(0, b"dmvdo001")],
        id: Reading::Uuid(40),
        remedy: "`vdosetuuid DEVICE` gives it another while it is stopped",
    },
    Kind {
        // Sector 6 of a disk with an MBR, block/partitions/ldm.h of the kernel.
        name: "Windows dynamic disk",
        marks: &[Mark::at(6 * 512, b"PRIVHEAD")],
        id: Reading::Text(48, 36),
        remedy: "nothing changes it; Windows takes a copy for a foreign disk, and imports it in Disk Management",
    },
    Kind { name: "BitLocker", marks: &BITLOCKER, id: Reading::By(odd::bitlocker), remedy: BITLOCKER_REMEDY },
    Kind {
        name: "squashfs",
        marks: &[
            Mark { place: Place::Start(0), bytes: b"hsqs", also: Some((28, b"\x04\0")) },
            Mark { place: Place::Start(0), bytes: b"hsqs", also: Some((28, b"\x03\0")) },
            Mark { place: Place::Start(0), bytes: b"sqsh", also: Some((28, b"\0\x03")) },
        ],
        id: Reading::Nothing,
        remedy: "it is read-only, and has no id",
    },
    Kind {
        name: "EROFS",
        marks: &[Mark::at(K, b"\xe2\xe1\xf5\xe0")],
        id: Reading::Uuid(48),
        remedy: "it is read-only, and its UUID is part of the image: `mkfs.erofs -U UUID` builds it under another",
    },
    Kind {
        name: "ISO 9660",
        marks: &[Mark::at(32 * K, b"\x01CD001\x01")],
        id: Reading::By(odd::iso9660),
        remedy: "it is read-only, and its id is the time at which it was made: build it again",
    },
    Kind {
        // struct imsm_super: the family number is behind signature, checksum and size, super-intel.c of mdadm.
        name: "Intel RAID",
        marks: &[Mark {
            place: Place::End { block: 512, back: 2, on: 0 },
            bytes: b"Intel Raid ISM Cfg Sig. ",
            also: None,
        }],
        id: Reading::Hex(40, 4),
        remedy: "`mdadm --assemble --update=uuid` on the stopped container draws another family number",
    },
    Kind {
        name: "DDF RAID",
        marks: &[ddf(1), ddf(257)],
        id: Reading::Hex(8, 24),
        remedy: "mdadm does not change it: make the container anew",
    },
    Kind {
        name: "JFS",
        marks: &[Mark::at(32 * K, b"JFS1\x01\0\0\0"), Mark::at(32 * K, b"JFS1\x02\0\0\0")],
        id: Reading::Uuid(136),
        remedy: "`jfs_tune -U random DEVICE` gives it another while it is not mounted",
    },
    Kind {
        name: "ReiserFS",
        marks: &[Mark::at(64 * K + 52, b"ReIsEr2Fs"), Mark::at(64 * K + 52, b"ReIsEr3Fs")],
        id: Reading::Uuid(32),
        remedy: "`reiserfstune -u random DEVICE` gives it another while it is not mounted",
    },
    Kind {
        name: "ReiserFS 3.5",
        marks: &[Mark::at(64 * K + 52, b"ReIsErFs"), Mark::at(8 * K + 52, b"ReIsErFs")],
        id: Reading::Nothing,
        remedy: "it has no id",
    },
    Kind {
        name: "Reiser4",
        marks: &[Mark::at(64 * K, b"ReIsEr4")],
        id: Reading::Uuid(20),
        remedy: "nothing is known here that changes it: make a new one and copy the files",
    },
    Kind {
        // Revision 2.0, then the magic.
        name: "NILFS2",
        marks: &[Mark::at(K, b"\x02\0\0\0\0\0\x34\x34")],
        id: Reading::Uuid(152),
        remedy: "`nilfs-tune -U UUID DEVICE` gives it another while it is not mounted",
    },
    Kind {
        // The superblock is the third block, in the form of an inode.
        name: "OCFS2",
        marks: &[Mark::at(K, OCFS2), Mark::at(2 * K, OCFS2), Mark::at(4 * K, OCFS2), Mark::at(8 * K, OCFS2)],
        id: Reading::Uuid(336),
        remedy: "`tunefs.ocfs2 -U DEVICE` gives it another while no node has it mounted",
    },
    Kind {
        // GFS2_MAGIC, and GFS2_METATYPE_SB; the file system's format is 1309 for the first GFS.
        name: "GFS2",
        marks: &[Mark::at(64 * K, b"\x01\x16\x19\x70\0\0\0\x01")],
        id: Reading::Uuid(256),
        remedy: "`tunegfs2 -U UUID DEVICE` gives it another while no node has it mounted",
    },
    Kind {
        name: "LVM1 physical volume",
        marks: &[Mark::at(0, b"HM\x01\0"), Mark::at(0, b"HM\x02\0")],
        id: Reading::Text(44, 32),
        remedy: "LVM2 up to 2.02 converts it by `vgconvert -M2`, and then this changes it",
    },
];

const STRATIS: &[u8] = b"!Stra0tis\x86\xff\x02^\x41rh";
const OCFS2: &[u8] = b"OCFSV2";

const DRBD_REMEDY: &str =
    "its peers tell by it whose copy is newer: `drbdadm create-md` makes new ones, and the peers copy everything again";

/// `drbd_md_last_sector`: a block of 4 KiB at the end; a bit of its bitmap stands for as much.
const fn drbd(magic: &'static [u8]) -> Mark {
    Mark { place: Place::End { block: 4096, back: 1, on: 60 }, bytes: magic, also: Some((20, b"\0\0\x10\0")) }
}

const fn ddf(back: u64) -> Mark {
    Mark { place: Place::End { block: 512, back, on: 0 }, bytes: b"\xde\x11\xde\x11", also: Some((32, b"0")) }
}

const BITLOCKER_REMEDY: &str =
    "nothing changes it: `manage-bde -off` and then `manage-bde -on` encrypt the volume anew, under another";

/// Of Windows Vista, of later ones, and of a stick: that one looks like FAT, but for a GUID.
const BITLOCKER: [Mark; 3] = [
    Mark::at(0, b"\xeb\x52\x90-FVE-FS-"),
    Mark::at(0, b"\xeb\x58\x90-FVE-FS-"),
    Mark {
        place: Place::Start(0),
        bytes: b"\xeb\x58\x90MSWIN4.1",
        also: Some((424, b"\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01")),
    },
];
