//! `ssh plan`: an interval and a count for a purpose.

use std::time::Duration;

use serde::Serialize;

use super::conditions_here;
use crate::chain::chain;
use crate::model::check::TRAVEL_MS;
use crate::model::duration::seconds;
use crate::model::path::Path;
use crate::model::span::as_seconds_if_any;
use crate::model::ssh::plan::{COUNTS, INTERVALS_S, Planned, Wish, plan as interval_and_count};
use crate::model::ssh::resend::resent_ms;
use crate::model::ssh::{Alive, Habits, LayerName, Side, Timing};
use crate::ops::{Result, require_machine};
use crate::root::Root;
use crate::ssh::program::{Program, Programs};
use crate::ssh::{self, client, server};

/// What sessions must go through and do.
#[derive(Debug, Clone, Default)]
pub struct Purpose {
    /// Paths; the tightest counts.
    pub paths: Vec<&'static Path>,
    /// An idle timeout in seconds.
    pub idle_timeout_s: Option<u32>,
    /// Seconds within which an idle session to a silent peer must end.
    pub detect_within_s: Option<u32>,
    /// The round-trip time, for the message that is lost and sent again.
    pub rtt: Option<Duration>,
}

/// The interval and the count, and what they do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SshPlanReport {
    /// What was wished for: the tightest idle timeout, and the time to notice.
    #[serde(flatten)]
    pub wish: Wish,
    /// The paths.
    pub paths: Vec<&'static str>,
    /// The answer.
    #[serde(flatten)]
    pub planned: Planned,
    /// Whether both are in the recommended ranges.
    pub recommended: bool,
    /// The longest silence with one message lost and its way.
    #[serde(rename = "needs_s", serialize_with = "as_seconds_if_any")]
    pub needs_ms: Option<u64>,
    /// When each layer gives up on a silent peer, on the client's side and with the
    /// kernel's settings in force here.
    #[serde(flatten)]
    pub timing: Timing,
    /// The commands that set it.
    pub commands: Vec<String>,
    /// The options for a single session.
    pub options: Vec<String>,
    /// What is worth knowing.
    pub warnings: Vec<String>,
}

/// Finds an interval and a count.
///
/// # Errors
/// None serve, with what comes nearest.
pub fn plan(root: &Root, programs: &Programs, purpose: &Purpose) -> Result<SshPlanReport> {
    require_machine(root, "ssh plan")?;
    let (settings, conditions) = conditions_here(purpose.rtt)?;
    let tightest = purpose.paths.iter().map(|path| path.idle_timeout_s);
    let wish = Wish {
        idle_timeout_s: tightest.chain(purpose.idle_timeout_s).min(),
        detect_within_s: purpose.detect_within_s,
        resend_ms: resent_ms(&conditions),
    };
    let planned = interval_and_count(&wish, Habits::CLIENT)?;
    let alive = Alive {
        side: Side::Client,
        interval_s: planned.interval_s,
        count_max: Some(planned.count_max),
        habits: Habits::CLIENT,
        tcp_keepalive: true,
        socket_here: true,
    };
    let timing = Timing::new(alive, settings, &conditions);
    let mut warnings = out_of_range(planned);
    let for_server = match for_this_server(programs.sshd(), &wish, planned) {
        Ok(for_server) => for_server,
        Err(e) => {
            warnings.push(format!(
                "the sshd of this machine is not known: {}",
                chain(&e)
            ));
            Some(planned)
        }
    };
    if timing.drops_first != Some(LayerName::Alive) {
        warnings
            .push("the kernel's settings in force here end a session before SSH does".to_owned());
    }
    let mut commands = vec![format!(
        "keepalivectl ssh set client {}",
        arguments(planned)
    )];
    match for_server {
        Some(server) => commands.push(format!(
            "sudo keepalivectl ssh set server {} --reload",
            arguments(server)
        )),
        None => warnings.push("the sshd of this machine cannot do it from its side".to_owned()),
    }
    if for_server.is_some_and(|server| server != planned) {
        warnings.push(
            "the sshd of this machine (OpenSSH 9.2 to 9.4) usually waits twice the interval, so it \
             gets values of its own"
                .to_owned(),
        );
    }
    // PuTTY notices nothing itself.
    if wish.detect_within_s.is_none() {
        commands.push(format!(
            "keepalivectl ssh set putty SESSION --interval {}",
            planned.interval_s
        ));
    }
    let silence = alive.messages(wish.resend_ms);
    Ok(SshPlanReport {
        wish,
        paths: purpose.paths.iter().map(|path| path.name).collect(),
        planned,
        recommended: planned.is_recommended(),
        needs_ms: silence.one_lost_ms.map(|ms| ms + TRAVEL_MS),
        warnings,
        timing,
        commands,
        options: client::options(planned.interval_s, planned.count_max),
    })
}

fn arguments(planned: Planned) -> String {
    format!(
        "--interval {} --count {}",
        planned.interval_s, planned.count_max
    )
}

/// The same for the server of this machine, which may have habits of its own; none if
/// it cannot do it. Without a server here there is no telling.
fn for_this_server(
    sshd: Program<'_>,
    wish: &Wish,
    planned: Planned,
) -> std::result::Result<Option<Planned>, ssh::Error> {
    match server::habits(sshd) {
        Ok(habits) if habits.waits_twice => Ok(interval_and_count(wish, habits).ok()),
        Ok(_) | Err(ssh::Error::NoProgram { .. }) => Ok(Some(planned)),
        Err(e) => Err(e),
    }
}

/// What is said of an interval or a count below the recommended ones.
pub(super) fn out_of_range(planned: Planned) -> Vec<String> {
    let (interval_s, count) = (planned.interval_s, planned.count_max);
    let interval = (interval_s < *INTERVALS_S.start()).then(|| {
        format!(
            "an interval of {} is shorter than the recommended {} to {} s: more messages, and a \
             short outage ends sessions",
            seconds(interval_s.into()),
            INTERVALS_S.start(),
            INTERVALS_S.end()
        )
    });
    let count = (count < *COUNTS.start()).then(|| {
        format!(
            "a count of {count} is less than the recommended {} to {}: a short outage ends sessions",
            COUNTS.start(),
            COUNTS.end()
        )
    });
    interval.into_iter().chain(count).collect()
}
