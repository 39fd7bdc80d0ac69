//! `netns list`: what is in force in each network namespace.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;

use keepalivectl::kernel::lab::Lab;
use keepalivectl::model::{Settings, State, TcpLimits};
use serde_json::{Value, json};

use crate::command::run;
use crate::sandbox::{in_force, put_in_force, sandboxed, sleeping_in_new_namespaces};

fn entry(list: &Value, inode: u64) -> Value {
    let mut all = list["namespaces"].as_array().unwrap().iter();
    let found = all.find(|entry| entry["inode"] == inode);
    found
        .unwrap_or_else(|| panic!("no {inode} in {list}"))
        .clone()
}

fn inode(process: &str) -> u64 {
    fs::metadata(format!("/proc/{process}/ns/net"))
        .unwrap()
        .ino()
}

sandboxed! {
    fn each_namespace_has_its_settings_its_sockets_and_its_names() {
        put_in_force([60, 30, 4]);
        let mut other = sleeping_in_new_namespaces();
        let pid = other.id();
        fs::create_dir("/run/netns").unwrap();
        symlink(format!("/proc/{pid}/ns/net"), "/run/netns/blue").unwrap();
        // A name without a namespace is none.
        fs::write("/run/netns/stale", "").unwrap();

        let list = run("netns list --json").code(0).json();
        let own = entry(&list, inode("self"));
        assert_eq!(own["own"], true);
        assert_eq!(own["settings"], json!({"time_s": 60, "intvl_s": 30, "probes": 4}));
        let blue = entry(&list, inode(&pid.to_string()));
        assert_eq!(blue["names"], json!(["blue"]));
        assert_eq!(blue["netns"], "blue");
        assert_eq!(blue["settings"], json!({"time_s": 7200, "intvl_s": 75, "probes": 9}));
        assert_eq!(blue["established"], 0);
        assert_eq!(blue["error"], Value::Null);
        run("netns list").code(0).says("\nblue ").says("7200/75/9").says("sleep");

        // What went away is not there, and is no error.
        other.kill().unwrap();
        other.wait().unwrap();
        let list = run("netns list --json").code(0).json();
        assert!(!list.to_string().contains("blue"), "{list}");
    }
}

sandboxed! {
    fn established_sockets_are_counted() {
        Lab::enter().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap();
        // The command is in the namespace of this thread.
        let list = run("netns list --json").code(0).json();
        let mut all = list["namespaces"].as_array().unwrap().iter();
        assert_eq!(all.find(|entry| entry["own"] == true).unwrap()["established"], 2);
        drop((client, server));
    }
}

sandboxed! {
    fn what_the_kernel_counts_is_shown() {
        let lab = Lab::enter().unwrap();
        let counters = || run("show --json").code(0).json()["counters"].clone();
        assert_eq!(counters(), json!({"probes_sent": 0, "dropped_on_timeout": 0}));
        let settings = Settings::new(1, 1, 2).unwrap();
        lab.put_in_force(settings, TcpLimits::KERNEL_DEFAULT).unwrap();
        let silence = lab.silence(State::Idle, None, Duration::ZERO).unwrap();
        // Two probes and the drop come within it.
        let rate = run("show --interval 4s --json").code(0).json()["rate"].clone();
        let count = rate["probes_sent_per_s"].as_f64().unwrap() * rate["interval_s"].as_f64().unwrap();
        assert!((count - 2.0).abs() < 0.001, "{rate}");
        while silence.wait(Duration::from_millis(100)).unwrap().is_none() {}
        assert_eq!(counters(), json!({"probes_sent": 2, "dropped_on_timeout": 1}));
        run("show").code(0).says("Counted: 2 probes sent, 1 connections dropped on timeout");
    }
}

sandboxed! {
    fn apply_reaches_each_namespace() {
        let others = [sleeping_in_new_namespaces(), sleeping_in_new_namespaces()];
        let time = |pid: u32| {
            let show = run(&format!("show --json --netns pid:{pid}")).code(0).json();
            show["settings"]["time_s"].as_i64().unwrap()
        };
        let plan = run("apply ssh --all-netns --dry-run --json").code(0).json();
        assert_eq!(plan["changed"], 3);
        assert!(others.iter().all(|other| time(other.id()) == 7200));

        let done = run("apply ssh --all-netns --json").code(0).json();
        assert_eq!((&done["changed"], &done["failed"]), (&json!(3), &json!(0)));
        assert!(others.iter().all(|other| time(other.id()) == 60));
        assert_eq!(in_force(), [60, 30, 4]);
        let again = run("apply ssh --all-netns").code(0);
        assert!(again.stdout.starts_with("0 network namespaces changed, 3 so already"), "{again:?}");
        // Each can go back by itself.
        run(&format!("revert --netns pid:{}", others[0].id())).code(0);
        assert_eq!((time(others[0].id()), time(others[1].id())), (7200, 60));

        // What is wrong everywhere changes nothing anywhere.
        run("apply --time 0 --all-netns").code(2);
        run("apply no-such-profile --all-netns").code(1).complains("no profile");
        for mut other in others {
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }
}
