//! The process that takes sockets of others, uses them and closes them.
//!
//! What another process chose can hold whoever touches it: closing a file of its
//! own FUSE file system waits for its answer, closing the last copy of a socket
//! with SO_LINGER waits for its peer, and setting an option waits for a lock that
//! its system call holds. So all of that happens in a helper that can be
//! abandoned. It has one foreign file open at a time, and a socket that it closes
//! by ending does not linger (`inet_release`, PF_EXITING).
//!
//! It is forked from a process that may have threads: it allocates nothing.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::{chdir, setsid};
use nix::{getsockopt_impl, libc, sockopt_impl};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::super::tcp_info::TcpInfo;
use super::board::{Board, Came, Looked, Slot, Step};
use super::options::{self, Change, Options};
use super::{Info, Target};

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

/// What is to be done with sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Their keepalive timers are armed anew where keepalive is on, for the time
    /// that is in effect on each.
    Rearm,
    /// They get values of their own.
    Set(Change),
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Task {
    /// Read what is in effect.
    Read,
    /// Carry the job out.
    Change,
    /// Finish what a helper that died has begun.
    Finish,
}

/// The helper's life: it answers requests until the other end is closed.
pub(super) fn serve(board: &Board, other: &OwnedFd, job: Option<&Job>) {
    settle(other.as_raw_fd(), job.is_some());
    let mut pidfds = Pidfds::default();
    while let Some(task) = request(other) {
        for (at, slot) in board.asked().iter().enumerate() {
            if board.retired.load(Ordering::Acquire) {
                return;
            }
            board.come_to(at);
            serve_one(board, slot, task, job, &mut pidfds);
        }
        if send(other.as_raw_fd(), &[0], MsgFlags::MSG_NOSIGNAL).is_err() {
            return;
        }
    }
}

/// Keeps nothing of the parent's but the connection to it. A helper that is
/// abandoned must not keep a pipe open that somebody reads to its end, a lock, or
/// a mounted file system.
fn settle(kept: RawFd, changes: bool) {
    close_all_but(kept);
    let _ = chdir("/");
    if changes {
        // A kill of the whole group must not end both halfway.
        let _ = setsid();
        return;
    }
    // Where nothing is changed, nothing is worth finishing.
    let _ = set_pdeathsig(Signal::SIGKILL);
}

/// The next request; none if there will be no more.
fn request(other: &OwnedFd) -> Option<Task> {
    let mut word = [0];
    loop {
        match recv(other.as_raw_fd(), &mut word, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            Ok(1) => break,
            _ => return None,
        }
    }
    match word[0] {
        0 => Some(Task::Read),
        1 => Some(Task::Change),
        2 => Some(Task::Finish),
        _ => None,
    }
}

fn serve_one(board: &Board, slot: &Slot, task: Task, job: Option<&Job>, pidfds: &mut Pidfds) {
    let target = slot.target();
    let file = match take(target, pidfds) {
        Ok(file) => file,
        Err(looked) => {
            slot.set_looked(looked);
            slot.enter(Step::Closed);
            return;
        }
    };
    let looked = look(&file, target.cookie);
    slot.set_looked(looked);
    if let (Looked::Socket(before, _), Some(job), Task::Change | Task::Finish) = (looked, job, task)
    {
        let came = change(board, slot, &file, &before, job, task);
        came.into_iter().for_each(|came| slot.set_came(came));
    }
    slot.enter(Step::Closing);
    drop(file);
    slot.enter(Step::Closed);
}

fn take(target: Target, pidfds: &mut Pidfds) -> Result<OwnedFd, Looked> {
    let pidfd = pidfds.of(target.pid)?;
    pidfd_getfd(pidfd, target.fd, PidfdGetfdFlags::empty()).map_err(|e| match e {
        rustix::io::Errno::BADF | rustix::io::Errno::SRCH => Looked::Other,
        e => failed(e),
    })
}

/// What was taken counts only if its cookie, which the kernel never uses again, is
/// that of the socket that was meant.
fn look(file: &OwnedFd, cookie: u64) -> Looked {
    match options::get(file, Cookie) {
        Ok(found) if found == cookie => {
            let info = || TcpInfo::of(file).ok().map(Info::from);
            options::read(file).map_or_else(Looked::Failed, |o| Looked::Socket(o, info()))
        }
        Ok(_) if options::get(file, Protocol) == Ok(libc::IPPROTO_MPTCP) => Looked::Mptcp,
        _ => Looked::Other,
    }
}

/// None if nobody waits for it any more: then the parent may be about to kill this
/// process, and nothing is begun.
fn change(
    board: &Board,
    slot: &Slot,
    socket: &OwnedFd,
    before: &Options,
    job: &Job,
    task: Task,
) -> Option<Came> {
    if *job == Job::Rearm && task == Task::Change && !before.keepalive {
        return Some(Came::Off);
    }
    slot.enter(Step::Changing);
    if board.retired.load(Ordering::SeqCst) {
        slot.enter(Step::Closing);
        return None;
    }
    let done = match (job, task) {
        (Job::Rearm, Task::Finish) => options::turn_on(socket).map_err(Into::into).map(|()| true),
        (Job::Rearm, _) => options::rearm(socket),
        (Job::Set(change), _) => options::set(socket, before, change).map(|()| true),
    };
    Some(match done {
        Ok(true) => Came::Changed,
        Ok(false) => Came::Off,
        Err(fault) => Came::Failed(fault),
    })
}

fn failed(e: rustix::io::Errno) -> Looked {
    Looked::Failed(Errno::from_raw(e.raw_os_error()))
}

/// Processes by their numbers. A number that another process has by now leads to
/// no socket with the right cookie.
#[derive(Default)]
struct Pidfds {
    held: [Option<(i32, OwnedFd)>; 16],
    next: usize,
}

impl Pidfds {
    fn of(&mut self, pid: i32) -> Result<&OwnedFd, Looked> {
        let known = |held: &Option<(i32, OwnedFd)>| held.as_ref().is_some_and(|(p, _)| *p == pid);
        let at = match self.held.iter().position(known) {
            Some(at) => at,
            None => {
                let number = Pid::from_raw(pid).ok_or(Looked::Other)?;
                let opened = pidfd_open(number, PidfdFlags::empty()).map_err(|e| match e {
                    rustix::io::Errno::SRCH => Looked::Other,
                    e => failed(e),
                })?;
                let at = self.next;
                self.next = (at + 1) % self.held.len();
                self.held[at] = Some((pid, opened));
                at
            }
        };
        self.held[at]
            .as_ref()
            .map(|(_, pidfd)| pidfd)
            .ok_or(Looked::Other)
    }
}

/// Closes all files but one.
fn close_all_but(kept: RawFd) {
    let kept = kept.cast_unsigned();
    if kept > 0 {
        close_range(0, kept - 1);
    }
    close_range(kept + 1, u32::MAX);
}

/// `close_range(2)`, which no crate wraps; one by one before Linux 5.9.
fn close_range(first: u32, last: u32) {
    const MOST: u32 = 1 << 16;
    // SAFETY: the process is a fork that uses none of these files, and ends
    // without running the destructors of their owners.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if done != 0 {
        for fd in first..=last.min(MOST) {
            let _ = nix::unistd::close(fd.cast_signed());
        }
    }
}
