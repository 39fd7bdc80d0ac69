//! A laboratory: a network namespace of its own, in which this very kernel is
//! asked how long it takes to drop a silent peer.
//!
//! A peer falls silent by a socket filter that lets nothing in
//! (SO_ATTACH_FILTER): its kernel then neither acknowledges nor resets, which is
//! what a cut cable looks like. All ends with the process.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{setsockopt, sockopt};
use nix::{libc, setsockopt_impl, sockopt_impl};

use super::tcp_info::TcpInfo;
use super::{Error, link, sysctl, tick};
use crate::model::{Setting, Settings, State, TcpLimits, UserTimeout};

/// The namespace; the process is in it for good.
#[derive(Debug)]
pub struct Lab(());

/// A connection whose peer has fallen silent.
#[derive(Debug)]
pub struct Silence {
    since: Instant,
    rtt: Duration,
    socket: TcpStream,
    /// Deaf, and kept open: a closed one would say so.
    _peer: TcpStream,
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Lab { doing, source }
}

impl Lab {
    /// Takes the calling process into a new network namespace, and into a new
    /// user namespace if CAP_SYS_ADMIN is missing. There is no way back: it is
    /// for a process that ends thereafter.
    ///
    /// # Errors
    /// [`Error::Lab`]: the kernel does not allow it, or the process has more
    /// than one thread (`unshare(2)`).
    pub fn enter() -> Result<Lab, Error> {
        let entered = match unshare(CloneFlags::CLONE_NEWNET) {
            Err(Errno::EPERM) => unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET),
            other => other,
        };
        entered.map_err(|e| failed("make a network namespace")(e.into()))?;
        link::loopback_up().map_err(failed("set up the loopback device"))?;
        Ok(Lab(()))
    }

    /// Puts values in force here.
    ///
    /// # Errors
    /// [`Error::Write`] and its kin; [`Error::WriteKey`] too if this kernel does
    /// not have a limit that is not the default.
    pub fn put_in_force(&self, settings: Settings, limits: TcpLimits) -> Result<(), Error> {
        for setting in Setting::ALL {
            sysctl::write(setting, settings.values().get(setting))?;
        }
        let default = TcpLimits::KERNEL_DEFAULT;
        for (key, value, default) in [
            (
                "net.ipv4.tcp_retries2",
                limits.retries2().into(),
                default.retries2().into(),
            ),
            (
                "net.ipv4.tcp_rto_max_ms",
                limits.rto_max_ms(),
                default.rto_max_ms(),
            ),
            (
                "net.ipv4.tcp_rto_min_us",
                limits.rto_min_us(),
                default.rto_min_us(),
            ),
        ] {
            if value != default {
                sysctl::write_key(key, value.into())?;
            }
        }
        Ok(())
    }

    /// Makes a connection and leaves it in a state, its peer silent after it has
    /// lived and answered for `alive_for`.
    ///
    /// # Errors
    /// [`Error::Lab`] names what could not be done.
    pub fn silence(
        &self,
        state: State,
        user_timeout: Option<UserTimeout>,
        alive_for: Duration,
    ) -> Result<Silence, Error> {
        const ATTEMPTS: usize = 5;
        for _ in 0..ATTEMPTS {
            let (mut socket, peer) = connection().map_err(failed("make a connection"))?;
            if let Some(timeout) = user_timeout {
                setsockopt(&socket, sockopt::TcpUserTimeout, &timeout.milliseconds())
                    .map_err(|e| failed("set the user timeout")(e.into()))?;
            }
            let since = match state {
                State::Idle => Some(idle(&socket, &peer, alive_for)?),
                State::InFlight => Some(in_flight(&mut socket, &peer, alive_for)?),
                State::ZeroWindow => zero_window(&mut socket, &peer, alive_for)?,
            };
            if let Some(since) = since {
                return Ok(Silence {
                    since,
                    rtt: info(&socket)?.rtt(),
                    socket,
                    _peer: peer,
                });
            }
        }
        Err(failed("close the window")(ErrorKind::TimedOut.into()))
    }
}

impl Silence {
    /// The smoothed round-trip time when the peer fell silent.
    pub fn rtt(&self) -> Duration {
        self.rtt
    }

    /// The time since the peer fell silent.
    pub fn lasts(&self) -> Duration {
        self.since.elapsed()
    }

    /// Waits for the drop, but no longer than this: how long the silence had
    /// lasted, or none if the connection still stands.
    ///
    /// # Errors
    /// [`Error::Lab`] if it ends with another error than ETIMEDOUT.
    pub fn wait(&self, at_most: Duration) -> Result<Option<Duration>, Error> {
        let waited = failed("wait for the drop");
        let ms = u16::try_from(at_most.as_millis()).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        let ready = match poll(&mut fds, PollTimeout::from(ms)) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(e) => return Err(waited(e.into())),
        };
        let lasted = self.lasts();
        if ready == 0 {
            return Ok(None);
        }
        match self.socket.take_error() {
            Ok(Some(e)) if e.kind() == ErrorKind::TimedOut => Ok(Some(lasted)),
            Ok(Some(e)) | Err(e) => Err(waited(e)),
            Ok(None) => Ok(None),
        }
    }
}

