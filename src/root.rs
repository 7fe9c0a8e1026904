// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's file tree, read only: every path is resolved inside the root, as if the reader had chrooted into it.
//!
//! Two resolvers give the same answers: `openat2(2)` with `RESOLVE_IN_ROOT` (Linux 5.6), and a walk in user space for
//! older kernels and for sandboxes that refuse the call.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use serde::{Deserialize, Serialize};

/// Largest file that is read as configuration, in bytes. The longest honest one (a `moduli` or an `ssh_known_hosts`
/// of a large site) stays far below; a larger one is an error, never a reason to run out of memory.
pub const LARGEST_FILE: u64 = 16 << 20;

/// Links followed in one path before it counts as a loop; the kernel's own limit, path_resolution(7).
const MOST_LINKS: usize = 40;

/// Owner and permission bits of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Meta {
    /// Permission bits, `0..=0o7777`.
    #[serde(serialize_with = "octal", deserialize_with = "from_octal")]
    pub mode: u32,
    /// Owner's number.
    pub uid: u32,
    /// Group's number.
    pub gid: u32,
}

impl Meta {
    /// Root's file with these permission bits.
    pub const fn root(mode: u32) -> Meta {
        Meta { mode, uid: 0, gid: 0 }
    }

    /// May everybody read it? Only such content is ever shown.
    pub fn is_public(&self) -> bool {
        self.mode & 0o004 != 0
    }
}

fn octal<S: serde::Serializer>(mode: &u32, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&format!("{mode:04o}"))
}

fn from_octal<'de, D: serde::Deserializer<'de>>(input: D) -> Result<u32, D::Error> {
    let text = String::deserialize(input)?;
    u32::from_str_radix(&text, 8).map_err(serde::de::Error::custom)
}

/// What stands at a path, the last link not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A fifo, socket or device: never opened.
    Special,
}

/// Kind, size and owner of what stands at a path.
#[derive(Debug, Clone, Copy)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
    /// Owner and permission bits.
    pub meta: Meta,
}

impl From<FileStat> for Stat {
    fn from(stat: FileStat) -> Stat {
        let kind = match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFDIR => Kind::Directory,
            SFlag::S_IFLNK => Kind::Link,
            _ => Kind::Special,
        };
        let meta = Meta { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid };
        Stat { kind, size: stat.st_size.unsigned_abs(), meta }
    }
}

/// How paths are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resolver {
    Kernel,
    Walk,
}

/// The guest's file tree. There is no way to write through it.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    path: PathBuf,
    resolver: Resolver,
}

impl Root {
    /// Opens the tree below `path`.
    ///
    /// # Errors
    /// When `path` is not a directory that can be opened.
    pub fn open(path: &Path) -> Result<Root> {
        let open = || -> Result<OwnedFd> {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            Ok(nix::fcntl::open(path, flags, Mode::empty())?)
        };
        let dir = open().with_context(|| format!("opening the root {}", path.display()))?;
        let probe = openat2(&dir, ".", how(OFlag::O_PATH | OFlag::O_CLOEXEC));
        let resolver = if probe.is_ok() { Resolver::Kernel } else { Resolver::Walk };
        Ok(Root { dir, path: path.to_path_buf(), resolver })
    }

    /// The same tree through the user-space walk, whatever the kernel can do.
    #[cfg(test)]
    fn walking(path: &Path) -> Root {
        Root { resolver: Resolver::Walk, ..Root::open(path).unwrap() }
    }

    /// Is this the tree of the running system?
    pub fn is_running_system(&self) -> bool {
        self.path == Path::new("/")
    }

