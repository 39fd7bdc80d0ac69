//! The way through all sockets: several threads take parts of one list in turn
//! and look at the sockets in them.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::report::{Here, Holder, SocketReport};
use super::{Filter, Unreached, Unseen};
use crate::chain::chain;
use crate::kernel::counters::{self, Counters};
use crate::kernel::namespaces::{self, Namespace};
use crate::kernel::netns::NetNs;
use crate::kernel::owners::{self, Owner, Owners};
use crate::kernel::signals::Requests;
use crate::kernel::sock_diag::{List, Socket};
use crate::kernel::taken::{Done, Found, Info, Job, Options, Stalls, Taker, Target};
use crate::kernel::{Error, keepalive, processes, tcp, tick};
use crate::model::Partial;
use crate::model::time_to_drop::Timer;
use crate::ops::netns::{hold, named_job};
use crate::ops::{self, Result, over};

/// Which network namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One.
    One(NetNs),
    /// Each that can be found.
    All,
}

/// One socket on the way: what is known of it, and where it was found.
pub(super) struct Seen {
    pub(super) report: SocketReport,
    /// Where a process has it; none if it was not taken.
    pub(super) target: Option<Target>,
    pub(super) options: Option<Options>,
    /// Why it could not be taken.
    pub(super) refused: Option<io::Error>,
    /// Whether it is part of an MPTCP connection.
    pub(super) mptcp: bool,
    /// Whether it was not taken because its timer tells enough.
    pub(super) spared: bool,
    pub(super) here: Arc<Here>,
    pub(super) socket: Socket,
}

impl Seen {
    /// Whether some process should hold it, and its options could not be read.
    fn is_hidden(&self) -> bool {
        self.options.is_none() && self.socket.inode != 0 && !self.mptcp && !self.spared
    }
}

/// All that a scan needs.
pub(super) struct Scan<'a> {
    filter: &'a Filter,
    owners: Option<Owners>,
    source: Source<'a>,
    /// What is to be done with the sockets, if anything.
    job: Option<Job>,
    stalls: Stalls,
}

/// Returns true if the program was asked to end.
fn is_over(requests: Option<&Requests>) -> bool {
    requests.is_some_and(|requests| requests.come().is_some())
}

/// What a scan leaves.
pub(super) struct Scanned {
    pub(super) unseen: Unseen,
    /// The counters of the namespaces that were entered, added up.
    pub(super) counters: Option<Counters>,
}

/// The lists, one namespace after the other.
struct Source<'a> {
    filter: &'a Filter,
    /// What is to be as if it were in force. What would drop healthy connections
    /// is an error then.
    as_if: Option<Partial>,
    /// Whether no state means all of them.
    all_states: bool,
    /// By which the program may be asked to end.
    requests: Option<&'a Requests>,
    waiting: Vec<Namespace>,
    now: Option<Listing>,
    counters: Option<Counters>,
    unreached: Vec<Unreached>,
    /// Processes whose namespace may not be seen.
    hidden: usize,
}

/// A list that has begun, with what came first.
struct Listing {
    here: Arc<Here>,
    list: List,
    first: Vec<Socket>,
    /// Whether there is more to come, or why there is not.
    more: io::Result<bool>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(scope: &Scope, filter: &'a Filter, owners: bool) -> Result<Scan<'a>> {
        Scan::start(scope, filter, owners, None, None, None)
    }

    /// A scan for those who change something, as if some values were in force; not
    /// where they and the rest of what is would drop healthy connections.
    pub(super) fn to_change(
        scope: &Scope,
        filter: &'a Filter,
        as_if: Option<Partial>,
        job: Job,
        requests: &'a Requests,
    ) -> Result<Scan<'a>> {
        Scan::start(scope, filter, true, as_if, Some(job), Some(requests))
    }

