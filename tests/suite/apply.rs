//! `apply`, `revert`, `verify` and `boot` on a real kernel, in sandboxes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::geteuid;
use serde_json::json;

use crate::bytes::noise;
use crate::command::{Said, program, run};
use crate::sandbox::{
    in_force, put_in_force, read_only_sysctls, sandboxed, sleeping_in_new_namespaces,
};

const DEFAULT: [i64; 3] = [7200, 75, 9];
const DROPIN: &str = "/etc/sysctl.d/99-keepalivectl.conf";

fn dropin(values: [i64; 3]) -> String {
    let [time, intvl, probes] = values;
    format!(
        "# by hand\nnet.ipv4.tcp_keepalive_time = {time}\nnet.ipv4.tcp_keepalive_intvl = {intvl}\n\
         net.ipv4.tcp_keepalive_probes = {probes}\n"
    )
}

sandboxed! {
    fn a_profile_is_in_force() {
        let json = run("apply aws-nat --json").code(0).json();
        assert_eq!(in_force(), [240, 30, 6]);
        assert_eq!(json["changed"], true);
        assert_eq!(json["dry_run"], false);
        assert_eq!(json["before"], json!({"time_s": 7200, "intvl_s": 75, "probes": 9}));
        assert_eq!(json["after"], json!({"time_s": 240, "intvl_s": 30, "probes": 6}));

        let json = run("apply aws-nat --json").code(0).json();
        assert_eq!(json["changed"], false);
        run("apply aws-nat").code(0).says("Unchanged: aws-nat");
    }
}

sandboxed! {
    fn what_is_not_named_stays() {
        run("apply --intvl 10").code(0).says("intvl");
        assert_eq!(in_force(), [7200, 10, 9]);
        run("apply --time 2m --probes 4").code(0);
        assert_eq!(in_force(), [120, 10, 4]);
        let json = run("apply --time 120 --json").code(0).json();
        assert_eq!(json["changed"], false);
    }
}

sandboxed! {
    fn a_dry_run_writes_nothing() {
        let json = run("apply aws-nat --dry-run --json").code(0).json();
        assert_eq!((&json["changed"], &json["dry_run"]), (&json!(true), &json!(true)));
        assert_eq!(json["after"]["time_s"], 240);
        run("apply aws-nat --dry-run").code(0).says("nothing is written");
        assert_eq!(in_force(), DEFAULT);
        assert!(!Path::new("/run/keepalivectl").exists());
    }
}

sandboxed! {
    fn what_harms_is_refused_before_anything_is_written() {
        for values in [
            "--time 60 --probes 0",
            "--time 60 --intvl 0",
            "--intvl 10 --time -1",
            "--time 60 --probes 256",
            "--time 60 --intvl 2147484",
        ] {
            run(&format!("apply {values}")).code(2);
            assert_eq!(in_force(), DEFAULT, "{values}");
        }
        assert!(!Path::new("/run/keepalivectl").exists());
        // Neither is a value kept that harms.
        put_in_force([7200, 75, 0]);
        run("apply --time 60").code(1).complains("7200/75/0").complains("drop healthy");
        assert_eq!(in_force(), [7200, 75, 0]);
        run("show").code(0).says("What is in force is dangerous: probes 0");
        run("apply ssh").code(0);
        run("revert").code(1).complains("is refused");
        assert_eq!(in_force(), [60, 30, 4]);
    }
}

sandboxed! {
    fn the_largest_values_are_taken_by_this_kernel() {
        run("apply --time 2147483 --intvl 2147483 --probes 255").code(0).says("warning: time");
        assert_eq!(in_force(), [2_147_483, 2_147_483, 255]);
    }
}

