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

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{GetSockOpt, SetSockOpt, getsockopt, setsockopt, sockopt};
use nix::{getsockopt_impl, libc, sockopt_impl};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::guard::{Guard, Undo};
use super::owners::Owner;
use super::{processes, signals};
use crate::model::{Setting, Values};

sockopt_impl!(
    /// SO_COOKIE (`sock_gen_cookie`).
    Cookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_COOKIE,
    u64
);

sockopt_impl!(
    /// SO_PROTOCOL.
    Protocol,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_PROTOCOL,
    i32
);

/// A process that cannot be mistaken for another one with its number.
#[derive(Debug)]
pub struct Process {
    pidfd: OwnedFd,
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
            pidfd,
            name: name.into(),
        }))
    }

    /// Takes the socket with this cookie, if the process holds it there still.
    ///
    /// # Errors
    /// EPERM without PTRACE_MODE_ATTACH_REALCREDS for the process (`ptrace(2)`),
    /// ENOSYS before Linux 5.6, and what else the kernel says.
    pub fn take(&self, owner: &Owner, cookie: u64) -> io::Result<File> {
        use rustix::io::Errno;
        let socket = match pidfd_getfd(&self.pidfd, owner.fd, PidfdGetfdFlags::empty()) {
            Err(Errno::BADF | Errno::SRCH) => return Ok(File::Other),
            other => other?,
        };
        Ok(match getsockopt(&socket, Cookie) {
            Ok(found) if found == cookie => File::Socket(Taken(socket)),
            Ok(_) if getsockopt(&socket, Protocol) == Ok(libc::IPPROTO_MPTCP) => File::Mptcp,
            _ => File::Other,
        })
    }
}

/// What a process has where it had a socket.
#[derive(Debug)]
pub enum File {
    /// The socket that was meant.
    Socket(Taken),
    /// An MPTCP connection, which a listed socket may be a part of. It has a cookie
    /// of its own.
    Mptcp,
    /// Another file, or none.
    Other,
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
                time: number(self.get(sockopt::TcpKeepIdle)?),
                intvl: number(self.get(sockopt::TcpKeepInterval)?),
                probes: number(self.get(sockopt::TcpKeepCount)?),
            },
            user_timeout_ms: self.get(sockopt::TcpUserTimeout)?,
        })
    }

    /// Gives it values of its own, and reads them back. `before` is what it has.
    /// TCP_KEEPIDLE arms the timer anew, counted from the last segment received
    /// (`tcp_sock_set_keepidle_locked`).
    ///
    /// # Errors
    /// What the kernel says: what was set by then is set back, as far as it can
    /// be. Or that it has other values by now: its program has set them too, and
    /// they stay.
    pub fn change(&self, before: &Options, change: &Change) -> io::Result<Options> {
        let mut done = Change::default();
        if let Err(e) = self.set_each(change, &mut done) {
            self.set_back(before, &done);
            return Err(e);
        }
        let after = self.options()?;
        match after.has(change) {
            true => Ok(after),
            false => Err(not_kept()),
        }
    }

    /// Sets what is wanted, and keeps in `done` what was set.
    fn set_each(&self, wanted: &Change, done: &mut Change) -> io::Result<()> {
        if let Some(probes) = wanted.probes {
            self.set(sockopt::TcpKeepCount, &probes)?;
            done.probes = wanted.probes;
        }
        if let Some(intvl) = wanted.intvl {
            self.set(sockopt::TcpKeepInterval, &intvl)?;
            done.intvl = wanted.intvl;
        }
        // The timer can run out at once, so what then counts comes before it.
        if let Some(time) = wanted.time {
            self.set(sockopt::TcpKeepIdle, &time)?;
            done.time = wanted.time;
        }
        if let Some(timeout_ms) = wanted.user_timeout_ms {
            self.set(sockopt::TcpUserTimeout, &timeout_ms)?;
            done.user_timeout_ms = wanted.user_timeout_ms;
        }
        // Last, so that its timer is armed with the new time.
        if wanted.turn_on {
            self.set(sockopt::KeepAlive, &true)?;
            done.turn_on = true;
        }
        Ok(())
    }

    /// As well as it goes, each by itself: the caller has an error to report
    /// already. Keepalive is the last to be turned on, so nothing has to turn it
    /// off.
    fn set_back(&self, before: &Options, done: &Change) {
        let old = |setting| u32::try_from(before.values.get(setting)).unwrap_or_default();
        let back = [
            done.time
                .map(|_| self.set(sockopt::TcpKeepIdle, &old(Setting::Time))),
            done.intvl
                .map(|_| self.set(sockopt::TcpKeepInterval, &old(Setting::Intvl))),
            done.probes
                .map(|_| self.set(sockopt::TcpKeepCount, &old(Setting::Probes))),
            done.user_timeout_ms
                .map(|_| self.set(sockopt::TcpUserTimeout, &before.user_timeout_ms)),
        ];
        drop(back);
    }

    fn get<O: GetSockOpt>(&self, option: O) -> io::Result<O::Val> {
        Ok(getsockopt(&self.0, option)?)
    }

    fn set<O: SetSockOpt>(&self, option: O, value: &O::Val) -> io::Result<()> {
        Ok(setsockopt(&self.0, option, value)?)
    }
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

