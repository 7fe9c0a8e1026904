// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ids that were renewed, in every spelling that files use, found in text as whole tokens and never by pattern alone.
//!
//! One id is written with dashes by blkid(8), with `\x2d` in unit names by systemd-escape(1), without dashes by the device
//! mapper and by GRUB, and in groups of eight with colons by mdadm(8). An id of LVM2 has letters of both cases; all
//! others are hexadecimal, and the case in which a file writes them is kept.

use std::collections::BTreeMap;

use crate::plan::Kind;

/// How systemd-escape(1) writes a dash.
pub const DASH: &str = "\\x2d";

/// The renewed ids of disks.
#[derive(Debug, Default)]
pub struct KnownIds {
    spellings: Vec<Spelling>,
    /// Spellings by their first four bytes in small letters.
    starts: BTreeMap<[u8; 4], Vec<usize>>,
    /// Can a spelling begin with this byte?
    first: Vec<bool>,
    /// Can one stand right behind another?
    joined: bool,
}

/// One id in one spelling.
#[derive(Debug)]
pub struct Spelling {
    /// What it is the id of.
    pub kind: Kind,
    /// As the renewal has it.
    pub old: String,
    /// As it is searched for.
    text: String,
    /// What takes its place; none when two disks bore the id and it cannot be told which one is meant.
    new: Option<String>,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As blkid(8) shows it.
    Plain,
    /// With escaped dashes.
    Escaped,
    /// Without dashes.
    Bare,
    /// In groups of eight with colons.
    Colons,
}

/// A place in a text where a known id stands.
#[derive(Debug, Clone, Copy)]
pub struct Quote<'a> {
    /// The id.
    pub spelling: &'a Spelling,
    /// All text before it, what is replaced not yet replaced.
    pub before: &'a str,
    /// The id as it stands there.
    pub value: &'a str,
}

impl Quote<'_> {
    /// The new id, spelled and in the case of the old one.
    pub fn renewed(&self) -> Option<String> {
        let new = self.spelling.new.as_ref()?;
        let letters = self.value.replace(DASH, "");
        let upper = letters.contains(|letter: char| letter.is_ascii_uppercase());
        let lower = letters.contains(|letter: char| letter.is_ascii_lowercase());
        Some(match (upper, lower) {
            _ if self.value == self.spelling.text => new.clone(),
            (true, false) => new.split(DASH).map(str::to_ascii_uppercase).collect::<Vec<_>>().join(DASH),
            (false, true) => new.to_ascii_lowercase(),
            _ => new.clone(),
        })
    }

    /// Is it known which id takes its place? It is not where two disks bore the old one.
    pub fn is_certain(&self) -> bool {
        self.spelling.new.is_some()
    }

    /// Is it so long that it stands for nothing else, wherever it stands? A FAT serial number is not.
    pub fn is_long(&self) -> bool {
        self.spelling.old.bytes().filter(u8::is_ascii_alphanumeric).count() >= 16
    }

    /// The line it stands on, from 1.
    pub fn line(&self) -> usize {
        self.before.bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    /// What stands before it on its line.
    pub fn lead(&self) -> &str {
        self.before.rsplit('\n').next().unwrap_or_default()
    }
}

