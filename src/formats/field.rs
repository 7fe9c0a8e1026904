// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the value of one key stands in a text, in the notations that programs keep their ids in.

use std::ops::Range;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// A notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Syntax {
    /// `key=value` or `key = value`, with or without quotes; `[section]` lines and comments with `#` or `;`.
    Assignment,
    /// `"key": "value"` in JSON.
    Json,
    /// A line `key: value` of YAML, with or without quotes.
    Yaml,
    /// `<key>value</key>`.
    Xml,
}

/// The places of all values of a key, without quotes and blanks around them.
///
/// # Errors
/// When a quote or element does not end.
pub fn find(text: &str, syntax: Syntax, key: &str) -> Result<Vec<Range<usize>>> {
    match syntax {
        Syntax::Assignment => lines(text, '=', key),
        Syntax::Yaml => lines(text, ':', key),
        Syntax::Json => json(text, key),
        Syntax::Xml => xml(text, key),
    }
}

fn lines(text: &str, sign: char, key: &str) -> Result<Vec<Range<usize>>> {
    let (wanted, key) = key.rsplit_once('/').map_or((None, key), |(section, key)| (Some(section), key));
    let mut found = Vec::new();
    let (mut start, mut section) = (0, "");
    for line in text.split_inclusive('\n') {
        let bare = line.trim();
        if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        }
        if !bare.starts_with(['#', ';'])
            && let Some((name, value)) = line.split_once(sign)
            && name.trim() == key
            && wanted.is_none_or(|wanted| wanted == section)
        {
            let at = start + name.len() + sign.len_utf8();
            found.push(value_in(value, at)?);
        }
        start += line.len();
    }
    Ok(found)
}

/// A value with blanks, quotes and perhaps a comment around it, which stands at `at`.
fn value_in(value: &str, at: usize) -> Result<Range<usize>> {
    let bare = value.trim_start();
    let at = at + value.len() - bare.len();
    for quote in ['"', '\''] {
        if let Some(inner) = bare.strip_prefix(quote) {
            let Some(length) = inner.find(quote) else { bail!("a quote does not end") };
            return Ok(at + 1..at + 1 + length);
        }
    }
    let end = bare.find(" #").unwrap_or(bare.len());
    Ok(at..at + bare[..end].trim_end().len())
}

fn json(text: &str, key: &str) -> Result<Vec<Range<usize>>> {
    let name = format!("\"{key}\"");
    let mut found = Vec::new();
    for (at, _) in text.match_indices(&name) {
        let rest = &text[at + name.len()..];
        let Some(value) = rest.trim_start().strip_prefix(':').map(str::trim_start) else { continue };
        let Some(inner) = value.strip_prefix('"') else { continue };
        let Some(length) = inner.find('"') else { bail!("a quote does not end") };
        let start = text.len() - inner.len();
        found.push(start..start + length);
    }
    Ok(found)
}

fn xml(text: &str, key: &str) -> Result<Vec<Range<usize>>> {
    let (open, close) = (format!("<{key}>"), format!("</{key}>"));
    let mut found = Vec::new();
    for (at, _) in text.match_indices(&open) {
        let start = at + open.len();
        let Some(length) = text[start..].find(&close) else { bail!("the element `{key}` does not end") };
        let inner = &text[start..start + length];
        let start = start + inner.len() - inner.trim_start().len();
        found.push(start..start + inner.trim().len());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'t>(text: &'t str, syntax: Syntax, key: &str) -> Vec<&'t str> {
        find(text, syntax, key).unwrap().into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn values_are_found_in_every_notation() {
        let ini = "# uuid=0\n[a]\n uuid = \"1\" # x\nuuidx=9\n[b]\r\nuuid='2'\r\nuuid=3 # y\nuuid";
        assert_eq!(values(ini, Syntax::Assignment, "uuid"), ["1", "2", "3"]);
        assert_eq!(values(ini, Syntax::Assignment, "b/uuid"), ["2", "3"]);
        assert_eq!(values("a:\n  id: x-1\nid: \"y\"\n", Syntax::Yaml, "id"), ["x-1", "y"]);
        assert_eq!(values("{\"id\" : \"q\", \"x\": \"id\", \"id\": 4}", Syntax::Json, "id"), ["q"]);
        assert_eq!(values("<n><uuid> u </uuid><mac/></n>", Syntax::Xml, "uuid"), ["u"]);
        assert_eq!(values("id=\n", Syntax::Assignment, "id"), [""]);
    }

    #[test]
    fn what_does_not_end_is_an_error() {
        assert!(find("a=\"b\n", Syntax::Assignment, "a").is_err());
        assert!(find("{\"a\":\"b", Syntax::Json, "a").is_err());
        assert!(find("<a>b", Syntax::Xml, "a").is_err());
    }
}
