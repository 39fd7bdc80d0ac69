//! The server's configuration, with the real sshd.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::lab::{Lab, furnish, until};
use crate::command::run;
use crate::sandbox::sandboxed;

const MAIN: &str = "/etc/ssh/sshd_config";
const DROPIN: &str = "/etc/ssh/sshd_config.d/10-keepalivectl.conf";
const INCLUDE: &str = "Include /etc/ssh/sshd_config.d/*.conf\n";
const SET: &str = "ssh set server --interval 60 --count 3";

/// What `sshd -T` says of one option, by itself.
fn effective(option: &str) -> String {
    let output = Command::new("/usr/sbin/sshd").arg("-T").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(option));
    line.unwrap_or_else(|| panic!("no {option} in {text}"))
        .trim()
        .to_owned()
}

sandboxed! {
    #[ignore = "needs openssh-server"]
    fn a_dropin_takes_effect_and_goes_again() {
        furnish();
        let main =
            format!("{INCLUDE}ClientAliveInterval 500\nMatch User x\n  ClientAliveInterval 9\n");
        fs::write(MAIN, main).unwrap();
        run(&format!("{SET} --dry-run"))
            .code(0)
            .says("+ClientAliveInterval 60");
        assert!(!Path::new(DROPIN).exists());
        run(SET)
            .code(0)
            .says("Written: an idle session to this server")
            .says("sshd_config:2 (500)")
            .says("`Match User x` has a ClientAliveInterval of its own");
        assert_eq!(effective("clientaliveinterval"), "60");
        assert_eq!(effective("tcpkeepalive"), "yes");
        run(SET).code(0).says("Unchanged");
        run(&format!("{SET} --tcp-keepalive no")).code(0);
        assert_eq!(effective("tcpkeepalive"), "no");
        // What is not named stays, and what others wrote is not thrown away.
        run("ssh set server --interval 50 --count 3").code(0);
        assert_eq!(effective("tcpkeepalive"), "no");
        let ours = fs::read_to_string(DROPIN).unwrap();
        fs::write(DROPIN, format!("{ours}PermitRootLogin no\n")).unwrap();
        for job in [SET, "ssh unset server"] {
            run(job)
                .code(1)
                .complains("10-keepalivectl.conf:5: this line stands");
        }
        fs::write(DROPIN, ours).unwrap();
        // Nothing in the main file has to be text for that.
        let main = fs::read(MAIN).unwrap();
        fs::write(MAIN, [b"# K\xf6ln\n", main.as_slice()].concat()).unwrap();
        run("ssh unset server")
            .code(0)
            .says(DROPIN)
            .says("until it is reloaded");
        assert_eq!(effective("clientaliveinterval"), "500");
        assert_eq!(fs::read_dir("/etc/ssh/sshd_config.d").unwrap().count(), 0);
    }
}

sandboxed! {
    #[ignore = "needs openssh-server"]
    fn without_an_include_the_main_file_is_edited_only_when_asked_for() {
        furnish();
        let main = "# mine\nClientAliveInterval 500\nMatch User x\n  ClientAliveInterval 1\n";
        fs::write(MAIN, main).unwrap();
        for job in [SET, &format!("{SET} --dry-run")] {
            run(job)
                .code(1)
                .complains("no Include")
                .complains("--edit-main");
        }
        assert_eq!(fs::read_to_string(MAIN).unwrap(), main);
        run(&format!("{SET} --edit-main")).code(0);
        assert_eq!(effective("clientaliveinterval"), "60");
        assert!(!Path::new(DROPIN).exists());
        run(&format!("{SET} --edit-main")).code(0).says("Unchanged");
        run("ssh unset server").code(0).says(MAIN);
        assert_eq!(fs::read_to_string(MAIN).unwrap(), main);
        // What is in the main file is set there, though it has an Include by now.
        run(&format!("{SET} --edit-main --tcp-keepalive no")).code(0);
        let more = format!("{}{INCLUDE}", fs::read_to_string(MAIN).unwrap());
        fs::write(MAIN, more).unwrap();
        run("ssh set server --interval 50 --count 3").code(0);
        assert_eq!(effective("clientaliveinterval"), "50");
        assert_eq!(effective("tcpkeepalive"), "no");
        assert!(!Path::new(DROPIN).exists());
        // An empty file is one, too: sshd wants it.
        fs::write(MAIN, "").unwrap();
        run(&format!("{SET} --edit-main")).code(0);
        run("ssh unset server").code(0);
        assert_eq!(fs::read_to_string(MAIN).unwrap(), "");
    }
}

