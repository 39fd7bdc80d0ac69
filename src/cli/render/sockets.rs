//! `sockets` for people.

use std::fmt::Write;

use keepalivectl::kernel::sock_diag::TcpState;
use keepalivectl::model::Values;
use keepalivectl::model::duration::{milliseconds, seconds};
use keepalivectl::ops::sockets::{ChangeReport, Counts, SocketReport, SummaryReport, Unseen};
use keepalivectl::text::shell::quote;

use nix::unistd::geteuid;

use super::{Grid, Rows, Text, at_least};

/// All of them: what they add up to, then each.
pub fn list(sockets: &[SocketReport], unseen: &Unseen) -> Text {
    let mut sorted: Vec<&SocketReport> = sockets.iter().collect();
    // Those that nobody is known to hold come last.
    sorted.sort_unstable_by(|a, b| {
        let key = |s: &SocketReport| (s.pid, s.remote, s.local);
        let held = b.process.is_some().cmp(&a.process.is_some());
        held.then_with(|| a.process.cmp(&b.process))
            .then_with(|| key(a).cmp(&key(b)))
    });
    let mut counts = Counts::default();
    sockets.iter().for_each(|socket| counts.add(socket));
    let mut text = Text::answer(format_args!("{}.", counted(&counts, unseen)));
    if !sockets.is_empty() {
        text.ours("\n");
        text.text(&rows(&sorted));
    }
    hints(&mut text, &counts);
    text.warnings(notes(unseen));
    text
}

/// How many each process has.
pub fn summary(report: &SummaryReport) -> Text {
    let mut text = Text::answer(format_args!("{}.", counted(&report.all, &report.unseen)));
    if !report.processes.is_empty() {
        let mut rows = Rows::new(&["PROCESS", "PID", "SOCKETS", "ON", "OFF", "UNKNOWN", "STALE"]);
        for process in &report.processes {
            let Counts {
                sockets,
                on,
                off,
                unknown,
                stale,
                ..
            } = process.counts;
            let name = process.process.as_deref().unwrap_or("-");
            let pid = process.pid.map_or("-".to_owned(), |pid| pid.to_string());
            let mut row = vec![name.to_owned(), pid];
            row.extend([sockets, on, off, unknown, stale].map(|count| count.to_string()));
            rows.row(row);
        }
        text.ours("\n");
        text.table(&rows);
    }
    if let Some(counted) = &report.counters {
        let where_to = "in the network namespaces looked into";
        text.ours("\n");
        text.line(format_args!("{} {where_to}", super::show::counted(counted)));
    }
    if let Some(rate) = &report.rate {
        text.line(super::show::rate(rate));
    }
    hints(&mut text, &report.all);
    text.warnings(notes(&report.unseen));
    text
}

/// `12 sockets: 9 with keepalive on, 3 off, 2 armed under older settings`.
fn counted(counts: &Counts, unseen: &Unseen) -> String {
    if counts.sockets == 0 {
        return match unseen.namespaces.iter().all(|namespace| namespace.gone) {
            true => "No such socket".to_owned(),
            // None was found, which says nothing of those that were not listed.
            false => "Not all sockets could be listed; of the others, none is such".to_owned(),
        };
    }
    let mut text = format!(
        "{}: {} with keepalive on, {} off",
        number(counts.sockets, "socket"),
        counts.on,
        counts.off
    );
    if counts.unknown > 0 {
        let _ = write!(text, ", {} unknown", counts.unknown);
    }
    if counts.stale > 0 {
        let _ = write!(text, "; {} armed under older settings", counts.stale);
    }
    if counts.maybe_stale > 0 {
        let _ = write!(
            text,
            "; {} maybe armed under older ones",
            counts.maybe_stale
        );
    }
    text
}

