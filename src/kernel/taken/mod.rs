//! Sockets of other processes, taken by pidfd_getfd(2): what is read and set here
//! is that process's own socket.
//!
//! Between the look into `/proc` and the taking, a process can end and its
//! number be used again, or close the socket and use its number again. So what
//! was taken counts only if its cookie, which the kernel never uses again, is
//! that of the socket that was meant.
//!
//! A helper process does the taking (see `helper.rs`). If it is held in a system
//! call, this process goes on with another one. If it dies in the middle of a
//! change, this process has another one finish the change; and if this process
//! dies, the helper finishes the socket that it is at. So each socket is changed
//! as a whole or not at all, unless both die at once.

mod board;
mod helper;
pub(super) mod options;
mod stalls;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use super::child::Child;
use super::processes;
use board::{Came, Looked, SLOTS, Shared, Slot, Step};
use helper::{Task, serve};
use stalls::{avoided, stalled};

pub use helper::Job;
pub use options::{Change, Options};
pub use stalls::Stalls;

pub use super::tcp_info::Info;

/// A socket that is meant, and where a process had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The process.
    pub pid: i32,
    /// Its number for the socket.
    pub fd: i32,
    /// The kernel's name for the socket.
    pub cookie: u64,
    /// The user who made it, to whom it is put down if it keeps others waiting.
    pub uid: u32,
}

/// What a process has where it had a socket.
#[derive(Debug)]
pub enum Found {
    /// The socket that was meant, with what it has in effect.
    Socket(Options, Option<Info>),
    /// An MPTCP connection, which a listed socket may be a part of. It has a cookie
    /// of its own.
    Mptcp,
    /// Another file, or none.
    Other,
    /// It could not be taken: EPERM without PTRACE_MODE_ATTACH_REALCREDS for the
    /// process (`ptrace(2)`), ENOSYS before Linux 5.6, or a system call on it did
    /// not return.
    Refused(io::Error),
}

/// What came of a change.
#[derive(Debug)]
pub enum Done {
    /// It was carried out and read back.
    Changed,
    /// Keepalive was off, so there is no timer to arm.
    Off,
    /// The socket is not there any more.
    Gone,
    /// It failed; what was set by then is set back, as far as it can be. Or the
    /// socket has other values by now, which its program has set.
    Refused(io::Error),
}

/// Takes sockets of other processes for one thread.
#[derive(Debug)]
pub struct Taker<'s> {
    job: Option<Job>,
    stalls: &'s Stalls,
    helper: Option<Helper>,
    /// Those that were given up and have not ended yet.
    abandoned: Vec<Child>,
    /// Whether helpers are killed as soon as they begin.
    hopeless: bool,
}

/// A running helper.
#[derive(Debug)]
struct Helper {
    child: Child,
    board: Shared,
    /// Its closing ends the helper.
    other: OwnedFd,
}

/// What a helper recorded of a socket, or why it did not.
type Answer = io::Result<(Looked, Option<Came>)>;

/// How a request ended.
enum Outcome {
    Answered,
    /// The helper has made no progress for too long.
    Stuck,
    /// The helper is gone.
    Dead,
}

impl<'s> Taker<'s> {
    /// One that can read, and carry out `job` if there is one.
    ///
    /// # Errors
    /// No helper can be started: EAGAIN where no more processes are allowed.
    pub fn start(job: Option<Job>, stalls: &'s Stalls) -> io::Result<Taker<'s>> {
        let mut taker = Taker {
            job,
            stalls,
            helper: None,
            abandoned: Vec::new(),
            hopeless: false,
        };
        taker.helper()?;
        Ok(taker)
    }

    /// Reads what sockets have in effect.
    pub fn read(&mut self, targets: &[Target]) -> Vec<Found> {
        let found = |answer| match answer {
            Ok((Looked::Socket(options, info), _)) => Found::Socket(options, info),
            Ok((Looked::Mptcp, _)) => Found::Mptcp,
            Ok((Looked::Other, _)) => Found::Other,
            Ok((Looked::Failed(e), _)) => Found::Refused(e.into()),
            Err(e) => Found::Refused(e),
        };
        let answers = self.run(targets, Task::Read);
        answers.into_iter().map(found).collect()
    }

    /// Carries the job out on each.
    pub fn change(&mut self, targets: &[Target]) -> Vec<Done> {
        let done = |answer| match answer {
            Ok((_, Some(Came::Changed))) => Done::Changed,
            Ok((_, Some(Came::Off))) => Done::Off,
            Ok((_, Some(Came::Failed(fault)))) => Done::Refused(fault.into()),
            Ok((Looked::Failed(e), None)) => Done::Refused(e.into()),
            Ok((_, None)) => Done::Gone,
            Err(e) => Done::Refused(e),
        };
        let answers = self.run(targets, Task::Change);
        answers.into_iter().map(done).collect()
    }

    fn run(&mut self, targets: &[Target], task: Task) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(targets.len());
        while answers.len() < targets.len() {
            let rest = &targets[answers.len()..];
            let asked = |target: &&Target| !self.stalls.avoid(**target);
            let together = rest.iter().take(SLOTS).take_while(asked).count();
            match together {
                _ if self.hopeless => answers.push(Err(killed())),
                0 => answers.push(Err(avoided())),
                n => self.ask(&rest[..n], task, &mut answers),
            }
        }
        answers
    }

