//! Memory that this process and its helper share: what is asked, how far the
//! helper has come, and what it found.
//!
//! All of it is atomic, so what a helper writes that was given up for stuck is
//! no more than a wrong number in memory that nobody reads any more.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::Info;
use super::Target;
use super::options::{Fault, Options};
use crate::model::Values;

/// Sockets that are asked about at once.
pub(super) const SLOTS: usize = 512;

/// The memory.
#[derive(Debug)]
pub(super) struct Shared(NonNull<Board>);

/// What is in it. All zeros is a board on which nothing is asked.
#[derive(Debug)]
pub(super) struct Board {
    /// How many slots are asked about.
    count: AtomicU32,
    /// The slot that the helper is at.
    at: AtomicU32,
    /// Set when nobody waits for the helper any more.
    pub(super) retired: AtomicBool,
    slots: [Slot; SLOTS],
}

/// One socket.
#[derive(Debug)]
pub(super) struct Slot {
    step: AtomicU8,
    pid: AtomicI32,
    fd: AtomicI32,
    cookie: AtomicU64,
    uid: AtomicU32,
    found: AtomicI32,
    /// SO_KEEPALIVE, the three settings and the user timeout.
    options: [AtomicI32; 5],
    /// Whether TCP_INFO is known; then the silence in milliseconds, three times in
    /// microseconds, and the doublings.
    info: [AtomicU32; 6],
    done: AtomicI32,
}

/// How far the helper is with a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Step {
    /// Nothing is known of it.
    Taking,
    /// What was found is recorded, and a change is under way.
    Changing,
    /// All is recorded.
    Closing,
    /// The socket is closed again.
    Closed,
}

/// What a process has where it had a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    /// The socket that was meant.
    Socket(Options, Option<Info>),
    /// An MPTCP connection.
    Mptcp,
    /// Another file, or none.
    Other,
    /// It could not be taken.
    Failed(Errno),
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// It was carried out and read back.
    Changed,
    /// Keepalive was off.
    Off,
    /// It failed.
    Failed(Fault),
}

// SAFETY: the memory is shared with another process in any case, and all of it is
// atomic.
unsafe impl Send for Shared {}

impl Shared {
    /// An empty board.
    pub(super) fn new() -> io::Result<Shared> {
        let length = NonZeroUsize::new(size_of::<Board>()).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no
        // other memory.
        let memory = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_SHARED) }?;
        Ok(Shared(memory.cast()))
    }
}

impl Deref for Shared {
    type Target = Board;

    fn deref(&self) -> &Board {
        // SAFETY: the mapping lives as long as `self`, is as large and as aligned
        // (to a page) as a board, and zeros are valid atomics.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: it was mapped in `new` with this length, and no reference
        // outlives `self`.
        let _ = unsafe { munmap(self.0.cast(), size_of::<Board>()) };
    }
}

impl Board {
    /// Asks about some sockets, [`SLOTS`] at the most.
    pub(super) fn fill(&self, targets: &[Target]) {
        let count = targets.len().min(SLOTS);
        for (slot, target) in self.slots.iter().zip(targets) {
            slot.step.store(Step::Taking as u8, Ordering::Relaxed);
            slot.pid.store(target.pid, Ordering::Relaxed);
            slot.fd.store(target.fd, Ordering::Relaxed);
            slot.cookie.store(target.cookie, Ordering::Relaxed);
            slot.uid.store(target.uid, Ordering::Relaxed);
            slot.found.store(0, Ordering::Relaxed);
            slot.done.store(0, Ordering::Relaxed);
        }
        self.at.store(0, Ordering::Relaxed);
        self.count.store(count as u32, Ordering::Release);
    }

    /// The slots that are asked about.
    pub(super) fn asked(&self) -> &[Slot] {
        let count = self.count.load(Ordering::Acquire) as usize;
        &self.slots[..count.min(SLOTS)]
    }

    /// Says that the helper has come to a slot.
    pub(super) fn come_to(&self, slot: usize) {
        self.at.store(slot as u32, Ordering::SeqCst);
    }

    /// The slot that the helper is at, and how far it is with it.
    pub(super) fn progress(&self) -> (usize, Step) {
        let at = self.at.load(Ordering::SeqCst) as usize;
        let step = self.slots.get(at).map_or(Step::Taking, Slot::step);
        (at, step)
    }
}

impl Slot {
    pub(super) fn step(&self) -> Step {
        match self.step.load(Ordering::SeqCst) {
            0 => Step::Taking,
            1 => Step::Changing,
            2 => Step::Closing,
            _ => Step::Closed,
        }
    }

    pub(super) fn enter(&self, step: Step) {
        self.step.store(step as u8, Ordering::SeqCst);
    }

