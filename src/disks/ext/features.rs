// SPDX-License-Identifier: MIT OR Apache-2.0
//! Feature bits of ext superblocks, `EXT4_FEATURE_*` in the kernel's fs/ext4/ext4.h.

pub(super) mod compat {
    pub const JOURNAL: u32 = 0x4;
    pub const SPARSE_SUPER2: u32 = 0x200;
    pub const STABLE_INODES: u32 = 0x800;
}

pub(super) mod incompat {
    pub const RECOVER: u32 = 0x4;
    pub const JOURNAL_DEV: u32 = 0x8;
    pub const MMP: u32 = 0x100;
    pub const EA_INODE: u32 = 0x400;
    pub const CSUM_SEED: u32 = 0x2000;
    pub const IS_64BIT: u32 = 0x80;
    /// filetype, recover, journal_dev, meta_bg, extent, 64bit, mmp, flex_bg, ea_inode, metadata_csum_seed, large_dir,
    /// inline_data, encrypt, casefold. What is missing was never in Linux (compression) or is Lustre's (dirdata).
    pub const KNOWN: u32 = 0x3e7de;
    /// What ext2 and ext3 may have: filetype, recover, meta_bg.
    pub const OLD: u32 = 0x16;
}

pub(super) mod ro_compat {
    pub const SPARSE_SUPER: u32 = 0x1;
    pub const GDT_CSUM: u32 = 0x10;
    pub const BIGALLOC: u32 = 0x200;
    pub const METADATA_CSUM: u32 = 0x400;
    pub const ORPHANS: u32 = 0x10000;
    /// sparse_super, large_file, btree_dir, huge_file, uninit_bg, dir_nlink, extra_isize, quota, bigalloc,
    /// metadata_csum, read-only, project, verity, orphan_present.
    pub const KNOWN: u32 = 0x1b77f;
    /// What ext2 and ext3 may have: sparse_super, large_file, btree_dir.
    pub const OLD: u32 = 0x7;
}
