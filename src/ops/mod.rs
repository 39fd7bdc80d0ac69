//! What keepalivectl does: one file for each job.
//!
//! This is the only place that combines the rooms below it. Each job reads,
//! makes a plan (a pure difference), carries it out and returns a report; it
//! prints nothing. The reports serialize, so people and programs see the same.

pub mod apply;
pub mod apply_all;
pub mod boot;
pub mod check;
pub mod enable;
pub mod files;
pub mod measure;
pub mod netns;
pub mod paths;
pub mod plan;
pub mod profiles;
pub mod revert;
pub mod show;
pub mod sockets;
pub mod ssh;
pub mod time_to_drop;
pub mod verify;

use std::path::PathBuf;

use serde::Serialize;
use thiserror::Error;

use crate::chain::causes;
use crate::kernel;
use crate::kernel::netns::NetNs;
use crate::kernel::signals::Signal;
use crate::model::path::Path;
use crate::model::plan::Impossible;
use crate::model::time_to_drop::{Idle, LimitsError, UserTimeoutError, idle};
use crate::model::{Hz, Partial, ProfileName, Setting, Settings, SettingsError, Values};
use crate::programs;
use crate::root::{FileError, Root};

/// What a job failed of.
#[derive(Debug, Error)]
pub enum Error {
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// The files that decide the next boot.
    #[error(transparent)]
    Boot(#[from] crate::boot::Error),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value that was asked for is not legal.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No process has that number.
    #[error("there is no process {pid}")]
    NoSuchProcess {
        /// As it was asked for.
        pid: i32,
    },
    /// A value that no socket can have of its own.
    #[error("{setting} {value} is nothing a socket can have of its own: use 1 to {}", setting.max_on_socket())]
    BeyondSocket {
        /// Which setting.
        setting: Setting,
        /// What was asked for.
        value: i64,
    },
    /// A user timeout that no socket can have.
    #[error(transparent)]
    UserTimeout(#[from] UserTimeoutError),
    /// A limit of retransmission that no kernel takes.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// A timeline that nobody would read.
    #[error(
        "the timeline has {segments} segments, and 100000 is the most; leave --timeline out, or ask \
         for one --state"
    )]
    TooManyEvents {
        /// Segments of the state with the most.
        segments: u64,
    },
    /// No settings do what was wished for.
    #[error(transparent)]
    Impossible(#[from] Impossible),
    /// No interval and count do what was wished for.
    #[error(transparent)]
    SshImpossible(#[from] crate::model::ssh::plan::Impossible),
    /// A configuration of SSH.
    #[error(transparent)]
    Ssh(#[from] crate::ssh::Error),
    /// What was written is overruled.
    #[error("{option} would not take effect{}", because(.line))]
    NotInEffect {
        /// The option.
        option: &'static str,
        /// The line that is met first.
        line: Option<crate::ssh::Line>,
    },
    /// The client's main file includes no drop-ins.
    #[error("{main} does not include what is in {folder}, so a file there would not count")]
    NotIncluded {
        /// The main file.
        main: &'static str,
        /// The folder.
        folder: &'static str,
    },
    /// The server's main file includes no drop-ins.
    #[error(
        "{} has no Include that takes in /etc/ssh/sshd_config.d for all connections, so a drop-in \
         would not count; --edit-main puts the lines at the top of the file itself",
        main.display()
    )]
    NoInclude {
        /// The main file.
        main: PathBuf,
    },
    /// A server that takes a count of 0 for something else.
    #[error(
        "before OpenSSH 8.2, as here, a count of 0 ends every session that is idle for one interval"
    )]
    EndsIdle,
    /// The files are written, and the running server does not know.
    #[error("the files are changed, but the running sshd could not be told")]
    NotReloaded(#[source] Box<Error>),
    /// A path that no keepalive probe refreshes.
    #[error(
        "no settings keep an idle connection through {} ({}): it counts bytes, and a keepalive \
         probe carries none",
        path.name,
        path.title
    )]
    CountsBytes {
        /// The path.
        path: &'static Path,
    },
    /// No profile has that name.
    #[error("there is no profile {name}{}", did_you_mean(.similar))]
    NoSuchProfile {
        /// As it was asked for.
        name: ProfileName,
        /// Names that it could have been meant for.
        similar: Vec<ProfileName>,
    },
    /// A built-in profile cannot be deleted.
    #[error("the profile {name} is built in and cannot be deleted")]
    BuiltIn {
        /// Its name.
        name: ProfileName,
    },
    /// Nothing is kept for boot.
    #[error("no profile is enabled: there is no {}", file.display())]
    NothingEnabled {
        /// The drop-in that is not there.
        file: PathBuf,
    },
    /// The kernel's own values cannot be computed with.
    #[error("the kernel has {in_force} in force, and all three are needed here")]
    InForce {
        /// What is in force.
        in_force: Values,
        /// What is wrong with it.
        #[source]
        why: SettingsError,
    },
    /// What `revert` or `disable --now` would put in force harms.
    #[error("going back to {values}, {origin}, is refused")]
    Harmful {
        /// The values.
        values: Values,
        /// Where they come from.
        origin: &'static str,
        /// What is wrong with them.
        #[source]
        why: SettingsError,
    },
    /// A job on the running kernel, and the tree of another machine.
    #[error(
        "{operation} works on the running machine, and {} is the tree of another one; leave --root \
         out",
        root.display()
    )]
    NotTheMachine {
        /// The job.
        operation: &'static str,
        /// The tree.
        root: PathBuf,
    },
    /// `enable --now` in a network namespace that the unit does not act in.
    #[error(
        "this is another network namespace than systemd's, in which the unit acts; enable without \
         --now, and apply here"
    )]
    OtherNamespace,
    /// The unit ran and did not put in force what it should.
    #[error("the unit ran, and {in_force} is in force instead of {wanted}")]
    NotInForce {
        /// What is enabled.
        wanted: Settings,
        /// What is in force.
        in_force: Values,
    },
    /// It failed and everything is as it was before.
    #[error("nothing is changed")]
    Undone(#[source] Box<Error>),
    /// It failed, and so did the attempt to undo it.
    #[error("could not undo what was done: {}", left.join("; "))]
    NotUndone {
        /// What is left changed, one line each.
        left: Vec<String>,
        /// What failed first.
        #[source]
        cause: Box<Error>,
    },
}

