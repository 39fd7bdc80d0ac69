//! SSH's own keepalives, and what they add up to with the kernel's.
//!
//! An SSH connection has up to three mechanisms that notice a silent peer, and the
//! first ends it:
//!
//! | layer | what it does | where it is from |
//! |---|---|---|
//! | `alive` | sends a message after `interval` without data, and gives up after `interval` × (`count max` + 1) | `server_alive_check` in OpenSSH's clientloop.c, `client_alive_check` in serverloop.c |
//! | `tcp-keepalive` | the kernel's keepalive, TCPKeepAlive | [`idle`](mod@super::time_to_drop::idle) |
//! | `retransmission` | SSH's message is data in flight, which the kernel gives up to send again | [`in_flight`](mod@super::time_to_drop::in_flight) |
//!
//! From SSH's first message on, the kernel's keepalive rests: there is data in
//! flight. What a count of 0 means, and how long an interval is, depends on the
//! version: see [`Habits`].

pub mod plan;
pub mod resend;

use serde::Serialize;

use super::check::Silence;
use super::settings::Settings;
use super::span::{Span, as_seconds_if_any};
use super::time_to_drop::{Conditions, idle};

/// The most by which poll(2) is late (`MAX_SLACK` in fs/select.c).
const POLL_LATE_MS: u64 = 100;

/// Which program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// OpenSSH's client: ServerAliveInterval and ServerAliveCountMax.
    Client,
    /// OpenSSH's server: ClientAliveInterval and ClientAliveCountMax.
    Server,
    /// PuTTY, whose messages want no answer (PingInterval).
    Putty,
}

/// What depends on the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Habits {
    /// Whether a count of 0 ends a session that is without data for one interval,
    /// its peer alive or not, and without a message before. If not, messages are
    /// sent, and nothing is made of their answers.
    pub zero_ends_idle: bool,
    /// Whether an interval may last twice as long: where it ends in the same second
    /// of the clock as one that is on time, another one is waited for. Most do.
    pub waits_twice: bool,
}

impl Habits {
    /// The client's, in each version.
    pub const CLIENT: Habits = Habits {
        zero_ends_idle: true,
        waits_twice: false,
    };

    /// PuTTY's, which has no count.
    pub const PUTTY: Habits = Habits {
        zero_ends_idle: false,
        waits_twice: false,
    };

    /// The server's, by its version; the newest's if it is not known. A count of 0
    /// is for never since 8.2, and 9.2 to 9.4 wait twice
    /// (`wait_until_can_do_something` in serverloop.c compared with `>`).
    pub fn of_server(version: Option<(u32, u32)>) -> Habits {
        Habits {
            zero_ends_idle: version.is_some_and(|version| version < (8, 2)),
            waits_twice: version.is_some_and(|version| ((9, 2)..(9, 5)).contains(&version)),
        }
    }
}

/// What one side of a connection is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Alive {
    /// Which.
    pub side: Side,
    /// Seconds without data before a message is sent; 0 for none.
    pub interval_s: u32,
    /// Messages without an answer; none for PuTTY, whose messages want none.
    pub count_max: Option<u32>,
    /// What depends on the version.
    #[serde(skip)]
    pub habits: Habits,
    /// Whether SO_KEEPALIVE is on.
    pub tcp_keepalive: bool,
    /// Whether the session has a TCP socket under this kernel. One through another
    /// program (ProxyJump, ProxyCommand) or on Windows has none.
    pub socket_here: bool,
}

/// One of the mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerName {
    /// SSH's own messages.
    Alive,
    /// The kernel's keepalive.
    TcpKeepalive,
    /// The kernel's retransmission of SSH's message.
    Retransmission,
}

/// When one mechanism gives up on a silent peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// Which.
    pub name: LayerName,
    /// When; none if it never does, or rests.
    #[serde(flatten, serialize_with = "Span::as_drop_if_any")]
    pub drop: Option<Span>,
}

/// What happens to an idle session whose peer is silent from second 0 on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timing {
    /// When SSH speaks first, if all is on time; none if it does not.
    pub first_message_s: Option<u32>,
    /// When it has spoken at the latest.
    #[serde(
        rename = "first_message_latest_s",
        serialize_with = "as_seconds_if_any"
    )]
    pub first_message_latest_ms: Option<u64>,
    /// The three mechanisms.
    pub layers: [Layer; 3],
    /// The one that ends the session; none if nothing does.
    pub drops_first: Option<LayerName>,
    /// When it is ended.
    #[serde(flatten, serialize_with = "Span::as_drop_if_any")]
    pub drop: Option<Span>,
}

