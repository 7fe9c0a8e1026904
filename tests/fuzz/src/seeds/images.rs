// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shell commands that make an image `$1` of each format, in every variant that its tool makes.

use reseal::disks::Format;

/// All of them for a format; none where no tool makes one without the kernel's driver.
pub fn commands(format: Format) -> Vec<String> {
    let each = |size: &str, tool: &str, variants: &[&str]| -> Vec<String> {
        variants.iter().map(|options| format!("truncate -s {size} $1; {tool} {options} $1 >&2")).collect()
    };
    match format {
        Format::Ext => ext(),
        Format::Xfs => {
            let plain = each("320M", "mkfs.xfs -q -f", &XFS);
            // A mount writes the log anew: records with checksums, at another place, and a second round through it.
            let at = "mkdir $1.at; unshare --mount sh -c \"mount -o loop $1 $1.at; touch $1.at/file; umount $1.at\"";
            let used = plain.iter().take(5).map(|made| format!("{made}; {at}"));
            plain.iter().cloned().chain(used).collect()
        }
        Format::Btrfs => each("160M", "mkfs.btrfs -q -f", &BTRFS),
        Format::Swap => {
            each("2M", "mkswap -L label", &["-p 4096", "-p 8192", "-p 16384", "-p 32768", "-p 65536", "-e big"])
        }
        Format::Fat => {
            [("4M", "-F12"), ("16M", "-F16"), ("64M", "-F32"), ("36M", "-F32 -s1 -f1"), ("32M", "-F16 -S4096 -s1")]
                .iter()
                .chain(&[
                    ("64M", "-F32 -b 4 -R 64"),
                    ("300M", "-F32 -S4096 -s1"),
                    ("16M", "-F16 -f3 -r 1024"),
                    ("8M", "--mbr=y"),
                ])
                .flat_map(|(size, options)| each(size, "mkfs.fat -n LABEL", &[options]))
                .collect()
        }
        Format::Exfat => {
            each("16M", "mkfs.exfat -L label", &["", "-c 512", "-c 64K", "-b 64K", "-s 4096", "--pack-bitmap"])
        }
        Format::Ntfs => {
            each("16M", "mkntfs -q -F -Q -L label", &["", "-c 512", "-c 65536", "-s 4096", "-s 1024 -c 2048", "-C"])
        }
        Format::Bcache => each("16M", "make-bcache", &["-B", "-C", "-B --writeback", "-C -b 1M -w 4k"]),
        Format::F2fs => each("64M", "mkfs.f2fs -q -f -l label", &F2FS),
        Format::Luks => each(
            "24M",
            "printf golden | cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file -",
            &LUKS,
        ),
        Format::Lvm => lvm(),
        Format::Gpt => gpt(),
        Format::Mbr => {
            TABLES.iter().map(|table| script(&format!("label: dos\nlabel-id: 0x01d00001\n{table}"))).collect()
        }
        _ => Vec::new(),
    }
}

/// Of the formats that are only recognised those that a tool makes here; the others by what they are told by.
pub const FOREIGN: [&str; 12] = [
    "truncate -s 32M $1; mkfs.jfs -q $1 >&2",
    "truncate -s 64M $1; mkreiserfs -q -f -f $1 >&2",
    "truncate -s 256M $1; mkfs.ocfs2 -q -M local -F -N 1 -J size=4M $1 >&2",
    "truncate -s 64M $1; mkfs.gfs2 -O -q -p lock_nolock -j 1 -J 8 $1 >&2",
    "mkdir $1.d; mksquashfs $1.d $1 -quiet -no-progress >&2",
    "mkdir $1.d; mkfs.erofs $1 $1.d >&2",
    "truncate -s 8M $1; printf 'verity\\0\\0' | dd of=$1 conv=notrunc status=none",
    "truncate -s 8M $1; printf 'integrt\\0' | dd of=$1 conv=notrunc status=none",
    "truncate -s 8M $1; printf 'bluestore block device\\n6b331ec4-b909-4b3b-b878-bdaa00000001\\n' | dd of=$1 conv=notrunc status=none",
    "truncate -s 8M $1; printf '\\015\\320\\001\\300' | dd of=$1 conv=notrunc bs=1M seek=1 status=none",
    "truncate -s 8M $1; printf '\\306\\205s\\366f\\316\\220\\251\\331j`\\317\\200=\\367\\357' | dd of=$1 conv=notrunc bs=1 seek=4120 status=none",
    "truncate -s 8M $1; mkfs.minix $1 >&2",
];

