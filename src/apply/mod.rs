// SPDX-License-Identifier: MIT OR Apache-2.0
//! The only code that changes a guest: it works through a plan and takes no decisions.

mod active;
mod aside;
mod device;
mod entropy;
mod firmware;
mod generator;
mod gnupg;
mod image;
mod journal;
mod kernel;
mod key_store;
mod links;
mod live;
mod preflight;
pub mod probe;
mod rename;
mod root_fs;
mod secret;
mod step;
mod tools;
mod volume_keys;
mod writer;

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::guest::Guest;
use crate::plan::show::title;
use crate::plan::{Change, Plan, Stage};
use crate::stamp::Record;
use step::Executor;

pub use aside::Mounted;
use device::DeviceFailed;
use firmware::FirmwareFailed;
pub use generator::{tell_at_boot, wake_units};
pub use image::Tree;
pub use journal::{adopt, restore_stamp};
pub use root_fs::{Request, RootMounts, enter as enter_root, is_initramfs, tell_boot_of_initramfs};
pub use volume_keys::renew_volume_keys;

/// How long a boot waits for the kernel's random pool.
const POOL: Duration = Duration::from_secs(60);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Every step is done.
    Done,
    /// It was told to stop; the journal is kept.
    Interrupted,
    /// The keys wait for the kernel's random pool; the journal is kept.
    Deferred,
    /// The root file system must be taken away for the next step, which was asked for; the journal is kept.
    RootAway,
}

/// Why a run failed, as far as its exit status goes.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing was changed, and nothing is to be resumed.
    #[error("{0:#}")]
    Untouched(anyhow::Error),
    /// Some steps were done; the journal is kept, and another run goes on.
    #[error("{0:#}")]
    Stopped(anyhow::Error),
}

impl Failure {
    /// Is it the firmware that did not take a variable?
    pub fn is_of_firmware(&self) -> bool {
        matches!(self, Failure::Stopped(error) if error.is::<FirmwareFailed>())
    }

    /// The devices that did not take their ids, where that is what stopped the run.
    pub fn devices(&self) -> Option<&[String]> {
        match self {
            Failure::Stopped(error) => error.downcast_ref::<DeviceFailed>().map(|failed| failed.0.as_slice()),
            Failure::Untouched(_) => None,
        }
    }
}

/// What the caller decides about a run.
pub struct Control<'a> {
    /// The stage that is being run; none by hand.
    pub stage: Option<Stage>,
    /// Asked before every step with its number; `true` ends the run there.
    pub interrupt: &'a mut dyn FnMut(usize) -> bool,
}

/// Waits until udev is through with the devices that it knows of, for at most so many seconds.
pub fn await_devices(most: u32) {
    if tools::exists("udevadm")
        && let Err(error) = tools::run("udevadm", &["settle", &format!("--timeout={most}")])
    {
        tracing::warn!("waiting for devices: {error:#}");
    }
}

/// Holds other runs on the same guest off until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _held: Flock<std::os::fd::OwnedFd>,
}

/// Takes the guest for one run: a lock on its root directory, flock(2), that needs no file.
///
/// # Errors
/// When another run has it.
pub fn lock(guest: &Guest) -> Result<Lock> {
    let dir = guest.root.open_dir("")?;
    let held = Flock::lock(dir, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => anyhow::anyhow!("another run of reseal is at work on {}", guest.root.path().display()),
        errno => anyhow::Error::from(errno),
    })?;
    Ok(Lock { _held: held })
}

/// Carries out a plan: looks whether it can be done, writes the journal, does the steps. The caller verifies, and then
/// [`finish`]es.
///
/// # Errors
/// [`Failure`].
pub fn run(plan: &Plan, guest: &Guest, record: &mut Record, control: Control<'_>) -> Result<End, Failure> {
    preflight::check(plan, guest).map_err(Failure::Untouched)?;
    journal::begin(guest, record).map_err(Failure::Untouched)?;
    let mut executor = Executor::new(guest, record);
    let mut deferred = false;
    for (number, step) in plan.steps.iter().enumerate() {
        if (control.interrupt)(number) {
            return Ok(End::Interrupted);
        }
        if step.stage == Stage::Keys && !deferred && !executor.pool_is_ready {
            // Only a boot's own unit has a later one to leave the keys to.
            let most = (control.stage == Some(Stage::System)).then_some(POOL);
            let mut stopped = false;
            executor.pool_is_ready = entropy::wait(most, &mut || {
                stopped = (control.interrupt)(number);
                stopped
            });
            if stopped {
                return Ok(End::Interrupted);
            }
            deferred = !executor.pool_is_ready;
        }
        if step.stage == Stage::Keys && deferred {
            continue;
        }
        tracing::debug!(step = number, "{}", title(&step.change));
        if let Change::SetId { format, places, via } = &step.change
            && root_fs::is_meant(via)
            && !step::is_done(guest, None, &step.change).map_err(Failure::Stopped)?
        {
            Request::leave(*format, places).map_err(Failure::Stopped)?;
            return Ok(End::RootAway);
        }
        let done = executor.carry_out(plan, number).with_context(|| title(&step.change));
        match (done, &step.change) {
            (Ok(()), _) => {}
            // The files are right, and the next boot brings the running system to them.
            (Err(error), Change::Live(live)) if !live.is_needed() => {
                executor.found(step, format!("{error:#}; it does so from the next boot on"))
            }
            (Err(error), Change::Run { .. }) => executor.found(step, format!("{error:#}; the file is left as it is")),
            (Err(error), _) => return Err(Failure::Stopped(error)),
        }
    }
    Ok(if deferred { End::Deferred } else { End::Done })
}

/// Is the kernel's random pool ready? Does not wait.
pub fn pool_is_ready() -> bool {
    entropy::wait(Some(Duration::ZERO), &mut || true)
}

/// Does sshd(8) of the running system take its configuration and host keys? `None` where there is none. Changes nothing.
pub fn sshd_accepts() -> Option<Result<()>> {
    tools::exists("sshd").then(|| tools::run("sshd", &["-t"]))
}

/// Ends a run that was verified: the stamp (or what the run leaves instead), then the journal goes.
///
/// # Errors
/// When it cannot be written.
pub fn finish(guest: &Guest, record: &Record) -> Result<()> {
    journal::finish(guest, record)
}
