//! `time-to-drop`.

use serde_json::json;

use crate::command::run;

#[test]
fn the_numbers_of_the_kernels_rule() {
    for (flags, sent, drop) in [
        ("--time 7200 --intvl 75 --probes 9", 9, 7875),
        ("--time 2h --intvl 1m15s --probes 9", 9, 7875),
        ("--time 1 --intvl 1 --probes 5", 5, 6),
        ("--time 60 --intvl 10 --probes 3 --user-timeout 85s", 3, 90),
        ("--time 60 --intvl 10 --probes 3 --user-timeout 1ms", 1, 70),
        (
            "--time 60 --intvl 10 --probes 3 --user-timeout 10m",
            54,
            600,
        ),
    ] {
        let said = run(&format!("time-to-drop --json {flags}")).code(0);
        let idle = &said.json()["idle"];
        assert_eq!(idle["probes_sent"], sent, "{flags}");
        assert_eq!(idle["drop_s"], drop, "{flags}");
        let latest = idle["drop_latest_s"].as_f64().unwrap();
        let drop = f64::from(drop);
        assert!(drop < latest && latest < drop * 1.128, "{flags}: {latest}");
    }
}

#[test]
fn json_keeps_its_fields() {
    let said = run("time-to-drop --json --time 30 --intvl 75 --probes 2 --user-timeout 2500ms");
    let json = said.code(0).json();
    assert_eq!(
        json["settings"],
        json!({"time_s": 30, "intvl_s": 75, "probes": 2})
    );
    assert_eq!(json["user_timeout_ms"], 2500);
    assert_eq!(json["idle"]["first_probe_s"], 30);
    assert_eq!(json["idle"]["refresh_s"], 75);
    assert!(json.get("timeline").is_none());
    let json = run("time-to-drop --json --time 5 --intvl 5 --probes 5")
        .code(0)
        .json();
    assert!(json["user_timeout_ms"].is_null());
}

#[test]
fn the_timeline_lists_each_probe_and_the_drop() {
    let line = "time-to-drop --time 60 --intvl 10 --probes 3 --timeline";
    let json = run(&format!("{line} --json")).code(0).json();
    let events: Vec<(u64, &str)> = json["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["at_s"].as_u64().unwrap(), e["event"].as_str().unwrap()))
        .collect();
    assert_eq!(
        events,
        [(60, "probe"), (70, "probe"), (80, "probe"), (90, "drop")]
    );
    let said = run(line)
        .code(0)
        .says("\n1min 10s")
        .says("dropped: ETIMEDOUT");
    let first = said.stdout.lines().next().unwrap();
    assert!(first.contains("dropped after 1min 30s"), "{first}");
}

#[test]
fn a_long_timeline_is_shortened_for_people_only() {
    let line = "time-to-drop --time 1 --intvl 1 --probes 1 --user-timeout 1h --timeline";
    assert!(run(line).code(0).says("left out").stdout.lines().count() < 130);
    let json = run(&format!("{line} --json")).code(0).json();
    assert_eq!(json["timeline"].as_array().unwrap().len(), 3600);
}

#[test]
fn what_is_not_given_comes_from_the_kernel() {
    let json = run("time-to-drop --json --time 60").code(0).json();
    let [_, intvl, probes] = crate::sandbox::in_force();
    assert_eq!(
        json["settings"],
        json!({"time_s": 60, "intvl_s": intvl, "probes": probes})
    );
}

#[test]
fn illegal_values_are_refused_with_the_reason() {
    for (flag, reason) in [
        ("--time 0", "does not wait"),
        ("--intvl -1", "does not wait"),
        ("--time 2147484", "HZ=1000"),
        ("--intvl 25d", "HZ=1000"),
        ("--probes 0", "drop healthy connections"),
        ("--probes 256", "counts to 255"),
        ("--user-timeout 0ms", "TCP_USER_TIMEOUT"),
        ("--user-timeout 30d", "TCP_USER_TIMEOUT"),
    ] {
        run(&format!("time-to-drop {flag}"))
            .code(1)
            .complains(reason);
    }
}

#[test]
fn what_no_socket_can_be_given_is_warned_of() {
    let line = "time-to-drop --time 32768 --intvl 32767 --probes 128";
    let said = run(line)
        .code(0)
        .says("warning: time 32768")
        .says("warning: probes 128");
    assert!(!said.stdout.contains("warning: intvl"));
}