const XFS: [&str; 12] = [
    "-L label",
    "--unsupported -d agcount=8 -l size=4096b",
    "-s size=4096 -b size=4096",
    "--unsupported -d su=256k,sw=2 -l su=256k,size=8192b",
    "-b size=1024 -i sparse=0 -m finobt=0,reflink=0",
    "-m crc=0",
    "-m crc=0,finobt=0 -n ftype=0 -l version=1",
    "-m rmapbt=1,reflink=1,bigtime=1 -i nrext64=1",
    "-m rmapbt=0,bigtime=0,inobtcount=0,reflink=0",
    "-m uuid=01d00000-0000-4000-8000-000000000001 -l su=32k",
    "-p /dev/null -n version=ci",
    "-i exchange=1 -n parent=1",
];

const BTRFS: [&str; 9] = [
    "--csum crc32c -L label",
    "--csum xxhash",
    "--csum sha256",
    "--csum blake2 -m single",
    "--mixed --nodesize 4096",
    "-O ^no-holes,^skinny-metadata,^extref -R ^free-space-tree",
    "-O block-group-tree,no-holes -R free-space-tree",
    "-O quota,squota",
    "-O raid-stripe-tree",
];

const F2FS: [&str; 6] = [
    "",
    "-O extra_attr,project_quota,inode_crtime,quota,verity,lost_found",
    "-O extra_attr,inode_checksum,sb_checksum",
    "-O encrypt",
    "-O casefold -C utf8",
    "-O extra_attr,compression,ro",
];

const LUKS: [&str; 7] = [
    "--type luks1",
    "--type luks1 --hash sha512 --cipher aes-cbc-essiv:sha256",
    "--type luks2 --label golden --subsystem seal",
    "--type luks2 --sector-size 4096 --luks2-metadata-size 64k",
    "--type luks2 --luks2-metadata-size 16k --hash sha512",
    "--type luks2 --pbkdf argon2id --pbkdf-memory 64 --pbkdf-parallel 1 --pbkdf-force-iterations 4",
    "--type luks2 --luks2-metadata-size 128k --luks2-keyslots-size 4m",
];

/// Every kind, and every feature by itself.
fn ext() -> Vec<String> {
    let mut all: Vec<String> = [
        "-t ext2 -b 1024 -g 2048",
        "-t ext3 -b 1024 -g 2048",
        "-t ext2 -r 0",
        "-t ext2 -b 1024 -g 2048 -O ^sparse_super,^resize_inode",
        "-t ext4 -g 512",
        "-t ext4 -b 4096 -O journal_dev",
        "-t ext4 -b 1024 -g 256 -O ^sparse_super,^resize_inode -N 1024",
    ]
    .map(str::to_owned)
    .into();
    for feature in [
        "64bit",
        "^64bit",
        "^metadata_csum,^uninit_bg",
        "metadata_csum,^metadata_csum_seed",
        "metadata_csum_seed",
        "^metadata_csum,uninit_bg",
        "sparse_super2,^resize_inode",
        "meta_bg,^resize_inode",
        "bigalloc",
        "mmp",
        "orphan_file",
        "fast_commit",
        "casefold",
        "encrypt",
        "stable_inodes",
        "ea_inode",
        "inline_data",
        "verity",
        "quota",
        "project",
        "large_dir",
        "^has_journal",
        "^extent",
        "^flex_bg",
    ] {
        all.push(format!("-t ext4 -b 1024 -g 2048 -O {feature}"));
    }
    all.iter().map(|options| format!("truncate -s 16M $1; mke2fs -q -F -L label {options} $1")).collect()
}

/// sfdisk reads its script from standard input.
fn script(lines: &str) -> String {
    format!("truncate -s 8M $1; printf '{}\\n' | sfdisk -q $1", lines.replace('\n', "\\n"))
}

const TABLES: [&str; 6] = [
    "1 : start=2048, size=2048, type=83\n2 : start=4096, size=8192, type=5\n5 : start=6144, size=1024, type=83\n6 : start=8192, size=1024, type=82",
    "1 100 ef *",
    "2048 + L",
    "1 : start=64, size=64, type=83\n2 : start=128, size=64, type=7\n3 : start=192, size=64, type=c\n4 : start=256, size=64, type=fd",
    "4 : start=64, size=16000, type=f\n5 : start=128, size=64, type=83",
    "",
];

