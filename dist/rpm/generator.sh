#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# systemd.generator(7). The .deb has a link to the program in this place, which cargo-generate-rpm cannot package.
exec /usr/bin/reseal generator "$@"
