// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every relative link in the documentation leads to a file, and to a heading in it.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn relative_links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<PathBuf> = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|page| page.extension().is_some_and(|end| end == "md"));
    pages.push(root.join("README.md"));
    let (mut broken, mut seen) = (Vec::new(), 0);
    for page in &pages {
        for target in targets(&prose(&fs::read_to_string(page).unwrap())) {
            seen += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let known = match anchor {
                "" => file.exists(),
                anchor => {
                    fs::read_to_string(&file).is_ok_and(|text| anchors(&text).iter().any(|known| known == anchor))
                }
            };
            if !known {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(seen > 10, "only {seen} links were found");
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

/// The lines outside fenced code.
fn prose(text: &str) -> String {
    let mut code = false;
    let outside = |line: &&str| {
        let fence = line.starts_with("```");
        code ^= fence;
        !code && !fence
    };
    text.split_inclusive('\n').filter(outside).collect()
}

/// Targets of `[text](target)`, but for those of the web.
fn targets(text: &str) -> Vec<String> {
    let after = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    after.map(|(target, _)| target.to_owned()).filter(|target| !target.contains("://")).collect()
}

/// Anchors of headings, as GitHub makes them: lower case, blanks as dashes, other punctuation gone.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn a_link_in_code_is_no_link() {
    let text = "# A `b` c?\n[x](y.md#z) [w](https://w)\n```\n[no](no)\n```\n";
    assert_eq!(targets(&prose(text)), ["y.md#z"]);
    assert_eq!(anchors(text), ["a-b-c"]);
}
