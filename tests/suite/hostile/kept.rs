//! What is kept for boot, and is not what it looks like.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::geteuid;

use crate::command::Said;
use crate::fixture::{DROPIN, LINK, Tree, UNIT};
use crate::sandbox::sandboxed;

const SYSTEM: &str = "etc/systemd/system";

/// A tree with the profile `aws-nat` enabled.
fn enabled() -> Tree {
    let tree = Tree::with_systemd();
    tree.run("enable aws-nat").code(0);
    tree
}

/// All is well, and nothing is noted.
#[track_caller]
fn is_well(tree: &Tree) {
    let said = tree.run("show").code(0);
    assert_eq!(said.stderr, "");
    let json = tree.run("show --json").json();
    assert_eq!(json["unit"]["enabled"], true, "{json:#}");
    assert_eq!(json["next_boot"]["notes"].as_array().unwrap().len(), 0);
}

sandboxed! {
    fn a_directive_behind_a_carriage_return_is_told() {
        let tree = enabled();
        let file = format!("{SYSTEM}/keepalivectl.service.d/x.conf");
        for end in ["\r", "\0"] {
            for (text, named) in [
                ("# note|[Service]|ExecStart=|ExecStart=/bin/evil\n", "ExecStart"),
                ("[Service]\nTimeoutStopSec=5|User=nobody\n", "User"),
            ] {
                tree.write(&file, text.replace('|', end));
                let said = tree.run("show").code(1);
                said.complains(&format!("x.conf changes the unit ({named})"));
                let json = tree.run("show --json").json();
                assert_eq!(json["unit"]["enabled"], false);
            }
        }
        // As another system's editor ends its lines.
        tree.write(&file, "[Service]\r\nTimeoutStopSec=5\r\n# User=nobody\r\n");
        is_well(&tree);
    }
}

sandboxed! {
    fn a_setting_behind_a_carriage_return_is_told() {
        let tree = Tree::with_systemd();
        let file = "etc/sysctl.d/50-x.conf";
        for end in ["\r", "\0"] {
            tree.write(file, format!("\n# x{end}net.ipv4.tcp_keepalive_time = 11\n"));
            let time = &tree.run("show --json").code(0).json()["next_boot"]["time_s"];
            assert_eq!((&time["value"], &time["line"]), (&11.into(), &2.into()));
            assert_eq!(time["by"], "systemd-sysctl");
            // procps has no part in it.
            fs::remove_file(tree.path("usr/lib/systemd/systemd")).unwrap();
            let time = &tree.run("show --json").code(0).json()["next_boot"]["time_s"];
            assert_eq!(time["by"], "kernel");
            tree.write("usr/lib/systemd/systemd", "");
        }
    }
}

sandboxed! {
    fn who_else_can_change_what_is_kept_is_told() {
        let tree = enabled();
        is_well(&tree);
        let link_folder = LINK.rsplit_once('/').unwrap().0;
        for path in [DROPIN, UNIT, "etc/sysctl.d", SYSTEM, link_folder, "etc"] {
            let before = tree.mode(path);
            for mode in [before | 0o002, before | 0o022] {
                tree.set_mode(path, mode);
                let full = tree.path(path);
                let said = tree.run("show").code(1);
                let said = said.complains(&format!("{} can be written by everybody", full.display()));
                let mend = format!("sudo chmod go-w {}", full.display());
                let said = said.complains(&mend);
                assert_eq!(said.stderr.matches(&mend).count(), 1, "{said:#?}");
            }
            tree.set_mode(path, before);
            is_well(&tree);
        }
        // Without systemd there is the drop-in alone.
        fs::remove_file(tree.path("usr/lib/systemd/systemd")).unwrap();
        tree.run("show").code(0);
        tree.set_mode(DROPIN, 0o666);
        tree.run("show").code(1).complains("can be written by everybody");
        // What is not kept is nobody's business.
        let tree = Tree::with_systemd();
        tree.write("etc/sysctl.d/x.conf", "");
        tree.set_mode("etc/sysctl.d", 0o777);
        tree.run("show").code(0);
    }
}

#[test]
#[ignore = "needs root"]
fn whose_what_is_kept_is_is_told() {
    assert!(geteuid().is_root(), "this test needs root");
    let tree = enabled();
    for path in [DROPIN, UNIT, "etc/sysctl.d"] {
        chown(tree.path(path), Some(1000), None).unwrap();
        let said = tree.run("show").code(1);
        let full = tree.path(path);
        let said = said.complains(&format!("{} belongs to user 1000", full.display()));
        said.complains(&format!("sudo chown -h root:root {}", full.display()));
        chown(tree.path(path), Some(0), None).unwrap();
        is_well(&tree);
    }
}

sandboxed! {
    fn a_tampered_unit_without_a_drop_in_is_told() {
        let tree = enabled();
        fs::remove_file(tree.path(DROPIN)).unwrap();
        tree.run("show").code(1).complains("so the unit sets nothing");
        let ours = tree.read(UNIT);
        tree.program("bin/evil");
        let condition = ours.lines().find(|l| l.starts_with("Condition")).unwrap();
        let evil = ours.replace("/usr/local/bin/keepalivectl boot", "/bin/evil").replace(condition, "");
        let told = |why: &str| {
            let said = tree.run("show").code(1).complains(why);
            assert!(!said.stderr.contains("sets nothing"), "{said:#?}");
            said.complains("`keepalivectl disable` removes it");
        };
        tree.write(UNIT, evil);
        told("it lacks `ConditionPathExists=");
        told("/bin/evil is not the keepalivectl of");
        tree.write(UNIT, &ours);
        tree.write(&format!("{SYSTEM}/service.d/x.conf"), "[Service]\nExecStartPre=/bin/evil\n");
        told("changes the unit (ExecStartPre)");
    }
}