    /// Where the tree was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory itself, to lock it and to start writing from.
    pub fn as_dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// What stands at `path`, its last link not followed; `None` when nothing does.
    ///
    /// # Errors
    /// When the path cannot be resolved for another reason than absence.
    pub fn stat(&self, path: &str) -> Result<Option<Stat>> {
        let look = || -> Result<Option<Stat>, Errno> {
            let (parent, name) = split(path);
            if name.is_empty() {
                return Ok(Some(fstat(&self.dir)?.into()));
            }
            let Some(dir) = absent(self.resolve(parent, OFlag::O_PATH | OFlag::O_DIRECTORY))? else { return Ok(None) };
            Ok(absent(fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW))?.map(Stat::from))
        };
        look().with_context(|| format!("looking at /{}", trim(path)))
    }

    /// The whole content of a regular file, links followed inside the root; `None` when it is missing or its link dangles.
    ///
    /// # Errors
    /// When it is not a regular file, is larger than [`LARGEST_FILE`], is behind a loop of links, or cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.read_up_to(path, LARGEST_FILE).with_context(|| format!("reading /{}", trim(path)))
    }

    fn read_up_to(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>> {
        // A fifo would block and a device act when it is opened, so look before opening, and look again afterwards.
        let Some(seen) = absent(self.resolve(path, OFlag::O_PATH))? else { return Ok(None) };
        let seen: Stat = fstat(&seen)?.into();
        check_regular(&seen, most)?;
        let Some(file) = absent(self.resolve(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY))? else {
            return Ok(None);
        };
        check_regular(&fstat(&file)?.into(), most)?;
        let mut content = Vec::with_capacity(seen.size.min(most) as usize);
        File::from(file).take(most + 1).read_to_end(&mut content)?;
        if content.len() as u64 > most {
            bail!("larger than {most} bytes");
        }
        Ok(Some(content))
    }

    /// The target of a symbolic link as it is written; `None` when `path` is missing or no link.
    ///
    /// # Errors
    /// When the path cannot be resolved, or the target is not UTF-8.
    pub fn read_link(&self, path: &str) -> Result<Option<String>> {
        let read = || -> Result<Option<String>> {
            let (parent, name) = split(path);
            let Some(dir) = absent(self.resolve(parent, OFlag::O_PATH | OFlag::O_DIRECTORY))? else { return Ok(None) };
            match readlinkat(&dir, name) {
                Ok(target) => {
                    Ok(Some(target.into_string().map_err(|_| anyhow::anyhow!("a link whose target is not UTF-8"))?))
                }
                Err(Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
                Err(errno) => Err(errno.into()),
            }
        };
        read().with_context(|| format!("reading the link /{}", trim(path)))
    }

    /// The names in a directory, sorted; none when it is missing. Names that are not UTF-8 are left out: no identity
    /// has one.
    ///
    /// # Errors
    /// When `path` is no directory or cannot be read.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        let read = || -> Result<Vec<String>> {
            let opened = match self.resolve(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
                Ok(fd) => fd,
                Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
                Err(errno) => return Err(errno.into()),
            };
            let mut names = Vec::new();
            for entry in Dir::from_fd(opened)?.iter() {
                if let Ok(name) = entry?.file_name().to_str()
                    && name != "."
                    && name != ".."
                {
                    names.push(name.to_owned());
                }
            }
            names.sort_unstable();
            Ok(names)
        };
        read().with_context(|| format!("listing /{}", trim(path)))
    }

    /// A directory inside the root, opened for writing entries into it and for fsync(2); only [`crate::apply`] asks.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ELOOP` and whatever open(2) gives.
    pub fn open_dir(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.resolve(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
    }

    fn resolve(&self, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        let path = trim(path);
        let path = if path.is_empty() { "." } else { path };
        let flags = flags | OFlag::O_CLOEXEC;
        match self.resolver {
            Resolver::Kernel => openat2(&self.dir, path, how(flags)),
            Resolver::Walk => self.walk(path, flags),
        }
    }

    /// Follows `path` a component at a time, keeping the chain of open directories, so that `..` and absolute links
    /// can never lead above the root.
    fn walk(&self, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        let mut chain: Vec<OwnedFd> = Vec::new();
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    chain.pop();
                    continue;
                }
                _ => {}
            }
            let here = chain.last().map_or(self.dir.as_fd(), OwnedFd::as_fd);
            let opened =
                openat(here, name.as_str(), OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
            let kind = Stat::from(fstat(&opened)?).kind;
            if kind == Kind::Link {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::ELOOP);
                }
                let target = readlinkat(here, name.as_str())?;
                if target.as_bytes().first() == Some(&b'/') {
                    chain.clear();
                }
                let target = target.into_string().map_err(|_| Errno::EILSEQ)?;
                rest.extend(target.split('/').rev().map(str::to_owned));
            } else if rest.iter().all(|left| left.is_empty() || left == ".") && kind != Kind::Directory {
                return openat(here, name.as_str(), flags | OFlag::O_NOFOLLOW, Mode::empty());
            } else if kind == Kind::Directory {
                chain.push(opened);
            } else {
                return Err(Errno::ENOTDIR);
            }
        }
        let here = chain.last().map_or(self.dir.as_fd(), OwnedFd::as_fd);
        openat(here, ".", flags, Mode::empty())
    }
}

