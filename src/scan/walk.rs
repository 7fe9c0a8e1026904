// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every directory of a guest, once, by several threads; links are never followed, and other machines' files left out.

mod mounts;

use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::num::NonZero;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use rustix::fs::{FileType, RawDir};

use crate::root::Root;

/// More threads only wait for the disk.
const MOST_THREADS: usize = 8;

/// Files that one thread takes of a directory at a time.
const AT_ONCE: usize = 32;

/// Longest path that the kernel takes at once, in bytes; path_resolution(7).
const LONGEST_PATH: usize = 4000;

/// Mounts and links that are remembered, so that nothing is read twice. Beyond, something may be, and is told twice.
const MOST_KNOWN: usize = 500_000;

/// A directory that is open.
#[derive(Debug)]
pub struct Dir {
    /// It.
    pub fd: OwnedFd,
    /// Its path below the root, without slashes at its ends; empty for the root.
    pub path: Vec<u8>,
    /// May everybody look into it?
    pub public: bool,
    /// The file system that it is on.
    device: u64,
}

/// What stands in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: FileType,
}

/// A regular file that is open for reading.
#[derive(Debug)]
pub struct File<'a> {
    /// The directory that it stands in.
    pub dir: &'a Dir,
    /// Its name there.
    pub name: &'a [u8],
    /// It.
    pub fd: OwnedFd,
    /// Size, owner and the rest.
    pub stat: FileStat,
}

impl File<'_> {
    /// May everybody read it? Only such content is ever shown.
    pub fn is_public(&self) -> bool {
        self.dir.public && self.stat.st_mode & 0o004 != 0
    }

    /// Its path below the root.
    pub fn path(&self) -> Vec<u8> {
        self.dir.path_of(self.name)
    }
}

impl Dir {
    /// The path of an entry below the root.
    pub fn path_of(&self, name: &[u8]) -> Vec<u8> {
        if self.path.is_empty() { name.to_vec() } else { [&self.path[..], b"/", name].concat() }
    }
}

/// What is done with what is found; every thread has a value of its own for what it keeps.
pub trait Visitor: Sync {
    /// What a thread keeps.
    type Local: Send;
    /// For a new thread.
    fn local(&self) -> Self::Local;
    /// Everything that stands in a directory, once.
    fn directory(&self, local: &mut Self::Local, dir: &Dir, entries: &[Entry]);
    /// A regular file that is not empty, once however many names it has.
    ///
    /// # Errors
    /// When it cannot be read; it is noted.
    fn file(&self, local: &mut Self::Local, file: File<'_>) -> Result<(), Errno>;
}

/// What was not looked at.
#[derive(Debug, Default)]
pub struct Unseen {
    /// Paths that could not be read, and why; the first ones.
    pub unread: Vec<(Vec<u8>, String)>,
    /// How many there are.
    pub unread_count: usize,
    /// Mounted file systems that were left out, and what they are.
    pub left_out: Vec<(Vec<u8>, String)>,
}

enum Task {
    Dir { path: Vec<u8>, public: bool, device: u64 },
    Files { dir: Arc<Dir>, entries: Vec<Entry> },
}

struct Tasks {
    waiting: Vec<Task>,
    working: usize,
}

/// A walk in progress.
pub struct Walk<'a, V> {
    root: &'a Root,
    visitor: &'a V,
    tasks: Mutex<Tasks>,
    more: Condvar,
    unseen: Mutex<Unseen>,
    known: Mutex<HashSet<(u64, u64)>>,
    /// The file system of the root directory: it is looked at, whatever it is.
    home: u64,
}

