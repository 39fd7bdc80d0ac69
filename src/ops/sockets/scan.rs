//! The way through all sockets: several threads take parts of one list in turn
//! and look at the sockets in them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
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
use crate::kernel::owners::{self, Owners};
use crate::kernel::sock_diag::{List, Socket};
use crate::kernel::taken::{self, File, Options, Process, Taken};
use crate::kernel::{Error, keepalive, processes, tcp, tick};
use crate::model::Partial;
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

/// One socket on the way: what is known of it, and itself, if it could be taken.
pub(super) struct Seen {
    pub(super) report: SocketReport,
    pub(super) taken: Option<Taken>,
    pub(super) options: Option<Options>,
    /// Why it could not be taken.
    pub(super) refused: Option<io::Error>,
    /// Whether it is part of an MPTCP connection.
    pub(super) mptcp: bool,
    pub(super) here: Arc<Here>,
    pub(super) socket: Socket,
}

impl Seen {
    /// Whether some process should hold it, and its options could not be read.
    fn is_hidden(&self) -> bool {
        self.options.is_none() && self.socket.inode != 0 && !self.mptcp
    }
}

/// All that a scan needs.
pub(super) struct Scan<'a> {
    filter: &'a Filter,
    owners: Option<Owners>,
    source: Source<'a>,
    /// Sockets that a thread asks for at once, at the least.
    together: usize,
    /// How many processes, and how many sockets, a thread may hold at once: each is
    /// an open file.
    files_each: usize,
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
    info: bool,
    /// What is to be as if it were in force. What would drop healthy connections
    /// is an error then.
    as_if: Option<Partial>,
    /// Whether no state means all of them.
    all_states: bool,
    waiting: Vec<Namespace>,
    now: Option<(Arc<Here>, List)>,
    counters: Option<Counters>,
    unreached: Vec<Unreached>,
    /// Processes whose namespace may not be seen.
    hidden: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(scope: &Scope, filter: &'a Filter, owners: bool) -> Result<Scan<'a>> {
        Scan::start(scope, filter, owners, None, false)
    }

    /// A scan for those who change something, as if some values were in force; not
    /// where they and the rest of what is would drop healthy connections.
    pub(super) fn to_change(
        scope: &Scope,
        filter: &'a Filter,
        as_if: Option<Partial>,
    ) -> Result<Scan<'a>> {
        let scan = Scan::start(scope, filter, true, as_if, true)?;
        Ok(Scan {
            together: scan.files_each,
            ..scan
        })
    }

    fn start(
        scope: &Scope,
        filter: &'a Filter,
        owners: bool,
        as_if: Option<Partial>,
        all_states: bool,
    ) -> Result<Scan<'a>> {
        const MANY: usize = 512;
        filter.check_pids()?;
        let files = taken::allow_many_files().map_err(Error::Processes)?;
        let owners = match owners || filter.by_owner() {
            true => Some(find_owners(filter)?),
            false => None,
        };
        let mut source = Source {
            filter,
            info: owners.is_some(),
            as_if,
            all_states,
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
            together: 1,
            files_each: (files / (4 * owners::threads())).clamp(1, MANY),
        })
    }

    /// How many sockets a thread may hold at once.
    pub(super) fn files_each(&self) -> usize {
        self.files_each
    }

    /// Hands on the sockets that are meant, part by part, until `work` breaks
    /// off.
    pub(super) fn run(
        self,
        work: impl Fn(&mut dyn Iterator<Item = Seen>) -> ControlFlow<()> + Sync,
    ) -> Scanned {
        let Scan {
            filter,
            owners,
            source,
            together,
            files_each,
        } = self;
        let source = Mutex::new(source);
        let unseen_options = Mutex::new(0);
        let look = || {
            let owned = owners.is_some();
            let mut reader = Reader::new(owners.as_ref(), files_each);
            let mut part = Vec::new();
            let mut unknown = 0;
            loop {
                part.clear();
                let here = lock(&source).next_part(&mut part, together);
                let Some(here) = here else {
                    break;
                };
                let mut found = part
                    .iter()
                    .filter_map(|socket| reader.see(&here, filter, socket))
                    .inspect(|seen| unknown += u64::from(owned && seen.is_hidden()));
                if work(&mut found).is_break() {
                    lock(&source).stop();
                }
            }
            *lock(&unseen_options) += unknown;
        };
        thread::scope(|scope| {
            let others = owners::helpers(scope, look);
            look();
            others.into_iter().for_each(owners::join);
        });
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
        Scanned {
            unseen,
            counters: source.counters,
        }
    }
}

