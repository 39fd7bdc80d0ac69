//! `sockets rearm` and `sockets set`: the cure for connections that are open
//! already.
//!
//! A connection whose keepalive timer was armed under older settings follows
//! when that expires, which can take hours. Off and on again arms it anew, for
//! the settings in effect. Where that would put its next probe off, nothing is
//! done.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use serde::Serialize;

use super::report::{Here, SocketReport};
use super::scan::{Reader, Scan, Seen, find_owners, into_inner, lock};
use super::{Filter, Scope, Unseen};
use crate::chain::chain;
use crate::kernel::signals::{Requests, Signal};
use crate::kernel::sock_diag::{Socket, TcpState};
use crate::kernel::taken::{self, Done, Job, Options, Stalls, Target};
use crate::kernel::{processes, signals};
use crate::model::{Partial, Setting, Settings, UserTimeout};
use crate::ops::{Error, Result, require_machine};
use crate::root::Root;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Let the settings in effect count now.
    Rearm,
    /// Give them values of their own.
    Set {
        /// The three settings.
        values: Partial,
        /// TCP_USER_TIMEOUT, or none to take it away.
        user_timeout: Option<Option<UserTimeout>>,
        /// Turn keepalive on where it is off.
        turn_on: bool,
    },
}

/// A socket that was not to be touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The socket.
    #[serde(flatten)]
    pub socket: SocketReport,
    /// Why.
    pub error: String,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ChangeReport {
    /// Whether this is only the plan.
    pub dry_run: bool,
    /// Whether a signal ended it before all sockets were seen.
    pub interrupted: bool,
    /// That signal, by which the program is to end.
    #[serde(skip)]
    pub signal: Option<Signal>,
    /// Sockets that were changed and read back, or would be changed.
    pub changed: u64,
    /// Of these, how many had keepalive on and another timer hid its own: whether
    /// they were stale is not known.
    pub busy: u64,
    /// Those that were so already, or that it would not help.
    pub unchanged: u64,
    /// Of all these, how many have keepalive off, and are left so.
    pub off: u64,
    /// Those that were closed meanwhile.
    pub gone: u64,
    /// Those whose process may not be touched, or cannot be seen.
    pub refused: u64,
    /// Those that no process holds, not accepted yet or the kernel's own, and those
    /// that are part of an MPTCP connection: left alone.
    pub unowned: u64,
    /// In a dry run, those that would be changed.
    pub sockets: Vec<SocketReport>,
    /// Why they were refused, and how many for each reason.
    pub reasons: BTreeMap<String, u64>,
    /// The first 20 of those refused.
    pub refusals: Vec<Refusal>,
    /// What could not be seen.
    pub unseen: Unseen,
}

/// Changes the sockets that are meant; in a dry run, says what would be changed
/// if these values were in force.
///
/// # Errors
/// A value is not legal on a socket; what is in force, which `rearm` would have
/// count, would drop healthy connections; or the kernel does not list sockets or
/// processes. What fails on one socket is in the report.
pub fn change(
    root: &Root,
    scope: &Scope,
    filter: &Filter,
    change: &Change,
    dry_run: Option<Partial>,
) -> Result<ChangeReport> {
    require_machine(root, "sockets")?;
    let wanted = change.wanted()?;
    let job = match change {
        Change::Rearm => Job::Rearm,
        Change::Set { .. } => Job::Set(wanted),
    };
    // Ctrl-C ends the job when the sockets at hand are whole, and then the program.
    let _held = signals::hold()?;
    let requests = Requests::listen()?;
    let work = Work {
        filter,
        change: *change,
        wanted,
        job,
        dry_run: dry_run.is_some(),
        requests: &requests,
        report: Mutex::default(),
        lost: Mutex::default(),
    };
    // What is in force may harm, where sockets get values of their own.
    let as_if = (*change == Change::Rearm).then(|| dry_run.unwrap_or_default());
    let scan = Scan::to_change(scope, filter, as_if, job, &requests)?;
    let scanned = scan.run(|reader, found| {
        work.part(reader, found);
        work.go_on()
    })?;
    // By now sockets are changed, so what fails is told of those that are left.
    if let Err(e) = work.find_lost(scope) {
        work.refuse_lost(&io::Error::other(chain(&e)));
    }
    let mut report = into_inner(work.report);
    report.dry_run = dry_run.is_some();
    report.unseen = scanned.unseen;
    report.signal = requests.come();
    report.interrupted = report.signal.is_some();
    Ok(report)
}

