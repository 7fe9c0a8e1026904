// SPDX-License-Identifier: MIT OR Apache-2.0
//! reseal gives a cloned Linux guest an identity of its own.
//!
//! A cloned guest wakes up believing that it is its template. reseal looks at it, writes down everything that must
//! change, and only then changes it. Regenerators write the list and cannot touch the guest; one executor works through
//! the list and takes no decisions. The list is inert, so a dry run is printing it, a crash is continuing it, and "did it
//! work?" is making it again and finding it empty.
//!
//! # A tour, in the order of a run
//!
//! 1. [`cli`] turns words into values, and [`commands`] calls the rest.
//! 2. [`root::Root`] is the guest's tree: read only, every path resolved inside it. [`guest::Guest`] adds what is known of
//!    the machine ([`guest::machine::Machine`]), with the fingerprint that tells it from others.
//! 3. [`policy::Policy`] says what to reset and how, merged from TOML in several places; every mistake is named by file
//!    and line.
//! 4. [`stamp::Memory`] is what earlier runs left in the guest, and gives the run its [`plan::draft::Past`]: the seed and the
//!    values that are decided already.
//! 5. [`regenerators::PIPELINE`] goes over one [`plan::draft::Draft`], the guest as it will be. Each
//!    [`regenerators::Regenerator`] decides the identities of one kind ([`plan::Renewal`]: old and new) and drafts the
//!    files where they live. Public values are derived from the run's seed ([`plan::derive::Seed`]); of a key the plan
//!    says only the algorithm ([`plan::key::KeySpec`]). What cannot or must not be reset is a [`plan::Finding`].
//! 6. The last regenerators know nothing themselves: they read the [`catalogue`] of what a clone must not keep and of the
//!    files that quote an identity, and edit the latter through [`formats`], which map text to text.
//! 7. The draft becomes a [`plan::Plan`]: a list of [`plan::Step`]s, each a [`plan::Change`]. That enum is all that reseal can
//!    do to a guest. [`plan::show`] prints it; `--dry-run` ends here.
//! 8. [`run::Run`] carries a plan out: [`apply::run`] looks whether it can be done, writes the journal, does the steps and
//!    makes the [`keys`]; then the plan is made again, and when it is empty [`apply::finish`] leaves the stamp
//!    ([`stamp::Record`]).
//!
//! # Laws
//!
//! Only [`apply`] changes a guest. Nothing is decided twice. No secret is in a plan. The second plan is empty. Any
//! interruption resumes to the same guest. A value is written by its owner, and its quotes follow from the renewals. Nothing
//! is skipped in silence. `tests/laws.rs` holds them over every case in `tests/cases`.

pub mod apply;
pub mod audit;
pub mod catalogue;
pub mod cli;
pub mod commands;
pub mod disks;
pub mod formats;
pub mod guest;
pub mod keys;
pub mod plan;
pub mod policy;
pub mod regenerators;
pub mod root;
pub mod run;
pub mod scan;
pub mod stamp;