    fn start(
        scope: &Scope,
        filter: &'a Filter,
        owners: bool,
        as_if: Option<Partial>,
        job: Option<Job>,
        requests: Option<&'a Requests>,
    ) -> Result<Scan<'a>> {
        filter.check_pids()?;
        let owners = match owners || filter.by_owner() {
            true => Some(find_owners(filter, requests)?),
            false => None,
        };
        let mut source = Source {
            filter,
            as_if,
            all_states: job.is_some(),
            requests,
            waiting: Vec::new(),
            now: None,
            counters: None,
            unreached: Vec::new(),
            hidden: 0,
        };
        match scope {
            Scope::One(netns) => {
                let name = (*netns != NetNs::Current).then(|| netns.to_string());
                source.enter(netns, name)?;
            }
            Scope::All => {
                let all = namespaces::list().map_err(Error::Namespaces)?;
                source.waiting = all.found;
                source.hidden = all.unseen_processes;
            }
        }
        Ok(Scan {
            filter,
            owners,
            source,
            job,
            stalls: Stalls::default(),
        })
    }

    /// Hands on the sockets that are meant, part by part, until `work` breaks off.
    ///
    /// # Errors
    /// No process can be started that looks at sockets.
    pub(super) fn run(
        self,
        work: impl Fn(&mut Reader<'_>, Vec<Seen>) -> ControlFlow<()> + Sync,
    ) -> Result<Scanned> {
        let Scan {
            filter,
            owners,
            source,
            job,
            stalls,
        } = self;
        let source = Mutex::new(source);
        let unseen_options = Mutex::new(0);
        let look = || -> Result<()> {
            let mut reader = Reader::new(filter, owners.as_ref(), job, &stalls)?;
            let mut part = Vec::new();
            let mut unknown = 0;
            loop {
                part.clear();
                let here = lock(&source).next_part(&mut part, TOGETHER);
                let Some(here) = here else {
                    break;
                };
                let found = reader.see(&here, &part);
                if owners.is_some() {
                    unknown += found.iter().filter(|seen| seen.is_hidden()).count() as u64;
                }
                if work(&mut reader, found).is_break() {
                    lock(&source).stop();
                }
            }
            *lock(&unseen_options) += unknown;
            Ok(())
        };
        thread::scope(|scope| {
            let others = owners::helpers(scope, look);
            let own = look();
            // A thread that could not begin left its sockets to the others.
            others
                .into_iter()
                .map(owners::join)
                .fold(own, |all, one| all.or(one))
        })?;
        let source = into_inner(source);
        let unseen = Unseen {
            options: into_inner(unseen_options),
            // Where none is named, it is told of each of their sockets.
            processes: match owners {
                Some(owners) if filter.by_owner() => owners.unseen_processes,
                _ => 0,
            },
            namespaces: source.unreached,
            processes_elsewhere: source.hidden,
        };
        Ok(Scanned {
            unseen,
            counters: source.counters,
        })
    }
}

/// Sockets that a thread asks for at once, at the least.
const TOGETHER: usize = 256;

/// How many places a socket is looked for in.
const OWNERS: usize = 16;

/// A panic while it was held ends the scan anyway.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same at its end.
pub(super) fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn find_owners(filter: &Filter, requests: Option<&Requests>) -> Result<Owners> {
    let all = processes::all().map_err(Error::Processes)?;
    let pids: Vec<i32> = all.filter(|pid| filter.means(*pid)).collect();
    let stop = || is_over(requests);
    Ok(Owners::of_processes(pids, &stop).map_err(Error::Processes)?)
}

