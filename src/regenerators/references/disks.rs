// SPDX-License-Identifier: MIT OR Apache-2.0
//! Quotes of what lies on disks: the renewed ids, and files that quote them.

use std::collections::BTreeSet;

use anyhow::Result;

use super::unreadable;
use crate::catalogue::{Format, Reference};
use crate::formats::anchor;
use crate::formats::device_tags::{self, Rules};
use crate::formats::encoding::AnyText;
use crate::formats::grub;
use crate::formats::known_ids::KnownIds;
use crate::plan::draft::Draft;
use crate::plan::{Kind, Renewal, Severity};
use crate::root::trim;

/// Where a mapping of a LUKS container may be given its name, beside the boot loader's entries.
const NAMING: [&str; 6] = [
    "etc/crypttab",
    "etc/crypttab.initramfs",
    "etc/kernel/cmdline",
    "etc/default/grub",
    "boot/grub/grub.cfg",
    "boot/grub2/grub.cfg",
];

/// The renewed ids of disks, and what was seen of their quotes.
pub struct Disks {
    /// The ids.
    pub ids: KnownIds,
    /// Old UUIDs of LUKS containers whose mapping keeps its name.
    pub named: Vec<String>,
    /// The files that were looked at, links resolved.
    pub seen: BTreeSet<String>,
    /// Those of them that quoted an id.
    pub quoting: BTreeSet<String>,
}

impl Disks {
    /// The ids of these renewals, and the mappings that have their name from a file of the guest.
    pub fn of(renewals: &[Renewal], draft: &mut Draft<'_>) -> Disks {
        let of_disks = renewals.iter().filter(|renewal| Kind::ON_DISKS.contains(&renewal.kind));
        let pairs: Vec<(Kind, &str, &str)> = of_disks
            .filter_map(|renewal| Some((renewal.kind, renewal.old.as_deref()?, renewal.new.as_deref()?)))
            .collect();
        let ids = KnownIds::new(pairs.iter().copied());
        let containers = pairs.iter().filter(|(kind, ..)| *kind == Kind::LuksUuid);
        let mut named: Vec<String> = containers.map(|(_, old, _)| (*old).to_owned()).collect();
        if !named.is_empty() {
            let mut paths: Vec<String> = NAMING.map(str::to_owned).into();
            paths.extend(draft.glob("boot/loader/entries/*.conf").unwrap_or_default());
            paths.extend(draft.glob("etc/default/grub.d/*.cfg").unwrap_or_default());
            // What cannot be read is told where it is to be rewritten.
            let texts = paths.iter().filter_map(|path| draft.read(path).ok().flatten().map(AnyText::read));
            let texts: Vec<AnyText> = texts.collect();
            named.retain(|old| texts.iter().any(|file| device_tags::names_mapping(&file.text, old)));
        }
        for old in &named {
            let message = "keeps its name: a name is no id, and the files that give and use it go together";
            draft.finding(Severity::Note, &format!("/dev/mapper/luks-{old}"), message);
        }
        Disks { ids, named, seen: BTreeSet::new(), quoting: BTreeSet::new() }
    }

    /// Rewrites one file.
    pub fn rewrite(&mut self, draft: &mut Draft<'_>, reference: &Reference, path: &str) -> Result<()> {
        let Some(file) = self.look(draft, path)? else { return Ok(()) };
        let rules = Rules { fields: &reference.fields, named: &self.named };
        // An earlier boot may have been cut off while ids changed.
        let is_boot_file = crate::regenerators::may_be_anchored(trim(path));
        let text = if is_boot_file { anchor::settled(&file.text) } else { file.text.clone() };
        let mut kinds = BTreeSet::new();
        let mut follow = |is_now: &dyn Fn(Kind) -> bool| {
            let new = self.ids.replace(&text, |quote| {
                let is_meant = match reference.format {
                    Format::Grub => grub::is_meant(quote, rules),
                    _ => device_tags::is_meant(quote, rules),
                };
                let kind = quote.spelling.kind;
                let follows = is_meant && reference.kinds.contains(&kind) && is_now(kind);
                kinds.extend(follows.then_some(kind));
                follows
            });
            if reference.format == Format::Grub { grub::keep_size(&text, new) } else { new }
        };
        let new = follow(&|_| true);
        if text != file.text && draft.anchored(path)?.is_none() {
            draft.anchor(path, file.encode(&file.text))?;
        }
        if is_boot_file && draft.anchored(path)?.is_some() {
            let without_tables = follow(&|kind| !matches!(kind, Kind::PartitionId | Kind::DiskId));
            draft.end_anchor(path, file.encode(&without_tables))?;
        }
        if new != file.text {
            let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
            let why =
                if kinds.is_empty() { "names it as before".into() } else { format!("quotes the {}", kinds.join(", ")) };
            draft.write(path, file.encode(&new), &why)?;
        }
        Ok(())
    }

    /// Removes a copy of the description of disks that are described otherwise now.
    pub fn remove_stale(&mut self, draft: &mut Draft<'_>, reference: &Reference, path: &str) -> Result<()> {
        let Some(file) = self.look(draft, path)? else { return Ok(()) };
        if self.ids.quotes(&file.text).iter().any(|quote| reference.kinds.contains(&quote.spelling.kind)) {
            draft.remove(path, "describes the template's disks as they were")?;
        }
        Ok(())
    }

    /// The content of a file that may quote an id, and a note that it was looked at.
    fn look(&mut self, draft: &mut Draft<'_>, path: &str) -> Result<Option<AnyText>> {
        match draft.read(path) {
            Ok(Some(bytes)) => {
                let (place, file) = (draft.resolve(path)?, AnyText::read(bytes));
                if !self.ids.quotes(&file.text).is_empty() {
                    self.quoting.insert(place.clone());
                }
                self.seen.insert(place);
                Ok(Some(file))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                unreadable(draft, path, &error);
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Guest;
    use crate::plan::draft::{Past, Purpose};
    use crate::plan::{Change, derive::Seed};

    #[test]
    fn a_table_in_latin_1_follows_too() {
        let (old, new) = ("0aaa1111-2222-4333-8444-555555555555", "0bbb1111-2222-4333-8444-555555555555");
        let table = |id: &str| [b"# f\xfcr /srv\nUUID=", id.as_bytes(), b" /srv xfs\n"].concat();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/fstab"), table(old)).unwrap();
        let guest = Guest::open(dir.path()).unwrap();
        let mut draft = Draft::new(&guest, Purpose::Reset, Past::none(Seed::random(b"").unwrap()));
        let value = |text: &str| Some(text.to_owned());
        let renewal = Renewal { kind: Kind::FsUuid, subject: "/dev/vdb".into(), old: value(old), new: value(new) };
        let reference = Reference {
            paths: Vec::new(),
            kinds: vec![Kind::FsUuid],
            format: Format::DeviceTags,
            fields: Vec::new(),
            source: String::new(),
        };
        Disks::of(&[renewal], &mut draft).rewrite(&mut draft, &reference, "etc/fstab").unwrap();
        let plan = draft.into_plan().unwrap();
        let Change::Write { after, .. } = &plan.steps[0].change else { panic!("{:?}", plan.steps) };
        assert_eq!(after.bytes, table(new));
    }
}
