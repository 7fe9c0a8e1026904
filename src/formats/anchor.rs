// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that are read before any of reseal runs, while the id of a file system changes: a form that boots under the old id
//! and under the new one, and the way back from it.
//!
//! A word of the kernel's command line, `root=UUID=OLD`, names the partition meanwhile, whose id stays as it is, and a
//! word beside it, which no kernel knows, keeps what stood there: `root=PARTUUID=PART reseal.root=UUID=OLD`. So does the line
//! of fstab(5) for `/`, by which the root is made writable, with a comment before it. A command of GRUB that searches for the file system gets a second line that searches for its new id: a search that fails leaves
//! `$root` as it was (grub-core/commands/search.c), so that after both it is right in both states. Where the file has
//! neither of the two forms, its id must not change.

use super::fstab::{self, Source};
use super::grub::{is_menu_entry_id, keep_size};
use super::known_ids::{KnownIds, Quote};
use crate::plan::Kind;

/// The end of a line that was added, a comment to GRUB.
const MARK: &str = " # reseal";

/// The start of a word that keeps what another one was. The kernel takes a word with a dot for one of a module that is
/// not there, Documentation/admin-guide/kernel-parameters.rst.
const KEPT: &str = "reseal.";

/// The start of a line of fstab(5), a comment, that keeps what the first field of the next line was.
const KEPT_FIELD: &str = "# reseal ";

/// The id of a file system that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changing {
    /// The UUID that it has.
    pub old: String,
    /// The UUID that it shall have.
    pub new: String,
    /// What it is called meanwhile; none where it has no other name that lasts.
    pub name: Option<Name>,
}

/// A name of a device that does not hang on what is on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// The id of a partition, as blkid(8) shows it.
    Partition(String),
    /// A path below /dev/mapper.
    Mapping(String),
}

impl Name {
    /// As it is written where a path, or where a tag stood.
    fn as_in(&self, source: &str) -> String {
        match self {
            Name::Partition(id) if source.starts_with('/') => format!("/dev/disk/by-partuuid/{id}"),
            Name::Partition(id) => format!("PARTUUID={id}"),
            Name::Mapping(path) => path.clone(),
        }
    }
}

/// The text in a form that holds before and after the change; `None` where it does not name the file system.
///
/// # Errors
/// The line that has no such form, and why.
pub fn anchored(text: &str, change: &Changing) -> Result<Option<String>, String> {
    let ids = KnownIds::new([(Kind::FsUuid, change.old.as_str(), change.new.as_str())]);
    let mut out = String::with_capacity(text.len() + 256);
    let (mut done, mut searched) = (0, None);
    for quote in ids.quotes(text).iter().filter(|quote| names_a_device(quote)) {
        let start = quote.before.len();
        if is_search(quote.lead()) {
            // A hint may hold it once more, on the same line.
            if searched != Some(quote.line()) {
                let (line, end) = line_of(text, start);
                let with_new = ids.replace(line.trim_end(), |_| true);
                out.push_str(&text[done..end]);
                out.push_str(if text[..end].ends_with('\n') { "" } else { "\n" });
                out.push_str(&format!("{with_new}{MARK}\n"));
                (done, searched) = (end, Some(quote.line()));
            }
            continue;
        }
        if start < done {
            continue;
        }
        let word = Word::around(text, start, quote.value.len())
            .ok_or_else(|| format!("line {}: it is not known how to name it in two ways there", quote.line()))?;
        let name = change.name.as_ref().ok_or_else(|| nameless(quote.line()))?;
        out.push_str(&text[done..word.start]);
        let (key, value) = (word.key, word.value);
        out.push_str(&format!("{key}={} {KEPT}{key}={value}", name.as_in(value)));
        done = word.start + word.key.len() + 1 + word.value.len();
    }
    if done == 0 {
        return Ok(None);
    }
    out.push_str(&text[done..]);
    let sized = keep_size(text, out.clone());
    // An environment block has no room for more than its size.
    if sized == text { Err("there is no room in it for a second name".to_owned()) } else { Ok(Some(sized)) }
}

fn nameless(line: usize) -> String {
    format!("line {line}: it is on no partition or mapping, by which it could be named meanwhile")
}

/// The same for fstab(5), where only the line of `/` is read before ids change.
///
/// # Errors
/// As [`anchored`].
pub fn anchored_fstab(text: &str, change: &Changing) -> Result<Option<String>, String> {
    let mut out = String::with_capacity(text.len() + 64);
    let mut found = false;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let is_root = matches!(&fstab::entries(line)[..], [entry] if entry.target == "/");
        let source = line.split_ascii_whitespace().next().unwrap_or_default();
        let names_it = matches!(Source::parse(source), Source::Uuid(uuid) if uuid.eq_ignore_ascii_case(&change.old));
        if is_root && names_it {
            let name = change.name.as_ref().ok_or_else(|| nameless(number))?.as_in(source);
            out.push_str(&format!("{KEPT_FIELD}{source}\n{}", line.replacen(source, &name, 1)));
            found = true;
        } else {
            out.push_str(line);
        }
    }
    Ok(found.then_some(out))
}

