//! What no test may blame on the program: a machine that stood still.
//!
//! A virtual machine whose host has no time for it fires its timers later than
//! any kernel would. How much later is seen here, on every processor, so that a
//! test which measures time can grant that much and no more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// How often a test measures what a stall may have spoilt: a program that is wrong
/// is wrong each time.
pub const CHANCES: usize = 12;

/// How long a watcher sleeps.
const PAUSE: Duration = Duration::from_millis(5);

/// A wake that is later than this is a stall.
const PROMPT: Duration = Duration::from_millis(5);

/// The thread that asks.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// A time for which one processor did not run what was due.
#[derive(Debug, Clone, Copy)]
struct Stall {
    due: Instant,
    over: Instant,
}

impl Stall {
    /// As much of it as lies between these.
    fn between(&self, from: Instant, to: Instant) -> Duration {
        self.over
            .min(to)
            .saturating_duration_since(self.due.max(from))
    }
}

/// Watches for stalls until it is dropped.
pub struct Stalls {
    seen: Arc<Mutex<Vec<Stall>>>,
    enough: Arc<AtomicBool>,
    watchers: Vec<JoinHandle<()>>,
}

impl Stalls {
    pub fn watch() -> Stalls {
        let (seen, enough) = (Arc::default(), Arc::default());
        let watchers = processors()
            .map(|processor| {
                let (seen, enough) = (Arc::clone(&seen), Arc::clone(&enough));
                thread::spawn(move || watch(processor, &seen, &enough))
            })
            .collect();
        Stalls {
            seen,
            enough,
            watchers,
        }
    }

    /// How long the processors stood still between these, all together: timers that
    /// follow each other add up their delays, whichever processor they run on.
    pub fn between(&self, from: Instant, to: Instant) -> Duration {
        // A stall that goes on is seen when it ends.
        sleep(PAUSE * 2);
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|stall| stall.between(from, to)).sum()
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        for watcher in self.watchers.drain(..) {
            // A watcher that failed has said so on standard error.
            let _ = watcher.join();
        }
    }
}

/// Those that this process may run on.
fn processors() -> impl Iterator<Item = usize> {
    let allowed = sched_getaffinity(THIS_THREAD).unwrap();
    (0..CpuSet::count()).filter(move |&processor| allowed.is_set(processor).unwrap())
}

fn watch(processor: usize, seen: &Mutex<Vec<Stall>>, enough: &AtomicBool) {
    let mut only = CpuSet::new();
    only.set(processor).unwrap();
    sched_setaffinity(THIS_THREAD, &only).unwrap();
    while !enough.load(Ordering::Relaxed) {
        let due = Instant::now() + PAUSE;
        sleep(PAUSE);
        let over = Instant::now();
        if over > due + PROMPT {
            seen.lock().unwrap().push(Stall { due, over });
        }
    }
}

#[test]
fn a_stall_counts_as_far_as_it_reaches_into_the_time_asked_for() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let stall = |due, ms| Stall {
        due: at(due),
        over: at(due + ms),
    };
    let stalls = Stalls {
        seen: Arc::new(Mutex::new(vec![stall(100, 20), stall(200, 30)])),
        enough: Arc::default(),
        watchers: Vec::new(),
    };
    for (from, to, ms) in [(0, 300, 50), (110, 150, 10), (130, 190, 0), (0, 101, 1)] {
        let between = stalls.between(at(from), at(to));
        assert_eq!(between, Duration::from_millis(ms), "{from} to {to}");
    }
}
