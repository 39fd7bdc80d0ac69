//! One socket, and what all that is known of it adds up to.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use super::filter::Patience;
use crate::kernel::sock_diag::{Socket, TcpState};
use crate::kernel::taken::{Info, Options};
use crate::model::duration::millis;
use crate::model::span::as_seconds_if_any;
use crate::model::time_to_drop::{Conditions, Timer, Underway, is_stale};
use crate::model::{Hz, Setting, Settings, Span, TcpLimits, Values};

/// What the sockets of a network namespace have in common.
#[derive(Debug, Clone)]
pub(super) struct Here {
    /// What `--netns` takes; none for the caller's own.
    pub(super) netns: Option<Arc<str>>,
    /// What is in force.
    pub(super) in_force: Values,
    /// What is to be as if it were in force, in a dry run.
    pub(super) as_if: Values,
    pub(super) limits: TcpLimits,
    pub(super) hz: Option<Hz>,
    /// What `at_risk` is held against.
    pub(super) patience: Option<Patience>,
}

impl Here {
    /// What a socket has in effect, once what it has not of its own follows.
    pub(super) fn as_it_will_be(&self, options: Options) -> Options {
        let follows = |setting| options.values.get(setting) == self.in_force.get(setting);
        let followed = Setting::ALL.into_iter().filter(|setting| follows(*setting));
        let values = followed.fold(options.values, |values, setting| {
            values.with(setting, self.as_if.get(setting))
        });
        Options { values, ..options }
    }
}

/// The process that holds a socket.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) pid: i32,
    pub(super) process: Arc<str>,
    pub(super) fd: i32,
}

/// One live socket. What is not known is none: without the right to touch its
/// process, only the timer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SocketReport {
    /// A process that holds it: the one with the lowest number.
    pub pid: Option<i32>,
    /// The name of its program.
    pub process: Option<Arc<str>>,
    /// Its number for the socket.
    pub fd: Option<i32>,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Its network namespace, as `--netns` takes it; none for the caller's own.
    pub netns: Option<Arc<str>>,
    /// Its state.
    pub state: TcpState,
    /// Whether keepalive is on.
    pub keepalive: Option<bool>,
    /// The time in effect on it, or with keepalive off, that would be.
    pub time_s: Option<i64>,
    /// The same of the intvl.
    pub intvl_s: Option<i64>,
    /// The same of the probes.
    pub probes: Option<i64>,
    /// Whether any of these differs from what is in force, and so is its own. Of
    /// one that is the same, the kernel does not tell.
    pub own_settings: Option<bool>,
    /// Its TCP_USER_TIMEOUT; 0 for none.
    pub user_timeout_ms: Option<u32>,
    /// `off`, `keepalive`, `retransmission`, `window-probe` or `other`.
    pub timer: &'static str,
    /// When the timer expires.
    pub timer_expires_ms: Option<u64>,
    /// Keepalive probes or window probes without an answer so far.
    pub unanswered_probes: Option<u8>,
    /// Whether its keepalive timer runs for longer than any that the settings in
    /// effect would arm. They take effect when it expires. Not known while
    /// another timer hides it.
    pub stale: Option<bool>,
    /// The time left until it is dropped, its peer silent, at the earliest; none
    /// also if nothing would.
    #[serde(rename = "drop_in_s", serialize_with = "as_seconds_if_any")]
    pub drop_in_ms: Option<u64>,
    /// The same at the latest.
    #[serde(rename = "drop_in_latest_s", serialize_with = "as_seconds_if_any")]
    pub drop_in_latest_ms: Option<u64>,
    /// Whether a box with the patience that was asked about may forget it.
    #[serde(skip)]
    pub(super) at_risk: Option<bool>,
}

