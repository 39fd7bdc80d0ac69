//! `ssh show`: one side's keepalives, and which layer ends a session first.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::conditions_here;
use crate::kernel::{conntrack, tick};
use crate::model::check::Verdict;
use crate::model::duration::{micros, seconds};
use crate::model::path::Path;
use crate::model::span::{as_difference, as_seconds_if_any};
use crate::model::ssh::resend::resent_ms;
use crate::model::ssh::{Alive, LayerName, Timing};
use crate::model::{Hz, Settings, TcpLimits};
use crate::ops::check::{PathCheck, verdicts};
use crate::ops::{Result, require_machine};
use crate::root::Root;
use crate::ssh::program::Programs;
use crate::ssh::{Effective, Origin, client, putty, reg, server};

/// Whose keepalives are asked about.
#[derive(Debug, Clone)]
pub enum Subject {
    /// The client's, for a host.
    Client(client::Asked),
    /// The server's.
    Server(server::Asked),
    /// PuTTY's on this machine.
    Putty {
        /// The session; none for what new ones begin with.
        session: Option<String>,
        /// The user's own folder, where the environment is another user's.
        home: Option<PathBuf>,
    },
    /// PuTTY's in an export of a Windows registry.
    Reg {
        /// The export.
        file: PathBuf,
        /// The session; none for the default settings, or the only one.
        session: Option<String>,
    },
}

/// What the session goes through.
#[derive(Debug, Clone, Default)]
pub struct Circumstances {
    /// Known paths.
    pub paths: Vec<&'static Path>,
    /// An idle timeout in seconds.
    pub idle_timeout_s: Option<u32>,
    /// The round-trip time; none for any up to a second.
    pub rtt: Option<Duration>,
}

/// One side's keepalives, and what they add up to with the kernel's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SshReport {
    /// The host, or the session; none for any.
    pub subject: Option<String>,
    /// What is set.
    #[serde(flatten)]
    pub alive: Alive,
    /// When each layer gives up on a silent peer.
    #[serde(flatten)]
    pub timing: Timing,
    /// The longest silence of a healthy idle session; none if nothing ends it.
    #[serde(rename = "silence_s", serialize_with = "as_seconds_if_any")]
    pub silence_ms: Option<u64>,
    /// The same with one loss: what a path must outlast. None if no loss is
    /// forgiven.
    #[serde(rename = "survives_idle_s", serialize_with = "as_seconds_if_any")]
    pub survives_idle_ms: Option<u64>,
    /// The worst verdict on the paths; none if none was asked about.
    pub verdict: Option<Verdict>,
    /// The smallest margin of these; none if one has none.
    #[serde(rename = "margin_s", serialize_with = "as_difference")]
    pub margin_ms: Option<i64>,
    /// Each path.
    pub paths: Vec<PathCheck>,
    /// Where each value comes from.
    pub origins: Vec<Origin>,
    /// The kernel's settings in force here.
    pub settings: Settings,
    /// The round-trip time; none for any up to a second.
    pub rtt_us: Option<u64>,
    /// The kernel's limits of retransmission.
    #[serde(flatten)]
    pub limits: TcpLimits,
    /// The kernel's tick rate, which bounds the lateness of its timers.
    pub hz: Option<Hz>,
    /// What is worth knowing.
    pub warnings: Vec<String>,
}

/// Reads one side's keepalives and adds them up.
///
/// # Errors
/// A program is missing or refuses its configuration, a file cannot be read, or
/// what the kernel has cannot be computed with.
pub fn show(
    root: &Root,
    programs: &Programs,
    subject: &Subject,
    circumstances: &Circumstances,
) -> Result<SshReport> {
    require_machine(root, "ssh show")?;
    match subject {
        Subject::Client(asked) => {
            let effective = client::read(programs.ssh(), asked)?;
            of(asked.host.clone(), effective, circumstances)
        }
        Subject::Server(asked) => {
            let effective = server::read(programs.sshd(), asked)?;
            of(asked.connection.clone(), effective, circumstances)
        }
        Subject::Putty { session, home } => {
            let folder = putty::folder(root, home.as_deref())?;
            let name = session.as_deref().unwrap_or(putty::DEFAULT);
            let text = putty::look(root, &folder, name)?;
            let file = root.display(putty::file(&folder, name));
            let values = putty::values(&file.to_string_lossy(), &text);
            of(Some(name.to_owned()), values.effective(), circumstances)
        }
        Subject::Reg { file, session } => {
            let file = &std::path::absolute(file).unwrap_or_else(|_| file.clone());
            let (name, values) = reg::read(root, file, session.as_deref())?;
            let mut effective = values.effective();
            effective.alive.socket_here = false;
            effective.warnings.push(
                "the session is on Windows, whose own settings decide when TCP gives up: they are not \
                 known here"
                    .to_owned(),
            );
            of(Some(name), effective, circumstances)
        }
    }
}

