//! The arguments, and the help that teaches them.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use keepalivectl::kernel::netns::NetNs;
use keepalivectl::model::duration::{parse_seconds, parse_with_unit};
use keepalivectl::model::path::{self, Path};
use keepalivectl::model::{Hz, Partial, ProfileName, State, Values};
use keepalivectl::ops::plan::Purpose;

const EXAMPLES: &str = "\
Examples:
  keepalivectl                          is it in force here, now and after the next boot?
  keepalivectl time-to-drop             how long until a silent peer is dropped?
  keepalivectl time-to-drop --time 2m --intvl 15 --probes 4 --timeline
  keepalivectl check --path aws-nat     does my idle connection survive?
  keepalivectl plan --idle-timeout 350s --detect-within 6m
                                        which settings do I need?
  keepalivectl measure --time 5 --intvl 2 --probes 3
                                        is that so on this kernel?
  keepalivectl profile list             ready-made settings
  sudo keepalivectl apply aws-nat       in force now
  sudo keepalivectl revert              back to what was in force before
  sudo keepalivectl enable aws-nat --now
                                        in force now and after every boot
  keepalivectl verify && echo all well  for monitoring: 3 means drift

Durations: 75 or 75s, 2m, 2h11m15s. A bare number is seconds.

Exit codes:
  0  done, or already so
  1  it failed and nothing is changed
  2  the command line is wrong
  3  the answer is no: verify found drift, check found it not safe, or measure
     found another time than predicted
  4  it failed and could not undo what it had done: the message says what is left";

const GLOBAL: &str = "Global options";

/// Show, compute, set and keep the kernel's TCP keepalive.
///
/// Without a command: show.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, help_expected = true, max_term_width = 100)]
pub struct Cli {
    /// Print the report as JSON
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,

    /// Work on the files below DIR, such as an image, instead of this machine's
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    pub root: Option<PathBuf>,

    /// What to do
    #[command(subcommand)]
    pub command: Option<Command>,
}

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
const WISH: [&str; 3] = ["path", "idle_timeout", "detect_within"];

/// All that belong to it.
const PURPOSE: [&str; 4] = [WISH[0], WISH[1], WISH[2], "lost_probes"];

/// What lies between the two ends of a connection.
#[derive(Debug, Args)]
pub struct Between {
    /// A known path (see `paths`); several where a connection goes through several
    #[arg(long, value_name = "NAME", value_parser = path::parse)]
    pub path: Vec<&'static Path>,

    /// The time after which a box on the way forgets an idle flow
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds_u32,
        allow_negative_numbers = true)]
    pub idle_timeout: Option<u32>,
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
            paths: self.between.path.clone(),
            idle_timeout_s: self.between.idle_timeout,
            detect_within_s: self.detect_within,
            lost_probes: self.lost_probes,
        }
    }
}

/// Whole seconds from 1 on.
fn parse_seconds_u32(text: &str) -> Result<u32, Box<dyn Error + Send + Sync>> {
    let seconds = parse_seconds(text)?;
    match u32::try_from(seconds) {
        Ok(0) | Err(_) => Err(format!("{text} is out of range: 1 s to {} s", u32::MAX).into()),
        Ok(seconds) => Ok(seconds),
    }
}

