//! `time-to-drop` for people.

use keepalivectl::model::duration::{milliseconds, seconds};
use keepalivectl::model::time_to_drop::{DecidedBy, Event, EventKind};
use keepalivectl::model::{Span, State};
use keepalivectl::ops::time_to_drop::TimeToDropReport;

use super::{Rows, Text, at_least, at_most, cost, dropped_after};

/// Events beyond which the middle of the timeline is left out.
const SHOWN_EVENTS: usize = 100;

/// One state's row, and its events.
struct Row<'a> {
    state: State,
    drop: Span,
    decided_by: String,
    timeline: Option<&'a [Event]>,
}

/// The answer, the states side by side, what it rests on, and the timelines if
/// asked for.
pub fn people(report: &TimeToDropReport) -> Text {
    let rows = rows(report);
    let mut text = match rows.first() {
        Some(first) => Text::answer(format_args!(
            "{} is dropped after {}.",
            connection(first.state),
            dropped_after(first.drop)
        )),
        None => Text::of("\n"),
    };
    text.ours("\n");
    let mut states = Rows::new(&["STATE", "DROPPED AFTER", "AT THE LATEST", "DECIDED BY"]);
    for row in &rows {
        states.row([
            row.state.word(),
            &at_least(row.drop.earliest_ms),
            &at_most(row.drop.latest_ms),
            &row.decided_by,
        ]);
    }
    text.table(&states);
    text.ours("\n");
    text.body(&rests_on(report));
    for row in &rows {
        if let Some(events) = row.timeline {
            text.ours("\n");
            text.text(&timeline(row.state, events));
        }
    }
    text.warnings(&report.warnings);
    text
}

fn connection(state: State) -> &'static str {
    match state {
        State::Idle => "An idle connection whose peer falls silent",
        State::InFlight => "A connection with data in flight to a silent peer",
        State::ZeroWindow => "A connection whose peer has just closed its window and falls silent",
    }
}

fn rows(report: &TimeToDropReport) -> Vec<Row<'_>> {
    let retries2 = report.limits.retries2();
    let mut rows = Vec::new();
    if let Some(idle) = &report.idle {
        let n = idle.end.probes_sent;
        rows.push(Row {
            state: State::Idle,
            drop: idle.end.drop,
            decided_by: match idle.end.decided_by {
                DecidedBy::UserTimeout => {
                    format!("time + {n} × intvl, the first past the user timeout")
                }
                // An answered probe has armed the timer for intvl.
                _ if report.settings.intvl() > report.settings.time() => {
                    format!("time + {n} × intvl; after a probe {} × intvl", n + 1)
                }
                _ => format!("time + {n} × intvl"),
            },
            timeline: idle.timeline.as_deref(),
        });
    }
    if let Some(in_flight) = &report.in_flight {
        let rto = milliseconds(in_flight.end.rto_ms);
        rows.push(Row {
            state: State::InFlight,
            drop: in_flight.end.drop,
            decided_by: match in_flight.end.decided_by {
                DecidedBy::UserTimeout => {
                    "the user timeout, from the first retransmission".to_owned()
                }
                _ => format!("tcp_retries2 {retries2}, from a timeout of {rto}"),
            },
            timeline: in_flight.timeline.as_deref(),
        });
    }
    if let Some(zero_window) = &report.zero_window {
        let long = at_most(zero_window.end.latest_if_long_closed_ms);
        rows.push(Row {
            state: State::ZeroWindow,
            drop: zero_window.end.drop,
            decided_by: match zero_window.end.decided_by {
                DecidedBy::UserTimeout => {
                    "the user timeout, from the first window probe".to_owned()
                }
                _ => format!("tcp_retries2 {retries2}; after {long} if long closed"),
            },
            timeline: zero_window.timeline.as_deref(),
        });
    }
    rows
}

/// What the answer was computed from.
fn rests_on(report: &TimeToDropReport) -> Rows {
    let settings = report.settings;
    let mut parts = Rows::new(&["", ""]);
    let mut add = |name: &str, what: String| {
        parts.row([name.to_owned(), what]);
    };
    let origin = match report.from_kernel {
        true => " (what is not given is in force)",
        false => "",
    };
    add(
        "settings",
        format!(
            "time {}, intvl {}, probes {}{origin}",
            seconds(settings.time().into()),
            seconds(settings.intvl().into()),
            settings.probes(),
        ),
    );
    if let Some(timeout) = report.user_timeout_ms {
        add("user timeout", milliseconds(timeout.milliseconds().into()));
    }
    if let Some(idle) = &report.idle {
        let refresh = seconds(idle.end.refresh_s.into());
        let latest = at_most(idle.end.refresh_latest_ms);
        add(
            "refresh",
            format!("{refresh}, {latest} at the latest: the silence of a healthy idle connection"),
        );
        add("cost", cost(&report.cost));
    }
    let late = match report.hz {
        Some(hz) => format!(
            "each late by up to a granule of the timer wheel, HZ={}",
            hz.get()
        ),
        None => "each late by up to 8/63".to_owned(),
    };
    add("timers", late);
    parts
}

fn timeline(state: State, events: &[Event]) -> Text {
    let mut rows = Rows::new(&[
        "AFTER",
        "AT THE LATEST",
        &format!("EVENT ({})", state.word()),
    ]);
    let left_out = events.len().saturating_sub(SHOWN_EVENTS);
    let middle = SHOWN_EVENTS / 2..SHOWN_EVENTS / 2 + left_out;
    for (n, event) in events.iter().enumerate() {
        if left_out == 0 || !middle.contains(&n) {
            let at = event.at;
            rows.row([
                at_least(at.earliest_ms),
                at_most(at.latest_ms),
                what(event.kind),
            ]);
        }
    }
    let mut text = Text::default();
    text.table(&rows);
    if left_out > 0 {
        text.line(format_args!(
            "({left_out} in between are left out; --json has them)"
        ));
    }
    text
}

fn what(kind: EventKind) -> String {
    match kind {
        EventKind::Probe { number } => format!("probe {number}"),
        EventKind::LossProbe => "loss probe".to_owned(),
        EventKind::Retransmission { number } => format!("retransmission {number}"),
        EventKind::WindowProbe { number } => format!("window probe {number}"),
        EventKind::Drop => "dropped: ETIMEDOUT".to_owned(),
    }
}
