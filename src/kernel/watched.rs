//! Work on many processes, on threads that can be abandoned.
//!
//! What `/proc/PID` tells can wait for the process: a process that is held in
//! execve(2), by a file system of its own, keeps whoever reads its links waiting
//! (`exec_update_lock`; for descriptors since the mending of CVE-2026-64375). Such
//! a wait ends only with the process that waits, so it must not be the whole of
//! this program that waits.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::unistd::gettid;

use super::processes;

/// How long a thread may be without progress.
const PATIENCE: Duration = Duration::from_secs(1);
/// After so long a wait, a user's processes are passed over.
const FOR_A_USER: Duration = Duration::from_secs(2);
/// After so long a wait in all, every process is.
const IN_ALL: Duration = Duration::from_secs(20);
/// How often threads are looked at.
const LOOK: Duration = Duration::from_millis(100);

const ROOT: u32 = 0;

/// How many threads work at once on what takes many system calls.
pub(super) fn threads() -> usize {
    const MOST: usize = 8;
    thread::available_parallelism().map_or(1, |n| n.get().min(MOST))
}

/// How far a thread has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The place of the process that it is at.
    at: AtomicUsize,
    steps: AtomicU64,
    /// Its number, once it runs.
    thread: AtomicI32,
}

impl Progress {
    /// Says that the thread does not wait.
    pub(super) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the threads share.
struct Work<F> {
    pids: Vec<i32>,
    /// Whose each process is.
    users: Vec<Option<u32>>,
    order: Vec<usize>,
    next: AtomicUsize,
    /// How long each user's processes have kept a thread waiting, and all of them.
    waits: Mutex<(HashMap<Option<u32>, Duration>, Duration)>,
    look: F,
}

impl<F> Work<F> {
    /// Puts a wait down to a process.
    fn add_wait(&self, at: usize, wait: Duration) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        *waits.0.entry(self.users[at]).or_default() += wait;
        waits.1 += wait;
    }

    /// Returns true if nothing more is to be asked of a process. Root's may be
    /// anybody's: a container's, or a set-uid program.
    fn avoids(&self, at: usize) -> bool {
        let user = self.users[at];
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = waits.0.get(&user).filter(|_| user != Some(ROOT));
        waits.1 >= IN_ALL || of_user.is_some_and(|wait| *wait >= FOR_A_USER)
    }
}

/// The place of a process, and what was found.
type Answer<T> = (usize, Option<T>);

/// One thread, as its watcher sees it.
struct Worker {
    progress: Arc<Progress>,
    /// Its steps when it was last looked at, and for how long it has made none.
    seen: u64,
    idle: Duration,
}

impl Worker {
    /// The place of the process that has kept it waiting for too long.
    fn stuck_at<F>(&mut self, work: &Work<F>) -> Option<usize> {
        let at = self.progress.at.load(Ordering::Relaxed);
        let steps = self.progress.steps.load(Ordering::Relaxed);
        let is_new = steps != std::mem::replace(&mut self.seen, steps);
        if is_new || self.has_no_processor() {
            self.idle = Duration::ZERO;
            return None;
        }
        self.idle += LOOK;
        // The first look may have come in the middle of an ordinary call.
        if self.idle > LOOK {
            work.add_wait(at, LOOK);
        }
        (self.idle >= PATIENCE).then_some(at)
    }

    /// Returns true if it waits for nothing but a processor.
    fn has_no_processor(&self) -> bool {
        match self.progress.thread.load(Ordering::Relaxed) {
            // It has not begun.
            0 => true,
            thread => processes::state(thread) == Some('R'),
        }
    }
}

/// Does `look` for each process, in their order; none for one that keeps it waiting,
/// or when `stop` says so. Root's processes come first: what others keep waiting for
/// does not hide them.
///
/// # Errors
/// No thread can be started: EAGAIN where no more are allowed.
pub(super) fn for_each<T, F>(
    pids: Vec<i32>,
    stop: &dyn Fn() -> bool,
    look: F,
) -> io::Result<Vec<Option<T>>>
where
    T: Send + 'static,
    F: Fn(i32, &Progress) -> T + Send + Sync + 'static,
{
    let count = pids.len();
    let users: Vec<Option<u32>> = pids.iter().map(|pid| processes::user(*pid)).collect();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|at| users[*at] != Some(ROOT));
    let work = Arc::new(Work {
        pids,
        users,
        order,
        next: AtomicUsize::new(0),
        waits: Mutex::default(),
        look,
    });
    let (sender, results) = channel();
    let mut workers = Vec::new();
    for _ in 0..threads().min(count) {
        match start(&work, &sender) {
            Ok(worker) => workers.push(worker),
            Err(e) if workers.is_empty() => return Err(e),
            Err(_) => break,
        }
    }
    Ok(collect(&work, workers, (&sender, &results), stop))
}

fn start<T, F>(work: &Arc<Work<F>>, results: &Sender<Answer<T>>) -> io::Result<Worker>
where
    T: Send + 'static,
    F: Fn(i32, &Progress) -> T + Send + Sync + 'static,
{
    let progress = Arc::new(Progress::default());
    let (work, own, results) = (Arc::clone(work), Arc::clone(&progress), results.clone());
    let life = move || {
        own.thread.store(gettid().as_raw(), Ordering::Relaxed);
        loop {
            let next = work.next.fetch_add(1, Ordering::Relaxed);
            let Some(at) = work.order.get(next).copied() else {
                return;
            };
            own.at.store(at, Ordering::Relaxed);
            own.step();
            let found = (!work.avoids(at)).then(|| (work.look)(work.pids[at], &own));
            // Nobody listens any more: the job has ended.
            if results.send((at, found)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().spawn(life)?;
    Ok(Worker {
        progress,
        seen: 0,
        idle: Duration::ZERO,
    })
}

fn collect<T, F>(
    work: &Arc<Work<F>>,
    mut workers: Vec<Worker>,
    (sender, results): (&Sender<Answer<T>>, &Receiver<Answer<T>>),
    stop: &dyn Fn() -> bool,
) -> Vec<Option<T>>
where
    T: Send + 'static,
    F: Fn(i32, &Progress) -> T + Send + Sync + 'static,
{
    let mut found: Vec<Option<T>> = work.pids.iter().map(|_| None).collect();
    let mut settled = HashSet::new();
    while settled.len() < found.len() && !stop() {
        match results.recv_timeout(LOOK) {
            Ok((at, result)) => {
                if settled.insert(at) {
                    found[at] = result;
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let before = workers.len();
                workers.retain_mut(|worker| {
                    let stuck_at = worker.stuck_at(work);
                    stuck_at.is_none_or(|at| !settled.insert(at))
                });
                let stuck = before - workers.len();
                workers.extend((0..stuck).filter_map(|_| start(work, sender).ok()));
                if workers.is_empty() {
                    break;
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_left_behind() {
        let look = |pid: i32, _: &Progress| {
            if pid == 7 {
                loop {
                    thread::park();
                }
            }
            pid * 2
        };
        let found = for_each((0..100).collect(), &|| false, look).unwrap();
        assert_eq!(found.len(), 100);
        assert_eq!(found[7], None);
        assert!((0..100).all(|n| n == 7 || found[n as usize] == Some(n * 2)));
        assert!(for_each(Vec::new(), &|| false, look).unwrap().is_empty());
    }
}
