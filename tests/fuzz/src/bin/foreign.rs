// SPDX-License-Identifier: MIT OR Apache-2.0
#![no_main]
libfuzzer_sys::fuzz_target!(init: reseal_fuzz::seeds::lay(reseal_fuzz::seeds::foreign), |input: &[u8]| {
    reseal_fuzz::oracle::foreign(input);
});
libfuzzer_sys::fuzz_mutator!(|input: &mut [u8], size: usize, most: usize, seed: u32| {
    reseal_fuzz::mutate::foreign(input, size, most, seed)
});
