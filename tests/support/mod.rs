// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tests share: guests made from text, trees as text, skipping loudly.
#![allow(dead_code)]

use std::io::Write as _;

pub mod case;
pub mod tree;

/// Says loudly that a test is skipped; where everything must run (`RESEAL_TEST_REQUIRE=1`) that is a failure.
pub fn skip(test: &str, reason: &str) {
    assert!(std::env::var_os("RESEAL_TEST_REQUIRE").is_none_or(|value| value != "1"), "{test}: {reason}");
    // Not by eprintln, which the test runner would keep to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {reason}");
}
