//! The arguments of `ssh`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use keepalivectl::model::duration::{parse_seconds, parse_with_unit};
use keepalivectl::ops::ssh::client::Scope;
use keepalivectl::ops::ssh::{self as job, Circumstances, Programs, Purpose};
use keepalivectl::ssh::pattern::Patterns;

use super::values::{Between, WISH, parse_seconds_u32};

const EXAMPLES: &str = "\
Examples:
  keepalivectl ssh show                          will an idle session survive, and what ends it?
  keepalivectl ssh show db1 --path aws-nat --rtt 80ms
                                                 to one host, through a NAT gateway
  sudo keepalivectl ssh show --server            the same from the server's side
  keepalivectl ssh set client --interval 60 --count 3
                                                 keep my idle sessions alive
  sudo keepalivectl ssh set server --interval 60 --count 3 --reload
                                                 keep all sessions to this server alive
  keepalivectl ssh set putty db1 --interval 60   keep a PuTTY session alive
  ssh $(keepalivectl ssh options --interval 60 --count 3) db1
                                                 one session, without any file
  keepalivectl ssh plan --path azure-lb --detect-within 5m
                                                 which interval and count do I need?
  keepalivectl ssh unset client                  take out what `ssh set client` put in";

/// What `ssh` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Ssh {
    /// What to do
    #[command(subcommand)]
    pub command: SshCommand,

    /// Run this client instead of the installed ssh. Root runs it only if nobody else can
    /// change it
    #[arg(
        long = "ssh",
        value_name = "PATH",
        global = true,
        help_heading = "Programs"
    )]
    ssh_program: Option<PathBuf>,

    /// Run this server instead of the installed sshd. Root runs it only if nobody else can
    /// change it
    #[arg(
        long = "sshd",
        value_name = "PATH",
        global = true,
        help_heading = "Programs"
    )]
    sshd_program: Option<PathBuf>,
}

impl Ssh {
    /// Which programs are run.
    pub fn programs(&self) -> Programs {
        Programs {
            ssh: self.ssh_program.clone(),
            sshd: self.sshd_program.clone(),
        }
    }
}

/// What to do about SSH.
#[derive(Debug, Subcommand)]
pub enum SshCommand {
    /// Show one side's keepalives, where they come from, and what ends a session
    ///
    /// Of the client, as the real `ssh -G HOST` has them, unless --server, --putty or
    /// --reg says otherwise. Exit code 3 if a path is given and not survived safely.
    Show(Show),

    /// Set keepalives, and see to it that they take effect
    ///
    /// Each writes a marked part of its own, asks the real program what is in effect,
    /// and takes it back if another line wins. Sessions that are open keep what they
    /// have.
    Set {
        /// Whose
        #[command(subcommand)]
        whose: SetWhose,
    },

    /// Take out what `ssh set` put in, and nothing else
    Unset {
        /// Whose
        #[command(subcommand)]
        whose: UnsetWhose,
    },

    /// Print the -o options for a single command
    ///
    /// Example: ssh $(keepalivectl ssh options --interval 60 --count 3) db1
    Options(IntervalAndCount),

    /// Find an interval and a count for a purpose
    ///
    /// The interval is the longest and then the count the largest that serve, within
    /// 30 to 60 s and 3 to 5 wherever these can; late timers, one lost message and a
    /// second for the way are counted in.
    Plan(Plan),
}

/// What `ssh show` takes.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("side").args(["server", "putty", "reg"]))]
pub struct Show {
    /// The host, as for ssh; with --reg the session. Without, any host that no block
    /// of the configuration names
    #[arg(value_parser = parse_host, conflicts_with_all = ["server", "putty"])]
    pub host: Option<String>,

    /// Another configuration, as with `ssh -F`; with --server as with `sshd -f`. Through
    /// sudo it is read as the user who called it
    #[arg(short = 'F', value_name = "FILE", conflicts_with_all = ["putty", "reg"])]
    pub file: Option<PathBuf>,

    /// An option, as with `ssh -o`
    #[arg(short = 'o', value_name = "OPTION", conflicts_with_all = ["server", "putty", "reg"])]
    pub option: Vec<String>,

    /// The server's side, as `sshd -T` has it: what it will take when it reads its
    /// files again
    #[arg(long)]
    pub server: bool,

