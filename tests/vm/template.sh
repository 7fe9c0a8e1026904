#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# The task of the template's only boot: every kind of file system, swap and container, each named in fstab in one of the ways
# that people name them, and filled with files whose sums are written down.
#
# The partitions are those of template.rs: vda holds the root, vdb is GPT, vdc MBR, vdd a file system without a table.

id() {
    blkid -p -s "$2" -o value "$1"
}
partition_id() {
    blkid -p -s PART_ENTRY_UUID -o value "$1"
}

mkfs.vfat -F 32 /dev/vda2
mkswap /dev/vda3
mkfs.ext4 -q /dev/vdb1
mkfs.xfs -q /dev/vdb2
mkfs.btrfs -q /dev/vdb3
mkfs.btrfs -q -d raid1 -m raid1 /dev/vdb4 /dev/vdc1

install -d -m 700 /etc/keys
head -c 512 /dev/urandom >/etc/keys/luks
chmod 600 /etc/keys/luks
# A key file needs no slow derivation, and emulation makes it slower still.
cryptsetup luksFormat --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 /dev/vdb5 /etc/keys/luks
cryptsetup open --key-file /etc/keys/luks /dev/vdb5 secret
mkfs.ext4 -q /dev/mapper/secret

pvcreate -q /dev/vdb6
vgcreate -q data /dev/vdb6
lvcreate -q -y -L 64M -n small data
lvcreate -q -y -L 320M -n large data
mkfs.ext4 -q /dev/mapper/data-small
mkfs.xfs -q /dev/mapper/data-large

mdadm --create /dev/md0 --run --level=1 --metadata=1.2 --raid-devices=2 /dev/vdb7 /dev/vdc2
mkfs.ext4 -q /dev/md0
/usr/share/mdadm/mkconf >/etc/mdadm/mdadm.conf
grep '^ARRAY' /etc/mdadm/mdadm.conf

mkswap /dev/vdb8
mkfs.ext4 -q /dev/vdc3
mkfs.ext4 -q -F /dev/vdd
udevadm settle

echo "secret UUID=$(id /dev/vdb5 UUID) /etc/keys/luks luks" >/etc/crypttab
cat >/etc/fstab <<END
# <file system> <mount point> <type> <options> <dump> <pass>
UUID=$(id /dev/vda1 UUID) / ext4 errors=remount-ro 0 1
UUID=$(id /dev/vda2 UUID) /boot/efi vfat umask=0077 0 2
UUID=$(id /dev/vda3 UUID) none swap sw 0 0
UUID=$(id /dev/vdb1 UUID) /srv/ext4 ext4 defaults 0 2
PARTUUID=$(partition_id /dev/vdb2) /srv/xfs xfs defaults 0 0
UUID=$(id /dev/vdb3 UUID) /srv/btrfs btrfs defaults 0 0
/dev/disk/by-uuid/$(id /dev/vdb4 UUID) /srv/pair btrfs defaults 0 0
UUID="$(id /dev/mapper/secret UUID)" /srv/secret ext4 defaults 0 2
UUID=$(id /dev/mapper/data-small UUID) /srv/small ext4 defaults 0 2
/dev/mapper/data-large /srv/large xfs defaults 0 0
UUID=$(id /dev/md0 UUID) /srv/md ext4 defaults 0 2
/dev/disk/by-uuid/$(id /dev/vdb8 UUID) none swap sw,pri=5 0 0
PARTUUID=$(partition_id /dev/vdc3) /srv/mbr ext4 defaults 0 2
/dev/disk/by-uuid/$(id /dev/vdd UUID) /srv/whole ext4 defaults 0 2
END

mkdir -p /boot/efi
awk '$2 ~ /^\/srv/ { print $2 }' /etc/fstab | xargs mkdir -p
systemctl daemon-reload
mount -a
swapon -a

# Clones start as real machines do, and say the same on their console as this one.
cat >/etc/default/grub <<END
GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_TERMINAL=serial
GRUB_CMDLINE_LINUX="$(sed 's/^.* ro //' /proc/cmdline)"
GRUB_DISABLE_OS_PROBER=true
END
grub-install --target=i386-pc /dev/vda
update-grub
grep -q "root=UUID=$(id /dev/vda1 UUID) ro" /boot/grub/grub.cfg

# The same for firmware that reads the EFI system partition, as grub-install(8) does it for Secure Boot: an image that is
# signed, and a file that it reads.
mkdir -p /boot/efi/EFI/BOOT /boot/efi/EFI/debian
cp /usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed /boot/efi/EFI/BOOT/BOOTX64.EFI
cat >/boot/efi/EFI/debian/grub.cfg <<END
search.fs_uuid $(id /dev/vda1 UUID) root hd0,gpt1 
set prefix=(\$root)'/boot/grub'
configfile \$prefix/grub.cfg
END

mkdir -p /usr/local/lib/vm/sums
for where in /boot/efi /srv/*; do
    mountpoint -q "$where"
    mkdir "$where/files"
    for number in 1 2 3 4 5 6 7 8 9 10 11 12; do
        head -c $((number * 9973)) /dev/urandom >"$where/files/$number"
    done
    (cd "$where" && sha256sum files/*) >"/usr/local/lib/vm/sums/$(systemd-escape --path "$where")"
done
sync
