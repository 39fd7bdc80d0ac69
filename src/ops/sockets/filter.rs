//! Which sockets are meant.

use std::borrow::Cow;

use super::report::SocketReport;
use crate::kernel::processes;
use crate::kernel::sock_diag::{self, TcpState};
use crate::model::Hz;
use crate::model::check::{TRAVEL_MS, Verdict, check};
use crate::model::path::Path;
use crate::model::settings::Settings;
use crate::ops::{Error, Result};

/// Which sockets. All that is asked for must be so; of a list, any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Held by these processes.
    pub pids: Vec<i32>,
    /// Held by processes of these programs, by the name in `/proc/PID/comm`.
    pub processes: Vec<String>,
    /// Ports and addresses.
    pub ends: sock_diag::Filter,
    /// Their states. If empty: established, and where something is changed, all.
    pub states: Vec<TcpState>,
    /// Only with keepalive off.
    pub unprotected: bool,
    /// Only armed under older settings.
    pub stale: bool,
    /// Only those that a box on the way may forget.
    pub at_risk: Option<Patience>,
}

/// How long a path waits for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    idle_timeout_s: u32,
    refreshed_by_keepalive: bool,
}

impl Patience {
    /// Of the tightest of some boxes; none if there is none.
    pub fn of(paths: &[&'static Path], idle_timeout_s: Option<u32>) -> Option<Patience> {
        let timeouts = paths.iter().map(|path| path.idle_timeout_s);
        Some(Patience {
            idle_timeout_s: timeouts.chain(idle_timeout_s).min()?,
            refreshed_by_keepalive: paths.iter().all(|path| path.refreshed_by_keepalive()),
        })
    }

    /// Whether an idle socket can be forgotten: one that stays with its settings,
    /// and one whose next probe comes too late.
    pub(super) fn runs_out(
        self,
        settings: Settings,
        silent_until_probe_ms: Option<u64>,
        hz: Option<Hz>,
    ) -> bool {
        !self.refreshed_by_keepalive
            || check(settings, self.idle_timeout_s, hz).verdict != Verdict::Safe
            || silent_until_probe_ms.is_some_and(|ms| self.is_over(ms))
    }

    /// Whether a probe after so long a silence comes too late.
    pub(super) fn is_over(self, silent_ms: u64) -> bool {
        silent_ms + TRAVEL_MS > u64::from(self.idle_timeout_s) * 1000
    }
}

impl Filter {
    /// Whether sockets are chosen by who holds them.
    pub(super) fn by_owner(&self) -> bool {
        !self.pids.is_empty() || !self.processes.is_empty()
    }

    /// That each process that is named by its number exists.
    pub(super) fn check_pids(&self) -> Result<()> {
        let gone = self
            .pids
            .iter()
            .find(|pid| processes::command(**pid).is_none());
        gone.map_or(Ok(()), |pid| Err(Error::NoSuchProcess { pid: *pid }))
    }

    /// Whether a process is meant.
    pub(super) fn means(&self, pid: i32) -> bool {
        let is = |name: &String| self.processes.iter().any(|wanted| in_comm(wanted) == *name);
        let named = || processes::command(pid).as_ref().is_some_and(is);
        (self.pids.is_empty() || self.pids.contains(&pid)) && (self.processes.is_empty() || named())
    }

    /// Whether a socket is meant, of those that the rest has let pass.
    pub(super) fn passes(&self, socket: &SocketReport) -> bool {
        (!self.unprotected || socket.keepalive == Some(false))
            && (!self.stale || socket.stale == Some(true))
            && (self.at_risk.is_none() || socket.at_risk == Some(true))
    }

    /// The same, or it is not known.
    pub(super) fn may_pass(&self, socket: &SocketReport) -> bool {
        (!self.unprotected || socket.keepalive != Some(true))
            && (!self.stale || socket.stale != Some(false))
            && (self.at_risk.is_none() || socket.at_risk != Some(false))
    }

    /// What to ask the kernel for; of all states where none is named, if
    /// `all_states`.
    pub(super) fn query(&self, all_states: bool) -> sock_diag::Query {
        let states = match (self.states.is_empty(), all_states) {
            (true, true) => TcpState::ALL.to_vec(),
            (true, false) => vec![TcpState::Established],
            (false, _) => self.states.clone(),
        };
        sock_diag::Query {
            states,
            filter: self.ends.clone(),
        }
    }
}

/// As much of a name as the kernel keeps, in bytes (`TASK_COMM_LEN`).
fn in_comm(name: &str) -> Cow<'_, str> {
    const KEPT: usize = 15;
    String::from_utf8_lossy(&name.as_bytes()[..KEPT.min(name.len())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::path;

    #[test]
    fn the_kernel_keeps_the_beginning_of_a_name() {
        assert_eq!(in_comm("very-long-program-name"), "very-long-progr");
        assert_eq!(in_comm("postgres") + &*in_comm(""), "postgres");
        assert_eq!(in_comm("fourteen-bytesé"), "fourteen-bytes\u{fffd}");
    }

    #[test]
    fn the_tightest_box_counts() {
        let paths = [
            path::find("aws-nat").unwrap(),
            path::find("azure-lb").unwrap(),
        ];
        assert_eq!(Patience::of(&paths, Some(600)).unwrap().idle_timeout_s, 240);
        assert_eq!(Patience::of(&paths, Some(60)).unwrap().idle_timeout_s, 60);
        assert_eq!(Patience::of(&[], None), None);
    }

    #[test]
    fn a_late_probe_is_a_risk_too() {
        let patience = Patience::of(&[], Some(350)).unwrap();
        let good = Settings::new(240, 30, 6).unwrap();
        let hz = Hz::new(250);
        assert!(!patience.runs_out(good, Some(300_000), hz));
        assert!(patience.runs_out(good, Some(7_000_000), hz));
        assert!(patience.runs_out(Settings::new(7200, 75, 9).unwrap(), None, hz));
        // A proxy counts bytes.
        let proxy = Patience::of(&[path::find("aws-alb").unwrap()], Some(600)).unwrap();
        assert!(proxy.runs_out(Settings::new(1, 1, 9).unwrap(), Some(0), hz));
    }
}
