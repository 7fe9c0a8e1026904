// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every device and file that a boot loader's file names: GRUB's `search` and `cryptomount`, words of kernel command lines,
//! kernels and initramfs images.

use super::fstab::Source;

/// Something that a line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootRef {
    /// The line, from 1.
    pub line: usize,
    /// What names it: `root`, `search`, `linux`.
    pub by: String,
    /// What must be there.
    pub target: Target,
    /// Does the line after it search for the same under another id? Then one of the two is enough.
    pub or_next: bool,
}

/// What must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A device, fstab(5).
    Device(Source),
    /// A LUKS container by its UUID, or the beginning of it without dashes.
    Luks(String),
    /// An array by its UUID.
    Array(String),
    /// A logical volume, `group/volume`.
    Volume(String),
    /// A file, as the boot loader sees it.
    File(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Device(source) => write!(out, "{source}"),
            Target::Luks(uuid) => write!(out, "LUKS {uuid}"),
            Target::Array(uuid) => write!(out, "array {uuid}"),
            Target::Volume(name) => write!(out, "volume {name}"),
            Target::File(path) => write!(out, "{path}"),
        }
    }
}

/// What a file names, in its order.
pub fn read(text: &str) -> Vec<BootRef> {
    let mut found: Vec<BootRef> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let words = words(line);
        let Some(first) = words.first().filter(|word| !word.starts_with('#')) else { continue };
        let mut tell = |by: &str, target| {
            found.push(BootRef { line: number, by: by.to_owned(), target, or_next: false });
        };
        match first.as_str() {
            "search" | "search.fs_uuid" | "search.fs_label" | "search.file" => {
                if let Some(target) = searched(&words) {
                    tell("search", target);
                }
            }
            "cryptomount" => {
                let after = words.iter().skip_while(|word| *word != "-u").nth(1);
                after.into_iter().for_each(|uuid| tell("cryptomount", Target::Luks(uuid.clone())));
            }
            "linux" | "linuxefi" | "linux16" | "initrd" | "initrdefi" | "initrd16" | "kernel" | "LINUX" | "INITRD" => {
                let files =
                    words[1..].iter().take(if first.to_lowercase().starts_with("initrd") { usize::MAX } else { 1 });
                // A variable stands for what is not known here.
                files.filter(|file| file.starts_with('/')).for_each(|file| tell(first, Target::File(file.clone())));
            }
            _ => {}
        }
        for (key, value) in words.iter().filter_map(|word| parameter(word)) {
            if let Some(target) = named(key, value) {
                tell(key, target);
            }
        }
    }
    // The form that a file has while ids change, and that a cut leaves.
    let marked: Vec<usize> =
        (1..).zip(text.lines()).filter(|(_, line)| line.ends_with("# reseal")).map(|(at, _)| at).collect();
    for one in &mut found {
        one.or_next = one.by == "search" && marked.contains(&(one.line + 1));
    }
    found
}

