// SPDX-License-Identifier: MIT OR Apache-2.0
//! sshd_config(5), as far as it names host keys: the server's private keys, their certificates, their agent.
//!
//! Lines are taken apart as sshd does it: the keyword as in `strdelim()`, the arguments as in `argv_split()`, both in
//! OpenSSH's misc.c.

/// The host keys that sshd loads when its configuration names none, sshd_config(5), HostKey.
pub fn default_host_keys() -> [&'static str; 3] {
    ["/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_ed25519_key"]
}

/// What one file says of host keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The directives that were found, in the order of the file.
    pub directives: Vec<Directive>,
    /// Lines that should have been such a directive but that sshd refuses, and with them the whole configuration.
    pub refused: Vec<Refused>,
}

/// One directive and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Line number, from 1.
    pub line: usize,
    /// Does it stand in a `Match` block? Of these only `Include` may, and what such a file holds counts as within the
    /// block, too: sshd refuses a host key there.
    pub in_match: bool,
    /// What it says.
    pub says: Says,
}

/// What a directive says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// `HostKey`: path of a private key, or of a public key whose private one the agent holds; `none`, in any case, for
    /// none. A `~` is root's home; a relative path is relative to where sshd was started, under systemd `/`.
    HostKey(String),
    /// `HostCertificate`: path of a certificate for one of the host keys.
    HostCertificate(String),
    /// `HostKeyAgent`: socket of an agent, or `SSH_AUTH_SOCK`.
    HostKeyAgent(String),
    /// `Include`: patterns as in glob(7), one after the other; a relative one is relative to `/etc/ssh`.
    Include(Vec<String>),
}

/// A line that sshd refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it, as a clause.
    pub why: &'static str,
}

/// Reads one file. What it includes is for the caller to find and to read.
pub fn parse(text: &str) -> Config {
    let mut config = Config::default();
    let mut in_match = false;
    for (line, text) in (1..).zip(text.lines()) {
        let (keyword, rest) = split_keyword(text);
        let says = match keyword.to_ascii_lowercase().as_str() {
            // `Match all` matches when the server starts, too, and so ends the block.
            "match" => {
                in_match = !only(rest).is_ok_and(|criterion| criterion.eq_ignore_ascii_case("all"));
                continue;
            }
            // The second is the old name of the first, which servconf.c still takes.
            "hostkey" | "hostdsakey" => only(rest).map(Says::HostKey),
            "hostcertificate" => only(rest).map(Says::HostCertificate),
            "hostkeyagent" => only(rest).map(Says::HostKeyAgent),
            "include" => some(rest).map(Says::Include),
            _ => continue,
        };
        match says {
            Ok(says) if in_match && !matches!(says, Says::Include(_)) => {
                config.refused.push(Refused { line, why: "it is not allowed within a Match block" });
            }
            Ok(says) => config.directives.push(Directive { line, in_match, says }),
            Err(why) => config.refused.push(Refused { line, why }),
        }
    }
    config
}

/// The keyword, which may be quoted, and what follows it: blanks, or one `=` among them. A comment has no keyword.
fn split_keyword(line: &str) -> (&str, &str) {
    const BLANK: [char; 3] = [' ', '\t', '\r'];
    let line = line.trim_start_matches(BLANK).trim_end_matches(['\x0c', ' ', '\t', '\r']);
    if line.starts_with('#') {
        return ("", "");
    }
    if let Some(quoted) = line.strip_prefix('"').and_then(|line| line.split_once('"')) {
        return quoted;
    }
    let (keyword, rest) = line.split_at(line.find([' ', '\t', '\r', '=']).unwrap_or(line.len()));
    let rest = rest.trim_start_matches(BLANK);
    (keyword, rest.strip_prefix('=').unwrap_or(rest))
}

/// The words of a line: quotes hold blanks together, a backslash frees a quote, a backslash or, outside quotes, a
/// blank from its meaning, and a `#` at the start of a word begins a comment.
fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&start) = chars.peek() {
        match start {
            ' ' | '\t' => drop(chars.next()),
            '#' => break,
            _ => {
                let mut word = String::new();
                let mut quote = None;
                while let Some(next) = chars.next_if(|&c| quote.is_some() || !matches!(c, ' ' | '\t')) {
                    match (next, quote) {
                        ('\\', _) => {
                            let freed = |&c: &char| matches!(c, '\'' | '"' | '\\') || quote.is_none() && c == ' ';
                            word.push(chars.next_if(freed).unwrap_or('\\'));
                        }
                        ('"' | '\'', None) => quote = Some(next),
                        (_, Some(open)) if next == open => quote = None,
                        _ => word.push(next),
                    }
                }
                if quote.is_some() {
                    return Err("a quote is not closed");
                }
                words.push(word);
            }
        }
    }
    Ok(words)
}

fn some(rest: &str) -> Result<Vec<String>, &'static str> {
    let words = words(rest)?;
    if words.is_empty() || words.iter().any(String::is_empty) { Err("the argument is missing") } else { Ok(words) }
}

