// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal scan` on trees in which old values were planted, in every spelling and in every corner.

mod support;

#[path = "scan/corners.rs"]
mod corners;
#[path = "scan/packed.rs"]
mod packed;
#[path = "scan/rig.rs"]
mod rig;
#[path = "scan/spellings.rs"]
mod spellings;
#[path = "scan/suspect.rs"]
mod suspect;
