//! The lines of a sysctl.d file that have a say in the three settings.

use super::glob::{Budget, Matches, is_glob, matches};
use crate::model::Setting;

/// A line that assigns one of the three keys or leaves it alone, or a glob that
/// does so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its key as a path below /proc/sys, without needless slashes.
    pub key: String,
    /// Whether it is spelt so.
    pub plainly: bool,
    /// Which of the three settings it is a glob for.
    globs: Matches,
    /// `None` for a bare `-key`.
    pub value: Option<String>,
    /// The line, from 1.
    pub number: usize,
}

impl Line {
    /// Whether this is a glob for a setting, as glob(3) would match it.
    pub fn is_glob_for(&self, setting: Setting) -> bool {
        self.globs.plain[setting as usize]
    }

    /// The same with GLOB_BRACE, which systemd asks for.
    pub fn is_glob_with_braces_for(&self, setting: Setting) -> bool {
        self.globs.braces[setting as usize]
    }
}

/// The lines of a text that matter, and the numbers of those with globs that are
/// not followed.
pub(super) fn lines(text: &str, budget: &mut Budget) -> (Vec<Line>, Vec<usize>) {
    let keys = Setting::ALL.map(Setting::path);
    let mut found = Vec::new();
    let mut not_followed = Vec::new();
    for (number, raw) in (1..).zip(text.split('\n')) {
        let Some((key, value)) = split(raw.trim()) else {
            continue;
        };
        // All others have no say, whatever their spelling.
        if !is_glob(key) && !key.contains("tcp_keepalive_") {
            continue;
        }
        let path = swapped(key);
        let key = simplified(&path);
        let globs = match is_glob(&key) {
            false => Some(Matches::default()),
            true => matches(&key, &keys, budget),
        };
        let Some(globs) = globs else {
            not_followed.push(number);
            continue;
        };
        if keys.contains(&key) || globs != Matches::default() {
            found.push(Line {
                plainly: path == key,
                value: value.map(str::to_owned),
                key,
                globs,
                number,
            });
        }
    }
    (found, not_followed)
}

/// `key = value`, `-key = value` (failure is ignored) or `-key` (not to be set
/// by a glob).
fn split(line: &str) -> Option<(&str, Option<&str>)> {
    if line.is_empty() || line.starts_with(['#', ';']) {
        return None;
    }
    match line.split_once('=') {
        Some((key, value)) => {
            let key = key.strip_prefix('-').unwrap_or(key);
            Some((key.trim(), Some(value.trim())))
        }
        None => Some((line.strip_prefix('-')?.trim(), None)),
    }
}

/// A key as a path: if its first separator is a dot, dots and slashes change
/// places (`sysctl_normalize` in systemd, `slashdot` in procps-ng).
fn swapped(key: &str) -> String {
    let dotted = key
        .find(['.', '/'])
        .is_some_and(|i| key[i..].starts_with('.'));
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    match dotted {
        true => key.chars().map(swap).collect(),
        false => key.to_owned(),
    }
}

/// The path that the kernel would find (`path_simplify` in systemd).
fn simplified(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|p| !["", "."].contains(p)).collect();
    parts.join("/")
}
