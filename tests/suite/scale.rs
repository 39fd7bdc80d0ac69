//! The bench at scale: a hundred thousand connections beside ss(8), the changes
//! beside a bare loop of the same system calls, and a thousand network namespaces
//! beside ip-netns(8) and sysctl(8).
//!
//! All are in network namespaces of the bench's own. Nothing is asserted of the
//! speed: a machine's speed is no promise of the program's.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keepalivectl::kernel::lab::Lab;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pause};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::command::{binary, program, run};
use crate::sandbox::{put_in_force, sandboxed};

const CONNECTIONS: usize = 100_000;
const ROUNDS: usize = 5;

/// Connections that each helper holds both ends of.
const EACH: usize = 9_000;

/// Processes that hold connections, until this is dropped.
struct Holders(Vec<Pid>);

impl Holders {
    fn of(connections: usize) -> Holders {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!(most > 2 * EACH as u64 + 100, "RLIMIT_NOFILE is {most}");
        setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
        let mut left = connections;
        let mut holders = Holders(Vec::new());
        let mut ready = Vec::new();
        for number in 2.. {
            let some = left.min(EACH);
            let (reader, writer) = std::io::pipe().unwrap();
            // SAFETY: nothing else runs in the sandbox that could hold a lock
            // which the child needs.
            match unsafe { fork() }.unwrap() {
                ForkResult::Parent { child } => holders.0.push(child),
                ForkResult::Child => {
                    let _kept = connect(Ipv4Addr::new(127, 0, 0, number), some);
                    drop(writer);
                    loop {
                        pause();
                    }
                }
            }
            ready.push(reader);
            left -= some;
            if left == 0 {
                break;
            }
        }
        for mut reader in ready {
            reader.read_to_end(&mut Vec::new()).unwrap();
        }
        holders
    }
}

impl Drop for Holders {
    fn drop(&mut self) {
        for child in &self.0 {
            kill(*child, Signal::SIGKILL).unwrap();
            waitpid(*child, None).unwrap();
        }
    }
}

/// Connections with keepalive on at the client's end.
fn connect(address: Ipv4Addr, count: usize) -> Vec<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(SocketAddr::from((address, 0))).unwrap();
    let at = listener.local_addr().unwrap();
    let pair = |_| {
        let client = TcpStream::connect(at).unwrap();
        setsockopt(&client, sockopt::KeepAlive, &true).unwrap();
        (client, listener.accept().unwrap().0)
    };
    (0..count).map(pair).collect()
}

/// The time of one run, its output thrown away.
fn time(program: &str, line: &str) -> Duration {
    let started = Instant::now();
    let mut command = Command::new(program);
    command.args(line.split_whitespace()).stdin(Stdio::null());
    let status = command.stdout(Stdio::null()).status();
    assert!(
        status
            .unwrap_or_else(|e| panic!("{program}: {e}"))
            .success(),
        "{program} {line}"
    );
    started.elapsed()
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Ours and theirs in turn.
fn beside(name: &str, rounds: usize, ours: impl Fn() -> Duration, theirs: impl Fn() -> Duration) {
    let both: Vec<(Duration, Duration)> = (0..rounds).map(|_| (ours(), theirs())).collect();
    let ours = middle(both.iter().map(|pair| pair.0).collect());
    let theirs = middle(both.iter().map(|pair| pair.1).collect());
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    eprintln!(
        "{name:<44} {:>8.3} s {:>8.3} s {ratio:>7.3}",
        ours.as_secs_f64(),
        theirs.as_secs_f64()
    );
}

/// The most memory that one run had, in bytes.
fn peak(line: &str) -> u64 {
    let child = program()
        .args(line.split_whitespace())
        .stdout(Stdio::null())
        .spawn();
    peak_of(child.unwrap())
}

/// VmHWM, read until the process ends: the last is the peak.
fn peak_of(mut child: Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(kilobytes.unwrap_or(0));
        std::thread::sleep(Duration::from_micros(200));
    }
    peak * 1024
}

fn say_what_runs() {
    let cores = std::thread::available_parallelism().unwrap();
    eprintln!(
        "{:<44} {:>10} {:>10} {:>7}",
        format!("({cores} cores)"),
        "ours",
        "theirs",
        "ratio"
    );
}

