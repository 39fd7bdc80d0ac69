//! `time-to-drop`.

use serde_json::json;

use crate::command::run;

#[test]
fn the_numbers_of_the_kernels_rule() {
    for (flags, sent, drop) in [
        ("--time 7200 --intvl 75 --probes 9", 9, 7875),
        ("--time 2h --intvl 1m15s --probes 9", 9, 7875),
        ("--time 1 --intvl 1 --probes 5", 5, 6),
        ("--time 60 --intvl 10 --probes 3 --user-timeout 86s", 3, 90),
        ("--time 60 --intvl 10 --probes 3 --user-timeout 1ms", 1, 70),
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
    assert!(json["idle"].get("timeline").is_none());
    let json = run("time-to-drop --json --time 5 --intvl 5 --probes 5")
        .code(0)
        .json();
    assert!(json["user_timeout_ms"].is_null());
}

#[test]
fn the_timeline_lists_each_probe_and_the_drop() {
    let line = "time-to-drop --time 60 --intvl 10 --probes 3 --timeline";
    let json = run(&format!("{line} --json")).code(0).json();
    let events: Vec<(u64, &str)> = json["idle"]["timeline"]
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
    let line =
        "time-to-drop --time 1 --intvl 1 --probes 1 --user-timeout 1h --timeline --state idle";
    assert!(run(line).code(0).says("left out").stdout.lines().count() < 130);
    let json = run(&format!("{line} --json")).code(0).json();
    assert_eq!(json["idle"]["timeline"].as_array().unwrap().len(), 3600);
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
        ("--rto-max 999ms", "1000 to 120000"),
        ("--rto-max 121s", "1000 to 120000"),
        ("--rto-max 1s1us", "whole milliseconds"),
        (
            "--time 1 --intvl 1 --user-timeout 20d --timeline",
            "the timeline has",
        ),
    ] {
        run(&format!("time-to-drop {flag}"))
            .code(2)
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

#[test]
fn the_three_states_stand_side_by_side() {
    let line = "time-to-drop --time 60 --intvl 10 --probes 3 --retries2 5 --rto-max 120s --hz 250";
    let said = run(line)
        .code(0)
        .says("idle ")
        .says("in-flight ")
        .says("zero-window ");
    let first = said.stdout.lines().next().unwrap();
    assert!(first.contains("dropped after 1min 30s"), "{first}");
    let json = run(&format!("{line} --json")).code(0).json();
    // A timeout of 204 ms: the fifth doubling ends past the limit of 12.6 s.
    assert_eq!(json["in_flight"]["drop_s"], 12.852);
    assert_eq!(json["in_flight"]["decided_by"], "retries2");
    // 204 ms doubled five times.
    assert_eq!(json["zero_window"]["drop_s"], 12.852);
    assert_eq!(json["zero_window"]["window_probes"], 5);
    for state in ["idle", "in_flight", "zero_window"] {
        let bound = |name: &str| json[state][name].as_f64().unwrap();
        assert!(bound("drop_s") < bound("drop_latest_s"), "{state}");
    }
}

#[test]
fn one_state_can_be_asked_for() {
    let line = "time-to-drop --time 60 --intvl 10 --probes 3 --state in-flight --timeline";
    let json = run(&format!("{line} --json")).code(0).json();
    assert!(json.get("idle").is_none() && json.get("zero_window").is_none());
    let events = json["in_flight"]["timeline"].as_array().unwrap();
    assert_eq!(events[0]["event"], "loss-probe");
    assert_eq!(
        events[1],
        json!({"at_s": events[1]["at_s"], "latest_s": events[1]["latest_s"],
        "event": "retransmission", "number": 1})
    );
    assert_eq!(events.last().unwrap()["event"], "drop");
    run(line)
        .code(0)
        .says("retransmission 1")
        .says("data in flight");
}

#[test]
fn the_rtt_and_the_tick_rate_count() {
    let json = |flags: &str| {
        let line = format!("time-to-drop --json --time 60 --intvl 10 --probes 3 {flags}");
        run(&line).code(0).json()
    };
    let rto = |flags: &str| json(flags)["in_flight"]["rto_s"].as_f64().unwrap();
    assert_eq!(rto("--hz 1000"), 0.201);
    assert_eq!(rto("--hz 1000 --rtt 80ms"), 0.28);
    assert_eq!(rto("--rto 1416ms"), 1.416);
    let latest = |hz: &str| json(hz)["idle"]["drop_latest_s"].as_f64().unwrap();
    // Granules of 4.096 s and 0.512 s, and of 2.048 s and 0.256 s.
    assert_eq!(latest("--hz 1000"), 90.0 + 4.096 + 3.0 * 0.512);
    assert_eq!(latest("--hz 250"), 90.0 + 2.048 + 3.0 * 0.256);
}

#[test]
fn the_cost_is_for_healthy_connections() {
    let line = "time-to-drop --json --time 240 --intvl 30 --probes 6 --connections 1000";
    let cost = run(line).code(0).json()["cost"].clone();
    assert_eq!(cost["packets_per_hour"], 30_000.0);
    assert_eq!(cost["bytes_per_day"], 37_440_000);
    assert_eq!(cost["bytes_per_day_ipv6"], 51_840_000);
}
