//! `netns` for people.

use keepalivectl::ops::apply_all::ApplyAllReport;
use keepalivectl::ops::netns::{NetnsEntry, NetnsReport};
use keepalivectl::text::shell::quote;

use super::{Rows, Text};

/// How many differ, and each with what is in force in it.
pub fn list(report: &NetnsReport) -> Text {
    let mut text = Text::answer(answer(report));
    text.ours("\n");
    let mut rows = Rows::new(&[
        "NETNS",
        "",
        "IN FORCE",
        "ESTABLISHED",
        "PROCESSES",
        "PROGRAMS",
    ]);
    for entry in &report.namespaces {
        rows.row([
            // For copying: it is one word for a shell.
            quote(&entry.netns),
            whose(entry).to_owned(),
            in_force(entry),
            entry.established.map_or("-".to_owned(), |n| n.to_string()),
            entry.processes.to_string(),
            entry.programs.join(", "),
        ]);
    }
    rows.keep(0);
    text.table(&rows);
    text.text(&unseen(report.unseen_processes));
    text.ours(
        "\nNETNS is what --netns takes: `keepalivectl apply NAME --netns NETNS`. * differs.\n",
    );
    text
}

fn answer(report: &NetnsReport) -> String {
    let all = namespaces(report.namespaces.len());
    let differing = report.namespaces.iter().filter(|e| !e.differing.is_empty());
    let differing = match differing.count() {
        0 => "none differs".to_owned(),
        1 => "1 differs".to_owned(),
        n => format!("{n} differ"),
    };
    let closed = report.namespaces.iter().filter(|e| e.settings.is_none());
    let closed = match closed.count() {
        0 => String::new(),
        n => format!(" {n} could not be looked into."),
    };
    match report.host {
        Some(host) => format!("{all}; {differing} from the host's {host}.{closed}"),
        None => format!("{all}; {differing} from your own; the host's cannot be seen.{closed}"),
    }
}

fn in_force(entry: &NetnsEntry) -> String {
    let mark = if entry.differing.is_empty() { "" } else { " *" };
    match (&entry.settings, &entry.error) {
        (Some(settings), _) => format!("{settings}{mark}"),
        (None, Some(error)) => error.clone(),
        (None, None) => "-".to_owned(),
    }
}

fn whose(entry: &NetnsEntry) -> &'static str {
    match (entry.host, entry.own) {
        (true, _) => "host",
        (false, true) => "own",
        (false, false) => "",
    }
}

/// What `apply --all-netns` did, or would do.
pub fn applied(report: &ApplyAllReport) -> Text {
    let would = if report.dry_run { "would be " } else { "" };
    let mut text = Text::answer(format_args!(
        "{} {would}changed, {} so already, {} gone meanwhile, {} failed.",
        namespaces(report.changed),
        report.unchanged,
        report.gone,
        report.failed
    ));
    text.ours("\n");
    let mut rows = Rows::new(&["NETNS", "BEFORE", "AFTER"]);
    for outcome in &report.namespaces {
        let (before, after) = match (&outcome.report, &outcome.error) {
            (Some(done), _) if !done.changed => continue,
            (Some(done), _) => (done.before.to_string(), done.after.to_string()),
            (None, error) => ("-".to_owned(), error.clone().unwrap_or_default()),
        };
        rows.row([quote(&outcome.netns), before, after]);
    }
    if !rows.is_empty() {
        text.table(&rows);
    }
    text.text(&unseen(report.unseen_processes));
    if let Some(rearmed) = &report.rearmed {
        text.ours("\n");
        text.text(&super::sockets::rearmed(rearmed));
    }
    text
}

fn namespaces(count: usize) -> String {
    match count {
        1 => "1 network namespace".to_owned(),
        n => format!("{n} network namespaces"),
    }
}

fn unseen(processes: usize) -> Text {
    let mut text = Text::default();
    if processes > 0 {
        text.line(format_args!(
            "{processes} processes may not be looked at, and may be in more namespaces: run it as root \
             to see them."
        ));
    }
    text.apart()
}
