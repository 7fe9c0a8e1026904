// SPDX-License-Identifier: MIT OR Apache-2.0
//! The plan: everything a run will change, as inert data.

pub mod key;
