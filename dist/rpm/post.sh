# SPDX-License-Identifier: MIT OR Apache-2.0
# %post. Installing is harmless: a running machine is adopted before the units are enabled, and none is started here.
# An upgrade ($1 is 2 or more) leaves everything as it is.
if [ "$1" -eq 1 ]; then
    # True on a machine that systemd booted; false in a chroot, an image or a container build.
    if [ -d /run/systemd/system ] && [ "$(cat /proc/1/comm 2>/dev/null)" = systemd ] &&
        [ "$(stat -Lc %d:%i /proc/1/root/ 2>/dev/null)" = "$(stat -Lc %d:%i /)" ]; then
        # This boot is past the point where an identity may be reset: see reseal.service.
        systemd-tmpfiles --create --boot reseal.conf || :
        # A machine that cannot be adopted must not be armed.
        /usr/bin/reseal adopt || exit 1
    fi
    if command -v systemctl >/dev/null 2>&1; then
        systemctl --no-reload preset reseal.service reseal-keys.service >/dev/null 2>&1 || :
    fi
fi
exit 0
