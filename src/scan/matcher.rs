// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds every spelling of every value in bytes, in time that hardly depends on how many there are.
//!
//! Long spellings (ids, keys) go through a table of shifts (Wu and Manber, "A fast algorithm for multi-pattern searching",
//! 1994): two bytes at the end of a window say how far it may move, most often by nearly its whole length. Short ones (names,
//! addresses) go through the SIMD search of aho-corasick. Both only propose a place; whether a spelling stands there, as a
//! word of its own, is looked at byte by byte.

use aho_corasick::{AhoCorasick, MatchKind, packed};

use super::spelling::Spelling;

/// Shorter spellings would make every shift of the table short.
const LONG: usize = 14;

/// Bytes before a match that say whether it is a word of its own.
pub const BEFORE: usize = 8;

/// Bytes that one folded pair of bytes has as an index.
const PAIRS: usize = 1 << 16;

/// A place where a spelling stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// Where it begins.
    pub at: usize,
    /// Number of the spelling in the list that the matcher was made from.
    pub spelling: usize,
}

/// All spellings, ready to be found.
pub struct Matcher {
    spellings: Vec<Spelling>,
    long: Option<Shifts>,
    short: Option<Short>,
    reach: usize,
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Matcher").field("spellings", &self.spellings.len()).finish_non_exhaustive()
    }
}

impl Matcher {
    /// A matcher for these spellings; empty ones are never found.
    pub fn new(spellings: Vec<Spelling>) -> Matcher {
        let numbered = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
            (0..spellings.len()).filter(|number| wanted(spellings[*number].text.len())).collect()
        };
        let long = numbered(&|length| length >= LONG);
        let short = numbered(&|length| (1..LONG).contains(&length));
        let reach = spellings.iter().map(Spelling::reach).max().unwrap_or(0);
        Matcher { long: Shifts::new(&spellings, &long), short: Short::new(&spellings, short), spellings, reach }
    }

    /// The spellings, by number.
    pub fn spellings(&self) -> &[Spelling] {
        &self.spellings
    }

    /// Bytes from the beginning of a match that must be there to judge it, unless the text ends.
    pub fn reach(&self) -> usize {
        self.reach
    }

    /// Every match that begins at `from` or later and before `to`, in no order. What stands before and after it is looked
    /// at: `bytes` should have [`BEFORE`] bytes before `from` and [`Matcher::reach`] after `to`, unless the text ends there.
    pub fn find(&self, bytes: &[u8], from: usize, to: usize, found: &mut Vec<Match>) {
        let mut look = |at: usize, candidates: &[u32]| {
            if !(from..to).contains(&at) {
                return;
            }
            for number in candidates {
                if self.spellings[*number as usize].stands_at(bytes, at) {
                    found.push(Match { at, spelling: *number as usize });
                }
            }
        };
        if let Some(long) = &self.long {
            long.find(bytes, from, to, &mut look);
        }
        if let Some(short) = &self.short {
            short.find(bytes, from, to, &mut look);
        }
    }
}

/// The table of shifts.
struct Shifts {
    /// How far the window may move when it ends with this pair, folded.
    shifts: Box<[u8; PAIRS]>,
    /// Length of the window.
    window: usize,
    /// Which of `lists` belongs to a pair with which a window ends; 0 for none.
    ends: Vec<u16>,
    /// Spellings whose window ends with one pair.
    lists: Vec<Vec<u32>>,
}

/// Both cases of a letter are one; so are some other bytes, which only proposes more places.
fn fold(pair: [u8; 2]) -> u16 {
    u16::from_le_bytes(pair) | 0x2020
}

impl Shifts {
    fn new(spellings: &[Spelling], numbers: &[usize]) -> Option<Shifts> {
        let shortest = numbers.iter().map(|number| spellings[*number].text.len()).min()?;
        let window = shortest.min(usize::from(u8::MAX));
        let furthest = u8::try_from(window - 1).unwrap_or(u8::MAX);
        let shifts = vec![furthest; PAIRS].into_boxed_slice();
        let mut shifts: Box<[u8; PAIRS]> = shifts.try_into().ok()?;
        let (mut ends, mut lists) = (vec![0; PAIRS], vec![Vec::new()]);
        for number in numbers {
            let text = &spellings[*number].text[..window];
            for (at, pair) in text.windows(2).enumerate() {
                let left = u8::try_from(window - 2 - at).unwrap_or(u8::MAX);
                let shift = &mut shifts[usize::from(fold([pair[0], pair[1]]))];
                *shift = left.min(*shift);
            }
            let last = fold([text[window - 2], text[window - 1]]);
            let list: &mut u16 = &mut ends[usize::from(last)];
            if *list == 0 {
                // There are fewer folded pairs than 2^16.
                *list = u16::try_from(lists.len()).ok()?;
                lists.push(Vec::new());
            }
            lists[usize::from(*list)].push(u32::try_from(*number).unwrap_or(u32::MAX));
        }
        Some(Shifts { shifts, window, ends, lists })
    }

    fn find(&self, bytes: &[u8], from: usize, to: usize, look: &mut impl FnMut(usize, &[u32])) {
        // The window's last two bytes.
        let mut at = from + self.window - 2;
        let stop = bytes.len().min((to + self.window).saturating_sub(1));
        while let Some(pair) = bytes[..stop].get(at..at + 2) {
            let pair = fold([pair[0], pair[1]]);
            let shift = self.shifts[usize::from(pair)];
            if shift != 0 {
                at += usize::from(shift);
                continue;
            }
            look(at + 2 - self.window, &self.lists[usize::from(self.ends[usize::from(pair)])]);
            at += 1;
        }
    }
}

/// Short spellings.
struct Short {
    search: Search,
    /// Spellings by their first byte.
    first: Vec<Vec<u32>>,
}

enum Search {
    Packed(packed::Searcher),
    Automaton(AhoCorasick),
}

impl Short {
    fn new(spellings: &[Spelling], numbers: Vec<usize>) -> Option<Short> {
        let mut first = vec![Vec::new(); 256];
        let mut texts: Vec<&[u8]> = Vec::new();
        for number in numbers {
            let text = &spellings[number].text;
            first[usize::from(text[0])].push(u32::try_from(number).unwrap_or(u32::MAX));
            texts.push(text);
        }
        // Of two that begin alike the shorter one proposes the place of both.
        texts.sort_unstable();
        texts.dedup_by(|longer, shorter| longer.starts_with(shorter));
        if texts.is_empty() {
            return None;
        }
        let packed = packed::Config::new().builder().extend(&texts).build();
        let search = match packed {
            Some(packed) => Search::Packed(packed),
            None => {
                let kind = MatchKind::LeftmostFirst;
                Search::Automaton(AhoCorasick::builder().match_kind(kind).build(&texts).ok()?)
            }
        };
        Some(Short { search, first })
    }

    fn find(&self, bytes: &[u8], from: usize, to: usize, look: &mut impl FnMut(usize, &[u32])) {
        let mut at = from;
        while at < to.min(bytes.len()) {
            let span = at..bytes.len();
            let next = match &self.search {
                Search::Packed(packed) => packed.find_in(bytes, span.into()).map(|found| found.start()),
                Search::Automaton(automaton) => {
                    automaton.find(aho_corasick::Input::new(bytes).range(span)).map(|found| found.start())
                }
            };
            let Some(next) = next else { return };
            look(next, &self.first[usize::from(bytes[next])]);
            at = next + 1;
        }
    }
}
