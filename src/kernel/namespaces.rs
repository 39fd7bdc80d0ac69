//! The network namespaces of this machine: those that have a name, and those
//! that a process is in.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::netns::{NAMES, NetNs, file_of as of};
use super::processes;
use super::watched::{self, Progress};

/// One network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// The number of its file, which tells it from all others that exist now.
    pub inode: u64,
    /// Its names, if `ip netns` or a container runtime gave it some.
    pub names: Vec<OsString>,
    /// The processes in it.
    pub processes: Vec<i32>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Those that could be told apart, by inode.
    pub found: Vec<Namespace>,
    /// Processes whose namespace may not be seen: those of other users, without
    /// root (`ptrace(2)`, PTRACE_MODE_READ_FSCREDS), and those that let nobody look.
    pub unseen_processes: usize,
}

/// A namespace that stays as long as this does.
#[derive(Debug)]
pub struct Held {
    netns: NetNs,
    _file: Option<File>,
}

impl Held {
    /// The way into it.
    pub fn netns(&self) -> &NetNs {
        &self.netns
    }
}

impl Namespace {
    /// What `--netns` takes: a name, or a process in it. A name that is no UTF-8
    /// cannot be told, so a process counts before it; without one, it is told as far
    /// as it is text, and the inode tells the namespace from others.
    pub fn name(&self) -> String {
        let named = self.names.iter().find_map(|name| name.to_str());
        let named = named.map(|name| match name.parse() {
            Ok(NetNs::Named(name)) => name.to_string_lossy().into_owned(),
            // A name such as pid:1 would be taken for something else.
            _ => format!("{NAMES}/{name}"),
        });
        let process = || self.processes.iter().min().map(|pid| format!("pid:{pid}"));
        let lossy = || {
            let name = self.names.first()?;
            Some(format!("{NAMES}/{}", name.to_string_lossy()))
        };
        named
            .or_else(process)
            .or_else(lossy)
            .unwrap_or_else(|| "-".to_owned())
    }

    /// Holds it; none if it has gone away from where it was found. A process
    /// number or a name that leads to another namespace by now is not taken for
    /// it. The calling thread is in its own already, which takes no privilege.
    ///
    /// # Errors
    /// It is there and cannot be opened.
    pub fn hold(&self) -> io::Result<Option<Held>> {
        if own_inode() == Some(self.inode) {
            return Ok(Some(Held {
                netns: NetNs::Current,
                _file: None,
            }));
        }
        let names = self.names.iter().map(|name| Path::new(NAMES).join(name));
        let by_name = names.map(File::open);
        let by_process = self.processes.iter().map(|pid| of_process(*pid, open));
        let mut refused = None;
        let mut late = 0;
        for opened in by_name.chain(by_process) {
            match opened {
                Ok(file) if file.metadata()?.ino() == self.inode => {
                    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                    return Ok(Some(Held {
                        netns: NetNs::File(path.into()),
                        _file: Some(file),
                    }));
                }
                Err(e) if !is_gone(&e) => {
                    late += usize::from(e.kind() == io::ErrorKind::TimedOut);
                    refused = Some(e);
                }
                _ => {}
            }
            if late == TRIED {
                break;
            }
        }
        refused.map_or(Ok(None), Err)
    }
}

/// How many processes of a namespace are waited for, one after the other.
const TRIED: usize = 3;

fn open(pid: i32) -> io::Result<File> {
    File::open(of(pid))
}

/// What one process lets be known, if it does so in time.
fn of_process<T: Send + 'static>(pid: i32, look: fn(i32) -> io::Result<T>) -> io::Result<T> {
    let looked = watched::for_each(vec![pid], &|| false, move |pid, _| look(pid))?;
    let late = || Err(io::ErrorKind::TimedOut.into());
    looked.into_iter().flatten().next().unwrap_or_else(late)
}

/// Of a file in `/proc/PID`: ESRCH is what a process that ends leaves.
fn is_gone(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(nix::libc::ESRCH)
}

/// Lists them. What goes away meanwhile is left out.
///
/// # Errors
/// `/proc` cannot be read.
pub fn list() -> io::Result<Namespaces> {
    // All namespaces are files of one file system.
    let device = fs::metadata("/proc/self/ns/net")?.dev();
    let mut found = Found::default();
    for name in names()? {
        let file = fs::metadata(Path::new(NAMES).join(&name));
        // A name whose namespace is not mounted is a file like any other.
        if let Some(file) = file.ok().filter(|file| file.dev() == device) {
            found.at(file.ino()).names.push(name);
        }
    }
    let mut unseen_processes = 0;
    let pids: Vec<i32> = processes::all()?.collect();
    let look = |pid: i32, _: &Progress| fs::metadata(of(pid)).map(|file| file.ino());
    for (pid, inode) in pids
        .clone()
        .into_iter()
        .zip(watched::for_each(pids, &|| false, look)?)
    {
        match inode {
            Some(Ok(inode)) => found.at(inode).processes.push(pid),
            Some(Err(e)) if e.kind() != io::ErrorKind::PermissionDenied => {}
            Some(Err(_)) | None => unseen_processes += 1,
        }
    }
    Ok(Namespaces {
        found: found.0.into_values().collect(),
        unseen_processes,
    })
}

/// By inode.
#[derive(Default)]
struct Found(BTreeMap<u64, Namespace>);

impl Found {
    fn at(&mut self, inode: u64) -> &mut Namespace {
        self.0.entry(inode).or_insert(Namespace {
            inode,
            names: Vec::new(),
            processes: Vec::new(),
        })
    }
}

/// The number of the namespace that a process is in; none if it is gone or may
/// not be seen.
pub fn inode_of(pid: i32) -> Option<u64> {
    fs::metadata(of(pid)).ok().map(|file| file.ino())
}

/// The number of the calling thread's own.
pub fn own_inode() -> Option<u64> {
    fs::metadata("/proc/thread-self/ns/net")
        .ok()
        .map(|file| file.ino())
}

fn names() -> io::Result<Vec<OsString>> {
    let entries = match fs::read_dir(NAMES) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn the_own_namespace_is_found_with_this_process() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let own = super::own_inode().unwrap();
        assert_eq!(super::inode_of(pid), Some(own));
        let all = super::list().unwrap().found;
        let found = all.iter().find(|n| n.inode == own).unwrap();
        assert!(found.processes.contains(&pid));
        assert_eq!(
            *found.hold().unwrap().unwrap().netns(),
            super::NetNs::Current
        );
        let gone = super::Namespace {
            inode: 1,
            ..found.clone()
        };
        assert!(gone.hold().unwrap().is_none());
        let odd = super::Namespace {
            names: vec!["pid:1".into()],
            ..gone
        };
        assert_eq!(odd.name(), "/run/netns/pid:1");
        let bytes = super::Namespace {
            names: vec![OsString::from_vec(b"a\xff".to_vec())],
            ..odd
        };
        assert_eq!(
            bytes.name(),
            format!("pid:{}", bytes.processes.iter().min().unwrap())
        );
        let nobody = super::Namespace {
            processes: Vec::new(),
            ..bytes
        };
        assert_eq!(nobody.name(), "/run/netns/a\u{fffd}");
    }
}
