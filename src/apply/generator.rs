// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the generator leaves for PID 1, systemd.generator(7): files of this boot alone, in a directory of /run.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The units that a stamp keeps from running, and what of their conditions must stand all the same. An empty assignment
/// clears every condition, systemd.unit(5).
const GATED: [(&str, &str); 4] = [
    ("reseal-early.service", "ConditionPathExists=!/run/reseal/booted"),
    ("reseal-early-volumes.service", "ConditionPathExists=!/run/reseal/booted"),
    ("reseal.service", "ConditionPathExists=!/run/reseal/booted"),
    ("reseal-keys.service", "ConditionPathExists=/etc/reseal/journal/run"),
];

/// The unit that says whose stamp this is, where systemd finds it.
const TELLER: &str = "/usr/lib/systemd/system/reseal-clone.service";

/// Lets the boot units run although there is a stamp.
///
/// # Errors
/// When `dir`, the generator's directory, cannot be written.
pub fn wake_units(dir: &Path) -> Result<()> {
    for (unit, condition) in GATED {
        let text = format!(
            "# Written at boot by reseal-generator: the stamp may be of another machine, and run.on-clone is \"reset\".\n\
             [Unit]\nConditionPathExists=\n{condition}\n"
        );
        let dir = dir.join(format!("{unit}.d"));
        make(&dir)?;
        let path = dir.join("50-reseal-clone.conf");
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Has the boot say, when it is up, whose stamp this is.
///
/// # Errors
/// When `dir`, the generator's directory, cannot be written.
pub fn tell_at_boot(dir: &Path) -> Result<()> {
    let wants = dir.join("multi-user.target.wants");
    make(&wants)?;
    let link = wants.join("reseal-clone.service");
    match symlink(TELLER, &link) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
    .with_context(|| format!("linking {}", link.display()))
}

fn make(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_in_keeps_every_condition_but_the_stamps() {
        let dir = tempfile::tempdir().unwrap();
        wake_units(dir.path()).unwrap();
        for (unit, condition) in GATED {
            let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("units").join(unit)).unwrap();
            let conditions: Vec<&str> = source.lines().filter(|line| line.starts_with("Condition")).collect();
            assert_eq!(conditions, ["ConditionPathExists=!/etc/reseal/stamp", condition], "{unit}");
            let text = fs::read_to_string(dir.path().join(format!("{unit}.d/50-reseal-clone.conf"))).unwrap();
            assert!(text.ends_with(&format!("\nConditionPathExists=\n{condition}\n")), "{text}");
        }
        tell_at_boot(dir.path()).unwrap();
        tell_at_boot(dir.path()).unwrap();
        assert!(dir.path().join("multi-user.target.wants/reseal-clone.service").is_symlink());
    }
}
