// SPDX-License-Identifier: MIT OR Apache-2.0
//! YAML as a tree with the bytes where each scalar stands, for files of settings: no aliases, no key twice.

use std::ops::Range;

use anyhow::{Result, anyhow, bail};
use saphyr_parser::{Event, Parser, Span};

use super::sections::line_end;
use super::{Edit, line_at};

/// Deeper files are no settings.
const DEEPEST: usize = 32;
/// Files of more nodes are no settings.
const MOST_NODES: usize = 20_000;

/// A value.
#[derive(Debug)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it begins and ends; for a mapping or sequence to the end of the last scalar in it, or its closing bracket.
    pub span: Range<usize>,
    /// Line, from 1.
    pub line: usize,
}

/// What a value is.
#[derive(Debug)]
pub enum Value {
    /// Text, without its quotes.
    Scalar(String),
    /// A list, and is it in brackets?
    List { items: Vec<Node>, flow: bool },
    /// A mapping, and is it in braces?
    Map { pairs: Vec<(Node, Node)>, flow: bool },
}

impl Node {
    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// The pairs of a mapping; none for anything else.
    pub fn pairs(&self) -> &[(Node, Node)] {
        match &self.value {
            Value::Map { pairs, .. } => pairs,
            _ => &[],
        }
    }

    /// The values of a list; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List { items, .. } => items,
            _ => &[],
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.pairs().iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }
}

/// The one document of a text; `None` for a text without any.
///
/// # Errors
/// With the line, when it is not YAML, has an anchor, an alias, a tag or a second document, a key twice in a mapping, or is too
/// deep or too large.
pub fn read(text: &str) -> Result<Option<Node>> {
    let mut reader = Reader { text, offsets: offsets(text), parser: Parser::new_from_str(text), nodes: 0 };
    let mut found = None;
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(found),
            (Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing, _) => {}
            (event, span) => {
                if found.is_some() {
                    bail!("line {}: a second document", span.start.line());
                }
                found = Some(reader.node(event, span, 0)?);
            }
        }
    }
}

/// The byte at which each character begins; none for ASCII, where they are the same.
fn offsets(text: &str) -> Vec<usize> {
    if text.is_ascii() {
        return Vec::new();
    }
    text.char_indices().map(|(at, _)| at).chain([text.len()]).collect()
}

struct Reader<'t> {
    text: &'t str,
    offsets: Vec<usize>,
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    nodes: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span)> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(anyhow!("line {}: {}", error.marker().line(), error.info())),
            None => bail!("line {}: the document ends early", line_at(self.text, self.text.len())),
        }
    }

    fn byte(&self, index: usize) -> usize {
        let at = if self.offsets.is_empty() { index } else { self.offsets.get(index).copied().unwrap_or(usize::MAX) };
        at.min(self.text.len())
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node> {
        let (start, end) = (self.byte(span.start.index()), self.byte(span.end.index()));
        let line = span.start.line();
        self.nodes += 1;
        if self.nodes > MOST_NODES || depth > DEEPEST {
            bail!("line {line}: too deep or too large for network configuration");
        }
        if matches!(event, Event::Alias(_)) {
            bail!("line {line}: an alias");
        }
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            _ => (0, false),
        };
        if anchor != 0 || tag {
            bail!("line {line}: {}", if tag { "a tag" } else { "an anchor" });
        }
        let flow = |opening: char| self.text[start..].starts_with(opening);
        let (value, end) = match event {
            Event::Scalar(text, ..) => {
                let end = scalar_end(self.text, start..end, &text);
                (Value::Scalar(text.into_owned()), end)
            }
            Event::SequenceStart(..) => {
                let flow = flow('[');
                let (mut items, mut end) = (Vec::new(), end);
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => {
                            end = if flow { bracket_end(self.text, start, items.last()) } else { end };
                            break;
                        }
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                    end = items.last().map_or(end, |item: &Node| item.span.end);
                }
                (Value::List { items, flow }, end)
            }
            Event::MappingStart(..) => {
                let flow = flow('{');
                let (mut pairs, mut end) = (Vec::<(Node, Node)>::new(), end);
                loop {
                    let key = match self.next()? {
                        (Event::MappingEnd, _) => {
                            let last = pairs
                                .last()
                                .map(|(key, value)| if value.span.end > key.span.end { value } else { key });
                            end = if flow { bracket_end(self.text, start, last) } else { end };
                            break;
                        }
                        (event, span) => self.node(event, span, depth + 1)?,
                    };
                    let (event, span) = self.next()?;
                    let value = self.node(event, span, depth + 1)?;
                    if pairs.iter().any(|(other, _)| other.text() == key.text()) {
                        let name = crate::plan::show::printable(key.text().unwrap_or("?"));
                        bail!("line {}: the key `{name}` stands twice", key.line);
                    }
                    end = value.span.end.max(key.span.end);
                    pairs.push((key, value));
                }
                (Value::Map { pairs, flow }, end)
            }
            _ => bail!("line {line}: not understood"),
        };
        Ok(Node { value, span: start..end.max(start), line })
    }
}