impl SocketReport {
    pub(super) fn new(
        here: &Here,
        socket: &Socket,
        holder: Option<Holder>,
        options: Option<Options>,
        info: Option<Info>,
    ) -> SocketReport {
        let values = options.map(|options| options.values);
        let settings = values.and_then(|values| Settings::try_from(values).ok());
        let keepalive = match options {
            Some(options) => Some(options.keepalive),
            None => by_timer(socket),
        };
        let underway = info.map(|info| underway(socket, info));
        let left = options
            .zip(settings)
            .zip(underway)
            .and_then(|((options, settings), underway)| left(here, options, settings, underway));
        let timer_runs = !matches!(socket.timer, Timer::Off);
        SocketReport {
            pid: holder.as_ref().map(|holder| holder.pid),
            fd: holder.as_ref().map(|holder| holder.fd),
            process: holder.map(|holder| holder.process),
            local: socket.local,
            remote: socket.remote,
            netns: here.netns.clone(),
            state: socket.state,
            keepalive,
            time_s: values.map(|values| values.time),
            intvl_s: values.map(|values| values.intvl),
            probes: values.map(|values| values.probes),
            own_settings: values.map(|values| values != here.as_if),
            user_timeout_ms: options.map(|options| options.user_timeout_ms),
            timer: word(socket.timer),
            timer_expires_ms: timer_runs.then_some(millis(socket.expires)),
            unanswered_probes: match socket.timer {
                Timer::Keepalive(count) | Timer::WindowProbe(count) => Some(count),
                _ => None,
            },
            stale: stale(here, socket, keepalive, values),
            drop_in_ms: left.map(|left| left.earliest_ms),
            drop_in_latest_ms: left.map(|left| left.latest_ms),
            at_risk: here.patience.and_then(|patience| {
                at_risk(here, patience, keepalive, settings, (socket, underway))
            }),
        }
    }
}

fn word(timer: Timer) -> &'static str {
    match timer {
        Timer::Off => "off",
        Timer::Retransmission(_) => "retransmission",
        Timer::Keepalive(_) => "keepalive",
        Timer::WindowProbe(_) => "window-probe",
        Timer::Other => "other",
    }
}

/// Whether keepalive is on, where only the timer tells. A connection that no
/// process holds any more waits for its end with the same timer.
fn by_timer(socket: &Socket) -> Option<bool> {
    match socket.timer {
        Timer::Off => Some(false),
        Timer::Keepalive(_) if socket.state != TcpState::FinWait2 || socket.inode != 0 => {
            Some(true)
        }
        _ => None,
    }
}

fn underway(socket: &Socket, info: Info) -> Underway {
    Underway {
        timer: socket.timer,
        expires_ms: millis(socket.expires),
        silent_ms: millis(info.silent),
        rto: info.rto,
        rtt: info.rtt,
        deviation: info.deviation,
        doublings: info.doublings,
    }
}

fn left(here: &Here, options: Options, settings: Settings, underway: Underway) -> Option<Span> {
    let timeout = std::time::Duration::from_millis(options.user_timeout_ms.into());
    let conditions = Conditions {
        user_timeout: timeout.try_into().ok(),
        ..Conditions::next_door(here.limits, here.hz)
    };
    underway.left(settings, &conditions)
}

fn stale(
    here: &Here,
    socket: &Socket,
    keepalive: Option<bool>,
    values: Option<Values>,
) -> Option<bool> {
    let expires_ms = millis(socket.expires);
    let stale = |values: Values| {
        let refresh_s = values.time.max(values.intvl);
        is_stale(socket.timer, expires_ms, refresh_s)
    };
    match (keepalive?, socket.timer, values) {
        (false, ..) => Some(false),
        (true, Timer::Keepalive(_), Some(values)) => Some(stale(values)),
        // If it is too long for what is in force, it may have its own.
        (true, Timer::Keepalive(_), None) => (!stale(here.as_if)).then_some(false),
        (true, ..) => None,
    }
}

