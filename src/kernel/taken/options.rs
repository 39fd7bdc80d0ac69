//! What a socket has in effect, and what it is to have.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::socket::{GetSockOpt, SetSockOpt, getsockopt, setsockopt, sockopt};

use crate::model::{Setting, Values};

/// What a socket has in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// SO_KEEPALIVE.
    pub keepalive: bool,
    /// TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT: its own values, and what is in
    /// force in its network namespace for those that it does not have.
    pub values: Values,
    /// TCP_USER_TIMEOUT; 0 for none.
    pub user_timeout_ms: u32,
}

/// What a socket is to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// TCP_KEEPIDLE in seconds: 1 to 32767.
    pub time: Option<u32>,
    /// TCP_KEEPINTVL in seconds: 1 to 32767.
    pub intvl: Option<u32>,
    /// TCP_KEEPCNT: 1 to 127.
    pub probes: Option<u32>,
    /// TCP_USER_TIMEOUT; 0 for none.
    pub user_timeout_ms: Option<u32>,
    /// Whether to turn SO_KEEPALIVE on.
    pub turn_on: bool,
}

impl Options {
    /// The three settings as the change would make them.
    pub fn after(&self, change: &Change) -> Values {
        let new = |wanted: Option<u32>, old: i64| wanted.map_or(old, i64::from);
        Values {
            time: new(change.time, self.values.time),
            intvl: new(change.intvl, self.values.intvl),
            probes: new(change.probes, self.values.probes),
        }
    }

    /// Whether this is what the change would make of it.
    pub fn has(&self, change: &Change) -> bool {
        let is = |wanted: Option<u32>, found: i64| wanted.is_none_or(|w| i64::from(w) == found);
        let timeout = change.user_timeout_ms;
        is(change.time, self.values.time)
            && is(change.intvl, self.values.intvl)
            && is(change.probes, self.values.probes)
            && timeout.is_none_or(|ms| ms == self.user_timeout_ms)
            && (self.keepalive || !change.turn_on)
    }
}

/// Why a change of one socket failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// What the kernel said.
    Kernel(Errno),
    /// Read back, it has other values.
    NotKept,
}

impl From<Errno> for Fault {
    fn from(e: Errno) -> Fault {
        Fault::Kernel(e)
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> io::Error {
        match fault {
            Fault::Kernel(e) => e.into(),
            Fault::NotKept => io::Error::other(
                "the socket has other values than those just set: its program sets them too",
            ),
        }
    }
}

/// Reads what a socket has in effect. Async-signal-safe, as all that follows.
pub(in crate::kernel) fn read(socket: &impl AsFd) -> nix::Result<Options> {
    Ok(Options {
        keepalive: getsockopt(socket, sockopt::KeepAlive)?,
        values: Values {
            time: number(getsockopt(socket, sockopt::TcpKeepIdle)?),
            intvl: number(getsockopt(socket, sockopt::TcpKeepInterval)?),
            probes: number(getsockopt(socket, sockopt::TcpKeepCount)?),
        },
        user_timeout_ms: getsockopt(socket, sockopt::TcpUserTimeout)?,
    })
}

/// Gives a socket values of its own, and reads them back. `before` is what it has.
/// TCP_KEEPIDLE arms the timer anew, counted from the last segment received
/// (`tcp_sock_set_keepidle_locked`).
///
/// # Errors
/// What the kernel says: what was set by then is set back, as far as it can be.
/// Or that it has other values by now: its program has set them too, and they
/// stay.
pub(super) fn set(socket: &impl AsFd, before: &Options, change: &Change) -> Result<(), Fault> {
    let mut done = Change::default();
    if let Err(e) = set_each(socket, change, &mut done) {
        set_back(socket, before, &done);
        return Err(e.into());
    }
    match read(socket)?.has(change) {
        true => Ok(()),
        false => Err(Fault::NotKept),
    }
}

/// Sets what is wanted, and keeps in `done` what was set.
fn set_each(socket: &impl AsFd, wanted: &Change, done: &mut Change) -> nix::Result<()> {
    if let Some(probes) = wanted.probes {
        setsockopt(socket, sockopt::TcpKeepCount, &probes)?;
        done.probes = wanted.probes;
    }
    if let Some(intvl) = wanted.intvl {
        setsockopt(socket, sockopt::TcpKeepInterval, &intvl)?;
        done.intvl = wanted.intvl;
    }
    // The timer can run out at once, so what then counts comes before it.
    if let Some(time) = wanted.time {
        setsockopt(socket, sockopt::TcpKeepIdle, &time)?;
        done.time = wanted.time;
    }
    if let Some(timeout_ms) = wanted.user_timeout_ms {
        setsockopt(socket, sockopt::TcpUserTimeout, &timeout_ms)?;
        done.user_timeout_ms = wanted.user_timeout_ms;
    }
    // Last, so that its timer is armed with the new time.
    if wanted.turn_on {
        turn_on(socket)?;
        done.turn_on = true;
    }
    Ok(())
}

/// As well as it goes, each by itself: the caller has an error to report already.
/// Keepalive is the last to be turned on, so nothing has to turn it off.
fn set_back(socket: &impl AsFd, before: &Options, done: &Change) {
    let old = |setting| u32::try_from(before.values.get(setting)).unwrap_or_default();
    if done.time.is_some() {
        try_to_set(socket, sockopt::TcpKeepIdle, &old(Setting::Time));
    }
    if done.intvl.is_some() {
        try_to_set(socket, sockopt::TcpKeepInterval, &old(Setting::Intvl));
    }
    if done.probes.is_some() {
        try_to_set(socket, sockopt::TcpKeepCount, &old(Setting::Probes));
    }
    if done.user_timeout_ms.is_some() {
        try_to_set(socket, sockopt::TcpUserTimeout, &before.user_timeout_ms);
    }
}

fn try_to_set<O: SetSockOpt>(socket: &impl AsFd, option: O, value: &O::Val) {
    let _ = setsockopt(socket, option, value);
}

/// Arms the keepalive timer anew where keepalive is on, for the time in effect:
/// SO_KEEPALIVE off and on again (`tcp_set_keepalive`; 1 over 1 does nothing).
/// Returns true if it was on.
pub(super) fn rearm(socket: &impl AsFd) -> Result<bool, Fault> {
    let is_on = || getsockopt(socket, sockopt::KeepAlive);
    if !is_on()? {
        return Ok(false);
    }
    let off = setsockopt(socket, sockopt::KeepAlive, &false);
    // Tried in any case, and twice: it must not stay off.
    turn_on(socket).or_else(|_| turn_on(socket))?;
    off?;
    match is_on()? {
        true => Ok(true),
        false => Err(Fault::NotKept),
    }
}

pub(super) fn turn_on(socket: &impl AsFd) -> nix::Result<()> {
    setsockopt(socket, sockopt::KeepAlive, &true)
}

/// The kernel's `int`: what follows a sysctl of -1 is -1.
fn number(value: u32) -> i64 {
    value.cast_signed().into()
}

/// An option that is only read.
pub(super) fn get<O: GetSockOpt>(socket: &impl AsFd, option: O) -> nix::Result<O::Val> {
    getsockopt(socket, option)
}