sandboxed! {
    fn revert_goes_back_to_before_the_first_apply() {
        run("revert").code(0).says("Nothing to revert");
        assert_eq!(run("revert --json").code(0).json(), json!({"changed": false}));
        put_in_force([600, 60, 6]);
        run("apply aws-nat").code(0);
        run("apply --time 50").code(0);
        run("revert --dry-run").code(0).says("600/60/6");
        assert_eq!(in_force(), [50, 30, 6]);
        let json = run("revert --json").code(0).json();
        assert_eq!(json["after"], json!({"time_s": 600, "intvl_s": 60, "probes": 6}));
        assert_eq!(in_force(), [600, 60, 6]);
        run("revert").code(0).says("Nothing to revert");
        // And again from there.
        run("apply ssh").code(0);
        run("revert").code(0);
        assert_eq!(in_force(), [600, 60, 6]);
    }
}

sandboxed! {
    fn a_record_of_another_boot_does_not_count() {
        run("apply ssh").code(0);
        let folder = fs::read_dir("/run/keepalivectl").unwrap();
        let record = folder
            .map(|e| e.unwrap().path())
            .find(|p| p.extension().is_some_and(|e| e == "conf"))
            .unwrap();
        let text = fs::read_to_string(&record).unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        fs::write(&record, text.replace(boot.trim(), "another")).unwrap();
        run("revert").code(0).says("Nothing to revert");
        run("apply --time 61").code(0);
        run("revert").code(0);
        assert_eq!(in_force(), [60, 30, 4]);
    }
}

sandboxed! {
    fn another_namespace_is_reached_and_left() {
        let mut other = sleeping_in_new_namespaces();
        let pid = other.id();
        let inside = |json: serde_json::Value| json["settings"]["time_s"].as_i64().unwrap();
        let show = format!("show --json --netns pid:{pid}");
        assert_eq!(inside(run(&show).code(0).json()), 7200);
        run(&format!("apply ssh --netns pid:{pid}")).code(0);
        assert_eq!(inside(run(&show).code(0).json()), 60);
        assert_eq!(in_force(), DEFAULT);
        run(&format!("apply ssh --netns /proc/{pid}/ns/net")).code(0).says("Unchanged");
        // Each namespace has its own record.
        run("revert").code(0).says("Nothing to revert");
        fs::create_dir("/run/netns").unwrap();
        std::os::unix::fs::symlink(format!("/proc/{pid}/ns/net"), "/run/netns/blue").unwrap();
        run("revert --netns blue").code(0);
        assert_eq!(inside(run(&show).code(0).json()), 7200);
        run("apply ssh --netns no-such").code(1).complains("no-such");
        run("apply ssh --netns /etc/sysctl.d").code(1).complains("/etc/sysctl.d");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}

/// Not in a sandbox, where the test's own user owns the settings: as a plain
/// user on the machine itself, who can do it no harm.
#[test]
fn without_the_privilege_it_says_which_and_what_to_run() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = place.path().join("keepalivectl");
    fs::copy(crate::command::binary(), &binary).unwrap();
    let unprivileged = |line: &str| {
        let mut command = Command::new(&binary);
        command.args(line.split_whitespace());
        if geteuid().is_root() {
            command.uid(65_534).gid(65_534);
        }
        Said::from(command.output().unwrap())
    };
    let before = in_force();
    unprivileged("show").code(0).says(&before[0].to_string());
    unprivileged("apply aws-nat --dry-run").code(0);
    unprivileged(&format!("apply --time {}", before[0]))
        .code(0)
        .says("Unchanged");
    let other = before[0] + 1;
    unprivileged(&format!("apply --json --time {other}"))
        .code(1)
        .complains("CAP_NET_ADMIN in this network namespace is missing")
        .complains(&format!("sudo keepalivectl apply --json --time {other}"));
    unprivileged("enable aws-nat")
        .code(1)
        .complains("sudo keepalivectl enable aws-nat");
    assert_eq!(in_force(), before);
}

sandboxed! {
    fn read_only_sysctls_get_their_own_advice() {
        read_only_sysctls();
        run("apply aws-nat")
            .code(1)
            .complains("read-only")
            .complains("--sysctl net.ipv4.tcp_keepalive_time=240")
            .complains("securityContext");
        run("show").code(0);
        assert_eq!(in_force(), DEFAULT);
    }
}

