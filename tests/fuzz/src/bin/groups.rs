// SPDX-License-Identifier: MIT OR Apache-2.0
#![no_main]
libfuzzer_sys::fuzz_target!(init: reseal_fuzz::seeds::lay(reseal_fuzz::seeds::groups), |input: &[u8]| {
    reseal_fuzz::groups::check(input);
});
libfuzzer_sys::fuzz_mutator!(|input: &mut [u8], size: usize, most: usize, seed: u32| {
    reseal_fuzz::groups::change(input, size, most, seed)
});
