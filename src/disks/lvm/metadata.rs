// SPDX-License-Identifier: MIT OR Apache-2.0
//! The text that describes a volume group: sections in braces, in each a line `id = "..."`.
//!
//! Written by lib/format_text/export.c of LVM2, one thing a line; everything but the ids and the sequence number is kept
//! byte for byte. Logical volumes name each other by name, so their ids stand nowhere else.

use std::collections::BTreeSet;

use super::Ids;
use super::dashed;
use crate::disks::Trouble;

pub(super) struct Metadata {
    /// With the NUL that ends it.
    text: String,
    pub group: String,
    pub group_id: String,
    /// Names and ids, in the order of the text.
    pub logical_volumes: Vec<(String, String)>,
}

impl Metadata {
    /// # Errors
    /// [`Trouble::Refused`] for a group that one physical volume alone does not hold.
    pub(super) fn parse(text: &[u8], physical_volume: &str) -> Result<Metadata, Trouble> {
        let text = String::from_utf8(text.to_vec()).map_err(|_| super::damaged("its metadata is not text"))?;
        let mut metadata =
            Metadata { text, group: String::new(), group_id: String::new(), logical_volumes: Vec::new() };
        let (mut physical, mut groups) = (Vec::new(), 0);
        let mut refusal = None;
        let text = metadata.text.clone();
        let end = walk(&text, |path, key, value| {
            match (path, key) {
                ([group], "id") => {
                    groups += 1;
                    (metadata.group, metadata.group_id) = (group.to_string(), unquoted(value).into());
                }
                ([_, "physical_volumes", _], "id") => physical.push(unquoted(value).to_owned()),
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
        let names: BTreeSet<&String> = metadata.logical_volumes.iter().map(|(name, _)| name).collect();
        let unique = groups == 1 && names.len() == metadata.logical_volumes.len();
        if end.is_none() || !unique || metadata.group.is_empty() || !physical.iter().any(|id| id == physical_volume) {
            return Err(super::damaged("its metadata does not describe it"));
        }
        if physical.len() > 1 {
            refusal = Some("has several physical volumes");
        }
        match refusal {
            Some(why) => Err(Trouble::Refused(format!("the volume group {} {why}: use vgimportclone", metadata.group))),
            None => Ok(metadata),
        }
    }

    /// The text with the new ids, one version on; none when it has them.
    pub(super) fn renamed(&self, new: &Ids) -> Result<Option<Vec<u8>>, Trouble> {
        let mut changed = false;
        let mut replace = |value: &str, id: &str| {
            changed |= unquoted(value) != dashed(id);
            Some(format!("\"{}\"", dashed(id)))
        };
        let renamed = walk(&self.text, |path, key, value| match (path, key) {
            ([_], "id") => replace(value, &new.volume_group),
            ([_, "physical_volumes", _], "id") => replace(value, &new.physical_volume),
            ([_, "logical_volumes", name], "id") => new.logical_volumes.get(*name).and_then(|id| replace(value, id)),
            ([_], "seqno") => value.parse::<u32>().ok().and_then(|number| number.checked_add(1)).map(|n| n.to_string()),
            _ => None,
        });
        let renamed = renamed.ok_or_else(|| super::damaged("its metadata does not describe it"))?;
        Ok(changed.then(|| renamed.into_bytes()))
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
