//! One run of a program, which ends in time or is ended.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, geteuid, getpid, getppid, setsid};
use rustix::process::{PidfdFlags, pidfd_open};

use super::find::Found;
use super::{ANSWER_WITHIN, Error, MOST_OUTPUT, environment};

/// Where nothing tells that a program has ended, it is looked at this often.
const PAUSE: Duration = Duration::from_millis(5);

/// What a run printed, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed on standard output.
    pub stdout: Vec<u8>,
    /// What it printed on standard error.
    pub stderr: Vec<u8>,
}

/// A run that is to be made.
#[derive(Debug)]
pub struct Run<'f> {
    found: &'f Found,
    arguments: Vec<OsString>,
    home: Option<&'f Path>,
    stdin: Option<OwnedFd>,
    limit: Duration,
    heeds_signals: bool,
    keeps_environment: bool,
}

impl<'f> Run<'f> {
    /// A run that must end within [`ANSWER_WITHIN`] and reads nothing.
    pub fn new<S: AsRef<OsStr>>(found: &'f Found, arguments: &[S]) -> Run<'f> {
        let arguments = arguments.iter().map(|word| word.as_ref().to_owned());
        Run {
            found,
            arguments: arguments.collect(),
            home: None,
            stdin: None,
            limit: ANSWER_WITHIN,
            heeds_signals: true,
            keeps_environment: false,
        }
    }

    /// With this HOME.
    #[must_use]
    pub fn home(mut self, home: Option<&'f Path>) -> Run<'f> {
        self.home = home;
        self
    }

    /// With this file as its standard input.
    #[must_use]
    pub fn stdin(mut self, file: Option<OwnedFd>) -> Run<'f> {
        self.stdin = file;
        self
    }

    /// With another time limit.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Run<'f> {
        self.limit = limit;
        self
    }