/// What counts besides the three settings.
#[derive(Debug, Args)]
pub struct Conditions {
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

/// The network namespace to act in.
#[derive(Debug, Default, Args)]
pub struct Namespace {
    /// Act in another network namespace: a name, a path, or pid:N
    #[arg(long, value_name = "NAMESPACE")]
    netns: Option<NetNs>,
}

impl Namespace {
    /// The same for the library.
    pub fn netns(&self) -> NetNs {
        self.netns.clone().unwrap_or_default()
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what is in force, what it adds up to, and what the next boot will set
    Show {
        #[command(flatten)]
        namespace: Namespace,
    },

    /// Compute how long the kernel takes to drop a silent peer
    ///
    /// For the three states that a silent peer can leave a socket in: idle, data
    /// in flight, window closed. What is not given is what the kernel has.
    TimeToDrop {
        #[command(flatten)]
        values: SomeValues,

        #[command(flatten)]
        conditions: Conditions,

        /// The round-trip time, with its unit: 80ms. Without, below 1 ms
        #[arg(long, value_name = "DURATION", value_parser = parse_with_unit)]
        rtt: Option<Duration>,

        /// The socket's own retransmission timeout, as `ss -i` shows it: 204ms
        #[arg(long, value_name = "DURATION", value_parser = parse_with_unit, conflicts_with = "rtt")]
        rto: Option<Duration>,

        /// The kernel's tick rate (CONFIG_HZ), which bounds how late its timers are
        #[arg(long, value_name = "RATE")]
        hz: Option<Hz>,

        /// Only one state
        #[arg(long, value_name = "STATE", value_enum)]
        state: Option<StateWord>,

        /// List what is sent, and the drop
        #[arg(long)]
        timeline: bool,

        /// Count the cost of so many connections
        #[arg(long, value_name = "COUNT", default_value_t = 1)]
        connections: u64,

        #[command(flatten)]
        namespace: Namespace,
    },

    /// List the boxes that forget idle connections, and after how long
    Paths,

    /// Check whether idle connections survive a path: exit code 0, or 3 if not safe
    ///
    /// Safe: with one probe lost and late timers. Fragile: one lost probe breaks
    /// it. This machine's own conntrack, if loaded, is checked too. What is not
    /// given is what is in force.
    ///
    /// Without a path and an idle timeout it lists all known paths, and ends
    /// with 0: then there is no verdict.
    Check {
        #[command(flatten)]
        between: Between,

        #[command(flatten)]
        values: SomeValues,

        #[command(flatten)]
        namespace: Namespace,
    },

    /// Find the settings for a path, with few packets
    ///
    /// They refresh the path in time, the latest timers of any kernel, lost
    /// probes and a second for the way counted in, and drop a dead peer within
    /// the time you give. `time` is as long as that allows, less up to a tenth
    /// where that sets the probes further apart (10 s at the most), and no longer
    /// than the kernel's own 2 h unless --detect-within says so.
    #[command(group = clap::ArgGroup::new("wish").required(true).multiple(true).args(WISH))]
    Plan {
        #[command(flatten)]
        purpose: PurposeArguments,

        /// Count the cost of so many connections
        #[arg(long, value_name = "COUNT", default_value_t = 1)]
        connections: u64,
    },

    /// Measure the time to drop on this very kernel, beside the computed one
    ///
    /// Makes a connection in a network namespace of its own, without root where
    /// user namespaces are allowed, and lets its peer fall silent. What is not
    /// given is what the kernel has; the defaults take hours, so give small
    /// values. Exit code 3 if the kernel drops outside of the prediction.
    Measure {
        #[command(flatten)]
        values: SomeValues,

        #[command(flatten)]
        conditions: Conditions,

        /// The state that the silent peer leaves the connection in
        #[arg(long, value_name = "STATE", value_enum, default_value = "idle")]
        state: StateWord,

        /// Let the peer live and answer for so long first, with its unit: 5s
        #[arg(long, value_name = "DURATION", value_parser = parse_with_unit)]
        alive_for: Option<Duration>,
    },

    /// List, show, create and delete profiles
    Profile {
        /// What to do with profiles
        #[command(subcommand)]
        command: ProfileCommand,
    },

    /// Put a profile or single values in force now, all or nothing
    ///
    /// Connections that are open already follow when their running timer
    /// expires. The next boot forgets it; `enable` keeps it.
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true)
        .args(["name", "time", "intvl", "probes"]))]
    Apply {
        /// The profile
        #[arg(conflicts_with_all = ["time", "intvl", "probes"])]
        name: Option<ProfileName>,

        #[command(flatten)]
        values: SomeValues,

        /// Print the plan and write nothing
        #[arg(long)]
        dry_run: bool,

        #[command(flatten)]
        namespace: Namespace,
    },

    /// Go back to what was in force before the first apply since boot
    Revert {
        /// Print the plan and write nothing
        #[arg(long)]
        dry_run: bool,

        #[command(flatten)]
        namespace: Namespace,
    },

    /// Keep a profile for boot
    ///
    /// Writes a drop-in to /etc/sysctl.d and, where systemd is, installs and
    /// enables a unit that has the last word at boot.
    Enable {
        /// The profile
        name: ProfileName,

        /// Also put it in force now
        #[arg(long)]
        now: bool,

        /// Print the plan and write nothing
        #[arg(long)]
        dry_run: bool,
    },

    /// Keep no profile for boot any more
    Disable {
        /// Also put in force now what the next boot will set without it
        #[arg(long)]
        now: bool,

        /// Print the plan and write nothing
        #[arg(long)]
        dry_run: bool,
    },

    /// Check that the kernel has the enabled profile: exit code 0, or 3 if not
    Verify {
        #[command(flatten)]
        namespace: Namespace,
    },

    /// Put the enabled profile in force and log it: what the unit runs
    Boot,
}

/// What to do with profiles.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// List all profiles
    List,

    /// Show one profile: why these numbers, and what they are worth
    Show {
        /// The profile
        name: ProfileName,
    },

    /// Write a profile of your own to /etc/keepalivectl/profiles
    ///
    /// With all three values, or with what it is for: --path, --idle-timeout,
    /// --detect-within (see `plan`).
    ///
    /// It wins over a built-in profile of the same name.
    #[command(group = clap::ArgGroup::new("settings").required(true).multiple(true)
        .args(["time", "intvl", "probes"]).args(WISH))]
    Create {
        /// Its name: a-z, 0-9, '-', '_' and '.'
        name: ProfileName,

        #[command(flatten)]
        values: AllValues,

        #[command(flatten)]
        purpose: PurposeArguments,

        /// One line about it
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,

        /// Overwrite a profile of that name
        #[arg(long)]
        replace: bool,
    },

    /// Delete a profile of your own
    Delete {
        /// The profile
        name: ProfileName,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        super::Cli::command().debug_assert();
    }
}
