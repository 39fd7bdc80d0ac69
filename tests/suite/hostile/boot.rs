//! What is kept for boot, in folders and units that others have touched.

use std::fs;

use serde_json::Value;

use crate::command::Said;
use crate::faults::{faults_of, strace};
use crate::fixture::{DROPIN, LINK, Tree, UNIT};
use crate::sandbox::sandboxed;

const UNIT_FOLDER: &str = "etc/systemd/system";
const CALLS: &str = "open,openat,openat2,readlink,readlinkat,newfstatat,fstat,write,fsync,\
    renameat,renameat2,symlinkat,unlinkat,mkdirat,fchmod,fchown,linkat";

/// A tree with the profile `aws-nat` enabled.
fn enabled() -> Tree {
    let tree = Tree::with_systemd();
    tree.run("enable aws-nat").code(0);
    tree
}

fn show(tree: &Tree) -> (Said, Value) {
    let json = tree.run("show --json").json();
    (tree.run("show"), json)
}

/// The unit has the last word, and nothing is wrong.
#[track_caller]
fn counts(tree: &Tree) {
    let (said, json) = show(tree);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:#?}");
    assert_eq!(json["unit"]["enabled"], true);
    assert_eq!(json["next_boot"]["time_s"]["by"], "keepalivectl.service");
}

/// The unit does not have it, and `show` says why and what mends it.
#[track_caller]
fn is_told(tree: &Tree, why: &str) {
    let (said, json) = show(tree);
    let said = said.code(1).complains(why);
    assert!(said.stderr.contains("keepalivectl"), "{said:#?}");
    assert_eq!(json["unit"]["enabled"], false, "{json:#}");
    assert_eq!(json["next_boot"]["time_s"]["by"], "systemd-sysctl");
}

sandboxed! {
    fn a_tampered_unit_is_told() {
        let tree = enabled();
        counts(&tree);
        let ours = tree.read(UNIT);
        let run = "ExecStart=/usr/local/bin/keepalivectl boot";
        tree.program("bin/true");
        tree.program("usr/bin/keepalivectl");
        let changes = [
            (run, "ExecStart=/bin/true", "it has `ExecStart=/bin/true`"),
            (run, "ExecStart=/bin/true boot", "/bin/true is not the keepalivectl of"),
            (run, "", "names no program to run"),
            (run, "ExecStart=", "names no program to run"),
            (run, "ExecStart=/usr/local/bin/keepalivectl boot\nExecStart=/bin/true", "/bin/true"),
            ("ConditionPathExists=/etc", "ConditionPathExists=/no", "ConditionPathExists=/no"),
            ("DefaultDependencies=no\n", "", "it lacks `DefaultDependencies=no`"),
            ("[Install]", "PrivateNetwork=yes\n[Install]", "it has `PrivateNetwork=yes`"),
        ];
        for (from, to, why) in changes {
            tree.write(UNIT, ours.replace(from, to));
            is_told(&tree, why);
            tree.run("enable aws-nat").code(0);
            assert_eq!(tree.read(UNIT), ours);
            counts(&tree);
        }
        // Another installed program is as good, if root alone can write it.
        let other = ours.replace("/usr/local/bin/", "/usr/bin/");
        tree.write(UNIT, other);
        counts(&tree);
        tree.set_mode("usr/bin/keepalivectl", 0o777);
        is_told(&tree, "can be written by everybody");
        // And one that is not ours at all.
        tree.write(UNIT, "[Service]\nExecStart=/usr/local/bin/keepalivectl boot\n");
        is_told(&tree, "was not written by keepalivectl");
    }
}

sandboxed! {
    fn a_drop_in_of_the_unit_is_told() {
        let tree = enabled();
        let folders = ["etc/systemd/system", "usr/lib/systemd/system", "etc/systemd/system.control"];
        for folder in folders {
            for name in ["keepalivectl.service.d", "service.d"] {
                let drop_in = format!("{folder}/{name}/x.conf");
                tree.write(&drop_in, "[Service]\nPrivateUsers=yes\n");
                is_told(&tree, &format!("{drop_in} changes the unit (PrivateUsers)"));
                // `enable` says so too, and does not claim the unit's last word.
                let said = tree.run("enable aws-nat").code(0).says("changes the unit");
                drop(said);
                let json = tree.run("enable aws-nat --json").code(0).json();
                assert_eq!(json["next_boot"]["time_s"]["by"], "systemd-sysctl");
                fs::remove_dir_all(tree.path(folder).join(name)).unwrap();
                counts(&tree);
            }
        }
    }
}