impl Alive {
    /// Whether an idle session is ended after one interval, though its peer lives.
    pub fn ends_idle(&self) -> bool {
        self.count_max == Some(0) && self.habits.zero_ends_idle && self.interval_s > 0
    }

    /// When the first message is sent on an idle session; none if none is.
    pub fn first_message(&self) -> Option<Span> {
        self.interval(1).filter(|_| !self.ends_idle())
    }

    /// When interval `number` without data ends. None if none is counted.
    ///
    /// The client counts in whole seconds of the clock (`monotime`), so it may be
    /// up to a second early; PuTTY by a whole interval. poll(2) may be late by a
    /// thousandth of the interval, a tenth of a second at the most
    /// (`select_estimate_accuracy`).
    fn interval(&self, number: u64) -> Option<Span> {
        let interval_ms = u64::from(self.interval_s) * 1000;
        let at_ms = interval_ms.saturating_mul(number);
        let late_ms = u64::from(self.interval_s).min(POLL_LATE_MS);
        match (self.interval_s, self.side) {
            (0, _) => None,
            (_, Side::Client) => Some(Span {
                earliest_ms: at_ms.saturating_sub(1000),
                latest_ms: at_ms.saturating_add(late_ms),
            }),
            // It sends every interval, whatever else is sent: so the first may come
            // at once.
            (_, Side::Putty) => Some(Span {
                earliest_ms: at_ms - interval_ms,
                latest_ms: at_ms.saturating_add(late_ms.saturating_mul(number)),
            }),
            (_, Side::Server) => {
                let latest_ms = at_ms.saturating_add(late_ms.saturating_mul(number));
                let waits = if self.habits.waits_twice { 2 } else { 1 };
                Some(Span {
                    earliest_ms: at_ms,
                    latest_ms: latest_ms.saturating_mul(waits),
                })
            }
        }
    }

    /// When SSH itself gives up: where it would send one more message after
    /// `count max` unanswered ones.
    pub fn gives_up(&self) -> Option<Span> {
        match self.count_max {
            None => None,
            Some(0) if !self.habits.zero_ends_idle => None,
            Some(count) => self.interval(u64::from(count) + 1),
        }
    }

    /// Whether the kernel's keepalive is on, on a socket of its own.
    fn is_kept(&self) -> bool {
        self.tcp_keepalive && self.socket_here
    }

    /// The longest silences of a healthy idle session: SSH's messages end them, and
    /// where it is on the kernel's keepalive. A lost message is sent again by TCP
    /// within `resend_ms`.
    pub fn silence(&self, settings: Settings, conditions: &Conditions, resend_ms: u64) -> Silence {
        let messages = self.messages(resend_ms);
        if !self.is_kept() || self.ends_idle() {
            return messages;
        }
        let kept = Silence::kept(settings, conditions.hz);
        let (Some(first), Some(message_ms)) = (self.first_message(), messages.none_lost_ms) else {
            return kept;
        };
        let probe = idle::first_expiry(settings, conditions.hz);
        let drop = idle(settings, None, conditions.hz).drop;
        // One is lost, and then the other is not: after a lost probe the next one comes,
        // or SSH's message. After a lost message, which may only come before the
        // probe, the kernel's keepalive rests.
        let probe_lost_ms = message_ms.min(kept.one_lost_ms.unwrap_or(u64::MAX));
        let message_lost_ms = message_ms.min(probe.latest_ms).saturating_add(resend_ms);
        let one_lost_ms = match probe.latest_ms < first.earliest_ms {
            true => probe_lost_ms,
            false => probe_lost_ms.max(message_lost_ms),
        };
        // A kernel that forgives no loss may drop before SSH speaks.
        let forgiven = kept.one_lost_ms.is_some() || message_ms < drop.earliest_ms;
        Silence {
            none_lost_ms: Some(probe.latest_ms.min(message_ms)),
            one_lost_ms: Some(one_lost_ms).filter(|_| forgiven),
        }
    }

    /// The same with SSH's messages alone, for a path that counts bytes.
    pub fn messages(&self, resend_ms: u64) -> Silence {
        let latest_ms = self.first_message().map(|first| first.latest_ms);
        Silence {
            none_lost_ms: latest_ms,
            one_lost_ms: latest_ms.map(|ms| ms.saturating_add(resend_ms)),
        }
    }
}

