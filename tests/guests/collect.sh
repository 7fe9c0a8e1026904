#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs in a guest that has come up: carries out the test's task, writes down what the test wants to know, powers off.
cd /run/facts || exit 1
export LC_ALL=C SYSTEMD_COLORS=0 SYSTEMD_PAGER=

systemctl is-system-running --wait >state
if [ -e task.sh ]; then
    sh -e ./task.sh >task.log 2>&1
    echo $? >task.status
fi
systemctl --failed --plain --no-legend >failed
for unit in reseal reseal-keys ssh; do
    systemctl show "$unit.service" >"unit.$unit" 2>&1
done
cat /etc/machine-id >machine-id 2>&1
systemctl show --property=Version >version
systemctl show --property=Description --value collect.service | sed 's/.* //' >machine-id.init
busctl call org.freedesktop.DBus / org.freedesktop.DBus.Peer GetMachineId | tr -d 's "' >machine-id.dbus
uname -n >host-name
hostnamectl hostname >host-name.hostnamed 2>&1
readlink /proc/1/ns/mnt >mount-namespace.init
grep ' /etc/machine-id ' /proc/self/mountinfo >machine-id.mount
find /run/log/journal /var/log/journal -mindepth 1 -maxdepth 1 >journals 2>/dev/null
journalctl --sync
# Of this boot, from the journals of every machine-id; --boot and --merge exclude each other.
journalctl --merge --output=json "_BOOT_ID=$(tr -d - </proc/sys/kernel/random/boot_id)" >journal.json 2>journal.errors
sshd -t >sshd.test 2>&1
echo $? >sshd.status
ssh-keyscan -t ed25519,ecdsa,rsa 127.0.0.1 >keyscan 2>keyscan.errors
if command -v reseal >/dev/null; then
    reseal status >reseal.status 2>&1
    reseal inspect --format json >reseal.inspect 2>reseal.inspect.errors
fi
: >complete
systemctl poweroff