/// The report on what is in effect.
pub(super) fn of(
    subject: Option<String>,
    effective: Effective,
    circumstances: &Circumstances,
) -> Result<SshReport> {
    let (settings, conditions) = conditions_here(circumstances.rtt)?;
    let alive = effective.alive;
    let timing = Timing::new(alive, settings, &conditions);
    let resend_ms = resent_ms(&conditions);
    let silence = alive.silence(settings, &conditions, resend_ms);
    let asked = !circumstances.paths.is_empty() || circumstances.idle_timeout_s.is_some();
    // Where the session has no socket, its segments do not pass here.
    let own = match asked && alive.socket_here {
        true => conntrack::established_timeout_s()?,
        false => None,
    };
    let paths = verdicts(
        &circumstances.paths,
        circumstances.idle_timeout_s,
        own,
        silence,
        alive.messages(resend_ms),
    );
    let margins: Option<Vec<i64>> = paths.iter().map(|path| path.margin_ms).collect();
    let mut warnings = warnings(&alive, &timing);
    warnings.extend(effective.warnings);
    Ok(SshReport {
        subject,
        silence_ms: silence.none_lost_ms,
        survives_idle_ms: silence.one_lost_ms,
        verdict: paths.iter().map(|path| path.verdict).max(),
        margin_ms: margins.and_then(|all| all.into_iter().min()),
        paths,
        origins: effective.origins,
        settings,
        rtt_us: circumstances.rtt.map(micros),
        limits: conditions.limits,
        hz: tick::rate(),
        alive,
        timing,
        warnings,
    })
}

/// What is legal and surprises.
fn warnings(alive: &Alive, timing: &Timing) -> Vec<String> {
    let mut warnings = Vec::new();
    let interval = seconds(alive.interval_s.into());
    if alive.ends_idle() {
        warnings.push(format!(
            "with a count of 0 a session without data is ended after {interval}, its peer alive or \
             not, and nothing is sent before"
        ));
    }
    let speaks = alive.first_message().is_some();
    if alive.count_max == Some(0) && speaks {
        warnings.push(
            "with a count of 0 SSH sends its messages and never gives up itself (before OpenSSH 8.2 \
             it ended idle sessions)"
                .to_owned(),
        );
    }
    if alive.habits.waits_twice && speaks {
        warnings.push(format!(
            "this sshd (OpenSSH 9.2 to 9.4) usually waits twice the interval, {} instead of \
             {interval}, for each message and each count",
            seconds(u64::from(alive.interval_s) * 2)
        ));
    }
    if let (Some(gives_up), Some(drop), Some(count)) =
        (alive.gives_up(), timing.drop, alive.count_max)
        && drop.latest_ms < gives_up.earliest_ms
        && timing.drops_first != Some(LayerName::Alive)
    {
        warnings.push(format!(
            "the count of {count} is never reached: {interval} × ({count} + 1) = {}, and the kernel \
             gives up before",
            seconds(u64::from(alive.interval_s) * (u64::from(count) + 1))
        ));
    }
    let alone = timing
        .layers
        .iter()
        .filter(|layer| layer.drop.is_some())
        .count()
        == 1;
    if timing.drops_first == Some(LayerName::TcpKeepalive) && alone {
        warnings.push(
            "only TCPKeepAlive notices a silent peer: whoever can forge segments can answer its \
             probes; SSH's own messages are authenticated"
                .to_owned(),
        );
    }
    if timing.drops_first.is_none() && alive.socket_here {
        warnings.push(
            "nothing keeps an idle session alive or notices a silent peer from this side"
                .to_owned(),
        );
    }
    warnings
}