/// A panic while it was held ends the scan anyway.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same at its end.
pub(super) fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn find_owners(filter: &Filter) -> Result<Owners> {
    let all = processes::all().map_err(Error::Processes)?;
    let pids: Vec<i32> = all.filter(|pid| filter.means(*pid)).collect();
    Ok(Owners::of_processes(&pids))
}

impl Source<'_> {
    /// The next sockets, of one namespace; none when all have been listed.
    fn next_part(&mut self, into: &mut Vec<Socket>, together: usize) -> Option<Arc<Here>> {
        loop {
            let Some((here, list)) = &mut self.now else {
                let namespace = self.waiting.pop()?;
                self.go_to(&namespace);
                continue;
            };
            let here = Arc::clone(here);
            let mut more = Ok(true);
            while matches!(more, Ok(true)) && into.len() < together {
                more = list.next_part(into);
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
        let query = self.filter.query(self.info, self.all_states);
        let look = || -> std::result::Result<_, Error> {
            let list = List::begin(query).map_err(Error::Sockets)?;
            Ok((
                keepalive::read()?,
                tcp::limits()?,
                list,
                counters::read().ok(),
            ))
        };
        let (in_force, limits, list, counted) = netns.enter(look)??;
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
        self.counters = match (self.counters, counted) {
            (Some(before), Some(more)) => Some(before.plus(more)),
            (before, more) => before.or(more),
        };
        self.now = Some((Arc::new(here), list));
        Ok(())
    }
}

/// What one thread knows of the processes.
pub(super) struct Reader<'o> {
    owners: Option<&'o Owners>,
    many: usize,
    /// None for one that has ended.
    held: HashMap<i32, Option<Process>>,
}

impl<'o> Reader<'o> {
    /// One that holds so many processes at once.
    pub(super) fn new(owners: Option<&'o Owners>, many: usize) -> Reader<'o> {
        Reader {
            owners,
            many,
            held: HashMap::new(),
        }
    }

    /// Looks at one socket; none if it is not meant.
    pub(super) fn see(
        &mut self,
        here: &Arc<Here>,
        filter: &Filter,
        socket: &Socket,
    ) -> Option<Seen> {
        if !filter.ends.passes(socket) {
            return None;
        }
        let owned = self.find(socket);
        if filter.by_owner() && owned.holder.is_none() {
            return None;
        }
        let options = owned.taken.as_ref().map(Taken::options).transpose();
        let (options, failed) = match options {
            Ok(options) => (options.map(|options| here.as_it_will_be(options)), None),
            Err(e) => (None, Some(e)),
        };
        let report = SocketReport::new(here, socket, owned.holder, options);
        filter.may_pass(&report).then_some(Seen {
            report,
            taken: owned.taken,
            options,
            refused: owned.refused.or(failed),
            mptcp: owned.mptcp,
            here: Arc::clone(here),
            socket: *socket,
        })
    }

    /// Takes a socket from the first process that holds it still.
    fn find(&mut self, socket: &Socket) -> Owned {
        let mut found = Owned::default();
        let Some(owners) = self.owners else {
            return found;
        };
        for owner in owners.of(socket.inode) {
            let holder = |process: Arc<str>| Holder {
                pid: owner.pid,
                process,
                fd: owner.fd,
            };
            let found_there = match self.hold(owner.pid) {
                Ok(None) => continue,
                Ok(Some(process)) => process
                    .take(owner, socket.cookie)
                    .map(|file| (Arc::clone(&process.name), file)),
                Err(e) => Err(e),
            };
            match found_there {
                Ok((_, File::Other)) => {}
                Ok((name, File::Mptcp)) => {
                    found.holder.get_or_insert_with(|| holder(name));
                    found.mptcp = true;
                }
                Ok((name, File::Socket(taken))) => {
                    return Owned {
                        holder: Some(holder(name)),
                        taken: Some(taken),
                        ..Owned::default()
                    };
                }
                Err(e) => {
                    if owner.still_holds() && found.holder.is_none() {
                        found.holder =
                            processes::command(owner.pid).map(|name| holder(name.into()));
                    }
                    found.refused.get_or_insert(e);
                }
            }
        }
        found
    }

    fn hold(&mut self, pid: i32) -> io::Result<Option<&Process>> {
        if self.held.len() >= self.many && !self.held.contains_key(&pid) {
            self.held.clear();
        }
        Ok(match self.held.entry(pid) {
            Entry::Occupied(held) => held.into_mut().as_ref(),
            Entry::Vacant(free) => free.insert(Process::hold(pid)?).as_ref(),
        })
    }
}

#[derive(Default)]
struct Owned {
    holder: Option<Holder>,
    taken: Option<Taken>,
    refused: Option<io::Error>,
    mptcp: bool,
}
