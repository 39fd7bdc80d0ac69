//! Sockets and descriptors that a hostile process has chosen.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use keepalivectl::kernel::lab::Lab;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::dup3_raw;

use super::fuse::Fuse;
use super::{command, within};
use crate::command::Said;
use crate::pair::Pair;
use crate::sandbox::{put_in_force, sandboxed};

/// Long enough for any honest machine, and no more than a few stalls take.
const SOON: Duration = Duration::from_secs(20);

/// Runs the binary with a limit on its time: one that hangs is left behind.
fn run_within(limit: Duration, line: &str) -> Said {
    within(limit, command(line))
}

/// Swaps a socket's number between it and another file until it is dropped.
struct Swapper {
    stop: &'static AtomicBool,
    thread: Option<thread::JoinHandle<()>>,
}

impl Swapper {
    fn start(number: RawFd, socket: OwnedFd, other: OwnedFd) -> Swapper {
        let stop: &AtomicBool = Box::leak(Box::default());
        let swap = move || {
            // Never in step with what it attacks.
            let mut pauses = (1..).map(|n: u64| Duration::from_micros(n * 7919 % 5000));
            while !stop.load(Ordering::Relaxed) {
                for file in [other.as_fd(), socket.as_fd()] {
                    // SAFETY: nothing else uses the number.
                    std::mem::forget(unsafe { dup3_raw(file, number, OFlag::O_CLOEXEC) }.unwrap());
                    sleep(pauses.next().unwrap_or_default());
                }
            }
        };
        Swapper {
            stop,
            thread: Some(thread::spawn(swap)),
        }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

sandboxed! {
    #[ignore = "needs /dev/fuse"]
    fn a_file_whose_closing_is_never_answered_holds_nobody() {
        Lab::enter().unwrap();
        let place = tempfile::tempdir().unwrap();
        let fuse = Fuse::mount(place.path());
        let honest = Pair::kept();
        // The attacker's socket, and its number.
        let swapped = Pair::kept();
        let number = swapped.client.as_raw_fd();
        // Its copy has a higher number, so that this one is taken first.
        let copy = fcntl(&swapped.client, FcntlArg::F_DUPFD_CLOEXEC(200)).unwrap();
        // SAFETY: the number is new, and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(copy) };
        let swapper = Swapper::start(number, socket, fuse.file.as_fd().try_clone_to_owned().unwrap());
        put_in_force([60, 10, 5]);
        let mut rounds = 0;
        while fuse.waiting.load(Ordering::SeqCst) < 2 {
            rounds += 1;
            assert!(rounds < 500, "the file was never taken");
            let all = run_within(SOON, "sockets --json").code(0).json();
            let known = all.as_array().unwrap().iter().filter(|s| s["time_s"].is_number()).count();
            assert!(known >= 3, "the honest sockets are read: {all}");
            setsockopt(&honest.client, sockopt::KeepAlive, &true).unwrap();
            run_within(SOON, "sockets rearm --all");
        }
        eprintln!("fuse: taken twice in {rounds} rounds, nobody held");
        drop(swapper);
        drop(fuse);
    }
}

sandboxed! {
    fn a_socket_that_lingers_holds_nobody() {
        const EACH: usize = 300;
        Lab::enter().unwrap();
        let number = |pair: Pair| {
            let linger = libc::linger { l_onoff: 1, l_linger: 65_535 };
            setsockopt(&pair.client, sockopt::Linger, &linger).unwrap();
            pair.cut();
            (pair.client, pair.server)
        };
        for round in 0..6 {
            put_in_force([7200, 75, 9]);
            let (clients, _servers): (Vec<_>, Vec<_>) = (0..EACH).map(|_| number(Pair::kept())).unzip();
            put_in_force([60, 10, 5]);
            let closing = AtomicBool::new(false);
            thread::scope(|scope| {
                let closer = scope.spawn(|| {
                    while !closing.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                    sleep(Duration::from_millis(4 + 2 * round));
                    // Whoever closes the last copy of one lingers: if it is the
                    // attacker, in a thread of its own.
                    for client in clients {
                        thread::spawn(move || drop(client));
                        sleep(Duration::from_micros(20));
                    }
                });
                closing.store(true, Ordering::Relaxed);
                run_within(SOON, if round % 2 == 0 { "sockets rearm --all" } else { "sockets --json" });
                closer.join().unwrap();
            });
        }
    }
}
