// SPDX-License-Identifier: MIT OR Apache-2.0
//! How far a scan has come, on a terminal and nowhere else.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::root::Root;

/// Cells of the bar.
const WIDTH: u64 = 24;

/// What was looked at so far; counted by all threads.
#[derive(Debug, Default)]
pub struct Progress {
    /// Regular files.
    pub files: AtomicU64,
    /// Bytes that were read of them.
    pub bytes: AtomicU64,
    over: AtomicBool,
}

impl Progress {
    /// Counts a file.
    pub fn add(&self, bytes: u64) {
        self.files.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Shows a bar while `work` runs, if standard error is a terminal.
    pub fn during<T>(&self, root: &Root, work: impl FnOnce() -> T) -> T {
        if !std::io::stderr().is_terminal() {
            return work();
        }
        let whole = in_use(root);
        std::thread::scope(|scope| {
            let shown = scope.spawn(|| {
                while !self.over.load(Relaxed) {
                    std::thread::park_timeout(Duration::from_millis(200));
                    eprint!("\r{}\x1b[K", self.line(whole));
                    let _ = std::io::stderr().flush();
                }
                eprint!("\r\x1b[K");
            });
            let result = work();
            self.over.store(true, Relaxed);
            shown.thread().unpark();
            result
        })
    }

    /// The bar is of what the root's file system holds, which is right for a whole machine; a tree in a larger file system
    /// gets numbers alone.
    fn line(&self, whole: Option<u64>) -> String {
        let (files, bytes) = (self.files.load(Relaxed), self.bytes.load(Relaxed));
        let numbers = format!("{files} files, {:.1} GB", bytes as f64 / 1e9);
        let Some(whole) = whole.filter(|whole| *whole > 0) else { return format!("scanning: {numbers}") };
        let part = (bytes.min(whole) * 100 / whole).min(99);
        let full = part * WIDTH / 100;
        let bar: String = (0..WIDTH).map(|cell| if cell < full { '#' } else { '.' }).collect();
        format!("[{bar}] {part:2} % {numbers}")
    }
}

/// Bytes in use on the file system whose root directory this is; `None` for a tree inside another.
fn in_use(root: &Root) -> Option<u64> {
    let above = nix::sys::stat::fstatat(root.as_dir(), "..", nix::fcntl::AtFlags::empty()).ok()?;
    let here = nix::sys::stat::fstat(root.as_dir()).ok()?;
    let is_top = above.st_dev != here.st_dev || above.st_ino == here.st_ino;
    let all = nix::sys::statvfs::fstatvfs(root.as_dir()).ok()?;
    is_top.then(|| all.blocks().saturating_sub(all.blocks_free()).saturating_mul(all.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_never_says_more_than_is_known() {
        let progress = Progress::default();
        assert_eq!(progress.line(None), "scanning: 0 files, 0.0 GB");
        progress.add(3_000_000_000);
        assert_eq!(
            progress.line(Some(4_000_000_000)),
            format!("[{}{}] 75 % 1 files, 3.0 GB", "#".repeat(18), ".".repeat(6))
        );
        assert!(progress.line(Some(1)).contains("] 99 % 1 files"));
        assert!(progress.line(Some(0)).starts_with("scanning"));
    }
}
