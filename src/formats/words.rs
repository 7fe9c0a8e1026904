// SPDX-License-Identifier: MIT OR Apache-2.0
//! Replacing whole words in text: a host name as a host name, an id as an id, never a part of a longer one.

/// Replaces `old` wherever it stands as a word of its own: no character for which `inside` holds is next to it.
pub fn replace_word(text: &str, old: &str, new: &str, inside: impl Fn(char) -> bool) -> String {
    if old.is_empty() {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(old) {
        let end = at + old.len();
        let before = rest[..at].chars().next_back().or_else(|| out.chars().next_back());
        let after = rest[end..].chars().next();
        let alone = !before.is_some_and(&inside) && !after.is_some_and(&inside);
        out.push_str(&rest[..at]);
        out.push_str(if alone { new } else { old });
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// Replaces an id of hexadecimal digits where it stands alone.
pub fn replace_hex(text: &str, old: &str, new: &str) -> String {
    replace_word(text, old, new, |next| next.is_ascii_hexdigit())
}

/// Replaces a host name where it stands alone: letters, digits, `-`, `_` and `.` belong to a name.
pub fn replace_name(text: &str, old: &str, new: &str) -> String {
    replace_word(text, old, new, |next| next.is_ascii_alphanumeric() || "-_.".contains(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_change() {
        assert_eq!(
            replace_name("tmpl tmpl2 my-tmpl tmpl.lan (tmpl)", "tmpl", "new"),
            "new tmpl2 my-tmpl tmpl.lan (new)"
        );
        assert_eq!(replace_name("tmpl,tmpl", "tmpl", "x"), "x,x");
        assert_eq!(replace_name("tmpltmpl", "tmpl", "x"), "tmpltmpl");
        assert_eq!(replace_name("a", "", "x"), "a");
        assert_eq!(replace_hex("id-abc-1 0abc xyzabc", "abc", "def"), "id-def-1 0abc xyzdef");
    }
}