impl Error {
    /// Whether something is left changed, contrary to what was asked for.
    pub fn left_changed(&self) -> bool {
        match self {
            Error::NotUndone { .. } | Error::Kernel(kernel::Error::NotUndone { .. }) => true,
            Error::NotReloaded(_) => true,
            Error::Undone(cause) => cause.left_changed(),
            _ => false,
        }
    }

    /// The signal that it was interrupted by. It is taken: the caller says what became
    /// of the job, and then ends by it.
    pub fn signal(&self) -> Option<Signal> {
        causes(self).find_map(|link| {
            let boxed = || link.downcast_ref::<Box<programs::Error>>();
            match link
                .downcast_ref()
                .or_else(|| boxed().map(|boxed| &**boxed))
            {
                Some(programs::Error::Interrupted(signal)) => Some(*signal),
                _ => None,
            }
        })
    }

    /// Whether what was asked for can never be, on any machine.
    pub fn is_wrong_input(&self) -> bool {
        match self {
            Error::Settings(_) | Error::UserTimeout(_) | Error::Limits(_) => true,
            Error::NotTheMachine { .. } | Error::TooManyEvents { .. } => true,
            Error::BeyondSocket { .. } | Error::EndsIdle => true,
            Error::SshImpossible(e) => matches!(e, crate::model::ssh::plan::Impossible::NoWish),
            Error::Impossible(e) => matches!(e, Impossible::NoWish | Impossible::TooManyLost),
            _ => false,
        }
    }
}

fn because(line: &Option<crate::ssh::Line>) -> String {
    match line {
        Some(line) => format!(": {line} is met first, and the first one wins"),
        None => String::new(),
    }
}

fn did_you_mean(similar: &[ProfileName]) -> String {
    if similar.is_empty() {
        return "; `keepalivectl profile list` names them all".to_owned();
    }
    let names: Vec<&str> = similar.iter().map(ProfileName::as_str).collect();
    format!("; did you mean {}?", names.join(" or "))
}

/// The named values over what is in force.
fn over(partial: Partial, in_force: Values) -> Result<Settings> {
    Settings::try_from(partial.over(in_force)).map_err(|why| Error::InForce { in_force, why })
}

/// The settings that are asked about; the kernel is asked only for what is not
/// given.
fn settings(netns: &NetNs, partial: Partial) -> Result<Settings> {
    partial.check()?;
    match partial.complete() {
        Some(values) => Ok(Settings::try_from(values)?),
        None => over(partial, netns.enter(kernel::keepalive::read)??),
    }
}

/// Values that are to be put in force again, unless they harm.
fn harmless(values: Values, origin: &'static str) -> Result<Settings> {
    Settings::try_from(values).map_err(|why| Error::Harmful {
        values,
        origin,
        why,
    })
}

/// The tick rate of the kernel that will boot a tree, if it is this one.
fn rate_at_boot(root: &Root) -> Option<Hz> {
    kernel::tick::rate().filter(|_| root.is_machine())
}

/// A job's result.
pub type Result<T> = std::result::Result<T, Error>;

/// The time to drop that the three settings decide: that of an idle connection
/// without a user timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TimeToDropIdle {
    /// Nothing to send, nothing unacknowledged.
    pub idle: Idle,
}

impl TimeToDropIdle {
    /// On this kernel.
    fn here(settings: Settings) -> TimeToDropIdle {
        TimeToDropIdle {
            idle: idle(settings, None, kernel::tick::rate()),
        }
    }
}

fn require_machine(root: &Root, operation: &'static str) -> Result<()> {
    if root.is_machine() {
        return Ok(());
    }
    Err(Error::NotTheMachine {
        operation,
        root: root.display("/"),
    })
}

/// Warnings about settings that are legal and may surprise.
fn warnings(settings: Settings) -> Vec<String> {
    let beyond = settings.beyond_socket().map(|(setting, value)| {
        format!(
            "{setting} {value} is more than a program can set on its own socket, which ends at {}",
            setting.max_on_socket()
        )
    });
    let single = (settings.probes() == 1)
        .then(|| "with probes 1, a single lost probe drops the connection".to_owned());
    beyond.chain(single).collect()
}
