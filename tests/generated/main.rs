// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is generated from the program stands checked in, and is what the program says; `RESEAL_BLESS=1` rewrites it.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};
use reseal::cli::Cli;
use reseal::policy::Policy;

mod links;
mod man;
mod reference;
#[path = "../support/mod.rs"]
mod support;

const LICENCE: &str = "SPDX-License-Identifier: MIT OR Apache-2.0";

/// Path and text of every generated file.
fn files() -> Vec<(&'static str, String)> {
    vec![
        ("dist/policy.toml", Policy::shipped()),
        ("dist/man/reseal.8", man::reseal()),
        ("dist/man/reseal-policy.5", man::policy(&reference::policy())),
        ("dist/completions/reseal.bash", format!("# {LICENCE}\n{}", completion(Shell::Bash))),
        // compinit looks for `#compdef` on the first line only.
        ("dist/completions/_reseal", completion(Shell::Zsh).replacen('\n', &format!("\n# {LICENCE}\n"), 1)),
        ("dist/completions/reseal.fish", format!("# {LICENCE}\n{}", completion(Shell::Fish))),
        ("docs/policy.md", reference::policy()),
        ("docs/regenerators.md", reference::regenerators()),
        ("README.md", reference::readme(&fs::read_to_string(path("README.md")).unwrap_or_default())),
    ]
}

fn completion(shell: Shell) -> String {
    let mut text = Vec::new();
    generate(shell, &mut Cli::command(), "reseal", &mut text);
    String::from_utf8(text).unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn generated_files_are_what_the_program_says() {
    let bless = std::env::var_os("RESEAL_BLESS").is_some();
    let mut wrong = Vec::new();
    for (name, text) in files() {
        let path = path(name);
        let stands = fs::read_to_string(&path).unwrap_or_default();
        if stands == text {
            continue;
        }
        if bless {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        } else {
            let diff = similar::TextDiff::from_lines(&stands, &text);
            wrong.push(diff.unified_diff().context_radius(1).header(name, "generated").to_string());
        }
    }
    assert!(wrong.is_empty(), "RESEAL_BLESS=1 cargo test --test generated rewrites these:\n{}", wrong.join("\n"));
}
