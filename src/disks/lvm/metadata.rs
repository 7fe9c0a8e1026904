// SPDX-License-Identifier: MIT OR Apache-2.0
//! The text that describes a volume group: sections in braces, in each a line `id = "..."`.
//!
//! Written by lib/format_text/export.c of LVM2, one thing a line; everything but the ids and the sequence number is kept
//! byte for byte. Logical volumes name each other by name, so their ids stand nowhere else.

use std::collections::BTreeSet;

use std::collections::BTreeMap;

use super::dashed;
use crate::disks::{Seat, Trouble};

pub(super) struct Metadata {
    /// With the NUL that ends it.
    text: String,
    pub group: String,
    pub group_id: String,
    /// Sectors of 512 bytes in an extent.
    pub extent: u64,
    /// In the order of the text.
    pub physical_volumes: Vec<Physical>,
    /// Names and ids, in the order of the text.
    pub logical_volumes: Vec<(String, String)>,
}

/// A physical volume, as its group describes it.
#[derive(Default)]
pub(super) struct Physical {
    /// The name of its section, `pv0`; ids change, that stays.
    pub section: String,
    pub seat: Seat,
    pub extents: u64,
}

impl Metadata {
    /// # Errors
    /// [`Trouble::Refused`] for a group that is not this machine's alone, or not whole.
    pub(super) fn parse(text: &[u8], physical_volume: &str) -> Result<Metadata, Trouble> {
        let text = String::from_utf8(text.to_vec()).map_err(|_| super::damaged("its metadata is not text"))?;
        let mut metadata = Metadata {
            text: String::new(),
            group: String::new(),
            group_id: String::new(),
            extent: 0,
            physical_volumes: Vec::new(),
            logical_volumes: Vec::new(),
        };
        let (mut refusal, mut groups) = (None, 0);
        let end = walk(&text, |path, key, value| {
            let number = || value.parse::<u64>().unwrap_or(0);
            match (path, key) {
                ([group], "id") => {
                    groups += 1;
                    (metadata.group, metadata.group_id) = (group.to_string(), unquoted(value).into());
                }
                ([_], "extent_size") => metadata.extent = number(),
                ([_, "physical_volumes", section], _) => {
                    let one = match metadata.physical_volumes.last_mut() {
                        Some(last) if last.section == *section => last,
                        _ => {
                            metadata
                                .physical_volumes
                                .push(Physical { section: section.to_string(), ..Physical::default() });
                            metadata.physical_volumes.last_mut()?
                        }
                    };
                    match key {
                        "id" => one.seat.id = unquoted(value).replace('-', ""),
                        "dev_size" => one.seat.size = number().saturating_mul(512),
                        "pe_start" => one.seat.start = number().saturating_mul(512),
                        "pe_count" => one.extents = number(),
                        "status" | "flags" if value.contains("MISSING") => refusal = Some("misses a physical volume"),
                        _ => {}
                    }
                }
                ([_, "logical_volumes", name], "id") => {
                    metadata.logical_volumes.push((name.to_string(), unquoted(value).into()));
                }
                ([_], "status") if ["EXPORTED", "CLUSTERED", "PARTIAL"].iter().any(|word| value.contains(word)) => {
                    refusal = Some("is exported, clustered or partial");
                }
                ([_], "lock_type") if unquoted(value) != "none" => refusal = Some("is shared"),
                ([_], "system_id") if !unquoted(value).is_empty() => refusal = Some("belongs to one system by its id"),
                _ => {}
            }
            None
        });
        let listed = metadata.physical_volumes.iter().any(|one| one.seat.id == physical_volume);
        // Two of one name would get one id.
        let names: BTreeSet<&String> = metadata.logical_volumes.iter().map(|(name, _)| name).collect();
        let unique = groups == 1 && names.len() == metadata.logical_volumes.len();
        if end.is_none() || metadata.group.is_empty() || !listed || !unique {
            return Err(super::damaged("its metadata does not describe it"));
        }
        metadata.text = text;
        match refusal {
            Some(why) => Err(Trouble::Refused(format!("the volume group {} {why}: use vgimportclone", metadata.group))),
            None => Ok(metadata),
        }
    }

