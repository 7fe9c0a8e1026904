#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The module of dracut(8): reseal, and what it takes to look at /boot and the EFI system partition.

check() {
    require_binaries reseal || return 1
    # Wherever it is installed.
    return 0
}

depends() {
    return 0
}

installkernel() {
    local source point kind _
    while read -r source point kind _; do
        [[ $source = \#* ]] && continue
        case $point:$kind in
        /boot:ext[234] | /boot:xfs) instmods "$kind" ;;
        /boot:vfat | /boot/efi:vfat | /boot/firmware:vfat | /efi:vfat)
            instmods vfat nls_cp437 nls_ascii nls_iso8859-1 nls_utf8
            ;;
        esac
    done <"${dracutsysrootdir-}/etc/fstab"
    return 0
}

install() {
    inst_binary reseal /usr/bin/reseal
    if dracut_module_included systemd; then
        # shellcheck disable=SC2154  # set by dracut
        inst_simple "$moddir/reseal-initrd.service" "$systemdsystemunitdir/reseal-initrd.service"
        mkdir -p "${initdir}${systemdsystemunitdir}/initrd-root-fs.target.wants"
        ln_r "$systemdsystemunitdir/reseal-initrd.service" \
            "$systemdsystemunitdir/initrd-root-fs.target.wants/reseal-initrd.service"
    else
        inst_hook pre-pivot 10 "$moddir/reseal-initrd.sh"
    fi
}