fn only(rest: &str) -> Result<String, &'static str> {
    match <[String; 1]>::try_from(some(rest)?) {
        Ok([word]) => Ok(word),
        Err(_) => Err("more than one argument"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<Says> {
        let config = parse(text);
        assert_eq!(config.refused, [], "{text}");
        config.directives.into_iter().map(|directive| directive.says).collect()
    }

    fn host_key(path: &str) -> Says {
        Says::HostKey(path.into())
    }

    fn include(patterns: &[&str]) -> Says {
        Says::Include(patterns.iter().map(|&pattern| pattern.into()).collect())
    }

    #[test]
    fn debian_12() {
        let text = "\
# This is the sshd server system-wide configuration file.

Include /etc/ssh/sshd_config.d/*.conf

#Port 22
#HostKey /etc/ssh/ssh_host_rsa_key
#HostKey /etc/ssh/ssh_host_ecdsa_key
KbdInteractiveAuthentication no
UsePAM yes
AcceptEnv LANG LC_*
Subsystem\tsftp\t/usr/lib/openssh/sftp-server
# Example of overriding settings on a per-user basis
#Match User anoncvs
#\tPermitTTY no
";
        let expected = Directive { line: 3, in_match: false, says: include(&["/etc/ssh/sshd_config.d/*.conf"]) };
        assert_eq!(parse(text), Config { directives: vec![expected], refused: vec![] });
    }

    #[test]
    fn rhel_9() {
        let text = "\
# To modify the system-wide sshd configuration, create a  *.conf  file under
#  /etc/ssh/sshd_config.d/  which will be automatically included below
Include /etc/ssh/sshd_config.d/*.conf

# semanage port -a -t ssh_port_t -p tcp #PORTNUMBER
#HostKey /etc/ssh/ssh_host_rsa_key
AuthorizedKeysFile\t.ssh/authorized_keys
Subsystem\tsftp\t/usr/libexec/openssh/sftp-server
";
        assert_eq!(said(text), [include(&["/etc/ssh/sshd_config.d/*.conf"])]);
        let rhel_7 = "\
HostKey /etc/ssh/ssh_host_rsa_key
#HostKey /etc/ssh/ssh_host_dsa_key
HostKey /etc/ssh/ssh_host_ecdsa_key
HostKey /etc/ssh/ssh_host_ed25519_key
SyslogFacility AUTHPRIV
";
        assert_eq!(said(rhel_7), default_host_keys().map(host_key));
    }

    #[test]
    fn keyword_and_argument_in_all_their_spellings() {
        for line in [
            "HostKey /k",
            "hostkey /k",
            "HOSTKEY\t/k",
            "  HostKey   /k  \t",
            "HostKey=/k",
            "HostKey = /k",
            "HostKey =/k",
            "HostKey \"/k\"",
            "\"HostKey\" /k",
            "HostDSAKey /k",
            "HostKey='/k'",
            "HostKey /k # the key",
            "HostKey /k\r",
            "HostKey /'k'",
        ] {
            assert_eq!(said(line), [host_key("/k")], "{line}");
        }
        assert_eq!(said("HostKey \"/a key#1\""), [host_key("/a key#1")]);
        assert_eq!(said("HostKey /a\\ key#1"), [host_key("/a key#1")]);
        assert_eq!(said(r#"HostKey "/a\"b\\c\d""#), [host_key(r#"/a"b\c\d"#)]);
        assert_eq!(said("HostKey none"), [host_key("none")]);
        assert_eq!(said("HostKey\"/k\"\nHostKeys /k\nHostKeyAlgorithms ssh-rsa\n#HostKey /k\n  # HostKey /k\n\n"), []);
    }

    #[test]
    fn every_directive_in_its_order() {
        let text = "Include a.conf \"b c.conf\" d/*.conf\nHostKeyAgent SSH_AUTH_SOCK\n\
                    HostCertificate /c-cert.pub\nHostKey /k";
        let expected = [
            include(&["a.conf", "b c.conf", "d/*.conf"]),
            Says::HostKeyAgent("SSH_AUTH_SOCK".into()),
            Says::HostCertificate("/c-cert.pub".into()),
            host_key("/k"),
        ];
        assert_eq!(said(text), expected);
    }

    #[test]
    fn within_a_match_block_no_host_key() {
        let config = parse(
            "HostKey /k\nMatch User git\n  Include git.conf\n  HostKey /no\n\
                            Match User all,x\nHostCertificate /no\nmatch All\nInclude z\nHostKey /k2",
        );
        let found: Vec<_> = config.directives.iter().map(|d| (d.line, d.in_match)).collect();
        assert_eq!(found, [(1, false), (3, true), (8, false), (9, false)]);
        let why = "it is not allowed within a Match block";
        assert_eq!(config.refused, [Refused { line: 4, why }, Refused { line: 6, why }]);
    }

    #[test]
    fn what_sshd_refuses_is_told() {
        for (line, why) in [
            ("HostKey", "the argument is missing"),
            ("HostKey \"\"", "the argument is missing"),
            ("Include # all", "the argument is missing"),
            ("HostKey \"/k", "a quote is not closed"),
            ("HostKey /a /b", "more than one argument"),
        ] {
            assert_eq!(parse(line), Config { directives: vec![], refused: vec![Refused { line: 1, why }] }, "{line}");
        }
    }
}
