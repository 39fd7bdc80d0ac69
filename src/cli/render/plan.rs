//! `plan` for people.

use keepalivectl::model::duration::seconds;
use keepalivectl::model::plan::probes;
use keepalivectl::ops::plan::PlanReport;

use super::{Rows, Text, at_least, at_most, cost};

/// The settings, what they do, and the commands that take them.
pub fn people(report: &PlanReport) -> Text {
    let settings = report.settings;
    let mut text = Text::answer(format_args!(
        "time {} s, intvl {} s, probes {}",
        settings.time(),
        settings.intvl(),
        settings.probes()
    ));
    text.ours("\n");
    text.body(&worth(report));
    text.ours("\n");
    text.line(format_args!("Now: sudo {}", report.command));
    text.line(format_args!(
        "Keep it: sudo {} && sudo keepalivectl enable NAME",
        report.profile_command
    ));
    for ready_made in &report.ready_made {
        text.line(format_args!(
            "Ready-made: the profile {} ({}) does it too.",
            ready_made.profile, ready_made.settings
        ));
    }
    text.ours(
        "These settings count for sockets with SO_KEEPALIVE on and no values of their own.\nWith \
         data in flight, only tcp_retries2 or the socket's TCP_USER_TIMEOUT drops sooner.\n",
    );
    text.warnings(&report.warnings);
    text
}

/// What the settings do, on any kernel.
fn worth(report: &PlanReport) -> Rows {
    let mut parts = Rows::new(&["", ""]);
    let mut add = |name: &str, what: String| {
        parts.row([name.to_owned(), what]);
    };
    if let Some(timeout) = report.wish.idle_timeout_s {
        let lost = probes(report.wish.lost_probes);
        let silence = at_most(report.silence_ms);
        let timeout = seconds(timeout.into());
        let path = report
            .tightest
            .map_or(String::new(), |path| format!(" ({path})"));
        add(
            "silence",
            format!("{silence} at the most with {lost} lost, of {timeout}{path}, on any kernel"),
        );
    }
    let within = match report.wish.detect_within_s {
        Some(within) => format!(", of {}", seconds(within.into())),
        None => String::new(),
    };
    add(
        "dead peer",
        format!(
            "dropped after {}, {} at the latest{within}, on any kernel",
            at_least(report.idle.drop.earliest_ms),
            at_most(report.idle.drop.latest_ms)
        ),
    );
    add(
        "in flight",
        format!(
            "with unacknowledged data after {}, {} at the latest, on this kernel",
            at_least(report.in_flight.drop.earliest_ms),
            at_most(report.in_flight.drop.latest_ms)
        ),
    );
    add("cost", cost(&report.cost));
    parts
}
