//! `plan` for people.

use keepalivectl::model::duration::seconds;
use keepalivectl::model::path;
use keepalivectl::ops::plan::PlanReport;

use super::{about, body, cost, headline, lines, table};

/// The settings, what they do, and the commands that take them.
pub fn people(report: &PlanReport) -> String {
    let settings = report.settings;
    let mut parts = table(&["", ""]);
    let mut add = |name: &str, what: String| {
        parts.add_row([name.to_owned(), what]);
    };
    if let Some(timeout) = report.wish.idle_timeout_s {
        let lost = match report.wish.lost_probes {
            1 => "1 probe".to_owned(),
            n => format!("{n} probes"),
        };
        let silence = about(report.silence_ms);
        let timeout = seconds(timeout.into());
        add(
            "silence",
            format!("{silence} at the most with {lost} lost, of {timeout}"),
        );
    }
    let within = match report.wish.detect_within_s {
        Some(within) => format!(", of {}", seconds(within.into())),
        None => String::new(),
    };
    add(
        "dead peer",
        format!(
            "an idle connection is dropped after {}, {} at the latest{within}",
            about(report.idle.drop.earliest_ms),
            about(report.idle.drop.latest_ms)
        ),
    );
    add("cost", cost(&report.cost));
    let mut text = headline(format!(
        "time {}, intvl {}, probes {}",
        settings.time(),
        settings.intvl(),
        settings.probes()
    ));
    text.push_str(&format!("\n\n{}\n", body(&lines(&parts))));
    text.push_str(&format!("Now: sudo {}\n", report.command));
    text.push_str(&format!("Keep it: {}\n", keep(report)));
    text.push_str(&ready_made(report).unwrap_or_default());
    text.push_str(
        "With data in flight, retransmission decides: see `keepalivectl time-to-drop --state \
         in-flight`.\n",
    );
    text
}

/// The built-in profile for the only path that was named.
fn ready_made(report: &PlanReport) -> Option<String> {
    let [name] = report.paths[..] else {
        return None;
    };
    let settings = path::find(name)?.settings()?;
    Some(format!(
        "Ready-made: the profile {name} ({settings}) forgives two lost probes.\n"
    ))
}

/// The same wish for `profile create`.
fn keep(report: &PlanReport) -> String {
    let mut words = vec!["sudo keepalivectl profile create NAME".to_owned()];
    let flag = |name, seconds: Option<u32>| seconds.map(|s| format!("--{name} {s}"));
    words.extend(flag("idle-timeout", report.wish.idle_timeout_s));
    words.extend(flag("detect-within", report.wish.detect_within_s));
    if report.wish.lost_probes != 1 {
        words.push(format!("--lost-probes {}", report.wish.lost_probes));
    }
    format!("{} && sudo keepalivectl enable NAME", words.join(" "))
}