    /// With --server, for one connection, so that Match blocks count:
    /// user=alice,addr=192.0.2.1
    #[arg(long = "match", value_name = "CONNECTION", requires = "server")]
    pub connection: Option<String>,

    /// PuTTY's side, of a session or of the default settings
    #[arg(long, value_name = "SESSION", num_args = 0..=1, value_parser = parse_session)]
    #[expect(
        clippy::option_option,
        reason = "clap's way to tell --putty from --putty SESSION"
    )]
    pub putty: Option<Option<String>>,

    /// PuTTY's side, in a registry's export. Through sudo it is read as the user who
    /// called it
    #[arg(long, value_name = "FILE")]
    pub reg: Option<PathBuf>,

    #[command(flatten)]
    pub between: Between,

    /// The round-trip time, with its unit: 80ms. Without, any up to a second is counted in
    #[arg(long, value_name = "DURATION", value_parser = parse_with_unit)]
    pub rtt: Option<Duration>,
}

impl Show {
    /// What the session goes through.
    pub fn circumstances(&self) -> Circumstances {
        Circumstances {
            paths: self.between.paths(),
            idle_timeout_s: self.between.idle_timeout,
            rtt: self.rtt,
        }
    }
}

/// How often a message is sent.
#[derive(Debug, Args)]
pub struct Interval {
    /// Time without data before a message
    #[arg(long, value_name = "DURATION", value_parser = parse_interval, allow_negative_numbers = true)]
    pub interval: u32,
}

/// How often a message is sent, and how many may go unanswered.
#[derive(Debug, Args)]
pub struct IntervalAndCount {
    #[command(flatten)]
    pub interval: Interval,

    /// Messages without an answer before the session ends
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=MOST))]
    pub count: u32,
}

/// SSH's numbers are ints.
const MOST: i64 = i32::MAX as i64;

/// The kernel's keepalive.
#[derive(Debug, Args)]
pub struct TcpKeepalive {
    /// The kernel's keepalive; without, it is left as it is
    #[arg(long, value_name = "YES|NO", value_parser = parse_yes_no)]
    pub tcp_keepalive: Option<bool>,
}

/// What is not done.
#[derive(Debug, Args)]
pub struct DryRun {
    /// Print the difference and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Which of the client's configurations.
#[derive(Debug, Args)]
pub struct Where {
    /// For some hosts, as on a Host line: 'db*', '*.example.org !old.example.org'
    #[arg(long, value_name = "PATTERN")]
    host: Option<Patterns>,

    /// In ~/.ssh/config, which is the default. Through sudo it is that of the user who
    /// called it, not root's
    #[arg(long, conflicts_with = "system")]
    user: bool,

    /// For all users, in /etc/ssh/ssh_config.d
    #[arg(long)]
    system: bool,
}

impl Where {
    /// For which hosts; none for all, after what is said for some.
    pub fn hosts(&self) -> Option<&Patterns> {
        self.host.as_ref()
    }

    /// Whose.
    pub fn scope(&self) -> Scope {
        match self.system {
            true => Scope::System,
            false => Scope::User,
        }
    }
}

/// Whose keepalives are set.
#[derive(Debug, Subcommand)]
pub enum SetWhose {
    /// The client's: ServerAliveInterval and ServerAliveCountMax
    ///
    /// A marked block at the end of ~/.ssh/config, where it gives way to what is said above
    /// for certain hosts; with --host at the top, where it wins ('*' for all hosts).
    ///
    /// Example: keepalivectl ssh set client --interval 60 --count 3
    Client {
        #[command(flatten)]
        values: IntervalAndCount,

        #[command(flatten)]
        place: Where,

        #[command(flatten)]
        dry_run: DryRun,
    },

