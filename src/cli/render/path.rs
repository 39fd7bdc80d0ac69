//! `paths` and `check` for people.

use keepalivectl::model::check::Verdict;
use keepalivectl::model::duration::seconds;
use keepalivectl::model::path::OnExpiry;
use keepalivectl::ops::check::{CheckReport, PathCheck};
use keepalivectl::ops::paths::PathEntry;

use super::{Rows, Text, at_least, at_most, terminal_width};

/// All known paths, one line each.
pub fn list(paths: &[PathEntry]) -> Text {
    let wide = terminal_width().is_none_or(|width| width >= 140);
    let head = [
        "NAME",
        "IDLE TIMEOUT",
        "ON EXPIRY",
        "REFRESHED",
        "CAN BE SET",
        "WHAT",
    ];
    let mut rows = Rows::new(if wide { &head } else { &head[..4] });
    for path in paths {
        let mut row = vec![
            path.name,
            "",
            on_expiry(path.on_expiry),
            match path.refreshed_by_keepalive {
                true => "yes",
                false => "NO: counts bytes",
            },
        ];
        let timeout = seconds(path.idle_timeout_s.into());
        row[1] = &timeout;
        if wide {
            row.extend([path.configurable.unwrap_or("no"), path.title]);
        }
        rows.row(row);
    }
    rows.keep(0);
    let mut text = Text::default();
    text.table(&rows);
    text.ours(
        "\nON EXPIRY: what a later segment meets. REFRESHED: whether a keepalive probe counts.\n\
         Timeouts are the defaults; --json has the sources. `keepalivectl check --path NAME`\n\
         tells whether your settings survive, `keepalivectl plan --path NAME` which would.\n",
    );
    text
}

fn on_expiry(what: OnExpiry) -> &'static str {
    match what {
        OnExpiry::Forgets => "silence",
        OnExpiry::Resets => "RST",
        OnExpiry::Closes => "closes both",
        OnExpiry::NotPublished => "not published",
    }
}

/// The verdict, and each path.
pub fn check(report: &CheckReport) -> Text {
    let settings = report.settings;
    let mut text = Text::answer(answer(report));
    text.ours("\n");
    text.line(format_args!(
        "The longest silence with {settings}: {}; with one probe lost: {}.",
        at_most(report.silence_ms),
        at_most(report.silence_one_lost_ms)
    ));
    text.ours("\n");
    text.text(&checks(&report.paths));
    text.text(&next_steps(report));
    text.warnings(&report.warnings);
    text
}

/// Each path with its verdict.
pub(super) fn checks(paths: &[PathCheck]) -> Text {
    let mut rows = Rows::new(&["PATH", "IDLE TIMEOUT", "VERDICT", "MARGIN"]);
    for path in paths {
        rows.row([
            path.path.unwrap_or(path.title).to_owned(),
            seconds(path.idle_timeout_s.into()),
            verdict(path).to_owned(),
            margin(path),
        ]);
    }
    rows.keep(0);
    let mut text = Text::default();
    text.table(&rows);
    text.ours("\nMARGIN: what is left with one loss, late timers and a second for the way.\n");
    text
}

fn answer(report: &CheckReport) -> String {
    let settings = report.settings;
    if report.all_known {
        let survived = report.paths.iter().filter(|p| p.verdict == Verdict::Safe);
        let (safe, all) = (survived.count(), report.paths.len());
        return format!(
            "Idle connections with {settings} survive {safe} of these {all} paths safely."
        );
    }
    match report.verdict {
        Some(Verdict::Unsafe) => format!("Unsafe: idle connections with {settings} can be lost."),
        Some(Verdict::Fragile) => {
            format!("Fragile: with {settings}, one lost probe loses an idle connection.")
        }
        _ => format!("Safe: idle connections with {settings} survive, one lost probe included."),
    }
}

fn verdict(path: &PathCheck) -> &'static str {
    match path.verdict {
        Verdict::Safe => "safe",
        Verdict::Fragile if path.margin_ms.is_none() => "fragile: probes 1 forgives no loss",
        Verdict::Fragile => "fragile: one lost probe breaks it",
        Verdict::Unsafe if !path.refreshed_by_keepalive => "unsafe: it counts bytes, not probes",
        Verdict::Unsafe => "unsafe",
    }
}

fn margin(path: &PathCheck) -> String {
    let Some(ms) = path.margin_ms else {
        return "-".to_owned();
    };
    // What is missing is rounded up, and what is left is rounded down.
    match ms < 0 {
        true => format!("-{}", at_most(ms.unsigned_abs())),
        false => at_least(ms.unsigned_abs()),
    }
}

/// What else can be done about the paths that are not safe.
fn next_steps(report: &CheckReport) -> Text {
    let mut text = Text::default();
    if report.all_known || report.verdict == Some(Verdict::Safe) {
        return text;
    }
    let unsafe_paths = || report.paths.iter().filter(|p| p.verdict != Verdict::Safe);
    let refreshed: Vec<String> = unsafe_paths()
        .filter(|path| path.refreshed_by_keepalive)
        .map(|path| match path.path {
            Some(name) => format!(" --path {name}"),
            None => format!(" --idle-timeout {}", path.idle_timeout_s),
        })
        .collect();
    if !refreshed.is_empty() {
        text.line(format_args!("Try: keepalivectl plan{}", refreshed.concat()));
    }
    for path in unsafe_paths().filter(|path| !path.refreshed_by_keepalive) {
        text.line(format_args!(
            "{} needs bytes: raise its timeout, or let the program send something itself.",
            path.title
        ));
    }
    text
}
