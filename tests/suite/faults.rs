//! Every open, write, fsync and rename of `apply` and `enable` fails once, in
//! every way, and the process is killed at each of them once.
//!
//! strace(1) injects the faults. After each, the settings are all old or all
//! new, the files are whole, and the next run works. [`Sample`] may leave some
//! out, but none of a kind: of what a call can meet.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command::{Said, binary, keepalivectl};
use crate::fixture::{DROPIN, Tree};
use crate::sample::Sample;
use crate::sandbox::{in_force, put_in_force, sandboxed};

const CALLS: &str =
    "open,openat,openat2,write,fsync,fdatasync,linkat,rename,renameat,renameat2,unlinkat";
const ALL: [&str; 4] = ["openat", "write", "fsync", "linkat"];
const FAULTS: [&str; 6] = [
    "error=EACCES",
    "error=EROFS",
    "error=EIO",
    "error=ENOSPC",
    "error=EINTR",
    "signal=KILL",
];

/// One fault: which call, which time, what happens.
pub struct Fault {
    pub inject: String,
    /// The call and what happens to it.
    pub kind: (String, String),
    pub kills: bool,
}

/// Runs the binary under strace, with these options.
pub fn strace(options: &[&str], arguments: &[&str]) -> Said {
    let output = Command::new("strace")
        .args(["-qq", "-e", "signal=none", "-o", "/dev/null"])
        .args(["-e", &format!("trace={CALLS}")])
        .args(options)
        .arg(binary())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("strace is installed");
    output.into()
}

/// All faults of one command, by what it calls when nothing fails; it has to
/// call at least these.
fn faults(arguments: &[&str], at_least: &[&str]) -> Vec<Fault> {
    faults_of(arguments, at_least, CALLS, &FAULTS)
}

/// The same with other calls and faults.
pub fn faults_of(arguments: &[&str], at_least: &[&str], calls: &str, kinds: &[&str]) -> Vec<Fault> {
    let log = std::env::temp_dir().join("calls");
    let trace = format!("trace={calls}");
    strace(&["-o", log.to_str().unwrap(), "-e", &trace], arguments).code(0);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in fs::read_to_string(log).unwrap().lines() {
        if let Some((call, _)) = line.split_once('(') {
            *counts.entry(call.to_owned()).or_default() += 1;
        }
    }
    for call in at_least {
        assert!(
            counts.contains_key(*call),
            "no {call} to inject into: {counts:?}"
        );
    }
    let mut faults = Vec::new();
    for (call, count) in counts {
        for when in 1..=count {
            faults.extend(kinds.iter().map(|fault| Fault {
                inject: format!("inject={call}:{fault}:when={when}"),
                kind: (call.clone(), (*fault).to_owned()),
                kills: *fault == "signal=KILL",
            }));
        }
    }
    Sample::from_environment().choose("faults", faults, |fault| fault.kind.clone())
}

/// Waits until nobody holds the lock: a guard may still be at work.
pub fn wait_for_guard() {
    if let Ok(lock) = File::open("/run/keepalivectl/lock") {
        lock.lock().unwrap();
    }
}

#[derive(Debug, Default)]
struct Table {
    cases: usize,
    kills: usize,
    old: usize,
    new: usize,
}

impl Table {
    fn count(&mut self, fault: &Fault, is_new: bool) {
        self.cases += 1;
        self.kills += usize::from(fault.kills);
        self.old += usize::from(!is_new);
        self.new += usize::from(is_new);
    }

    fn print(&self, what: &str) {
        eprintln!(
            "faults: {what}: {} cases ({} of them SIGKILL), {} ended all old, {} all new, 0 mixed",
            self.cases, self.kills, self.old, self.new
        );
        assert!(self.old > 0 && self.new > 0, "{self:?}");
    }
}

/// The exit code has to agree with what is left.
fn check_code(fault: &Fault, said: &Said, is_new: bool) {
    if fault.kills {
        return;
    }
    match said.code {
        0 => assert!(is_new, "{}: says it is done: {said:?}", fault.inject),
        1 => assert!(
            !is_new,
            "{}: says nothing is changed: {said:?}",
            fault.inject
        ),
        // Done, and the report could not be written.
        4 => {
            assert!(is_new, "{}: {said:?}", fault.inject);
            assert!(
                said.stderr.contains("it is done, but"),
                "{}: {said:?}",
                fault.inject
            );
        }
        // The program did not even start: the loader says so with 127.
        127 => assert!(!is_new, "{}: {said:?}", fault.inject),
        other => panic!("{}: code {other}: {said:?}", fault.inject),
    }
}

