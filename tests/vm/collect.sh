#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs in a guest that has come up: carries out the test's task, if there is one, sends what the test wants to know as a
# tar archive, powers off.
mkdir -p /run/facts && cd /run/facts || exit 1
export LC_ALL=C SYSTEMD_COLORS=0 SYSTEMD_PAGER=

systemctl is-system-running --wait >state
if [ -e /usr/local/lib/vm/task.sh ]; then
    sh -eux /usr/local/lib/vm/task.sh >task.log 2>&1
    echo $? >task.status
    udevadm settle
fi
systemctl --failed --plain --no-legend >failed

# Every id, a line each: where it stands, what it is, its value. Straight from the devices (blkid -p), not from a cache.
{
    for device in /sys/class/block/*; do
        name=${device##*/}
        case $name in
        dm-*) where=dm:$(cat "$device/dm/name") ;;
        md*) where=md ;;
        vd*) where=$name ;;
        *) continue ;;
        esac
        blkid -p -o export "/dev/$name" | sed -n "s/^\(UUID\|UUID_SUB\|PTUUID\)=/$where \1 /p; s/^PART_ENTRY_UUID=/$where PARTUUID /p"
        case $where in
        md) mdadm --detail --export "/dev/$name" | sed -n 's/^MD_UUID=/md MD_UUID /p' ;;
        esac
    done
    vgs --noheadings -o vg_name,vg_uuid | sed 's/^ */vg:/; s/ / VG_UUID /'
    lvs --noheadings -o lv_name,lv_uuid | sed 's/^ */lv:/; s/ / LV_UUID /'
} >ids 2>ids.errors
# The same ids as the tools that own them tell them.
lsblk -o NAME,FSTYPE,UUID,PARTUUID,PTUUID,MOUNTPOINTS >lsblk 2>&1
pvs -o pv_name,pv_uuid,vg_name >pvs 2>&1
for device in $(blkid -t TYPE=crypto_LUKS -o device); do cryptsetup luksUUID "$device"; done >luks 2>&1
cat /proc/mdstat >mdstat 2>&1
ls -l /dev/disk/by-uuid /dev/disk/by-partuuid >links 2>&1

findmnt --real -n -l -o TARGET,SOURCE,FSTYPE,OPTIONS >mounts
findmnt --verify >findmnt.verify 2>&1
swapon --show --noheadings --raw >swaps
for file in /etc/fstab /etc/crypttab /etc/mdadm/mdadm.conf /etc/machine-id; do
    cat "$file" >"${file##*/}" 2>&1
done
cp /boot/grub/grub.cfg /proc/cmdline .
cp /boot/efi/EFI/debian/grub.cfg stub.cfg
findmnt -n -o UUID --target /boot/grub >boot.uuid
(cd /etc && find . -type f ! -name .updated ! -name .pwd.lock ! -name ld.so.cache -exec sha256sum {} + | sort -k 2) >etc

# "MOUNT NUMBER ok" for every file system whose files are what they were in the template.
for sums in /usr/local/lib/vm/sums/*; do
    [ -e "$sums" ] || continue
    where=$(systemd-escape --unescape --path "${sums##*/}")
    if (cd "$where" && sha256sum --quiet -c "$sums") >>sums.errors 2>&1; then
        echo "$where $(wc -l <"$sums") ok"
    else
        echo "$where $(wc -l <"$sums") bad"
    fi
done >sums

systemctl list-units --all --plain --no-legend 'systemd-fsck*' 'systemd-cryptsetup@*' '*.mount' '*.swap' >units
for unit in reseal-early reseal reseal-keys; do
    systemctl show "$unit.service" >"unit.$unit" 2>&1
done
systemctl list-jobs --no-legend >jobs
journalctl --sync
# Of this boot, whatever machine-id it was written under; --boot and --merge exclude each other.
boot="_BOOT_ID=$(tr -d - </proc/sys/kernel/random/boot_id)"
journalctl --merge -o short-monotonic "$boot" >journal
systemd-analyze time >analyze 2>&1
systemd-analyze blame 2>&1 | head -n 40 >blame
if command -v reseal >/dev/null; then
    reseal status --format json >reseal.status 2>reseal.status.errors
    reseal inspect --format json >reseal.inspect 2>reseal.inspect.errors
fi
: >complete
cut -d ' ' -f 1 /proc/uptime >uptime
tar -cf /dev/virtio-ports/facts .
systemctl poweroff
