// SPDX-License-Identifier: MIT OR Apache-2.0
//! `KEY=value` lines of shell fragments and of configuration files alike; every other line is kept byte for byte.
//!
//! Blanks around `=` are allowed, as in postfix's and Zabbix's files, and so is a value in quotes, as in sh.

/// The value of the last assignment to `key`, without its quotes.
pub fn value(text: &str, key: &str) -> Option<String> {
    text.lines().rev().find_map(|line| Some(split(line, key)?.1.trim().trim_matches(['"', '\'']).to_owned()))
}

/// `text` with every assignment to `key` given this value, in the quotes that stand there.
pub fn set(text: &str, key: &str, new: &str) -> String {
    edit(text, key, |value| {
        let bare = value.trim();
        let quote = bare.chars().next().filter(|first| "\"'".contains(*first)).map_or(String::new(), String::from);
        let lead = &value[..value.len() - value.trim_start().len()];
        format!("{lead}{quote}{new}{quote}")
    })
}

/// `text` with the value of every assignment to `key` put through `change`; the value comes as it stands after `=`.
pub fn edit(text: &str, key: &str, change: impl Fn(&str) -> String) -> String {
    text.split_inclusive('\n')
        .map(|line| {
            let (body, end) = line.split_at(line.trim_end_matches(['\n', '\r']).len());
            match split(body, key) {
                Some((start, value)) => format!("{start}{}{end}", change(value)),
                None => line.to_owned(),
            }
        })
        .collect()
}

/// `text` without the assignments to `key`.
pub fn remove(text: &str, key: &str) -> String {
    text.split_inclusive('\n').filter(|line| split(line.trim_end_matches(['\n', '\r']), key).is_none()).collect()
}

/// What stands up to `=`, and the value after it, when the line assigns to `key`.
fn split<'a>(line: &'a str, key: &str) -> Option<(&'a str, &'a str)> {
    let at = line.find('=')?;
    let name = line[..at].trim();
    let name = name.strip_prefix("export ").unwrap_or(name);
    (name.trim() == key).then(|| line.split_at(at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_changes_in_its_own_style() {
        let text = "# HOSTNAME=no\nNETWORKING=yes\r\nHOSTNAME=\"tmpl\"\r\nexport X = a\n";
        assert_eq!(value(text, "HOSTNAME").as_deref(), Some("tmpl"));
        assert_eq!(value(text, "X").as_deref(), Some("a"));
        assert_eq!(value(text, "Y"), None);
        assert_eq!(set(text, "HOSTNAME", "web"), text.replace("tmpl", "web"));
        assert_eq!(set("k = old", "k", "new"), "k = new");
        assert_eq!(remove(text, "HOSTNAME"), "# HOSTNAME=no\nNETWORKING=yes\r\nexport X = a\n");
        assert_eq!(set(text, "Y", "z"), text);
    }
}
