// SPDX-License-Identifier: MIT OR Apache-2.0
//! The names in hosts(5): whole words of the part before a comment, everything else byte for byte.

use super::words::replace_name;

/// Replaces a name wherever it is one of a line's names; addresses and comments stay.
pub fn replace(text: &str, old: &str, new: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| {
            let (entry, comment) = line.split_at(line.find('#').unwrap_or(line.len()));
            let address = entry.len() - entry.trim_start().len();
            let names = entry[address..].find(char::is_whitespace).map_or(entry.len(), |end| address + end);
            format!("{}{}{comment}", &entry[..names], replace_name(&entry[names..], old, new))
        })
        .collect()
}

/// The fully qualified names of the host with this short name: `short.anything` on a line that has `short` too or is
/// about a loopback address.
pub fn full_names(text: &str, short: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let entry = line.split('#').next().unwrap_or_default();
        let mut words = entry.split_whitespace();
        let address = words.next().unwrap_or_default();
        let names: Vec<&str> = words.collect();
        if address.starts_with("127.") || address == "::1" || names.contains(&short) {
            let full = names.iter().filter(|name| name.strip_prefix(short).is_some_and(|rest| rest.starts_with('.')));
            found.extend(full.map(|name| (*name).to_owned()));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "127.0.0.1\tlocalhost\n127.0.1.1\ttmpl.example.com tmpl # tmpl\n\n10.0.0.9 tmpl2 nottmpl\n10.0.0.8 tmpl.elsewhere.org\n";

    #[test]
    fn own_names_change_and_nothing_else() {
        let new = replace(HOSTS, "tmpl", "web");
        assert_eq!(new, HOSTS.replace(".com tmpl #", ".com web #"));
        assert_eq!(replace(HOSTS, "nothing", "x"), HOSTS);
        assert_eq!(replace("tmpl tmpl", "tmpl", "x"), "tmpl x");
    }

    #[test]
    fn the_full_name_is_the_one_beside_the_short_one() {
        assert_eq!(full_names(HOSTS, "tmpl"), ["tmpl.example.com"]);
    }
}