impl KnownIds {
    /// The ids of these renewals: kind, old value, new value.
    pub fn new<'r>(renewals: impl IntoIterator<Item = (Kind, &'r str, &'r str)>) -> KnownIds {
        let mut pairs: Vec<(Kind, &str, Option<&str>)> = Vec::new();
        for (kind, old, new) in renewals.into_iter().filter(|(_, old, _)| old.len() >= 8 && old.is_ascii()) {
            match pairs.iter_mut().find(|(known, value, _)| *known == kind && value.eq_ignore_ascii_case(old)) {
                Some((_, _, earlier)) => *earlier = earlier.filter(|earlier| *earlier == new),
                None => pairs.push((kind, old, Some(new))),
            }
        }
        let spellings = pairs.into_iter().flat_map(|(kind, old, new)| spellings(kind, old, new)).collect();
        let mut ids = KnownIds { spellings, first: vec![false; 256], ..KnownIds::default() };
        ids.joined = ids.spellings.iter().any(|spelling| spelling.kind == Kind::LvmUuid);
        for (number, spelling) in ids.spellings.iter().enumerate() {
            let Some(start) = spelling.text.as_bytes().first_chunk::<4>() else { continue };
            ids.starts.entry(start.map(|byte| byte.to_ascii_lowercase())).or_default().push(number);
            ids.first[usize::from(start[0].to_ascii_lowercase())] = true;
            ids.first[usize::from(start[0].to_ascii_uppercase())] = true;
        }
        ids
    }

    /// Is there nothing to be found?
    pub fn is_empty(&self) -> bool {
        self.spellings.is_empty()
    }

    /// Every place where one of the ids stands; more than once where ids of two kinds are the same.
    pub fn quotes<'a>(&'a self, text: &'a str) -> Vec<Quote<'a>> {
        let bytes = text.as_bytes();
        let (mut found, mut at) = (Vec::new(), 0);
        while at + 8 <= bytes.len() {
            let before = found.len();
            if self.first.get(usize::from(bytes[at])) == Some(&true) && (self.joined || begins(bytes, at)) {
                found.extend(self.at(bytes, at).map(|spelling| {
                    let end = at + spelling.text.len();
                    Quote { spelling, before: &text[..at], value: &text[at..end] }
                }));
            }
            at += found[before..].first().map_or(1, |quote| quote.value.len());
        }
        found
    }

    /// The text with the new id wherever `is_meant` knows what the quote names; everything else byte for byte.
    pub fn replace(&self, text: &str, mut is_meant: impl FnMut(&Quote<'_>) -> bool) -> String {
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for quote in self.quotes(text) {
            if quote.before.len() < done {
                continue;
            }
            if let Some(new) = quote.renewed().filter(|_| is_meant(&quote)) {
                out.push_str(&text[done..quote.before.len()]);
                out.push_str(&new);
                done = quote.before.len() + quote.value.len();
            }
        }
        out.push_str(&text[done..]);
        out
    }

    fn at<'a>(&'a self, bytes: &'a [u8], at: usize) -> impl Iterator<Item = &'a Spelling> {
        let start = bytes[at..].first_chunk::<4>().map(|start| start.map(|byte| byte.to_ascii_lowercase()));
        let candidates = start.and_then(|start| self.starts.get(&start)).map_or(&[][..], Vec::as_slice);
        candidates.iter().map(|number| &self.spellings[*number]).filter(move |spelling| spelling.stands_at(bytes, at))
    }
}

impl Spelling {
    fn stands_at(&self, bytes: &[u8], at: usize) -> bool {
        let length = self.text.len();
        let Some(value) = bytes[at..].get(..length) else { return false };
        let same = match self.kind {
            Kind::LvmUuid => value == self.text.as_bytes(),
            _ => value.eq_ignore_ascii_case(self.text.as_bytes()),
        };
        // The device mapper joins the ids of a group and of a volume: `LVM-` and twice 32 letters, lvmdevices(8).
        let joined = self.kind == Kind::LvmUuid && self.form == Form::Bare;
        let second = joined && at >= length && is_word(&bytes[at - length..at]) && begins(bytes, at - length);
        let first =
            joined && bytes[at + length..].get(..length).is_some_and(is_word) && self.ends(bytes, at + 2 * length);
        same && (begins(bytes, at) || second) && (self.ends(bytes, at + length) || first)
    }

    /// Is the token over at `end`? A longer one is another id; a partition's number may follow a disk's id, and a name an id
    /// without dashes.
    fn ends(&self, bytes: &[u8], end: usize) -> bool {
        let rest = &bytes[end..];
        match rest.first() {
            None => true,
            Some(next) if next.is_ascii_alphanumeric() || *next == b'_' => false,
            Some(b':') if self.form == Form::Colons => !rest.get(1).is_some_and(u8::is_ascii_hexdigit),
            Some(_) => match rest.strip_prefix(b"-").or_else(|| rest.strip_prefix(DASH.as_bytes())) {
                Some(after) => self.form == Form::Bare || after.starts_with(b"part"),
                None => true,
            },
        }
    }
}

/// Can a token begin at `at`? An escape sequence before it ends with a letter or digit and is none.
fn begins(bytes: &[u8], at: usize) -> bool {
    at == 0 || !bytes[at - 1].is_ascii_alphanumeric() || (at >= 4 && bytes[at - 4..].starts_with(b"\\x"))
}

fn is_word(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_alphanumeric)
}

