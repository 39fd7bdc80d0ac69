//! Independent programs read what we wrote, and decide what we say they decide.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use nix::mount::umount;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::command::run;
use crate::sample::Sample;
use crate::sandbox::{in_force, put_in_force, sandboxed};

/// sysctl(8)'s answer for the three keys.
fn sysctl() -> Vec<i64> {
    let keys = ["time", "intvl", "probes"].map(|k| format!("net.ipv4.tcp_keepalive_{k}"));
    let output = Command::new("sysctl").arg("-n").args(keys).output();
    let output = output.expect("sysctl is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|l| l.parse().unwrap()).collect()
}

sandboxed! {
    #[ignore = "needs sysctl (procps)"]
    fn sysctl_reads_what_apply_and_revert_wrote() {
        run("apply aws-nat").code(0);
        assert_eq!(sysctl(), [240, 30, 6]);
        run("apply --probes 255").code(0);
        assert_eq!(sysctl(), [240, 30, 255]);
        run("revert").code(0);
        assert_eq!(sysctl(), [7200, 75, 9]);
    }
}

sandboxed! {
    #[ignore = "needs sysctl (procps)"]
    fn a_profile_is_a_file_for_sysctl_p() {
        run("profile create mine --time 61 --intvl 11 --probes 4").code(0);
        run("enable ssh").code(0);
        for (file, values) in [
            ("/etc/keepalivectl/profiles/mine.conf", [61, 11, 4]),
            ("/etc/sysctl.d/99-keepalivectl.conf", [60, 30, 4]),
        ] {
            let status = Command::new("sysctl").args(["-q", "-p", file]).status();
            assert!(status.expect("sysctl is installed").success());
            assert_eq!(sysctl(), values, "{file}");
        }
    }
}

/// One tree of sysctl.d files: (folder, name, lines).
type Files = Vec<(&'static str, &'static str, Vec<String>)>;

fn line() -> impl Strategy<Value = String> {
    const KEYS: &[&str] = &[
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net/ipv4/tcp_keepalive_time",
        "/net/ipv4/tcp_keepalive_intvl",
        "net/ipv4//tcp_keepalive_probes",
        "-net.ipv4.tcp_keepalive_time",
        "  net.ipv4.tcp_keepalive_probes\t",
        "net.ipv4/tcp_keepalive_time",
        "net.ipv4.tcp_keepalive_*",
        "net/ipv4/tcp_keepalive_[tp]*",
        "net.*.tcp_keepalive_time",
        "net.ipv4.tcp_keepalive_[^t]*",
        "net.ipv4.tcp_keepalive_[!p]*",
        "-net.ipv4.tcp_keepalive_prob?s",
        "net.ipv4.tcp_keepalive_**",
        "net.ipv?.tcp_keepalive_intvl",
        "net.*_keepalive_time",
        "net.ipv4.tcp_keepalive_{time,intvl}*",
        "net.ipv{4,6}.tcp_keepalive_p*",
    ];
    const VALUES: &[&str] = &[
        "20", "30", "200", "0x10", "010", "abc", "", "5 6", "7\t8", "0", "-1", "300", "8589935",
        "12x", "+4", "= 9",
    ];
    const OTHER: &[&str] = &[
        "",
        "# comment",
        "; comment",
        "  # net.ipv4.tcp_keepalive_time = 1",
        "nonsense",
        "net.ipv4.tcp_keepalive_time",
        "-net.ipv4.tcp_keepalive_time",
        "-net.ipv4.tcp_keepalive_probes",
        "-net.ipv4.tcp_keepalive_*",
        "-net/ipv4/tcp_keepalive_intvl  ",
    ];
    let assignment = (select(KEYS), select(&["=", " = "][..]), select(VALUES));
    prop_oneof![
        4 => assignment.prop_map(|(key, equals, value)| format!("{key}{equals}{value}")),
        1 => select(OTHER).prop_map(str::to_owned),
    ]
}

/// One or two lines, with what ends a line for some readers only.
fn row() -> impl Strategy<Value = String> {
    let ends = select(&["\r", "\0", "\r\0", "\0\r", "\r\r", " \r "][..]);
    prop_oneof![
        6 => line(),
        1 => (line(), ends.clone()).prop_map(|(line, end)| format!("{line}{end}")),
        3 => (line(), ends, line()).prop_map(|(one, end, two)| format!("{one}{end}{two}")),
    ]
}

fn files() -> impl Strategy<Value = Files> {
    const FOLDERS: &[&str] = &["/etc/sysctl.d", "/run/sysctl.d", "/usr/lib/sysctl.d"];
    const NAMES: &[&str] = &[
        "10-a.conf",
        "50-b.conf",
        "99-z.conf",
        ".hidden.conf",
        "no-conf",
    ];
    let in_folder = (
        select(FOLDERS),
        select(NAMES),
        prop::collection::vec(row(), 0..5),
    );
    let sysctl_conf =
        prop::collection::vec(row(), 0..3).prop_map(|lines| ("/etc", "sysctl.conf", lines));
    let link = Just((
        "/etc/sysctl.d",
        "99-sysctl.conf",
        vec!["-> ../sysctl.conf".to_owned()],
    ));
    prop::collection::vec(
        prop_oneof![8 => in_folder, 2 => sysctl_conf, 1 => link],
        0..5,
    )
}

/// Puts the files in place, and nothing else.
fn lay_out(files: &Files) {
    for folder in ["/etc/sysctl.d", "/run/sysctl.d", "/usr/lib/sysctl.d"] {
        fs::create_dir_all(folder).unwrap();
        for entry in fs::read_dir(folder).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
    fs::write("/etc/sysctl.conf", "").unwrap();
    for (folder, name, lines) in files {
        let path = Path::new(folder).join(name);
        let _ = fs::remove_file(&path);
        match lines.first().and_then(|l| l.strip_prefix("-> ")) {
            Some(target) => symlink(target, path).unwrap(),
            None => fs::write(path, lines.join("\n") + "\n").unwrap(),
        }
    }
}

/// Holds what `show` says of the next boot against what a reader really sets.
fn compare(reader: &str, really: impl Fn()) {
    const TREES: usize = 1000;
    let sample = Sample::from_environment();
    let cases = sample.share(TREES);
    sample.print("readers", cases, TREES);
    let config = Config {
        cases: cases as u32,
        failure_persistence: None,
        ..Config::default()
    };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &sample.seed_bytes::<32>());
    let mut runner = TestRunner::new_with_rng(config, random);
    let outcome = runner.run(&files(), |files| {
        lay_out(&files);
        put_in_force([7200, 75, 9]);
        let json = run("show --json").json();
        let next = &json["next_boot"];
        let said = ["time_s", "intvl_s", "probes"].map(|k| next[k]["value"].as_i64().unwrap());
        really();
        prop_assert_eq!(said, in_force(), "{}", next);
        let by = next["time_s"]["by"].as_str().unwrap();
        prop_assert!(by == reader || by == "kernel", "{}", by);
        Ok(())
    });
    if let Err(e) = outcome {
        panic!("{reader}: {e}");
    }
    eprintln!("readers: {reader}: {cases} trees of sysctl.d files, 0 differences");
}

sandboxed! {
    #[ignore = "needs sysctl (procps)"]
    fn sysctl_system_sets_what_show_says() {
        compare("sysctl --system", || {
            // It complains of bad lines by its exit code.
            let output = Command::new("sysctl").arg("--system").output();
            output.expect("sysctl is installed");
        });
    }
}

sandboxed! {
    #[ignore = "needs systemd-sysctl"]
    fn systemd_sysctl_sets_what_show_says() {
        // The sandbox hides systemd.
        for folder in ["/lib/systemd", "/usr/lib/systemd"] {
            umount(folder).unwrap();
        }
        compare("systemd-sysctl", || {
            let output = Command::new("/usr/lib/systemd/systemd-sysctl").output();
            output.expect("systemd-sysctl is installed");
        });
    }
}
