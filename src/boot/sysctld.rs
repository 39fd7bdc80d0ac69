//! Which line of which sysctl.d file decides a setting at boot.
//!
//! Two programs read these files, and they do not agree. systemd-sysctl(8)
//! keeps the last assignment of a key and writes it once; a bare `-key` cancels
//! an earlier assignment; `/etc/sysctl.conf` counts only where a link in
//! sysctl.d leads to it. `sysctl --system` (procps-ng) writes every assignment
//! in turn, so the last one that the kernel takes wins; a bare `-key` only
//! keeps globs away; and `/etc/sysctl.conf` is read last of all. With both, a
//! glob never sets a key that is named anywhere.
//!
//! See sysctl.d(5), `src/sysctl/sysctl.c` of systemd 252 and `src/sysctl.c` of
//! procps-ng 4.0.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use serde::Serialize;

use crate::chain::chain;
use crate::model::{Hz, Setting};
use crate::root::{FileError, Root};

/// Folders, the first with a file of a name wins.
const DIRS: [&str; 5] = [
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
];
const SYSCTL_CONF: &str = "/etc/sysctl.conf";
const LIMIT: usize = 16 << 20;

/// A program that reads sysctl.d at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Reader {
    /// systemd-sysctl.service.
    #[serde(rename = "systemd-sysctl")]
    SystemdSysctl,
    /// `sysctl --system` of procps-ng, as other init systems run it.
    #[serde(rename = "sysctl --system")]
    SysctlSystem,
}

/// One file that may be read at boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Its name in sysctl.d, which sorts it; `None` for `/etc/sysctl.conf`,
    /// which is read last.
    pub name: Option<OsString>,
    /// Its path for people, with links resolved: the one to edit.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// The files that may be read at boot, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// The files.
    pub read: Vec<ConfigFile>,
    /// Those that could not be read here, and may matter.
    pub unreadable: Vec<String>,
}

impl Files {
    /// Reads them.
    ///
    /// # Errors
    /// A folder cannot be read. A file that cannot is listed instead.
    pub fn read(root: &Root) -> Result<Files, FileError> {
        let mut by_name: BTreeMap<OsString, PathBuf> = BTreeMap::new();
        for dir in DIRS {
            for name in root.names(dir)? {
                if name.as_bytes().ends_with(b".conf") {
                    let path = Path::new(dir).join(&name);
                    by_name.entry(name).or_insert(path);
                }
            }
        }
        let named = by_name.into_iter().map(|(name, path)| (Some(name), path));
        let mut files = Files::default();
        for (name, path) in named.chain([(None, SYSCTL_CONF.into())]) {
            match root.read(&path, LIMIT) {
                Ok(None) | Err(FileError::NotAFile { .. }) => {}
                Ok(Some(content)) => files.read.push(ConfigFile {
                    name,
                    path: for_people(&root.display(content.real_path)),
                    text: String::from_utf8_lossy(&content.bytes).into_owned(),
                }),
                Err(e) => files.unreadable.push(chain(&e)),
            }
        }
        Ok(files)
    }

    /// The same files, with `text` as the one in sysctl.d called `name`, or
    /// without that one.
    #[must_use]
    pub fn with(mut self, name: &str, text: Option<(PathBuf, String)>) -> Files {
        let name = OsStr::new(name);
        self.read.retain(|f| f.name.as_deref() != Some(name));
        if let Some((path, text)) = text {
            let later = |f: &ConfigFile| f.name.as_deref().is_none_or(|n| n > name);
            let at = self.read.iter().position(later).unwrap_or(self.read.len());
            let name = Some(name.to_owned());
            self.read.insert(at, ConfigFile { name, path, text });
        }
        self
    }
}

/// A path that can be printed and serialized, whatever bytes it is made of.
fn for_people(path: &Path) -> PathBuf {
    PathBuf::from(path.to_string_lossy().into_owned())
}

/// A line that decides a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The value that the kernel gets.
    pub value: i64,
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

/// What the files say of one setting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The line that decides; `None` if the kernel's value stays.
    pub decided: Option<Decided>,
    /// The line that leaves the kernel's own value, by a `-key` or by a value
    /// that the kernel refuses.
    pub left_by: Option<(PathBuf, usize)>,
    /// What is worth knowing: lines that the kernel will refuse, or that cancel.
    pub notes: Vec<String>,
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reader::SystemdSysctl => "systemd-sysctl",
            Reader::SysctlSystem => "`sysctl --system`",
        })
    }
}

impl Reader {
    /// Whether this program reads a file. systemd-sysctl knows nothing of
    /// `/etc/sysctl.conf`, and skips hidden files.
    fn reads(self, file: &ConfigFile) -> bool {
        match (self, &file.name) {
            (Reader::SysctlSystem, _) => true,
            (Reader::SystemdSysctl, name) => name
                .as_ref()
                .is_some_and(|n| !n.as_bytes().starts_with(b".")),
        }
    }

