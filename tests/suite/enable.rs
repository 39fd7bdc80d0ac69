//! `enable` and `disable`: the drop-in, the unit, and what stands in the way.

use std::fs;
use std::path::Path;

use crate::command::run;
use crate::fixture::{DROPIN, LINK, Tree, UNIT};
use crate::sandbox::{in_force, put_in_force, sandboxed};

const T: &str = "net.ipv4.tcp_keepalive_time";

sandboxed! {
    fn with_systemd_the_drop_in_and_the_unit_are_kept() {
        let tree = Tree::with_systemd();
        let before = tree.files();
        tree.run("enable aws-nat --dry-run").code(0).says("nothing is written");
        assert_eq!(tree.files(), before);

        let json = tree.run("enable aws-nat --json").code(0).json();
        assert_eq!(json["changed"], true);
        assert_eq!(json["profile"], "aws-nat");
        assert_eq!(json["next_boot"]["time_s"]["value"], 240);
        assert_eq!(json["next_boot"]["time_s"]["by"], "keepalivectl.service");
        assert_eq!(tree.mode(DROPIN), 0o644);
        let text = tree.read(DROPIN);
        assert!(text.starts_with("# AWS NAT gateway"), "{text}");
        assert!(text.contains(&format!("\n{T} = 240\n")));
        assert!(tree.read(UNIT).contains("\nExecStart=/usr/local/bin/keepalivectl boot\n"));
        assert_eq!(tree.mode(UNIT), 0o644);
        let target = fs::read_link(tree.path(LINK)).unwrap();
        assert_eq!(target, Path::new("/etc/systemd/system/keepalivectl.service"));

        tree.run("enable aws-nat").code(0).says("Unchanged");
        tree.run("enable ssh").code(0);
        assert!(tree.read(DROPIN).contains("= 60\n"));

        tree.run("disable --dry-run").code(0).says("nothing is written");
        assert!(tree.files().contains(&DROPIN.to_owned()));
        tree.run("disable").code(0).says("No profile is kept");
        assert_eq!(tree.files(), before);
        tree.run("disable").code(0).says("Unchanged");
    }
}

#[test]
fn without_systemd_the_drop_in_serves_alone_and_it_says_so() {
    let tree = Tree::new();
    tree.run("enable aws-nat")
        .code(0)
        .says("no systemd")
        .says("sysctl --system");
    assert_eq!(tree.files(), [DROPIN]);
    tree.run("disable").code(0);
    assert_eq!(tree.files(), Vec::<String>::new());
}

#[test]
fn a_later_file_that_wins_is_named_with_its_line() {
    let tree = Tree::new();
    tree.write("etc/sysctl.conf", format!("# a\n{T} = 80\n"));
    tree.write(
        "etc/sysctl.d/99-zz.conf",
        "net.ipv4.tcp_keepalive_probes=4\n",
    );
    let said = tree.run("enable aws-nat").code(0);
    let said = said.says("etc/sysctl.conf:2 wins: the next boot sets time to 80");
    let said = said.says("99-zz.conf:1 wins: the next boot sets probes to 4");
    said.says("The next boot sets 80/30/4.");
    let json = tree.run("enable aws-nat --json").code(0).json();
    let overrides = json["next_boot"]["overrides"].as_array().unwrap();
    assert!(
        overrides
            .iter()
            .any(|o| o["setting"] == "time" && o["line"] == 2)
    );
}

sandboxed! {
    fn a_later_file_is_put_right_by_the_unit() {
        let tree = Tree::with_systemd();
        tree.write("etc/sysctl.d/99-zz.conf", format!("-{T}\n"));
        tree.write("etc/sysctl.d/zz.conf", "net.ipv4.tcp_keepalive_intvl = 5\n");
        let said = tree.run("enable aws-nat").code(0).says("The next boot sets 240/30/6.");
        let said = said.says("zz.conf:1 wins in systemd-sysctl, which sets intvl to 5");
        let said = said.says("the unit puts it right");
        said.says("99-zz.conf:1 wins in systemd-sysctl, which sets time to 7200");
    }
}

sandboxed! {
    fn what_runs_at_boot_can_be_written_by_root_only() {
        let tree = Tree::with_systemd();
        let program = "usr/local/bin/keepalivectl";
        let before = tree.files();
        tree.set_mode(program, 0o777);
        tree.run("enable ssh").code(1).complains("written by everybody").complains("sudo install");
        tree.set_mode(program, 0o755);
        tree.set_mode("usr/local", 0o1777);
        tree.run("enable ssh").code(1).complains("usr/local can be written by everybody");
        tree.set_mode("usr/local", 0o755);
        // Nor is one taken that the unit's user cannot run.
        for mode in [0o700, 0o644] {
            tree.set_mode(program, mode);
            tree.run("enable ssh").code(1).complains("cannot be run by the unit's own user");
        }
        assert_eq!(tree.files(), before);

        fs::remove_file(tree.path(program)).unwrap();
        tree.run("enable ssh").code(1).complains("there is none in /usr/local/bin").complains("sudo install");
        // A link is followed to what it runs.
        tree.program("opt/k/bin/keepalivectl");
        tree.link("usr/bin/keepalivectl", "/opt/k/bin/keepalivectl");
        tree.run("enable ssh").code(0);
        assert!(tree.read(UNIT).contains("ExecStart=/opt/k/bin/keepalivectl boot"));
    }
}

