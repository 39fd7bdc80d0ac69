//! What `ssh show` predicts, held against real sessions whose link is cut.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::lab::{Lab, Server, Session};
use crate::pair::seconds;
use crate::sandbox::sandboxed;
use crate::stalls::Stalls;

/// What the test may see late: the acknowledgement of the last data, from which the
/// kernel counts (`TCP_DELACK_MAX`), and the end of a process.
const LATE: Duration = Duration::from_millis(250);

/// What the test may see early: the last data takes its way through the client.
const EARLY: Duration = Duration::from_millis(50);

/// The sides, as everything here counts them.
const CLIENT: usize = 0;
const SERVER: usize = 1;

/// How long a process waits between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// When each side ended, counted from the last data.
struct Ends {
    /// The client's side and the server's; none if it did not.
    at: [Option<Duration>; 2],
    /// For how long this machine stood still meanwhile.
    stalled: Duration,
}

/// Looks until both sides have ended, but no longer than that.
fn ends(session: &mut Session, server: &Server, within: Duration) -> Ends {
    let stalls = Stalls::watch();
    let mut at = [None, None];
    while session.since.elapsed() < within && at.contains(&None) {
        let over = [session.is_over(), !server.has_session()];
        let now = session.since.elapsed();
        for (end, over) in at.iter_mut().zip(over) {
            if over && end.is_none() {
                *end = Some(now);
            }
        }
        sleep(PAUSE);
    }
    let stalled = stalls.between(session.since, Instant::now());
    Ends { at, stalled }
}

/// Holds one side's end against its prediction.
#[track_caller]
fn compare(case: &str, side: usize, predicted: &[Value; 2], first: &str, ends: &Ends) {
    let (name, predicted) = (["client", "server"][side], &predicted[side]);
    assert_eq!(predicted["drops_first"], first, "{case}: {predicted:#}");
    let bounds = [&predicted["drop_s"], &predicted["drop_latest_s"]].map(seconds);
    let end = ends.at[side];
    let end = end.unwrap_or_else(|| panic!("{case}: the {name} goes on, {bounds:?} predicted"));
    let lasted = end.as_secs_f64();
    eprintln!(
        "| {case} | {name} | {first} | {:.3} to {:.3} s | {lasted:.3} s |",
        bounds[0], bounds[1]
    );
    let early = EARLY.as_secs_f64();
    let late = (LATE + ends.stalled).as_secs_f64();
    assert!(
        lasted > bounds[0] - early && lasted < bounds[1] + late,
        "{case}: the {name} ended after {lasted} s, {bounds:?} predicted, {:?} stalled",
        ends.stalled
    );
}

/// A session of these configurations whose link is cut: what was predicted, and
/// when each side ended.
fn cut(lab: &Lab, client: &str, server: &str, within: Duration) -> ([Value; 2], Ends) {
    lab.configure_client(client);
    let listening = lab.serve(server);
    let predicted = lab.predicted();
    let mut session = lab.session(&[]);
    session.settle();
    lab.cut();
    let ends = ends(&mut session, &listening, within);
    (predicted, ends)
}

sandboxed! {
    #[ignore = "needs openssh-server and iproute2"]
    fn the_client_alone_notices() {
        let lab = Lab::direct();
        let client = "ServerAliveInterval 2\nServerAliveCountMax 2\nTCPKeepAlive no\n";
        let (predicted, ends) = cut(&lab, client, "TCPKeepAlive no\n", Duration::from_secs(8));
        compare(
            "client alone, 2 s, count 2",
            CLIENT,
            &predicted,
            "alive",
            &ends,
        );
        assert_eq!(predicted[SERVER]["drops_first"], Value::Null);
        assert_eq!(ends.at[SERVER], None, "nothing ends the server's side");
    }
}

sandboxed! {
    #[ignore = "needs openssh-server and iproute2"]
    fn the_server_alone_notices() {
        let lab = Lab::direct();
        let server = "ClientAliveInterval 2\nClientAliveCountMax 2\nTCPKeepAlive no\n";
        let (predicted, ends) = cut(&lab, "TCPKeepAlive no\n", server, Duration::from_secs(14));
        compare(
            "server alone, 2 s, count 2",
            SERVER,
            &predicted,
            "alive",
            &ends,
        );
        assert_eq!(predicted[CLIENT]["drops_first"], Value::Null);
        assert_eq!(ends.at[CLIENT], None, "nothing ends the client's side");
    }
}