sandboxed! {
    fn a_drop_in_that_changes_nothing_is_no_reason() {
        let tree = enabled();
        // As Fedora has it.
        let vendors = "usr/lib/systemd/system/service.d/10-timeout-abort.conf";
        tree.write(vendors, "# x\n[Service]\nTimeoutStopFailureMode=abort\n");
        counts(&tree);
        // Masked, or not read.
        tree.write("usr/lib/systemd/system/service.d/y.conf", "[Service]\nUser=nobody\n");
        is_told(&tree, "User");
        tree.link("etc/systemd/system/service.d/y.conf", "/dev/null");
        counts(&tree);
        tree.write("etc/systemd/system/service.d/.z.conf", "[Service]\nUser=nobody\n");
        tree.write("etc/systemd/system/service.d/z.conf.dpkg-old", "[Service]\nUser=nobody\n");
        counts(&tree);
        // Gone at the next boot, and told.
        tree.write("run/systemd/system/keepalivectl.service.d/w.conf", "[Service]\nUser=nobody\n");
        counts(&tree);
        tree.run("show").says("w.conf changes the unit now (User), and is gone at the next boot");
    }
}

sandboxed! {
    fn a_mask_of_any_kind_is_seen_and_left_alone() {
        for target in ["/dev/null", "../../../dev/null"] {
            // An image has no /dev/null before it is booted.
            let tree = Tree::with_systemd();
            tree.link(UNIT, target);
            tree.write(DROPIN, "");
            tree.run("enable ssh").code(1).complains("masks the unit").complains("unmask");
            tree.run("disable").code(0).says("the unit is left as it is");
            let link = fs::read_link(tree.path(UNIT)).unwrap();
            assert_eq!(link.to_str(), Some(target));
            assert!(!tree.path(DROPIN).exists());
        }
        // An empty file.
        let tree = enabled();
        tree.write(UNIT, "");
        let (said, json) = show(&tree);
        said.code(0).says("masks the unit, so it will not run");
        assert_eq!(json["unit"]["enabled"], false);
        tree.run("enable ssh").code(1).complains("masks the unit");
        tree.run("disable").code(0).says("the unit is left as it is");
        assert_eq!(tree.read(UNIT), "");
        // A folder that goes before: ours is removed, and the mask is not.
        let tree = enabled();
        let control = format!("{UNIT_FOLDER}.control/keepalivectl.service");
        tree.link(&control, "/dev/null");
        let (said, json) = show(&tree);
        said.code(0).says("masks the unit, so it will not run");
        assert_eq!(json["unit"]["enabled"], false);
        tree.run("enable ssh").code(1).complains("masks the unit");
        tree.run("disable").code(0);
        assert!(!tree.path(UNIT).exists());
        assert!(tree.path(&control).is_symlink());
    }
}

sandboxed! {
    fn a_mask_until_the_next_boot_is_told_and_does_not_count_for_it() {
        let tree = enabled();
        let control = "run/systemd/system.control/keepalivectl.service";
        tree.link(control, "/dev/null");
        counts(&tree);
        tree.run("show").says("masks the unit until the next boot, and is gone then");
        fs::remove_file(tree.path(control)).unwrap();
        // `systemctl mask --runtime` loses to the unit in /etc.
        tree.link("run/systemd/system/keepalivectl.service", "/dev/null");
        counts(&tree);
        tree.run("show").says("masks nothing");
    }
}

sandboxed! {
    fn what_is_no_unit_is_left_alone() {
        let tree = Tree::with_systemd();
        for target in ["/opt/keepalivectl.service", "keepalivectl.service"] {
            tree.link(UNIT, target);
            tree.run("enable ssh").code(1).complains("was not written by keepalivectl");
            tree.run("disable").code(0).says("the unit is left as it is");
            assert!(tree.path(UNIT).is_symlink());
            fs::remove_file(tree.path(UNIT)).unwrap();
        }
        fs::create_dir_all(tree.path(UNIT)).unwrap();
        tree.run("disable").code(0).says("the unit is left as it is");
        assert!(tree.path(UNIT).is_dir());
    }
}

/// All that `enable` writes, and whether each is there.
fn parts(tree: &Tree) -> [bool; 3] {
    [UNIT, DROPIN, LINK].map(|file| tree.path(file).is_symlink() || tree.path(file).exists())
}

