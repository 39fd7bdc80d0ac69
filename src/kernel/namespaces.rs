//! The network namespaces of this machine: those that have a name, and those
//! that a process is in.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::netns::{NAMES, NetNs, file_of as of};
use super::processes;

/// One network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// The number of its file, which tells it from all others that exist now.
    pub inode: u64,
    /// Its names, if `ip netns` or a container runtime gave it some.
    pub names: Vec<String>,
    /// The processes in it.
    pub processes: Vec<i32>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Those that could be told apart, by inode.
    pub found: Vec<Namespace>,
    /// Processes whose namespace may not be seen: those of other users, without
    /// root (`ptrace(2)`, PTRACE_MODE_READ_FSCREDS).
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
    /// What `--netns` takes: a name, or a process in it.
    pub fn name(&self) -> String {
        let named = self.names.first().map(|name| match name.parse() {
            Ok(NetNs::Named(name)) => name,
            // A name such as pid:1 would be taken for something else.
            _ => format!("{NAMES}/{name}"),
        });
        let process = || self.processes.iter().min().map(|pid| format!("pid:{pid}"));
        named.or_else(process).unwrap_or_else(|| "-".to_owned())
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
        let mut refused = None;
        for path in names.chain(self.processes.iter().map(|pid| of(*pid))) {
            match File::open(path) {
                Ok(file) if file.metadata()?.ino() == self.inode => {
                    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                    return Ok(Some(Held {
                        netns: NetNs::File(path.into()),
                        _file: Some(file),
                    }));
                }
                Err(e) if !is_gone(&e) => refused = Some(e),
                _ => {}
            }
        }
        refused.map_or(Ok(None), Err)
    }
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
    for pid in processes::all()? {
        match fs::metadata(of(pid)) {
            Ok(file) => found.at(file.ino()).processes.push(pid),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => unseen_processes += 1,
            Err(_) => {}
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

fn names() -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(NAMES) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
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
            names: vec!["pid:1".to_owned()],
            ..gone
        };
        assert_eq!(odd.name(), "/run/netns/pid:1");
    }
}
