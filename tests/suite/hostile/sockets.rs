//! Sockets and descriptors that a hostile process has chosen.

use std::ffi::OsStr;
use std::fs;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use keepalivectl::kernel::lab::Lab;
use keepalivectl::kernel::netns::NetNs;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use nix::sys::prctl::set_name;
use nix::sys::signal::{SigHandler, SigSet, Signal, raise, signal};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::dup3_raw;

use serde_json::json;

use super::fuse::Fuse;
use super::{command, within};
use crate::command::{Said, binary};
use crate::pair::Pair;
use crate::sandbox::{bind, put_in_force, sandboxed, sleeping_in_new_namespaces};

/// Long enough for any honest machine, and no more than a few stalls take.
const SOON: Duration = Duration::from_secs(20);

/// Runs the binary with a limit on its time: one that hangs is left behind.
fn run_within(limit: Duration, line: &str) -> Said {
    within(limit, command(line))
}

/// Swaps a socket's number between it and another file until it is dropped.
struct Swapper {
    stop: &'static AtomicBool,
    thread: Option<thread::JoinHandle<()>>,
}

impl Swapper {
    fn start(number: RawFd, socket: OwnedFd, other: OwnedFd) -> Swapper {
        let stop: &AtomicBool = Box::leak(Box::default());
        let swap = move || {
            // Never in step with what it attacks.
            let mut pauses = (1..).map(|n: u64| Duration::from_micros(n * 7919 % 5000));
            while !stop.load(Ordering::Relaxed) {
                for file in [other.as_fd(), socket.as_fd()] {
                    // SAFETY: nothing else uses the number.
                    std::mem::forget(unsafe { dup3_raw(file, number, OFlag::O_CLOEXEC) }.unwrap());
                    sleep(pauses.next().unwrap_or_default());
                }
            }
        };
        Swapper {
            stop,
            thread: Some(thread::spawn(swap)),
        }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

sandboxed! {
    #[ignore = "needs /dev/fuse"]
    fn a_file_whose_closing_is_never_answered_holds_nobody() {
        Lab::enter().unwrap();
        let place = tempfile::tempdir().unwrap();
        let fuse = Fuse::mount(place.path());
        let honest = Pair::kept();
        // The attacker's socket, and its number.
        let swapped = Pair::kept();
        let number = swapped.client.as_raw_fd();
        // Its copy has a higher number, so that this one is taken first.
        let copy = fcntl(&swapped.client, FcntlArg::F_DUPFD_CLOEXEC(200)).unwrap();
        // SAFETY: the number is new, and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(copy) };
        let swapper = Swapper::start(number, socket, fuse.file.as_fd().try_clone_to_owned().unwrap());
        put_in_force([60, 10, 5]);
        let mut rounds = 0;
        while fuse.waiting.load(Ordering::SeqCst) < 2 {
            rounds += 1;
            assert!(rounds < 500, "the file was never taken");
            let all = run_within(SOON, "sockets --json").code(0).json();
            let known = all.as_array().unwrap().iter().filter(|s| s["time_s"].is_number()).count();
            assert!(known >= 3, "the honest sockets are read: {all}");
            setsockopt(&honest.client, sockopt::KeepAlive, &true).unwrap();
            run_within(SOON, "sockets rearm --all");
        }
        eprintln!("fuse: taken twice in {rounds} rounds, nobody held");
        drop(swapper);
        drop(fuse);
    }
}

sandboxed! {
    #[ignore = "needs /dev/fuse"]
    fn a_process_that_is_held_in_execve_holds_nobody() {
        Lab::enter().unwrap();
        let place = tempfile::tempdir().unwrap();
        let fuse = Fuse::mount(place.path());
        let _honest = Pair::kept();
        // Their execve(2) closes the file, and waits for an answer with a lock that
        // whoever reads their links in /proc waits for.
        let held: Vec<_> = (0..3).map(|_| thread::spawn(|| {
            let mut sleep = Command::new("/bin/sleep");
            sleep.arg("0");
            // SAFETY: prctl(2) is async-signal-safe.
            unsafe { sleep.pre_exec(|| Ok(set_name(c"keepalivectl")?)) };
            sleep.status().unwrap()
        })).collect();
        while fuse.waiting.load(Ordering::SeqCst) < held.len() {
            sleep(Duration::from_millis(5));
        }
        let all = run_within(SOON, "sockets --json").code(0).json();
        assert!(all.as_array().unwrap().iter().all(|s| s["time_s"].is_number()), "{all}");
        let done = run_within(SOON, "sockets rearm --all --json").json();
        assert_eq!(done["refused"], 0, "{done}");
        run_within(SOON, "netns list --json").code(0);
        run_within(SOON, "apply ssh --all-netns").code(0);
        drop(fuse);
        for thread in held {
            assert!(thread.join().unwrap().success());
        }
    }
}

sandboxed! {
    #[ignore = "needs /dev/fuse"]
    fn a_socket_whose_lock_is_held_holds_nobody() {
        Lab::enter().unwrap();
        let place = tempfile::tempdir().unwrap();
        let fuse = Fuse::mount(place.path());
        let length = NonZeroUsize::new(4096).unwrap();
        // SAFETY: a new mapping at an address of the kernel's choice.
        let page = unsafe {
            mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE, &fuse.file, 0)
        };
        let page = page.unwrap().as_ptr() as usize;
        let (_honest, held) = (Pair::kept(), Pair::kept());
        let number = held.client.as_raw_fd();
        // The page never comes, and send(2) holds the socket's lock meanwhile.
        // SAFETY: the kernel reads the page, or fails.
        let sender = thread::spawn(move || unsafe { libc::send(number, page as *const _, 4096, 0) });
        while fuse.waiting.load(Ordering::SeqCst) == 0 {
            sleep(Duration::from_millis(5));
        }
        put_in_force([60, 10, 5]);
        let all = run_within(SOON, "sockets --json").code(0).json();
        let known = all.as_array().unwrap().iter().filter(|s| s["time_s"].is_number()).count();
        assert_eq!((all.as_array().unwrap().len(), known), (4, 3), "{all}");
        run_within(SOON, "sockets --summary").code(0);
        let done = run_within(SOON, "sockets rearm --all --json").code(1).json();
        assert_eq!((&done["changed"], &done["refused"]), (&json!(1), &json!(1)), "{done}");
        let done = run_within(SOON, "sockets set --time 50 --all --json").code(1).json();
        assert_eq!((&done["changed"], &done["refused"]), (&json!(3), &json!(1)), "{done}");
        drop(fuse);
        assert!(sender.join().unwrap() < 0);
    }
}

sandboxed! {
    fn who_keeps_a_turn_is_waited_for_once() {
        let mut others: Vec<_> = (0..3).map(|_| sleeping_in_new_namespaces()).collect();
        let take = || {
            let file = fs::File::open("/proc/sys/net/ipv4/tcp_fastopen_key").unwrap();
            file.lock().unwrap();
            file
        };
        let kept: Vec<fs::File> = others
            .iter()
            .map(|other| NetNs::Process(other.id() as i32).enter(take).unwrap())
            .collect();
        let report = run_within(SOON, "apply ssh --all-netns --json").json();
        assert_eq!(report["failed"], kept.len());
        assert!(report["changed"].as_u64() >= Some(1), "{report}");
        for other in &mut others {
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }
}

sandboxed! {
    fn a_signal_that_is_ignored_interrupts_nothing() {
        Lab::enter().unwrap();
        let _pair = Pair::kept();
        put_in_force([60, 10, 5]);
        let mut rearm = command("sockets rearm --all --json");
        // As nohup(1) has it, and one has come already.
        let ignore = || {
            // SAFETY: the child has one thread and only asks for this.
            unsafe { signal(Signal::SIGHUP, SigHandler::SigIgn) }?;
            SigSet::from(Signal::SIGHUP).thread_block()?;
            Ok(raise(Signal::SIGHUP)?)
        };
        // SAFETY: signal(2), sigprocmask(2) and raise(3) are async-signal-safe.
        unsafe { rearm.pre_exec(ignore) };
        let report = within(SOON, rearm).code(0).json();
        assert_eq!((&report["interrupted"], &report["changed"]), (&json!(false), &json!(1)));
    }
}

sandboxed! {
    fn a_socket_that_lingers_holds_nobody() {
        const EACH: usize = 300;
        Lab::enter().unwrap();
        let number = |pair: Pair| {
            let linger = libc::linger { l_onoff: 1, l_linger: 65_535 };
            setsockopt(&pair.client, sockopt::Linger, &linger).unwrap();
            pair.cut();
            (pair.client, pair.server)
        };
        for round in 0..6 {
            put_in_force([7200, 75, 9]);
            let (clients, _servers): (Vec<_>, Vec<_>) = (0..EACH).map(|_| number(Pair::kept())).unzip();
            put_in_force([60, 10, 5]);
            let closing = AtomicBool::new(false);
            thread::scope(|scope| {
                let closer = scope.spawn(|| {
                    while !closing.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                    sleep(Duration::from_millis(4 + 2 * round));
                    // Whoever closes the last copy of one lingers: if it is the
                    // attacker, in a thread of its own.
                    for client in clients {
                        thread::spawn(move || drop(client));
                        sleep(Duration::from_micros(20));
                    }
                });
                closing.store(true, Ordering::Relaxed);
                run_within(SOON, if round % 2 == 0 { "sockets rearm --all" } else { "sockets --json" });
                closer.join().unwrap();
            });
        }
    }
}

sandboxed! {
    fn as_many_ports_as_there_are_can_be_named() {
        Lab::enter().unwrap();
        let pair = Pair::kept();
        let mut all = command("sockets --no-process --json");
        for port in 1..=u16::MAX {
            all.args(["--port".to_owned(), port.to_string()]);
        }
        let found = within(SOON, all).code(0).json();
        assert_eq!(found.as_array().unwrap().len(), 2);
        let mut others = command("sockets --no-process --json");
        for port in (1..=u16::MAX).filter(|port| *port != pair.port()) {
            others.args(["--port".to_owned(), port.to_string()]);
        }
        // The port at the other end counts too.
        let found = within(SOON, others).code(0).json();
        assert_eq!(found.as_array().unwrap().len(), 2);
    }
}

sandboxed! {
    fn a_namespace_whose_name_is_no_text_is_found_too() {
        let name = OsStr::from_bytes(b"caf\xe9");
        let path = Path::new("/run/netns").join(name);
        fs::create_dir("/run/netns").unwrap();
        fs::write(&path, "").unwrap();
        let mut other = sleeping_in_new_namespaces();
        bind(Path::new(&format!("/proc/{}/ns/net", other.id())), &path);
        let inode = fs::metadata(&path).unwrap().ino();
        other.kill().unwrap();
        other.wait().unwrap();
        let list = within(SOON, command("netns list --json")).code(0).json();
        let mut all = list["namespaces"].as_array().unwrap().iter();
        let found = all.find(|n| n["inode"] == inode).unwrap();
        assert_eq!(found["settings"]["time_s"], 7200, "{found}");
        assert_eq!(found["names"][0], "caf\u{fffd}");
        let mut apply = command("apply ssh --netns");
        apply.arg(name);
        within(SOON, apply).code(0);
        let mut show = command("show --json --netns");
        show.arg(name);
        let shown = within(SOON, show).code(0).json();
        assert_eq!(shown["settings"]["time_s"], 60);
        let all = within(SOON, command("apply --time 90 --all-netns --json")).code(0).json();
        assert_eq!(all["failed"], 0);
    }
}

sandboxed! {
    #[ignore = "needs strace"]
    fn many_namespaces_take_no_longer_each() {
        const MANY: usize = 20;
        let mut others: Vec<_> = (0..MANY).map(|_| sleeping_in_new_namespaces()).collect();
        let log = std::env::temp_dir().join("calls");
        for line in ["netns list", "sockets --all-netns"] {
            let mut strace = Command::new("strace");
            strace
                .args(["-f", "-o", log.to_str().unwrap(), "-e", "trace=openat,sendto"])
                .arg(binary())
                .args(line.split_whitespace());
            within(SOON, strace).code(0);
            let calls = fs::read_to_string(&log).unwrap();
            let entered = calls.matches("/proc/self/fd/").count();
            assert!(entered >= MANY, "{line}: {entered}");
            // What the kernel keeps in one chain for all namespaces is not looked up in
            // each, and the sockets of all are not walked through for one without any.
            for costly in ["/proc/sys/net/", "sendto("] {
                let found = calls.matches(costly).count();
                assert!(found < MANY / 2, "{line}: {found} times {costly}");
            }
        }
        for other in &mut others {
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }
}
