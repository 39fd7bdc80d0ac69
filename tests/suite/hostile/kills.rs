//! Kills and Ctrl-C in the middle of `sockets set` and `sockets rearm`: each socket
//! is changed as a whole or not at all.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use keepalivectl::kernel::lab::Lab;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::unistd::Pid;

use crate::command::{Said, binary};
use crate::pair::{Pair, is_on};
use crate::sandbox::{put_in_force, sandboxed};

/// Starts the binary with each of its calls of setsockopt(2) drawn out, so that a
/// kill comes in the middle.
fn slowly(line: &str, microseconds: u32) -> Child {
    let inject = format!("inject=setsockopt:delay_exit={microseconds}");
    Command::new("strace")
        .args([
            "-qq",
            "-f",
            "-o",
            "/dev/null",
            "-e",
            "trace=setsockopt",
            "-e",
            &inject,
        ])
        .arg(binary())
        .args(line.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace is installed")
}

/// The processes that a process has started.
fn children(pid: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let listed = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let numbers: Vec<String> = listed.collect();
    let all = numbers.iter().flat_map(|text| text.split_whitespace());
    all.map(|number| Pid::from_raw(number.parse().unwrap()))
        .collect()
}

/// The binary under strace, once it has started.
fn parent_of(strace: &mut Child) -> Option<Pid> {
    let own = Pid::from_raw(strace.id() as i32);
    // Not a child by which strace tries what it can do.
    let is_it = |pid: &Pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.starts_with("keepalivectl"))
    };
    wait_for(strace, || children(own).into_iter().find(is_it))
}

/// The helpers that it has started.
fn helpers_of(strace: &mut Child, parent: Pid) -> Option<Vec<Pid>> {
    wait_for(strace, || {
        Some(children(parent)).filter(|helpers| !helpers.is_empty())
    })
}

/// What is there while strace runs.
fn wait_for<T>(strace: &mut Child, look: impl Fn() -> Option<T>) -> Option<T> {
    while strace.try_wait().unwrap().is_none() {
        if let Some(found) = look() {
            return Some(found);
        }
    }
    None
}

fn values(pair: &Pair) -> [u32; 4] {
    [
        getsockopt(&pair.client, sockopt::TcpKeepIdle).unwrap(),
        getsockopt(&pair.client, sockopt::TcpKeepInterval).unwrap(),
        getsockopt(&pair.client, sockopt::TcpKeepCount).unwrap(),
        getsockopt(&pair.client, sockopt::TcpUserTimeout).unwrap(),
    ]
}

/// Waits until all is as it should be: a helper may still be at work.
fn settle(what: &str, is_whole: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_whole() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
        sleep(Duration::from_millis(2));
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Whom {
    Helper,
    Parent,
}

/// Kills one of the two again and again, each time a little later.
fn kill_at_each_step(line: &str, whom: Whom, is_whole: impl Fn() -> bool) -> usize {
    let mut kills = 0;
    for step in 0..30 {
        let mut strace = slowly(line, 4000);
        let parent = parent_of(&mut strace);
        let victims = match whom {
            Whom::Parent => parent.map(|parent| vec![parent]),
            Whom::Helper => parent.and_then(|parent| helpers_of(&mut strace, parent)),
        };
        sleep(Duration::from_millis(4 * step));
        for victim in victims.unwrap_or_default() {
            kills += usize::from(kill(victim, Signal::SIGKILL).is_ok());
        }
        let said = Said::from(strace.wait_with_output().unwrap());
        if whom == Whom::Helper {
            said.code(0);
        }
        settle(
            &format!("{line}: {whom:?} killed at step {step}"),
            &is_whole,
        );
    }
    kills
}

sandboxed! {
    #[ignore = "needs strace"]
    fn a_kill_leaves_no_socket_with_a_mix() {
        const OLD: [u32; 4] = [7200, 75, 9, 0];
        const NEW: [u32; 4] = [50, 10, 3, 120_000];
        Lab::enter().unwrap();
        let pairs: Vec<Pair> = (0..3).map(|_| Pair::kept()).collect();
        let line = "sockets set --time 50 --intvl 10 --probes 3 --user-timeout 2min --all";
        let back = || for pair in &pairs {
            setsockopt(&pair.client, sockopt::TcpKeepIdle, &OLD[0]).unwrap();
            setsockopt(&pair.client, sockopt::TcpKeepInterval, &OLD[1]).unwrap();
            setsockopt(&pair.client, sockopt::TcpKeepCount, &OLD[2]).unwrap();
            setsockopt(&pair.client, sockopt::TcpUserTimeout, &OLD[3]).unwrap();
        };
        for whom in [Whom::Parent, Whom::Helper] {
            let kills = kill_at_each_step(line, whom, || {
                let whole = pairs.iter().all(|pair| [OLD, NEW].contains(&values(pair)));
                if whole {
                    back();
                }
                whole
            });
            assert!(kills >= 10, "only {kills} were killed");
            eprintln!("set: {kills} kills of the {whom:?}, no mix");
        }
    }
}

sandboxed! {
    #[ignore = "needs strace"]
    fn a_kill_leaves_no_keepalive_off() {
        Lab::enter().unwrap();
        put_in_force([7200, 75, 9]);
        let pairs: Vec<Pair> = (0..6).map(|_| Pair::kept()).collect();
        put_in_force([60, 10, 5]);
        for whom in [Whom::Parent, Whom::Helper] {
            let kills = kill_at_each_step("sockets rearm --all", whom, || {
                let whole = pairs.iter().all(|pair| is_on(&pair.client));
                if whole {
                    put_in_force([7200, 75, 9]);
                    for pair in &pairs {
                        setsockopt(&pair.client, sockopt::KeepAlive, &false).unwrap();
                        setsockopt(&pair.client, sockopt::KeepAlive, &true).unwrap();
                    }
                    put_in_force([60, 10, 5]);
                }
                whole
            });
            assert!(kills >= 10, "only {kills} were killed");
            eprintln!("rearm: {kills} kills of the {whom:?}, none left off");
        }
    }
}

sandboxed! {
    #[ignore = "needs strace"]
    fn ctrl_c_ends_a_long_change_with_its_report() {
        Lab::enter().unwrap();
        let pairs: Vec<Pair> = (0..900).map(|_| Pair::kept()).collect();
        for line in ["sockets rearm --all", "sockets set --time 50 --all"] {
            put_in_force([7200, 75, 9]);
            for pair in &pairs {
                setsockopt(&pair.client, sockopt::KeepAlive, &false).unwrap();
                setsockopt(&pair.client, sockopt::KeepAlive, &true).unwrap();
            }
            put_in_force([60, 10, 5]);
            let mut strace = slowly(&format!("{line} --json"), 2000);
            let parent = parent_of(&mut strace).unwrap();
            helpers_of(&mut strace, parent).unwrap();
            sleep(Duration::from_millis(100));
            kill(parent, Signal::SIGINT).unwrap();
            let output = strace.wait_with_output().unwrap();
            // strace ends as what it traced.
            assert_eq!(output.status.signal(), Some(libc::SIGINT), "{output:?}");
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(report["interrupted"], true);
            let changed = report["changed"].as_u64().unwrap();
            assert!((1..900).contains(&changed), "{report}");
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains("interrupted"), "{said}");
            assert!(pairs.iter().all(|pair| is_on(&pair.client)));
        }
    }
}
