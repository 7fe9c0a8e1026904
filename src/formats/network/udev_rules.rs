// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rules of udev(7) that name a network link by its MAC address.

use anyhow::Result;

use super::sections::line_end;
use super::{Definition, Group, Item, LinkKind, Mac, Selector, What};

/// One definition for each rule that matches the address of a link.
///
/// # Errors
/// Never; what is no such rule is none of this module's.
pub fn read(text: &str) -> Result<Vec<Definition>> {
    let (mut at, mut line, mut found) = (0, 0, Vec::new());
    while at < text.len() {
        let start = at;
        at = line_end(text, at);
        line += 1;
        let body = &text[start..at];
        if body.trim_start().starts_with('#') {
            continue;
        }
        // An upper-case address never matches what the kernel shows, udev(7).
        let values = |key: &str| {
            let key = format!("{key}==\"");
            body.match_indices(&key).map(|(at, key)| at + key.len()).collect::<Vec<_>>()
        };
        let mut items = Vec::new();
        for from in ["ATTR{address}", "ATTRS{address}", "ENV{ID_NET_NAME_MAC}"].iter().flat_map(|key| values(key)) {
            let value = body[from..].split('"').next().unwrap_or_default();
            if value.parse::<Mac>().is_ok() {
                let span = start + from..start + from + value.len();
                let value = value.to_owned();
                items.push(Item {
                    what: What::Match,
                    value,
                    piece: span.clone(),
                    group: Group::alone(span.clone()),
                    span,
                    quote: "",
                    line,
                });
            }
        }
        if items.is_empty() {
            continue;
        }
        let name = body.find("NAME=\"").map(|at| &body[at + 6..]).and_then(|rest| rest.split('"').next());
        let name = name.filter(|name| !name.contains(['%', '$']) && !name.is_empty());
        found.push(Definition {
            id: name.unwrap_or("rule").to_owned(),
            kind: LinkKind::Device,
            selector: Selector { set_name: name.map(str::to_owned), ..Selector::default() },
            items,
            end: None,
            line,
        });
    }
    Ok(found)
}
