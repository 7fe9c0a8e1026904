// SPDX-License-Identifier: MIT OR Apache-2.0
//! Looks through a whole guest for what must not be there: old values in any spelling ([`old`]), or what looks like an
//! identity that nothing renews. It reads, and changes nothing.
//!
//! [`value`] says what a value is, [`spelling`] how files write it, [`matcher`] finds all spellings at once, [`stream`]
//! brings a file of any length past it, and [`walk`] every file of the guest.

pub mod advice;
pub mod base64;
pub mod lines;
pub mod list;
pub mod matcher;
pub mod old;
pub mod packages;
pub mod progress;
pub mod report;
pub mod spelling;
pub mod ssh;
pub mod stream;
pub mod suspect;
pub mod unpack;
pub mod value;
pub mod walk;
