//! `sockets`: what live connections have.
//!
//! The sockets are the test's own, so it can ask each of them itself.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use keepalivectl::kernel::lab::Lab;
use nix::libc;
use nix::sys::prctl::set_dumpable;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use serde_json::{Value, json};

use crate::command::{Said, binary, program, run};
use crate::pair::{Pair, count, find, list, seconds};
use crate::sandbox::{put_in_force, sandboxed, sleeping_in_new_namespaces};

sandboxed! {
    fn each_socket_is_shown_as_it_is() {
        Lab::enter().unwrap();
        put_in_force([60, 10, 5]);
        let plain = Pair::new();
        let kept = Pair::kept();
        let six = Pair::at("[::1]:0");
        setsockopt(&six.client, sockopt::TcpKeepIdle, &300).unwrap();
        setsockopt(&six.client, sockopt::TcpUserTimeout, &340_000).unwrap();
        setsockopt(&six.client, sockopt::KeepAlive, &true).unwrap();

        let all = list("");
        assert_eq!(all.as_array().unwrap().len(), 6);
        let off = find(&all, &plain.client);
        assert_eq!(off["pid"], std::process::id());
        assert_eq!(off["fd"], plain.client.as_raw_fd());
        let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(off["process"], comm.trim_end());
        assert_eq!(off["keepalive"], false);
        assert_eq!((&off["timer"], &off["timer_expires_ms"]), (&json!("off"), &Value::Null));
        assert_eq!((&off["drop_in_s"], &off["stale"]), (&Value::Null, &json!(false)));

        let on = find(&all, &kept.client);
        assert_eq!((&on["keepalive"], &on["own_settings"]), (&json!(true), &json!(false)));
        assert_eq!(json!([on["time_s"], on["intvl_s"], on["probes"]]), json!([60, 10, 5]));
        assert_eq!((&on["timer"], &on["unanswered_probes"]), (&json!("keepalive"), &json!(0)));
        let expires = seconds(&on["timer_expires_ms"]) / 1000.0;
        assert!((50.0..=60.0).contains(&expires), "{on}");
        assert!((seconds(&on["drop_in_s"]) - (expires + 50.0)).abs() < 0.1, "{on}");
        assert!(seconds(&on["drop_in_latest_s"]) > seconds(&on["drop_in_s"]), "{on}");
        assert_eq!((&on["user_timeout_ms"], &on["netns"]), (&json!(0), &Value::Null));

        let own = find(&all, &six.client);
        assert_eq!(own["own_settings"], true);
        assert_eq!(json!([own["time_s"], own["intvl_s"], own["probes"]]), json!([300, 10, 5]));
        assert_eq!(own["user_timeout_ms"], 340_000);
        // The first expiry past 340 s, five of 10 s after the first.
        assert!((330.0..=341.0).contains(&seconds(&own["drop_in_s"])), "{own}");

        let said = run("sockets").code(0);
        assert!(said.stdout.starts_with("6 sockets: 2 with keepalive on, 4 off.\n"), "{said:#?}");
        said.says("60/10/5").says("300/10/5 own, user timeout 5min 40s").says("[::1]:");
    }
}

sandboxed! {
    fn a_busy_socket_is_dropped_by_retransmission() {
        Lab::enter().unwrap();
        let pair = Pair::kept();
        pair.cut();
        (&pair.client).write_all(b"x").unwrap();
        sleep(Duration::from_millis(1000));
        let busy = find(&list(""), &pair.client);
        assert_eq!(busy["timer"], "retransmission");
        assert_eq!((&busy["keepalive"], &busy["stale"]), (&json!(true), &Value::Null));
        // tcp_retries2 15, a second ago.
        assert!((800.0..=930.0).contains(&seconds(&busy["drop_in_s"])), "{busy}");
        assert!(seconds(&busy["drop_in_latest_s"]) > 923.0, "{busy}");
    }
}

sandboxed! {
    fn a_closed_window_is_dropped_by_the_user_timeout() {
        Lab::enter().unwrap();
        let pair = Pair::new();
        setsockopt(&pair.client, sockopt::TcpUserTimeout, &600_000).unwrap();
        pair.client.set_nonblocking(true).unwrap();
        while (&pair.client).write(&[0; 65_536]).is_ok() {}
        sleep(Duration::from_millis(1500));
        let busy = find(&list(""), &pair.client);
        assert_eq!((&busy["timer"], &busy["keepalive"]), (&json!("window-probe"), &json!(false)));
        assert!((596.0..=600.5).contains(&seconds(&busy["drop_in_s"])), "{busy}");
        // Arming it anew does nothing where keepalive is off.
        let report = run("sockets rearm --all --json").code(0).json();
        assert_eq!(json!([report["changed"], report["off"], report["busy"]]), json!([0, 2, 0]));
    }
}

