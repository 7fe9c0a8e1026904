// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a seal: nothing is left that says that this guest has its identity, and the boot unit is armed.

use anyhow::Result;

use crate::formats::scheduled_keys;
use crate::plan::Severity;
use crate::plan::draft::Draft;
use crate::stamp::{OFFLINE, STAMP, STAMP_COPY};

/// Where packages put units.
const UNITS: [&str; 2] = ["usr/lib/systemd/system/reseal.service", "lib/systemd/system/reseal.service"];
/// What enabling the unit makes, systemctl(1).
pub const WANTED: &str = "etc/systemd/system/sysinit.target.wants/reseal.service";

/// Tells the boot unit that its turn in this boot is over; /run does not outlive the boot.
const BOOTED: &str = "run/reseal/booted";

/// Drafts it; the stamp goes last, so that a seal that was cut off is not taken for done.
pub fn plan(draft: &mut Draft<'_>) -> Result<()> {
    draft.author("seal");
    let mut installed = false;
    for unit in UNITS {
        if draft.exists(unit)? {
            installed = true;
            if !draft.exists(WANTED)? {
                draft.link(WANTED, &format!("/{unit}"), "the next boot resets the guest")?;
            }
        }
    }
    if !installed {
        let message = "reseal is not installed in the guest: nothing gives its copies an identity by itself";
        draft.finding(Severity::Warning, "/usr/lib/systemd/system/reseal.service", message);
    }
    if draft.guest.running {
        // Without a stamp, anything that starts sysinit.target anew would reset the template where it stands.
        draft.write(BOOTED, "", "the boot that is under way resets nothing")?;
    }
    for path in [scheduled_keys::PATH, STAMP_COPY, OFFLINE, STAMP] {
        draft.remove(path, "a template has no identity")?;
    }
    Ok(())
}
