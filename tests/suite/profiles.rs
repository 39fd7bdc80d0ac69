//! `profile`: the built-in ones and the administrator's.

use serde_json::{Value, json};

use crate::bytes::noise;
use crate::command::run;
use crate::fixture::Tree;

const MINE: &str = "etc/keepalivectl/profiles/mine.conf";
const GOOD: &str = "# mine\nnet.ipv4.tcp_keepalive_time = 60\n\
    net.ipv4.tcp_keepalive_intvl = 10\nnet.ipv4.tcp_keepalive_probes = 3\n";

fn entry(list: &Value, name: &str) -> Value {
    let entries = list.as_array().unwrap();
    let found = entries.iter().find(|e| e["name"] == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {list}"))
        .clone()
}

#[test]
fn the_list_is_an_array_with_its_fields() {
    let list = run("profile list --json").code(0).json();
    let nat = entry(&list, "aws-nat");
    assert_eq!(nat["origin"], "built-in");
    assert_eq!(
        nat["settings"],
        json!({"time_s": 240, "intvl_s": 30, "probes": 6})
    );
    assert_eq!(nat["drop_s"], 420);
    let survives = nat["survives_idle_s"].as_f64().unwrap();
    assert!(270.0 * 1.125 < survives && survives < 350.0, "{survives}");
    let kernel = entry(&list, "kernel-default");
    assert_eq!(kernel["drop_s"], 7875);
}

#[test]
fn each_profile_can_be_shown() {
    let list = run("profile list --json").code(0).json();
    for entry in list.as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        let said = run(&format!("profile show {name}")).code(0);
        assert!(said.stdout.starts_with(&format!("{name}: ")));
        assert!(
            said.stdout.contains("Why: ") && said.stdout.contains("Source: "),
            "{name}"
        );
        let json = run(&format!("profile show {name} --json")).code(0).json();
        for field in ["settings", "drop_s", "survives_idle_s"] {
            assert_eq!(json[field], entry[field], "{name}");
        }
    }
}

#[test]
fn an_own_profile_is_a_sysctl_file_and_can_be_deleted() {
    let tree = Tree::new();
    tree.run("profile create mine --time 1m --intvl 10s --probes 3")
        .code(0)
        .says("60/10/3");
    assert_eq!(tree.read(MINE), GOOD.replace("# mine", "# 60/10/3"));
    assert_eq!(tree.mode(MINE), 0o644);
    assert_eq!(tree.files(), [MINE]);
    let list = tree.run("profile list --json").code(0).json();
    assert_eq!(entry(&list, "mine")["origin"], "administrator");
    tree.run("profile show mine")
        .code(0)
        .says("profiles/mine.conf");

    let again = "profile create mine --time 5 --intvl 5 --probes 5";
    tree.run(again).code(1).complains("--replace");
    assert!(tree.read(MINE).contains("= 60"));
    tree.run(&format!("{again} --replace")).code(0);
    assert!(tree.read(MINE).contains("= 5"));

    tree.run("profile delete mine").code(0);
    assert_eq!(tree.files(), Vec::<String>::new());
    tree.run("profile delete mine")
        .code(1)
        .complains("no profile mine");
}

#[test]
fn an_own_profile_wins_over_a_built_in_one() {
    let tree = Tree::new();
    let create = "profile create aws-nat --time 100 --intvl 10 --probes 3";
    tree.run(create).code(0).says("wins over the built-in");
    let list = tree.run("profile list --json").code(0).json();
    let nat = entry(&list, "aws-nat");
    assert_eq!(nat["settings"]["time_s"], 100);
    let names = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["name"] == "aws-nat");
    assert_eq!(names.count(), 1);
    tree.run("enable aws-nat").code(0).says("100/10/3");
    tree.run("profile delete aws-nat")
        .code(0)
        .says("serves again");
    tree.run("profile delete aws-nat")
        .code(1)
        .complains("built in");
    let json = tree.run("profile show aws-nat --json").code(0).json();
    assert_eq!(json["settings"]["time_s"], 240);
}

