//! `check`: do idle connections survive the path?

use serde::Serialize;

use super::{Result, require_machine, settings, warnings};
use crate::kernel::netns::NetNs;
use crate::kernel::{conntrack, tick};
use crate::model::check::{Check, Silence, Verdict, silence_ms};
use crate::model::path::{PATHS, Path};
use crate::model::span::{as_difference, as_seconds};
use crate::model::{Hz, Partial, Settings};
use crate::root::Root;

/// The title of this machine's own conntrack.
pub const CONNTRACK_HERE: &str = "conntrack here";

/// The verdict on one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathCheck {
    /// The path's name; none for an idle timeout that was given and for this
    /// machine's conntrack.
    pub path: Option<&'static str>,
    /// What it is.
    pub title: &'static str,
    /// Seconds of idleness after which it forgets.
    pub idle_timeout_s: u32,
    /// Whether keepalive refreshes it at all.
    pub refreshed_by_keepalive: bool,
    /// The verdict.
    pub verdict: Verdict,
    /// The margin with one probe lost; none if keepalive does not refresh it, or
    /// forgives no loss.
    #[serde(rename = "margin_s", serialize_with = "as_difference")]
    pub margin_ms: Option<i64>,
}

/// The verdict on all that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The settings.
    pub settings: Settings,
    /// Whether any of them was taken from the kernel.
    pub from_kernel: bool,
    /// The kernel's tick rate, which bounds the lateness; if it is not known,
    /// the bound is 8/63.
    pub hz: Option<Hz>,
    /// The longest silence of a healthy idle connection.
    #[serde(rename = "silence_s", serialize_with = "as_seconds")]
    pub silence_ms: u64,
    /// The same with one probe lost.
    #[serde(rename = "silence_one_lost_s", serialize_with = "as_seconds")]
    pub silence_one_lost_ms: u64,
    /// The worst verdict on what was asked for and this machine's own conntrack;
    /// none if nothing was asked for.
    pub verdict: Option<Verdict>,
    /// The smallest margin of these; none if one has none.
    #[serde(rename = "margin_s", serialize_with = "as_difference")]
    pub margin_ms: Option<i64>,
    /// Whether the paths are all known ones, because none was asked for.
    pub all_known: bool,
    /// Each path.
    pub paths: Vec<PathCheck>,
    /// What is worth knowing.
    pub warnings: Vec<String>,
}

/// Holds settings against paths, against an idle timeout, and against this
/// machine's conntrack. What `partial` does not name is what is in force in the
/// network namespace. Without a path and an idle timeout, all known paths are
/// listed.
///
/// # Errors
/// A value is illegal, or what is in force cannot be read or computed with.
pub fn check(
    root: &Root,
    netns: &NetNs,
    partial: Partial,
    paths: &[&'static Path],
    idle_timeout_s: Option<u32>,
) -> Result<CheckReport> {
    require_machine(root, "check")?;
    let settings = settings(netns, partial)?;
    let hz = tick::rate();
    let all_known = paths.is_empty() && idle_timeout_s.is_none();
    let paths = if all_known {
        PATHS.iter().collect()
    } else {
        paths.to_vec()
    };
    let conntrack = netns.enter(conntrack::established_timeout_s)??;
    let kept = Silence::kept(settings, hz);
    let checks = verdicts(&paths, idle_timeout_s, conntrack, kept, Silence::ENDLESS);
    let worst = checks.iter().map(|path| path.verdict).max();
    let margins: Option<Vec<i64>> = checks.iter().map(|path| path.margin_ms).collect();
    Ok(CheckReport {
        settings,
        from_kernel: partial.complete().is_none(),
        hz,
        silence_ms: silence_ms(settings, 0, hz),
        silence_one_lost_ms: silence_ms(settings, 1, hz),
        verdict: worst.filter(|_| !all_known),
        margin_ms: margins
            .filter(|_| !all_known)
            .and_then(|all| all.into_iter().min()),
        all_known,
        paths: checks,
        warnings: warnings(settings),
    })
}

/// The verdicts on paths, on an idle timeout that was given and on this machine's
/// own conntrack. `in_bytes` are the silences of a path that counts bytes.
pub(super) fn verdicts(
    paths: &[&'static Path],
    idle_timeout_s: Option<u32>,
    conntrack_s: Option<u32>,
    silence: Silence,
    in_bytes: Silence,
) -> Vec<PathCheck> {
    let on_path = |path: &&'static Path| {
        let refreshed_by_keepalive = path.refreshed_by_keepalive();
        let counting = if refreshed_by_keepalive {
            silence
        } else {
            in_bytes
        };
        PathCheck {
            path: Some(path.name),
            refreshed_by_keepalive,
            ..on_timeout(counting, path.title, path.idle_timeout_s)
        }
    };
    let given = idle_timeout_s.map(|s| on_timeout(silence, "the idle timeout given", s));
    let own = conntrack_s.map(|s| on_timeout(silence, CONNTRACK_HERE, s));
    paths.iter().map(on_path).chain(given).chain(own).collect()
}

fn on_timeout(silence: Silence, title: &'static str, idle_timeout_s: u32) -> PathCheck {
    let Check { verdict, margin_ms } = silence.check(idle_timeout_s);
    PathCheck {
        path: None,
        title,
        idle_timeout_s,
        refreshed_by_keepalive: true,
        verdict,
        margin_ms,
    }
}