sandboxed! {
    fn fifty_at_once_end_with_one_of_them_whole() {
        let children: Vec<Child> = (1..=50)
            .map(|n| {
                let values = [1000 + n, 100 + n, n].map(|v: i32| v.to_string());
                program()
                    .args(["apply", "--time", &values[0], "--intvl", &values[1]])
                    .args(["--probes", &values[2]])
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let [time, intvl, probes] = in_force();
        assert!((1..=50).contains(&probes));
        assert_eq!([time, intvl], [1000 + probes, 100 + probes]);
        run("revert").code(0);
        assert_eq!(in_force(), DEFAULT);
    }
}

sandboxed! {
    fn a_lock_that_is_held_is_waited_for_and_then_named() {
        fs::create_dir("/run/keepalivectl").unwrap();
        let lock = fs::File::create("/run/keepalivectl/lock").unwrap();
        lock.lock().unwrap();
        let start = Instant::now();
        let said = run("apply ssh").code(1).complains("/run/keepalivectl/lock");
        assert!(start.elapsed() >= Duration::from_secs(9), "{said:?}");
        assert_eq!(in_force(), DEFAULT);
        lock.unlock().unwrap();
        run("apply ssh").code(0);
    }
}

sandboxed! {
    fn the_lock_is_never_taken_through_a_link() {
        fs::create_dir("/run/keepalivectl").unwrap();
        std::os::unix::fs::symlink("/etc/elsewhere", "/run/keepalivectl/lock").unwrap();
        run("apply ssh").code(1).complains("symbolic link");
        assert!(!Path::new("/etc/elsewhere").exists());
        assert_eq!(in_force(), DEFAULT);
    }
}

sandboxed! {
    fn verify_tells_drift_by_its_exit_code() {
        run("verify").code(1).complains("no profile is enabled");
        fs::write(DROPIN, dropin([60, 10, 3])).unwrap();
        let json = run("verify --json").code(3).json();
        assert_eq!(json["matches"], false);
        assert_eq!(json["differences"].as_array().unwrap().len(), 3);
        assert_eq!(
            json["differences"][0],
            json!({"setting": "time", "in_force": 7200, "enabled": 60})
        );
        run("verify").code(3).says("60/10/3 is enabled, but 7200/75/9 is in force");
        put_in_force([60, 10, 3]);
        run("verify").code(0).says("enabled and in force");
        put_in_force([60, 10, 4]);
        let json = run("verify --json").code(3).json();
        assert_eq!(json["differences"].as_array().unwrap().len(), 1);
    }
}

sandboxed! {
    fn boot_applies_what_is_kept_and_logs_it() {
        run("boot").code(1).complains("no profile is enabled");
        fs::write(DROPIN, dropin([60, 10, 3])).unwrap();
        let said = run("boot").code(0).says("dropped after 1min 30s");
        assert_eq!(said.stdout.lines().count(), 1);
        assert_eq!(in_force(), [60, 10, 3]);
        // It is what the boot has set, so there is nothing to go back to.
        run("revert").code(0).says("Nothing to revert");
        assert_eq!(run("boot --json").code(0).json()["changed"], false);
    }
}

sandboxed! {
    fn boot_with_a_broken_drop_in_fails_and_changes_nothing() {
        for text in [
            dropin([60, 10, 0]).into_bytes(),
            dropin([60, 10, 3]).replace("_probes", "_prbes").into_bytes(),
            Vec::new(),
            noise(1 << 20),
        ] {
            fs::write(DROPIN, text).unwrap();
            for command in ["boot", "verify"] {
                let said = run(command).code(1).complains("99-keepalivectl.conf");
                assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
            }
            assert_eq!(in_force(), DEFAULT);
            // It is shown all the same, with the fault.
            run("show").code(1).says("7200").complains("99-keepalivectl.conf");
        }
    }
}