    /// What the files say of one setting. `hz` is the rate of the kernel that
    /// will boot, which bounds what it takes.
    pub fn decide(self, files: &Files, setting: Setting, hz: Option<Hz>) -> Verdict {
        let read = files.read.iter().filter(|f| self.reads(f));
        let lines: Vec<Line> = read.flat_map(lines).collect();
        let key = setting.path();
        let mut verdict = Verdict::default();
        let candidates = match self {
            Reader::SystemdSysctl => written_by_systemd(&lines, &key),
            Reader::SysctlSystem => written_by_sysctl(&lines, &key),
        };
        for line in candidates {
            let place = format!("{}:{}", line.file.display(), line.number);
            verdict.left_by = Some((line.file.to_owned(), line.number));
            match &line.value {
                None => verdict.notes.push(format!(
                    "{place}: `-{}` cancels every earlier assignment",
                    setting.key()
                )),
                Some(text) => match kernel_takes(setting, text, hz) {
                    Some(value) => {
                        verdict.decided = Some(Decided {
                            value,
                            file: line.file.to_owned(),
                            line: line.number,
                        });
                    }
                    None => verdict.notes.push(format!(
                        "{place}: the kernel refuses {text:?} for {}",
                        setting.key()
                    )),
                },
            }
        }
        verdict
    }
}

/// The lines that systemd-sysctl follows for a key. It keeps one line for each
/// key or glob, the last one said, and a key of its own wins over globs, even
/// one that only says to leave it alone. A glob said again moves to the end,
/// unless it says the same.
fn written_by_systemd<'l>(lines: &'l [Line], key: &str) -> Vec<&'l Line<'l>> {
    let mut kept: Vec<&Line> = Vec::new();
    let counts = |l: &&Line| l.key == key || l.matches_with_braces(key);
    for line in lines.iter().filter(counts) {
        match kept.iter().position(|k| k.key == line.key) {
            Some(at) if kept[at].value == line.value => kept[at] = line,
            Some(at) => {
                kept.remove(at);
                kept.push(line);
            }
            None => kept.push(line),
        }
    }
    match kept.iter().find(|k| k.key == key) {
        Some(named) => vec![named],
        None => kept.into_iter().filter(|g| g.value.is_some()).collect(),
    }
}

/// The lines that `sysctl --system` follows for a key: all, in their order. A
/// key of its own, spelt plainly, keeps globs away.
fn written_by_sysctl<'l>(lines: &'l [Line], key: &str) -> Vec<&'l Line<'l>> {
    let named = lines.iter().any(|l| l.path == key);
    let counts = |l: &&Line| l.key == key || (!named && l.matches(key));
    let assign = lines.iter().filter(|l| l.value.is_some());
    assign.filter(counts).collect()
}

/// The lines of a file that say something.
fn lines(file: &ConfigFile) -> impl Iterator<Item = Line<'_>> {
    (1..)
        .zip(file.text.split('\n'))
        .filter_map(|(number, raw)| {
            let (key, value) = split(raw.trim())?;
            let path = swapped(key);
            Some(Line {
                key: simplified(&path),
                path,
                value,
                file: &file.path,
                number,
            })
        })
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

/// One line that says something.
struct Line<'f> {
    /// As a path below /proc/sys, as it is spelt.
    path: String,
    /// The same without needless slashes.
    key: String,
    /// `None` for a bare `-key`.
    value: Option<&'f str>,
    file: &'f Path,
    number: usize,
}

impl Line<'_> {
    /// Whether this is a glob that matches a key, as glob(3) would: no wildcard
    /// matches a slash.
    fn matches(&self, key: &str) -> bool {
        self.is_glob() && glob_matches(&self.key, key)
    }

    /// The same with GLOB_BRACE, which systemd asks for.
    fn matches_with_braces(&self, key: &str) -> bool {
        self.is_glob() && alternatives(&self.key).iter().any(|g| glob_matches(g, key))
    }

    fn is_glob(&self) -> bool {
        self.key.contains(['*', '?', '['])
    }
}

fn glob_matches(glob: &str, key: &str) -> bool {
    let options = MatchOptions {
        require_literal_separator: true,
        ..MatchOptions::new()
    };
    pattern(glob).is_some_and(|p| p.matches_with(key, options))
}

/// `a{b,c}d` as `abd` and `acd`, the innermost braces first. Only so many: no
/// honest line has more.
fn alternatives(glob: &str) -> Vec<String> {
    const MOST: usize = 1000;
    let mut done = Vec::new();
    let mut open = vec![glob.to_owned()];
    while let Some(text) = open.pop() {
        let close = text.find('}');
        let braces = close.and_then(|close| Some((text[..close].rfind('{')?, close)));
        match braces {
            Some((start, close)) if done.len() + open.len() < MOST => {
                let parts = text[start + 1..close].split(',');
                open.extend(parts.map(|p| format!("{}{p}{}", &text[..start], &text[close + 1..])));
            }
            _ => done.push(text),
        }
    }
    done
}

