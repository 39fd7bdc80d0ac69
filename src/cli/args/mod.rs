//! The arguments, and the help that teaches them.

mod sockets;
mod ssh;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};
use keepalivectl::model::duration::parse_with_unit;
use keepalivectl::model::{Hz, ProfileName};
use keepalivectl::text::{is_plain, line};

pub use sockets::{ChangeArguments, Sockets, SocketsCommand, set};
pub use ssh::{IntervalAndCount, SetWhose, Show, Ssh, SshCommand, UnsetWhose, client, server};
pub use values::{
    AllValues, Between, ConditionArguments, Namespace, PurposeArguments, SomeValues, StateWord,
};
use values::{WISH, parse_seconds_u32};

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
  sudo keepalivectl sockets             what does each open connection have?
  sudo keepalivectl sockets rearm --all let those already open follow, too
  sudo keepalivectl netns list          what do the containers have?
  keepalivectl ssh show db1             will an idle SSH session survive, and what ends it?
  keepalivectl ssh set client --interval 60 --count 3
                                        keep idle SSH sessions alive
  keepalivectl verify && echo all well  for monitoring: 3 means drift

Durations: 75 or 75s, 2m, 2h11m15s. A bare number is seconds.

Exit codes:
  0  done, or already so
  1  it failed and nothing is changed; or `sockets rearm` and `sockets set` could not
     touch some of the sockets
  2  the command line is wrong
  3  the answer is no: verify found drift, check or ssh show found it not safe, or
     measure found another time than predicted
  4  it failed and could not undo what it had done: the message says what is left";

const GLOBAL: &str = "Global options";

/// Show, compute, set and keep the kernel's TCP keepalive.
///
/// Without a command: show.
#[derive(Debug, Parser)]
#[command(version, bin_name = "keepalivectl", after_help = EXAMPLES, help_expected = true, max_term_width = 100)]
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

impl Cli {
    /// The arguments of this process. Ends it if they are wrong.
    pub fn read() -> Cli {
        let cli = Cli::try_parse().unwrap_or_else(|e| readable(e).exit());
        // clap does not hold a global argument against one of a command.
        if let (true, Some(Command::Sockets(sockets))) = (cli.json, &cli.command)
            && sockets.watch.is_some()
        {
            let both = "the argument '--watch' cannot be used with '--json'";
            Cli::command()
                .error(ErrorKind::ArgumentConflict, both)
                .exit();
        }
        cli
    }
}

/// The same error with what it repeats of the arguments escaped: a script may pass what
/// others have named.
fn readable(mut error: Error) -> Error {
    let plain = |word: OsString| word.to_str().is_some_and(|word| word.chars().all(is_plain));
    if std::env::args_os().all(plain) {
        return error;
    }
    // The usage is ours, and has several lines.
    let told = error
        .context()
        .filter(|(kind, _)| *kind != ContextKind::Usage);
    let told: Vec<_> = told.map(|(kind, value)| (kind, escaped(value))).collect();
    for (kind, value) in told {
        error.insert(kind, value);
    }
    error
}

