//! `measure`: an experiment that touches nothing outside its own namespace.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::{binary, run};
use crate::sandbox::{in_force, put_in_force, sandboxed};

sandboxed! {
    fn prediction_and_measurement_stand_side_by_side() {
        put_in_force([1, 1, 2]);
        let said = run("measure").code(0).says("predicted").says("measured");
        let first = said.stdout.lines().next().unwrap();
        assert!(first.contains("as predicted"), "{first}");
        // No terminal, no bar.
        assert_eq!(said.stderr, "");
        assert_eq!(in_force(), [1, 1, 2]);
    }
}

sandboxed! {
    fn nothing_outside_is_touched() {
        put_in_force([7200, 75, 9]);
        let connections = fs::read_to_string("/proc/net/tcp").unwrap();
        let json = run("measure --time 1 --intvl 1 --probes 1 --retries2 3 --json").code(0).json();
        assert_eq!(json["within"], true);
        assert_eq!(json["retries2"], 3);
        assert_eq!(in_force(), [7200, 75, 9]);
        let retries2 = fs::read_to_string("/proc/sys/net/ipv4/tcp_retries2").unwrap();
        assert_eq!(retries2.trim(), "15");
        assert_eq!(fs::read_to_string("/proc/net/tcp").unwrap(), connections);
    }
}

#[test]
fn an_interrupt_ends_it_at_once_and_leaves_nothing() {
    let mut child = Command::new(binary())
        .args(["measure", "--time", "3600"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net"));
    let started = Instant::now();
    while namespace(&pid.to_string()).unwrap() == namespace("self").unwrap() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "no namespace of its own"
        );
        sleep(Duration::from_millis(5));
    }
    let its_own = namespace(&pid.to_string()).unwrap();
    kill(pid, Signal::SIGINT).unwrap();
    assert!(!child.wait().unwrap().success());
    // No other process holds the namespace, so it is gone with this one.
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let left = namespace(&entry.file_name().to_string_lossy());
        assert!(left.is_err() || left.unwrap() != its_own);
    }
}

#[test]
fn a_peer_that_lives_too_long_is_an_error() {
    run("measure --state zero-window --retries2 0 --alive-for 1s")
        .code(1)
        .complains("until its peer falls silent");
    run("measure --time 0").code(1).complains("too short");
}
