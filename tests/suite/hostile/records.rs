//! What `apply` remembers for `revert`, when namespaces come and go.

use std::fs;
use std::process::Child;

use crate::command::run;
use crate::sandbox::{in_force, put_in_force, sandboxed, sleeping_in_new_namespaces};

const FOLDER: &str = "/run/keepalivectl";

fn records() -> Vec<String> {
    let names = fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap());
    let names = names.map(|entry| entry.file_name().into_string().unwrap());
    let mut records: Vec<String> = names.filter(|name| name.starts_with("before-")).collect();
    records.sort();
    records
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Handles of namespaces came with Linux 6.18; before it nothing is forgotten.
fn kernel_has_handles() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map(|n| n.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap(), numbers.next().unwrap());
    let new = version >= (6, 18);
    if !new {
        eprintln!("NOT TESTED: no handles of namespaces before Linux 6.18");
    }
    new
}

sandboxed! {
    fn a_record_goes_with_its_namespace() {
        if !kernel_has_handles() {
            return;
        }
        let gone: Vec<Child> = (0..5).map(|_| sleeping_in_new_namespaces()).collect();
        let stays = sleeping_in_new_namespaces();
        for child in gone.iter().chain([&stays]) {
            run(&format!("apply ssh --netns pid:{}", child.id())).code(0);
        }
        assert_eq!(records().len(), 6);
        gone.into_iter().for_each(end);
        put_in_force([600, 60, 6]);
        run("apply ssh").code(0);
        assert_eq!(records().len(), 2);
        // Those that can be gone back to are there.
        run(&format!("revert --netns pid:{}", stays.id())).code(0).says("7200");
        run("revert").code(0);
        assert_eq!(in_force(), [600, 60, 6]);
        assert_eq!(records(), [""; 0]);
        end(stays);
    }
}

sandboxed! {
    fn apply_in_all_namespaces_forgets_in_all() {
        if !kernel_has_handles() {
            return;
        }
        let gone = sleeping_in_new_namespaces();
        run(&format!("apply ssh --netns pid:{}", gone.id())).code(0);
        let record = fs::read(format!("{FOLDER}/{}", records()[0])).unwrap();
        end(gone);
        let many = || {
            for n in 0..70 {
                fs::write(format!("{FOLDER}/before-cookie-90000{n}.conf"), &record).unwrap();
            }
        };
        many();
        run("apply ssh --all-netns").code(0);
        assert_eq!(records().len(), 1);
        // One `apply` looks at some of them only, and a few look at all.
        many();
        run("apply --time 61").code(0);
        assert!((2..=71 - 63).contains(&records().len()), "{:?}", records());
        run("apply --time 62").code(0);
        assert_eq!(records().len(), 1);
    }
}

sandboxed! {
    fn only_what_is_certainly_gone_is_forgotten() {
        run("apply ssh").code(0);
        let [own] = &records()[..] else { panic!("{:?}", records()) };
        let text = fs::read_to_string(format!("{FOLDER}/{own}")).unwrap();
        let boot = text.lines().find(|line| line.starts_with("# boot ")).unwrap();
        let values = "net.ipv4.tcp_keepalive_time = 7200\nnet.ipv4.tcp_keepalive_intvl = 75\n\
                      net.ipv4.tcp_keepalive_probes = 9\n";
        let write = |name: &str, comments: &str| {
            let text = format!("# about\n{comments}\n{values}");
            fs::write(format!("{FOLDER}/before-{name}.conf"), text).unwrap();
        };
        // As an older version or an older kernel writes it, or damaged.
        write("cookie-1000001", boot);
        write("cookie-1000002", &format!("{boot}\n# namespace x:zz"));
        write("file-1", &format!("{boot}\n# namespace f1:00"));
        write("cookie-1000003", "# no boot");
        fs::write(format!("{FOLDER}/before-cookie-1000004.conf"), "not a profile").unwrap();
        fs::write(format!("{FOLDER}/lock.conf"), "").unwrap();
        let before = records();
        assert_eq!(before.len(), 6);
        // Of another boot: nobody goes back to it.
        write("cookie-1000005", "# boot 00000000-0000-0000-0000-000000000000");
        run("apply --time 61").code(0);
        assert_eq!(records(), before);
        assert!(fs::exists(format!("{FOLDER}/lock.conf")).unwrap());
    }
}
