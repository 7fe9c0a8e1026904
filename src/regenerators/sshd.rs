// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest's sshd takes as host keys: its configuration with all that it includes, and the standard places.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::formats::sshd_config::{Says, default_host_keys, parse};
use crate::plan::Severity;
use crate::plan::draft::Draft;
use crate::plan::key::SshAlgorithm;
use crate::root::trim;

/// Main files, sshd(8); SUSE keeps the vendor's below /usr/etc, which is read where /etc has none.
const MAIN: [&str; 2] = ["etc/ssh/sshd_config", "usr/etc/ssh/sshd_config"];
/// Levels of `Include`, servconf.c `SERVCONF_MAX_DEPTH`.
const DEEPEST: usize = 16;

/// Host keys and certificates as sshd knows them; root-relative paths.
#[derive(Debug, Default)]
pub struct Sshd {
    /// Paths of private keys: configured ones, and those that stand in the standard places.
    pub host_keys: BTreeSet<String>,
    /// Those that `HostKey` lines name.
    pub configured: BTreeSet<String>,
    /// Host certificates that stand in the guest.
    pub certificates: BTreeSet<String>,
    /// Socket of an agent that holds keys.
    pub agent: Option<String>,
}

/// Where the key of an algorithm stands unless the configuration says otherwise, sshd_config(5) `HostKey`.
pub fn standard_path(algorithm: SshAlgorithm) -> String {
    let family = match algorithm {
        SshAlgorithm::Ed25519 => "ed25519",
        SshAlgorithm::EcdsaP256 | SshAlgorithm::EcdsaP384 | SshAlgorithm::EcdsaP521 => "ecdsa",
        SshAlgorithm::Rsa2048 | SshAlgorithm::Rsa3072 | SshAlgorithm::Rsa4096 => "rsa",
    };
    format!("etc/ssh/ssh_host_{family}_key")
}

impl Sshd {
    /// What the guest has; `None` where there is no sshd.
    pub fn find(draft: &mut Draft<'_>) -> Result<Option<Sshd>> {
        let mut sshd = Sshd::default();
        let mut configured = false;
        for main in MAIN {
            if draft.exists(main)? && !configured {
                configured = true;
                sshd.include(draft, main, 0)?;
            }
        }
        sshd.host_keys.extend(sshd.configured.iter().cloned());
        for path in draft.glob("etc/ssh/ssh_host_*_key")? {
            sshd.host_keys.insert(path);
        }
        for path in default_host_keys() {
            sshd.host_keys.insert(trim(path).to_owned());
        }
        sshd.certificates.extend(draft.glob("etc/ssh/ssh_host_*_key-cert.pub")?);
        let mut stands = false;
        for path in &sshd.host_keys {
            stands |= draft.exists(path)?;
        }
        Ok((configured || stands || draft.exists("usr/sbin/sshd")?).then_some(sshd))
    }

    fn include(&mut self, draft: &mut Draft<'_>, path: &str, depth: usize) -> Result<()> {
        let text = match draft.text(path) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(()),
            // The keys in the standard places must go all the same.
            Err(error) => {
                draft.finding(
                    Severity::Warning,
                    &format!("/{path}"),
                    format!("host keys that it names are not known: {error:#}"),
                );
                return Ok(());
            }
        };
        let config = parse(&text);
        for refused in &config.refused {
            let message = format!("line {}: {}; sshd refuses the file", refused.line, refused.why);
            draft.finding(Severity::Warning, &format!("/{path}"), message);
        }
        for directive in config.directives {
            match directive.says {
                Says::HostKey(none) if none.eq_ignore_ascii_case("none") => {}
                // The private half is the agent's.
                Says::HostKey(path) if path.ends_with(".pub") => self.agent = self.agent.take().or(Some(path)),
                Says::HostKey(path) => {
                    let path = path.strip_prefix('~').map_or(path.clone(), |below| format!("/root{below}"));
                    self.configured.insert(trim(&path).to_owned());
                }
                Says::HostCertificate(path) => {
                    self.certificates.insert(trim(&path).to_owned());
                }
                Says::HostKeyAgent(socket) => self.agent = Some(socket),
                Says::Include(patterns) if depth < DEEPEST => {
                    for pattern in patterns {
                        let pattern = if pattern.starts_with('/') { pattern } else { format!("/etc/ssh/{pattern}") };
                        for path in draft.glob(&pattern)? {
                            self.include(draft, &path, depth + 1)?;
                        }
                    }
                }
                Says::Include(_) => {
                    let message = format!("line {}: included more than {DEEPEST} levels deep", directive.line);
                    draft.finding(Severity::Warning, &format!("/{path}"), message);
                }
            }
        }
        Ok(())
    }
}