fn gpt() -> Vec<String> {
    let disk = |count: u32, more: &str| {
        let parts: Vec<String> =
            (1..=count).map(|n| format!("--new={n}:{}:{} --change-name={n}:part", 64 * n, 64 * n + 63)).collect();
        format!("truncate -s 8M $1; sgdisk --clear --set-alignment=1 {} {more} $1 >&2", parts.join(" "))
    };
    let mut all: Vec<String> = [0, 1, 3, 9, 120].map(|count| disk(count, "")).into();
    all.push(disk(2, "--typecode=1:ef00 --attributes=1:set:2 --typecode=2:ef02"));
    all.push(disk(2, "--hybrid=1"));
    all.push(disk(3, "--transpose=1:3"));
    all.push(format!("{}; truncate -s 12M $1", disk(3, "")));
    all.push(format!("{}; sgdisk --resize-table=256 $1 >&2", disk(3, "")));
    all.push(script("label: gpt\n2048 2048 U *\n8192 2048 L"));
    all.push("truncate -s 32M $1; printf 'g\\nn\\n\\n\\n+1M\\nn\\n\\n\\n\\nw\\n' | fdisk -b 4096 $1 >&2".to_owned());
    all
}

/// Physical volumes alone and in a group; making a volume takes device-mapper, so its text is written and restored.
fn lvm() -> Vec<String> {
    let volume = |name: &str, id: &str, start: u32| {
        format!(
            "{name} {{\\nid = \\\"{id}\\\"\\nstatus = [\\\"READ\\\", \\\"WRITE\\\", \\\"VISIBLE\\\"]\\nflags = []\\n\
             segment_count = 1\\nsegment1 {{\\nstart_extent = 0\\nextent_count = 2\\ntype = \\\"striped\\\"\\n\
             stripe_count = 1\\nstripes = [\\n\\\"pv0\\\", {start}\\n]\\n}}\\n}}\\n"
        )
    };
    let volumes = volume("root", "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg", 0)
        + &volume("var", "AAAAAA-bbbb-cccc-dddd-eeee-ffff-gggggg", 2);
    let restore = format!(
        "lvm vgcfgbackup -f $1.text golden; n=$(grep -n '^}}' $1.text | tail -n 1 | cut -d: -f1); \
         {{ head -n $((n - 1)) $1.text; printf \"logical_volumes {{\\n{volumes}}}\\n\"; tail -n +$n $1.text; }} > $1.new; \
         lvm vgcfgrestore -f $1.new golden"
    );
    let group = "lvm pvcreate -q -ff -y $d; lvm vgcreate -q golden $d";
    let tags = "for i in $(seq 12); do lvm vgchange -q --addtag t$i golden; done";
    [
        "lvm pvcreate -q -ff -y $d".to_owned(),
        group.to_owned(),
        format!("{group}; {restore}"),
        format!("{group}; {restore}; {tags}; {tags}; {tags}"),
        "lvm pvcreate -q -ff -y --metadatacopies 2 $d; lvm vgcreate -q golden $d".into(),
        "lvm pvcreate -q -ff -y --bootloaderareasize 1m $d; lvm vgcreate -q golden $d".into(),
        "lvm pvcreate -q -ff -y --labelsector 3 --metadatasize 128k $d; lvm vgcreate -q golden $d".into(),
        format!("{group}; lvm vgexport golden"),
    ]
    .iter()
    .map(|then| {
        format!(
            "truncate -s 32M $1; d=$(losetup --find --show $1); exec 4<$d; losetup -d $d; mkdir $1.lvm; \
             export LVM_SYSTEM_DIR=$1.lvm LVM_SUPPRESS_FD_WARNINGS=1 DM_DISABLE_UDEV=1; \
             echo \"devices {{ filter=[\\\"a|^$d\\$|\\\", \\\"r|.*|\\\"] use_devicesfile=0 scan_lvs=0 }} \
             global {{ event_activation=0 use_lvmpolld=0 locking_dir=\\\"$1.lvm\\\" }} \
             backup {{ backup=0 archive=0 }}\" > $1.lvm/lvm.conf; {{ {then}; }} >&2"
        )
    })
    .collect()
}
