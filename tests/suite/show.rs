//! `show`: which line of which file decides the next boot.

use crate::fixture::{DROPIN, Tree, UNIT};

const T: &str = "net.ipv4.tcp_keepalive_time";

/// A sysctl.d file with all three keys.
fn three(time: i64, intvl: i64, probes: i64) -> String {
    format!(
        "# three\n{T} = {time}\nnet.ipv4.tcp_keepalive_intvl = {intvl}\n\
         net.ipv4.tcp_keepalive_probes = {probes}\n"
    )
}

/// (value, source without the tree, line, by) of the next boot's time.
#[track_caller]
fn time(tree: &Tree) -> (i64, Option<String>, Option<i64>, String) {
    let json = tree.run("show --json").code(0).json();
    let time = &json["next_boot"]["time_s"];
    let top = tree.path("");
    let source = time["source"].as_str().map(|s| {
        let inside = std::path::Path::new(s).strip_prefix(&top).unwrap();
        inside.to_str().unwrap().to_owned()
    });
    let by = time["by"].as_str().unwrap().to_owned();
    (
        time["value"].as_i64().unwrap(),
        source,
        time["line"].as_i64(),
        by,
    )
}

fn decided(
    value: i64,
    source: &str,
    line: i64,
    by: &str,
) -> (i64, Option<String>, Option<i64>, String) {
    (value, Some(source.to_owned()), Some(line), by.to_owned())
}

#[test]
fn an_empty_tree_boots_with_the_kernels_values() {
    let tree = Tree::new();
    assert_eq!(time(&tree), (7200, None, None, "kernel".to_owned()));
    let json = tree.run("show --json").code(0).json();
    for field in ["settings", "time_to_drop", "enabled"] {
        assert!(json[field].is_null(), "{field}");
    }
    assert_eq!(json["drift"], false);
    tree.run("show")
        .code(0)
        .says("the kernel: no file says otherwise");
}

#[test]
fn without_systemd_sysctl_conf_is_last() {
    let tree = Tree::new();
    tree.write(DROPIN, three(60, 10, 3));
    assert_eq!(time(&tree), decided(60, DROPIN, 2, "sysctl --system"));
    tree.write("etc/sysctl.conf", format!("# a\n\n{T}=80\n"));
    assert_eq!(
        time(&tree),
        decided(80, "etc/sysctl.conf", 3, "sysctl --system")
    );
}

#[test]
fn with_systemd_sysctl_conf_counts_through_a_link_only() {
    let tree = Tree::with_systemd();
    tree.write(DROPIN, three(60, 10, 3));
    tree.write("etc/sysctl.conf", format!("{T}=80\n"));
    assert_eq!(time(&tree), decided(60, DROPIN, 2, "systemd-sysctl"));
    tree.link("etc/sysctl.d/99-sysctl.conf", "../sysctl.conf");
    assert_eq!(
        time(&tree),
        decided(80, "etc/sysctl.conf", 1, "systemd-sysctl")
    );
    // An absolute link means the file of the same tree.
    std::fs::remove_file(tree.path("etc/sysctl.d/99-sysctl.conf")).unwrap();
    tree.link("etc/sysctl.d/99-sysctl.conf", "/etc/sysctl.conf");
    assert_eq!(
        time(&tree),
        decided(80, "etc/sysctl.conf", 1, "systemd-sysctl")
    );
}

#[test]
fn files_sort_by_name_and_etc_hides_usr() {
    let tree = Tree::with_systemd();
    tree.write("usr/lib/sysctl.d/50-a.conf", format!("{T}=50"));
    tree.write("run/sysctl.d/40-b.conf", format!("{T}=40"));
    assert_eq!(time(&tree).0, 50);
    tree.write("etc/sysctl.d/50-a.conf", "# nothing");
    assert_eq!(time(&tree).0, 40);
    tree.write("usr/local/lib/sysctl.d/60-c.conf", format!("{T}=60"));
    assert_eq!(time(&tree).0, 60);
    tree.link("etc/sysctl.d/60-c.conf", "/dev/null");
    assert_eq!(time(&tree).0, 40);
    tree.write("etc/sysctl.d/70-not-a-conf", format!("{T}=70"));
    assert_eq!(time(&tree).0, 40);
}