    /// The server's: ClientAliveInterval and ClientAliveCountMax
    ///
    /// A drop-in in /etc/ssh/sshd_config.d, which sshd checks before it counts.
    ///
    /// Example: sudo keepalivectl ssh set server --interval 60 --count 3 --reload
    Server {
        #[command(flatten)]
        interval: Interval,

        /// Messages without an answer before the session ends; 0 for never
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=MOST))]
        count: u32,

        #[command(flatten)]
        tcp_keepalive: TcpKeepalive,

        /// Edit /etc/ssh/sshd_config itself where it includes no drop-ins
        #[arg(long)]
        edit_main: bool,

        /// Have the running sshd read its files again; its sessions stay
        #[arg(long)]
        reload: bool,

        #[command(flatten)]
        dry_run: DryRun,
    },

    /// PuTTY's: the time between its messages
    ///
    /// PuTTY counts no answers: a silent peer ends the session when TCP gives up to send a
    /// message again.
    ///
    /// Example: keepalivectl ssh set putty db1 --interval 60
    Putty {
        /// The session, or `default` for what new ones begin with
        #[arg(value_parser = parse_session)]
        session: String,

        #[command(flatten)]
        interval: Interval,

        #[command(flatten)]
        tcp_keepalive: TcpKeepalive,

        /// Write a file for Windows to import instead
        #[arg(long, value_name = "FILE")]
        reg: Option<PathBuf>,

        #[command(flatten)]
        dry_run: DryRun,
    },
}

/// Whose keepalives are unset.
#[derive(Debug, Subcommand)]
pub enum UnsetWhose {
    /// What `ssh set client` put in; with --host, what it put in for these hosts
    Client {
        #[command(flatten)]
        place: Where,

        #[command(flatten)]
        dry_run: DryRun,
    },

    /// What `ssh set server` put in
    Server {
        /// Have the running sshd read its files again; its sessions stay
        #[arg(long)]
        reload: bool,

        #[command(flatten)]
        dry_run: DryRun,
    },

    /// What `ssh set putty` put in: back to the values from before
    Putty {
        /// The session, or `default`
        #[arg(value_parser = parse_session)]
        session: String,

        #[command(flatten)]
        dry_run: DryRun,
    },
}

/// What `ssh plan` takes.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("wish").required(true).multiple(true).args(WISH))]
pub struct Plan {
    #[command(flatten)]
    between: Between,

    /// End an idle session to a dead peer within this time
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds_u32,
        allow_negative_numbers = true)]
    detect_within: Option<u32>,

    /// The round-trip time, with its unit: 80ms. Without, any up to a second is counted in
    #[arg(long, value_name = "DURATION", value_parser = parse_with_unit)]
    rtt: Option<Duration>,
}

impl Plan {
    /// The same for the library.
    pub fn purpose(&self) -> Purpose {
        Purpose {
            paths: self.between.paths(),
            idle_timeout_s: self.between.idle_timeout,
            detect_within_s: self.detect_within,
            rtt: self.rtt,
        }
    }
}

/// What `ssh set client` asks for.
pub fn client(
    values: &IntervalAndCount,
    place: &Where,
    home: Option<PathBuf>,
) -> job::client::Wanted {
    job::client::Wanted {
        interval_s: values.interval.interval,
        count_max: values.count,
        hosts: place.hosts().cloned(),
        scope: place.scope(),
        home,
    }
}

/// What `ssh set server` asks for.
pub fn server(
    (interval_s, count_max): (u32, u32),
    tcp_keepalive: Option<bool>,
    edit_main: bool,
    reload: bool,
) -> job::server::Wanted {
    job::server::Wanted {
        interval_s,
        count_max,
        tcp_keepalive,
        edit_main,
        reload,
    }
}

/// ssh would take it for an option, or for nothing.
fn parse_host(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a host has a name".to_owned()),
        _ if text.starts_with('-') => Err("a host's name begins with no '-'".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// PuTTY counts them in milliseconds, in an int.
fn parse_interval(text: &str) -> Result<u32, Box<dyn Error + Send + Sync>> {
    const MOST_S: i64 = MOST / 1000;
    match parse_seconds(text)? {
        seconds @ 1..=MOST_S => Ok(u32::try_from(seconds)?),
        _ => Err(format!("{text} is out of range: 1 s to {MOST_S} s").into()),
    }
}

/// A name that can be a file's.
fn parse_session(text: &str) -> Result<String, &'static str> {
    match text {
        "" | "." | ".." => Err("that is no name of a session"),
        name => Ok(name.to_owned()),
    }
}

fn parse_yes_no(text: &str) -> Result<bool, &'static str> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("say yes or no"),
    }
}
