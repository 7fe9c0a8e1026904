// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything reseal reads and did not write, under libFuzzer: a target each in `bin/`, made here.
//!
//! A target for one more disk format is a file of one line, `reseal_fuzz::disk!(Format)`, and seeds in [`seeds`]; one with
//! checksums wants a line in [`repair`] too, for behind a checksum nothing is found by chance.

pub mod dice;
pub mod groups;
pub mod mutate;
pub mod oracle;
pub mod repair;
pub mod scan;
pub mod seeds;
pub mod sparse;
pub mod tally;
pub mod text;

/// The target of one disk format.
#[macro_export]
macro_rules! disk {
    ($format:ident) => {
        const FORMAT: reseal::disks::Format = reseal::disks::Format::$format;
        libfuzzer_sys::fuzz_target!(init: $crate::seeds::lay(|| $crate::seeds::disk(FORMAT)), |input: &[u8]| {
            $crate::oracle::disk(FORMAT, input);
        });
        libfuzzer_sys::fuzz_mutator!(|input: &mut [u8], size: usize, most: usize, seed: u32| {
            $crate::mutate::disk(FORMAT, input, size, most, seed)
        });
    };
}

/// A target of text: one of the functions of [`text`], or of another module.
#[macro_export]
macro_rules! text {
    ($name:ident) => {
        $crate::text!(text::$name);
    };
    ($module:ident::$name:ident) => {
        libfuzzer_sys::fuzz_target!(init: $crate::seeds::lay($crate::seeds::texts::$name), |input: &[u8]| {
            $crate::$module::$name(input);
        });
    };
}