impl Source<'_> {
    /// The next sockets, of one namespace; none when all have been listed.
    fn next_part(&mut self, into: &mut Vec<Socket>, together: usize) -> Option<Arc<Here>> {
        loop {
            if is_over(self.requests) {
                self.stop();
            }
            let Some(listing) = &mut self.now else {
                let namespace = self.waiting.pop()?;
                self.go_to(&namespace);
                continue;
            };
            let here = Arc::clone(&listing.here);
            into.append(&mut listing.first);
            let mut more = std::mem::replace(&mut listing.more, Ok(true));
            while matches!(more, Ok(true)) && into.len() < together {
                more = listing.list.next_part(into);
            }
            if let Err(e) = more {
                // What was listed by then may be changed already.
                let netns = here
                    .netns
                    .as_deref()
                    .unwrap_or("the caller's own")
                    .to_owned();
                let error = chain(&Error::Sockets(e));
                let gone = false;
                self.unreached.push(Unreached { netns, gone, error });
                self.now = None;
            } else if matches!(more, Ok(false)) {
                self.now = None;
            }
            if !into.is_empty() {
                return Some(here);
            }
        }
    }

    fn stop(&mut self) {
        self.now = None;
        self.waiting.clear();
    }

    fn go_to(&mut self, namespace: &Namespace) {
        let own = namespaces::own_inode() == Some(namespace.inode);
        let mut enter = || {
            let held = hold(namespace)?;
            let name = (!own).then(|| namespace.name());
            self.enter(held.netns(), name)
        };
        let Err(e) = enter() else {
            return;
        };
        self.unreached.push(Unreached {
            netns: namespace.name(),
            gone: matches!(e, ops::Error::Kernel(Error::Gone)),
            error: chain(&named_job(e, namespace)),
        });
    }

    fn enter(&mut self, netns: &NetNs, name: Option<String>) -> Result<()> {
        let query = self.filter.query(self.all_states);
        let look = || -> std::result::Result<_, Error> {
            let mut list = List::begin(query).map_err(Error::Sockets)?;
            let mut first = Vec::new();
            let mut more = Ok(true);
            while matches!(more, Ok(true)) && first.is_empty() {
                more = list.next_part(&mut first);
            }
            let counted = counters::read().ok();
            // Where there is no socket, nothing need be known of them.
            if matches!(more, Ok(false)) && first.is_empty() {
                return Ok((counted, None));
            }
            let found = (keepalive::ask()?, tcp::limits()?, list, first, more);
            Ok((counted, Some(found)))
        };
        let (counted, found) = netns.enter(look)??;
        self.counters = match (self.counters, counted) {
            (Some(before), Some(more)) => Some(before.plus(more)),
            (before, more) => before.or(more),
        };
        let Some((in_force, limits, list, first, more)) = found else {
            return Ok(());
        };
        let as_if = match self.as_if {
            Some(as_if) => over(as_if, in_force)?.values(),
            None => in_force,
        };
        let here = Here {
            netns: name.map(Arc::from),
            in_force,
            as_if,
            limits,
            hz: tick::rate(),
            patience: self.filter.at_risk,
        };
        self.now = Some(Listing {
            here: Arc::new(here),
            list,
            first,
            more,
        });
        Ok(())
    }
}

/// How one thread looks at sockets.
pub(super) struct Reader<'s> {
    filter: &'s Filter,
    /// None if nobody's process is to be looked at.
    owners: Option<(&'s Owners, Taker<'s>)>,
    /// Sockets whose timers tell that there is nothing to do are not taken.
    spare: bool,
    /// None for a process that has ended.
    names: HashMap<i32, Option<Arc<str>>>,
}

