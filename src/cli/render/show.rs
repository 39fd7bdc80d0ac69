//! `show` for people.

use keepalivectl::boot::next::{By, NextValue};
use keepalivectl::kernel::counters::Counters;
use keepalivectl::model::Setting;
use keepalivectl::model::duration::seconds;
use keepalivectl::ops::show::{Rate, ShowReport};

use super::{Rows, Text, at_least, dropped_after};

/// What is in force, what the next boot sets, and whether the two agree.
pub fn people(report: &ShowReport) -> Text {
    let mut text = Text::answer(answer(report));
    text.ours("\n");
    text.table(&settings(report));
    text.ours("\n");
    if let Some(drop) = &report.time_to_drop {
        let refresh = seconds(drop.idle.refresh_s.into());
        text.line(format_args!(
            "Refresh: every {refresh} while the peer answers"
        ));
        text.line(format_args!(
            "Busy:    with data in flight it is dropped after {}, with a closed window after {}",
            at_least(drop.in_flight.drop.earliest_ms),
            at_least(drop.zero_window.drop.earliest_ms)
        ));
        text.ours(
            "Who:     sockets with SO_KEEPALIVE on and no values of their own, IPv4 and IPv6\n",
        );
    }
    if let Some(counts) = &report.counters {
        text.line(format_args!(
            "{} in this network namespace",
            counted(counts)
        ));
    }
    if let Some(per_second) = &report.rate {
        text.line(rate(per_second));
    }
    text.line(format_args!("Enabled: {}", enabled(report)));
    if let Some(drift) = drift(report) {
        text.line(format_args!("Drift:   {drift}"));
    }
    text.warnings(&report.warnings);
    text.warnings(&report.next_boot.overrides);
    text.warnings(&report.next_boot.notes);
    text
}

/// What the kernel has counted.
pub(super) fn counted(counts: &Counters) -> String {
    format!(
        "Counted: {} probes sent, {} connections dropped on timeout",
        counts.probes_sent, counts.dropped_on_timeout
    )
}

/// The same in a second.
pub(super) fn rate(rate: &Rate) -> String {
    format!(
        "Rate:    {:.2} probes and {:.2} drops a second, over {:.0} s",
        rate.probes_sent_per_s, rate.dropped_on_timeout_per_s, rate.interval_s
    )
}

fn answer(report: &ShowReport) -> String {
    match (&report.time_to_drop, &report.harm) {
        (Some(drop), _) => format!(
            "An idle connection with keepalive on is probed after {} and, its peer silent, dropped \
             after {}.",
            seconds(drop.idle.first_probe_s.into()),
            dropped_after(drop.idle.drop)
        ),
        (None, Some(harm)) => format!("What is in force is dangerous: {harm}."),
        (None, None) => "The tree of another machine: what its next boot will set.".to_owned(),
    }
}

fn settings(report: &ShowReport) -> Rows {
    let mut rows = match report.settings {
        Some(_) => Rows::new(&["SETTING", "IN FORCE", "NEXT BOOT", "DECIDED BY"]),
        None => Rows::new(&["SETTING", "NEXT BOOT", "DECIDED BY"]),
    };
    for setting in Setting::ALL {
        let next = report.next_boot.get(setting);
        let mut row = vec![setting.to_string()];
        row.extend(report.settings.map(|s| value(setting, s.get(setting))));
        row.push(value(setting, next.value));
        row.push(decided(next));
        rows.row(row);
    }
    rows
}

fn value(setting: Setting, value: i64) -> String {
    match (setting, u64::try_from(value)) {
        (Setting::Time | Setting::Intvl, Ok(s)) if s >= 60 => format!("{value} ({})", seconds(s)),
        _ => value.to_string(),
    }
}

fn decided(next: &NextValue) -> String {
    let place = match (&next.source, next.line) {
        (Some(file), Some(line)) => format!("{}:{line}", file.display()),
        _ => return "the kernel: no file says otherwise".to_owned(),
    };
    match next.by {
        By::Unit => format!("{place}, by keepalivectl.service"),
        By::Reader(reader) => format!("{place}, by {reader}"),
        By::Kernel => format!("{place} leaves the kernel's own"),
    }
}

fn enabled(report: &ShowReport) -> String {
    let Some(enabled) = &report.enabled else {
        return match report.problems.is_empty() {
            true => "no profile; `keepalivectl enable NAME` keeps one for boot".to_owned(),
            false => "nothing that can be used".to_owned(),
        };
    };
    let name = match &enabled.profile {
        Some(name) => name.as_str(),
        None => "a profile without a name",
    };
    let unit = match (report.unit.systemd, report.unit.enabled) {
        (true, true) => "",
        (true, false) => ", without a unit that is known to run",
        (false, _) => ", without a unit, for there is no systemd",
    };
    format!(
        "{name} ({}) in {}{unit}",
        enabled.settings,
        enabled.file.display()
    )
}

fn drift(report: &ShowReport) -> Option<String> {
    report.settings?;
    if report.elsewhere {
        return None;
    }
    if !report.drift {
        return Some("none, the next boot sets what is in force".to_owned());
    }
    let words: Vec<&str> = report.drifting.iter().map(|s| s.word()).collect();
    let remedy = match report.enabled.as_ref().and_then(|e| e.profile.as_ref()) {
        Some(name) => format!("`keepalivectl boot` puts {name} in force now"),
        None => "`keepalivectl enable NAME` keeps a profile for boot".to_owned(),
    };
    Some(format!(
        "the next boot changes {}; {remedy}",
        words.join(", ")
    ))
}
