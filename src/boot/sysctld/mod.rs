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

mod glob;
mod lines;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::chain::chain;
use crate::model::{Hz, Setting};
use crate::root::{FileError, Root};
use glob::Budget;
use lines::{Line, lines};

/// Folders, the first with a file of a name wins.
const DIRS: [&str; 5] = [
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
];
const SYSCTL_CONF: &str = "/etc/sysctl.conf";
/// The most files that are read.
const MOST_FILES: usize = 1000;
/// The largest file that is read, and the most bytes of all files together.
const MOST_BYTES_OF_ONE: usize = 1 << 20;
const MOST_BYTES: usize = 4 << 20;
/// The most notes on one setting, and the most on globs.
const MOST_NOTES: usize = 20;

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
    /// The lines that matter here.
    lines: Vec<Line>,
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
    /// Reads them, as far as a machine can need it: 1000 files, each of
    /// 1 MiB and all of 4 MiB at the most, with 10,000 globs. What is left out is listed.
    ///
    /// # Errors
    /// A folder cannot be read. A file that cannot is listed instead.
    pub fn read(root: &Root) -> Result<Files, FileError> {
        let mut files = Files::default();
        let named = files.by_name(root)?;
        let named = named.into_iter().map(|(name, path)| (Some(name), path));
        let mut budget = Budget::default();
        let mut bytes_left = MOST_BYTES;
        let mut left_out = LeftOut::default();
        for (name, path) in named.chain([(None, SYSCTL_CONF.into())]) {
            match root.read(&path, bytes_left.min(MOST_BYTES_OF_ONE)) {
                Ok(None) | Err(FileError::NotAFile { .. }) => {}
                Ok(Some(content)) => {
                    bytes_left -= content.bytes.len();
                    let text = String::from_utf8_lossy(&content.bytes);
                    let path = for_people(&root.display(content.real_path));
                    let not_followed = files.take(name, path.clone(), &text, &mut budget);
                    left_out.add(&path, &not_followed);
                }
                Err(FileError::TooLarge { path, .. }) => files.unreadable.push(format!(
                    "{} is left out: more than 1 MiB of a file, or 4 MiB of all, is not read",
                    path.display()
                )),
                Err(e) => files.unreadable.push(chain(&e)),
            }
        }
        files.unreadable.extend(left_out.notes());
        Ok(files)
    }

    /// The files of all folders by their names; of each name the first.
    fn by_name(&mut self, root: &Root) -> Result<BTreeMap<OsString, PathBuf>, FileError> {
        let mut by_name: BTreeMap<OsString, PathBuf> = BTreeMap::new();
        for dir in DIRS {
            let names = match root.names(dir) {
                Err(e @ FileError::TooMany { .. }) => {
                    self.unreadable.push(format!("{e}, and is left out"));
                    continue;
                }
                other => other?,
            };
            let mut left_out = 0;
            for name in names {
                if !name.as_bytes().ends_with(b".conf") || by_name.contains_key(&name) {
                    continue;
                }
                if by_name.len() == MOST_FILES {
                    left_out += 1;
                    continue;
                }
                let path = Path::new(dir).join(&name);
                by_name.insert(name, path);
            }
            if left_out > 0 {
                self.unreadable.push(format!(
                    "{left_out} files of {} are left out: more than {MOST_FILES} are not read",
                    root.display(dir).display()
                ));
            }
        }
        Ok(by_name)
    }

    /// Adds a file with what matters of its text. Returns the lines whose globs are
    /// left out.
    fn take(
        &mut self,
        name: Option<OsString>,
        path: PathBuf,
        text: &str,
        budget: &mut Budget,
    ) -> Vec<usize> {
        let (lines, not_followed) = lines(text, budget);
        self.read.push(ConfigFile { name, path, lines });
        not_followed
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
            let (lines, _) = lines(&text, &mut Budget::default());
            let name = Some(name.to_owned());
            self.read.insert(at, ConfigFile { name, path, lines });
        }
        self
    }
}

/// Globs that are not followed: the first ones, and how many more.
#[derive(Default)]
struct LeftOut {
    told: Vec<String>,
    more: usize,
}

