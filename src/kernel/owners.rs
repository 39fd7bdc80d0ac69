//! Which process holds which socket: the links in `/proc/PID/fd`.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};

use rustix::fs::{Mode, OFlags, RawDir, openat, readlinkat_raw};
use rustix::io::Errno;

/// A process's file that was a socket when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    inode: u32,
    /// The process.
    pub pid: i32,
    /// Its number for the socket.
    pub fd: i32,
}

impl Owner {
    /// Whether the link is still there. Another user's process may let its
    /// links be read and not its sockets be taken.
    pub fn still_holds(&self) -> bool {
        let mut link = [MaybeUninit::uninit(); LINK];
        open_folder(self.pid).is_ok_and(|folder| {
            let link = readlinkat_raw(&folder, self.fd.to_string(), &mut link);
            link.is_ok_and(|(link, _)| inode_in(link) == Some(self.inode))
        })
    }
}

/// All that were found.
#[derive(Debug, Default)]
pub struct Owners {
    /// By inode: 12 bytes for each.
    sorted: Vec<Owner>,
    /// Processes whose files may not be seen: those of other users, without
    /// root (`ptrace(2)`, PTRACE_MODE_READ_FSCREDS).
    pub unseen_processes: usize,
}

impl Owners {
    /// Looks through the files of these processes, with as many threads as the
    /// machine runs at once. A process that ends meanwhile is left out.
    pub fn of_processes(pids: &[i32]) -> Owners {
        let next = AtomicUsize::new(0);
        let look = || {
            let mut found = Owners::default();
            while let Some(pid) = pids.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Any other error is that it has ended.
                if let Err(Errno::ACCESS | Errno::PERM) = found.look_at(*pid) {
                    found.unseen_processes += 1;
                }
            }
            found
        };
        let mut owners = thread::scope(|scope| {
            let others = helpers(scope, look);
            let own = look();
            others.into_iter().map(join).fold(own, |mut all, found| {
                all.sorted.extend(found.sorted);
                all.unseen_processes += found.unseen_processes;
                all
            })
        });
        owners.sorted.sort_unstable();
        owners
    }

    /// Those of one socket.
    pub fn of(&self, inode: u32) -> &[Owner] {
        let start = self.sorted.partition_point(|owner| owner.inode < inode);
        let from_it = &self.sorted[start..];
        let others = from_it.iter().position(|owner| owner.inode != inode);
        &from_it[..others.unwrap_or(from_it.len())]
    }

    fn look_at(&mut self, pid: i32) -> Result<(), Errno> {
        const NAMES: usize = 16 * 1024;
        let folder = open_folder(pid)?;
        let mut names = vec![MaybeUninit::uninit(); NAMES];
        let mut link = [MaybeUninit::uninit(); LINK];
        let mut entries = RawDir::new(&folder, &mut names);
        while let Some(entry) = entries.next() {
            let entry = entry?;
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
            if let Some(inode) = inode {
                self.sorted.push(Owner { inode, pid, fd });
            }
        }
        Ok(())
    }
}

/// How many threads work at once on what takes many system calls.
pub fn threads() -> usize {
    const ENOUGH: usize = 8;
    thread::available_parallelism().map_or(1, |n| n.get().min(ENOUGH))
}

/// Threads that do the same as the caller is about to; fewer where the machine
/// allows no more.
pub fn helpers<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl Fn() -> T + Copy + Send + 'scope,
) -> Vec<ScopedJoinHandle<'scope, T>> {
    let spawn = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
    (1..threads()).map_while(spawn).collect()
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
        let owners = Owners::of_processes(&[pid, i32::MAX]);
        let of = owners.of(inode);
        let mut fds = [socket.as_raw_fd(), again.as_raw_fd()];
        fds.sort_unstable();
        assert_eq!(
            of.iter()
                .map(|owner| (owner.pid, owner.fd))
                .collect::<Vec<_>>(),
            fds.map(|fd| (pid, fd))
        );
        assert!(of.iter().all(Owner::still_holds));
        let of = of.to_vec();
        drop((socket, again));
        assert!(!of[0].still_holds());
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
