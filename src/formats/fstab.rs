// SPDX-License-Identifier: MIT OR Apache-2.0
//! fstab(5) and crypttab(5), read: what each line mounts or opens, and from where.

/// What a line of fstab(5) or crypttab(5) names as its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `UUID=` or `/dev/disk/by-uuid/`.
    Uuid(String),
    /// `PARTUUID=` or `/dev/disk/by-partuuid/`.
    PartUuid(String),
    /// `LABEL=` or `/dev/disk/by-label/`.
    Label(String),
    /// Another path below /dev.
    Device(String),
    /// A file, another machine, or no device at all.
    Other(String),
}

/// A line of fstab(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its device.
    pub source: Source,
    /// Its mount point, absolute; `none` or `swap` for swap space.
    pub target: String,
    /// The file system's type.
    pub kind: String,
    /// Its options.
    pub options: Vec<String>,
}

/// A line of crypttab(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name below /dev/mapper.
    pub name: String,
    /// The encrypted device.
    pub source: Source,
    /// Its key file; none for a passphrase.
    pub key: Option<String>,
    /// Its options.
    pub options: Vec<String>,
}

impl Source {
    /// What the first field of a line means.
    pub fn parse(field: &str) -> Source {
        let value = |prefixes: [&str; 2]| {
            let rest = prefixes.iter().find_map(|prefix| field.strip_prefix(prefix))?;
            Some(rest.trim_matches(['"', '\'']).to_owned())
        };
        if let Some(id) = value(["UUID=", "/dev/disk/by-uuid/"]) {
            return Source::Uuid(id);
        }
        if let Some(id) = value(["PARTUUID=", "/dev/disk/by-partuuid/"]) {
            return Source::PartUuid(id);
        }
        if let Some(label) = value(["LABEL=", "/dev/disk/by-label/"]) {
            return Source::Label(label);
        }
        if field.starts_with("/dev/") { Source::Device(field.to_owned()) } else { Source::Other(field.to_owned()) }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Uuid(id) => write!(out, "UUID={id}"),
            Source::PartUuid(id) => write!(out, "PARTUUID={id}"),
            Source::Label(label) => write!(out, "LABEL={label}"),
            Source::Device(path) | Source::Other(path) => write!(out, "{path}"),
        }
    }
}

impl Entry {
    /// Has it this option?
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|known| known == option)
    }

    /// Is it swap space?
    pub fn is_swap(&self) -> bool {
        self.kind == "swap"
    }
}

/// The lines of an fstab that can be understood.
pub fn entries(text: &str) -> Vec<Entry> {
    let entry = |fields: Vec<String>| {
        let mut fields = fields.into_iter();
        let (source, target, kind) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Entry { source: Source::parse(&source), target, kind, options: options(fields.next()) })
    };
    lines(text).filter_map(entry).collect()
}

/// The lines of a crypttab that can be understood.
pub fn volumes(text: &str) -> Vec<Volume> {
    let volume = |fields: Vec<String>| {
        let mut fields = fields.into_iter();
        let (name, source) = (fields.next()?, fields.next()?);
        let key = fields.next().filter(|key| !matches!(key.as_str(), "none" | "-"));
        Some(Volume { name, source: Source::parse(&source), key, options: options(fields.next()) })
    };
    lines(text).filter_map(volume).collect()
}

fn options(field: Option<String>) -> Vec<String> {
    field.unwrap_or_default().split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect()
}

fn lines(text: &str) -> impl Iterator<Item = Vec<String>> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .map(|line| line.split_ascii_whitespace().map(unescaped).collect::<Vec<_>>())
        .filter(|fields| !fields.is_empty())
}

/// A field with its blanks, which are written as three octal digits, getmntent(3).
pub fn unescaped(field: &str) -> String {
    let mut out = String::new();
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(u8::is_ascii);
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_manual_pages_have_them() {
        let text = "# comment\n\nUUID=\"ab-cd\"\t/srv/my\\040data ext4 defaults,nofail 0 2\r\nshort\n\
                    /dev/disk/by-partuuid/1-02 none swap sw\nserver:/x /y nfs _netdev 0 0\n";
        let read = entries(text);
        assert_eq!(read.len(), 3);
        assert_eq!((&read[0].source, read[0].target.as_str()), (&Source::Uuid("ab-cd".into()), "/srv/my data"));
        assert!(read[0].has("nofail") && read[1].is_swap() && read[1].source == Source::PartUuid("1-02".into()));
        assert_eq!(read[2].source, Source::Other("server:/x".into()));
        let read = volumes("data UUID=1 /etc/keys/data luks,discard\nopen /dev/vdb2 none\n");
        assert_eq!(read[0].key.as_deref(), Some("/etc/keys/data"));
        assert_eq!((read[1].key.as_deref(), &read[1].source), (None, &Source::Device("/dev/vdb2".into())));
        assert_eq!(unescaped("a\\b\\04\\134"), "a\\b\\04\\");
    }
}