/// Arms the keepalive timers of sockets that have keepalive on anew, for the
/// time that is in effect on each: SO_KEEPALIVE off and on again
/// (`tcp_set_keepalive`; 1 over 1 does nothing). The answer says of each whether
/// it was on still. Meanwhile a second process holds the sockets too, and turns
/// keepalive on again if this one dies, be it of SIGKILL.
///
/// # Errors
/// The guard cannot be started; nothing is changed then.
pub fn rearm(sockets: &[&Taken]) -> Result<Vec<io::Result<bool>>, super::Error> {
    let _held = signals::hold()?;
    let _guard = Guard::post(Undo::KeepaliveOff(sockets))?;
    Ok(sockets.iter().copied().map(rearm_one).collect())
}

fn rearm_one(socket: &Taken) -> io::Result<bool> {
    let is_on = || socket.get(sockopt::KeepAlive);
    if !is_on()? {
        return Ok(false);
    }
    let off = socket.set(sockopt::KeepAlive, &false);
    // Tried in any case, and twice: it must not stay off.
    socket.turn_on().or_else(|_| socket.turn_on())?;
    off?;
    match is_on()? {
        true => Ok(true),
        false => Err(not_kept()),
    }
}

impl Taken {
    /// Async-signal-safe.
    pub(super) fn turn_on(&self) -> io::Result<()> {
        self.set(sockopt::KeepAlive, &true)
    }
}

/// The kernel's `int`: what follows a sysctl of -1 is -1.
fn number(value: u32) -> i64 {
    value.cast_signed().into()
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::process::Command;

    use nix::sys::stat::fstat;
    use nix::unistd::dup2_raw;

    use super::*;
    use crate::kernel::owners::Owners;

    fn own_pid() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    fn owner_and_cookie(socket: &TcpListener) -> (Owner, u64) {
        let inode = u32::try_from(fstat(socket).unwrap().st_ino).unwrap();
        let owners = Owners::of_processes(&[own_pid()]);
        let owner = *owners.of(inode).first().unwrap();
        (owner, getsockopt(socket, Cookie).unwrap())
    }

    fn taken(process: &Process, owner: &Owner, cookie: u64) -> Option<Taken> {
        match process.take(owner, cookie).unwrap() {
            File::Socket(taken) => Some(taken),
            File::Mptcp | File::Other => None,
        }
    }

    #[test]
    fn a_number_that_is_used_again_is_not_taken_for_the_socket() {
        let process = Process::hold(own_pid()).unwrap().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let (owner, cookie) = owner_and_cookie(&socket);
        assert!(taken(&process, &owner, cookie).is_some());
        // SAFETY: the number is that of `socket`, which owns it still, and now
        // owns another file by it.
        let same = unsafe { dup2_raw(&other, socket.as_raw_fd()) }.unwrap();
        assert!(taken(&process, &owner, cookie).is_none());
        assert!(taken(&process, &owner, getsockopt(&other, Cookie).unwrap()).is_some());
        std::mem::forget(same);
        drop(socket);
        assert!(taken(&process, &owner, cookie).is_none());
    }

    #[test]
    fn a_process_that_has_ended_holds_nothing() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let (owner, cookie) = owner_and_cookie(&socket);
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let process = Process::hold(pid).unwrap().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(taken(&process, &owner, cookie).is_none());
        assert!(Process::hold(pid).unwrap().is_none());
        assert!(Process::hold(0).unwrap().is_none());
    }

    #[test]
    fn what_is_set_is_read_back() {
        let process = Process::hold(own_pid()).unwrap().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let (owner, cookie) = owner_and_cookie(&socket);
        let taken = taken(&process, &owner, cookie).unwrap();
        let before = taken.options().unwrap();
        let change = Change {
            time: Some(77),
            user_timeout_ms: Some(5000),
            turn_on: true,
            ..Change::default()
        };
        let after = taken.change(&before, &change).unwrap();
        assert!(after.has(&change) && after.keepalive && !before.keepalive);
        assert_eq!(getsockopt(&socket, sockopt::TcpKeepIdle).unwrap(), 77);
        // What the kernel refuses leaves all as it was.
        let wrong = Change {
            intvl: Some(88),
            time: Some(32_768),
            ..Change::default()
        };
        assert!(taken.change(&after, &wrong).is_err());
        assert_eq!(taken.options().unwrap(), after);
        assert!(
            rearm(&[&taken])
                .unwrap()
                .into_iter()
                .all(|done| done.is_ok())
        );
        assert_eq!(taken.options().unwrap(), after);
    }
}
