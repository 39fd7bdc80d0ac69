//! The arguments, and the help that teaches them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use keepalivectl::kernel::netns::NetNs;
use keepalivectl::model::duration::{parse_seconds, parse_with_unit};
use keepalivectl::model::{Partial, ProfileName, Values};

const EXAMPLES: &str = "\
Examples:
  keepalivectl                          is it in force here, now and after the next boot?
  keepalivectl time-to-drop             how long until a silent peer is dropped?
  keepalivectl time-to-drop --time 2m --intvl 15 --probes 4 --timeline
  keepalivectl profile list             which settings survive which path?
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
  3  verify found drift
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

/// Values for all three settings.
#[derive(Debug, Args)]
pub struct AllValues {
    /// Idle time before the first probe
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds, allow_negative_numbers = true)]
    time: i64,

    /// Time between unanswered probes
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds, allow_negative_numbers = true)]
    intvl: i64,

    /// Unanswered probes before the drop
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    probes: i64,
}

impl AllValues {
    /// The same for the library.
    pub fn values(&self) -> Values {
        Values {
            time: self.time,
            intvl: self.intvl,
            probes: self.probes,
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
    /// What is not given is what is in force.
    TimeToDrop {
        #[command(flatten)]
        values: SomeValues,

        /// The socket's TCP_USER_TIMEOUT, with its unit: 2500ms, 30s
        ///
        /// With it, probes does not count: the connection is dropped at the
        /// first expiry of the keepalive timer after a probe at which the
        /// silence has reached the timeout.
        #[arg(long, value_name = "DURATION", value_parser = parse_with_unit)]
        user_timeout: Option<Duration>,

        /// List each probe and the drop
        #[arg(long)]
        timeline: bool,

        #[command(flatten)]
        namespace: Namespace,
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
    /// It wins over a built-in profile of the same name.
    Create {
        /// Its name: a-z, 0-9, '-', '_' and '.'
        name: ProfileName,

        #[command(flatten)]
        values: AllValues,

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
