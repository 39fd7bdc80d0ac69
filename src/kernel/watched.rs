//! Work on many processes, on threads that can be abandoned.
//!
//! What `/proc/PID` tells can wait for the process: a process that is held in
//! execve(2), by a file system of its own, keeps whoever reads its links waiting
//! (`exec_update_lock`; for descriptors since the mending of CVE-2026-64375). Such
//! a wait ends only with the process that waits, so it must not be the whole of
//! this program that waits.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::processes;

/// How long a thread may be without progress.
const PATIENCE: Duration = Duration::from_secs(1);

/// After so many have kept a thread waiting, processes that look as if they would
/// are passed over.
const ENOUGH: usize = 2;

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
    next: AtomicUsize,
    /// Whether to pass over processes in an uninterruptible wait.
    wary: AtomicBool,
    look: F,
}

/// One thread, as its watcher sees it.
struct Worker {
    progress: Arc<Progress>,
    /// Its steps when it was last looked at.
    seen: u64,
}

impl Worker {
    /// Returns true if it has made no step since it was last looked at.
    fn is_stuck(&mut self) -> bool {
        let steps = self.progress.steps.load(Ordering::Relaxed);
        steps == std::mem::replace(&mut self.seen, steps)
    }

    fn at(&self) -> usize {
        self.progress.at.load(Ordering::Relaxed)
    }
}

/// Does `look` for each process; none for one that keeps it waiting.
///
/// # Errors
/// No thread can be started: EAGAIN where no more are allowed.
pub(super) fn for_each<T, F>(pids: Vec<i32>, look: F) -> io::Result<Vec<Option<T>>>
where
    T: Send + 'static,
    F: Fn(i32, &Progress) -> T + Send + Sync + 'static,
{
    let count = pids.len();
    let work = Arc::new(Work {
        pids,
        next: AtomicUsize::new(0),
        wary: AtomicBool::new(false),
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
    Ok(collect(&work, workers, &sender, &results))
}

fn start<T, F>(work: &Arc<Work<F>>, results: &Sender<(usize, Option<T>)>) -> io::Result<Worker>
where
    T: Send + 'static,
    F: Fn(i32, &Progress) -> T + Send + Sync + 'static,
{
    let progress = Arc::new(Progress::default());
    let (work, own, results) = (Arc::clone(work), Arc::clone(&progress), results.clone());
    let life = move || {
        loop {
            let at = work.next.fetch_add(1, Ordering::Relaxed);
            let Some(pid) = work.pids.get(at) else {
                return;
            };
            own.at.store(at, Ordering::Relaxed);
            own.step();
            let wary = work.wary.load(Ordering::Relaxed);
            let waits = wary && processes::state(*pid) == Some('D');
            let found = (!waits).then(|| (work.look)(*pid, &own));
            // Nobody listens any more: the job has ended.
            if results.send((at, found)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().spawn(life)?;
    Ok(Worker { progress, seen: 0 })
}

fn collect<T, F>(
    work: &Arc<Work<F>>,
    mut workers: Vec<Worker>,
    sender: &Sender<(usize, Option<T>)>,
    results: &Receiver<(usize, Option<T>)>,
) -> Vec<Option<T>>
where
    T: Send + 'static,
    F: Fn(i32, &Progress) -> T + Send + Sync + 'static,
{
    let mut found: Vec<Option<T>> = work.pids.iter().map(|_| None).collect();
    let mut settled = HashSet::new();
    let mut stalls = 0;
    while settled.len() < found.len() {
        match results.recv_timeout(PATIENCE) {
            Ok((at, result)) => {
                if settled.insert(at) {
                    found[at] = result;
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let before = workers.len();
                workers.retain_mut(|w| !(w.is_stuck() && settled.insert(w.at())));
                let stuck = before - workers.len();
                stalls += stuck;
                work.wary.store(stalls >= ENOUGH, Ordering::Relaxed);
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
        let found = for_each((0..100).collect(), look).unwrap();
        assert_eq!(found.len(), 100);
        assert_eq!(found[7], None);
        assert!((0..100).all(|n| n == 7 || found[n as usize] == Some(n * 2)));
        assert!(for_each(Vec::new(), look).unwrap().is_empty());
    }
}