fn apply_faults(first: bool, options: &[&str], what: &str) {
    const OLD: [i64; 3] = [600, 60, 6];
    const NEW: [i64; 3] = [240, 30, 6 + 1];
    let arguments = ["apply", "--time", "240", "--intvl", "30", "--probes", "7"];
    let reset = || {
        put_in_force(OLD);
        if first {
            let _ = fs::remove_dir_all("/run/keepalivectl");
        } else {
            keepalivectl(["apply", "--time", "601"]).code(0);
            put_in_force(OLD);
        }
    };
    reset();
    let files = if first { &ALL[..] } else { &ALL[..2] };
    let faults = faults(&arguments, files);
    let mut table = Table::default();
    for fault in &faults {
        reset();
        let options = [options, &["-e", fault.inject.as_str()]].concat();
        let said = strace(&options, &arguments);
        wait_for_guard();
        let found = in_force();
        assert!(
            found == OLD || found == NEW,
            "{}: {found:?} {said:?}",
            fault.inject
        );
        check_code(fault, &said, found == NEW);
        table.count(fault, found == NEW);
        keepalivectl(arguments).code(0);
        assert_eq!(in_force(), NEW, "{}: the next run", fault.inject);
        keepalivectl(["revert"]).code(0);
        assert!(
            in_force() == OLD,
            "{}: revert: {:?}",
            fault.inject,
            in_force()
        );
    }
    table.print(what);
}

sandboxed! {
    #[ignore = "needs strace"]
    fn apply_for_the_first_time() {
        apply_faults(true, &[], "the first apply");
    }
}

sandboxed! {
    #[ignore = "needs strace"]
    fn apply_once_more() {
        apply_faults(false, &[], "a later apply");
    }
}

sandboxed! {
    #[ignore = "needs strace"]
    fn apply_with_its_guard_under_fire_too() {
        apply_faults(true, &["-f"], "the first apply, its guard traced too");
    }
}

sandboxed! {
    #[ignore = "needs strace"]
    fn revert() {
        const OLD: [i64; 3] = [240, 30, 7];
        const NEW: [i64; 3] = [600, 60, 6];
        let reset = || {
            let _ = fs::remove_dir_all("/run/keepalivectl");
            put_in_force(NEW);
            keepalivectl(["apply", "--time", "240", "--intvl", "30", "--probes", "7"]).code(0);
        };
        reset();
        let faults = faults(&["revert"], &["openat", "write"]);
        let mut table = Table::default();
        for fault in &faults {
            reset();
            let said = strace(&["-e", &fault.inject], &["revert"]);
            wait_for_guard();
            let found = in_force();
            assert!(found == OLD || found == NEW, "{}: {found:?} {said:?}", fault.inject);
            check_code(fault, &said, found == NEW);
            table.count(fault, found == NEW);
            keepalivectl(["revert"]).code(0);
            assert_eq!(in_force(), NEW, "{}: the next run", fault.inject);
        }
        table.print("revert");
    }
}

fn enable_faults(start: &str, what: &str) {
    let tree = Tree::with_systemd();
    let top = tree.path("").to_str().unwrap().to_owned();
    let run = |line: &str| tree.run(line).code(0);
    let arguments = ["--root", top.as_str(), "enable", "aws-nat"];
    let snapshot = || -> Vec<(String, String)> {
        let read = |file: String| {
            let text = fs::read_to_string(tree.path(&file)).unwrap_or_default();
            (file, text)
        };
        tree.files().into_iter().map(read).collect()
    };
    run("enable aws-nat");
    let new = snapshot();
    let new_dropin = tree.read(DROPIN);
    run(start);
    let old = snapshot();
    let old_dropin = fs::read_to_string(tree.path(DROPIN)).ok();

    let mut table = Table::default();
    let faults = faults(&arguments, &ALL);
    for fault in &faults {
        run(start);
        assert_eq!(snapshot(), old, "before {}", fault.inject);
        let said = strace(&["-e", &fault.inject], &arguments);
        let dropin = fs::read_to_string(tree.path(DROPIN)).ok();
        let is_new = dropin.as_ref() == Some(&new_dropin);
        assert!(
            is_new || dropin == old_dropin,
            "{}: {dropin:?}",
            fault.inject
        );
        if !fault.kills {
            let found = snapshot();
            assert!(
                found == old || found == new,
                "{}: {found:?} {said:?}",
                fault.inject
            );
        }
        check_code(fault, &said, is_new);
        table.count(fault, is_new);
        run("enable aws-nat");
        assert_eq!(snapshot(), new, "{}: the next run", fault.inject);
    }
    table.print(what);
}

sandboxed! {
    #[ignore = "needs strace"]
    fn enable_where_nothing_was() {
        enable_faults("disable", "the first enable");
    }
}

sandboxed! {
    #[ignore = "needs strace"]
    fn enable_over_another() {
        enable_faults("enable ssh", "enable over another profile");
    }
}

sandboxed! {
    #[ignore = "needs strace"]
    fn ctrl_c_waits_until_the_change_is_whole() {
        // SIGINT at every write; held back, it ends the run after the last.
        for when in 1..=4 {
            put_in_force([7200, 75, 9]);
            let inject = format!("inject=write:signal=INT:when={when}");
            strace(&["-e", &inject], &["apply", "ssh"]);
            wait_for_guard();
            let found = in_force();
            assert!(found == [60, 30, 4] || found == [7200, 75, 9], "{when}: {found:?}");
        }
        assert!(Path::new("/run/keepalivectl/lock").exists());
    }
}
