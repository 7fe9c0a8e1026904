// SPDX-License-Identifier: MIT OR Apache-2.0
#![no_main]
reseal_fuzz::text!(scan::unpack);