/// Poisoned or not: a thread that panicked ends the whole walk anyway.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a, V: Visitor> Walk<'a, V> {
    /// Walks the whole tree; gives what each thread kept.
    ///
    /// # Errors
    /// When the root itself cannot be read.
    pub fn run(root: &'a Root, visitor: &'a V) -> Result<(Vec<V::Local>, Unseen), Errno> {
        let stat = fstat(root.as_dir())?;
        let first = Task::Dir { path: Vec::new(), public: true, device: stat.st_dev };
        let walk = Walk {
            root,
            visitor,
            tasks: Mutex::new(Tasks { waiting: vec![first], working: 0 }),
            more: Condvar::new(),
            unseen: Mutex::default(),
            known: Mutex::default(),
            home: stat.st_dev,
        };
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
        let kept = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| walk.work())).collect();
            let joined = threads.into_iter().map(|thread| match thread.join() {
                Ok(local) => local,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect()
        });
        Ok((kept, walk.unseen.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    fn work(&self) -> V::Local {
        let mut local = self.visitor.local();
        let mut space = vec![MaybeUninit::uninit(); 32 << 10];
        while let Some(task) = self.next() {
            match task {
                Task::Dir { path, public, device } => self.directory(&mut local, path, public, device, &mut space),
                Task::Files { dir, entries } => {
                    entries.iter().for_each(|entry| self.file(&mut local, &dir, &entry.name));
                }
            }
            let mut tasks = lock(&self.tasks);
            tasks.working -= 1;
            if tasks.working == 0 && tasks.waiting.is_empty() {
                self.more.notify_all();
            }
        }
        local
    }

    /// The newest task first, so that few directories wait at a time.
    fn next(&self) -> Option<Task> {
        let mut tasks = lock(&self.tasks);
        loop {
            if let Some(task) = tasks.waiting.pop() {
                tasks.working += 1;
                return Some(task);
            }
            if tasks.working == 0 {
                return None;
            }
            tasks = self.more.wait(tasks).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn add(&self, new: Vec<Task>) {
        if !new.is_empty() {
            lock(&self.tasks).waiting.extend(new);
            self.more.notify_all();
        }
    }

    fn directory(&self, local: &mut V::Local, path: Vec<u8>, public: bool, device: u64, space: &mut [MaybeUninit<u8>]) {
        let (dir, entries) = match self.open(&path, public, device).and_then(|dir| {
            let Some(dir) = dir else { return Ok(None) };
            list(&dir.fd, space).map(|entries| Some((dir, entries)))
        }) {
            Ok(Some(opened)) => opened,
            Ok(None) | Err(Errno::ENOENT | Errno::ENOTDIR) => return,
            Err(errno) => return self.unread(path, errno),
        };
        self.visitor.directory(local, &dir, &entries);
        let below = |entry: &Entry| entry.kind == FileType::Directory;
        let tasks = entries.iter().filter(|entry| below(entry)).map(|entry| Task::Dir {
            path: dir.path_of(&entry.name),
            public: dir.public,
            device: dir.device,
        });
        self.add(tasks.collect());
        let mut files: Vec<Entry> = entries.into_iter().filter(|entry| entry.kind == FileType::RegularFile).collect();
        let dir = Arc::new(dir);
        let mut shared = Vec::new();
        while files.len() > AT_ONCE {
            let entries = files.split_off(files.len() - AT_ONCE);
            shared.push(Task::Files { dir: Arc::clone(&dir), entries });
        }
        self.add(shared);
        files.iter().for_each(|entry| self.file(local, &dir, &entry.name));
    }

    fn file(&self, local: &mut V::Local, dir: &Dir, name: &[u8]) {
        let seen = open_file(&dir.fd, name).and_then(|fd| {
            let Some(fd) = fd else { return Ok(()) };
            let stat = fstat(&fd)?;
            let is_file = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
            if !is_file || stat.st_size == 0 || stat.st_nlink > 1 && !self.is_new(stat.st_dev, stat.st_ino) {
                return Ok(());
            }
            self.visitor.file(local, File { dir, name, fd, stat })
        });
        if let Err(errno) = seen {
            self.unread(dir.path_of(name), errno);
        }
    }

    /// Opens a directory; `None` where it is not to be looked into.
    fn open(&self, path: &[u8], public: bool, device: u64) -> Result<Option<Dir>, Errno> {
        let fd = open_below(self.root.as_dir().as_fd(), path)?;
        let stat = fstat(&fd)?;
        if stat.st_dev != device
            && stat.st_dev != self.home
            && let Some(what) = mounts::left_out(&fd)?
        {
            lock(&self.unseen).left_out.push((path.to_vec(), what));
            return Ok(None);
        }
        // A directory that is mounted a second time was seen.
        if stat.st_dev != device && !self.is_new(stat.st_dev, stat.st_ino) {
            return Ok(None);
        }
        let public = public && stat.st_mode & 0o001 != 0;
        Ok(Some(Dir { fd, path: path.to_vec(), public, device: stat.st_dev }))
    }

    /// Was it not seen yet?
    fn is_new(&self, device: u64, number: u64) -> bool {
        let mut known = lock(&self.known);
        if known.len() < MOST_KNOWN { known.insert((device, number)) } else { !known.contains(&(device, number)) }
    }

    fn unread(&self, path: Vec<u8>, errno: Errno) {
        lock(&self.unseen).unread(path, errno.desc());
    }
}

impl Unseen {
    /// Most paths that are kept by name.
    const MOST: usize = 100;

    /// Notes what could not be read.
    pub fn unread(&mut self, path: Vec<u8>, why: &str) {
        self.unread_count += 1;
        if self.unread.len() < Unseen::MOST {
            self.unread.push((path, why.to_owned()));
        }
    }
}

/// Opens a regular file of the guest for reading, no link on the way followed.
///
/// # Errors
/// When it is none, or cannot be opened.
pub fn open(root: &Root, path: &[u8]) -> Result<OwnedFd, Errno> {
    let at = path.iter().rposition(|byte| *byte == b'/');
    let (parent, name) = at.map_or((&b""[..], path), |at| (&path[..at], &path[at + 1..]));
    let dir = open_below(root.as_dir().as_fd(), parent)?;
    let fd = open_file(&dir, name)?.ok_or(Errno::ENOENT)?;
    let is_file = SFlag::from_bits_truncate(fstat(&fd)?.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
    if is_file { Ok(fd) } else { Err(Errno::EINVAL) }
}

/// `None` when it is no regular file any more.
fn open_file(dir: &OwnedFd, name: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    // A fifo that took its place must not block, and nothing is to show that the file was read.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let opened = match openat(dir, name, flags | OFlag::O_NOATIME, Mode::empty()) {
        // Only the owner may leave no trace, open(2).
        Err(Errno::EPERM) => openat(dir, name, flags, Mode::empty()),
        opened => opened,
    };
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO | Errno::ENODEV) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Opens a directory below another, no link on the way followed, whatever its depth.
fn open_below(from: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    if path.is_empty() {
        return openat(from, ".", flags, Mode::empty());
    }
    if path.len() < LONGEST_PATH {
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        match openat2(from, path, OpenHow::new().flags(flags).resolve(resolve)) {
            // Linux before 5.6, and sandboxes.
            Err(Errno::ENOSYS | Errno::EPERM) => {}
            opened => return opened,
        }
    }
    let mut here: Option<OwnedFd> = None;
    for name in path.split(|byte| *byte == b'/') {
        let dir = here.as_ref().map_or(from, OwnedFd::as_fd);
        here = Some(openat(dir, name, flags, Mode::empty())?);
    }
    here.ok_or(Errno::ENOENT)
}

/// What stands in a directory, without itself and its parent.
fn list(fd: &OwnedFd, space: &mut [MaybeUninit<u8>]) -> Result<Vec<Entry>, Errno> {
    let mut entries = Vec::new();
    let mut raw = RawDir::new(fd, space);
    while let Some(entry) = raw.next() {
        let entry = entry.map_err(|error| Errno::from_raw(error.raw_os_error()))?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not say, readdir(3).
            FileType::Unknown => kind_of(fd, name)?,
            kind => kind,
        };
        entries.push(Entry { name: name.to_vec(), kind });
    }
    Ok(entries)
}

fn kind_of(dir: &OwnedFd, name: &[u8]) -> Result<FileType, Errno> {
    let stat = match nix::sys::stat::fstatat(dir, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(FileType::Unknown),
        stat => stat?,
    };
    Ok(match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => FileType::RegularFile,
        SFlag::S_IFDIR => FileType::Directory,
        SFlag::S_IFLNK => FileType::Symlink,
        _ => FileType::Unknown,
    })
}