fn spellings(kind: Kind, old: &str, new: Option<&str>) -> Vec<Spelling> {
    let spelled = |form: Form, write: &dyn Fn(&str) -> String| Spelling {
        kind,
        old: old.to_owned(),
        text: write(old),
        new: new.map(write),
        form,
    };
    let mut all = vec![spelled(Form::Plain, &str::to_owned)];
    if !old.contains('-') {
        return all;
    }
    all.push(spelled(Form::Escaped, &|id| id.replace('-', DASH)));
    if old.len() - old.matches('-').count() == 32 {
        all.push(spelled(Form::Bare, &|id| id.replace('-', "")));
        if kind == Kind::MdUuid {
            all.push(spelled(Form::Colons, &colons));
        }
    }
    all
}

/// `0aaa1111:22224333:84445555:55555555`, as mdadm(8) writes an array's id.
fn colons(id: &str) -> String {
    let digits = id.replace('-', "");
    let groups = digits.as_bytes().chunks(8).map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0aaa1111-2222-4333-8444-55555555555f";
    const NEW: &str = "0bbb1111-2222-4333-8444-55555555555e";

    fn all(kind: Kind, old: &str, new: &str, text: &str) -> String {
        KnownIds::new([(kind, old, new)]).replace(text, |_| true)
    }

    #[test]
    fn every_spelling_in_its_own_case() {
        let cases = [
            (OLD.to_owned(), NEW.to_owned()),
            (OLD.to_uppercase(), NEW.to_uppercase()),
            (OLD.replace('-', ""), NEW.replace('-', "")),
            (OLD.replace('-', DASH), NEW.replace('-', DASH)),
            (OLD.to_uppercase().replace('-', DASH), NEW.to_uppercase().replace('-', DASH)),
            (colons(OLD), colons(NEW)),
        ];
        for (old, new) in cases {
            for around in ["$", "UUID=$ /", "luks\\x2d$.device", "/$-part1 ", "ä $\r\n"] {
                let text = around.replace('$', &old);
                assert_eq!(all(Kind::MdUuid, OLD, NEW, &text), around.replace('$', &new));
            }
        }
        assert_eq!(all(Kind::FsUuid, "1A2B-3C4D", "FFFF-0001", "1a2b-3c4d 1A2B-3C4D"), "ffff-0001 FFFF-0001");
        assert_eq!(all(Kind::FsUuid, "1234-5678", "FFFF-0001", "1234-5678"), "FFFF-0001");
    }

    #[test]
    fn only_whole_tokens() {
        for around in ["$0", "0$", "$-01", "$_1", "a$", "$\\x2d01"] {
            let text = around.replace('$', OLD);
            assert_eq!(all(Kind::FsUuid, OLD, NEW, &text), text, "{around}");
        }
        assert_eq!(all(Kind::DiskId, "1a2b3c4d", "ffffffff", "1a2b3c4d-01 1a2b3c4d"), "1a2b3c4d-01 ffffffff");
        assert_eq!(all(Kind::FsUuid, "", "x", "ä"), "ä");
    }

    #[test]
    fn ids_of_lvm_have_two_cases_and_come_joined() {
        let (old, new) = ("AbCdEf-0123-4567-89ab-cdef-GHIJ-klmnop", "ZbCdEf-0123-4567-89ab-cdef-GHIJ-klmnoq");
        let bare = |id: &str| id.replace('-', "");
        assert_eq!(all(Kind::LvmUuid, old, new, old), new);
        assert_eq!(all(Kind::LvmUuid, old, new, &old.to_lowercase()), old.to_lowercase());
        for around in ["LVM-$", "LVM-$0123456789abcdef0123456789abcdef", "LVM-0123456789abcdef0123456789abcdef$"] {
            assert_eq!(all(Kind::LvmUuid, old, new, &around.replace('$', &bare(old))), around.replace('$', &bare(new)));
        }
        let long = format!("LVM-{}0", bare(old));
        assert_eq!(all(Kind::LvmUuid, old, new, &long), long);
    }

    #[test]
    fn an_id_of_two_disks_is_found_and_left() {
        let ids = KnownIds::new([(Kind::FsUuid, OLD, NEW), (Kind::FsUuid, OLD, "other"), (Kind::SwapUuid, NEW, OLD)]);
        assert_eq!(ids.replace(OLD, |_| true), OLD);
        assert_eq!(ids.quotes(OLD).len(), 1);
        let two = KnownIds::new([(Kind::FsUuid, OLD, NEW), (Kind::SwapUuid, OLD, "-")]);
        assert_eq!(two.replace(OLD, |quote| quote.spelling.kind == Kind::FsUuid), NEW);
    }
}