    pub(super) fn target(&self) -> Target {
        Target {
            pid: self.pid.load(Ordering::Relaxed),
            fd: self.fd.load(Ordering::Relaxed),
            cookie: self.cookie.load(Ordering::Relaxed),
            uid: self.uid.load(Ordering::Relaxed),
        }
    }

    pub(super) fn set_looked(&self, looked: Looked) {
        if let Looked::Socket(options, info) = looked {
            self.set_info(info);
            // The kernel's values are ints, so none is cut.
            let Values {
                time,
                intvl,
                probes,
            } = options.values;
            let keepalive = i32::from(options.keepalive);
            let timeout = options.user_timeout_ms.cast_signed();
            let words = [keepalive, time as i32, intvl as i32, probes as i32, timeout];
            for (place, word) in self.options.iter().zip(words) {
                place.store(word, Ordering::Relaxed);
            }
        }
        let code = match looked {
            Looked::Socket(..) => 1,
            Looked::Mptcp => 2,
            Looked::Other => 3,
            Looked::Failed(e) => -(e as i32),
        };
        self.found.store(code, Ordering::Release);
    }

    /// What was found; none if nothing is recorded.
    pub(super) fn looked(&self) -> Option<Looked> {
        Some(match self.found.load(Ordering::Acquire) {
            0 => return None,
            1 => Looked::Socket(self.options(), self.info()),
            2 => Looked::Mptcp,
            3 => Looked::Other,
            code => Looked::Failed(Errno::from_raw(-code)),
        })
    }

    fn set_info(&self, info: Option<Info>) {
        let words = info.map_or([0; 6], |info| {
            let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
            [
                1,
                u32::try_from(info.silent.as_millis()).unwrap_or(u32::MAX),
                micros(info.rto),
                micros(info.rtt),
                micros(info.deviation),
                info.doublings.into(),
            ]
        });
        for (place, word) in self.info.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
    }

    fn info(&self) -> Option<Info> {
        let word = |at: usize| self.info[at].load(Ordering::Relaxed);
        let micros = |at| Duration::from_micros(word(at).into());
        (word(0) != 0).then(|| Info {
            silent: Duration::from_millis(word(1).into()),
            rto: micros(2),
            rtt: micros(3),
            deviation: micros(4),
            doublings: word(5) as u8,
        })
    }

    fn options(&self) -> Options {
        let word = |at: usize| self.options[at].load(Ordering::Relaxed);
        Options {
            keepalive: word(0) != 0,
            values: Values {
                time: word(1).into(),
                intvl: word(2).into(),
                probes: word(3).into(),
            },
            user_timeout_ms: word(4).cast_unsigned(),
        }
    }

    pub(super) fn set_came(&self, came: Came) {
        let code = match came {
            Came::Changed => 1,
            Came::Off => 2,
            Came::Failed(Fault::NotKept) => 3,
            Came::Failed(Fault::Kernel(e)) => -(e as i32),
        };
        self.done.store(code, Ordering::Release);
    }

    /// What came of the change; none if nothing is recorded.
    pub(super) fn came(&self) -> Option<Came> {
        Some(match self.done.load(Ordering::Acquire) {
            0 => return None,
            1 => Came::Changed,
            2 => Came::Off,
            3 => Came::Failed(Fault::NotKept),
            code => Came::Failed(Fault::Kernel(Errno::from_raw(-code))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_reads_back() {
        let board = Shared::new().unwrap();
        assert!(board.asked().is_empty());
        let target = Target {
            pid: 7,
            fd: 8,
            cookie: u64::MAX,
            uid: 1000,
        };
        board.fill(&[target]);
        let [slot] = board.asked() else {
            panic!("one is asked about");
        };
        assert_eq!(slot.target(), target);
        assert_eq!((slot.looked(), slot.came()), (None, None));
        let options = Options {
            keepalive: true,
            values: Values {
                time: -1,
                intvl: i64::from(i32::MAX),
                probes: 0,
            },
            user_timeout_ms: u32::MAX,
        };
        let info = Info {
            silent: Duration::from_millis(7),
            rto: Duration::from_micros(204_000),
            rtt: Duration::from_micros(3),
            deviation: Duration::from_secs(4000),
            doublings: u8::MAX,
        };
        for looked in [
            Looked::Socket(options, None),
            Looked::Socket(options, Some(info)),
            Looked::Mptcp,
            Looked::Other,
            Looked::Failed(Errno::EPERM),
        ] {
            slot.set_looked(looked);
            assert_eq!(slot.looked(), Some(looked));
        }
        for came in [
            Came::Changed,
            Came::Off,
            Came::Failed(Fault::NotKept),
            Came::Failed(Fault::Kernel(Errno::ENOBUFS)),
        ] {
            slot.set_came(came);
            assert_eq!(slot.came(), Some(came));
        }
        for step in [Step::Changing, Step::Closing, Step::Closed, Step::Taking] {
            slot.enter(step);
            assert_eq!(board.progress(), (0, step));
        }
    }
}
