// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pieces of an HTML page: text that stays text, tables whose headings sort, and what lets nothing else run.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("page.css");

/// A cell: its class, its text, and what it is sorted by where that is not the text.
pub struct Cell {
    /// Of the style sheet; empty for none.
    pub class: &'static str,
    /// Shown as it is.
    pub text: String,
    /// What comes first when sorted.
    pub key: Option<u32>,
}

/// A cell of text.
pub fn cell(class: &'static str, text: impl Into<String>) -> Cell {
    Cell { class, text: text.into(), key: None }
}

/// The beginning of a page. Its policy (CSP) lets run the one script that follows, by its digest, and load nothing: even
/// text that were not escaped could do nothing.
///
/// # Errors
/// When `out` cannot be written.
pub fn begin(out: &mut impl Write, title: &str) -> io::Result<()> {
    let (script, style) = (digest(SCRIPT), digest(STYLE));
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'sha256-{script}'; \
         style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n<style>{STYLE}</style>\n\
         </head>\n<body>\n<h1>{}</h1>\n",
        escape(title),
        escape(title)
    )
}

/// The end of a page.
///
/// # Errors
/// When `out` cannot be written.
pub fn end(out: &mut impl Write) -> io::Result<()> {
    write!(out, "<script>{SCRIPT}</script>\n</body>\n</html>\n")
}

/// A table under a heading.
///
/// # Errors
/// When `out` cannot be written.
pub fn table<const N: usize>(
    out: &mut impl Write,
    title: &str,
    headings: [&str; N],
    rows: impl Iterator<Item = [Cell; N]>,
) -> io::Result<()> {
    write!(out, "<h2>{}</h2>\n<table>\n<thead><tr>", escape(title))?;
    for heading in headings {
        write!(out, "<th><button type=\"button\">{}</button></th>", escape(heading))?;
    }
    writeln!(out, "</tr></thead>\n<tbody>")?;
    for row in rows {
        out.write_all(b"<tr>")?;
        for Cell { class, text, key } in row {
            out.write_all(b"<td")?;
            if !class.is_empty() {
                write!(out, " class=\"{class}\"")?;
            }
            if let Some(key) = key {
                write!(out, " data-key=\"{key}\"")?;
            }
            write!(out, ">{}</td>", escape(&text))?;
        }
        out.write_all(b"</tr>\n")?;
    }
    writeln!(out, "</tbody>\n</table>")
}

/// A paragraph.
///
/// # Errors
/// When `out` cannot be written.
pub fn paragraph(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "<p>{}</p>", escape(text))
}

/// Text as HTML: nothing in it is markup, and what cannot be seen, or turns the direction of writing, is marked.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Unicode's annex 9: embeddings, overrides and isolates.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            letter if letter.is_control() => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}

/// SHA-256 in base64, RFC 4648 section 4, as a source of a content security policy wants it.
fn digest(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digest = Sha256::digest(text.as_bytes());
    let mut out = String::new();
    for group in digest.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at > group.len() { '=' } else { letter.into() });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_openssl() {
        // printf '' | openssl dgst -sha256 -binary | base64
        assert_eq!(digest(""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(
            escape("<b a='1' c=\"2\">&\u{202e}\0"),
            "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;\u{fffd}\u{fffd}"
        );
    }
}