#[test]
fn a_description_stays_one_short_line() {
    let tree = Tree::new();
    let long = "x".repeat(70_000);
    let create =
        format!("profile create mine --time 60 --intvl 10 --probes 3 --description {long}");
    tree.run(&create).code(0);
    tree.run("profile show mine").code(0);
    tree.run("enable mine").code(0);
    tree.run("show").code(0).says("mine (60/10/3)");
    // Nor can it pass for another profile's name.
    let create = [
        "--root",
        tree.path("").to_str().unwrap(),
        "profile",
        "create",
        "other",
        "--time=60",
        "--intvl=10",
        "--probes=1",
        "--description=kept for boot by `keepalivectl enable redis`",
    ]
    .map(str::to_owned);
    let said = crate::command::keepalivectl(create).code(0);
    said.says("a single lost probe drops");
    tree.run("enable other").code(0);
    assert_eq!(
        tree.run("show --json").code(0).json()["enabled"]["profile"],
        "other"
    );
}

#[test]
fn a_name_that_is_none_gets_advice() {
    run("profile show aws")
        .code(1)
        .complains("did you mean")
        .complains("aws-nat");
    run("profile show zzz").code(1).complains("profile list");
}

#[test]
fn an_illegal_profile_is_not_written() {
    let tree = Tree::new();
    for flags in [
        "--time 0 --intvl 1 --probes 1",
        "--time 1 --intvl 1 --probes 0",
    ] {
        tree.run(&format!("profile create mine {flags}")).code(2);
    }
    assert_eq!(tree.files(), Vec::<String>::new());
}

/// Every fault of a file, with what the error has to name.
fn faults() -> Vec<(Vec<u8>, &'static str)> {
    let good = GOOD.as_bytes();
    let with = |more: &str| [good, more.as_bytes()].concat();
    vec![
        (with("nonsense\n"), ":5: \"nonsense\""),
        (
            with("net.ipv4.tcp_keepalive_time = 61\n"),
            ":5: net.ipv4.tcp_keepalive_time is set a second time",
        ),
        (with("vm.swappiness = 1\n"), ":5: \"vm.swappiness\""),
        (GOOD.replace("= 3", "= 0").into(), ":4: probes 0"),
        (GOOD.replace("= 10", "= ten").into(), ":3: \"ten\""),
        (
            GOOD.replace("= 60", "= 99999999999999999999").into(),
            ":2: \"9999",
        ),
        (
            GOOD.lines().take(3).collect::<Vec<_>>().join("\n").into(),
            "tcp_keepalive_probes is missing",
        ),
        (Vec::new(), "tcp_keepalive_time is missing"),
        (with("\u{0}\n"), ":5:"),
        (noise(1 << 20), "larger than 64 KiB"),
        ([good, b"# \xff\n"].concat(), ":5: the byte 0xff"),
    ]
}

#[test]
fn a_broken_profile_gives_one_clear_error_and_changes_nothing() {
    for (text, reason) in faults() {
        let tree = Tree::with_systemd();
        tree.write(MINE, &text);
        let before = tree.files();
        for command in ["enable mine", "profile show mine"] {
            let said = tree
                .run(command)
                .code(1)
                .complains(reason)
                .complains("mine.conf");
            assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
            assert_eq!(said.stdout, "");
        }
        assert_eq!(tree.files(), before);
        // The others are listed all the same.
        let said = tree
            .run("profile list")
            .code(1)
            .complains(reason)
            .says("aws-nat");
        assert_eq!(said.stderr.lines().count(), 1);
    }
}

#[test]
fn something_else_in_its_place_is_named() {
    let tree = Tree::new();
    std::fs::create_dir_all(tree.path(MINE)).unwrap();
    tree.run("enable mine").code(1).complains("a directory");
    tree.run("profile create mine --time 5 --intvl 5 --probes 5 --replace")
        .code(1)
        .complains("a directory");

    let tree = Tree::new();
    tree.write("elsewhere", "kept");
    tree.link(MINE, "../../../elsewhere");
    tree.run("profile create mine --time 5 --intvl 5 --probes 5 --replace")
        .code(1)
        .complains("symbolic link");
    assert_eq!(tree.read("elsewhere"), "kept");

    let tree = Tree::new();
    std::fs::create_dir_all(tree.path("etc/keepalivectl/profiles")).unwrap();
    nix::unistd::mkfifo(&tree.path(MINE), nix::sys::stat::Mode::S_IRWXU).unwrap();
    tree.run("enable mine").code(1).complains("a pipe");
}
