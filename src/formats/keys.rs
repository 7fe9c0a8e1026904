// SPDX-License-Identifier: MIT OR Apache-2.0
//! `key = value` lines whose value goes on in lines that start with a blank, postconf(5); all else byte for byte.

/// `text` with the value of every assignment to one of `keys` put through `change`, a piece of a line at a time.
/// Keys are compared without regard to case, as Zabbix, Samba and Avahi do; none of these files has two that differ by it.
pub fn edit(text: &str, keys: &[String], change: impl Fn(&str) -> String) -> String {
    let mut inside = false;
    text.split_inclusive('\n')
        .map(|line| {
            let bare = line.trim_start();
            if bare.is_empty() || bare.starts_with(['#', ';']) {
                return line.to_owned();
            }
            let continues = line.len() > bare.len();
            let named = line.find('=').filter(|at| keys.iter().any(|key| key.eq_ignore_ascii_case(line[..*at].trim())));
            if let Some(at) = named {
                inside = true;
                return format!("{}{}", &line[..=at], change(&line[at + 1..]));
            }
            inside &= continues && !line.contains('=');
            if inside { change(line) } else { line.to_owned() }
        })
        .collect()
}

/// Kernel command line words `key=value`, kernel-command-line(7), wherever they stand: the word ends at a blank or quote.
pub fn edit_words(text: &str, key: &str, old: &str, new: &str) -> String {
    let word = format!("{key}={old}");
    let inside = |next: char| !next.is_whitespace() && !"\"'".contains(next);
    super::words::replace_word(text, &word, &format!("{key}={new}"), inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_their_continuations_change() {
        let text = "# mydestination = a\nmydestination = $myhostname,\n\ta,\n  localhost\nrelay = a\n\ta\n";
        let keys = ["mydestination".to_owned()];
        let new = edit(text, &keys, |value| value.replace('a', "X"));
        assert_eq!(new, "# mydestination = a\nmydestination = $myhostnXme,\n\tX,\n  locXlhost\nrelay = a\n\ta\n");
        assert_eq!(edit(text, &[], |_| String::new()), text);
    }

    #[test]
    fn a_kernel_word_changes_whole() {
        let text =
            "options root=UUID=1 systemd.machine_id=aa quiet\nX=\"systemd.machine_id=aa\" systemd.machine_id=aab";
        let new = edit_words(text, "systemd.machine_id", "aa", "bb");
        assert_eq!(
            new,
            "options root=UUID=1 systemd.machine_id=bb quiet\nX=\"systemd.machine_id=bb\" systemd.machine_id=aab"
        );
    }
}