sandboxed! {
    #[ignore = "needs script (bsdutils)"]
    fn a_narrow_terminal_breaks_no_address() {
        Lab::enter().unwrap();
        let pair = Pair::kept();
        let line = format!("stty rows 40 cols 60; {} sockets", binary());
        let output = Command::new("script").args(["-qec", &line, "/dev/null"]).output();
        let output = output.expect("script is installed");
        let said = String::from_utf8(output.stdout).unwrap();
        let port = format!("127.0.0.1:{}", pair.port());
        assert!(said.contains(&port) && said.contains("LOCAL, REMOTE"), "{said}");
    }
}

sandboxed! {
    fn filters_choose() {
        Lab::enter().unwrap();
        put_in_force([240, 30, 6]);
        let first = Pair::kept();
        let second = Pair::at("127.0.0.2:0");
        let six = Pair::at("[::1]:0");
        let port = first.port();
        for (filter, sockets) in [
            (String::new(), 6),
            (format!("--port {port}"), 2),
            (format!("--port {port} --local 127.0.0.0/8 --unprotected"), 1),
            (format!("--port {port} --port {}", second.port()), 4),
            ("--local 127.0.0.2".into(), 1),
            ("--remote 127.0.0.2/32".into(), 1),
            ("--remote ::1".into(), 2),
            ("--remote 10.0.0.0/8 --remote fd00::/8".into(), 0),
            ("--unprotected".into(), 5),
            ("--stale".into(), 0),
            (format!("--pid {}", std::process::id()), 6),
            ("--process no-such-program".into(), 0),
            ("--at-risk --path aws-nat".into(), 5),
            ("--at-risk --idle-timeout 4m".into(), 6),
            ("--at-risk --path haproxy".into(), 6),
            ("--state close-wait".into(), 0),
        ] {
            assert_eq!(count(&filter), sockets, "{filter}");
        }
        drop(six.server);
        assert_eq!(count("--state close-wait"), 1);
        assert_eq!(count("--state fin-wait-2 --state close-wait"), 2);
        // Nobody holds the other end any more: its timer is not keepalive's.
        let left = list("--state fin-wait-2");
        assert_eq!((&left[0]["keepalive"], &left[0]["pid"]), (&Value::Null, &Value::Null));
        for wrong in ["--at-risk", "--path aws-nat", "--local 1.2.3", "--port 65536", "--pid 0"] {
            run(&format!("sockets {wrong}")).code(2);
        }
        run("sockets --no-process --port 1").code(0).says("No such socket");
        run("sockets --pid 2147483647").code(1).complains("no process 2147483647");
        run("sockets --no-process --stale").code(2);
        // The kernel keeps 15 characters of a name.
        std::fs::write("/proc/self/comm", "fifteen-letters").unwrap();
        assert_eq!(count("--process fifteen-letters-and-more"), 4);
        assert_eq!(count("--process fifteen"), 0);
    }
}

sandboxed! {
    fn a_summary_counts_for_each_process() {
        Lab::enter().unwrap();
        let _pairs = [Pair::kept(), Pair::kept(), Pair::new()];
        put_in_force([60, 10, 5]);
        let summary = run("sockets --summary --json").code(0).json();
        let counts = json!({"sockets": 6, "on": 2, "off": 4, "unknown": 0, "stale": 2, "maybe_stale": 0});
        for (name, count) in counts.as_object().unwrap() {
            assert_eq!(&summary[name], count, "{name}");
            assert_eq!(&summary["processes"][0][name], count, "{name}");
        }
        assert_eq!(summary["processes"][0]["pid"], std::process::id());
        assert_eq!(summary["counters"], json!({"probes_sent": 0, "dropped_on_timeout": 0}));
        run("sockets --summary --interval 1").code(0).says("Rate:").says("older settings");
    }
}