    /// With the variables of this process, but for what steers what else is loaded or
    /// run: root's runs find none of them otherwise.
    #[must_use]
    pub fn keeping_environment(mut self, keeps: bool) -> Run<'f> {
        self.keeps_environment = keeps;
        self
    }

    /// Goes on when a signal comes: for what undoes a change.
    #[must_use]
    pub fn ignoring_signals(mut self) -> Run<'f> {
        self.heeds_signals = false;
        self
    }

    /// Runs it and takes what it prints, whether it succeeds or not.
    ///
    /// A signal that would end this process, held back or not, ends the program
    /// instead: whoever called for it says what became of the job first.
    ///
    /// # Errors
    /// [`Error::Run`], [`Error::TooSlow`], [`Error::TooMuch`] and
    /// [`Error::Interrupted`]; its process group is killed then.
    pub fn output(self) -> Result<Output, Error> {
        let program = self.found.called.clone();
        let failed = |source: io::Error| Error::Run {
            program: program.clone(),
            source,
        };
        // Dropped last: a signal that is not heeded may end this process then.
        let signals = Signals::watch(self.heeds_signals).map_err(|e| failed(e.into()))?;
        let limit = self.limit;
        let deadline = Instant::now() + limit;
        let mut group = Group::start(self.command()).map_err(failed)?;
        let exited = group.exit();
        let mut stdout = Pipe::new(group.child.stdout.take().map(OwnedFd::from));
        let mut stderr = Pipe::new(group.child.stderr.take().map(OwnedFd::from));
        let status = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let stderr = stderr.bytes;
                return Err(Error::TooSlow { limit, stderr });
            }
            let sources = [
                stdout.source(),
                stderr.source(),
                exited.as_ref().map(AsFd::as_fd),
                signals.source(),
            ];
            let seen_ended = exited.is_none() && group.has_ended().map_err(failed)?;
            let longest = match (&exited, seen_ended) {
                (Some(_), _) => left,
                (None, false) => left.min(PAUSE),
                (None, true) => Duration::ZERO,
            };
            let ready = wait(&sources, longest).map_err(|e| failed(e.into()))?;
            if ready[3]
                && let Some(signal) = signals.take()
            {
                return Err(Error::Interrupted(signal));
            }
            if ready[0] {
                stdout.read().map_err(failed)?;
            }
            if ready[1] {
                stderr.read().map_err(failed)?;
            }
            let limit = MOST_OUTPUT;
            if stdout.bytes.len() > limit || stderr.bytes.len() > limit {
                return Err(Error::TooMuch { limit });
            }
            // What it had printed before it ended is read first. What its children
            // print is not waited for.
            if (ready[2] || seen_ended) && !ready[0] && !ready[1] {
                break group.reap();
            }
        };
        Ok(Output {
            status: status.map_err(failed)?,
            stdout: stdout.bytes,
            stderr: stderr.bytes,
        })
    }

    fn command(self) -> Command {
        let mut command = Command::new(&self.found.file);
        command.arg0(&self.found.called).args(&self.arguments);
        if geteuid().is_root() {
            match self.keeps_environment {
                true => environment::keep(&mut command),
                false => environment::clear(&mut command),
            }
        }
        command.envs(self.home.map(|home| ("HOME", home)));
        command
            .stdin(self.stdin.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Waits until one of the sources is ready, and says which are.
fn wait(sources: &[Option<BorrowedFd<'_>>; 4], limit: Duration) -> nix::Result<[bool; 4]> {
    let there = sources.iter().flatten();
    let mut polled: Vec<PollFd> = there
        .map(|source| PollFd::new(*source, PollFlags::POLLIN))
        .collect();
    // One more millisecond, so that it does not end just before the limit.
    let milliseconds = limit.as_millis().saturating_add(1);
    let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
    match poll(&mut polled, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(e) => return Err(e),
    }
    let mut polled = polled.iter();
    let mut ready = [false; 4];
    for (ready, source) in ready.iter_mut().zip(sources) {
        *ready = source.is_some() && polled.next().and_then(PollFd::any).unwrap_or_default();
    }
    Ok(ready)
}

/// A program in a session of its own. Dropped before it has ended, it is killed
/// with all that is in its process group.
struct Group {
    child: Child,
    reaped: bool,
}

impl Group {
    fn start(mut command: Command) -> io::Result<Group> {
        let parent = getpid();
        let prepare = move || {
            setsid()?;
            // So it does not outlive this process, even by SIGKILL.
            set_pdeathsig(Signal::SIGKILL)?;
            match getppid() == parent {
                true => Ok(()),
                false => Err(Errno::ESRCH.into()),
            }
        };
        // SAFETY: between fork and exec the child calls setsid, prctl and getppid,
        // which are async-signal-safe, and allocates nothing.
        unsafe { command.pre_exec(prepare) };
        Ok(Group {
            child: command.spawn()?,
            reaped: false,
        })
    }

    /// What is ready to be read once the program has ended. None where the kernel, or
    /// a seccomp profile, has no pidfd_open(2).
    fn exit(&self) -> Option<OwnedFd> {
        // Until it is reaped its number is nobody else's.
        let pid = i32::try_from(self.child.id()).ok()?;
        let pid = rustix::process::Pid::from_raw(pid)?;
        pidfd_open(pid, PidfdFlags::empty()).ok()
    }

    /// Whether the program has ended. It is not reaped.
    fn has_ended(&self) -> io::Result<bool> {
        let pid = i32::try_from(self.child.id()).map_err(|_| Errno::ESRCH)?;
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(Pid::from_raw(pid)), flags) {
            Ok(status) => Ok(status != WaitStatus::StillAlive),
            Err(Errno::EINTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // It may have ended, and its children not.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One of a program's outputs.
struct Pipe {
    /// None once it is closed.
    file: Option<File>,
    bytes: Vec<u8>,
}

impl Pipe {
    fn new(end: Option<OwnedFd>) -> Pipe {
        Pipe {
            file: end.map(File::from),
            bytes: Vec::new(),
        }
    }

    fn source(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Reads once, when there is something to read or it is closed.
    fn read(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let mut part = [0; 1 << 16];
        match file.read(&mut part) {
            Ok(0) => self.file = None,
            Ok(count) => self.bytes.extend_from_slice(&part[..count]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }
}

/// The signals that end this process, held back from this thread and watched for.
struct Signals {
    watch: Option<SignalFd>,
    before: SigSet,
}

impl Signals {
    fn watch(heeds: bool) -> nix::Result<Signals> {
        let ending = [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
        ];
        let ignored = ignored_signals();
        let counts = |signal: &Signal| ignored & (1 << (*signal as u64 - 1)) == 0;
        let set: SigSet = ending.into_iter().filter(counts).collect();
        let watch = match heeds {
            true => {
                let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
                Some(SignalFd::with_flags(&set, flags)?)
            }
            false => None,
        };
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Signals { watch, before })
    }

    fn source(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// The signal that has come. None if another thread was sooner.
    fn take(&self) -> Option<Signal> {
        let told = self.watch.as_ref()?.read_signal().ok()??;
        i32::try_from(told.ssi_signo).ok()?.try_into().ok()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // It worked with a mask the kernel gave, so it cannot fail here.
        let _ = self.before.thread_set_mask();
    }
}

/// The signals that this process ignores, as under nohup(1), one bit each.
pub(crate) fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Run<'static> {
        static SHELL: std::sync::LazyLock<Found> = std::sync::LazyLock::new(|| Found {
            called: "/bin/sh".into(),
            file: "/bin/sh".into(),
        });
        Run::new(&SHELL, &["-c", script])
    }

    #[test]
    fn both_outputs_and_the_end_are_told() {
        let output = shell("echo out; echo err >&2; exit 3").output().unwrap();
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.stderr, b"err\n");
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_its_children() {
        let limit = Duration::from_millis(300);
        let script = "sleep 1000 & echo $! >&2; wait";
        let Err(Error::TooSlow { stderr, .. }) = shell(script).limit(limit).output() else {
            panic!("it was not too slow");
        };
        let child = String::from_utf8(stderr).unwrap();
        let status = format!("/proc/{}/stat", child.trim());
        let runs = || {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            !status.is_empty() && !status.contains(") Z ")
        };
        let deadline = Instant::now() + Duration::from_secs(5);
        while runs() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!runs(), "{status}");
    }

    #[test]
    fn a_child_that_holds_the_output_open_is_not_waited_for() {
        let output = shell("sleep 5 & echo done").output().unwrap();
        assert_eq!(output.stdout, b"done\n");
        assert!(output.status.success());
    }

    #[test]
    fn an_output_without_end_is_cut_off() {
        let flood = shell("exec cat /dev/zero").output();
        assert!(matches!(flood, Err(Error::TooMuch { .. })), "{flood:?}");
        let most = shell("head -c 1048576 /dev/zero").output().unwrap();
        assert_eq!(most.stdout.len(), MOST_OUTPUT);
    }

    #[test]
    fn it_starts_without_the_signals_that_are_held_here() {
        let blocked = shell("grep SigBlk /proc/self/status").output().unwrap();
        assert_eq!(blocked.stdout, b"SigBlk:\t0000000000000000\n");
    }
}
