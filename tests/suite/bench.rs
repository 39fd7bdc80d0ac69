//! The bench: whole processes beside sysctl(8), in one run, as ratios.
//!
//! hyperfine(1) measures, in a sandbox. Nothing is asserted: a machine's speed
//! is no promise of the program's.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::command::{binary, run};
use crate::sandbox::sandboxed;

const ROUNDS: usize = 5;
const RUNS: &str = "200";

const KEYS: [&str; 3] = [
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
];

/// One comparison: what is measured, beside what, and what goes before each
/// run.
struct Pair {
    name: &'static str,
    ours: String,
    theirs: String,
    before: String,
}

fn set(values: [i64; 3]) -> String {
    let pairs: Vec<String> = KEYS
        .iter()
        .zip(values)
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    format!("sysctl -qw {}", pairs.join(" "))
}

/// The medians of both, in milliseconds, over one round.
fn measure(pair: &Pair) -> (f64, f64) {
    let file = std::env::temp_dir().join("hyperfine.json");
    let status = Command::new("hyperfine")
        .args(["-N", "--style=none", "--warmup=20", "--runs", RUNS])
        .args(["--prepare", &pair.before, "--export-json"])
        .arg(&file)
        .args([&pair.ours, &pair.theirs])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("hyperfine is installed").success());
    let json: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let median = |n: usize| json["results"][n]["median"].as_f64().unwrap() * 1000.0;
    (median(0), median(1))
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

sandboxed! {
    #[ignore = "needs hyperfine and sysctl (procps)"]
    fn whole_processes_beside_sysctl() {
        run("enable ssh").code(0);
        // Not the first: what is remembered for revert is there already.
        run("apply kernel-default").code(0);
        run("apply aws-nat").code(0);
        let read = format!("sysctl -n {}", KEYS.join(" "));
        let other = set([200, 20, 5]);
        let write = set([60, 30, 4]);
        let pair = |name, ours: &str, theirs: &String, before: &str| Pair {
            name,
            ours: format!("{} {ours}", binary()),
            theirs: theirs.clone(),
            before: before.to_owned(),
        };
        let pairs = [
            pair("show", "show", &read, "true"),
            pair("show --json", "show --json", &read, "true"),
            pair("apply", "apply --time 60 --intvl 30 --probes 4", &write, &other),
            pair("boot", "boot", &write, &other),
        ];
        assert!(Path::new("/run/keepalivectl").exists());
        eprintln!("bench: medians of {ROUNDS} rounds of {RUNS} runs each");
        eprintln!("{:<12} {:>9} {:>9} {:>6}", "", "ours", "sysctl", "ratio");
        for pair in &pairs {
            let rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| measure(pair)).collect();
            let ours = middle(rounds.iter().map(|r| r.0).collect());
            let theirs = middle(rounds.iter().map(|r| r.1).collect());
            let ratio = middle(rounds.iter().map(|r| r.0 / r.1).collect());
            eprintln!("{:<12} {ours:>6.2} ms {theirs:>6.2} ms {ratio:>6.2}", pair.name);
        }
    }
}