/// Where a scalar ends. The parser's mark may lie behind the blanks and the comment that follow one in quotes.
fn scalar_end(text: &str, span: Range<usize>, value: &str) -> usize {
    let rest = &text[span.start..];
    match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let mut letters = rest.char_indices().skip(1).peekable();
            while let Some((at, letter)) = letters.next() {
                let escaped = letter == '\\' && quote == '"'
                    || letter == quote && letters.peek().is_some_and(|(_, next)| *next == '\'' && quote == '\'');
                if escaped {
                    letters.next();
                } else if letter == quote {
                    return span.start + at + 1;
                }
            }
            span.end
        }
        _ if !value.is_empty() && rest.starts_with(value) => span.start + value.len(),
        _ => span.start + text[span].trim_end().len(),
    }
}

/// Where a list or mapping in brackets ends: behind the bracket that follows what is last in it.
fn bracket_end(text: &str, start: usize, last: Option<&Node>) -> usize {
    let mut at = last.map_or(start + 1, |last| last.span.end);
    let mut in_comment = false;
    for letter in text[at..].chars() {
        at += letter.len_utf8();
        match letter {
            '\n' => in_comment = false,
            '#' => in_comment = true,
            ']' | '}' if !in_comment => break,
            _ => {}
        }
    }
    at
}

/// What goes when the pair at `index` of a mapping goes, and what stands there then.
pub fn without_pair(text: &str, map: &Node, index: usize) -> (Range<usize>, String) {
    let pairs = map.pairs();
    let span = |index: usize| pairs[index].0.span.start..pairs[index].1.span.end.max(pairs[index].0.span.end);
    match map.value {
        Value::Map { flow: false, .. } => {
            let whole = whole_lines(text, &span(index));
            // On the line of a list's dash, which has to stay.
            if !text[whole.start..span(index).start].trim().is_empty() {
                return match pairs.get(index + 1) {
                    Some((next, _)) => (span(index).start..next.span.start, String::new()),
                    None => (span(index), "{}".to_owned()),
                };
            }
            let empty = format!("{}{{}}\n", indent(text, whole.start));
            (whole, if pairs.len() == 1 { empty } else { String::new() })
        }
        _ => (between(index, pairs.len(), span), String::new()),
    }
}

/// What goes when the item at `index` of a list goes.
pub fn without_item(text: &str, list: &Node, index: usize) -> Range<usize> {
    let items = list.items();
    match list.value {
        Value::List { flow: false, .. } => whole_lines(text, &items[index].span),
        _ => between(index, items.len(), |index| items[index].span.clone()),
    }
}

/// One of several in brackets, with the comma behind it, or for the last one that before it: whichever go together, what is
/// left is a list.
fn between(index: usize, count: usize, span: impl Fn(usize) -> Range<usize>) -> Range<usize> {
    match index {
        _ if index + 1 < count => span(index).start..span(index + 1).start,
        0 => span(0),
        _ => span(index - 1).end..span(index).end,
    }
}

/// The lines on which a span lies.
pub fn whole_lines(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    // A block scalar ends with its last line's end.
    let last = span.end - usize::from(span.end > span.start && text[..span.end].ends_with('\n'));
    start..line_end(text, last)
}

/// The blanks at the start of the line that begins at `at`.
pub fn indent(text: &str, at: usize) -> &str {
    let rest = &text[at..];
    &rest[..rest.len() - rest.trim_start_matches(' ').len()]
}

/// A new pair at the end of a mapping, in the form that it has.
pub fn insert_pair(text: &str, map: &Node, key: &str, value: &str) -> Edit {
    match &map.value {
        Value::Map { pairs, flow: false } if !pairs.is_empty() => {
            let first = pairs[0].0.span.start;
            let indent = first - text[..first].rfind('\n').map_or(0, |at| at + 1);
            let at = whole_lines(text, &map.span).end;
            let end = if text[..at].ends_with('\n') { "" } else { "\n" };
            Edit { span: at..at, new: format!("{end}{}{key}: {value}\n", " ".repeat(indent)) }
        }
        Value::Map { pairs, .. } if !pairs.is_empty() => {
            let at = pairs.iter().map(|(key, value)| key.span.end.max(value.span.end)).max().unwrap_or(map.span.start);
            Edit { span: at..at, new: format!(", {key}: {value}") }
        }
        _ => Edit { span: map.span.clone(), new: format!("{{{key}: {value}}}") },
    }
}

/// New items at the end of a list, in the form that it has.
pub fn append(text: &str, list: &Node, values: &[String]) -> Option<Edit> {
    let last = list.items().last();
    Some(match (&list.value, last) {
        _ if values.is_empty() => return None,
        (Value::List { flow: false, .. }, Some(last)) => {
            let at = whole_lines(text, &last.span).end;
            let line = whole_lines(text, &list.items()[0].span).start;
            let end = if text[..at].ends_with('\n') { "" } else { "\n" };
            let indent = indent(text, line);
            let lines: String = values.iter().map(|value| format!("{indent}- {value}\n")).collect();
            Edit { span: at..at, new: format!("{end}{lines}") }
        }
        (_, Some(last)) => Edit { span: last.span.end..last.span.end, new: format!(", {}", values.join(", ")) },
        (_, None) => Edit { span: list.span.clone(), new: format!("[{}]", values.join(", ")) },
    })
}
