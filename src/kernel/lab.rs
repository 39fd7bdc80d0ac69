//! A laboratory: a network namespace of its own, in which this very kernel is
//! asked how long it takes to drop a silent peer.
//!
//! A peer falls silent by a socket filter, on loopback. All ends with the
//! process.

use std::io::{self, ErrorKind, Write};
use std::marker::PhantomData;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{setsockopt, sockopt};

use super::deafen::deafen;
use super::tcp_info::TcpInfo;
use super::{Error, link, sysctl, tick};
use crate::model::{Hz, Setting, Settings, State, TcpLimits, UserTimeout};

/// The namespace, which the calling thread is in for good.
///
/// It stays on that thread: from another, it would write the settings of
/// another namespace.
///
/// ```compile_fail
/// fn sent<T: Send>(_: T) {}
/// sent(keepalivectl::kernel::lab::Lab::enter().unwrap());
/// ```
#[derive(Debug)]
pub struct Lab(PhantomData<*const ()>);

/// A connection whose peer has fallen silent.
#[derive(Debug)]
pub struct Silence {
    since: Instant,
    rto: Duration,
    socket: TcpStream,
    /// Deaf, and kept open: a closed one would say so.
    _peer: TcpStream,
}

fn failed(doing: &str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Lab {
        doing: doing.to_owned(),
        source,
    }
}

impl Lab {
    /// Takes the calling thread into a new user and network namespace, where it
    /// has power over nothing else. Where user namespaces are forbidden, root
    /// gets a network namespace alone. There is no way back: it is for a
    /// process that ends thereafter.
    ///
    /// # Errors
    /// [`Error::Lab`]: the kernel does not allow it, or the process has more
    /// than one thread and CAP_SYS_ADMIN is missing (`unshare(2)`).
    pub fn enter() -> Result<Lab, Error> {
        let failed_to_make = failed("make a network namespace");
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
            .or_else(|first| unshare(CloneFlags::CLONE_NEWNET).map_err(|_| first))
            .map_err(|e| failed_to_make(e.into()))?;
        link::loopback_up().map_err(failed("set up the loopback device"))?;
        Ok(Lab(PhantomData))
    }

    /// Puts values in force here. Limits that are the kernel's own are not
    /// written, because older kernels lack them.
    ///
    /// # Errors
    /// [`Error::Lab`], with the key that could not be set among its causes.
    pub fn put_in_force(&self, settings: Settings, limits: TcpLimits) -> Result<(), Error> {
        let set = |key: &str, value: i64| {
            sysctl::write_key(key, value).map_err(failed(&format!("set {key} to {value}")))
        };
        for setting in Setting::ALL {
            set(setting.key(), settings.values().get(setting))?;
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
                set(key, value.into())?;
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
        const ATTEMPTS: u32 = 6;
        for attempt in 0..ATTEMPTS {
            let subject = Subject::new(user_timeout)?;
            // A slow machine is given more time, which it then measures too.
            let at_once = Duration::from_millis(20 << attempt);
            let moment = match state {
                State::Idle => subject.idle(alive_for, at_once)?,
                State::InFlight => Some(subject.in_flight(alive_for)?),
                State::ZeroWindow => subject.zero_window(alive_for)?,
            };
            if let Some(Moment { since, rto }) = moment {
                return Ok(Silence {
                    since,
                    rto,
                    socket: subject.socket,
                    _peer: subject.peer,
                });
            }
        }
        Err(failed("catch the moment on this busy machine")(
            ErrorKind::TimedOut.into(),
        ))
    }
}

impl Silence {
    /// The retransmission timeout before any backoff.
    pub fn rto(&self) -> Duration {
        self.rto
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
            Ok(None) => Err(waited(ErrorKind::ConnectionAborted.into())),
        }
    }
}

/// The moment at which the peer falls silent.
struct Moment {
    since: Instant,
    /// The retransmission timeout before any backoff.
    rto: Duration,
}

/// A connection before its peer falls silent.
struct Subject {
    /// Before it was made, and so before the last segment of the handshake.
    made: Instant,
    socket: TcpStream,
    /// Its buffer is soon full.
    peer: TcpStream,
}

impl Subject {
    fn new(user_timeout: Option<UserTimeout>) -> Result<Subject, Error> {
        let subject = Subject::connect().map_err(failed("make a connection"))?;
        if let Some(timeout) = user_timeout {
            setsockopt(
                &subject.socket,
                sockopt::TcpUserTimeout,
                &timeout.milliseconds(),
            )
            .map_err(|e| failed("set the user timeout")(e.into()))?;
        }
        Ok(subject)
    }

