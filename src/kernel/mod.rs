//! The running kernel: one file for each of its interfaces.
//!
//! What this room says of the kernel is about this machine, now, and about the
//! network namespace of the calling thread.

mod child;
pub mod conntrack;
pub mod counters;
mod deafen;
mod guard;
pub mod keepalive;
pub mod lab;
mod link;
pub mod namespaces;
mod netlink;
pub mod netns;
pub mod nsfs;
pub mod owners;
pub mod processes;
pub mod release;
pub mod signals;
pub mod sock_diag;
mod sysctl;
pub mod taken;
pub mod tcp;
mod tcp_info;
pub mod tick;
pub mod turn;
mod watched;

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::model::{Setting, Values};

/// What went wrong with the kernel.
#[derive(Debug, Error)]
pub enum Error {
    /// A value could not be read.
    #[error("cannot read {key}")]
    Read {
        /// The sysctl key.
        key: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The kernel's answer is not a number.
    #[error("the kernel says {value:?} for {key}, which is not a whole number")]
    NotANumber {
        /// The sysctl key.
        key: &'static str,
        /// What was read.
        value: String,
    },
    /// EACCES or EPERM (`net_ctl_permissions` in `net/sysctl_net.c`).
    #[error(
        "cannot set {}: CAP_NET_ADMIN in this network namespace is missing",
        .setting.key()
    )]
    NotPermitted {
        /// Which setting.
        setting: Setting,
    },
    /// EROFS: /proc/sys is mounted read-only, as container runtimes do.
    #[error("cannot set {}: /proc/sys is read-only here, as it is in a container", .setting.key())]
    ReadOnly {
        /// Which setting.
        setting: Setting,
        /// What was to be written.
        value: i64,
    },
    /// Any other failure of a write.
    #[error("cannot set {} to {value}", .setting.key())]
    Write {
        /// Which setting.
        setting: Setting,
        /// What was to be written.
        value: i64,
        /// The cause.
        source: io::Error,
    },
    /// Something in the laboratory could not be done.
    #[error("cannot measure: cannot {doing}")]
    Lab {
        /// What.
        doing: String,
        /// The cause.
        source: io::Error,
    },
    /// Read back, a value is another than the one written.
    #[error("{} reads {found} after {wanted} was written: another program has set it", .setting.key())]
    NotKept {
        /// Which setting.
        setting: Setting,
        /// What was written.
        wanted: i64,
        /// What was read back.
        found: i64,
    },
    /// The write failed and all is as it was before.
    #[error("nothing is changed, {in_force} is in force")]
    Undone {
        /// What is in force.
        in_force: Values,
        /// What failed.
        #[source]
        cause: Box<Error>,
    },
    /// The write failed, and so did the attempt to undo it.
    #[error("could not go back to {before}: {}", in_force_now(.in_force))]
    NotUndone {
        /// What was in force before.
        before: Values,
        /// What is in force now, if it can be read.
        in_force: Option<Values>,
        /// What failed first.
        #[source]
        cause: Box<Error>,
    },
    /// Another has had the turn all the time.
    #[error(
        "another keepalivectl, or the root of the network namespace, has kept {} locked for more than \
         {} ms; `fuser {}` names it",
        turn::FILE,
        waited.as_millis(),
        turn::FILE
    )]
    NotYourTurn {
        /// For how long this one waited.
        waited: Duration,
    },
    /// The lock of those who write the values cannot be had.
    #[error("cannot lock {}", turn::FILE)]
    Turn(#[source] io::Error),
    /// The process that undoes a broken change could not be started.
    #[error("cannot start the process that guards the change")]
    Guard(#[source] io::Error),
    /// The process that takes sockets of others could not be started.
    #[error("cannot start the process that reads and sets the options of sockets")]
    Taker(#[source] io::Error),
    /// A thread could not be started: EAGAIN where no more are allowed.
    #[error("cannot start a thread for another network namespace")]
    Thread(#[source] io::Error),
    /// A namespace cannot be entered.
    #[error("cannot enter the network namespace {name}")]
    Enter {
        /// As it was asked for.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// The counters cannot be read.
    #[error("cannot read the counters in /proc/net/netstat")]
    Counters(#[source] io::Error),
    /// The sockets cannot be listed.
    #[error("cannot list the TCP sockets (sock_diag)")]
    Sockets(#[source] io::Error),
    /// The processes that hold sockets cannot be found.
    #[error("cannot list the processes in /proc")]
    Processes(#[source] io::Error),
    /// The namespaces cannot be listed.
    #[error("cannot list the network namespaces in /run/netns and /proc")]
    Namespaces(#[source] io::Error),
    /// A namespace has gone away since it was found.
    #[error("it has gone away")]
    Gone,
    /// The namespace's identity cannot be read.
    #[error("cannot tell this network namespace from others")]
    Identity(#[source] io::Error),
}

fn in_force_now(values: &Option<Values>) -> String {
    match values {
        Some(values) => format!("{values} is in force now"),
        None => "what is in force now cannot be read".to_owned(),
    }
}
