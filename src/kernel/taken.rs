//! A socket of another process, taken by pidfd_getfd(2): what is read and set
//! here is that process's own socket.
//!
//! Between the look into `/proc` and the taking, a process can end and its
//! number be used again, or close the socket and use its number again. So what
//! was taken counts only if its cookie, which the kernel never uses again, is
//! that of the socket that was meant.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{GetSockOpt, SetSockOpt, getsockopt, setsockopt, sockopt};
use nix::{getsockopt_impl, libc, sockopt_impl};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::guard::{Guard, Undo};
use super::owners::Owner;
use super::{processes, signals};
use crate::model::Values;

sockopt_impl!(
    /// SO_COOKIE (`sock_gen_cookie`).
    Cookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_COOKIE,
    u64
);

/// A process that cannot be mistaken for another one with its number.
#[derive(Debug, Clone)]
pub struct Process {
    pidfd: Arc<OwnedFd>,
    /// The name of its program.
    pub name: Arc<str>,
}

impl Process {
    /// Holds the process that has this number now; none if there is none.
    ///
    /// # Errors
    /// What the kernel says, ENOSYS before Linux 5.3 among it.
    pub fn hold(pid: i32) -> io::Result<Option<Process>> {
        let Some(number) = Pid::from_raw(pid) else {
            return Ok(None);
        };
        let pidfd = match pidfd_open(number, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            other => other?,
        };
        let name = processes::command(pid);
        // Read by its number: it counts if the process still has that.
        let ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let alive = poll(&mut { ended }, PollTimeout::ZERO)? == 0;
        Ok(name.filter(|_| alive).map(|name| Process {
            pidfd: Arc::new(pidfd),
            name: name.into(),
        }))
    }

    /// Takes the socket with this cookie; none if the process does not hold it
    /// there any more.
    ///
    /// # Errors
    /// EPERM without PTRACE_MODE_ATTACH_REALCREDS for the process (`ptrace(2)`),
    /// ENOSYS before Linux 5.6, and what else the kernel says.
    pub fn take(&self, owner: &Owner, cookie: u64) -> io::Result<Option<Taken>> {
        use rustix::io::Errno;
        let socket = match pidfd_getfd(&*self.pidfd, owner.fd, PidfdGetfdFlags::empty()) {
            Err(Errno::BADF | Errno::SRCH) => return Ok(None),
            other => other?,
        };
        let same = getsockopt(&socket, Cookie).is_ok_and(|found| found == cookie);
        Ok(same.then_some(Taken(socket)))
    }
}

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

/// One socket. The process's own descriptor is another one: it may close it at
/// any time, and the connection then ends when this is dropped.
#[derive(Debug)]
pub struct Taken(OwnedFd);

impl Taken {
    /// What it has in effect.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn options(&self) -> io::Result<Options> {
        Ok(Options {
            keepalive: self.get(sockopt::KeepAlive)?,
            values: Values {
                time: self.get(sockopt::TcpKeepIdle)?.into(),
                intvl: self.get(sockopt::TcpKeepInterval)?.into(),
                probes: self.get(sockopt::TcpKeepCount)?.into(),
            },
            user_timeout_ms: self.get(sockopt::TcpUserTimeout)?,
        })
    }

    /// Gives it values of its own, and reads them back. `before` is what it has.
    /// TCP_KEEPIDLE arms the timer anew, counted from the last segment received
    /// (`tcp_sock_set_keepidle_locked`).
    ///
    /// # Errors
    /// What the kernel says, or that it keeps another value; what was changed by
    /// then is set back.
    pub fn change(&self, before: &Options, change: &Change) -> io::Result<Options> {
        let done = self.set_all(change).and_then(|()| self.options());
        match done {
            Ok(after) if after.has(change) => Ok(after),
            other => {
                self.set_back(before, change);
                Err(other.err().unwrap_or_else(not_kept))
            }
        }
    }

    fn set_all(&self, change: &Change) -> io::Result<()> {
        // Keepalive last, so that its timer is armed with the new time.
        change
            .time
            .map_or(Ok(()), |v| self.set(sockopt::TcpKeepIdle, &v))?;
        change
            .intvl
            .map_or(Ok(()), |v| self.set(sockopt::TcpKeepInterval, &v))?;
        change
            .probes
            .map_or(Ok(()), |v| self.set(sockopt::TcpKeepCount, &v))?;
        let timeout = change.user_timeout_ms;
        timeout.map_or(Ok(()), |v| self.set(sockopt::TcpUserTimeout, &v))?;
        match change.turn_on {
            true => self.set(sockopt::KeepAlive, &true),
            false => Ok(()),
        }
    }

    /// As well as it goes: the caller has an error to report already. Keepalive
    /// that was on was not turned off.
    fn set_back(&self, before: &Options, change: &Change) {
        let value = |v: i64| u32::try_from(v).ok();
        let old = Change {
            time: change.time.and(value(before.values.time)),
            intvl: change.intvl.and(value(before.values.intvl)),
            probes: change.probes.and(value(before.values.probes)),
            user_timeout_ms: change.user_timeout_ms.and(Some(before.user_timeout_ms)),
            turn_on: false,
        };
        let _ = self.set_all(&old);
        if !before.keepalive {
            let _ = self.set(sockopt::KeepAlive, &false);
        }
    }

    fn get<O: GetSockOpt>(&self, option: O) -> io::Result<O::Val> {
        Ok(getsockopt(&self.0, option)?)
    }

    fn set<O: SetSockOpt>(&self, option: O, value: &O::Val) -> io::Result<()> {
        Ok(setsockopt(&self.0, option, value)?)
    }
}

impl Options {
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

/// Arms the keepalive timers of sockets that have keepalive on anew, for the
/// time that is in effect on each: SO_KEEPALIVE off and on again
/// (`tcp_set_keepalive`; 1 over 1 does nothing). What became of each is in the
/// answer. Meanwhile a second process holds the sockets too, and turns keepalive
/// on again if this one dies, be it of SIGKILL.
///
/// # Errors
/// The guard cannot be started; nothing is changed then.
pub fn rearm(sockets: &[&Taken]) -> Result<Vec<io::Result<()>>, super::Error> {
    let _held = signals::hold()?;
    let _guard = Guard::post(Undo::KeepaliveOff(sockets))?;
    Ok(sockets.iter().copied().map(rearm_one).collect())
}

fn rearm_one(socket: &Taken) -> io::Result<()> {
    let off = socket.set(sockopt::KeepAlive, &false);
    // Tried in any case, and twice: it must not stay off.
    socket.turn_on().or_else(|_| socket.turn_on())?;
    off?;
    match socket.get(sockopt::KeepAlive)? {
        true => Ok(()),
        false => Err(not_kept()),
    }
}

impl Taken {
    /// Async-signal-safe.
    pub(super) fn turn_on(&self) -> io::Result<()> {
        self.set(sockopt::KeepAlive, &true)
    }
}

fn not_kept() -> io::Error {
    io::Error::other("the socket has other values than those just set: its program sets them too")
}

/// Lets this process have as many files open as it may: each socket that is
/// taken is one. How many that is.
///
/// # Errors
/// What the kernel says (`setrlimit(2)`).
pub fn allow_many_files() -> io::Result<usize> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(usize::try_from(most).unwrap_or(usize::MAX))
}

/// Whether an error says that the process may not be touched, and not that
/// something is wrong.
pub fn is_refusal(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error().map(Errno::from_raw),
        Some(Errno::EPERM | Errno::EACCES | Errno::ENOSYS)
    )
}
