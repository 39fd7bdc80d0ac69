//! The arguments of `sockets`.

use std::num::NonZeroI32;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use ipnet::IpNet;
use keepalivectl::kernel::sock_diag::{self, TcpState};
use keepalivectl::ops;
use keepalivectl::ops::sockets::{Change, Filter, Patience, Scope};

use super::values::{Between, Namespace, SomeValues, parse_seconds_u32};
use keepalivectl::model::duration::parse_with_unit;

const EXAMPLES: &str = "\
Examples:
  sudo keepalivectl sockets                        each established connection
  sudo keepalivectl sockets --process postgres     of one program
  sudo keepalivectl sockets --at-risk --path aws-nat
                                                   which may a NAT gateway forget?
  sudo keepalivectl sockets --summary --watch      how many for each process, again and again
  sudo keepalivectl sockets rearm --stale          let those already open follow now
  sudo keepalivectl sockets set --enable-keepalive --time 2m --port 5432
                                                   for a program that has no option for it";

/// What `sockets` takes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Sockets {
    /// What to do with them, instead of listing them
    #[command(subcommand)]
    pub command: Option<SocketsCommand>,

    #[command(flatten)]
    pub filter: FilterArguments,

    #[command(flatten)]
    pub scope: ScopeArguments,

    /// Count them for each process
    #[arg(long)]
    pub summary: bool,

    /// With --summary, watch the kernel's counts for so long, and show their rate: 10s
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds_u32, requires = "summary",
        conflicts_with_all = ["all_netns", "watch"], allow_negative_numbers = true)]
    pub interval: Option<u32>,

    /// Look again and again, every 2 s or so often
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds_u32, num_args = 0..=1,
        default_missing_value = "2", allow_negative_numbers = true)]
    pub watch: Option<u32>,

    /// Look at no process: only what the timers tell, and much faster
    #[arg(long, conflicts_with_all = ["pid", "process", "stale", "at_risk"])]
    pub no_process: bool,
}

/// What to do with them.
#[derive(Debug, Subcommand)]
pub enum SocketsCommand {
    /// Let sockets that were armed under older settings follow those in force now
    ///
    /// A lowered setting does not touch a timer that is running already, which
    /// can take two hours. Those are armed anew: keepalive off and on again. They
    /// go on to follow the kernel's settings. The first probe comes a whole
    /// `time` from now; `sockets set` counts from the last segment instead.
    ///
    /// Others are left alone: those with keepalive off, and those whose timer
    /// would only be put off. While a connection waits for an acknowledgement, its
    /// keepalive timer cannot be seen, and is armed anew to be sure.
    #[command(group = which())]
    Rearm(ChangeArguments),

    /// Give sockets values of their own, whatever their program set
    ///
    /// `time` counts at once, from the last segment received; the others from the
    /// next probe on. A socket keeps them for as long as it lives, whatever the
    /// kernel's settings are. One that has them already counts as unchanged, and
    /// keeps them too.
    #[command(group = which(), group = ArgGroup::new("values").required(true).multiple(true)
        .args(["time", "intvl", "probes", "user_timeout", "enable_keepalive"]))]
    Set {
        #[command(flatten)]
        values: SomeValues,

        /// TCP_USER_TIMEOUT, with its unit: 30s; 0s takes it away
        #[arg(long, value_name = "DURATION", value_parser = parse_with_unit)]
        user_timeout: Option<Duration>,

        /// Also turn keepalive on where the program never did
        #[arg(long)]
        enable_keepalive: bool,

        #[command(flatten)]
        change: ChangeArguments,
    },
}

/// One filter at least, or all.
fn which() -> ArgGroup {
    ArgGroup::new("which").required(true).multiple(true).args([
        "pid",
        "process",
        "port",
        "local",
        "remote",
        "unprotected",
        "stale",
        "at_risk",
        "all",
    ])
}

/// What both changes take.
#[derive(Debug, Args)]
pub struct ChangeArguments {
    #[command(flatten)]
    pub filter: FilterArguments,