/// The words of a line; quotes are taken off, and divide words as blanks do.
fn words(line: &str) -> Vec<String> {
    let words = line.split(|letter: char| letter.is_whitespace() || matches!(letter, '"' | '\'' | ';'));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn searched(words: &[String]) -> Option<Target> {
    let given = |option: &str| words.iter().any(|word| word == option);
    let what = words[1..].iter().find(|word| !word.starts_with('-') && *word != "#")?.clone();
    match words[0].as_str() {
        "search.fs_uuid" => Some(Target::Device(Source::Uuid(what))),
        "search.fs_label" => Some(Target::Device(Source::Label(what))),
        "search.file" => Some(Target::File(what)),
        _ if given("--fs-uuid") || given("-u") => Some(Target::Device(Source::Uuid(what))),
        _ if given("--label") || given("-l") => Some(Target::Device(Source::Label(what))),
        _ if given("--file") || given("-f") => Some(Target::File(what)),
        _ => None,
    }
}

/// Key and value of a word; of `kernelopts=root=UUID=..`, which sets a variable to a command line, the last key.
fn parameter(word: &str) -> Option<(&str, &str)> {
    let (key, value) = word.split_once('=')?;
    let is_key =
        |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    match value.split_once('=') {
        Some((inner, rest)) if key.to_ascii_lowercase().ends_with("opts") && is_key(inner) => Some((inner, rest)),
        _ => is_key(key).then_some((key, value)),
    }
}

/// dracut.cmdline(7), systemd-cryptsetup-generator(8), kernel-command-line(7), initramfs-tools(7).
fn named(key: &str, value: &str) -> Option<Target> {
    let uuid = |value: &str| value.split('=').next().unwrap_or_default().trim_start_matches("luks-").to_owned();
    match key {
        "root" | "resume" | "boot" | "usr" | "mount.usr" | "rd.live.image" => match Source::parse(value) {
            Source::Other(_) => None,
            source => Some(Target::Device(source)),
        },
        "rd.luks.uuid" | "luks.uuid" | "rd.luks.name" | "luks.name" | "rd_LUKS_UUID" => Some(Target::Luks(uuid(value))),
        "rd.md.uuid" | "rd_MD_UUID" => Some(Target::Array(value.to_owned())),
        "rd.lvm.lv" | "rd_LVM_LV" => Some(Target::Volume(value.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let list = read(text).into_iter();
        list.map(|one| format!("{} {} {}{}", one.line, one.by, one.target, if one.or_next { " or" } else { "" }))
            .collect()
    }

    #[test]
    fn a_menu_of_grub() {
        let menu = "set root='hd0,gpt1'\nif [ x$feature_platform_search_hint = xy ]; then\n\
                    \tsearch --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt1  11-22\nfi\n\
                    \tlinux\t/boot/vmlinuz-6.1 root=UUID=11-22 ro resume=/dev/disk/by-uuid/33 quiet\n\
                    \tinitrd\t/boot/early.img /boot/initrd.img-6.1 $extra\n# linux /old root=UUID=9\n\
                    search.fs_uuid 44-55 root hd0,gpt2 \ncryptomount -u 0aaa\nsearch --label --set=root DATA\n\
                    set default_kernelopts=\"root=UUID=66 ro\"\n";
        assert_eq!(
            shown(menu),
            [
                "3 search UUID=11-22",
                "5 linux /boot/vmlinuz-6.1",
                "5 root UUID=11-22",
                "5 resume UUID=33",
                "6 initrd /boot/early.img",
                "6 initrd /boot/initrd.img-6.1",
                "8 search UUID=44-55",
                "9 cryptomount LUKS 0aaa",
                "10 search LABEL=DATA",
                "11 root UUID=66",
            ]
        );
    }

    #[test]
    fn command_lines_and_the_form_in_between() {
        let entry = "title x\nlinux /vmlinuz\noptions root=PARTUUID=7 rd.luks.uuid=luks-8 rd.lvm.lv=vg/root rd.md.uuid=9:1 resume=none\n";
        assert_eq!(
            shown(entry),
            [
                "2 linux /vmlinuz",
                "3 root PARTUUID=7",
                "3 rd.luks.uuid LUKS 8",
                "3 rd.lvm.lv volume vg/root",
                "3 rd.md.uuid array 9:1"
            ]
        );
        assert_eq!(shown("kernelopts=root=UUID=5 ro\n####"), ["1 root UUID=5"]);
        let both = "search --fs-uuid 1\nsearch --fs-uuid 2 # reseal\nroot=PARTUUID=3 reseal.root=UUID=1";
        assert_eq!(shown(both), ["1 search UUID=1 or", "2 search UUID=2", "3 root PARTUUID=3"]);
        assert!(shown("rd.luks.name=8=root\n").contains(&"1 rd.luks.name LUKS 8".to_owned()));
    }
}
