//! What the next boot will set, and which line of which file decides it.
//!
//! First whoever reads sysctl.d writes what it finds there. Then, where it is
//! enabled, the unit writes the drop-in's settings, whatever was found.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::dropin::{self, Kept};
use super::installed::Installed;
use super::sysctld::{Files, Reader, Verdict};
use super::{Error, unit};
use crate::model::{Hz, Setting, Values};
use crate::root::Root;

/// Who sets a value at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum By {
    /// Nobody: the kernel's compiled-in value stays.
    #[serde(rename = "kernel")]
    Kernel,
    /// `keepalivectl boot`, which the unit runs.
    #[serde(rename = "keepalivectl.service")]
    Unit,
    /// systemd-sysctl or `sysctl --system`.
    #[serde(untagged)]
    Reader(Reader),
}

/// One value at the next boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NextValue {
    /// The value.
    pub value: i64,
    /// The file that decides it, or that leaves the kernel's own value by a
    /// `-key` or a value that is refused; none where no file says anything.
    pub source: Option<PathBuf>,
    /// The line of that file.
    pub line: Option<usize>,
    /// Who sets it.
    pub by: By,
}

/// A line outside the drop-in that some reader follows instead of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Override {
    /// Who follows it.
    pub reader: Reader,
    /// The setting.
    pub setting: Setting,
    /// The value it sets instead of the drop-in's.
    pub value: i64,
    /// Its file.
    pub source: Option<PathBuf>,
    /// Its line.
    pub line: Option<usize>,
    /// Whether this reader runs at boot. The other one runs when somebody
    /// calls it.
    pub at_boot: bool,
    /// Whether the unit puts it right after this reader.
    pub put_right: bool,
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (setting, value, reader) = (self.setting, self.value, self.reader);
        match (&self.source, self.line) {
            (Some(file), Some(line)) => write!(f, "{}:{line} wins", file.display())?,
            _ => f.write_str("the kernel's own value wins")?,
        }
        match (self.at_boot, self.put_right) {
            (true, true) => write!(
                f,
                " in {reader}, which sets {setting} to {value}; the unit puts it right at boot"
            ),
            (true, false) => write!(f, ": the next boot sets {setting} to {value} ({reader})"),
            (false, _) => write!(
                f,
                " for whoever runs {reader}, which sets {setting} to {value}"
            ),
        }
    }
}

/// What the next boot will set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Next {
    /// `tcp_keepalive_time`.
    #[serde(rename = "time_s")]
    pub time: NextValue,
    /// `tcp_keepalive_intvl`.
    #[serde(rename = "intvl_s")]
    pub intvl: NextValue,
    /// `tcp_keepalive_probes`.
    pub probes: NextValue,
    /// What other files say against the drop-in.
    pub overrides: Vec<Override>,
    /// What is worth knowing beside it.
    pub notes: Vec<String>,
}

impl Next {
    /// One value.
    pub fn get(&self, setting: Setting) -> &NextValue {
        match setting {
            Setting::Time => &self.time,
            Setting::Intvl => &self.intvl,
            Setting::Probes => &self.probes,
        }
    }

    /// The three values.
    pub fn values(&self) -> Values {
        Values {
            time: self.time.value,
            intvl: self.intvl.value,
            probes: self.probes.value,
        }
    }
}

/// All that has a say in the next boot.
#[derive(Debug, Clone)]
pub struct Sources {
    /// What is kept for boot.
    pub kept: Option<Kept>,
    /// Whether the tree has systemd.
    pub systemd: bool,
    /// Whether the unit will run.
    pub unit_enabled: bool,
    /// The unit as systemd finds it; none without systemd.
    pub installed: Option<Installed>,
    files: Files,
    /// Both readers, the one that runs at boot first.
    readers: [Reader; 2],
    dropin: PathBuf,
}

impl Sources {
    /// Reads what stands in a tree. `kept` is what [`dropin::read`] found.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn read(root: &Root, kept: Option<Kept>) -> Result<Sources, Error> {
        let mut readers = [Reader::SystemdSysctl, Reader::SysctlSystem];
        let systemd = unit::has_systemd(root)?;
        if !systemd {
            readers.reverse();
        }
        let installed = match systemd {
            true => Some(Installed::read(root)?),
            false => None,
        };
        Ok(Sources {
            kept,
            systemd,
            unit_enabled: installed.as_ref().is_some_and(Installed::runs),
            installed,
            files: Files::read(root)?,
            readers,
            dropin: root.display(dropin::FILE),
        })
    }

    /// The same with another drop-in, or with none, as `enable` and `disable`
    /// plan it. With one, the unit will stand as `enable` writes it.
    #[must_use]
    pub fn planned(mut self, kept: Option<(Kept, String)>) -> Sources {
        let installed = self.installed.as_ref();
        self.unit_enabled = kept.is_some() && installed.is_some_and(Installed::would_run);
        let (kept, text) = kept.unzip();
        let name = Path::new(dropin::FILE).file_name().and_then(|n| n.to_str());
        if let Some(name) = name {
            let planned = text.map(|t| (self.dropin.clone(), t));
            self.files = self.files.with(name, planned);
        }
        self.kept = kept;
        self
    }

    /// What the next boot will set. `hz` is the kernel's tick rate, if known.
    pub fn next(&self, hz: Option<Hz>) -> Next {
        let [reader, _] = self.readers;
        let mut notes = self.files.unreadable.clone();
        notes.extend(self.installed.iter().flat_map(Installed::notes));
        let [time, intvl, probes] = Setting::ALL.map(|setting| {
            let verdict = reader.decide(&self.files, setting, hz);
            notes.extend(verdict.notes.iter().cloned());
            self.last_word(setting)
                .unwrap_or_else(|| found(reader, setting, verdict))
        });
        Next {
            time,
            intvl,
            probes,
            overrides: self.overrides(hz),
            notes,
        }
    }

    /// What the unit sets after all others.
    fn last_word(&self, setting: Setting) -> Option<NextValue> {
        let kept = self.kept.as_ref().filter(|_| self.unit_enabled)?;
        Some(NextValue {
            value: kept.settings.values().get(setting),
            source: Some(kept.file.clone()),
            line: Some(kept.line(setting)),
            by: By::Unit,
        })
    }

    fn overrides(&self, hz: Option<Hz>) -> Vec<Override> {
        let Some(kept) = &self.kept else {
            return Vec::new();
        };
        let wanted = kept.settings.values();
        let mut overrides = Vec::new();
        for (at, reader) in self.readers.into_iter().enumerate() {
            for setting in Setting::ALL {
                let verdict = reader.decide(&self.files, setting, hz);
                let value = found(reader, setting, verdict);
                if value.value != wanted.get(setting) {
                    overrides.push(Override {
                        reader,
                        setting,
                        value: value.value,
                        source: value.source,
                        line: value.line,
                        at_boot: at == 0,
                        put_right: self.unit_enabled && at == 0,
                    });
                }
            }
        }
        overrides
    }
}

fn found(reader: Reader, setting: Setting, verdict: Verdict) -> NextValue {
    match verdict.decided {
        Some(decided) => NextValue {
            value: decided.value,
            source: Some(decided.file),
            line: Some(decided.line),
            by: By::Reader(reader),
        },
        None => {
            // A line that cancels or is refused decides too, in its way.
            let (source, line) = verdict.left_by.unzip();
            NextValue {
                value: Values::KERNEL_DEFAULT.get(setting),
                source,
                line,
                by: By::Kernel,
            }
        }
    }
}
