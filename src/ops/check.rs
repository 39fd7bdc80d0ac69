//! `check`: do idle connections survive the path?

use serde::{Serialize, Serializer};

use super::{Result, over, require_machine, warnings};
use crate::kernel::netns::NetNs;
use crate::kernel::{conntrack, keepalive, tick};
use crate::model::check::{Check, Verdict, check as verdict_on, silence_ms};
use crate::model::path::{PATHS, Path};
use crate::model::span::as_seconds;
use crate::model::{Hz, Partial, Settings};
use crate::root::Root;

/// The verdict on one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathCheck {
    /// The path's name; none for an idle timeout that was given.
    pub path: Option<&'static str>,
    /// What it is.
    pub title: &'static str,
    /// Seconds of idleness after which it forgets.
    pub idle_timeout_s: u32,
    /// Whether keepalive refreshes it at all.
    pub refreshed_by_keepalive: bool,
    /// The verdict.
    pub verdict: Verdict,
    /// The margin with one probe lost; none if keepalive does not refresh it.
    #[serde(rename = "margin_s", serialize_with = "signed_seconds")]
    pub margin_ms: Option<i64>,
}

fn signed_seconds<S: Serializer>(ms: &Option<i64>, s: S) -> std::result::Result<S::Ok, S::Error> {
    match ms {
        Some(ms) => s.serialize_f64(*ms as f64 / 1000.0),
        None => s.serialize_none(),
    }
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
    /// none if nothing was asked for and no conntrack is loaded.
    pub verdict: Option<Verdict>,
    /// The smallest margin of these.
    #[serde(rename = "margin_s", serialize_with = "signed_seconds")]
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
    partial.check()?;
    let settings = over(partial, netns.enter(keepalive::read)??)?;
    let hz = tick::rate();
    let mut asked: Vec<PathCheck> = paths.iter().map(|p| on_path(settings, p, hz)).collect();
    asked.extend(
        idle_timeout_s.map(|s| on_timeout(settings, None, "the idle timeout given", s, hz)),
    );
    let conntrack = netns.enter(conntrack::established_timeout_s)??;
    let title = "conntrack on this machine";
    let own = conntrack.map(|s| on_timeout(settings, Some("local-conntrack"), title, s, hz));
    let all_known = asked.is_empty();
    asked.extend(own);
    let verdict = asked.iter().map(|path| path.verdict).max();
    let margin_ms = asked.iter().filter_map(|path| path.margin_ms).min();
    if all_known {
        asked.extend(PATHS.iter().map(|p| on_path(settings, p, hz)));
    }
    Ok(CheckReport {
        settings,
        from_kernel: partial.complete().is_none(),
        hz,
        silence_ms: silence_ms(settings, 0, hz),
        silence_one_lost_ms: silence_ms(settings, 1, hz),
        verdict,
        margin_ms,
        all_known,
        paths: asked,
        warnings: warnings(settings),
    })
}

fn on_path(settings: Settings, path: &Path, hz: Option<Hz>) -> PathCheck {
    let counted = on_timeout(
        settings,
        Some(path.name),
        path.title,
        path.idle_timeout_s,
        hz,
    );
    match path.refreshed_by_keepalive() {
        true => counted,
        false => PathCheck {
            refreshed_by_keepalive: false,
            verdict: Verdict::Unsafe,
            margin_ms: None,
            ..counted
        },
    }
}

fn on_timeout(
    settings: Settings,
    path: Option<&'static str>,
    title: &'static str,
    idle_timeout_s: u32,
    hz: Option<Hz>,
) -> PathCheck {
    let Check { verdict, margin_ms } = verdict_on(settings, idle_timeout_s, hz);
    PathCheck {
        path,
        title,
        idle_timeout_s,
        refreshed_by_keepalive: true,
        verdict,
        margin_ms: Some(margin_ms),
    }
}