fn at_risk(
    here: &Here,
    patience: Patience,
    keepalive: Option<bool>,
    settings: Option<Settings>,
    (socket, underway): (&Socket, Option<Underway>),
) -> Option<bool> {
    if !keepalive? {
        return Some(true);
    }
    let timed = underway.filter(|underway| matches!(underway.timer, Timer::Keepalive(_)));
    let Some(settings) = settings else {
        // The timer alone can show that its probe comes too late, however short the
        // silence was before.
        let is_keepalive = matches!(socket.timer, Timer::Keepalive(_));
        let is_over = is_keepalive && patience.is_over(millis(socket.expires));
        return is_over.then_some(true);
    };
    let silent_ms =
        timed.map(|underway| underway.silent_ms + underway.next_probe(settings, here.hz).latest_ms);
    Some(patience.runs_out(settings, silent_ms, here.hz))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HERE: Here = Here {
        netns: None,
        in_force: Values {
            time: 60,
            intvl: 10,
            probes: 5,
        },
        as_if: Values {
            time: 60,
            intvl: 10,
            probes: 5,
        },
        limits: TcpLimits::KERNEL_DEFAULT,
        hz: None,
        patience: None,
    };

    fn socket(timer: Timer, expires_s: u64) -> Socket {
        let end: SocketAddr = "192.0.2.1:5432".parse().unwrap();
        Socket {
            state: TcpState::Established,
            local: end,
            remote: end,
            cookie: 1,
            inode: 1,
            timer,
            expires: Duration::from_secs(expires_s),
            uid: 0,
        }
    }

    fn report(timer: Timer, expires_s: u64, options: Option<Options>) -> SocketReport {
        let info = Info {
            silent: Duration::ZERO,
            rto: Duration::from_millis(204),
            rtt: Duration::from_millis(1),
            deviation: Duration::ZERO,
            doublings: 0,
        };
        SocketReport::new(&HERE, &socket(timer, expires_s), None, options, Some(info))
    }

    fn options(keepalive: bool, time: i64) -> Option<Options> {
        Some(Options {
            keepalive,
            values: Values {
                time,
                ..HERE.in_force
            },
            user_timeout_ms: 0,
        })
    }

    #[test]
    fn the_timer_alone_tells_less() {
        let off = report(Timer::Off, 0, None);
        assert_eq!((off.keepalive, off.stale), (Some(false), Some(false)));
        assert_eq!(off.timer_expires_ms, None);
        let on = report(Timer::Keepalive(0), 60, None);
        assert_eq!((on.keepalive, on.stale), (Some(true), Some(false)));
        assert_eq!((on.time_s, on.drop_in_ms), (None, None));
        // Stale, or its own settings.
        let long = report(Timer::Keepalive(0), 61, None);
        assert_eq!((long.keepalive, long.stale), (Some(true), None));
        let busy = report(Timer::Retransmission(0), 0, None);
        assert_eq!((busy.keepalive, busy.stale), (None, None));
    }

    #[test]
    fn the_options_tell_the_rest() {
        let own = report(Timer::Keepalive(0), 600, options(true, 600));
        assert_eq!((own.own_settings, own.stale), (Some(true), Some(false)));
        assert_eq!(own.drop_in_ms, Some(650_000 - 10));
        let stale = report(Timer::Keepalive(0), 600, options(true, 60));
        assert_eq!((stale.own_settings, stale.stale), (Some(false), Some(true)));
        let busy = report(Timer::Retransmission(0), 0, options(true, 60));
        assert_eq!((busy.keepalive, busy.stale), (Some(true), None));
        assert!(busy.drop_in_ms > Some(900_000));
        let off = report(Timer::Off, 0, options(false, 60));
        assert_eq!((off.keepalive, off.drop_in_ms), (Some(false), None));
        // No time to drop under settings that drop healthy connections.
        assert_eq!(
            report(Timer::Keepalive(0), 60, options(true, 0)).drop_in_ms,
            None
        );
    }

    #[test]
    fn nobodys_connection_waits_for_its_end_with_the_same_timer() {
        let mut socket = socket(Timer::Keepalive(0), 60);
        socket.state = TcpState::FinWait2;
        assert_eq!(by_timer(&socket), Some(true));
        socket.inode = 0;
        assert_eq!(by_timer(&socket), None);
    }
}
