//! What fails when a part is done already: it is told as what it is.

use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use keepalivectl::kernel::lab::Lab;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::command::{Said, binary};
use crate::pair::{Pair, find, list};
use crate::sandbox::{put_in_force, sandboxed};

sandboxed! {
    #[ignore = "needs strace"]
    fn sockets_that_were_changed_are_told_though_others_cannot_be_looked_for() {
        Lab::enter().unwrap();
        put_in_force([7200, 75, 9]);
        let (kept, sent) = (Pair::kept(), Pair::kept());
        // A socket on its way to another process is nobody's, and is looked for again.
        let (here, _there) = UnixStream::pair().unwrap();
        let Pair { client, server } = sent;
        let fd = [client.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fd)];
        let byte = [IoSlice::new(b"x")];
        sendmsg::<()>(here.as_raw_fd(), &byte, &rights, MsgFlags::empty(), None).unwrap();
        drop((client, server));
        let output = Command::new("strace")
            .args(["-qq", "-f", "-o", "/dev/null", "-P", "/proc", "-e", "trace=openat"])
            .args(["-e", "inject=openat:error=EMFILE:when=2+"])
            .arg(binary())
            .args(["sockets", "set", "--all", "--time", "60", "--json"])
            .stdin(Stdio::null())
            .output()
            .expect("strace is installed");
        // Some could not be reached, which is 1, and the rest is told.
        let said = Said::from(output).code(1);
        let report = said.json();
        assert!(report["changed"].as_u64().unwrap() >= 1, "{report}");
        assert!(report["refused"].as_u64().unwrap() >= 1, "{report}");
        assert!(report["reasons"].to_string().contains("Too many open files"), "{report}");
        assert_eq!(find(&list(""), &kept.client)["time_s"], 60);
    }
}