impl LeftOut {
    fn add(&mut self, file: &Path, lines: &[usize]) {
        let room = (MOST_NOTES - self.told.len()).min(lines.len());
        let (told, more) = lines.split_at(room);
        let file = file.display();
        self.told.extend(told.iter().map(|line| {
            format!("{file}:{line}: this glob stands for too much to be followed, and is left out")
        }));
        self.more += more.len();
    }

    fn notes(self) -> impl Iterator<Item = String> {
        let more = (self.more > 0).then(|| format!("{} more globs are left out", self.more));
        self.told.into_iter().chain(more)
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
        let lines = read.flat_map(|file| file.lines.iter().map(move |line| (file, line)));
        let lines = lines.filter(|(_, line)| line.is_for(self));
        let candidates = match self {
            Reader::SystemdSysctl => written_by_systemd(lines, setting),
            Reader::SysctlSystem => written_by_sysctl(lines.collect(), setting),
        };
        let mut verdict = Verdict::default();
        let mut untold = 0;
        for (file, line) in candidates {
            let place = || (file.path.clone(), line.number);
            verdict.left_by = Some(place());
            let value = line.value.as_deref();
            if let Some(value) = value.and_then(|text| kernel_takes(setting, text, hz)) {
                let (file, line) = place();
                verdict.decided = Some(Decided { value, file, line });
            } else if verdict.notes.len() < MOST_NOTES {
                let place = format!("{}:{}", file.path.display(), line.number);
                verdict.notes.push(note(&place, setting, value));
            } else {
                untold += 1;
            }
        }
        if untold > 0 {
            let word = setting.key();
            let more = format!("{untold} more lines are refused or cancel for {word}");
            verdict.notes.push(more);
        }
        verdict
    }
}

/// A line that does not set what it names.
fn note(place: &str, setting: Setting, value: Option<&str>) -> String {
    const MOST: usize = 60;
    let key = setting.key();
    match value {
        None => format!("{place}: `-{key}` cancels every earlier assignment"),
        Some(value) => {
            let value: String = value.chars().take(MOST).collect();
            format!("{place}: the kernel refuses {value:?} for {key}")
        }
    }
}

/// A line, and the file that it stands in.
type Placed<'f> = (&'f ConfigFile, &'f Line);

/// The lines that systemd-sysctl follows for a key. It keeps one line for each
/// key or glob, the last one said, and a key of its own wins over globs, even
/// one that only says to leave it alone. A glob said again moves to the end,
/// unless it says the same.
fn written_by_systemd<'f>(
    lines: impl Iterator<Item = Placed<'f>>,
    setting: Setting,
) -> Vec<Placed<'f>> {
    let key = setting.path();
    let mut kept: Vec<Option<Placed>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for placed in lines {
        let line = placed.1;
        if line.key != key && !line.is_glob_with_braces_for(setting) {
            continue;
        }
        if let Some(&at) = places.get(line.key.as_str()) {
            if kept[at].is_some_and(|(_, before)| before.value == line.value) {
                kept[at] = Some(placed);
                continue;
            }
            kept[at] = None;
        }
        places.insert(&line.key, kept.len());
        kept.push(Some(placed));
    }
    let mut kept: Vec<Placed> = kept.into_iter().flatten().collect();
    match kept.iter().find(|(_, line)| line.key == key) {
        Some(named) => vec![*named],
        None => {
            kept.retain(|(_, glob)| glob.value.is_some());
            kept
        }
    }
}

/// The lines that `sysctl --system` follows for a key: all, in their order. A
/// key of its own, spelt plainly, keeps globs away.
fn written_by_sysctl(mut lines: Vec<Placed<'_>>, setting: Setting) -> Vec<Placed<'_>> {
    let key = setting.path();
    let named = lines.iter().any(|(_, l)| l.plainly && l.key == key);
    lines.retain(|(_, line)| {
        let counts = line.key == key || (!named && line.is_glob_for(setting));
        counts && line.value.is_some()
    });
    lines
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
