//! `time-to-drop` for people.

use std::fmt::Write;

use keepalivectl::model::duration::seconds;
use keepalivectl::model::time_to_drop::{Event, EventKind};
use keepalivectl::ops::time_to_drop::TimeToDropReport;

use super::{about, dropped_after, headline, lines, table, warnings};

/// Events beyond which the middle of the timeline is left out.
const SHOWN_EVENTS: usize = 100;

/// The answer, the parts it is made of, and the timeline if asked for.
pub fn people(report: &TimeToDropReport) -> String {
    let idle = &report.idle;
    let mut text = headline(format!(
        "An idle connection whose peer falls silent is dropped after {}.",
        dropped_after(idle)
    ));
    text.push_str("\n\n");
    let origin = match report.from_kernel {
        true => "(not all given: the rest is what is in force)",
        false => "",
    };
    let settings = report.settings;
    let mut parts = table(&["", "", ""]);
    parts.add_row([
        "settings",
        &format!(
            "time {}, intvl {}, probes {}",
            seconds(settings.time().into()),
            seconds(settings.intvl().into()),
            settings.probes()
        ),
        origin,
    ]);
    if let Some(timeout) = report.user_timeout_ms {
        let timeout = about(timeout.milliseconds().into());
        parts.add_row(["user timeout", &timeout, "probes does not count"]);
    }
    parts.add_row(["first probe", &seconds(idle.first_probe_s.into()), "time"]);
    parts.add_row([
        "refresh",
        &seconds(idle.refresh_s.into()),
        "the longest silence of a healthy connection",
    ]);
    let sum = format!("time + {} × intvl", idle.probes_sent);
    parts.add_row(["probes sent", &idle.probes_sent.to_string(), ""]);
    parts.add_row(["drop", &seconds(idle.drop_s), &sum]);
    let bound = match report.hz {
        Some(hz) => format!(
            "each timer late by a granule of the timer wheel, HZ={}",
            hz.get()
        ),
        None => "each timer late by 8/63".to_owned(),
    };
    parts.add_row(["at the latest", &about(idle.drop_latest_ms), &bound]);
    text.push_str(body(&lines(&parts)));
    if let Some(events) = &report.timeline {
        text.push('\n');
        text.push_str(&timeline(events));
    }
    text.push_str(&warnings(&report.warnings));
    text
}

/// A table without its empty header.
fn body(table: &str) -> &str {
    table.split_once('\n').map_or("", |(_, rest)| rest)
}

fn timeline(events: &[Event]) -> String {
    let mut rows = table(&["AFTER", "AT THE LATEST", "EVENT"]);
    let left_out = events.len().saturating_sub(SHOWN_EVENTS);
    let middle = SHOWN_EVENTS / 2..SHOWN_EVENTS / 2 + left_out;
    let mut add = |event: &Event| {
        let mut what = String::new();
        // Writing to a String does not fail.
        let _ = match event.kind {
            EventKind::Probe { number } => write!(what, "probe {number}"),
            EventKind::Drop => write!(what, "dropped: ETIMEDOUT"),
        };
        rows.add_row([seconds(event.at_s), about(event.latest_ms), what]);
    };
    events[..middle.start.min(events.len())]
        .iter()
        .for_each(&mut add);
    events[middle.end.min(events.len())..]
        .iter()
        .for_each(&mut add);
    let mut text = lines(&rows);
    if left_out > 0 {
        let _ = writeln!(
            text,
            "({left_out} probes in between are left out; --json has them)"
        );
    }
    text
}