/// A path without leading and trailing slashes.
pub fn trim(path: &str) -> &str {
    path.trim_matches('/')
}

/// Parent and name of a path; the name of the root is empty.
pub fn split(path: &str) -> (&str, &str) {
    trim(path).rsplit_once('/').unwrap_or(("", trim(path)))
}

fn how(flags: OFlag) -> OpenHow {
    // /proc's magic links lead anywhere, out of the root too.
    OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

fn absent<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn check_regular(stat: &Stat, most: u64) -> Result<()> {
    match stat.kind {
        Kind::File if stat.size > most => {
            bail!("{} bytes, more than the {most} that a configuration file may have", stat.size)
        }
        Kind::File => Ok(()),
        Kind::Directory => bail!("a directory where a file is expected"),
        Kind::Link => bail!("a symbolic link that cannot be followed"),
        Kind::Special => bail!("a fifo, socket or device where a file is expected"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A guest tree with links of every kind, and a file beside it that must never be reached.
    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "outside").unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("etc/deep")).unwrap();
        fs::write(root.join("etc/file"), "inside").unwrap();
        fs::write(root.join("secret"), "the guest's own").unwrap();
        symlink("/etc/file", root.join("absolute")).unwrap();
        symlink("etc/file", root.join("relative")).unwrap();
        symlink("../../../../../secret", root.join("etc/deep/up")).unwrap();
        symlink("/etc", root.join("dir-link")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        symlink(dir.path().join("secret"), root.join("host-path")).unwrap();
        nix::unistd::mkfifo(&root.join("fifo"), Mode::S_IRWXU).unwrap();
        fs::File::create(root.join("huge")).unwrap().set_len(1 << 30).unwrap();
        dir
    }

    #[test]
    fn both_resolvers_stay_inside_and_agree() {
        let dir = tree();
        let path = dir.path().join("root");
        for root in [Root::open(&path).unwrap(), Root::walking(&path)] {
            let read = |path: &str| root.read(path).map(|found| found.map(|bytes| String::from_utf8(bytes).unwrap()));
            assert_eq!(read("etc/file").unwrap().as_deref(), Some("inside"));
            assert_eq!(read("/absolute").unwrap().as_deref(), Some("inside"));
            assert_eq!(read("relative").unwrap().as_deref(), Some("inside"));
            assert_eq!(read("dir-link/file").unwrap().as_deref(), Some("inside"));
            assert_eq!(read("etc/deep/up").unwrap().as_deref(), Some("the guest's own"));
            assert_eq!(read("../secret").unwrap().as_deref(), Some("the guest's own"));
            assert_eq!(read("host-path").unwrap(), None);
            assert_eq!(read("dangling").unwrap(), None);
            assert_eq!(read("etc/file/below").unwrap(), None);
            assert!(read("loop").is_err());
            for (path, part) in [("fifo", "fifo"), ("etc", "a directory"), ("huge", "bytes, more than")] {
                let error = format!("{:#}", read(path).unwrap_err());
                assert!(error.contains(part), "{error}");
            }
            assert_eq!(root.list("dir-link").unwrap(), ["deep", "file"]);
            assert_eq!(root.list("missing").unwrap(), [""; 0]);
            assert_eq!(root.read_link("relative").unwrap().as_deref(), Some("etc/file"));
            assert_eq!(root.read_link("etc/file").unwrap(), None);
            assert_eq!(root.stat("loop").unwrap().unwrap().kind, Kind::Link);
            assert_eq!(root.stat("").unwrap().unwrap().kind, Kind::Directory);
            assert!(root.stat("nothing/here").unwrap().is_none());
        }
    }
}
