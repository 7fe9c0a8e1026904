// SPDX-License-Identifier: MIT OR Apache-2.0
//! Paths with `*`, `?` and `**`, checked when the policy is read.

use anyhow::{Result, bail};
use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

/// A pattern for absolute paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPattern(Pattern);

impl PathPattern {
    /// Does it match this path, which has no slash in front?
    pub fn matches(&self, path: &str) -> bool {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        self.0.matches_with(&format!("/{path}"), options)
    }
}

impl TryFrom<String> for PathPattern {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<PathPattern> {
        if !text.starts_with('/') {
            bail!("`{text}` is no absolute path");
        }
        match Pattern::new(&text) {
            Ok(pattern) => Ok(PathPattern(pattern)),
            Err(error) => bail!("`{text}` is no pattern of paths: {}", error.msg),
        }
    }
}

impl From<PathPattern> for String {
    fn from(pattern: PathPattern) -> String {
        pattern.0.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_stars_cross_components_and_one_does_not() {
        let pattern = |text: &str| PathPattern::try_from(text.to_owned());
        assert!(pattern("/var/log/**").unwrap().matches("var/log/a/b"));
        assert!(!pattern("/var/log/**").unwrap().matches("var/lib/a"));
        assert!(pattern("/var/*.log").unwrap().matches("var/a.log"));
        assert!(!pattern("/var/*.log").unwrap().matches("var/a/b.log"));
        assert!(pattern("var/log").unwrap_err().to_string().contains("no absolute path"));
        assert!(pattern("/var/a**").unwrap_err().to_string().contains("no pattern"));
    }
}