sandboxed! {
    #[ignore = "needs openssh-server and iproute2"]
    fn the_kernel_alone_notices() {
        let lab = Lab::direct();
        lab.put_in_force([3, 1, 3]);
        let (predicted, ends) = cut(&lab, "", "", Duration::from_secs(10));
        for side in [CLIENT, SERVER] {
            compare(
                "TCPKeepAlive alone, 3/1/3",
                side,
                &predicted,
                "tcp-keepalive",
                &ends,
            );
        }
    }
}

sandboxed! {
    #[ignore = "needs openssh-server and iproute2"]
    fn retransmission_comes_before_a_large_count() {
        let lab = Lab::direct();
        lab.put_retries2(3);
        let client = "ServerAliveInterval 2\nServerAliveCountMax 30\n";
        let server = "ClientAliveInterval 3\nClientAliveCountMax 30\n";
        let (predicted, ends) = cut(&lab, client, server, Duration::from_secs(20));
        for (side, case) in [
            (CLIENT, "2 s, count 30, tcp_retries2 3"),
            (SERVER, "3 s, count 30, tcp_retries2 3"),
        ] {
            compare(case, side, &predicted, "retransmission", &ends);
        }
    }
}

sandboxed! {
    #[ignore = "needs openssh-server and iproute2"]
    fn a_count_of_zero_ends_the_clients_side_though_the_server_lives() {
        let lab = Lab::direct();
        lab.configure_client("ServerAliveInterval 3\nServerAliveCountMax 0\n");
        let listening = lab.serve("");
        let predicted = lab.predicted();
        assert_eq!(predicted[CLIENT]["first_message_s"], Value::Null);
        let mut session = lab.session(&[]);
        let ends = ends(&mut session, &listening, Duration::from_secs(6));
        compare(
            "client count 0, 3 s, link whole",
            CLIENT,
            &predicted,
            "alive",
            &ends,
        );
    }
}

sandboxed! {
    #[ignore = "needs openssh-server and iproute2"]
    fn a_count_of_zero_never_ends_the_servers_side() {
        let lab = Lab::direct();
        let server = "ClientAliveInterval 1\nClientAliveCountMax 0\nTCPKeepAlive no\n";
        let (predicted, ends) = cut(&lab, "TCPKeepAlive no\n", server, Duration::from_secs(8));
        assert_eq!(predicted[SERVER]["layers"][0]["drop_s"], Value::Null);
        assert_eq!(
            ends.at[SERVER], None,
            "eight intervals, or four twice as long"
        );
    }
}

sandboxed! {
    #[ignore = "needs openssh-server and iproute2"]
    fn a_server_with_a_count_of_zero_is_ended_by_retransmission() {
        let lab = Lab::direct();
        lab.put_retries2(3);
        let server = "ClientAliveInterval 1\nClientAliveCountMax 0\n";
        let (predicted, ends) = cut(&lab, "TCPKeepAlive no\n", server, Duration::from_secs(14));
        let case = "server count 0, 1 s, tcp_retries2 3";
        compare(case, SERVER, &predicted, "retransmission", &ends);
    }
}

sandboxed! {
    #[ignore = "needs openssh-server, iproute2 and nftables"]
    fn a_planned_session_survives_a_firewall_and_a_default_one_does_not() {
        const IDLE_TIMEOUT_S: u32 = 4;
        let lab = Lab::through_a_firewall(IDLE_TIMEOUT_S);
        lab.configure_client("");
        let _listening = lab.serve("");
        let plan = crate::command::run(&format!(
            "ssh plan --idle-timeout {IDLE_TIMEOUT_S} --rtt 1ms --json"
        ))
        .code(0)
        .json();
        let planned: Vec<String> = plan["options"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|option| ["-o".to_owned(), option.as_str().unwrap().to_owned()])
            .collect();
        let mut default = lab.session(&[]);
        let mut kept = lab.session(&planned);
        let soon = Duration::from_secs(3);
        assert!(default.echoes("one", soon) && kept.echoes("one", soon));
        let idle = Instant::now();
        sleep(Duration::from_secs((IDLE_TIMEOUT_S * 3).into()));
        assert!(
            kept.echoes("two", soon),
            "the planned one is there: {plan:#}"
        );
        assert!(!default.echoes("two", soon), "the default one is lost");
        eprintln!(
            "| idle timeout {IDLE_TIMEOUT_S} s, idle for {:.1} s | {} survives, the default is lost |",
            idle.elapsed().as_secs_f64(),
            planned.join(" ")
        );
    }
}