sandboxed! {
    fn a_link_that_leads_elsewhere_is_put_right() {
        let tree = Tree::with_systemd();
        tree.link(LINK, "/dev/null");
        tree.run("enable ssh").code(0);
        let target = fs::read_link(tree.path(LINK)).unwrap();
        assert_eq!(target, Path::new("/etc/systemd/system/keepalivectl.service"));
        tree.run("enable ssh").code(0).says("Unchanged");
        // What is no link is not replaced by one, and all is undone.
        tree.run("disable").code(0);
        tree.write(LINK, "a file");
        tree.run("enable ssh").code(1).complains("nothing is changed").complains("File exists");
        assert_eq!(tree.read(LINK), "a file");
        assert!(!tree.path(DROPIN).exists());
    }
}

sandboxed! {
    fn a_unit_of_that_name_that_is_not_ours_is_left_alone() {
        let tree = Tree::with_systemd();
        tree.write(UNIT, "[Service]\nExecStart=/bin/true\n");
        tree.run("enable ssh").code(1).complains("was not written by keepalivectl");
        tree.write(DROPIN, "");
        tree.run("disable").code(0).says("the unit is left as it is");
        assert!(tree.files().contains(&UNIT.to_owned()));
        assert!(!tree.files().contains(&DROPIN.to_owned()));
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    let tree = Tree::new();
    tree.write("elsewhere", "kept");
    tree.link(DROPIN, "../../elsewhere");
    tree.run("enable ssh").code(1).complains("symbolic link");
    assert_eq!(tree.read("elsewhere"), "kept");

    let tree = Tree::new();
    fs::create_dir_all(tree.path("elsewhere")).unwrap();
    tree.link("etc/sysctl.d", "../elsewhere");
    tree.run("enable ssh")
        .code(1)
        .complains("etc/sysctl.d is a symbolic link");
    assert_eq!(tree.files(), ["etc/sysctl.d"]);

    // Nor is a link that looks like a temporary file touched: it is not ours.
    let tree = Tree::new();
    tree.write("elsewhere", "kept");
    let foreign = "etc/sysctl.d/.99-keepalivectl.conf.new";
    tree.link(foreign, "../../elsewhere");
    tree.run("enable ssh").code(0);
    assert_eq!(tree.read("elsewhere"), "kept");
    assert_eq!(tree.files(), ["elsewhere", foreign, DROPIN]);
}

#[test]
fn a_broken_drop_in_is_replaced_when_asked() {
    let tree = Tree::new();
    tree.write(DROPIN, crate::bytes::noise(1 << 20));
    tree.run("enable ssh").code(0);
    assert!(tree.read(DROPIN).contains(&format!("{T} = 60")));
    tree.write(DROPIN, "broken");
    tree.run("disable").code(0);
    assert_eq!(tree.files(), Vec::<String>::new());

    fs::create_dir_all(tree.path(DROPIN)).unwrap();
    tree.run("enable ssh").code(1).complains("a directory");
}

#[test]
fn a_mode_that_hides_the_drop_in_is_put_right() {
    let tree = Tree::new();
    tree.run("enable ssh").code(0);
    tree.set_mode(DROPIN, 0o600);
    let json = tree.run("enable ssh --json").code(0).json();
    assert_eq!(json["changed"], true);
    assert_eq!(tree.mode(DROPIN), 0o644);
}

#[test]
fn the_mode_does_not_follow_the_umask() {
    use std::os::unix::process::CommandExt;
    let tree = Tree::new();
    let mut command = std::process::Command::new(crate::command::binary());
    command.args(["--root", tree.path("").to_str().unwrap(), "enable", "ssh"]);
    // SAFETY: umask(2) is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
            Ok(())
        });
    }
    assert!(command.output().unwrap().status.success());
    assert_eq!(tree.mode(DROPIN), 0o644);
    assert_eq!(tree.mode("etc/sysctl.d"), 0o755);
}

sandboxed! {
    fn now_is_as_after_the_next_boot() {
        put_in_force([600, 60, 6]);
        run("enable ssh --now").code(0).says("ssh (60/30/4) is in force");
        assert_eq!(in_force(), [60, 30, 4]);
        run("verify").code(0);
        fs::write("/etc/sysctl.conf", format!("{T}=80\n")).unwrap();
        run("disable --now").code(0);
        assert_eq!(in_force(), [80, 75, 9]);
        assert!(!Path::new("/").join(DROPIN).exists());
        // What was in force before the first apply is still remembered.
        run("revert").code(0);
        assert_eq!(in_force(), [600, 60, 6]);
    }
}

sandboxed! {
    fn disable_now_does_not_put_in_force_what_harms() {
        run("enable ssh --now").code(0);
        fs::write("/etc/sysctl.conf", "net.ipv4.tcp_keepalive_probes=0\n").unwrap();
        run("disable --now").code(1).complains("7200/75/0").complains("the next boot will set");
        assert_eq!(in_force(), [60, 30, 4]);
        assert!(Path::new("/").join(DROPIN).exists());
        run("disable").code(0);
        assert_eq!(in_force(), [60, 30, 4]);
    }
}

sandboxed! {
    fn enable_now_is_all_or_nothing() {
        crate::sandbox::read_only_sysctls();
        run("enable ssh --now").code(1).complains("read-only");
        assert!(!Path::new("/").join(DROPIN).exists());
        assert_eq!(in_force(), [7200, 75, 9]);
    }
}
