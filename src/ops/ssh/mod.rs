//! `ssh`: what SSH's keepalives and the kernel's add up to, and settings that
//! really take effect.

mod plan;
mod reload;
mod set;
mod show;
mod unset;

pub use plan::{Purpose, SshPlanReport, plan};
pub use reload::Reloaded;
pub use set::{Client, Putty, Scope, Server, SetReport, set_client, set_putty, set_server};
pub use show::{Circumstances, SshReport, Subject, show};
pub use unset::{UnsetReport, unset_client, unset_putty, unset_server};

use crate::root::Root;
use crate::ssh;

use super::files::FilePlan;
use super::{Error, Result};

/// That a torn block is in a file.
fn torn(root: &Root, file: &std::path::Path) -> impl Fn(ssh::block::Torn) -> Error {
    let file = root.display(file);
    move |torn| {
        Error::Ssh(ssh::Error::Torn {
            file: file.clone(),
            line: torn.0,
        })
    }
}

/// Carries a plan out, then looks at what came of it; what fails undoes it all.
fn carry_out<T>(root: &Root, files: &FilePlan, look: impl FnOnce() -> Result<T>) -> Result<T> {
    let _signals = crate::kernel::signals::hold()?;
    files.carry_out(root)?;
    look().map_err(|e| files.undo_all(root, e))
}

/// The name of the block of some hosts: the command that writes it.
fn block_name(patterns: &ssh::pattern::Patterns) -> String {
    match patterns.is_all() {
        true => "ssh set client".to_owned(),
        false => format!("ssh set client --host '{}'", patterns.as_str()),
    }
}

/// The name of the block in the server's main file.
const SERVER_BLOCK: &str = "ssh set server --edit-main";
