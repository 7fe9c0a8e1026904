#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# In an initramfs of dracut without systemd: the root is mounted, and nothing of the system on it runs yet.

if [ ! -e "${NEWROOT:?}/etc/reseal/stamp" ] && [ ! -L "${NEWROOT}/etc/reseal/stamp" ]; then
    # Whatever comes of it, the boot goes on.
    /usr/bin/reseal apply --stage initrd --root "$NEWROOT" || true
fi
