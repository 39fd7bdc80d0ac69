//! Arguments that several commands take.

use std::error::Error;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use keepalivectl::kernel::netns::NetNs;
use keepalivectl::model::duration::{parse_seconds, parse_with_unit};
use keepalivectl::model::path::{self, Path};
use keepalivectl::model::{Partial, State, Values};
use keepalivectl::ops::plan::Purpose;

/// Single values for the three settings; each may be left out.
#[derive(Debug, Args)]
pub struct SomeValues {
    /// Idle time before the first probe
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds, allow_negative_numbers = true)]
    time: Option<i64>,

    /// Time between unanswered probes
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds, allow_negative_numbers = true)]
    intvl: Option<i64>,

    /// Unanswered probes before the drop
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    probes: Option<i64>,
}

impl SomeValues {
    /// The same for the library.
    pub fn partial(&self) -> Partial {
        Partial {
            time: self.time,
            intvl: self.intvl,
            probes: self.probes,
        }
    }
}

/// Values for all three settings, where no purpose is given.
#[derive(Debug, Args)]
pub struct AllValues {
    /// Idle time before the first probe
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds, allow_negative_numbers = true,
        requires_all = ["intvl", "probes"], conflicts_with_all = PURPOSE)]
    time: Option<i64>,

    /// Time between unanswered probes
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds, allow_negative_numbers = true,
        requires_all = ["time", "probes"], conflicts_with_all = PURPOSE)]
    intvl: Option<i64>,

    /// Unanswered probes before the drop
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true,
        requires_all = ["time", "intvl"], conflicts_with_all = PURPOSE)]
    probes: Option<i64>,
}

impl AllValues {
    /// The same for the library; none if a purpose is given.
    pub fn values(&self) -> Option<Values> {
        let partial = Partial {
            time: self.time,
            intvl: self.intvl,
            probes: self.probes,
        };
        partial.complete()
    }
}

/// The arguments that make a purpose, of which one at least is needed.
pub(super) const WISH: [&str; 3] = ["path", "idle_timeout", "detect_within"];

/// All that belong to it.
pub(super) const PURPOSE: [&str; 4] = [WISH[0], WISH[1], WISH[2], "lost_probes"];

/// What lies between the two ends of a connection.
#[derive(Debug, Args)]
pub struct Between {
    /// A known path (see `paths`); several where a connection goes through several
    #[arg(long, value_name = "NAME", value_parser = path::parse)]
    path: Vec<&'static Path>,

    /// The time after which a box on the way forgets an idle flow
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds_u32,
        allow_negative_numbers = true)]
    pub idle_timeout: Option<u32>,
}

impl Between {
    /// The paths, each once.
    pub fn paths(&self) -> Vec<&'static Path> {
        let mut paths = self.path.clone();
        paths.sort_by_key(|path| path.name);
        paths.dedup();
        paths
    }
}

/// What settings must do.
#[derive(Debug, Args)]
pub struct PurposeArguments {
    #[command(flatten)]
    between: Between,

    /// Drop an idle connection to a dead peer within this time
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds_u32,
        allow_negative_numbers = true)]
    detect_within: Option<u32>,

    /// Probes in a row that may be lost: neither forgotten nor dropped
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    lost_probes: u8,
}

impl PurposeArguments {
    /// The same for the library.
    pub fn purpose(&self) -> Purpose {
        Purpose {
            paths: self.between.paths(),
            idle_timeout_s: self.between.idle_timeout,
            detect_within_s: self.detect_within,
            lost_probes: self.lost_probes,
        }
    }
}

/// Whole seconds from 1 on.
pub(super) fn parse_seconds_u32(text: &str) -> Result<u32, Box<dyn Error + Send + Sync>> {
    let seconds = parse_seconds(text)?;
    match u32::try_from(seconds) {
        Ok(0) | Err(_) => Err(format!("{text} is out of range: 1 s to {} s", u32::MAX).into()),
        Ok(seconds) => Ok(seconds),
    }
}

/// What counts besides the three settings.
#[derive(Debug, Args)]
pub struct ConditionArguments {
    /// The socket's TCP_USER_TIMEOUT, with its unit: 2500ms, 30s
    ///
    /// With it, probes does not count: an idle connection is dropped at the
    /// first expiry of the keepalive timer after a probe at which the silence has
    /// reached the timeout.
    #[arg(long, value_name = "DURATION", value_parser = parse_with_unit)]
    pub user_timeout: Option<Duration>,

    /// tcp_retries2, which ends retransmission and window probes: 0 to 255
    #[arg(long, value_name = "COUNT")]
    pub retries2: Option<u8>,

    /// tcp_rto_max_ms, the longest timeout of a retransmission: 1s to 120s
    #[arg(long, value_name = "DURATION", value_parser = parse_with_unit)]
    pub rto_max: Option<Duration>,
}

/// The words for the states.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum StateWord {
    /// Nothing to send, nothing unacknowledged
    Idle,
    /// Data sent and not acknowledged
    InFlight,
    /// Data to send, and the peer's window closed
    ZeroWindow,
}

impl From<StateWord> for State {
    fn from(word: StateWord) -> State {
        match word {
            StateWord::Idle => State::Idle,
            StateWord::InFlight => State::InFlight,
            StateWord::ZeroWindow => State::ZeroWindow,
        }
    }
}

/// A name need be no UTF-8.
fn namespace() -> impl TypedValueParser<Value = NetNs> {
    OsStringValueParser::new().try_map(|text| NetNs::try_from(text.as_os_str()))
}

/// The network namespace to act in.
#[derive(Debug, Default, Args)]
pub struct Namespace {
    /// Act in another network namespace: a name, a path, or pid:N
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace())]
    netns: Option<NetNs>,
}

impl Namespace {
    /// The same for the library.
    pub fn netns(&self) -> NetNs {
        self.netns.clone().unwrap_or_default()
    }
}
