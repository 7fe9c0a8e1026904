// SPDX-License-Identifier: MIT OR Apache-2.0
//! reseal gives a cloned Linux guest an identity of its own.

pub mod plan;
pub mod root;