fn escaped(value: &ContextValue) -> ContextValue {
    let text = |text: &String| line(text).into_owned();
    let styled = |styled: &StyledStr| StyledStr::from(line(&styled.to_string()).into_owned());
    match value {
        ContextValue::String(word) => ContextValue::String(text(word)),
        ContextValue::Strings(words) => ContextValue::Strings(words.iter().map(text).collect()),
        ContextValue::StyledStr(tip) => ContextValue::StyledStr(styled(tip)),
        ContextValue::StyledStrs(tips) => {
            ContextValue::StyledStrs(tips.iter().map(styled).collect())
        }
        other => other.clone(),
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what is in force, what it adds up to, and what the next boot will set
    Show {
        #[command(flatten)]
        namespace: Namespace,

        /// Watch the kernel's counts for so long, and show their rate: 10s
        #[arg(long, value_name = "DURATION", value_parser = parse_seconds_u32,
            allow_negative_numbers = true)]
        interval: Option<u32>,
    },

    /// Compute how long the kernel takes to drop a silent peer
    ///
    /// For the three states that a silent peer can leave a socket in: idle, data
    /// in flight, window closed. What is not given is what the kernel has.
    TimeToDrop(TimeToDrop),

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
    Check(Check),

    /// Find the settings for a path, with few packets
    ///
    /// They refresh the path in time, the latest timers of any kernel, lost
    /// probes and a second for the way counted in, and drop a dead peer within
    /// the time you give. `time` is as long as that allows, less up to a tenth
    /// where that sets the probes further apart (10 s at the most), and no longer
    /// than the kernel's own 2 h unless --detect-within says so.
    Plan(Plan),

    /// Measure the time to drop on this very kernel, beside the computed one
    ///
    /// Makes a connection in a network namespace of its own, without root where
    /// user namespaces are allowed, and lets its peer fall silent. What is not
    /// given is what the kernel has; the defaults take hours, so give small
    /// values. Exit code 3 if the kernel drops outside of the prediction.
    Measure(Measure),

    /// List, show, create and delete profiles
    Profile {
        /// What to do with profiles
        #[command(subcommand)]
        command: ProfileCommand,
    },

    /// Show what each open connection really has, and re-arm those already open
    ///
    /// Keepalive on or off, the settings in effect and whether they are its own,
    /// the timer that runs, and the time left if its peer is silent. Whose
    /// process may not be touched (without root), only the timer is known.
    Sockets(Box<Sockets>),

    /// Show, plan and set SSH's own keepalives, and what they add up to with the kernel's
    Ssh(Ssh),

    /// Look into the network namespaces of this machine
    Netns {
        /// What to do with them
        #[command(subcommand)]
        command: NetnsCommand,
    },

    /// Put a profile or single values in force now, all or nothing
    ///
    /// Connections that are open already follow when their running timer
    /// expires, or at once with --rearm. The next boot forgets it; `enable` keeps
    /// it.
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

        /// In each network namespace: the host's, and those of containers. Exit
        /// code 4 if it failed in some and changed others
        #[arg(long, conflicts_with = "netns")]
        all_netns: bool,

        /// Also arm the keepalive timers of open connections anew (see `sockets
        /// rearm`). Exit code 4 if some were refused
        #[arg(long)]
        rearm: bool,
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

/// What `time-to-drop` takes.
#[derive(Debug, Args)]
pub struct TimeToDrop {
    #[command(flatten)]
    pub values: SomeValues,

    #[command(flatten)]
    pub conditions: ConditionArguments,

    /// The round-trip time, with its unit: 80ms. Without, below 1 ms
    #[arg(long, value_name = "DURATION", value_parser = parse_with_unit)]
    pub rtt: Option<Duration>,

    /// The socket's own retransmission timeout, as `ss -i` shows it while there is
    /// no backoff: 204ms
    #[arg(long, value_name = "DURATION", value_parser = parse_with_unit, conflicts_with = "rtt")]
    pub rto: Option<Duration>,

    /// The kernel's tick rate (CONFIG_HZ), which bounds how late its timers are
    #[arg(long, value_name = "RATE")]
    pub hz: Option<Hz>,

    /// Only one state
    #[arg(long, value_name = "STATE", value_enum)]
    pub state: Option<StateWord>,

    /// List what is sent, and the drop
    #[arg(long)]
    pub timeline: bool,

    /// Count the cost of so many connections
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub connections: u64,

    #[command(flatten)]
    pub namespace: Namespace,
}

/// What `check` takes.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub between: Between,

    #[command(flatten)]
    pub values: SomeValues,

    #[command(flatten)]
    pub namespace: Namespace,
}

/// What `plan` takes.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("wish").required(true).multiple(true).args(WISH))]
pub struct Plan {
    #[command(flatten)]
    pub purpose: PurposeArguments,

    /// Count the cost of so many connections
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub connections: u64,
}

/// What `measure` takes.
#[derive(Debug, Args)]
pub struct Measure {
    #[command(flatten)]
    pub values: SomeValues,

    #[command(flatten)]
    pub conditions: ConditionArguments,

    /// The state that the silent peer leaves the connection in
    #[arg(long, value_name = "STATE", value_enum, default_value = "idle")]
    pub state: StateWord,

    /// Let the peer live and answer for so long first, with its unit: 5s
    #[arg(long, value_name = "DURATION", value_parser = parse_with_unit)]
    pub alive_for: Option<Duration>,
}

/// What to do with network namespaces.
#[derive(Debug, Subcommand)]
pub enum NetnsCommand {
    /// List them: the three settings of each, its established sockets, and who is
    /// in it
    ///
    /// A new network namespace, such as a container's, starts from the kernel's
    /// 7200/75/9, whatever the host has. Without root, only those of your own
    /// processes can be seen.
    List,
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