    fn connect() -> io::Result<Subject> {
        const BUFFER: usize = 4096;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        setsockopt(&listener, sockopt::RcvBuf, &BUFFER)?;
        let made = Instant::now();
        let socket = TcpStream::connect(listener.local_addr()?)?;
        let (peer, _) = listener.accept()?;
        Ok(Subject { made, socket, peer })
    }

    /// The time counts from the handshake, or from the last answer. None if a
    /// busy machine did not arm the timer at once after the handshake.
    fn idle(&self, alive_for: Duration, at_once: Duration) -> Result<Option<Moment>, Error> {
        if alive_for.is_zero() {
            self.deafen()?;
        }
        setsockopt(&self.socket, sockopt::KeepAlive, &true)
            .map_err(|e| failed("turn keepalive on")(e.into()))?;
        if self.made.elapsed() > at_once {
            return Ok(None);
        }
        if alive_for.is_zero() {
            return self.moment(self.made).map(Some);
        }
        self.live(alive_for)?;
        self.deafen()?;
        self.moment(self.last_answer()?).map(Some)
    }

    /// The time counts from the sending.
    fn in_flight(&self, alive_for: Duration) -> Result<Moment, Error> {
        self.live(alive_for)?;
        self.deafen()?;
        // Read before the first backoff, which doubles it.
        let moment = self.moment(Instant::now())?;
        (&self.socket)
            .write_all(&[0])
            .map_err(failed("send a byte"))?;
        Ok(moment)
    }

    /// Fills the peer's window. The time counts from the last segment, which
    /// said that the window is closed. None if a busy machine missed the moment
    /// before the first window probe.
    fn zero_window(&self, alive_for: Duration) -> Result<Option<Moment>, Error> {
        self.fill().map_err(failed("fill the window"))?;
        if !self.closes()? {
            return Ok(None);
        }
        self.live(alive_for)?;
        self.deafen()?;
        let info = self.info()?;
        // A probe that got through meanwhile would have been answered.
        if info.just_closed || info.window_closed && !alive_for.is_zero() {
            return self.moment(self.last_answer()?).map(Some);
        }
        Ok(None)
    }

    /// Writes more than the peer has room for.
    fn fill(&self) -> io::Result<()> {
        const MUCH: usize = 1 << 18;
        self.socket.set_nonblocking(true)?;
        let mut left = MUCH;
        while left > 0 {
            match (&self.socket).write(&vec![0; left]) {
                Ok(written) => left -= written,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Waits for the window to close, and says whether it was seen before the
    /// first window probe.
    fn closes(&self) -> Result<bool, Error> {
        const PATIENCE: Duration = Duration::from_secs(2);
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if self.info()?.just_closed {
                return Ok(true);
            }
            sleep(Duration::from_millis(2));
        }
        Ok(false)
    }

    /// Lets the connection stand for so long, its peer answering.
    fn live(&self, alive_for: Duration) -> Result<(), Error> {
        sleep(alive_for);
        let ended = "keep the connection until its peer falls silent";
        match self.socket.take_error() {
            Ok(None) => Ok(()),
            Ok(Some(e)) | Err(e) => Err(failed(ended)(e)),
        }
    }

    fn moment(&self, since: Instant) -> Result<Moment, Error> {
        let rto = self.info()?.rto;
        Ok(Moment { since, rto })
    }

    /// When the last acknowledgement came. The kernel keeps its age in ticks, so
    /// this may be a tick or two too early, and is never too late.
    fn last_answer(&self) -> Result<Instant, Error> {
        let longest_tick = Duration::from_millis(Hz::LONGEST_TICK_MS);
        let tick = tick::rate().map_or(longest_tick, |hz| Duration::from_secs(1) / hz.get());
        let now = Instant::now();
        let age = self.info()?.last_ack_received + tick;
        Ok(now.checked_sub(age).unwrap_or(now).max(self.made))
    }

    fn deafen(&self) -> Result<(), Error> {
        deafen(&self.peer).map_err(failed("silence the peer"))
    }

    fn info(&self) -> Result<TcpInfo, Error> {
        TcpInfo::of(&self.socket).map_err(failed("read TCP_INFO"))
    }
}