sandboxed! {
    fn sockets_of_other_namespaces_are_reached() {
        let mut other = sleeping_in_new_namespaces();
        assert_eq!(list("--all-netns"), json!([]));
        assert_eq!(list(&format!("--netns pid:{}", other.id())), json!([]));
        other.kill().unwrap();
        other.wait().unwrap();
        run("sockets --netns pid:2147483647").code(1).complains("cannot enter");
        // This thread's own namespace, seen from another.
        Lab::enter().unwrap();
        let pair = Pair::kept();
        put_in_force([60, 10, 5]);
        let its_own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let path = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
        assert!(its_own.to_str().unwrap().starts_with("net:"));
        thread::scope(|scope| {
            scope.spawn(|| {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                assert_eq!(list(""), json!([]));
                let there = list(&format!("--netns {path}"));
                let found = find(&there, &pair.client);
                assert_eq!((&found["netns"], &found["stale"]), (&json!(path), &json!(true)));
                let done = run(&format!("sockets rearm --all --netns {path}")).code(0);
                done.says("1 socket armed anew");
            });
        });
        assert_eq!(find(&list(""), &pair.client)["stale"], false);
    }
}

/// Says so when it goes out of scope, be it by a failed assertion.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs the binary as one who may not touch other processes.
fn without_ptrace(line: &str) -> Said {
    const CAP_SYS_PTRACE: i32 = 19;
    let mut command = program();
    command.args(line.split_whitespace()).stdin(Stdio::null());
    let give_up = || {
        // SAFETY: prctl(2) with plain numbers touches no memory.
        match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the child makes one system call.
    unsafe { command.pre_exec(give_up) };
    command.output().unwrap().into()
}

sandboxed! {
    fn without_the_privilege_the_timers_tell_something() {
        Lab::enter().unwrap();
        let pair = Pair::kept();
        put_in_force([60, 10, 5]);
        // From now on, this process may not be looked into.
        set_dumpable(false).unwrap();
        let said = without_ptrace("sockets --json").code(0);
        let said = said.complains("only the timer is known");
        let found = find(&said.json(), &pair.client);
        assert_eq!((&found["keepalive"], &found["timer"]), (&json!(true), &json!("keepalive")));
        assert_eq!(json!([found["pid"], found["time_s"], found["own_settings"]]), json!([null, null, null]));
        // Stale, or with values of its own: who can tell?
        assert_eq!((&found["stale"], &found["drop_in_s"]), (&Value::Null, &Value::Null));
        without_ptrace("sockets").code(0).says("1 maybe armed under older ones").says("stale?");
        // But that the NAT will have forgotten it by then is sure.
        let at_risk = without_ptrace("sockets --json --at-risk --path aws-nat").code(0).json();
        assert_eq!(at_risk.as_array().unwrap().len(), 2);
        assert_eq!(find(&said.json(), &pair.server)["keepalive"], false);

        let said = without_ptrace("sockets rearm --all --json").code(1);
        let said = said.complains("1 of the sockets were refused");
        let report = said.json();
        assert_eq!((&report["changed"], &report["refused"]), (&json!(0), &json!(1)));
        // What is off needs nothing, and what is named may not be seen.
        assert_eq!(report["unchanged"], 1);
        without_ptrace("sockets rearm --stale").code(1).says("1 refused");
        let own = format!("--pid {}", std::process::id());
        without_ptrace(&format!("sockets {own}")).code(1).says("of 1 process that may be meant");
        without_ptrace(&format!("sockets set --time 5 {own}")).code(1).says("0 sockets changed");
        without_ptrace("apply --time 30 --rearm --dry-run").code(1);
        without_ptrace("apply --time 30 --rearm").code(4).complains("were refused");
        set_dumpable(true).unwrap();
    }
}

sandboxed! {
    fn no_process_is_looked_at_if_not_wanted() {
        Lab::enter().unwrap();
        let pair = Pair::kept();
        let found = find(&list("--no-process"), &pair.client);
        assert_eq!(json!([found["pid"], found["time_s"], found["keepalive"]]), json!([null, null, true]));
    }
}

sandboxed! {
    fn what_comes_and_goes_meanwhile_is_no_error() {
        Lab::enter().unwrap();
        let stays = Pair::kept();
        put_in_force([60, 10, 5]);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            // Sockets that are closed, numbers that are used again.
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let pairs: Vec<Pair> = (0..20).map(|_| Pair::kept()).collect();
                    drop(pairs);
                }
            });
            // Processes and namespaces that end.
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let mut other = sleeping_in_new_namespaces();
                    other.kill().unwrap();
                    other.wait().unwrap();
                }
            });
            let _end = AtTheEnd(&over);
            for _ in 0..20 {
                let found = find(&list("--all-netns"), &stays.client);
                assert_eq!((&found["fd"], &found["stale"]), (&json!(stays.client.as_raw_fd()), &json!(true)));
            }
            let values = "sockets set --probes 7 --all --all-netns --json";
            for _ in 0..10 {
                let report = run(values).code(0).json();
                assert_eq!(report["refused"], 0, "{report}");
            }
        });
        assert_eq!(getsockopt(&stays.client, sockopt::TcpKeepCount).unwrap(), 7);
        let report = run("sockets rearm --all --json").code(0).json();
        assert_eq!(report["changed"], 1, "{report}");
    }
}

