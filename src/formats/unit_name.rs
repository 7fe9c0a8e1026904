// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of systemd units that are made from paths, systemd.unit(5), "String Escaping for Inclusion in Unit Names".

/// `/dev/disk/by-uuid/a-b` as `dev-disk-by\x2duuid-a\x2db`.
pub fn escape_path(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return "-".to_owned();
    }
    let mut name = String::new();
    for (place, byte) in parts.join("/").bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if place == 0 => name.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => name.push(char::from(byte)),
            _ => name.push_str(&format!("\\x{byte:02x}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped_as_systemd_escape_does_it() {
        assert_eq!(escape_path("/dev/disk/by-uuid/a-b"), "dev-disk-by\\x2duuid-a\\x2db");
        assert_eq!(escape_path("/srv//my data/"), "srv-my\\x20data");
        assert_eq!(escape_path("/.hidden/ü"), "\\x2ehidden-\\xc3\\xbc");
        assert_eq!(escape_path("/"), "-");
    }
}