impl Change {
    fn wanted(&self) -> Result<taken::Change> {
        let Change::Set {
            values,
            user_timeout,
            turn_on,
        } = *self
        else {
            return Ok(taken::Change::default());
        };
        let own = |setting: Setting, value: Option<i64>| match value {
            None => Ok(None),
            Some(value) if (1..=setting.max_on_socket()).contains(&value) => {
                Ok(u32::try_from(value).ok())
            }
            Some(value) => Err(Error::BeyondSocket { setting, value }),
        };
        Ok(taken::Change {
            time: own(Setting::Time, values.time)?,
            intvl: own(Setting::Intvl, values.intvl)?,
            probes: own(Setting::Probes, values.probes)?,
            user_timeout_ms: user_timeout.map(|t| t.map_or(0, UserTimeout::milliseconds)),
            turn_on,
        })
    }
}

/// One change on its way through all sockets.
struct Work<'f> {
    filter: &'f Filter,
    change: Change,
    wanted: taken::Change,
    job: Job,
    dry_run: bool,
    requests: &'f Requests,
    report: Mutex<ChangeReport>,
    /// Those that no process was found for.
    lost: Mutex<Vec<(Arc<Here>, Socket)>>,
}

/// What is to be done with one socket.
enum Step {
    Change(Candidate),
    Leave { off: bool },
    Refused(SocketReport, io::Error),
    Unowned(TcpState),
    Lost(Arc<Here>, Socket),
}

struct Candidate {
    report: SocketReport,
    target: Target,
    before: Options,
    /// It has the values already, maybe not as its own.
    same: bool,
}