sandboxed! {
    #[ignore = "needs ss (iproute2)"]
    fn bench_sockets_beside_ss() {
        Lab::enter().unwrap();
        let few = Holders::of(1000);
        let little = peak("sockets --summary");
        drop(few);
        let _holders = Holders::of(CONNECTIONS);
        let ours = |line: &'static str| move || time(&binary(), line);
        let theirs = |line: &'static str| move || time("ss", line);
        say_what_runs();
        let fast = "sockets --no-process --json";
        beside("sockets --no-process --json | ss -tno", ROUNDS, ours(fast), theirs("-tno"));
        // ss takes half a minute.
        beside("sockets --json | ss -tnop", 1, ours("sockets --json"), theirs("-tnop"));
        beside("sockets | ss -tnop", 1, ours("sockets"), theirs("-tnop"));
        let much = peak("sockets --summary");
        eprintln!(
            "sockets --summary: {:.1} MB at the most, {:.0} bytes for each of {} sockets",
            much as f64 / 1e6,
            much.saturating_sub(little) as f64 / (2 * (CONNECTIONS - 1000)) as f64,
            2 * CONNECTIONS
        );
    }
}

/// The bare system calls of `rearm`, for all sockets of these processes: find
/// them, take each, look at it, turn it off and on, look again.
fn bare_loop(pids: &[Pid]) -> usize {
    let mut count = 0;
    for pid in pids {
        let number = rustix::process::Pid::from_raw(pid.as_raw()).unwrap();
        let pidfd = pidfd_open(number, PidfdFlags::empty()).unwrap();
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            let link = fs::read_link(entry.path()).unwrap();
            if !link.to_str().unwrap().starts_with("socket:") {
                continue;
            }
            let fd = entry.file_name().to_str().unwrap().parse().unwrap();
            let socket = pidfd_getfd(&pidfd, fd, PidfdGetfdFlags::empty()).unwrap();
            count += usize::from(toggle(&socket));
        }
    }
    count
}

fn toggle(socket: &OwnedFd) -> bool {
    let socket = socket.as_fd();
    let on = || getsockopt(&socket, sockopt::KeepAlive).unwrap();
    let _ = (
        getsockopt(&socket, sockopt::TcpKeepIdle).unwrap(),
        getsockopt(&socket, sockopt::TcpKeepInterval).unwrap(),
        getsockopt(&socket, sockopt::TcpKeepCount).unwrap(),
        getsockopt(&socket, sockopt::TcpUserTimeout).unwrap(),
        // For the cookie.
        getsockopt(&socket, sockopt::SockType).unwrap(),
    );
    if !on() {
        return false;
    }
    setsockopt(&socket, sockopt::KeepAlive, &false).unwrap();
    setsockopt(&socket, sockopt::KeepAlive, &true).unwrap();
    on()
}

sandboxed! {
    #[ignore = "takes half a minute"]
    fn bench_rearm_beside_a_bare_loop() {
        Lab::enter().unwrap();
        let holders = Holders::of(CONNECTIONS);
        say_what_runs();
        let ours = || {
            // Armed long, and then all too long.
            put_in_force([7200, 75, 9]);
            assert_eq!(bare_loop(&holders.0), CONNECTIONS);
            put_in_force([60, 10, 5]);
            let started = Instant::now();
            let report = run("sockets rearm --all --json").code(0).json();
            assert_eq!(report["changed"], CONNECTIONS);
            started.elapsed()
        };
        let theirs = || {
            let started = Instant::now();
            assert_eq!(bare_loop(&holders.0), CONNECTIONS);
            started.elapsed()
        };
        let once = ours();
        beside("sockets rearm --all | a bare loop", ROUNDS, ours, theirs);
        eprintln!(
            "sockets rearm: {:.0} sockets armed anew in a second",
            CONNECTIONS as f64 / once.as_secs_f64()
        );
    }
}

sandboxed! {
    #[ignore = "needs ip (iproute2) and sysctl (procps)"]
    fn bench_a_thousand_namespaces() {
        const NAMESPACES: usize = 1000;
        for number in 0..NAMESPACES {
            time("ip", &format!("netns add n{number}"));
        }
        assert!(Path::new("/run/netns/n999").exists());
        say_what_runs();
        let key = |name: &str, value: usize| format!("net.ipv4.tcp_keepalive_{name}={value}");
        let values = |n: usize| [key("time", 60 + n), key("intvl", 30 + n), key("probes", 4 + n)];
        let theirs = || {
            let started = Instant::now();
            let set = values(1).join(" ");
            for number in 0..NAMESPACES {
                time("ip", &format!("netns exec n{number} sysctl -qw {set}"));
            }
            started.elapsed()
        };
        let ours = || {
            let started = Instant::now();
            let report = run("apply --time 60 --intvl 30 --probes 4 --all-netns --json");
            let report = report.code(0).json();
            assert!(report["changed"].as_u64().unwrap() >= NAMESPACES as u64);
            started.elapsed()
        };
        // Not the first: each remembers what it had for revert.
        ours();
        theirs();
        beside("apply --all-netns | ip netns exec … sysctl -w", 3, ours, theirs);
        for number in 0..NAMESPACES {
            time("ip", &format!("netns del n{number}"));
        }
    }
}