/// A peer whose buffer is soon full, connected over loopback.
fn connection() -> io::Result<(TcpStream, TcpStream)> {
    const BUFFER: usize = 4096;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    setsockopt(&listener, sockopt::RcvBuf, &BUFFER)?;
    let socket = TcpStream::connect(listener.local_addr()?)?;
    let (peer, _) = listener.accept()?;
    Ok((socket, peer))
}

sockopt_impl!(
    /// SO_ATTACH_FILTER: the kernel copies the program.
    AttachFilter,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_ATTACH_FILTER,
    libc::sock_fprog
);

/// Lets nothing in any more.
fn deafen(peer: &TcpStream) -> Result<(), Error> {
    const RETURN_NOTHING: libc::sock_filter = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let mut program = [RETURN_NOTHING];
    let filter = libc::sock_fprog {
        len: 1,
        filter: program.as_mut_ptr(),
    };
    setsockopt(peer, AttachFilter, &filter).map_err(|e| failed("silence the peer")(e.into()))
}

fn info(socket: &TcpStream) -> Result<TcpInfo, Error> {
    TcpInfo::of(socket).map_err(failed("read TCP_INFO"))
}

/// Lets the connection stand for so long, its peer answering.
fn live(socket: &TcpStream, alive_for: Duration) -> Result<(), Error> {
    sleep(alive_for);
    let ended = "keep the connection until its peer falls silent";
    match socket.take_error() {
        Ok(None) => Ok(()),
        Ok(Some(e)) | Err(e) => Err(failed(ended)(e)),
    }
}

/// The time counts from the arming of the timer, or from the last answer.
fn idle(socket: &TcpStream, peer: &TcpStream, alive_for: Duration) -> Result<Instant, Error> {
    let arm = || {
        let since = Instant::now();
        setsockopt(socket, sockopt::KeepAlive, &true)
            .map(|()| since)
            .map_err(|e| failed("turn keepalive on")(e.into()))
    };
    if alive_for.is_zero() {
        deafen(peer)?;
        return arm();
    }
    let armed = arm()?;
    live(socket, alive_for)?;
    deafen(peer)?;
    Ok(last_answer(socket)?.max(armed))
}

/// The time counts from the sending.
fn in_flight(
    socket: &mut TcpStream,
    peer: &TcpStream,
    alive_for: Duration,
) -> Result<Instant, Error> {
    live(socket, alive_for)?;
    deafen(peer)?;
    let since = Instant::now();
    socket.write_all(&[0]).map_err(failed("send a byte"))?;
    Ok(since)
}

/// Fills the peer's window. The time counts from the last segment, which said
/// that the window is closed. None if a busy machine missed the moment before
/// the first window probe.
fn zero_window(
    socket: &mut TcpStream,
    peer: &TcpStream,
    alive_for: Duration,
) -> Result<Option<Instant>, Error> {
    fill(socket).map_err(failed("fill the window"))?;
    if !closes(socket)? {
        return Ok(None);
    }
    live(socket, alive_for)?;
    deafen(peer)?;
    let info = info(socket)?;
    // A probe that got through meanwhile would have been answered.
    if info.just_closed() || info.window_closed() && !alive_for.is_zero() {
        return last_answer(socket).map(Some);
    }
    Ok(None)
}

/// Writes more than the peer has room for.
fn fill(socket: &mut TcpStream) -> io::Result<()> {
    const MUCH: usize = 1 << 18;
    socket.set_nonblocking(true)?;
    let mut left = MUCH;
    while left > 0 {
        match socket.write(&vec![0; left]) {
            Ok(written) => left -= written,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Waits for the window to close, and says whether it was seen before the first
/// window probe.
fn closes(socket: &TcpStream) -> Result<bool, Error> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if info(socket)?.just_closed() {
            return Ok(true);
        }
        sleep(Duration::from_millis(2));
    }
    Ok(false)
}

/// When the last acknowledgement came. The kernel keeps its age in ticks, so
/// this may be a tick too early, and is never too late.
fn last_answer(socket: &TcpStream) -> Result<Instant, Error> {
    let longest_tick = Duration::from_millis(10);
    let tick = tick::rate().map_or(longest_tick, |hz| Duration::from_secs(1) / hz.get());
    let now = Instant::now();
    let age = info(socket)?.last_ack_received() + tick;
    Ok(now.checked_sub(age).unwrap_or(now))
}
