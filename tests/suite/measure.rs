//! `measure`: an experiment that touches nothing outside its own namespace.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use keepalivectl::kernel::lab::Lab;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;

use crate::command::{Said, program, run};
use crate::sandbox::{in_force, namespaces_allowed, put_in_force, read_only_sysctls, sandboxed};
use crate::stalls::CHANCES;

/// Measures until it is as predicted: a machine that stands still for a while is
/// late, but not each time.
#[track_caller]
fn as_predicted(line: &str) -> Said {
    const NOT_AS_PREDICTED: i32 = 3;
    let mut said = run(line);
    for _ in 1..CHANCES {
        if said.code != NOT_AS_PREDICTED {
            break;
        }
        said = run(line);
    }
    said.code(0)
}

sandboxed! {
    fn prediction_and_measurement_stand_side_by_side() {
        put_in_force([1, 1, 2]);
        let said = as_predicted("measure").says("predicted").says("measured");
        let first = said.stdout.lines().next().unwrap();
        assert!(first.contains("as predicted"), "{first}");
        // No terminal, no bar.
        assert_eq!(said.stderr, "keepalivectl: the drop is due in 3s\n");
        assert_eq!(in_force(), [1, 1, 2]);
    }
}

sandboxed! {
    fn nothing_outside_is_touched() {
        put_in_force([7200, 75, 9]);
        let connections = fs::read_to_string("/proc/net/tcp").unwrap();
        let json = as_predicted("measure --time 1 --intvl 1 --probes 1 --retries2 3 --json").json();
        assert_eq!(json["within"], true);
        assert_eq!(json["retries2"], 3);
        assert_eq!(in_force(), [7200, 75, 9]);
        let retries2 = fs::read_to_string("/proc/sys/net/ipv4/tcp_retries2").unwrap();
        assert_eq!(retries2.trim(), "15");
        assert_eq!(fs::read_to_string("/proc/net/tcp").unwrap(), connections);
    }
}

sandboxed! {
    fn the_limits_in_force_count() {
        let rto_min = Path::new("/proc/sys/net/ipv4/tcp_rto_min_us");
        if !rto_min.exists() {
            eprintln!("this kernel has no tcp_rto_min_us: its case is left out");
            return;
        }
        // Not a whole number of ticks at any common rate.
        fs::write(rto_min, "5500").unwrap();
        let measured = run("measure --state in-flight --retries2 0 --json").json();
        let computed = run("time-to-drop --state in-flight --retries2 0 --json").code(0).json();
        let rto_s = computed["in_flight"]["rto_s"].as_f64().unwrap();
        assert_eq!(measured["rto_s"].as_f64().unwrap(), rto_s);

        fs::write(rto_min, "700000").unwrap();
        let json = run("measure --state in-flight --retries2 1 --json").json();
        assert_eq!(json["rto_min_us"], 700_000);
        // 0.7 s, and from there 1.4 s more, past the 0.6 s that the kernel counts.
        assert!(json["measured_s"].as_f64().unwrap() > 2.1, "{json}");
    }
}

sandboxed! {
    fn a_probe_and_its_answer_cost_what_is_said() {
        Lab::enter().unwrap();
        for (address, bytes) in [("127.0.0.1:0", 52), ("[::1]:0", 72)] {
            let listener = TcpListener::bind(address).unwrap();
            let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let _peer = listener.accept().unwrap();
            setsockopt(&socket, sockopt::TcpKeepIdle, &1).unwrap();
            setsockopt(&socket, sockopt::TcpKeepInterval, &1).unwrap();
            setsockopt(&socket, sockopt::KeepAlive, &true).unwrap();
            let before = sent();
            sleep(Duration::from_millis(2500));
            let after = sent();
            let packets = after.packets - before.packets;
            assert!(packets >= 2, "a probe and an answer");
            assert_eq!(after.bytes - before.bytes, packets * bytes, "{address}");
        }
    }
}

struct Sent {
    bytes: u64,
    packets: u64,
}

/// What the only device of this thread's namespace has sent, at the IP level.
fn sent() -> Sent {
    let devices = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let loopback = devices
        .lines()
        .find_map(|line| line.trim().strip_prefix("lo:"));
    let fields: Vec<u64> = loopback
        .unwrap()
        .split_whitespace()
        .map(|field| field.parse().unwrap())
        .collect();
    Sent {
        bytes: fields[8],
        packets: fields[9],
    }
}

#[test]
fn an_interrupt_ends_it_at_once_and_leaves_nothing() {
    if !namespaces_allowed() {
        return;
    }
    let mut child = program()
        .args(["measure", "--time", "3600"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let its_file = format!("/proc/{}/ns/net", child.id());
    let started = Instant::now();
    while fs::read_link(&its_file).unwrap() == fs::read_link("/proc/self/ns/net").unwrap() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "no namespace of its own"
        );
        sleep(Duration::from_millis(5));
    }
    // Held open, so that no other namespace gets its number.
    let held = File::open(&its_file).unwrap();
    let its_own = held.metadata().unwrap().ino();
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    assert!(!child.wait().unwrap().success());
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let left = fs::metadata(entry.path().join("ns/net"));
        assert!(left.is_err() || left.unwrap().ino() != its_own, "{entry:?}");
    }
}

#[test]
fn a_peer_that_lives_too_long_is_an_error() {
    if !namespaces_allowed() {
        return;
    }
    run("measure --state zero-window --retries2 0 --alive-for 1s")
        .code(1)
        .complains("until its peer falls silent");
    run("measure --time 0").code(2).complains("too short");
}

sandboxed! {
    fn what_is_missing_gets_advice() {
        read_only_sysctls();
        run("measure --time 1").code(1).complains("/proc/sys is read-only").complains("on the host");
    }
}
