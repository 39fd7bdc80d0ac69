//! Which process holds which socket: the links in `/proc/PID/fd`.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};

use rustix::fs::{Mode, OFlags, RawDir, openat, readlinkat_raw};
use rustix::io::Errno;

use super::processes;
use super::watched::{self, Progress};

/// A process's file that was a socket when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    inode: u32,
    /// The process.
    pub pid: i32,
    /// Its number for the socket.
    pub fd: i32,
}

/// All that were found.
#[derive(Debug, Default)]
pub struct Owners {
    /// By inode: 12 bytes for each.
    sorted: Vec<Owner>,
    /// Processes whose files may not be seen: those of other users, without
    /// root (`ptrace(2)`, PTRACE_MODE_READ_FSCREDS), and those that let nobody
    /// look.
    pub unseen_processes: usize,
}

impl Owners {
    /// Looks through the files of these processes, with as many threads as the
    /// machine runs at once. A process that ends meanwhile is left out, and so is one
    /// that keeps whoever looks at it waiting. It ends early when `stop` says so.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn of_processes(pids: Vec<i32>, stop: &dyn Fn() -> bool) -> io::Result<Owners> {
        let mut owners = Owners::default();
        let looked: Arc<Mutex<HashMap<u32, usize>>> = Arc::default();
        let look = move |pid: i32, progress: &Progress| sockets_of(pid, progress, &looked);
        for found in watched::for_each(pids, stop, look)? {
            match found {
                Some(Ok(some)) => owners.sorted.extend(some),
                Some(Err(Errno::ACCESS | Errno::PERM)) | None => owners.unseen_processes += 1,
                // It has ended.
                Some(Err(_)) => {}
            }
        }
        owners.sorted.sort_unstable();
        Ok(owners)
    }

    /// Those of one socket.
    pub fn of(&self, inode: u32) -> &[Owner] {
        let start = self.sorted.partition_point(|owner| owner.inode < inode);
        let from_it = &self.sorted[start..];
        let others = from_it.iter().position(|owner| owner.inode != inode);
        &from_it[..others.unwrap_or(from_it.len())]
    }
}

/// The sockets among a process's files.
///
/// `looked` is how many files of each user were looked at. Processes can share one
/// table of files, which is then looked at for each: so that this has an end, some
/// millions of a user's are enough.
fn sockets_of(
    pid: i32,
    progress: &Progress,
    looked: &Mutex<HashMap<u32, usize>>,
) -> Result<Vec<Owner>, Errno> {
    const NAMES: usize = 16 * 1024;
    const OF_A_USER: usize = 8_000_000;
    const AT_ONCE: usize = 1024;
    /// A process needs no more numbers for a socket to be found by.
    const OF_A_SOCKET: u8 = 4;
    let folder = open_folder(pid)?;
    // The folder itself is root's where the process may not be looked into.
    let user = processes::user(pid).ok_or(Errno::SRCH)?;
    let add = |entries: usize| {
        let mut looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = looked.entry(user).or_default();
        *of_user += entries;
        *of_user
    };
    let mut entries_read = 0;
    let mut numbers: HashMap<u32, u8> = HashMap::new();
    let mut found = Vec::new();
    let mut names = vec![MaybeUninit::uninit(); NAMES];
    let mut link = [MaybeUninit::uninit(); LINK];
    let mut entries = RawDir::new(&folder, &mut names);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        progress.step();
        entries_read += 1;
        if entries_read % AT_ONCE == 0 && add(AT_ONCE) > OF_A_USER {
            return Err(Errno::ACCESS);
        }
        let Some(fd) = entry
            .file_name()
            .to_str()
            .ok()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let inode = match readlinkat_raw(&folder, entry.file_name(), &mut link) {
            Ok((link, _)) => inode_in(link),
            // It was closed meanwhile.
            Err(Errno::NOENT) => None,
            Err(e) => return Err(e),
        };
        let Some(inode) = inode else {
            continue;
        };
        let number = numbers.entry(inode).or_default();
        if *number < OF_A_SOCKET {
            *number += 1;
            found.push(Owner { inode, pid, fd });
        }
    }
    add(entries_read % AT_ONCE);
    // Other threads may have files where the main thread has ended.
    match found.is_empty() && processes::state(pid) == Some('Z') && has_threads(pid) {
        true => Err(Errno::ACCESS),
        false => Ok(found),
    }
}

fn has_threads(pid: i32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|tasks| tasks.count() > 1)
}

/// Threads that do the same as the caller is about to; fewer where the machine
/// allows no more.
pub fn helpers<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl Fn() -> T + Copy + Send + 'scope,
) -> Vec<ScopedJoinHandle<'scope, T>> {
    let spawn = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
    (1..watched::threads()).map_while(spawn).collect()
}

/// What a helper found. Its panic is the caller's.
pub fn join<T>(helper: ScopedJoinHandle<'_, T>) -> T {
    helper
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Longer than `socket:[4294967295]`; of another link the beginning is enough.
const LINK: usize = 32;

fn open_folder(pid: i32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(
        rustix::fs::CWD,
        format!("/proc/{pid}/fd"),
        flags,
        Mode::empty(),
    )
}

fn inode_in(link: &[u8]) -> Option<u32> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use nix::sys::stat::fstat;

    use super::*;

    #[test]
    fn this_process_holds_its_socket() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let again = socket.try_clone().unwrap();
        let inode = u32::try_from(fstat(&socket).unwrap().st_ino).unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        // A process that is gone is no error.
        let owners = Owners::of_processes(vec![pid, i32::MAX], &|| false).unwrap();
        let of = owners.of(inode);
        let mut fds = [socket.as_raw_fd(), again.as_raw_fd()];
        fds.sort_unstable();
        assert_eq!(
            of.iter()
                .map(|owner| (owner.pid, owner.fd))
                .collect::<Vec<_>>(),
            fds.map(|fd| (pid, fd))
        );
        assert_eq!(owners.of(0), []);
    }

    #[test]
    fn a_link_names_an_inode() {
        assert_eq!(inode_in(b"socket:[4294967295]"), Some(u32::MAX));
        for other in [
            &b"pipe:[7]"[..],
            b"socket:[]",
            b"socket:[x]",
            b"socket:[4294967296]",
            b"/dev/null",
            b"",
        ] {
            assert_eq!(inode_in(other), None);
        }
    }
}