    /// Adds an answer for each socket up to the one that a helper does not get
    /// past, and for that one.
    fn ask(&mut self, targets: &[Target], task: Task, answers: &mut Vec<Answer>) {
        let stalls = self.stalls;
        let helper = match self.helper() {
            Ok(helper) => helper,
            Err(e) => {
                let again = |_| Err(copy(&e));
                return answers.extend(targets.iter().map(again));
            }
        };
        helper.board.fill(targets);
        let outcome = helper.ask(task, stalls);
        let asked = helper.board.asked();
        if let Outcome::Answered = outcome {
            return answers.extend(asked.iter().map(answer));
        }
        // From here on it begins no change.
        helper.board.retired.store(true, Ordering::SeqCst);
        let (at, step) = helper.board.progress();
        answers.extend(asked[..at].iter().map(answer));
        let (slot, target) = (&asked[at], targets[at]);
        match (outcome, step) {
            (Outcome::Stuck, _) => {
                // All is recorded before the socket is closed.
                answers.push(match step {
                    Step::Taking | Step::Changing => Err(stalled()),
                    Step::Closing | Step::Closed => answer(slot),
                });
                self.abandon(step);
            }
            (_, Step::Closing | Step::Closed) => {
                answers.push(answer(slot));
                self.abandon(step);
            }
            (_, Step::Changing) => {
                self.abandon(step);
                let finished = self.again(target, Task::Finish);
                answers.push(finished);
            }
            (_, Step::Taking) => {
                self.abandon(step);
                let answer = self.again(target, task);
                answers.push(answer);
            }
        }
    }

    /// Asks once more for a socket at which a helper died. To die is rare, so three
    /// in a row have a cause that will not go away.
    fn again(&mut self, target: Target, mut task: Task) -> Answer {
        const TRIES: usize = 3;
        let stalls = self.stalls;
        for _ in 0..TRIES {
            let helper = self.helper()?;
            helper.board.fill(&[target]);
            let outcome = helper.ask(task, stalls);
            helper
                .board
                .retired
                .store(!matches!(outcome, Outcome::Answered), Ordering::SeqCst);
            let (_, step) = helper.board.progress();
            let recorded = match (&outcome, step) {
                (Outcome::Answered, _) | (_, Step::Closing | Step::Closed) => {
                    helper.board.asked().first().map(answer)
                }
                _ => None,
            };
            if !matches!(outcome, Outcome::Answered) {
                self.abandon(step);
            }
            match (recorded, outcome) {
                // Its program has another file there by now, so what was begun is not
                // finished.
                (Some(Ok((Looked::Other, _))), _) if task == Task::Finish => {
                    return Err(io::Error::other(
                        "it was moved while it was changed; check its keepalive",
                    ));
                }
                (Some(answer), _) => return answer,
                (None, Outcome::Stuck) => return Err(stalled()),
                // What it has begun is not seen by looking.
                (None, _) if step == Step::Changing => task = Task::Finish,
                (None, _) => {}
            }
        }
        self.hopeless = true;
        Err(killed())
    }

    fn helper(&mut self) -> io::Result<&mut Helper> {
        let helper = match self.helper.take() {
            Some(helper) => helper,
            None => Helper::start(self.job.as_ref())?,
        };
        Ok(self.helper.insert(helper))
    }

