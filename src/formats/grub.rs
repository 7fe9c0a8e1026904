// SPDX-License-Identifier: MIT OR Apache-2.0
//! GRUB's scripts, its defaults and its environment block: `search`, `cryptomount`, device names, and menu entries that
//! grub-mkconfig(8) names after the root file system.

use super::device_tags::{self, Rules};
use super::known_ids::Quote;
use crate::plan::Kind;

/// How an environment block starts (grub-core/lib/envblk.c); it is padded with `#`, and its size must stay.
const BLOCK: &str = "# GRUB Environment Block\n";

/// `new`, the edited `text`, in the size of `text` when that is an environment block: GRUB refuses one of another size.
pub fn keep_size(text: &str, new: String) -> String {
    if !text.starts_with(BLOCK) || new.len() == text.len() {
        return new;
    }
    let content = new.trim_end_matches('#');
    match text.len().checked_sub(content.len()) {
        Some(room) => content.to_owned() + &"#".repeat(room),
        // What does not fit is better left.
        None => text.to_owned(),
    }
}

/// Do GRUB's commands, or the tags and fields of [`device_tags`], say that the id is meant?
pub fn is_meant(quote: &Quote<'_>, rules: Rules<'_>) -> bool {
    device_tags::is_meant(quote, rules) || is_argument(quote)
}

fn is_argument(quote: &Quote<'_>) -> bool {
    let (lead, kind) = (quote.lead(), quote.spelling.kind);
    // `search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt2 UUID`: the last word of the command.
    if lead.ends_with([' ', '\t', '"', '\'']) {
        let mut words = lead.split([' ', '\t', ';', '"', '\'']);
        if words.any(|word| word == "search" || word == "cryptomount" || word == "search.fs_uuid") {
            return lead.contains("search.fs_uuid") || words.any(|word| word == "--fs-uuid" || word == "-u");
        }
    }
    let token = token(lead);
    match kind {
        Kind::LvmUuid => token.contains("lvmid/"),
        Kind::MdUuid => token.ends_with("mduuid/"),
        Kind::LuksUuid => token.ends_with("cryptouuid/"),
        _ => is_menu_entry_id(quote),
    }
}

/// Is it part of a menu entry's id: `gnulinux-6.1.0-9-amd64-advanced-UUID` of 10_linux, `osprober-chain-1A2B-3C4D` of
/// 30_os-prober?
pub fn is_menu_entry_id(quote: &Quote<'_>) -> bool {
    let token = token(quote.lead());
    quote.spelling.kind == Kind::FsUuid && (token.starts_with("gnulinux-") || token.starts_with("osprober-"))
}

/// What stands right before an id, from the last letter that separates words.
fn token(lead: &str) -> &str {
    lead.rsplit([' ', '\t', '"', '\'', '(', '>', '=']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::known_ids::KnownIds;
    use super::*;

    const OLD: &str = "0aaa1111-2222-4333-8444-555555555555";
    const NEW: &str = "0bbb1111-2222-4333-8444-555555555555";

    fn with(kind: Kind, text: &str) -> String {
        let ids = KnownIds::new([(kind, OLD, NEW)]);
        keep_size(text, ids.replace(text, |quote| is_meant(quote, Rules::default())))
    }

    #[test]
    fn commands_and_names() {
        let bare = |id: &str| id.replace('-', "");
        for (kind, line) in [
            (Kind::FsUuid, "\tsearch --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt2  $".to_owned()),
            (Kind::FsUuid, "search.fs_uuid $ root hd0,gpt2".to_owned()),
            (Kind::FsUuid, "if search -u --set=root '$'; then".to_owned()),
            (Kind::FsUuid, "GRUB_DEFAULT=\"gnulinux-advanced-$>gnulinux-6.1.0-9-amd64-advanced-$\"".to_owned()),
            (Kind::FsUuid, "  linux /vmlinuz root=UUID=$ ro".to_owned()),
            (Kind::LuksUuid, format!("cryptomount -u {}", "$")),
            (Kind::LuksUuid, "set prefix=(cryptouuid/$)/boot/grub".to_owned()),
            (Kind::MdUuid, "set root='mduuid/$'".to_owned()),
            (Kind::LvmUuid, "set root='lvmid/aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa/$'".to_owned()),
        ] {
            assert_eq!(with(kind, &line.replace('$', OLD)), line.replace('$', NEW));
            let without = line.replace('$', &bare(OLD));
            assert_eq!(with(kind, &without), line.replace('$', &bare(NEW)));
        }
        for line in ["search --label --set=root $", "echo '$'", "menuentry '$' {"] {
            let line = line.replace('$', OLD);
            assert_eq!(with(Kind::FsUuid, &line), line);
        }
    }

    #[test]
    fn an_environment_block_keeps_its_size() {
        let ids = KnownIds::new([(Kind::FsUuid, "1A2B-3C4D", NEW)]);
        let replace = |text: &str| keep_size(text, ids.replace(text, |quote| is_meant(quote, Rules::default())));
        let block = |value: &str| format!("{:#<1024}", format!("{BLOCK}kernelopts=root=UUID={value} ro\n"));
        assert_eq!(replace(&block("1A2B-3C4D")), block(NEW));
        let full = format!("{BLOCK}kernelopts=root=UUID=1A2B-3C4D\n");
        assert_eq!(replace(&full), full);
    }
}