impl Work<'_> {
    /// Breaks off if the program was asked to end.
    fn go_on(&self) -> ControlFlow<()> {
        match self.requests.come() {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    /// Some sockets, planned and then changed together.
    fn part(&self, reader: &mut Reader<'_>, found: Vec<Seen>) {
        let mut counts = ChangeReport::default();
        let mut candidates = Vec::new();
        for seen in found {
            // Of one that may not be looked at, it is not known whether it is
            // meant.
            if seen.options.is_some() && !self.filter.passes(&seen.report) {
                continue;
            }
            match self.plan(seen) {
                Step::Leave { off } => {
                    counts.unchanged += 1;
                    counts.off += u64::from(off);
                }
                Step::Refused(socket, e) => counts.refuse(socket, &e),
                Step::Unowned(TcpState::Established | TcpState::CloseWait) => counts.unowned += 1,
                // Closed by its program, and nobody's any more.
                Step::Unowned(_) => {}
                Step::Lost(here, socket) => lock(&self.lost).push((here, socket)),
                Step::Change(candidate) => {
                    candidates.push(candidate);
                }
            }
        }
        let done: Vec<Done> = match self.dry_run {
            true => candidates.iter().map(|_| Done::Changed).collect(),
            false => {
                let targets: Vec<Target> = candidates.iter().map(|c| c.target).collect();
                reader.change(&targets)
            }
        };
        for (candidate, done) in candidates.into_iter().zip(done) {
            if matches!(done, Done::Changed) {
                let stays_off = !candidate.before.keepalive && !self.wanted.turn_on;
                counts.off += u64::from(stays_off);
            }
            match done {
                Done::Refused(e) => counts.refuse(candidate.report, &e),
                Done::Gone => counts.gone += 1,
                Done::Off => {
                    counts.unchanged += 1;
                    counts.off += 1;
                }
                Done::Changed if candidate.same => counts.unchanged += 1,
                Done::Changed => {
                    counts.changed += 1;
                    let busy = candidate.report.timer != "keepalive";
                    counts.busy += u64::from(busy && self.change == Change::Rearm);
                    if self.dry_run {
                        counts.sockets.push(candidate.report);
                    }
                }
            }
        }
        lock(&self.report).add(counts);
    }

    fn plan(&self, seen: Seen) -> Step {
        let rearm = self.change == Change::Rearm;
        // What the timer alone shows need not be taken.
        match (seen.report.keepalive, seen.report.stale) {
            (Some(false), _) if rearm => return Step::Leave { off: true },
            (Some(true), Some(false)) if rearm => return Step::Leave { off: false },
            _ => {}
        }
        let (target, before) = match (seen.target, seen.options, seen.refused) {
            (Some(target), Some(options), _) => (target, options),
            (_, _, Some(e)) => return Step::Refused(seen.report, e),
            _ if seen.mptcp || seen.socket.inode == 0 => return Step::Unowned(seen.socket.state),
            _ => return Step::Lost(seen.here, seen.socket),
        };
        let report = seen.report;
        // Busy, its keepalive timer is hidden, and to arm it anew does no harm:
        // the time counts from the last segment.
        let old = before.keepalive && report.stale != Some(false);
        let stays_on = before.keepalive || self.wanted.turn_on;
        if !rearm
            && stays_on
            && let Err(e) = Settings::try_from(before.after(&self.wanted))
        {
            return Step::Refused(report, io::Error::other(e));
        }
        let arms = self.wanted.time.is_some() && report.stale == Some(true);
        let same = match rearm {
            true if !old => {
                return Step::Leave {
                    off: !before.keepalive,
                };
            }
            true => false,
            false => before.has(&self.wanted) && !arms,
        };
        Step::Change(Candidate {
            report,
            target,
            before,
            same,
        })
    }

    /// Looks again for the processes of those that none was found for: a socket
    /// may have been accepted or handed over since. Then some are gone, and some
    /// are the kernel's own.
    fn find_lost(&self, scope: &Scope) -> Result<()> {
        const LOOKS: usize = 3;
        let mut unseen_processes = 0;
        for _ in 0..LOOKS {
            if lock(&self.lost).is_empty() || self.go_on().is_break() {
                return Ok(());
            }
            let owners = find_owners(self.filter, Some(self.requests))?;
            let lost = std::mem::take(&mut *lock(&self.lost));
            unseen_processes = owners.unseen_processes;
            let stalls = Stalls::default();
            let mut reader = Reader::new(self.filter, Some(&owners), Some(self.job), &stalls)?;
            for of_one in lost.chunk_by(|(a, _), (b, _)| Arc::ptr_eq(a, b)) {
                let sockets: Vec<Socket> = of_one.iter().map(|(_, socket)| *socket).collect();
                let again = reader.see(&of_one[0].0, &sockets);
                self.part(&mut reader, again);
            }
            self.forget_gone(scope)?;
        }
        let all_seen = unseen_processes == 0 && processes::are_all_visible();
        let hidden = io::Error::new(
            io::ErrorKind::PermissionDenied,
            "its process may not be seen",
        );
        match all_seen {
            true => {
                lock(&self.report).unowned += std::mem::take(&mut *lock(&self.lost)).len() as u64
            }
            false => self.refuse_lost(&hidden),
        }
        Ok(())
    }

    /// Reports those that no process was found for, and why.
    fn refuse_lost(&self, error: &io::Error) {
        let lost = std::mem::take(&mut *lock(&self.lost));
        let mut report = lock(&self.report);
        for (here, socket) in lost {
            report.refuse(SocketReport::new(&here, &socket, None, None, None), error);
        }
    }

    /// Of those that no process was found for, counts the ones that are not there
    /// any more.
    fn forget_gone(&self, scope: &Scope) -> Result<()> {
        let mut lost = lock(&self.lost);
        if !lost.is_empty() {
            let there = cookies(scope, self.filter)?;
            let before = lost.len();
            lost.retain(|(_, socket)| there.contains(&socket.cookie));
            lock(&self.report).gone += (before - lost.len()) as u64;
        }
        Ok(())
    }
}

/// All sockets that are there now.
fn cookies(scope: &Scope, filter: &Filter) -> Result<HashSet<u64>> {
    let there: Mutex<HashSet<u64>> = Mutex::default();
    let all = Filter {
        // It may have come into another state meanwhile.
        states: TcpState::ALL.to_vec(),
        ends: filter.ends.clone(),
        ..Filter::default()
    };
    Scan::new(scope, &all, false)?.run(|_, found| {
        lock(&there).extend(found.iter().map(|seen| seen.socket.cookie));
        ControlFlow::Continue(())
    })?;
    Ok(into_inner(there))
}

/// How many refusals are told.
const LISTED: usize = 20;

impl ChangeReport {
    fn refuse(&mut self, socket: SocketReport, error: &io::Error) {
        self.refused += 1;
        let error = error.to_string();
        *self.reasons.entry(error.clone()).or_default() += 1;
        if self.refusals.len() < LISTED {
            self.refusals.push(Refusal { socket, error });
        }
    }

    fn add(&mut self, part: ChangeReport) {
        self.changed += part.changed;
        self.unchanged += part.unchanged;
        self.off += part.off;
        self.busy += part.busy;
        for (reason, count) in part.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.gone += part.gone;
        self.refused += part.refused;
        self.unowned += part.unowned;
        self.sockets.extend(part.sockets);
        self.refusals.extend(part.refusals);
        self.refusals.truncate(LISTED);
    }
}