impl<'s> Reader<'s> {
    /// # Errors
    /// No process can be started that looks at sockets.
    pub(super) fn new(
        filter: &'s Filter,
        owners: Option<&'s Owners>,
        job: Option<Job>,
        stalls: &'s Stalls,
    ) -> Result<Reader<'s>> {
        let taker = |owners| {
            let taker = Taker::start(job, stalls).map_err(Error::Taker)?;
            Ok::<_, ops::Error>((owners, taker))
        };
        Ok(Reader {
            filter,
            owners: owners.map(taker).transpose()?,
            spare: job == Some(Job::Rearm) && !filter.by_owner(),
            names: HashMap::new(),
        })
    }

    /// Looks at sockets; those that are not meant are left out.
    pub(super) fn see(&mut self, here: &Arc<Here>, sockets: &[Socket]) -> Vec<Seen> {
        let passing = sockets.iter().filter(|s| self.filter.ends.passes(s));
        let mut owned: Vec<Owned<'s>> = passing.map(|socket| Owned::new(*socket)).collect();
        self.take(&mut owned);
        let filter = self.filter;
        let by_owner = filter.by_owner();
        owned
            .into_iter()
            .filter(|owned| !by_owner || owned.holder.is_some())
            .map(|owned| owned.seen(here))
            .filter(|seen| filter.may_pass(&seen.report))
            .collect()
    }

    /// Carries the scan's job out.
    pub(super) fn change(&mut self, targets: &[Target]) -> Vec<Done> {
        match &mut self.owners {
            Some((_, taker)) => taker.change(targets),
            None => Vec::new(),
        }
    }

    /// Takes each socket from the first process that holds it still.
    fn take(&mut self, sockets: &mut [Owned<'s>]) {
        let Some((owners, _)) = self.owners else {
            return;
        };
        for owned in sockets.iter_mut() {
            owned.spared = self.spare && owned.socket.timer == Timer::Off;
            if !owned.spared {
                let of = owners.of(owned.socket.inode);
                owned.owners = &of[..of.len().min(OWNERS)];
            }
        }
        let mut waiting: Vec<&mut Owned> = sockets.iter_mut().collect();
        loop {
            waiting.retain(|owned| owned.target().is_some());
            let targets: Vec<Target> = waiting.iter().filter_map(|owned| owned.target()).collect();
            let Some((_, taker)) = self.owners.as_mut().filter(|_| !targets.is_empty()) else {
                return;
            };
            let found = taker.read(&targets);
            for ((owned, target), found) in waiting.iter_mut().zip(targets).zip(found) {
                let name = || name(&mut self.names, target.pid);
                owned.learn(target, found, name);
            }
        }
    }
}

/// The name of a process, as it was when it was first asked for.
fn name(names: &mut HashMap<i32, Option<Arc<str>>>, pid: i32) -> Option<Arc<str>> {
    let name = || processes::command(pid).map(Arc::from);
    names.entry(pid).or_insert_with(name).clone()
}

/// A socket, and what its processes let be known of it.
struct Owned<'o> {
    socket: Socket,
    /// Those that are still to be asked.
    owners: &'o [Owner],
    spared: bool,
    holder: Option<Holder>,
    target: Option<Target>,
    options: Option<Options>,
    info: Option<Info>,
    refused: Option<io::Error>,
    mptcp: bool,
}

impl Owned<'_> {
    fn new(socket: Socket) -> Self {
        Owned {
            socket,
            owners: &[],
            spared: false,
            holder: None,
            target: None,
            options: None,
            info: None,
            refused: None,
            mptcp: false,
        }
    }

    /// The next place to look for it.
    fn target(&self) -> Option<Target> {
        self.owners.first().map(|owner| Target {
            pid: owner.pid,
            fd: owner.fd,
            cookie: self.socket.cookie,
            uid: self.socket.uid,
        })
    }

    /// Keeps what was found at a place.
    fn learn(&mut self, target: Target, found: Found, name: impl FnOnce() -> Option<Arc<str>>) {
        let Some((_, rest)) = self.owners.split_first() else {
            return;
        };
        self.owners = rest;
        let holder = || {
            name().map(|process| Holder {
                pid: target.pid,
                process,
                fd: target.fd,
            })
        };
        match found {
            Found::Other => {}
            Found::Socket(options, info) => {
                self.info = info;
                self.owners = &[];
                self.holder = holder();
                self.target = Some(target);
                self.options = Some(options);
                self.refused = None;
                self.mptcp = false;
            }
            Found::Mptcp => {
                self.mptcp = true;
                self.holder = self.holder.take().or_else(holder);
            }
            Found::Refused(e) => {
                if self.holder.is_none() {
                    self.holder = holder();
                }
                self.refused.get_or_insert(e);
            }
        }
    }

    fn seen(self, here: &Arc<Here>) -> Seen {
        let options = self.options.map(|options| here.as_it_will_be(options));
        Seen {
            report: SocketReport::new(here, &self.socket, self.holder, options, self.info),
            target: self.target,
            options,
            refused: self.refused,
            mptcp: self.mptcp,
            spared: self.spared,
            here: Arc::clone(here),
            socket: self.socket,
        }
    }
}