/// The text as it was before it was [`anchored`].
pub fn settled(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut kept = None;
    for line in text.split_inclusive('\n') {
        if let Some(field) = kept.take() {
            let now = line.split_ascii_whitespace().next().unwrap_or_default();
            out.push_str(&if now.is_empty() { line.to_owned() } else { line.replacen(now, field, 1) });
            continue;
        }
        kept = line.strip_prefix(KEPT_FIELD).map(str::trim_end);
        if kept.is_some() {
            continue;
        }
        if line.trim_end_matches('\n').ends_with(MARK) && is_search(line) {
            continue;
        }
        settle_words(line, &mut out);
    }
    keep_size(text, out)
}

fn settle_words(line: &str, out: &mut String) {
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(&format!(" {KEPT}")) {
        let Some((key, value)) = after.split_once('=').filter(|(key, _)| key.bytes().all(is_key)) else {
            out.push_str(&rest[..before.len() + 1]);
            rest = &rest[before.len() + 1..];
            continue;
        };
        let value = &value[..value.find(ends_word).unwrap_or(value.len())];
        match before.rfind(&format!("{key}=")) {
            // The word before it is what took its place.
            Some(at) if !before[at..].contains(ends_word) => {
                out.push_str(&format!("{}{key}={value}", &before[..at]));
            }
            _ => out.push_str(&format!("{before} {KEPT}{key}={value}")),
        }
        rest = &after[key.len() + 1 + value.len()..];
    }
    out.push_str(rest);
}

/// Does it name a device? Comments, and names of menu entries, do not.
fn names_a_device(quote: &Quote<'_>) -> bool {
    !quote.lead().trim_start().starts_with('#') && !is_menu_entry_id(quote)
}

/// Is it a command that searches for a file system, from the beginning of its line?
fn is_search(lead: &str) -> bool {
    lead.split_ascii_whitespace().next().is_some_and(|word| word == "search" || word == "search.fs_uuid")
}

/// The line that holds this place, with what ends it, and where it ends.
fn line_of(text: &str, at: usize) -> (&str, usize) {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1);
    (&text[start..end], end)
}

/// A word of a command line that names a device by a UUID, and nothing else.
struct Word<'t> {
    start: usize,
    key: &'t str,
    value: &'t str,
}

impl<'t> Word<'t> {
    fn around(text: &'t str, at: usize, length: usize) -> Option<Word<'t>> {
        let tag = ["UUID=", "/dev/disk/by-uuid/"].into_iter().find(|tag| text[..at].ends_with(tag))?;
        let before = text[..at - tag.len()].strip_suffix('=')?;
        let start = before.bytes().rposition(|byte| !is_key(byte)).map_or(0, |other| other + 1);
        // An environment block sets a variable to the whole command line: `kernelopts=root=UUID=..`.
        let left = text[..start].chars().next_back().filter(|letter| *letter != '=');
        let (key, end) = (&before[start..], at + length);
        let right = text[end..].chars().next();
        // In quotes of its own, a blank would not end the word; those of a variable's value are taken off.
        let own_quotes = left.is_some_and(is_quote) && left == right && !text[..start - 1].ends_with('=');
        let whole = left.is_none_or(ends_word) && right.is_none_or(ends_word);
        (whole && !own_quotes && !key.is_empty()).then_some(Word { start, key, value: &text[at - tag.len()..end] })
    }
}

fn is_quote(letter: char) -> bool {
    matches!(letter, '"' | '\'')
}

fn ends_word(letter: char) -> bool {
    letter.is_whitespace() || is_quote(letter)
}

fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0aaa1111-2222-4333-8444-555555555555";
    const NEW: &str = "0bbb1111-2222-4333-8444-555555555555";
    const PART: &str = "d758b59e-850a-2548-9796-2e0e16249653";

    fn change() -> Changing {
        Changing { old: OLD.into(), new: NEW.into(), name: Some(Name::Partition(PART.into())) }
    }

