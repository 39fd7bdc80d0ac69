//! `paths` and `check` for people.

use comfy_table::ColumnConstraint;
use keepalivectl::model::check::Verdict;
use keepalivectl::model::duration::{milliseconds, seconds};
use keepalivectl::model::path::OnExpiry;
use keepalivectl::ops::check::{CheckReport, PathCheck};
use keepalivectl::ops::paths::PathEntry;

use super::{at_most, headline, lines, table, terminal_width, warnings};

/// All known paths, one line each.
pub fn list(paths: &[PathEntry]) -> String {
    let wide = terminal_width().is_none_or(|width| width >= 140);
    let head = [
        "NAME",
        "IDLE TIMEOUT",
        "ON EXPIRY",
        "REFRESHED",
        "CAN BE SET",
        "WHAT",
    ];
    let mut rows = table(if wide { &head } else { &head[..4] });
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
        rows.add_row(row);
    }
    if let Some(names) = rows.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
    format!(
        "{}\nON EXPIRY: what a later segment meets. REFRESHED: whether a keepalive probe counts.\n\
         Timeouts are the defaults; --json has the sources. `keepalivectl check --path NAME`\n\
         tells whether your settings survive, `keepalivectl plan --path NAME` which would.\n",
        lines(&rows)
    )
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
pub fn check(report: &CheckReport) -> String {
    let settings = report.settings;
    let mut text = headline(answer(report));
    text.push_str(&format!(
        "\n\nThe longest silence with {settings}: {}; with one probe lost: {}.\n\n",
        at_most(report.silence_ms),
        at_most(report.silence_one_lost_ms)
    ));
    let mut rows = table(&["PATH", "IDLE TIMEOUT", "VERDICT", "MARGIN"]);
    for path in &report.paths {
        rows.add_row([
            path.path.unwrap_or(path.title).to_owned(),
            seconds(path.idle_timeout_s.into()),
            verdict(path).to_owned(),
            margin(path),
        ]);
    }
    if let Some(names) = rows.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
    text.push_str(&lines(&rows));
    text.push_str(
        "\nMARGIN: what is left of the idle timeout with one probe lost and late timers.\n",
    );
    text.push_str(&warnings(&report.warnings));
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
        Verdict::Fragile => "fragile: one lost probe breaks it",
        Verdict::Unsafe if !path.refreshed_by_keepalive => "unsafe: it counts bytes, not probes",
        Verdict::Unsafe => "unsafe",
    }
}

fn margin(path: &PathCheck) -> String {
    let Some(ms) = path.margin_ms else {
        return "-".to_owned();
    };
    let size = match ms.unsigned_abs() {
        short if short < 10_000 => milliseconds(short),
        long => seconds(long / 1000),
    };
    let sign = if ms < 0 { "-" } else { "" };
    format!("{sign}{size}")
}
