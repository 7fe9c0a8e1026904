// SPDX-License-Identifier: MIT OR Apache-2.0
//! Secrets that take the place of others in their files: drawn here, written, and kept nowhere else.

use anyhow::{Context as _, Result, ensure};
use zeroize::Zeroizing;

use super::tools::Program;
use super::writer::Writer;
use crate::guest::Guest;
use crate::keys::secret;
use crate::plan::key::Secret;
use crate::plan::tag;
use crate::root::Kind;

/// Draws a new secret. A certificate is written first: as long as the old key stands, the step is done again.
pub fn renew(guest: &Guest, path: &str, wanted: &Secret) -> Result<()> {
    let root = &guest.root;
    let file = |path: &str| root.stat(path)?.filter(|stat| stat.kind == Kind::File).context("it is no file");
    let writer = Writer::new(root);
    let meta = file(path).with_context(|| format!("looking at /{path}"))?.meta;
    let old = Zeroizing::new(root.read(path)?.with_context(|| format!("/{path} is gone"))?);
    let beside = match wanted {
        Secret::Certificate { certificate, .. } if certificate != path => Some(certificate),
        _ => None,
    };
    let certificate = beside.map(|path| root.read(path)?.with_context(|| format!("/{path} is gone"))).transpose()?;
    let made = secret::renew(&old, certificate.as_deref(), wanted)?;
    if let (Some(path), Some(content)) = (beside, &made.certificate) {
        let meta = file(path).with_context(|| format!("looking at /{path}"))?.meta;
        writer.put(path, content, meta)?;
    }
    writer.put(path, &made.file, meta)
}

/// Does the file hold another secret than the one with this tag, or none?
pub fn is_renewed(guest: &Guest, path: &str, wanted: &Secret, old: &str) -> Result<bool> {
    let Some(file) = guest.root.read(path)?.map(Zeroizing::new) else { return Ok(true) };
    Ok(secret::held(&file, wanted)?.is_none_or(|held| tag(held) != old))
}

/// Runs a program that is to make a file anew.
pub fn run(guest: &Guest, path: &str, command: &[String], old: &str) -> Result<()> {
    ensure!(guest.running && guest.root.is_running_system(), "programs are run only in the running system");
    let (name, arguments) = command.split_first().context("no program is named")?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Program { name, arguments: &arguments, ..Program::default() }.run()?;
    ensure!(has_run(guest, path, old)?, "{name} ran, and /{path} is as it was");
    Ok(())
}

/// Is the file another one than that with this tag?
pub fn has_run(guest: &Guest, path: &str, old: &str) -> Result<bool> {
    Ok(guest.root.read(path)?.is_some_and(|file| tag(&file) != old))
}
