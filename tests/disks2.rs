// SPDX-License-Identifier: MIT OR Apache-2.0
//! On-disk ids, changed in images that the formats' own tools made and judge, and cut at every write.

#[path = "disks2/bcache.rs"]
mod bcache;
#[path = "disks2/btrfs.rs"]
mod btrfs;
#[path = "disks2/external.rs"]
mod external;
#[path = "disks2/f2fs.rs"]
mod f2fs;
#[path = "disks2/features.rs"]
mod features;
#[path = "disks2/foreign.rs"]
mod foreign;
#[path = "disks2/luks.rs"]
mod luks;
#[path = "disks2/lvm.rs"]
mod lvm;
#[path = "disks2/md.rs"]
mod md;
#[path = "disks2/rig.rs"]
mod rig;
mod support;
#[path = "disks2/xfs.rs"]
mod xfs;
