//! systemd-analyze(1) on the unit, as `enable` installs it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use crate::fixture::{Tree, UNIT};
use crate::sandbox::sandboxed;

fn analyze(arguments: &[&str]) -> Output {
    let output = Command::new("systemd-analyze").args(arguments).output();
    output.expect("systemd-analyze is installed")
}

/// The unit that `enable` writes, at a place that needs no other root.
fn installed_unit() -> String {
    let tree = Tree::with_systemd();
    tree.run("enable ssh").code(0);
    let unit = tree.read(UNIT);
    let folder = Path::new("/run/units");
    fs::create_dir_all(folder).unwrap();
    let path = folder.join("keepalivectl.service");
    // What the unit runs has to be there for `verify`.
    let program = std::env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    let unit = unit.replace("/usr/local/bin/keepalivectl", program);
    fs::write(&path, unit).unwrap();
    path.to_str().unwrap().to_owned()
}

sandboxed! {
    #[ignore = "needs systemd-analyze"]
    fn the_unit_is_clean() {
        let unit = installed_unit();
        let verify = |unit: &str| analyze(&["verify", "--recursive-errors=yes", unit]);
        let output = verify(&unit);
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        // And it would see a fault.
        let broken = unit.replace("keepalivectl.service", "broken.service");
        let text = fs::read_to_string(&unit).unwrap().replace("Type=oneshot", "Typo=oneshot");
        fs::write(&broken, text).unwrap();
        assert!(!verify(&broken).status.success());
    }
}

sandboxed! {
    #[ignore = "needs systemd-analyze"]
    fn the_unit_is_exposed_by_1_1_at_most() {
        let unit = installed_unit();
        let security = |threshold: &str| {
            analyze(&["security", "--offline=yes", "--no-pager", threshold, &unit])
        };
        let output = security("--threshold=11");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = text.lines().find(|l| l.contains("Overall exposure")).unwrap();
        eprintln!("unit: {}", last.trim_start_matches(['→', ' ']));
        // And the gate shuts.
        assert!(!security("--threshold=1").status.success());
    }
}

sandboxed! {
    #[ignore = "needs systemd-analyze"]
    fn systemd_reads_the_directives_that_show_names() {
        let tree = Tree::with_systemd();
        tree.run("enable ssh").code(0);
        let unit = installed_unit();
        let units = Path::new(&unit).parent().unwrap();
        symlink("keepalivectl.service", units.join("al.service")).unwrap();
        tree.link("etc/systemd/system/al.service", "keepalivectl.service");
        for (folder, text) in [
            ("keepalivectl.service.d", "# x\r[Service]\rBogus=1\n"),
            ("keepalivectl.service.d", "# x\0[Service]\0Bogus=1\n"),
            ("keepalivectl.service.d", "[Service]\nTimeoutStopSec=5\rBogus=1\n"),
            ("keepalivectl.service.d", "[Service]\n# x \\\nBogus=1\n"),
            ("al.service.d", "[Service]\nBogus=1\n"),
        ] {
            let systemds = units.join(folder);
            fs::create_dir_all(&systemds).unwrap();
            fs::write(systemds.join("x.conf"), text).unwrap();
            let output = analyze(&["verify", &unit]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("Unknown key 'Bogus'"), "{text:?}: {said}");
            fs::remove_dir_all(systemds).unwrap();

            let ours = format!("etc/systemd/system/{folder}/x.conf");
            tree.write(&ours, text);
            tree.run("show").code(1).complains("x.conf changes the unit (Bogus)");
            fs::remove_file(tree.path(&ours)).unwrap();
        }
    }
}

#[test]
fn what_the_unit_may_use_is_bounded() {
    let unit = include_str!("../../systemd/keepalivectl.service");
    let bound = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name));
    assert_eq!(bound("MemoryMax="), Some("64M"));
    // One for the program, one for its guard, and room.
    let tasks: u32 = bound("TasksMax=").unwrap().parse().unwrap();
    assert!((2..=8).contains(&tasks));
}
