//! `paths`, `check` and `plan`: will an idle connection survive, and with what?

use serde_json::{Value, json};

use crate::command::run;
use crate::fixture::Tree;
use crate::sandbox::{put_in_force, sandboxed};

const SAFE: &str = "--time 240 --intvl 30 --probes 6";

#[test]
fn each_path_has_its_facts() {
    let paths = run("paths --json").code(0).json();
    let named = |name: &str| -> Value {
        let mut all = paths.as_array().unwrap().iter();
        all.find(|p| p["name"] == name).unwrap().clone()
    };
    let nlb = named("aws-nlb");
    assert_eq!(nlb["idle_timeout_s"], 350);
    assert_eq!(nlb["on_expiry"], "resets");
    assert_eq!(nlb["refreshed_by_keepalive"], true);
    assert!(nlb["configurable"].as_str().unwrap().contains("6000"));
    assert_eq!(named("aws-nat")["configurable"], Value::Null);
    assert_eq!(named("azure-lb")["on_expiry"], "forgets");
    assert_eq!(named("aws-alb")["refreshed_by_keepalive"], false);
    for path in paths.as_array().unwrap() {
        assert!(!path["source"].as_str().unwrap().is_empty(), "{path}");
    }
    run("paths")
        .code(0)
        .says("aws-nat ")
        .says("NO: counts bytes");
}

#[test]
fn the_verdict_and_the_exit_code_agree() {
    for (flags, verdict, code) in [
        (SAFE, "safe", 0),
        ("--time 320 --intvl 30 --probes 6", "fragile", 3),
        ("--time 240 --intvl 30 --probes 1", "fragile", 3),
        ("--time 240 --intvl 320 --probes 6", "fragile", 3),
        ("--time 350 --intvl 1 --probes 6", "unsafe", 3),
    ] {
        let said = run(&format!("check --path aws-nat {flags} --json")).code(code);
        let json = said.json();
        assert_eq!(json["verdict"], verdict, "{flags}");
        assert_eq!(json["paths"][0]["path"], "aws-nat");
        if flags.ends_with("--probes 1") {
            assert_eq!(json["margin_s"], Value::Null);
            continue;
        }
        let margin = json["margin_s"].as_f64().unwrap();
        let needs = json["silence_one_lost_s"].as_f64().unwrap() + 1.0;
        assert!((margin - (350.0 - needs)).abs() < 0.001, "{flags}");
    }
    let said = run(&format!("check --idle-timeout 350s {SAFE}")).code(0);
    assert!(said.stdout.starts_with("Safe: "), "{}", said.stdout);
}

#[test]
fn no_probe_refreshes_what_counts_bytes() {
    let said = run(&format!("check --path aws-alb {SAFE} --json")).code(3);
    let json = said.json();
    assert_eq!(json["verdict"], "unsafe");
    assert_eq!(json["paths"][0]["margin_s"], Value::Null);
    run("plan --path aws-alb").code(1).complains("counts bytes");
}

sandboxed! {
    fn check_takes_what_is_in_force() {
        put_in_force([7200, 75, 9]);
        let said = run("check --path aws-nat").code(3).says("Unsafe: ").says("7200/75/9");
        assert!(said.stdout.contains("Try: keepalivectl plan --path aws-nat\n"));
        put_in_force([240, 30, 6]);
        let json = run("check --path aws-nat --json").code(0).json();
        assert_eq!(json["from_kernel"], true);
        let all = run("check --json").code(0).json();
        assert_eq!(all["verdict"], Value::Null);
        assert!(all["paths"].as_array().unwrap().len() >= 30);
        assert_eq!(all["all_known"], true);
    }
}

#[test]
fn a_plan_passes_its_own_check() {
    for wish in [
        "--path aws-nat",
        "--path azure-lb --path aws-nat",
        "--idle-timeout 350s --detect-within 2m",
        "--idle-timeout 90s --lost-probes 3",
        "--path rfc5382-nat",
    ] {
        let json = run(&format!("plan {wish} --json")).code(0).json();
        let timeout = &json["idle_timeout_s"];
        let command = json["command"].as_str().unwrap();
        let values = command.strip_prefix("keepalivectl apply ").unwrap();
        run(&format!("check --idle-timeout {timeout} {values}")).code(0);
        if let Some(within) = json["detect_within_s"].as_f64() {
            assert!(json["idle"]["drop_latest_s"].as_f64().unwrap() <= within);
        }
    }
}

#[test]
fn the_tightest_path_counts() {
    let both = run("plan --path aws-nat --path azure-lb --json")
        .code(0)
        .json();
    let alone = run("plan --path azure-lb --json").code(0).json();
    assert_eq!(both["settings"], alone["settings"]);
    assert_eq!(both["paths"], json!(["aws-nat", "azure-lb"]));
}

#[test]
fn what_cannot_be_is_said_with_the_nearest() {
    let said = run("plan --idle-timeout 3s").code(1);
    said.complains("no settings survive an idle timeout of 3s")
        .complains("1/1/2");
    run("plan --idle-timeout 5m --detect-within 2s")
        .code(1)
        .complains("no settings drop a dead peer within 2s");
    run("plan --idle-timeout 0")
        .code(2)
        .complains("out of range");
    run("plan --path no-such-box")
        .code(2)
        .complains("keepalivectl paths");
    run("plan").code(2);
}

#[test]
fn a_plan_is_kept_as_a_profile() {
    let tree = Tree::new();
    let planned = run("plan --path aws-nat --detect-within 6m --json")
        .code(0)
        .json();
    tree.run("profile create nat --path aws-nat --detect-within 6m")
        .code(0);
    let kept = tree.run("profile show nat --json").code(0).json();
    assert_eq!(kept["settings"], planned["settings"]);
    let about = kept["description"].as_str().unwrap();
    assert!(
        about.contains("aws-nat") && about.contains("360 s"),
        "{about}"
    );
    tree.run("profile create both --path aws-nat --time 60")
        .code(2);
    tree.run("profile create none").code(2);
}
