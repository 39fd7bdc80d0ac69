//! `netns` for people.

use comfy_table::ColumnConstraint;
use keepalivectl::ops::netns::{NetnsEntry, NetnsReport};

use super::{headline, lines, table};

/// How many differ, and each with what is in force in it.
pub fn list(report: &NetnsReport) -> String {
    let mut text = headline(answer(report));
    text.push_str("\n\n");
    let mut rows = table(&["NETNS", "IN FORCE", "ESTABLISHED", "PROCESSES", "WHO"]);
    for entry in &report.namespaces {
        rows.add_row([
            name(entry),
            in_force(entry),
            entry.established.map_or("-".to_owned(), |n| n.to_string()),
            entry.processes.to_string(),
            who(entry),
        ]);
    }
    if let Some(names) = rows.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
    text.push_str(&lines(&rows));
    if report.unseen_processes > 0 {
        text.push_str(&format!(
            "\n{} processes of other users may be in more namespaces: run it as root to see them.\n",
            report.unseen_processes
        ));
    }
    text.push_str(
        "\nNETNS is what --netns takes: `keepalivectl apply NAME --netns NETNS`. * differs from the \
         host.\n",
    );
    text
}

fn answer(report: &NetnsReport) -> String {
    let count = |n: usize, one: &str, many: &str| match n {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    };
    let all = count(
        report.namespaces.len(),
        "network namespace",
        "network namespaces",
    );
    let Some(host) = report.host else {
        return format!("{all}; what the host has in force cannot be seen.");
    };
    let differing = report
        .namespaces
        .iter()
        .filter(|e| !e.differing.is_empty())
        .count();
    match differing {
        0 => format!("{all}, each with the host's {host}."),
        n => format!(
            "{all}, of which {} from the host's {host}.",
            count(n, "differs", "differ")
        ),
    }
}

/// What `--netns` takes.
fn name(entry: &NetnsEntry) -> String {
    match (entry.names.first(), entry.pid) {
        (Some(name), _) => name.clone(),
        (None, Some(pid)) => format!("pid:{pid}"),
        (None, None) => "-".to_owned(),
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

fn who(entry: &NetnsEntry) -> String {
    let mut who: Vec<String> = Vec::new();
    who.extend(entry.host.then(|| "the host".to_owned()));
    who.extend((entry.own && !entry.host).then(|| "this shell".to_owned()));
    who.extend(entry.programs.iter().cloned());
    if who.is_empty() {
        return "nobody".to_owned();
    }
    who.join(", ")
}
