// SPDX-License-Identifier: MIT OR Apache-2.0
//! A path in a policy: absolute, and without a step upwards.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// An absolute path without `..`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AbsolutePath(String);

impl AbsolutePath {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AbsolutePath {
    type Error = anyhow::Error;

    fn try_from(path: String) -> Result<AbsolutePath> {
        if !path.starts_with('/') || path.len() < 2 || path.contains('\0') || path.split('/').any(|part| part == "..") {
            bail!("`{path}` is no absolute path");
        }
        Ok(AbsolutePath(path))
    }
}

impl From<AbsolutePath> for String {
    fn from(path: AbsolutePath) -> String {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths() {
        assert!(AbsolutePath::try_from("/etc/x".to_owned()).is_ok());
        for bad in ["", "/", "x", "../x", "/a/../x", "/a\0b"] {
            assert!(AbsolutePath::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
