// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal audit`: which identities do the guests of a fleet share?

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::scratch::Scratch;
use super::{Exit, Usage, is_human, print};
use crate::audit::{self, Allowed, Report};
use crate::cli::{Audit, Options};

/// Bytes that are read at a time.
const READ: usize = 1 << 20;
/// Broken documents that are named on standard error; the report has more.
const MOST_TOLD: usize = 50;

/// Runs the command.
pub fn run(options: &Options, asked: &Audit) -> Result<Exit> {
    let allowed = asked.allow.iter().map(|text| Allowed::read(text)).collect::<Result<Vec<_>>>();
    let allowed = allowed.map_err(|error| Usage(format!("reading --allow: {error:#}")))?;
    let page = asked.html.as_deref().map(Page::new).transpose()?;
    let mut audit = audit::Audit::new(allowed, Scratch::file);
    for path in &asked.inventories {
        read(&mut audit, path)?;
    }
    let mut report = audit.finish()?;
    for broken in report.broken.iter().take(MOST_TOLD) {
        let text = format!("{}: {}", broken.place, broken.message);
        eprintln!("reseal: {}", crate::plan::show::printable(&text));
    }
    if let Some(page) = page {
        page.write(&report)?;
    }
    match is_human(options) {
        true => print(&audit::human(&report))?,
        false => write_json(&mut report)?,
    }
    Ok(if report.shared() == 0 { Exit::Done } else { Exit::Leftovers })
}

/// Reads standard input, a file, or every file of a directory whose name ends as an inventory's does.
fn read(audit: &mut audit::Audit, path: &Path) -> Result<()> {
    if path == Path::new("-") {
        return audit.read("-", BufReader::with_capacity(READ, io::stdin().lock()));
    }
    let name = path.to_string_lossy();
    if !path.is_dir() {
        match File::open(path) {
            Ok(file) => audit.read(&name, BufReader::with_capacity(READ, file))?,
            Err(error) => audit.unreadable(&name, &error),
        }
        return Ok(());
    }
    let ends =
        |path: &Path| path.extension().is_some_and(|end| ["json", "ndjson", "jsonl"].iter().any(|known| end == *known));
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut files = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        files.retain(|file| ends(file) && !file.is_dir());
        files.sort();
        Ok(files)
    };
    match list() {
        Ok(files) => files.iter().try_for_each(|file| read(audit, file))?,
        Err(error) => audit.unreadable(&name, &error),
    }
    Ok(())
}

fn write_json(report: &mut Report) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match report.write_json(&mut out) {
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            Ok(())
        }
        result => result.context("writing to standard output"),
    }
}

/// The page's file, written beside it and renamed when it is whole.
struct Page {
    path: PathBuf,
    beside: PathBuf,
    file: File,
}

impl Page {
    /// Begins it before the work, so that a place that cannot be written is told at once.
    fn new(path: &Path) -> Result<Page> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}.new", std::process::id()));
        let beside = PathBuf::from(beside);
        let file = File::create_new(&beside).map_err(|error| Usage(format!("writing {}: {error}", path.display())))?;
        Ok(Page { path: path.to_owned(), beside, file })
    }

    fn write(&self, report: &Report) -> Result<()> {
        let write = || -> io::Result<()> {
            let mut out = BufWriter::with_capacity(READ, &self.file);
            audit::page(report, &mut out)?;
            out.flush()?;
            fs::rename(&self.beside, &self.path)
        };
        write().with_context(|| format!("writing {}", self.path.display()))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // Gone when it was renamed.
        let _ = fs::remove_file(&self.beside);
    }
}