    #[test]
    fn both_forms_and_the_way_back() {
        for (before, after) in [
            (
                "\tlinux /vmlinuz-6.1 root=UUID=$ ro  quiet\n",
                "\tlinux /vmlinuz-6.1 root=PARTUUID=% reseal.root=UUID=$ ro  quiet\n",
            ),
            (
                "options root=/dev/disk/by-uuid/$",
                "options root=/dev/disk/by-partuuid/% reseal.root=/dev/disk/by-uuid/$",
            ),
            (
                "set default_kernelopts=\"root=UUID=$\"\n",
                "set default_kernelopts=\"root=PARTUUID=% reseal.root=UUID=$\"\n",
            ),
            (
                "  search --no-floppy --fs-uuid --set=root --hint='$' $\nset x\n",
                "  search --no-floppy --fs-uuid --set=root --hint='$' $\n  search --no-floppy --fs-uuid --set=root --hint='@' @ # reseal\nset x\n",
            ),
            (
                "search.fs_uuid $ root hd0,gpt2 \nset prefix=($root)'/boot/grub'\n",
                "search.fs_uuid $ root hd0,gpt2 \nsearch.fs_uuid @ root hd0,gpt2 # reseal\nset prefix=($root)'/boot/grub'\n",
            ),
            ("root=UUID=$ boot=UUID=$ a", "root=PARTUUID=% reseal.root=UUID=$ boot=PARTUUID=% reseal.boot=UUID=$ a"),
        ] {
            let fill =
                |text: &str| text.replace("($root)", "(ROOT)").replace('$', OLD).replace('@', NEW).replace('%', PART);
            let (before, after) = (fill(before), fill(after));
            assert_eq!(anchored(&before, &change()).unwrap().as_deref(), Some(after.as_str()));
            assert_eq!(settled(&after), before);
            assert_eq!(settled(&before), before);
        }
        // A last line without an end gets one, and keeps it: GRUB does not mind.
        let line = format!("search --fs-uuid {OLD}");
        let both = anchored(&line, &change()).unwrap().unwrap();
        assert_eq!(both, format!("{line}\nsearch --fs-uuid {NEW}{MARK}\n"));
        assert_eq!(settled(&both), format!("{line}\n"));
    }

    #[test]
    fn only_the_root_of_fstab_is_read_so_early() {
        let fill = |text: &str| text.replace('$', OLD).replace('%', PART);
        let table = fill("# /etc/fstab\nUUID=$ / ext4 errors=remount-ro 0 1\nUUID=$ /other ext4 ro\n");
        let both = anchored_fstab(&table, &change()).unwrap().unwrap();
        let expected =
            "# /etc/fstab\n# reseal UUID=$\nPARTUUID=% / ext4 errors=remount-ro 0 1\nUUID=$ /other ext4 ro\n";
        assert_eq!(both, fill(expected));
        assert_eq!(settled(&both), table);
        let mapped = Changing { name: Some(Name::Mapping("/dev/mapper/vg-root".into())), ..change() };
        let path = fill("/dev/disk/by-uuid/$\t/\text4 defaults 0 1");
        let both = anchored_fstab(&path, &mapped).unwrap().unwrap();
        assert_eq!(both, fill("# reseal /dev/disk/by-uuid/$\n/dev/mapper/vg-root\t/\text4 defaults 0 1"));
        assert_eq!(settled(&both), path);
        for table in ["/dev/vda1 / ext4\n", "# UUID=$ / ext4\n", "UUID=$ /x ext4\n"] {
            assert_eq!(anchored_fstab(&fill(table), &change()), Ok(None));
        }
        assert!(anchored_fstab(&fill("UUID=$ / ext4\n"), &Changing { name: None, ..change() }).is_err());
    }

    #[test]
    fn names_and_comments_are_no_devices() {
        for line in ["# root=UUID=$", "menuentry 'x' $menuentry_id_option 'gnulinux-simple-$' {", "root=/dev/vda1"] {
            assert_eq!(anchored(&line.replace('$', OLD), &change()), Ok(None), "{line}");
        }
    }

    #[test]
    fn what_has_no_two_forms_is_refused() {
        for line in
            ["linux /vmlinuz 'root=UUID=$'", "if search --fs-uuid $; then", "root=$", "x=1,UUID=$", "root=UUID=$,x"]
        {
            let error = anchored(&format!("\n{}", line.replace('$', OLD)), &change()).unwrap_err();
            assert!(error.starts_with("line 2: "), "{line}: {error}");
        }
        let change = Changing { name: None, ..change() };
        assert!(anchored(&format!("root=UUID={OLD}"), &change).is_err());
        assert!(anchored(&format!("search --fs-uuid {OLD}"), &change).unwrap().is_some());
    }

    #[test]
    fn an_environment_block_keeps_its_size_or_its_id() {
        let block = |content: &str| format!("{:#<1024}", format!("# GRUB Environment Block\n{content}\n"));
        let text = block(&format!("kernelopts=root=UUID={OLD} ro"));
        let both = anchored(&text, &change()).unwrap().unwrap();
        assert!(both.len() == 1024 && both.contains("reseal.root="));
        assert_eq!(settled(&both), text);
        let full = block(&format!("kernelopts=ro root=UUID={OLD} {}", "x".repeat(920)));
        assert!(anchored(&full, &change()).is_err());
    }

    #[test]
    fn words_that_only_look_so_stay() {
        for text in ["a reseal.root b", "x reseal.root=UUID=1", "root=a b reseal.root=c", "reseal.root=1"] {
            assert_eq!(settled(text), text);
        }
    }
}
