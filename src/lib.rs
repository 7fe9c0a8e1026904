// SPDX-License-Identifier: MIT OR Apache-2.0
//! reseal gives a cloned Linux guest an identity of its own.

pub mod apply;
pub mod catalogue;
pub mod cli;
pub mod commands;
pub mod formats;
pub mod guest;
pub mod keys;
pub mod plan;
pub mod policy;
pub mod regenerators;
pub mod root;
pub mod run;
pub mod stamp;