    /// Gives up the helper. In the middle of a change it is not killed: once its
    /// system call returns, it finishes the socket that it is at, and ends.
    fn abandon(&mut self, step: Step) {
        const SOON: Duration = Duration::from_millis(50);
        let Some(Helper { child, board, .. }) = self.helper.take() else {
            return;
        };
        board.retired.store(true, Ordering::SeqCst);
        let ended = match step {
            Step::Changing => child.has_ended_within(Duration::ZERO),
            _ => child.kill_within(SOON),
        };
        if !ended {
            self.abandoned.push(child);
        }
    }
}

impl Drop for Taker<'_> {
    fn drop(&mut self) {
        const SOON: Duration = Duration::from_millis(200);
        if let Some(Helper { child, other, .. }) = self.helper.take() {
            drop(other);
            let _ = child.has_ended_within(SOON) || child.kill_within(SOON);
        }
        for child in &self.abandoned {
            // Those that have ended meanwhile leave nothing behind.
            child.has_ended_within(Duration::ZERO);
        }
    }
}

impl Helper {
    fn start(job: Option<&Job>) -> io::Result<Helper> {
        let board = Shared::new()?;
        let (other, helpers) = socketpair(
            AddressFamily::Unix,
            SockType::Stream,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        // SAFETY: `serve` allocates nothing and calls async-signal-safe functions
        // only: close_range, chdir, setsid, prctl, recv, send, pidfd_open,
        // pidfd_getfd, getsockopt, setsockopt and close.
        let child = unsafe { Child::start(|| serve(&board, &helpers, job)) }?;
        Ok(Helper {
            child,
            board,
            other,
        })
    }

    /// Has what is on the board done.
    fn ask(&self, task: Task, stalls: &Stalls) -> Outcome {
        let word = [task as u8];
        match send(self.other.as_raw_fd(), &word, MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => self.wait(stalls),
            Err(_) => Outcome::Dead,
        }
    }

    /// Waits as long as the helper makes progress, or wants to and is not given a
    /// processor. Each wait is put down to the socket that the helper is at.
    fn wait(&self, stalls: &Stalls) -> Outcome {
        const LOOK: u16 = 50;
        let patience = stalls.patience();
        let mut seen = (self.board.progress(), Instant::now());
        let mut looked = Instant::now();
        loop {
            let answered = PollFd::new(self.other.as_fd(), PollFlags::POLLIN);
            match poll(&mut [answered], PollTimeout::from(LOOK)) {
                Ok(0) => {}
                Err(Errno::EINTR) => {}
                _ => {
                    let received = recv(self.other.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT);
                    return match received {
                        Ok(1) => Outcome::Answered,
                        _ => Outcome::Dead,
                    };
                }
            }
            let progress = self.board.progress();
            let wait = std::mem::replace(&mut looked, Instant::now()).elapsed();
            let target = self.board.asked().get(progress.0).map(Slot::target);
            let target = target.filter(|_| progress == seen.0 && !self.is_running());
            let Some(target) = target else {
                seen = (progress, Instant::now());
                continue;
            };
            stalls.add(target, wait);
            if seen.1.elapsed() >= patience || stalls.avoid(target) {
                return Outcome::Stuck;
            }
        }
    }

    /// Returns true if the helper waits for nothing but a processor, or root's own
    /// tracer.
    fn is_running(&self) -> bool {
        matches!(processes::state(self.child.pid().as_raw()), Some('R' | 't'))
    }
}

fn answer(slot: &Slot) -> Answer {
    let looked = slot.looked().ok_or_else(stalled)?;
    Ok((looked, slot.came()))
}

fn killed() -> io::Error {
    io::Error::other("the process that takes sockets is killed again and again")
}

/// The same error for several sockets.
fn copy(e: &io::Error) -> io::Error {
    match e.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(e.kind(), e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::process::Command;

    use nix::sys::signal::{Signal, kill};
    use nix::sys::socket::{getsockopt, sockopt};
    use nix::sys::stat::fstat;
    use nix::unistd::dup2_raw;

    use super::helper::Cookie;
    use super::*;
    use crate::kernel::owners::Owners;

    fn own_pid() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    fn target(socket: &TcpListener) -> Target {
        let inode = u32::try_from(fstat(socket).unwrap().st_ino).unwrap();
        let owners = Owners::of_processes(vec![own_pid()], &|| false).unwrap();
        let owner = *owners.of(inode).first().unwrap();
        Target {
            pid: owner.pid,
            fd: owner.fd,
            cookie: getsockopt(socket, Cookie).unwrap(),
            uid: 0,
        }
    }

    fn options(taker: &mut Taker, target: Target) -> Option<Options> {
        match taker.read(&[target]).as_slice() {
            [Found::Socket(options, _)] => Some(*options),
            [Found::Other] => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_number_that_is_used_again_is_not_taken_for_the_socket() {
        let stalls = Stalls::default();
        let mut taker = Taker::start(None, &stalls).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let meant = target(&socket);
        assert!(options(&mut taker, meant).is_some());
        // SAFETY: the number is that of `socket`, which owns it still, and now
        // owns another file by it.
        let same = unsafe { dup2_raw(&other, socket.as_raw_fd()) }.unwrap();
        assert!(options(&mut taker, meant).is_none());
        let cookie = getsockopt(&other, Cookie).unwrap();
        assert!(options(&mut taker, Target { cookie, ..meant }).is_some());
        std::mem::forget(same);
        drop(socket);
        assert!(options(&mut taker, meant).is_none());
    }

    #[test]
    fn a_process_that_has_ended_holds_nothing() {
        let stalls = Stalls::default();
        let mut taker = Taker::start(None, &stalls).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let gone = Target {
            pid,
            ..target(&socket)
        };
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(options(&mut taker, gone).is_none());
        assert!(options(&mut taker, Target { pid: 0, ..gone }).is_none());
    }

    #[test]
    fn what_is_set_is_read_back() {
        let stalls = Stalls::default();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let meant = target(&socket);
        let change = Change {
            time: Some(77),
            user_timeout_ms: Some(5000),
            turn_on: true,
            ..Change::default()
        };
        let mut taker = Taker::start(Some(Job::Set(change)), &stalls).unwrap();
        let before = options(&mut taker, meant).unwrap();
        assert!(matches!(taker.change(&[meant])[..], [Done::Changed]));
        let after = options(&mut taker, meant).unwrap();
        assert!(after.has(&change) && after.keepalive && !before.keepalive);
        assert_eq!(getsockopt(&socket, sockopt::TcpKeepIdle).unwrap(), 77);
        // What the kernel refuses leaves all as it was.
        let wrong = Change {
            intvl: Some(88),
            time: Some(32_768),
            ..Change::default()
        };
        let mut wrong = Taker::start(Some(Job::Set(wrong)), &stalls).unwrap();
        assert!(matches!(wrong.change(&[meant])[..], [Done::Refused(_)]));
        assert_eq!(options(&mut taker, meant).unwrap(), after);
        let mut rearm = Taker::start(Some(Job::Rearm), &stalls).unwrap();
        assert!(matches!(rearm.change(&[meant])[..], [Done::Changed]));
        assert_eq!(options(&mut taker, meant).unwrap(), after);
        drop(socket);
        assert!(matches!(rearm.change(&[meant])[..], [Done::Gone]));
    }

    #[test]
    fn a_helper_that_dies_is_replaced() {
        let stalls = Stalls::default();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let meant = target(&socket);
        let mut taker = Taker::start(Some(Job::Rearm), &stalls).unwrap();
        for _ in 0..3 {
            let helper = taker.helper.as_ref().unwrap().child.pid();
            kill(helper, Signal::SIGKILL).unwrap();
            assert!(options(&mut taker, meant).is_some());
            assert_ne!(taker.helper.as_ref().unwrap().child.pid(), helper);
        }
        assert!(taker.abandoned.is_empty());
    }

    #[test]
    fn a_helper_that_is_stopped_is_given_up() {
        let stalls = Stalls::default();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let meant = target(&socket);
        let mut taker = Taker::start(None, &stalls).unwrap();
        kill(taker.helper.as_ref().unwrap().child.pid(), Signal::SIGSTOP).unwrap();
        let found = taker.read(&[meant]);
        assert!(matches!(&found[..], [Found::Refused(e)] if e.kind() == io::ErrorKind::TimedOut));
        assert!(options(&mut taker, meant).is_some());
        assert!(taker.abandoned.is_empty(), "it can be killed");
    }
}
