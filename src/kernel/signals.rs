//! Signals held back while a change is half made.
//!
//! Ctrl-C between two writes would leave a mix. Held, it ends the program when
//! the change is whole. SIGKILL cannot be held; `guard.rs` is for that.

use std::io;
use std::sync::OnceLock;

use nix::sys::signal::{SigSet, SigmaskHow, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::Error;
use crate::programs::ignored_signals;

pub use nix::sys::signal::Signal;

/// While it lives, the thread that made it and the threads that one starts take
/// no signal.
#[derive(Debug)]
pub struct Held {
    before: SigSet,
}

/// Holds all signals back.
///
/// # Errors
/// [`Error::Guard`] if the kernel refuses (`pthread_sigmask(3)`).
pub fn hold() -> Result<Held, Error> {
    SigSet::all()
        .thread_swap_mask(SigmaskHow::SIG_SETMASK)
        .map(|before| Held { before })
        .map_err(|e| Error::Guard(io::Error::from(e)))
}

impl Held {
    /// Gives the calling thread, which inherited the hold, the mask from before.
    pub(super) fn release_here(&self) {
        // As in drop.
        let _ = self.before.thread_set_mask();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It worked with a mask the kernel gave, so it cannot fail here; and if
        // it did, there would be nothing to be done about it.
        let _ = self.before.thread_set_mask();
    }
}

/// The signals that ask a program to end, where they are held back.
#[derive(Debug)]
pub struct Requests {
    signals: SignalFd,
    /// The one that has come.
    come: OnceLock<Signal>,
}

impl Requests {
    /// Listens for them, but for those that this process ignores, as under nohup(1).
    /// The caller holds them.
    ///
    /// # Errors
    /// [`Error::Guard`] if the kernel refuses (`signalfd(2)`).
    pub fn listen() -> Result<Requests, Error> {
        let ignored = ignored_signals();
        let counts = |signal: &Signal| ignored & (1 << (*signal as u64 - 1)) == 0;
        let asking: SigSet = [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
        ]
        .into_iter()
        .filter(counts)
        .collect();
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        SignalFd::with_flags(&asking, flags)
            .map(|signals| Requests {
                signals,
                come: OnceLock::new(),
            })
            .map_err(|e| Error::Guard(io::Error::from(e)))
    }

    /// The request that has come; none if there is none. It is not held any more:
    /// the caller ends by it, with [`end_by`].
    pub fn come(&self) -> Option<Signal> {
        let next = || {
            let told = self.signals.read_signal().ok()??;
            i32::try_from(told.ssi_signo).ok()?.try_into().ok()
        };
        if self.come.get().is_none()
            && let Some(signal) = next()
        {
            return Some(*self.come.get_or_init(|| signal));
        }
        self.come.get().copied()
    }
}

/// Ends this process by a signal that was held back, so that whoever started it
/// sees that.
pub fn end_by(signal: Signal) {
    // What cannot be raised leaves the exit code to tell.
    let _ = raise(signal);
}