sandboxed! {
    #[ignore = "needs openssh-server"]
    fn a_line_that_wins_is_named_and_nothing_is_changed() {
        furnish();
        let before = format!("ClientAliveCountMax 9\n{INCLUDE}");
        fs::write(MAIN, &before).unwrap();
        run(SET)
            .code(1)
            .complains("ClientAliveCountMax would not take effect")
            .complains("sshd_config:1 (9)");
        assert!(!Path::new(DROPIN).exists());
        assert_eq!(fs::read_to_string(MAIN).unwrap(), before);
        fs::write(MAIN, INCLUDE).unwrap();
        fs::write(
            "/etc/ssh/sshd_config.d/05-site.conf",
            "ClientAliveInterval 1m\n",
        )
        .unwrap();
        // The same value by another line is in effect all the same.
        run(SET).code(0);
        run("ssh set server --interval 30 --count 3")
            .code(1)
            .complains("05-site.conf:1 (1m)");
        assert!(fs::read_to_string(DROPIN).unwrap().contains("Interval 60"));
    }
}

sandboxed! {
    #[ignore = "needs openssh-server"]
    fn what_sshd_refuses_is_told_in_its_words() {
        furnish();
        let text = format!("{INCLUDE}ClientAliveInterval soon\n");
        fs::write(MAIN, &text).unwrap();
        for job in ["ssh show --server", SET, &format!("{SET} --edit-main")] {
            run(job)
                .code(1)
                .complains("sshd_config line 2: invalid time value");
        }
        assert_eq!(fs::read_to_string(MAIN).unwrap(), text);
        fs::write(MAIN, INCLUDE).unwrap();
        fs::write(DROPIN, "# somebody else's\n").unwrap();
        run(SET)
            .code(1)
            .complains("was not written by keepalivectl");
        run("ssh unset server")
            .code(1)
            .complains("was not written by keepalivectl");
        assert_eq!(fs::read_to_string(DROPIN).unwrap(), "# somebody else's\n");
        fs::remove_file(DROPIN).unwrap();
        fs::remove_dir("/run/sshd").unwrap();
        run(SET).code(1).complains("mkdir -m 0755 /run/sshd");
    }
}

sandboxed! {
    #[ignore = "needs openssh-server"]
    fn a_match_block_overrules_for_whom_it_is() {
        furnish();
        let text = "ChannelTimeout session:*=5m\nClientAliveInterval 60\nMatch User alice\n  ClientAliveInterval 10\n  \
                    ClientAliveCountMax 0\nMatch Address 192.0.2.0/24\n  ClientAliveInterval 20\n";
        fs::write(MAIN, text).unwrap();
        let all = run("ssh show --server --json").code(0).json();
        assert_eq!(all["interval_s"], 60);
        let warnings = all["warnings"].to_string();
        assert!(
            warnings.contains("ChannelTimeout session:*=5m"),
            "{warnings}"
        );
        let alice = run("ssh show --server --match user=alice,host=h,addr=192.0.2.1 --json")
            .code(0)
            .json();
        assert_eq!(
            (&alice["interval_s"], &alice["count_max"]),
            (&10.into(), &0.into())
        );
        let interval = &alice["origins"][0];
        assert_eq!(
            (&interval["at"]["file"], &interval["at"]["line"]),
            (&MAIN.into(), &4.into())
        );
        assert_eq!(interval["shadows"][0]["line"], 7);
        assert_eq!(interval["shadows"][1]["line"], 2);
        run("ssh show --server --match user")
            .code(1)
            .complains("`sshd -T -C user` refuses");
    }
}

sandboxed! {
    #[ignore = "needs openssh-server and iproute2"]
    fn a_reload_ends_no_session() {
        let lab = Lab::direct();
        fs::write(MAIN, INCLUDE).unwrap();
        lab.configure_client("");
        let listening = lab.serve(INCLUDE);
        let mut session = lab.session(&[]);
        run(&format!("{SET} --reload"))
            .code(0)
            .says("The running sshd was told");
        until("sshd starts anew", || {
            listening.log().contains("Received SIGHUP")
        });
        assert!(session.echoes("still here", std::time::Duration::from_secs(5)));
        drop(listening);
        run("ssh unset server --reload")
            .code(0)
            .says("No running sshd was found");
    }
}
