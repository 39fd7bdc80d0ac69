//! Network namespaces: entered on a thread of their own, which ends there, so
//! that nothing can be left in the wrong one.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, socket};
use nix::sys::stat::Mode;
use nix::{getsockopt_impl, libc, sockopt_impl};
use thiserror::Error as ThisError;

use super::{Error, nsfs, signals};

/// Where `ip netns` keeps its names.
pub(super) const NAMES: &str = "/run/netns";

/// The file that holds the namespace of a process.
pub(super) fn file_of(pid: i32) -> PathBuf {
    format!("/proc/{pid}/ns/net").into()
}

/// Which network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NetNs {
    /// The caller's own.
    #[default]
    Current,
    /// A named one, as `ip netns` names them: a file in `/run/netns`.
    Named(OsString),
    /// A file that holds one.
    File(PathBuf),
    /// That of a process.
    Process(i32),
}

/// A text that names no namespace.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("{0:?} names no network namespace: write a name, a path with a '/', or pid:N")]
pub struct NetNsError(String);

impl FromStr for NetNs {
    type Err = NetNsError;

    fn from_str(text: &str) -> Result<NetNs, NetNsError> {
        OsStr::new(text).try_into()
    }
}

impl TryFrom<&OsStr> for NetNs {
    type Error = NetNsError;

    fn try_from(text: &OsStr) -> Result<NetNs, NetNsError> {
        let wrong = || NetNsError(text.to_string_lossy().into_owned());
        let bytes = text.as_bytes();
        if let Some(pid) = bytes.strip_prefix(b"pid:") {
            let pid = std::str::from_utf8(pid)
                .ok()
                .and_then(|pid| pid.parse().ok());
            return match pid {
                Some(pid) if pid > 0 => Ok(NetNs::Process(pid)),
                _ => Err(wrong()),
            };
        }
        if bytes.contains(&b'/') {
            return Ok(NetNs::File(text.into()));
        }
        if ["", ".", ".."].map(str::as_bytes).contains(&bytes) {
            return Err(wrong());
        }
        Ok(NetNs::Named(text.to_owned()))
    }
}

impl fmt::Display for NetNs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetNs::Current => f.write_str("of this process"),
            NetNs::Named(name) => f.write_str(&name.to_string_lossy()),
            NetNs::File(path) => path.display().fmt(f),
            NetNs::Process(pid) => write!(f, "pid:{pid}"),
        }
    }
}

impl NetNs {
    /// Runs `f` in the namespace: in the caller's own at once, in another on a
    /// thread that enters it and ends.
    ///
    /// # Errors
    /// [`Error::Enter`] if there is no such namespace, or CAP_SYS_ADMIN is
    /// missing (`setns(2)`).
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let Some(path) = self.path() else {
            return Ok(f());
        };
        let failed = |source| Error::Enter {
            name: self.to_string(),
            source,
        };
        // A signal to the process would end it from this thread, which only
        // waits. So it goes to the other, which may hold it back.
        let held = signals::hold()?;
        thread::scope(|scope| {
            let enter = || {
                held.release_here();
                // A pipe in its place would wait for a writer.
                let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
                let file = open(&path, flags, Mode::empty()).map_err(io::Error::from);
                setns(file.map_err(failed)?, CloneFlags::CLONE_NEWNET)
                    .map_err(|e| failed(e.into()))?;
                Ok(f())
            };
            let entered = thread::Builder::new().spawn_scoped(scope, enter);
            match entered.map_err(Error::Thread)?.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn path(&self) -> Option<PathBuf> {
        match self {
            NetNs::Current => None,
            NetNs::Named(name) => Some(Path::new(NAMES).join(name)),
            NetNs::File(path) => Some(path.clone()),
            NetNs::Process(pid) => Some(file_of(*pid)),
        }
    }
}

sockopt_impl!(
    /// SO_NETNS_COOKIE (since Linux 5.14).
    NetnsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

/// Whether the calling process is in the network namespace of process 1.
///
/// # Errors
/// [`Error::Identity`] if `/proc` does not say; it takes root to ask.
pub fn is_inits() -> Result<bool, Error> {
    let of = |path: &str| fs::metadata(path).map(|m| (m.dev(), m.ino()));
    let inits = of("/proc/1/ns/net").map_err(Error::Identity)?;
    let ours = of("/proc/self/ns/net").map_err(Error::Identity)?;
    Ok(inits == ours)
}

/// What tells a network namespace from all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The running boot, as the kernel names it.
    pub boot: String,
    /// The namespace, within this boot: the kernel's cookie, which is never
    /// used again, or on kernels before 5.14 the number of its file.
    pub namespace: String,
    /// What [`is_gone`](super::nsfs::is_gone) knows it by; none before Linux 6.18.
    pub handle: Option<String>,
}

/// The identity of the calling thread's namespace.
///
/// # Errors
/// [`Error::Identity`] if `/proc` does not say.
pub fn identity() -> Result<Identity, Error> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(Error::Identity)?;
    let socket = socket(
        AddressFamily::Unix,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    );
    let socket = socket.map_err(|e| Error::Identity(e.into()))?;
    let namespace = match getsockopt(&socket, NetnsCookie) {
        Ok(cookie) => format!("cookie-{cookie}"),
        Err(Errno::ENOPROTOOPT) => fs::metadata("/proc/thread-self/ns/net")
            .map(|file| format!("file-{}", file.ino()))
            .map_err(Error::Identity)?,
        Err(e) => return Err(Error::Identity(e.into())),
    };
    Ok(Identity {
        boot: boot.trim().to_owned(),
        namespace,
        handle: nsfs::own_handle(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_one_kind() {
        let parse = |s: &str| s.parse::<NetNs>();
        assert_eq!(parse("blue"), Ok(NetNs::Named("blue".into())));
        assert_eq!(parse("/x/y"), Ok(NetNs::File("/x/y".into())));
        assert_eq!(parse("pid:7"), Ok(NetNs::Process(7)));
        for bad in ["", "..", "pid:", "pid:0", "pid:-1", "pid:x"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_own_namespace_has_one_identity() {
        assert_eq!(identity().unwrap(), identity().unwrap());
        let inside = NetNs::Current.enter(identity).unwrap().unwrap();
        assert_eq!(inside, identity().unwrap());
    }

    #[test]
    fn a_missing_namespace_is_named() {
        let missing: NetNs = "no-such-namespace".parse().unwrap();
        let error = missing.enter(|| ()).unwrap_err();
        assert!(error.to_string().contains("no-such-namespace"));
    }
}
