// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ids on disk: the vendor's tools make the image and judge the change, and a cut after every write.

mod support;

#[path = "disks/exfat.rs"]
mod exfat;
#[path = "disks/ext.rs"]
mod ext;
#[path = "disks/fat.rs"]
mod fat;
#[path = "disks/gpt.rs"]
mod gpt;
#[path = "disks/mbr.rs"]
mod mbr;
#[path = "disks/ntfs.rs"]
mod ntfs;
#[path = "disks/rig.rs"]
mod rig;
#[path = "disks/swap.rs"]
mod swap;
