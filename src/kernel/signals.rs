//! Signals held back while a change is half made.
//!
//! Ctrl-C between two writes would leave a mix. Held, it ends the program when
//! the change is whole. SIGKILL cannot be held; `guard.rs` is for that.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow};

use super::Error;

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
