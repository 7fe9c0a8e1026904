// SPDX-License-Identifier: MIT OR Apache-2.0
//! `reseal policy`: what is in force, whether it is right, and what is shipped.

use anyhow::Result;

use super::{Access, Exit, is_human, open, policy, print, print_json};
use crate::cli::{Options, PolicyCommand};
use crate::policy::Policy;

/// Runs the command.
pub fn run(options: &Options, command: PolicyCommand) -> Result<Exit> {
    if command == PolicyCommand::Default {
        print(&Policy::shipped())?;
        return Ok(Exit::Done);
    }
    let guest = open(options, Access::Look)?;
    let policy = policy(options, &guest)?;
    match command {
        PolicyCommand::Show if is_human(options) => print(&policy.show()?)?,
        PolicyCommand::Show => {
            let settings: toml::Table = toml::from_str(&policy.show()?)?;
            print_json(&serde_json::json!({ "version": 1, "settings": settings }))?;
        }
        _ if is_human(options) => {
            let sources =
                if policy.sources.is_empty() { "built-in defaults".to_owned() } else { policy.sources.join(", ") };
            print(&format!("The policy is right: {sources}\n"))?;
        }
        _ => print_json(&serde_json::json!({ "version": 1, "sources": policy.sources }))?,
    }
    Ok(Exit::Done)
}
