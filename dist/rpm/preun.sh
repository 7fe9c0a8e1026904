# SPDX-License-Identifier: MIT OR Apache-2.0
# %preun. $1 is 0 when the package goes for good. The units are disabled, never stopped: they were done long ago.
if [ "$1" -eq 0 ] && command -v systemctl >/dev/null 2>&1; then
    systemctl --no-reload disable reseal.service reseal-keys.service >/dev/null 2>&1 || :
fi
exit 0