    /// All sockets of the network namespace
    #[arg(long, conflicts_with_all = ["pid", "process", "port", "local", "remote", "unprotected",
        "stale", "at_risk"])]
    pub all: bool,

    #[command(flatten)]
    pub scope: ScopeArguments,

    /// List what would be changed, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Which sockets.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("patience").multiple(true).requires("at_risk")
    .args(["path", "idle_timeout"]))]
pub struct FilterArguments {
    /// Held by this process; several may be given, as with all that follows
    #[arg(long, value_name = "PID")]
    pid: Vec<NonZeroI32>,

    /// Held by a process of this name, of which 15 characters count
    #[arg(long, value_name = "NAME")]
    process: Vec<String>,

    /// This port, at either end
    #[arg(long, value_name = "PORT")]
    port: Vec<u16>,

    /// This end is this address, or in this network: 10.0.0.0/8
    #[arg(long, value_name = "CIDR", value_parser = parse_net)]
    local: Vec<IpNet>,

    /// The other end is this address, or in this network
    #[arg(long, value_name = "CIDR", value_parser = parse_net)]
    remote: Vec<IpNet>,

    /// In this state; without, established, and where something is changed, all
    #[arg(long, value_name = "STATE", value_enum)]
    state: Vec<TcpStateWord>,

    /// Only with keepalive off
    #[arg(long)]
    unprotected: bool,

    /// Only armed for longer than the settings in effect say
    #[arg(long)]
    stale: bool,

    /// Only what a box with the patience of --path or --idle-timeout may forget
    #[arg(long, requires = "patience")]
    at_risk: bool,

    #[command(flatten)]
    between: Between,
}

impl FilterArguments {
    /// The same for the library.
    pub fn filter(&self) -> Filter {
        Filter {
            pids: self.pid.iter().map(|pid| pid.get()).collect(),
            processes: self.process.clone(),
            ends: sock_diag::Filter {
                ports: self.port.iter().copied().collect(),
                local: self.local.clone(),
                remote: self.remote.clone(),
            },
            states: self
                .state
                .iter()
                .map(|state| TcpState::from(*state))
                .collect(),
            unprotected: self.unprotected,
            stale: self.stale,
            at_risk: Patience::of(&self.between.paths(), self.between.idle_timeout),
        }
    }
}

/// Which network namespaces.
#[derive(Debug, Args)]
pub struct ScopeArguments {
    #[command(flatten)]
    namespace: Namespace,

    /// In each network namespace
    #[arg(long, conflicts_with = "netns")]
    all_netns: bool,
}

impl ScopeArguments {
    /// The same for the library.
    pub fn scope(&self) -> Scope {
        match self.all_netns {
            true => Scope::All,
            false => Scope::One(self.namespace.netns()),
        }
    }
}

/// What `set` is to do.
pub fn set(
    values: &SomeValues,
    user_timeout: Option<Duration>,
    turn_on: bool,
) -> Result<Change, ops::Error> {
    let user_timeout = match user_timeout {
        Some(Duration::ZERO) => Some(None),
        other => other.map(|time| time.try_into().map(Some)).transpose()?,
    };
    Ok(Change::Set {
        values: values.partial(),
        user_timeout,
        turn_on,
    })
}

/// The words for the states, as ss(8) has them.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum TcpStateWord {
    /// Both ends may send
    Established,
    /// Closed or shut down here, and that is not acknowledged
    #[value(name = "fin-wait-1")]
    FinWait1,
    /// Closed or shut down here, and not there
    #[value(name = "fin-wait-2")]
    FinWait2,
    /// Closed or shut down there, and not here
    CloseWait,
}

impl From<TcpStateWord> for TcpState {
    fn from(word: TcpStateWord) -> TcpState {
        match word {
            TcpStateWord::Established => TcpState::Established,
            TcpStateWord::FinWait1 => TcpState::FinWait1,
            TcpStateWord::FinWait2 => TcpState::FinWait2,
            TcpStateWord::CloseWait => TcpState::CloseWait,
        }
    }
}

/// An address alone is a network of one.
fn parse_net(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>().ok();
    net.or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))
        .map(|net| net.trunc())
        .ok_or_else(|| {
            format!("{text:?} is no address and no network: write 10.0.0.7, 10.0.0.0/8 or fd00::/8")
        })
}
