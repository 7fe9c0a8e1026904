// SPDX-License-Identifier: MIT OR Apache-2.0
//! Documents of a stream, one at a time: JSON lines, and what `reseal inspect` prints, one after another.
//!
//! Where a document begins is told by the layout, so that a broken one does not take the next with it: a line that begins
//! with a brace begins a document. One that is not closed on that line ends with a line that is a closing brace alone.

use std::io::{self, BufRead, Read as _};

/// Longest document, in bytes: an honest inventory has a few thousand.
const LONGEST: usize = 16 << 20;

/// One document, or what stands between two.
pub struct Document<'a> {
    /// Its first line, from 1.
    pub line: u64,
    /// Its text; or what is wrong with it.
    pub text: Result<&'a [u8], String>,
}

/// The documents of a stream.
pub struct Documents<R> {
    from: R,
    /// Lines read so far.
    lines: u64,
    /// The last line that was read, and whether it belongs to the next document.
    line: Vec<u8>,
    held: bool,
    document: Vec<u8>,
}

impl<R: BufRead> Documents<R> {
    /// Begins with the first line.
    pub fn new(from: R) -> Documents<R> {
        Documents { from, lines: 0, line: Vec::new(), held: false, document: Vec::new() }
    }

    /// The next document.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub fn next(&mut self) -> io::Result<Option<Document<'_>>> {
        self.document.clear();
        let (mut begins, mut too_long) = (0, false);
        while std::mem::take(&mut self.held) || self.read_line()? {
            let opens = self.line.first() == Some(&b'{');
            if begins != 0 && opens {
                self.held = true;
                break;
            }
            let text = self.line.trim_ascii_end();
            if begins == 0 {
                if text.is_empty() {
                    continue;
                }
                begins = self.lines;
            }
            let closes = if begins == self.lines { opens && text.ends_with(b"}") } else { text == b"}" };
            too_long |= self.document.len() + self.line.len() > LONGEST;
            if !too_long {
                self.document.extend_from_slice(&self.line);
            }
            if closes {
                break;
            }
        }
        let text = if too_long { Err(format!("longer than {LONGEST} bytes")) } else { Ok(&self.document[..]) };
        Ok((begins != 0).then_some(Document { line: begins, text }))
    }

    /// Reads a line; of one that is too long, the beginning, which is too long as well.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        (&mut self.from).take(LONGEST as u64 + 1).read_until(b'\n', &mut self.line)?;
        if self.line.is_empty() {
            return Ok(false);
        }
        self.lines += 1;
        if self.line.len() > LONGEST && !self.line.ends_with(b"\n") {
            self.from.skip_until(b'\n')?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each document's line and text.
    fn split(text: &str) -> Vec<(u64, Result<String, String>)> {
        let mut documents = Documents::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(document) = documents.next().unwrap() {
            all.push((document.line, document.text.map(|text| String::from_utf8_lossy(text).into_owned())));
        }
        all
    }

    #[test]
    fn lines_and_printed_documents_may_follow_each_other() {
        let all = split("{\"a\":1}\n\n{\n  \"b\": {\n  }\n}\n{\"c\":1}");
        let expected = [(1, "{\"a\":1}\n"), (3, "{\n  \"b\": {\n  }\n}\n"), (7, "{\"c\":1}")];
        assert_eq!(all, expected.map(|(line, text)| (line, Ok(text.to_owned()))));
        assert_eq!(split(""), []);
        assert_eq!(split("\n \n"), []);
    }

    #[test]
    fn what_is_cut_off_does_not_take_the_next_one_with_it() {
        let all = split("{\"a\":\n{\n  \"b\": 1,\n{\"c\":1}\nword\nword\n{\"d\":1}\n");
        let lines: Vec<u64> = all.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 2, 4, 5, 7]);
        assert_eq!(all[2].1, Ok("{\"c\":1}\n".to_owned()));
        assert_eq!(all[3].1, Ok("word\nword\n".to_owned()));
    }

    #[test]
    fn an_endless_line_is_told_and_passed_over() {
        let text = format!("{{\"a\":\"{}\"}}\n{{\"b\":1}}\n", "x".repeat(2 * LONGEST));
        let all = split(&text);
        assert!(all[0].1.is_err());
        assert_eq!(all.last(), Some(&(2, Ok("{\"b\":1}\n".to_owned()))));
    }
}
