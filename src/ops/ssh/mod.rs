//! `ssh`: what SSH's keepalives and the kernel's add up to, and settings that
//! really take effect.

pub mod client;
mod plan;
pub mod putty;
mod reload;
pub mod server;
mod set;
mod show;
mod unset;

pub use plan::{Purpose, SshPlanReport, plan};
pub use reload::Reloaded;
pub use set::SetReport;
pub use show::{Circumstances, SshReport, Subject, show};
pub use unset::UnsetReport;

pub use crate::ssh::program::Programs;

use std::time::Duration;

use crate::boot::lock::{self, Lock};
use crate::kernel::netns::NetNs;
use crate::model::Settings;
use crate::model::time_to_drop::Conditions;
use crate::root::Root;
use crate::ssh;
use crate::ssh::block::Fault;

use super::files::FilePlan;
use super::time_to_drop::{Question, conditions};
use super::{Error, Result};

/// The kernel's settings in force here, and what else decides when TCP gives up.
fn conditions_here(rtt: Option<Duration>) -> Result<(Settings, Conditions)> {
    let question = Question {
        rtt,
        ..Question::default()
    };
    conditions(&NetNs::default(), &question)
}

/// The lock on the system's files; none where none of them is to be written.
fn lock(root: &Root, to_write: bool) -> Result<Option<Lock>> {
    match to_write {
        true => Ok(Some(lock::take(root)?)),
        false => Ok(None),
    }
}

/// Why a block in a file is left alone.
fn fault(root: &Root, file: &std::path::Path) -> impl Fn(Fault) -> Error {
    let file = root.display(file);
    move |fault| {
        let file = file.clone();
        Error::Ssh(match fault {
            Fault::Torn(line) => ssh::Error::Torn { file, line },
            Fault::Foreign(line) => ssh::Error::Edited { file, line },
        })
    }
}

/// Carries a plan out, then looks at what came of it; what fails undoes it all. To look
/// may take a while, so the lock is not held meanwhile; what another one writes then is
/// not undone.
fn carry_out<T>(
    root: &Root,
    files: &FilePlan,
    held: Option<Lock>,
    look: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let _signals = crate::kernel::signals::hold()?;
    files.carry_out(root)?;
    let of_system = held.is_some();
    drop(held);
    look().map_err(|e| {
        // Who cannot have it undoes what is still as it was written all the same.
        let _lock = lock(root, of_system);
        files.undo_all(root, e)
    })
}