fn number(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

fn rows(sockets: &[&SocketReport]) -> Text {
    let wide = grid(sockets, false);
    if wide.fits() {
        return wide.straight();
    }
    // An address that is broken can be neither found nor copied.
    grid(sockets, true).broken(ENDS)
}

/// Both ends, one below the other.
const ENDS: &str = "LOCAL, REMOTE";

fn grid(sockets: &[&SocketReport], stacked: bool) -> Grid {
    let elsewhere = sockets.iter().any(|socket| socket.netns.is_some());
    let states = sockets
        .iter()
        .any(|socket| socket.state != TcpState::Established);
    let columns = [
        ("NETNS", elsewhere),
        ("PROCESS", true),
        (ENDS, stacked),
        ("LOCAL", !stacked),
        ("REMOTE", !stacked),
        ("STATE", states),
        ("KEEPALIVE", true),
        ("TIMER", true),
        ("DROPPED IN", true),
    ];
    let shown = columns.into_iter().filter(|(_, shown)| *shown);
    let mut rows = Grid::new(shown.map(|(title, _)| title).collect());
    for socket in sockets {
        if elsewhere {
            rows.cell(quote(socket.netns.as_deref().unwrap_or("own")));
        }
        rows.cell(holder(socket));
        if stacked {
            rows.stacked(socket.local, socket.remote);
        } else {
            rows.cell(socket.local);
            rows.cell(socket.remote);
        }
        if states {
            rows.cell(socket.state.word());
        }
        rows.cell(keepalive(socket));
        rows.cell(timer(socket));
        rows.cell(drop(socket));
    }
    rows
}

fn holder(socket: &SocketReport) -> String {
    match (&socket.process, socket.pid) {
        (Some(process), Some(pid)) => format!("{process}/{pid}"),
        _ => "-".to_owned(),
    }
}

fn keepalive(socket: &SocketReport) -> String {
    let values = match (socket.time_s, socket.intvl_s, socket.probes) {
        (Some(time), Some(intvl), Some(probes)) => Some(Values {
            time,
            intvl,
            probes,
        }),
        _ => None,
    };
    let mut text = match (socket.keepalive, values) {
        (None, _) => "?".to_owned(),
        (Some(false), _) => "off".to_owned(),
        (Some(true), None) => "on".to_owned(),
        (Some(true), Some(values)) if socket.own_settings == Some(true) => format!("{values} own"),
        (Some(true), Some(values)) => values.to_string(),
    };
    if let Some(timeout) = socket.user_timeout_ms.filter(|ms| *ms > 0) {
        let _ = write!(text, ", user timeout {}", milliseconds(timeout.into()));
    }
    text
}

fn timer(socket: &SocketReport) -> String {
    let Some(ms) = socket.timer_expires_ms else {
        return "-".to_owned();
    };
    let at = seconds(ms.div_ceil(1000));
    let unanswered = match socket.unanswered_probes {
        None | Some(0) => String::new(),
        Some(count) => format!(", {count} unanswered"),
    };
    match (socket.timer, socket.stale) {
        ("keepalive", Some(true)) => format!("stale: {at}{unanswered}"),
        ("keepalive", None) => format!("{at}{unanswered}, stale?"),
        ("keepalive", _) => format!("{at}{unanswered}"),
        (kind, _) => format!("{kind} {at}{unanswered}"),
    }
}

fn drop(socket: &SocketReport) -> String {
    match (socket.drop_in_ms, socket.timer) {
        (Some(ms), _) => at_least(ms),
        (None, "off") => "never while idle".to_owned(),
        (None, _) => "-".to_owned(),
    }
}

fn hints(text: &mut Text, counts: &Counts) {
    if counts.stale > 0 {
        text.ours(
            "\nStale: older settings count until the timer expires. `keepalivectl sockets rearm`, with the \
             same filters or --all, ends that.\n",
        );
    }
    if counts.off > 0 {
        text.ours(
            "\nOff: while idle, this end never notices that its peer is dead. `keepalivectl sockets set \
             --enable-keepalive`, with the same filters or --all, turns it on.\n",
        );
    }
}

/// What could not be seen.
pub fn notes(unseen: &Unseen) -> Vec<String> {
    let mut notes = Vec::new();
    let as_root = match geteuid().is_root() {
        true => "",
        false => "; run it as root",
    };
    if unseen.options > 0 {
        notes.push(format!(
            "of {}, the process was not found or may not be touched: only the timer is known{as_root}",
            number(unseen.options, "socket")
        ));
    }
    if unseen.processes > 0 {
        notes.push(format!(
            "of {} that may be meant, the sockets may not be seen{as_root}",
            match unseen.processes {
                1 => "1 process".to_owned(),
                n => format!("{n} processes"),
            }
        ));
    }
    if unseen.processes_elsewhere > 0 {
        notes.push(format!(
            "{} processes may be in more network namespaces{as_root}",
            unseen.processes_elsewhere
        ));
    }
    for namespace in &unseen.namespaces {
        notes.push(format!(
            "not looked into: {}: {}",
            quote(&namespace.netns),
            namespace.error
        ));
    }
    notes
}

/// What `rearm` did, or would do.
pub fn rearmed(report: &ChangeReport) -> Text {
    changed(report, "armed anew")
}

/// What `set` did, or would do.
pub fn set(report: &ChangeReport) -> Text {
    changed(report, "changed")
}

fn changed(report: &ChangeReport, what: &str) -> Text {
    let would = if report.dry_run { "would be " } else { "" };
    let mut text = Text::answer(format_args!(
        "{} {would}{what}, {} unchanged, {} gone meanwhile, {} refused.",
        number(report.changed, "socket"),
        report.unchanged,
        report.gone,
        report.refused
    ));
    if !report.sockets.is_empty() {
        let all: Vec<&SocketReport> = report.sockets.iter().collect();
        text.ours("\n");
        text.text(&rows(&all));
    }
    if report.busy > 0 {
        text.ours("\n");
        text.line(format_args!(
            "Busy: {}, waiting for the peer, so the keepalive timer cannot be seen",
            number(report.busy, "socket")
        ));
    }
    if report.off > 0 {
        text.ours("\n");
        text.line(format_args!(
            "Off: {} with keepalive off stays so; `keepalivectl sockets set --enable-keepalive` turns \
             it on",
            number(report.off, "socket")
        ));
    }
    if report.unowned > 0 {
        text.ours("\n");
        text.line(format_args!(
            "Left alone: {}, not accepted yet, the kernel's own, or part of an MPTCP connection",
            number(report.unowned, "socket")
        ));
    }
    let refused = |(reason, count): (&String, &u64)| {
        format!("{} refused: {reason}", number(*count, "socket"))
    };
    text.warnings(report.reasons.iter().map(refused));
    let unreached = Unseen {
        options: 0,
        ..report.unseen.clone()
    };
    text.warnings(notes(&unreached));
    text
}