    pub(super) fn text(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Where the extents of this physical volume end, in bytes.
    pub(super) fn end(&self, physical_volume: &str) -> Option<u64> {
        let one = self.physical_volumes.iter().find(|one| one.seat.id == physical_volume)?;
        self.extent.checked_mul(512)?.checked_mul(one.extents)?.checked_add(one.seat.start)
    }

    /// The text with new ids of physical volumes by their sections, of the group, and of logical volumes by their names:
    /// one version on, or as it is when it has them.
    pub(super) fn renamed(
        &self,
        physical_volumes: &[(&str, &str)],
        group: &str,
        logical_volumes: &BTreeMap<String, String>,
    ) -> Result<Vec<u8>, Trouble> {
        let mut changed = false;
        let mut replace = |value: &str, id: &str| {
            changed |= unquoted(value) != dashed(id);
            Some(format!("\"{}\"", dashed(id)))
        };
        let renamed = walk(&self.text, |path, key, value| match (path, key) {
            ([_], "id") => replace(value, group),
            ([_, "physical_volumes", section], "id") => {
                physical_volumes.iter().find(|(name, _)| name == section).and_then(|(_, id)| replace(value, id))
            }
            ([_, "logical_volumes", name], "id") => logical_volumes.get(*name).and_then(|id| replace(value, id)),
            ([_], "seqno") => value.parse::<u32>().ok().and_then(|number| number.checked_add(1)).map(|n| n.to_string()),
            _ => None,
        });
        let renamed = renamed.ok_or_else(|| super::damaged("its metadata does not describe it"))?;
        Ok(if changed { renamed.into_bytes() } else { self.text.clone().into_bytes() })
    }
}

/// Calls `visit` with the sections around each `key = value`, and puts what it returns in the value's place; none when
/// the braces do not match.
fn walk(text: &str, mut visit: impl FnMut(&[&str], &str, &str) -> Option<String>) -> Option<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        if let Some((key, value)) = trimmed.split_once(" = ") {
            // A comment may follow a number, and a string holds no quote that is not escaped.
            let value = match value.strip_prefix('"') {
                Some(rest) => value.get(..rest.find('"')? + 2)?,
                None => value.split(['\t', '#']).next().unwrap_or(value).trim_end(),
            };
            if let Some(replacement) = visit(&path, key, value) {
                let at = line.find(" = ")? + 3;
                out.push_str(line.get(..at)?);
                out.push_str(&replacement);
                out.push_str(line.get(at + value.len()..)?);
                continue;
            }
        } else if let Some(section) = trimmed.strip_suffix('{') {
            path.push(section.trim());
        } else if trimmed == "}" {
            path.pop()?;
        }
        out.push_str(line);
    }
    path.is_empty().then_some(out)
}

fn unquoted(value: &str) -> &str {
    value.trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "g {\nid = \"G\"\nseqno = 1\nphysical_volumes {\npv0 {\nid = \"P\"\n}\n}\n\
                        logical_volumes {\na {\nid = \"A\"\n}\nb {\nid = \"B\"\n}\n}\n}\n";

    #[test]
    fn what_has_a_name_twice_is_not_a_group() {
        assert!(Metadata::parse(TEXT.as_bytes(), "P").is_ok());
        let other = TEXT.replace("g {", "h {");
        for twice in [TEXT.replace("b {", "a {"), TEXT.replace("seqno", "id"), format!("{TEXT}{other}")] {
            assert!(matches!(Metadata::parse(twice.as_bytes(), "P"), Err(Trouble::Damaged(_))), "{twice}");
        }
    }
}