/// The crate's syntax differs from glob(3) in two ways: `**` is special, and a
/// class is negated by `!` only.
fn pattern(glob: &str) -> Option<Pattern> {
    let mut text = glob.replace("[^", "[!");
    while text.contains("**") {
        text = text.replace("**", "*");
    }
    Pattern::new(&text).ok()
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

/// The value that the kernel stores for a text, if it takes it
/// (`proc_get_long`, `proc_dointvec_jiffies`, `proc_dou8vec_minmax` in
/// `kernel/sysctl.c`): the first word, decimal, octal with a leading 0 or
/// hexadecimal with 0x.
fn kernel_takes(setting: Setting, text: &str, hz: Option<Hz>) -> Option<i64> {
    let word = text.split([' ', '\t']).find(|w| !w.is_empty())?;
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.strip_prefix("0x") {
        Some(hex) if !hex.is_empty() => (16, hex),
        _ if lower.starts_with('0') => (8, lower.as_str()),
        _ => (10, lower.as_str()),
    };
    // from_str_radix would take a sign here, and the kernel does not.
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) || word.len() > 20 {
        return None;
    }
    let magnitude = i64::from_str_radix(digits, radix).ok()?;
    let value = if negative { -magnitude } else { magnitude };
    let taken = match setting {
        Setting::Time | Setting::Intvl => {
            let ticks = hz.map_or(1000, Hz::get);
            value.abs() <= i64::from(i32::MAX) / i64::from(ticks)
        }
        Setting::Probes => (0..=255).contains(&value),
    };
    taken.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[(&str, &str)]) -> Files {
        let file = |(path, text): &(&str, &str)| ConfigFile {
            name: Some((*path).into()),
            path: path.into(),
            text: (*text).to_owned(),
        };
        Files {
            read: texts.iter().map(file).collect(),
            unreadable: Vec::new(),
        }
    }

    /// What both readers make of time: (value, line) each.
    fn time(texts: &[(&str, &str)]) -> [Option<(i64, usize)>; 2] {
        [Reader::SystemdSysctl, Reader::SysctlSystem].map(|reader| {
            let verdict = reader.decide(&files(texts), Setting::Time, Hz::new(250));
            verdict.decided.map(|d| (d.value, d.line))
        })
    }

    const T: &str = "net.ipv4.tcp_keepalive_time";

    #[test]
    fn the_last_assignment_wins_in_both() {
        let later = format!("# comment\n\n{T} = 30\n");
        let found = time(&[("a", &format!("{T}=20")), ("b", &later)]);
        assert_eq!(found, [Some((30, 3)); 2]);
    }

    #[test]
    fn a_refused_value_is_remembered_by_systemd_only() {
        let found = time(&[("a", &format!("{T}=20")), ("b", &format!("{T}=soon"))]);
        assert_eq!(found, [None, Some((20, 1))]);
        let verdict = Reader::SystemdSysctl.decide(
            &files(&[("b", &format!("\n{T}=soon"))]),
            Setting::Time,
            None,
        );
        assert!(verdict.notes[0].starts_with("b:2: the kernel refuses \"soon\""));
    }

    #[test]
    fn a_bare_minus_cancels_in_systemd_only() {
        let found = time(&[("a", &format!("{T}=20")), ("b", &format!("-{T}"))]);
        assert_eq!(found, [None, Some((20, 1))]);
    }

    #[test]
    fn a_glob_sets_only_what_is_not_named() {
        let glob = "net.ipv4.tcp_keepalive_* = 5";
        assert_eq!(time(&[("a", glob)]), [Some((5, 1)); 2]);
        let named = format!("{T}=20");
        assert_eq!(time(&[("a", &named), ("b", glob)]), [Some((20, 1)); 2]);
        assert_eq!(time(&[("a", glob), ("b", &named)]), [Some((20, 1)); 2]);
        let excluded = format!("-{T}");
        assert_eq!(time(&[("a", glob), ("b", &excluded)]), [None; 2]);
    }

    #[test]
    fn globs_are_written_in_turn() {
        let a = "net/ipv4/tcp_keepalive_[^ip]ime = 1";
        let b = "net.ipv4.tcp_*_time = 2";
        let c = "net.ipv4.tcp_*_time = 3";
        assert_eq!(time(&[("x", a), ("y", b)]), [Some((2, 1)); 2]);
        assert_eq!(time(&[("x", b), ("y", a)]), [Some((1, 1)); 2]);
        // The same glob with another value moves to the end in systemd.
        assert_eq!(time(&[("x", b), ("y", a), ("z", c)]), [Some((3, 1)); 2]);
        assert_eq!(
            time(&[("x", b), ("y", a), ("z", b)]),
            [Some((1, 1)), Some((2, 1))]
        );
    }

    #[test]
    fn sysctl_conf_and_hidden_files_are_not_systemds() {
        let mut files = files(&[(".a", &format!("{T}=1")), ("b", &format!("{T}=2"))]);
        let value = |reader: Reader, files: &Files| {
            let decided = reader.decide(files, Setting::Time, None).decided;
            decided.map(|d| d.value)
        };
        files.read[1].name = None;
        assert_eq!(value(Reader::SystemdSysctl, &files), None);
        assert_eq!(value(Reader::SysctlSystem, &files), Some(2));
        files.read.pop();
        assert_eq!(value(Reader::SysctlSystem, &files), Some(1));
    }

    #[test]
    fn braces_are_systemds_only() {
        let found = time(&[("a", "net.ipv4.tcp_keepalive_{intvl,t{i,x}me}* = 5")]);
        assert_eq!(found, [Some((5, 1)), None]);
        // Without a wildcard it is no glob.
        assert_eq!(
            time(&[("a", "net.ipv4.tcp_keepalive_{time} = 5")]),
            [None; 2]
        );
    }

    #[test]
    fn an_odd_spelling_keeps_no_glob_away_from_procps() {
        let found = time(&[
            ("a", "/net/ipv4/tcp_keepalive_time = 20"),
            ("b", "net.ipv4.tcp_keepalive_* = 5"),
        ]);
        assert_eq!(found, [Some((20, 1)), Some((5, 1))]);
    }

    #[test]
    fn no_wildcard_matches_a_slash() {
        assert_eq!(
            time(&[("a", "net.*.tcp_keepalive_time = 5")]),
            [Some((5, 1)); 2]
        );
        assert_eq!(time(&[("a", "net.* = 5")]), [None; 2]);
        assert_eq!(
            time(&[("a", "net/**/tcp_keepalive_time = 5")]),
            [Some((5, 1)); 2]
        );
        assert_eq!(time(&[("a", "*tcp_keepalive_time = 5")]), [None; 2]);
    }

    #[test]
    fn keys_are_spelt_in_many_ways() {
        for key in [
            "net.ipv4.tcp_keepalive_time",
            "net/ipv4/tcp_keepalive_time",
            "/net/ipv4/tcp_keepalive_time",
            "net/ipv4//tcp_keepalive_time",
            "-net.ipv4.tcp_keepalive_time",
            "  net.ipv4.tcp_keepalive_time  ",
        ] {
            assert_eq!(
                time(&[("a", &format!("{key}=7"))]),
                [Some((7, 1)); 2],
                "{key}"
            );
        }
        for key in [
            "net.ipv4/tcp_keepalive_time",
            "#net.ipv4.tcp_keepalive_time",
        ] {
            assert_eq!(time(&[("a", &format!("{key}=7"))]), [None; 2], "{key}");
        }
    }

    #[test]
    fn a_planned_file_takes_its_place() {
        let mut files = files(&[("a", ""), ("c", "")]);
        files.read[1].name = None;
        let text = |t: &str| Some((PathBuf::from("b"), t.to_owned()));
        let paths = |f: &Files| -> Vec<PathBuf> { f.read.iter().map(|f| f.path.clone()).collect() };
        let with = files.clone().with("b", text("1")).with("b", text("2"));
        assert_eq!(paths(&with), ["a", "b", "c"].map(PathBuf::from));
        assert_eq!(with.read[1].text, "2");
        assert_eq!(with.with("b", None), files);
    }

    #[test]
    fn numbers_as_the_kernel_reads_them() {
        // Each pair was tried on a 6.18 kernel with HZ=250.
        for (text, value) in [
            ("72", Some(72)),
            ("0x10", Some(16)),
            ("0X1F", Some(31)),
            ("010", Some(8)),
            ("72 75", Some(72)),
            ("72\tx", Some(72)),
            ("8589934", Some(8_589_934)),
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("8589935", None),
            ("72abc", None),
            ("72;", None),
            ("", None),
            ("+5", None),
            ("1e3", None),
            ("09", None),
            ("0b11", None),
            ("--5", None),
            ("00000000000000000000000000000000000009", None),
        ] {
            let taken = kernel_takes(Setting::Time, text, Hz::new(250));
            assert_eq!(taken, value, "{text:?}");
        }
        assert_eq!(kernel_takes(Setting::Probes, "256", None), None);
        assert_eq!(kernel_takes(Setting::Probes, "255", None), Some(255));
        assert_eq!(kernel_takes(Setting::Probes, "-1", None), None);
    }
}
