//! The lines of a sysctl.d file that have a say in the three settings.
//!
//! systemd-sysctl ends a line at a carriage return and at a NUL too (`read_line`
//! in `src/basic/fileio.c`), `sysctl --system` at a line feed only. Lines are
//! numbered by their line feeds for both, as editors and `grep -n` number them: a
//! line that hides behind a carriage return has the number of the one it hides in.

use super::Reader;
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
    /// The only program that reads it so; `None` if both do.
    only_for: Option<Reader>,
}

impl Line {
    /// Whether a program reads this line.
    pub fn is_for(&self, reader: Reader) -> bool {
        self.only_for.is_none_or(|only| only == reader)
    }

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
    let rows = (1..).zip(text.split('\n'));
    for (number, only_for, raw) in rows.flat_map(|(number, row)| read_by_both(number, row)) {
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
            if not_followed.last() != Some(&number) {
                not_followed.push(number);
            }
            continue;
        };
        if keys.contains(&key) || globs != Matches::default() {
            found.push(Line {
                plainly: path == key,
                value: value.map(str::to_owned),
                key,
                globs,
                number,
                only_for,
            });
        }
    }
    (found, not_followed)
}

/// What the two programs read where one line ends with a line feed: one line, or
/// where something else in it ends a line for one of them, the lines of each.
fn read_by_both(number: usize, row: &str) -> impl Iterator<Item = (usize, Option<Reader>, &str)> {
    const ENDS: [char; 2] = ['\r', '\0'];
    let row = row.trim_end_matches('\r');
    let differs = row.contains(ENDS);
    // For `sysctl --system`, which is written in C, a NUL ends all of it.
    let procps = row.split('\0').take(1);
    let only = move |reader| differs.then_some(reader);
    let procps = procps.map(move |line| (number, only(Reader::SysctlSystem), line));
    let systemd = row.split(ENDS).filter(move |_| differs);
    procps.chain(systemd.map(move |line| (number, Some(Reader::SystemdSysctl), line)))
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