crate::sandbox::sandboxed! {
    fn the_enabled_unit_has_the_last_word() {
        let tree = Tree::with_systemd();
        tree.write(DROPIN, three(60, 10, 3));
        tree.write("etc/sysctl.d/99-zz.conf", format!("{T}=80"));
        assert_eq!(
            time(&tree),
            decided(80, "etc/sysctl.d/99-zz.conf", 1, "systemd-sysctl")
        );
        tree.run("enable ssh").code(0);
        tree.write(DROPIN, three(60, 10, 3));
        assert_eq!(time(&tree), decided(60, DROPIN, 2, "keepalivectl.service"));
        // Without its program it has not, nor masked.
        tree.set_mode("usr/local/bin/keepalivectl", 0o644);
        let said = tree.run("show").code(1).complains("cannot be run");
        said.says("99-zz.conf:1, by systemd-sysctl");
        tree.set_mode("usr/local/bin/keepalivectl", 0o755);
        assert_eq!(time(&tree).0, 60);
        std::fs::remove_file(tree.path(UNIT)).unwrap();
        tree.link(UNIT, "/dev/null");
        assert_eq!(time(&tree).0, 80);
    }
}

#[test]
fn globs_and_minus_are_understood() {
    let tree = Tree::with_systemd();
    tree.write("etc/sysctl.d/10.conf", "net.ipv4.tcp_keepalive_* = 44\n");
    assert_eq!(
        time(&tree),
        decided(44, "etc/sysctl.d/10.conf", 1, "systemd-sysctl")
    );
    tree.write(DROPIN, three(60, 10, 3));
    tree.write("etc/sysctl.d/99-zz.conf", "net.ipv4.tcp_keepalive_* = 55\n");
    assert_eq!(time(&tree), decided(60, DROPIN, 2, "systemd-sysctl"));
    tree.write("etc/sysctl.d/99-zzz.conf", format!("\n-{T}\n"));
    let zzz = "etc/sysctl.d/99-zzz.conf";
    assert_eq!(time(&tree), decided(7200, zzz, 2, "kernel"));
    tree.run("show")
        .code(0)
        .says("99-zzz.conf:2")
        .says("cancels");
}

#[test]
fn a_refused_value_is_noted() {
    let tree = Tree::with_systemd();
    tree.write("etc/sysctl.d/99-zz.conf", format!("{T} = soon\n"));
    assert_eq!(time(&tree).0, 7200);
    tree.run("show")
        .code(0)
        .says("99-zz.conf:1: the kernel refuses \"soon\"");
}

#[test]
fn what_is_enabled_is_named() {
    let tree = Tree::new();
    tree.run("enable aws-nat").code(0);
    let json = tree.run("show --json").code(0).json();
    assert_eq!(json["enabled"]["profile"], "aws-nat");
    assert_eq!(json["enabled"]["settings"]["time_s"], 240);
    let file = json["enabled"]["file"].as_str().unwrap();
    assert!(file.ends_with(DROPIN));
    tree.run("show").code(0).says("aws-nat (240/30/6)");
    // By hand it has no name, and counts.
    tree.write(DROPIN, three(60, 10, 3));
    let json = tree.run("show --json").code(0).json();
    assert!(json["enabled"]["profile"].is_null());
    assert_eq!(json["enabled"]["settings"]["time_s"], 60);
}

#[test]
fn odd_things_in_sysctl_d_are_survived() {
    let tree = Tree::new();
    std::fs::create_dir_all(tree.path("etc/sysctl.d/20-folder.conf")).unwrap();
    tree.link("etc/sysctl.d/30-dangling.conf", "/no/such");
    tree.link("etc/sysctl.d/31-loop.conf", "31-loop.conf");
    tree.write("etc/sysctl.d/40-noise.conf", crate::bytes::noise(1 << 20));
    tree.write("etc/sysctl.d/50.conf", format!("{T}=50"));
    nix::unistd::mkfifo(
        &tree.path("etc/sysctl.d/60-pipe.conf"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .unwrap();
    assert_eq!(time(&tree).0, 50);
}

crate::sandbox::sandboxed! {
    fn drift_is_what_the_next_boot_would_change() {
        use crate::command::run;
        let json = run("show --json").code(0).json();
        assert_eq!(json["drift"], false);
        assert_eq!(json["settings"]["time_s"], 7200);
        assert_eq!(json["time_to_drop"]["idle"]["drop_s"], 7875);
        let in_flight = json["time_to_drop"]["in_flight"]["drop_s"].as_f64().unwrap();
        assert!((924.6..1100.0).contains(&in_flight), "{in_flight}");
        run("apply --time 60").code(0);
        let json = run("show --json").code(0).json();
        assert_eq!(json["drift"], true);
        assert_eq!(json["drifting"], serde_json::json!(["time"]));
        run("show").code(0).says("the next boot changes time");
        run("enable ssh --now").code(0);
        assert_eq!(run("show --json").code(0).json()["drift"], false);
        let first = run("show").code(0).stdout.lines().next().unwrap().to_owned();
        assert!(first.contains("probed after 1min") && first.contains("dropped after 3min"));
    }
}