/// What is left half done is told by `show`, and put right by both commands.
#[track_caller]
fn is_told_and_put_right(half: impl Fn() -> Tree) {
    let mut whole = enabled().files();
    let tree = half();
    let said = tree.run("show").code(1);
    let said = said.complains("`keepalivectl enable NAME` completes it");
    said.complains("`keepalivectl disable` removes it");
    tree.run("enable aws-nat --dry-run")
        .code(0)
        .says("this run would put that right");
    tree.run("enable aws-nat").code(0).says("that is put right");
    counts(&tree);
    whole.retain(|file| tree.files().contains(file));
    assert_eq!(whole, enabled().files());

    let tree = half();
    tree.run("disable").code(0).says("that is put right");
    assert_eq!(parts(&tree), [false; 3]);
    tree.run("show").code(0);
    tree.run("disable").code(0).says("Unchanged");
}

sandboxed! {
    fn what_an_end_midway_has_left_is_told_and_put_right() {
        let without = |gone: &[&str]| {
            let tree = enabled();
            gone.iter().for_each(|file| fs::remove_file(tree.path(file)).unwrap());
            tree
        };
        for gone in [
            // Of `enable`.
            &[DROPIN, LINK][..],
            &[LINK],
            // Of a machine that lost what was not on its disk yet.
            &[DROPIN],
            &[UNIT],
            &[UNIT, DROPIN],
        ] {
            is_told_and_put_right(|| without(gone));
        }
        is_told_and_put_right(|| {
            let tree = without(&[LINK]);
            tree.link(LINK, "/dev/null");
            tree
        });
        // The drop-in alone may be somebody's own, and is whole.
        let tree = without(&[UNIT, LINK]);
        tree.run("show").code(0).says("without a unit that is known to run");
    }
}

sandboxed! {
    #[ignore = "needs strace"]
    fn a_kill_at_any_call_is_told_and_put_right() {
        for start in ["disable", "enable ssh", "enable aws-nat"] {
            let (command, call) = match start {
                "enable aws-nat" => (&["disable"][..], "unlinkat"),
                _ => (&["enable", "aws-nat"][..], "linkat"),
            };
            let tree = Tree::with_systemd();
            let top = tree.path("").to_str().unwrap().to_owned();
            let arguments = [&["--root", &top], command].concat();
            tree.run(start).code(0);
            let kills = faults_of(&arguments, &[call], CALLS, &["signal=KILL"]);
            let mut half = 0;
            for (at, kill) in kills.iter().enumerate() {
                tree.run(start).code(0);
                strace(&["-e", &kill.inject], &arguments);
                let found = parts(&tree);
                let whole = found == [true; 3] || found == [false; 3];
                let said = tree.run("show").code(i32::from(!whole));
                if !whole {
                    half += 1;
                    said.complains("completes it");
                }
                let mend = ["enable aws-nat", "disable"][at % 2];
                let said = tree.run(mend).code(0);
                assert_eq!(said.stdout.contains("that is put right"), !whole, "{}: {said:?}", kill.inject);
                assert_eq!(parts(&tree), [mend != "disable"; 3], "{}", kill.inject);
                tree.run("show").code(0);
            }
            let count = kills.len();
            eprintln!("kills: {command:?} after {start}: {count}, {half} of them left a half");
            assert!(half > 0 || start == "enable ssh");
        }
    }
}

sandboxed! {
    #[ignore = "needs strace"]
    fn disable_that_fails_says_so_and_changes_nothing() {
        let tree = Tree::with_systemd();
        let top = tree.path("").to_str().unwrap().to_owned();
        let arguments = ["--root", &top, "disable"];
        let before = tree.files();
        tree.run("enable aws-nat").code(0);
        let after = tree.files();
        let kinds = ["error=EIO", "error=EMFILE"];
        let faults = faults_of(&arguments, &["openat2", "unlinkat"], CALLS, &kinds);
        let (mut done, mut failed) = (0, 0);
        for fault in &faults {
            tree.run("enable aws-nat").code(0);
            let said = strace(&["-e", &fault.inject], &arguments);
            match said.code {
                0 => {
                    assert_eq!(tree.files(), before, "{}: {said:?}", fault.inject);
                    done += 1;
                }
                1 | 127 => {
                    assert_eq!(tree.files(), after, "{}: {said:?}", fault.inject);
                    failed += 1;
                }
                4 => {
                    assert!(said.stderr.contains("it is done, but"), "{}: {said:?}", fault.inject);
                    assert_eq!(tree.files(), before, "{}", fault.inject);
                }
                other => panic!("{}: {other}: {said:?}", fault.inject),
            }
        }
        eprintln!("disable: {} faults, {done} done all the same, {failed} failed whole", faults.len());
        assert!(failed > 0);
    }
}
