//! `plan` for people.

use keepalivectl::model::duration::seconds;
use keepalivectl::model::plan::probes;
use keepalivectl::ops::plan::PlanReport;

use super::{at_least, at_most, body, cost, headline, lines, table, warnings};

/// The settings, what they do, and the commands that take them.
pub fn people(report: &PlanReport) -> String {
    let settings = report.settings;
    let mut text = headline(format!(
        "time {} s, intvl {} s, probes {}",
        settings.time(),
        settings.intvl(),
        settings.probes()
    ));
    text.push_str(&format!("\n\n{}\n", worth(report)));
    text.push_str(&format!("Now: sudo {}\n", report.command));
    text.push_str(&format!(
        "Keep it: sudo {} && sudo keepalivectl enable NAME\n",
        report.profile_command
    ));
    for ready_made in &report.ready_made {
        text.push_str(&format!(
            "Ready-made: the profile {} ({}) does it too.\n",
            ready_made.profile, ready_made.settings
        ));
    }
    text.push_str(
        "These settings count for sockets with SO_KEEPALIVE on and no values of their own.\nWith \
         data in flight, only tcp_retries2 or the socket's TCP_USER_TIMEOUT drops sooner.\n",
    );
    text.push_str(&warnings(&report.warnings));
    text
}

/// What the settings do, on any kernel.
fn worth(report: &PlanReport) -> String {
    let mut parts = table(&["", ""]);
    let mut add = |name: &str, what: String| {
        parts.add_row([name.to_owned(), what]);
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
    body(&lines(&parts)).to_owned()
}
