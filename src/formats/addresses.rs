// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses of machines and links as whole words of a text: an IP address in any spelling, with a prefix or port behind it, and
//! hardware addresses; a longer number, or a part of a name, is none.

use std::net::IpAddr;

use super::network::Mac;

/// An address that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sought {
    /// Of IPv4 or IPv6.
    Ip(IpAddr),
    /// Of hardware.
    Mac(Mac),
}

impl Sought {
    /// What a text is, if it is either.
    pub fn of(text: &str) -> Option<Sought> {
        text.parse().map(Sought::Ip).ok().or_else(|| text.parse().map(Sought::Mac).ok())
    }
}

/// `text` with `old` replaced by `new`, where it stands in a line that is about one of `fields`: its first word, in any case,
/// or a line that a blank makes the last one's continuation. Without fields every line is. Comments stay.
pub fn replace(text: &str, fields: &[String], old: Sought, new: &str) -> String {
    let (mut inside, mut goes_on) = (fields.is_empty(), false);
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if !is_comment(line) && !fields.is_empty() {
            let word = first_word(line);
            let named = fields.iter().any(|field| field.eq_ignore_ascii_case(word));
            let is_indented = line.starts_with([' ', '\t']);
            inside = named || inside && goes_on && is_indented && !word.is_empty();
            // What is indented itself, as in nginx's blocks, has no continuation.
            goes_on = if named { !is_indented } else { goes_on && inside };
        }
        if is_comment(line) || !inside {
            out.push_str(line);
            continue;
        }
        let mut at = 0;
        for span in find(line, old) {
            out.push_str(&line[at..span.start]);
            out.push_str(new);
            at = span.end;
        }
        out.push_str(&line[at..]);
    }
    out
}

/// The numbers of the lines, from 1, that hold an address and are no comments.
pub fn lines(text: &str, old: Sought) -> Vec<usize> {
    let lines = text.lines().enumerate().filter(|(_, line)| !is_comment(line) && !find(line, old).is_empty());
    lines.map(|(index, _)| index + 1).collect()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with(['#', ';']) || line.trim_start().starts_with("//")
}

/// What stands up to a blank, `=` or `:`.
fn first_word(line: &str) -> &str {
    let line = line.trim_start();
    line.split(|letter: char| letter.is_whitespace() || "=:".contains(letter)).next().unwrap_or_default()
}

/// Where an address stands in a line.
fn find(line: &str, old: Sought) -> Vec<std::ops::Range<usize>> {
    let belongs = |letter: char| letter.is_ascii_hexdigit() || ":.-".contains(letter);
    let mut found = Vec::new();
    let mut rest = 0;
    while let Some(start) = line[rest..].find(belongs).map(|at| rest + at) {
        let end = line[start..].find(|letter| !belongs(letter)).map_or(line.len(), |length| start + length);
        rest = end;
        // A letter or dash beside it makes it a part of a name.
        let is_word = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
        if is_word(line[..start].chars().next_back()) || is_word(line[end..].chars().next()) {
            continue;
        }
        let word = line[start..end].trim_end_matches(['.', ':', '-']);
        // A port behind an address of IPv4.
        let bare = word.rsplit_once(':').filter(|(front, _)| front.parse::<std::net::Ipv4Addr>().is_ok());
        let word = bare.map_or(word, |(front, _)| front);
        if Sought::of(word) == Some(old) {
            found.push(start..start + word.len());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sought(text: &str) -> Sought {
        Sought::of(text).unwrap()
    }

    #[test]
    fn whole_addresses_change_in_any_spelling() {
        let text = "192.0.2.7 a 192.0.2.70 1192.0.2.7 192.0.2.7/24 192.0.2.7:22 x192.0.2.7 192.0.2.7.5 (192.0.2.7) 192.0.2.7.\n# 192.0.2.7\n";
        let new = replace(text, &[], sought("192.0.2.7"), "N");
        assert_eq!(new, "N a 192.0.2.70 1192.0.2.7 N/24 N:22 x192.0.2.7 192.0.2.7.5 (N) N.\n# 192.0.2.7\n");
        let text = "[2001:db8::7]:22 2001:DB8:0:0::7/64 2001:db8::71 2001:db8::7:1";
        assert_eq!(replace(text, &[], sought("2001:db8::7"), "N"), "[N]:22 N/64 2001:db8::71 2001:db8::7:1");
        let text = "52:54:00:AB:cd:01 52-54-00-ab-cd-01 52:54:00:ab:cd:01:02";
        assert_eq!(replace(text, &[], sought("52:54:00:ab:cd:01"), "N"), "N N 52:54:00:ab:cd:01:02");
        assert_eq!(lines(text, sought("52:54:00:ab:cd:01")), [1]);
        assert_eq!(lines("# 1.2.3.4\n\nx = 1.2.3.4\n", sought("1.2.3.4")), [3]);
    }

    #[test]
    fn only_known_fields_change() {
        let text = "  listenaddress 192.0.2.7\n  proxy 192.0.2.7\n";
        assert_eq!(
            replace(text, &["ListenAddress".to_owned()], sought("192.0.2.7"), "N"),
            "  listenaddress N\n  proxy 192.0.2.7\n"
        );
        let text = "listenaddress 192.0.2.7\nOther 192.0.2.7\nmynetworks = 127.0.0.1,\n  192.0.2.7\n\nlast 192.0.2.7";
        let fields = ["ListenAddress".to_owned(), "mynetworks".to_owned()];
        let new = replace(text, &fields, sought("192.0.2.7"), "N");
        assert_eq!(new, "listenaddress N\nOther 192.0.2.7\nmynetworks = 127.0.0.1,\n  N\n\nlast 192.0.2.7");
    }
}