sandboxed! {
    fn what_belongs_to_another_name_of_the_unit_is_told() {
        let tree = enabled();
        tree.link("usr/lib/systemd/system/al.service", "/etc/systemd/system/keepalivectl.service");
        tree.link(&format!("{SYSTEM}/be-ta.service"), "al.service");
        // A link to something else, and one in a circle.
        tree.link(&format!("{SYSTEM}/other.service"), "/dev/null");
        tree.link(&format!("{SYSTEM}/a.service"), "b.service");
        tree.link(&format!("{SYSTEM}/b.service"), "a.service");
        tree.write(&format!("{SYSTEM}/other.service.d/x.conf"), "[Service]\nUser=x\n");
        is_well(&tree);
        for folder in [SYSTEM, "usr/lib/systemd/system"] {
            for name in ["al.service.d", "be-ta.service.d", "be-.service.d"] {
                let file = format!("{folder}/{name}/x.conf");
                tree.write(&file, "[Service]\nExecStartPre=/bin/evil\n");
                tree.run("show").code(1).complains(&format!("{file} changes the unit (ExecStartPre)"));
                fs::remove_dir_all(tree.path(folder).join(name)).unwrap();
                is_well(&tree);
            }
        }
        // A mask of one name's is none of another's.
        tree.link(&format!("{SYSTEM}/keepalivectl.service.d/x.conf"), "/dev/null");
        tree.write(&format!("{SYSTEM}/al.service.d/x.conf"), "[Service]\nUser=x\n");
        tree.run("show").code(1).complains("al.service.d/x.conf changes the unit (User)");
    }
}

sandboxed! {
    fn what_is_started_with_the_unit_is_told() {
        for name in ["keepalivectl.service", "al.service"] {
            let tree = enabled();
            tree.link(&format!("{SYSTEM}/al.service"), "keepalivectl.service");
            fs::create_dir_all(tree.path(&format!("{SYSTEM}/{name}.requires"))).unwrap();
            is_well(&tree);
            for suffix in ["wants", "upholds"] {
                tree.link(&format!("{SYSTEM}/{name}.{suffix}/evil.service"), "../evil.service");
                let said = tree.run("show").code(0);
                said.says(&format!("{name}.{suffix} starts evil.service with the unit"));
            }
            for n in 0..9 {
                tree.link(&format!("{SYSTEM}/{name}.requires/evil{n}.service"), "../evil.service");
            }
            let said = tree.run("show").code(1);
            let said = said.complains(&format!("{name}.requires makes the unit need evil0.service, "));
            said.complains("evil3.service, 5 more, so whether it runs at boot is not known");
            assert_eq!(tree.run("show --json").json()["unit"]["enabled"], false);
        }
    }
}

sandboxed! {
    fn a_unit_of_another_version_is_told_without_its_comments() {
        let tree = enabled();
        let ours = tree.read(UNIT);
        // Other comments are no difference, and what hides in one is.
        let comments = ours.replace("[Service]\n", "\n# An older comment.\n; x\n[Service]\n");
        tree.write(UNIT, &comments);
        is_well(&tree);
        tree.write(UNIT, comments.replace("; x", "; x\rExecStartPre=/bin/evil"));
        tree.run("show").code(1).complains("it has `ExecStartPre=/bin/evil`");
        // As a version without them wrote it.
        let older: String = ours
            .lines()
            .filter(|line| !line.starts_with("TasksMax=") && !line.starts_with("# The "))
            .map(|line| format!("{line}\n"))
            .collect();
        tree.write(UNIT, older);
        let said = tree.run("show").code(1);
        let said = said.complains(
            "was written by another version of keepalivectl, or changed: it lacks `TasksMax=4`; \
             `keepalivectl enable NAME` writes it again",
        );
        assert!(!said.stderr.contains("`#"), "{said:#?}");
        tree.run("enable aws-nat").code(0);
        is_well(&tree);
    }
}

/// As a plain user on the machine itself.
#[test]
fn a_plain_user_whose_runtime_folder_is_read_only_writes_a_tree() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (binary, runtime) = (place.path().join("keepalivectl"), place.path().join("run"));
    fs::copy(crate::command::binary(), &binary).unwrap();
    let tree = Tree::new();
    tree.set_mode("", 0o755);
    fs::create_dir_all(&runtime).unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o500)).unwrap();
    let mut command = Command::new(&binary);
    if geteuid().is_root() {
        chown(&runtime, Some(65_534), Some(65_534)).unwrap();
        chown(tree.path(""), Some(65_534), Some(65_534)).unwrap();
        command.uid(65_534).gid(65_534);
    }
    command.env("XDG_RUNTIME_DIR", &runtime);
    command
        .arg("--root")
        .arg(tree.path(""))
        .args(["enable", "ssh"]);
    Said::from(command.output().unwrap()).code(0);
    assert!(tree.path(DROPIN).exists());
    assert_eq!(fs::read_dir(&runtime).map_or(0, Iterator::count), 0);
}