impl Timing {
    /// For a session that is idle, with the kernel's settings on that side.
    pub fn new(alive: Alive, settings: Settings, conditions: &Conditions) -> Timing {
        let first = alive.first_message();
        let in_a_socket = first.filter(|_| alive.socket_here);
        let resent = in_a_socket.map(|at| at.then(resend::gives_up(conditions)));
        let kept = alive
            .is_kept()
            .then(|| idle(settings, None, conditions.hz).drop);
        // From the first message on the kernel's keepalive rests.
        let kept = kept.filter(|kept| first.is_none_or(|at| kept.earliest_ms < at.latest_ms));
        let certain =
            first.is_none_or(|at| kept.is_none_or(|kept| kept.latest_ms < at.earliest_ms));
        let layers = [
            (LayerName::Alive, alive.gives_up()),
            (LayerName::TcpKeepalive, kept),
            (LayerName::Retransmission, resent),
        ]
        .map(|(name, drop)| Layer { name, drop });
        let first_of = layers
            .iter()
            .filter_map(|layer| Some((layer.name, layer.drop?)))
            .min_by_key(|(_, drop)| drop.earliest_ms);
        // Where the first message may come before it, the kernel's keepalive may
        // not drop at all.
        let counts = |layer: &&Layer| certain || layer.name != LayerName::TcpKeepalive;
        let latest_ms = layers
            .iter()
            .filter(counts)
            .filter_map(|layer| Some(layer.drop?.latest_ms))
            .min();
        Timing {
            first_message_s: first.map(|_| alive.interval_s),
            first_message_latest_ms: first.map(|first| first.latest_ms),
            layers,
            drops_first: first_of.map(|(name, _)| name),
            drop: first_of.map(|(_, drop)| Span {
                latest_ms: latest_ms.unwrap_or(drop.latest_ms),
                ..drop
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Hz;
    use crate::model::time_to_drop::TcpLimits;

    fn timing(side: Side, interval_s: u32, count_max: u32, tcp_keepalive: bool) -> Timing {
        let alive = alive(side, interval_s, count_max, tcp_keepalive);
        Timing::new(alive, Settings::new(7200, 75, 9).unwrap(), &conditions())
    }

    fn alive(side: Side, interval_s: u32, count_max: u32, tcp_keepalive: bool) -> Alive {
        Alive {
            side,
            interval_s,
            count_max: (side != Side::Putty).then_some(count_max),
            habits: match side {
                Side::Client => Habits::CLIENT,
                Side::Server => Habits::of_server(None),
                Side::Putty => Habits::PUTTY,
            },
            tcp_keepalive,
            socket_here: true,
        }
    }

    fn conditions() -> Conditions {
        Conditions::next_door(TcpLimits::KERNEL_DEFAULT, Hz::new(250))
    }

    #[test]
    fn the_interval_counts_once_more_than_the_count() {
        let client = timing(Side::Client, 15, 3, true);
        assert_eq!(client.drops_first, Some(LayerName::Alive));
        assert!(client.drop.unwrap().contains(60_000));
        assert!(
            timing(Side::Server, 15, 3, true)
                .drop
                .unwrap()
                .contains(60_000)
        );
    }

    #[test]
    fn a_count_of_zero_ends_idle_sessions_or_none() {
        let client = timing(Side::Client, 15, 0, true);
        assert!(client.drop.unwrap().contains(15_000));
        // It gives up without a message, so nothing is in flight.
        assert_eq!(client.first_message_s, None);
        assert_eq!(client.layers[2].drop, None);
        let server = timing(Side::Server, 15, 0, true);
        assert_eq!(server.drops_first, Some(LayerName::Retransmission));
        let old = Alive {
            habits: Habits::of_server(Some((8, 1))),
            ..alive(Side::Server, 15, 0, true)
        };
        assert!(old.ends_idle() && old.gives_up().unwrap().contains(15_000));
        let off = alive(Side::Client, 0, 0, true);
        assert!(!off.ends_idle() && off.gives_up().is_none());
    }

    #[test]
    fn a_lost_message_costs_a_resend_and_a_lost_probe_no_more_than_a_message() {
        let silence = |alive: Alive, time, probes| {
            let settings = Settings::new(time, 10, probes).unwrap();
            let silence = alive.silence(settings, &conditions(), 1000);
            (silence.none_lost_ms, silence.one_lost_ms)
        };
        let messages = alive(Side::Client, 60, 3, true);
        assert_eq!(silence(messages, 7200, 9), (Some(60_060), Some(61_060)));
        // The kernel speaks first, and its lost probe is made good by another.
        let (none, one) = silence(messages, 30, 9);
        assert!(
            none < Some(34_000) && one < Some(46_000),
            "{none:?} {one:?}"
        );
        // It drops at 40 s, before SSH speaks.
        assert_eq!(silence(messages, 30, 1).1, None);
        // It would at 65 s, and SSH speaks before.
        assert_eq!(silence(messages, 55, 1).1, Some(60_060));
        // Either may come first, and be the one that is lost.
        assert_eq!(silence(messages, 58, 1).1, Some(61_048));
        let kernel = alive(Side::Client, 0, 3, true);
        assert_eq!(silence(kernel, 7200, 1).1, None);
        // PuTTY's may come at any time, and the kernel speaks often.
        let (_, one) = silence(alive(Side::Putty, 600, 0, true), 30, 9);
        assert!(one < Some(46_000), "{one:?}");
        let nothing = alive(Side::Client, 0, 3, false);
        assert_eq!(silence(nothing, 7200, 9), (None, None));
        // Ended after a minute whatever the kernel does.
        assert_eq!(
            silence(alive(Side::Client, 60, 0, true), 30, 9),
            (None, None)
        );
    }

    #[test]
    fn a_long_hour_ends_after_twenty_minutes() {
        let looks_long = timing(Side::Client, 120, 30, true);
        assert_eq!(looks_long.drops_first, Some(LayerName::Retransmission));
        let drop = looks_long.drop.unwrap();
        assert!(
            drop.earliest_ms > 17 * 60_000 && drop.latest_ms < 20 * 60_000,
            "{drop:?}"
        );
        assert!(looks_long.layers[0].drop.unwrap().contains(3_720_000));
    }

    #[test]
    fn some_servers_wait_twice() {
        for (version, latest_ms) in [
            ((9, 1), 8008),
            ((9, 2), 16_016),
            ((9, 4), 16_016),
            ((9, 5), 8008),
        ] {
            let server = Alive {
                habits: Habits::of_server(Some(version)),
                ..alive(Side::Server, 2, 3, true)
            };
            let gives_up = server.gives_up().unwrap();
            assert_eq!(
                (gives_up.earliest_ms, gives_up.latest_ms),
                (8000, latest_ms),
                "{version:?}"
            );
        }
    }

    #[test]
    fn through_a_proxy_only_ssh_notices() {
        let proxied = Alive {
            socket_here: false,
            ..alive(Side::Client, 120, 30, true)
        };
        let settings = Settings::new(60, 75, 9).unwrap();
        let timing = Timing::new(proxied, settings, &conditions());
        assert_eq!(timing.drops_first, Some(LayerName::Alive));
        assert_eq!(timing.layers[1].drop.or(timing.layers[2].drop), None);
        let silence = proxied.silence(settings, &conditions(), 1000);
        assert_eq!(silence.none_lost_ms, Some(120_100));
    }

    #[test]
    fn the_extremes_do_not_overflow() {
        for (side, first) in [
            (Side::Client, LayerName::TcpKeepalive),
            (Side::Server, LayerName::TcpKeepalive),
            // Its first message may come at once.
            (Side::Putty, LayerName::Retransmission),
        ] {
            let most = timing(side, u32::MAX, u32::MAX, true);
            assert_eq!(most.drops_first, Some(first));
        }
    }

    #[test]
    fn without_messages_only_the_kernel_notices() {
        let kernel = timing(Side::Client, 0, 3, true);
        assert_eq!(
            (kernel.first_message_s, kernel.drops_first),
            (None, Some(LayerName::TcpKeepalive))
        );
        assert_eq!(kernel.drop.unwrap().earliest_ms, 7_875_000);
        let nothing = timing(Side::Client, 0, 3, false);
        assert_eq!((nothing.drops_first, nothing.drop), (None, None));
    }

    #[test]
    fn from_the_first_message_on_keepalive_rests() {
        assert_eq!(timing(Side::Client, 60, 5, true).layers[1].drop, None);
        // An interval longer than the kernel's keepalive takes.
        let late = timing(Side::Client, 9000, 3, true);
        assert_eq!(late.drops_first, Some(LayerName::TcpKeepalive));
        assert_eq!(late.drop.unwrap(), late.layers[1].drop.unwrap());
        // In between, either may come first.
        let either = timing(Side::Client, 7900, 3, true);
        assert_eq!(either.drops_first, Some(LayerName::TcpKeepalive));
        assert!(either.drop.unwrap().latest_ms > 8_800_000);
    }
}
