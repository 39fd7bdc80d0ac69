//! `paths`: the boxes that forget idle flows.

use serde::Serialize;

use crate::model::path::{OnExpiry, PATHS, Path};

/// One known path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathEntry {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// Seconds of idleness after which it forgets a TCP flow, by default.
    pub idle_timeout_s: u32,
    /// How or in which range it can be changed; none if it cannot.
    pub configurable: Option<&'static str>,
    /// What becomes of a connection that was idle for too long.
    pub on_expiry: OnExpiry,
    /// Whether a keepalive probe counts as a sign of life. If not, it counts
    /// bytes.
    pub refreshed_by_keepalive: bool,
    /// Whether there is a built-in profile of its name.
    pub profile: bool,
    /// Where the timeout is published.
    pub source: &'static str,
}

/// All known paths, by name.
pub fn list() -> Vec<PathEntry> {
    PATHS.iter().map(PathEntry::from).collect()
}

impl From<&'static Path> for PathEntry {
    fn from(path: &'static Path) -> PathEntry {
        PathEntry {
            name: path.name,
            title: path.title,
            idle_timeout_s: path.idle_timeout_s,
            configurable: Some(path.configurable).filter(|how| !how.is_empty()),
            on_expiry: path.on_expiry,
            refreshed_by_keepalive: path.refreshed_by_keepalive(),
            profile: path.settings().is_some(),
            source: path.source,
        }
    }
}
