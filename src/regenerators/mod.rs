// SPDX-License-Identifier: MIT OR Apache-2.0
//! The regenerators: each drafts how one kind of identity is renewed, in the order of one list.

mod boot_entries;
mod credential_secret;
mod disk_ids;
mod hostname;
mod mac_address;
mod machine_id;
pub mod network;
mod pgp_keys;
mod references;
mod residue;
mod seal;
mod ssh_host_keys;
mod sshd;
mod static_ip;
mod storage_names;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::de::ValueDeserializer;

use crate::guest::Guest;
use crate::guest::instance::Instance;
use crate::plan::derive::Seed;
use crate::plan::draft::{Draft, Past, Purpose};
use crate::plan::{Plan, Severity, Stage};
use crate::policy::Policy;

/// One kind of identity and how it is renewed. It drafts; it cannot touch the guest.
pub trait Regenerator {
    /// Name in policy, `--only`, `--skip`, journal and documentation; kebab-case.
    const ID: &'static str;
    /// One line, imperative, no full stop.
    const ABOUT: &'static str;
    /// Its policy table with every setting at its default, annotated: the documentation, the shipped policy, and a test.
    const EXAMPLE: &'static str;
    /// Its policy table.
    type Options: DeserializeOwned + Serialize + Default;

    /// Drafts what must change.
    ///
    /// # Errors
    /// A sentence that says what could not be read or decided; what was drafted until then is dropped.
    fn plan(options: &Self::Options, draft: &mut Draft<'_>) -> Result<()>;
}

/// A regenerator as an entry of the list.
pub struct Entry {
    /// [`Regenerator::ID`].
    pub id: &'static str,
    /// [`Regenerator::ABOUT`].
    pub about: &'static str,
    /// [`Regenerator::EXAMPLE`].
    pub example: &'static str,
    pub(crate) check: fn(ValueDeserializer<'_>) -> Result<(), toml::de::Error>,
    pub(crate) effective: fn(&Policy) -> Result<Option<toml::Value>>,
    plan: fn(&Policy, &mut Draft<'_>) -> Result<()>,
}

impl Entry {
    const fn of<R: Regenerator>() -> Entry {
        Entry {
            id: R::ID,
            about: R::ABOUT,
            example: R::EXAMPLE,
            check: |input| serde::Deserialize::deserialize(input).map(|_: R::Options| ()),
            effective: |policy| {
                if R::EXAMPLE.is_empty() {
                    return Ok(None);
                }
                let options: R::Options = policy.options(R::ID)?;
                Ok(Some(toml::Value::try_from(options)?))
            },
            plan: |policy, draft| R::plan(&policy.options(R::ID)?, draft),
        }
    }

    /// Has it a table in the policy?
    pub fn has_options(&self) -> bool {
        !self.example.is_empty()
    }
}

/// The pipeline. Order is the list: an entry may read what earlier ones drafted, never what later ones will.
pub const PIPELINE: &[Entry] = &[
    Entry::of::<machine_id::MachineId>(),
    Entry::of::<hostname::Hostname>(),
    Entry::of::<mac_address::MacAddress>(),
    Entry::of::<static_ip::StaticIp>(),
    Entry::of::<credential_secret::CredentialSecret>(),
    Entry::of::<ssh_host_keys::SshHostKeys>(),
    Entry::of::<pgp_keys::PgpKeys>(),
    Entry::of::<disk_ids::FsUuids>(),
    Entry::of::<disk_ids::Swap>(),
    Entry::of::<disk_ids::Luks>(),
    Entry::of::<disk_ids::Lvm>(),
    Entry::of::<disk_ids::Md>(),
    Entry::of::<disk_ids::DiskIds>(),
    Entry::of::<storage_names::StorageNames>(),
    Entry::of::<residue::Residue>(),
    Entry::of::<references::References>(),
];

/// The regenerators that need a guest's files.
pub const OF_FILES: [&str; 10] = [
    machine_id::MachineId::ID,
    hostname::Hostname::ID,
    mac_address::MacAddress::ID,
    static_ip::StaticIp::ID,
    credential_secret::CredentialSecret::ID,
    ssh_host_keys::SshHostKeys::ID,
    pgp_keys::PgpKeys::ID,
    storage_names::StorageNames::ID,
    residue::Residue::ID,
    references::References::ID,
];

/// What plans in the initramfs: the id of the root file system, and what quotes it.
const INITRD: [&str; 2] = [disk_ids::FsUuids::ID, REFERENCES];

/// What changes before file systems are mounted.
pub const EARLY: [&str; 7] = [
    disk_ids::FsUuids::ID,
    disk_ids::Swap::ID,
    disk_ids::Luks::ID,
    disk_ids::Lvm::ID,
    disk_ids::Md::ID,
    disk_ids::DiskIds::ID,
    references::References::ID,
];

/// What a boot resets when the policy cannot be read: see [`Policy::fallback`].
pub const WITHOUT_POLICY: [&str; 4] = [
    machine_id::MachineId::ID,
    credential_secret::CredentialSecret::ID,
    ssh_host_keys::SshHostKeys::ID,
    residue::Residue::ID,
];

pub use disk_ids::{boot_files, may_be_anchored, on_disks};
pub use residue::{Finder as ResidueFinder, check as check_residue, paths as residue_paths};
pub use seal::WANTED as UNIT_LINK;

/// Runs with every selection, unless it is skipped by name.
pub const REFERENCES: &str = references::References::ID;

/// The paths that sshd takes host keys from, and which its configuration names; `None` where there is no sshd.
///
/// # Errors
/// When a directory cannot be read.
pub fn host_keys(guest: &Guest) -> Result<Option<Vec<(String, bool)>>> {
    let mut draft = Draft::new(guest, Purpose::Reset, Past::none(Seed::random(b"")?));
    let Some(sshd) = sshd::Sshd::find(&mut draft)? else { return Ok(None) };
    Ok(Some(sshd.host_keys.iter().map(|path| (path.clone(), sshd.configured.contains(path))).collect()))
}

/// What happens when a regenerator fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Planning ends: a person is there to mend it, and nothing has been touched.
    Stop,
    /// A finding, and the others go on: a boot must not end because of one identity.
    GoOn,
}

/// Runs the pipeline over a guest.
///
/// # Errors
/// That of the first regenerator that fails, with [`OnError::Stop`].
pub fn plan(policy: &Policy, guest: &Guest, past: Past, purpose: Purpose, on_error: OnError) -> Result<Plan> {
    let mut draft = Draft::new(guest, purpose, past);
    let policy = &told(policy, &mut draft, on_error)?;
    draft.quotes_follow = policy.selects(REFERENCES);
    // What a later stage sees of the files is more than an earlier one does: only what is changed now is decided now.
    let in_time = |entry: &Entry| match guest.stage {
        Some(Stage::Initrd) => INITRD.contains(&entry.id),
        Some(Stage::Early) => EARLY.contains(&entry.id),
        _ => true,
    };
    for entry in PIPELINE.iter().filter(|entry| policy.selects(entry.id) && in_time(entry)) {
        let before = draft.clone();
        draft.author(entry.id);
        if let Err(error) = (entry.plan)(policy, &mut draft).with_context(|| format!("planning {}", entry.id)) {
            if on_error == OnError::Stop {
                return Err(error);
            }
            draft = before;
            draft.author(entry.id);
            draft.finding(Severity::Error, entry.id, format!("{error:#}; nothing of it was changed"));
        }
    }
    if !draft.quotes_follow && purpose == Purpose::Reset {
        references::warn(&mut draft);
    }
    if purpose == Purpose::Seal {
        seal::plan(&mut draft)?;
    } else {
        disk_ids::plan_running_system(&mut draft)?;
    }
    draft.into_plan()
}

/// Has the draft told what the instance data says, and gives the policy with what it may set of it. A template that is
/// sealed is told nothing: what it is told is for its clones.
fn told(policy: &Policy, draft: &mut Draft<'_>, on_error: OnError) -> Result<Policy> {
    if draft.purpose == Purpose::Seal {
        return Ok(policy.clone());
    }
    let mut instance = Instance::of(draft.guest, &policy.instance);
    if policy.was_set(hostname::Hostname::ID, "name") {
        instance.hostname = None;
    }
    draft.author("instance");
    for trouble in std::mem::take(&mut instance.troubles) {
        if on_error == OnError::Stop && trouble.severity == Severity::Error {
            anyhow::bail!("gathering instance data: {}", trouble.message);
        }
        draft.finding(trouble.severity, "instance data", trouble.message);
    }
    let told = policy.told(&instance).context("gathering instance data").or_else(|error| {
        if on_error == OnError::Stop {
            return Err(error);
        }
        draft.finding(Severity::Error, "instance data", format!("{error:#}; it sets nothing of the policy"));
        Ok(policy.clone())
    })?;
    draft.instance = instance;
    Ok(told)
}