sandboxed! {
    fn a_watch_goes_on_until_it_is_read_enough() {
        Lab::enter().unwrap();
        let mut child = program()
            .args(["sockets", "--watch=1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut seen = String::new();
        let mut buffer = [0; 4096];
        while seen.matches("No such socket").count() < 2 {
            let length = out.read(&mut buffer).unwrap();
            assert!(length > 0);
            seen.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        assert!(!seen.contains('\x1b'));
        drop(out);
        assert!(child.wait().unwrap().success());
    }
}

/// What ss(8) says of the timer of each socket: kind, milliseconds left, count.
fn as_ss_says(local: &str, remote: &str) -> Option<(String, f64, u64)> {
    let output = Command::new("ss")
        .args(["-tno", "state", "established"])
        .output();
    let text = String::from_utf8(output.expect("ss is installed").stdout).unwrap();
    let line = text.lines().find(|line| {
        let at = |end: &str| line.find(&format!(" {end} "));
        at(local)
            .zip(at(remote))
            .is_some_and(|(local, remote)| local < remote)
    })?;
    let (_, timer) = line.split_once("timer:(")?;
    let mut parts = timer.trim_end().trim_end_matches(')').split(',');
    let (kind, left, count) = (parts.next()?, parts.next()?, parts.next()?);
    // 1min59sec, 12sec, and 2.516ms for 2 s and 516 ms.
    let (minutes, rest) = left.split_once("min").unwrap_or(("0", left));
    let number = |text: &str| text.parse::<f64>().unwrap_or(0.0);
    let ms = match rest.strip_suffix("ms") {
        Some(rest) if rest.contains('.') => number(rest) * 1000.0,
        Some(rest) => number(rest),
        None => number(rest.trim_end_matches("sec")) * 1000.0,
    };
    Some((
        kind.to_owned(),
        number(minutes) * 60_000.0 + ms,
        count.parse().ok()?,
    ))
}

sandboxed! {
    #[ignore = "needs ss (iproute2)"]
    fn ss_sees_the_same_timers() {
        Lab::enter().unwrap();
        put_in_force([119, 10, 5]);
        let (kept, silent, six) = (Pair::kept(), Pair::kept(), Pair::at("[::1]:0"));
        setsockopt(&six.client, sockopt::TcpKeepIdle, &50).unwrap();
        setsockopt(&six.client, sockopt::KeepAlive, &true).unwrap();
        silent.cut();
        (&silent.client).write_all(b"x").unwrap();
        setsockopt(&kept.server, sockopt::TcpKeepIdle, &1).unwrap();
        setsockopt(&kept.server, sockopt::TcpKeepInterval, &3).unwrap();
        kept.cut();
        setsockopt(&kept.server, sockopt::KeepAlive, &true).unwrap();
        sleep(Duration::from_millis(1500));
        let all = list("");
        for (end, kind, count) in [
            (&kept.client, "keepalive", 0),
            (&kept.server, "keepalive", 1),
            (&six.client, "keepalive", 0),
            (&silent.client, "on", 2),
        ] {
            let ours = find(&all, end);
            let text = |name: &str| ours[name].as_str().unwrap().to_owned();
            let theirs = as_ss_says(&text("local"), &text("remote"));
            let (their_kind, their_ms, their_count) = theirs.unwrap_or_else(|| panic!("ss does not list {ours}"));
            assert_eq!(their_kind, kind, "{ours}");
            if kind == "keepalive" {
                let ms = seconds(&ours["timer_expires_ms"]);
                assert!((ms - their_ms).abs() <= 1500.0, "{ms} {their_ms}");
                assert_eq!((&ours["unanswered_probes"], their_count), (&json!(count), count));
            } else {
                assert!(their_count >= count, "{their_count}");
                assert_eq!(ours["timer"], "retransmission");
            }
        }
        // And it sees the cure.
        put_in_force([20, 10, 5]);
        run("sockets rearm --stale").code(0).says("1 socket armed anew");
        let ours = find(&list(""), &kept.client);
        let text = |name: &str| ours[name].as_str().unwrap().to_owned();
        let (_, ms, _) = as_ss_says(&text("local"), &text("remote")).unwrap();
        assert!((15_000.0..=20_000.0).contains(&ms), "{ms}");
    }
}
