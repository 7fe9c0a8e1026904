# SPDX-License-Identifier: MIT OR Apache-2.0
# %postun. An .rpm knows no purge, so the state goes with the package; drop-ins that the administrator wrote stay.
# /etc/reseal/policy.toml is kept by rpm as .rpmsave where it was edited.
if [ "$1" -eq 0 ]; then
    rm -rf /etc/reseal/stamp /etc/reseal/sealed /etc/reseal/journal /etc/reseal/offline* /etc/reseal/volume-keys.toml /var/lib/reseal
    # cargo-generate-rpm 0.21 cannot package a directory, so rpm takes none of these away.
    rmdir /etc/reseal/policy.d /etc/reseal/catalogue.d /etc/reseal /usr/share/licenses/reseal \
        /usr/lib/systemd/system/swap.d /usr/lib/dracut/modules.d/90reseal 2>/dev/null || :
fi
exit 0
