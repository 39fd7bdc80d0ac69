//! The three settings, their legal ranges and why those are the ranges.
//!
//! The kernel takes more than it should: 0 and −1 for time and intvl, and
//! 0 for probes, which drops healthy idle connections. [`Values`] is what a
//! kernel or a file holds, legal or not; [`Settings`] is what may be asked for.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

/// The longest time or intvl, in seconds, that every kernel takes: above
/// `INT_MAX / HZ` the write is refused (`proc_dointvec_jiffies`), and HZ is at
/// most 1000 on the common kernels.
pub const MAX_SECONDS: u32 = 2_147_483;

/// The most probes that the kernel's `u8` holds.
pub const MAX_PROBES: u8 = u8::MAX;

/// The longest TCP_KEEPIDLE and TCP_KEEPINTVL in seconds
/// (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL` in `include/net/tcp.h`).
pub const MAX_SOCKET_SECONDS: u32 = 32_767;

/// The largest TCP_KEEPCNT (`MAX_TCP_KEEPCNT`).
pub const MAX_SOCKET_PROBES: u8 = 127;

/// One of the three settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Setting {
    /// Idle seconds before the first probe.
    Time,
    /// Seconds between unanswered probes.
    Intvl,
    /// Unanswered probes before the drop.
    Probes,
}

impl Setting {
    /// All three, in the order in which they are always listed.
    pub const ALL: [Setting; 3] = [Setting::Time, Setting::Intvl, Setting::Probes];

    /// The sysctl key, as sysctl(8) spells it.
    pub fn key(self) -> &'static str {
        match self {
            Setting::Time => "net.ipv4.tcp_keepalive_time",
            Setting::Intvl => "net.ipv4.tcp_keepalive_intvl",
            Setting::Probes => "net.ipv4.tcp_keepalive_probes",
        }
    }

    /// The same key as a path below `/proc/sys`.
    pub fn path(self) -> String {
        self.key().replace('.', "/")
    }

    /// The word for it in flags and tables.
    pub fn word(self) -> &'static str {
        match self {
            Setting::Time => "time",
            Setting::Intvl => "intvl",
            Setting::Probes => "probes",
        }
    }

    /// The largest legal value.
    pub fn max(self) -> i64 {
        match self {
            Setting::Time | Setting::Intvl => MAX_SECONDS.into(),
            Setting::Probes => MAX_PROBES.into(),
        }
    }

    /// The largest value that a program can set on its own socket.
    pub fn max_on_socket(self) -> i64 {
        match self {
            Setting::Time | Setting::Intvl => MAX_SOCKET_SECONDS.into(),
            Setting::Probes => MAX_SOCKET_PROBES.into(),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Three values as a kernel or a file holds them, legal or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Values {
    /// `tcp_keepalive_time`, seconds.
    #[serde(rename = "time_s")]
    pub time: i64,
    /// `tcp_keepalive_intvl`, seconds.
    #[serde(rename = "intvl_s")]
    pub intvl: i64,
    /// `tcp_keepalive_probes`.
    pub probes: i64,
}

impl Values {
    /// What the kernel is compiled with (`TCP_KEEPALIVE_TIME`,
    /// `TCP_KEEPALIVE_INTVL`, `TCP_KEEPALIVE_PROBES` in `include/net/tcp.h`),
    /// and what every new network namespace starts from.
    pub const KERNEL_DEFAULT: Values = Values {
        time: 7200,
        intvl: 75,
        probes: 9,
    };

    /// The value of one setting.
    pub fn get(&self, setting: Setting) -> i64 {
        match setting {
            Setting::Time => self.time,
            Setting::Intvl => self.intvl,
            Setting::Probes => self.probes,
        }
    }

    /// The same values with one replaced.
    pub fn with(mut self, setting: Setting, value: i64) -> Values {
        match setting {
            Setting::Time => self.time = value,
            Setting::Intvl => self.intvl = value,
            Setting::Probes => self.probes = value,
        }
        self
    }

    /// The settings in which these values differ from `other`.
    pub fn differences(self, other: Values) -> impl Iterator<Item = Setting> {
        Setting::ALL
            .into_iter()
            .filter(move |s| self.get(*s) != other.get(*s))
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.time, self.intvl, self.probes)
    }
}

/// Some of the three values: what a command line names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Partial {
    /// Seconds before the first probe.
    pub time: Option<i64>,
    /// Seconds between probes.
    pub intvl: Option<i64>,
    /// Unanswered probes before the drop.
    pub probes: Option<i64>,
}

impl Partial {
    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.time.is_none() && self.intvl.is_none() && self.probes.is_none()
    }

    /// All three, if all three are named.
    pub fn complete(&self) -> Option<Values> {
        Some(Values {
            time: self.time?,
            intvl: self.intvl?,
            probes: self.probes?,
        })
    }

    /// The named values, and the rest from `base`.
    pub fn over(&self, base: Values) -> Values {
        Values {
            time: self.time.unwrap_or(base.time),
            intvl: self.intvl.unwrap_or(base.intvl),
            probes: self.probes.unwrap_or(base.probes),
        }
    }

    /// Refuses a named value that is not legal, whatever the others are.
    ///
    /// # Errors
    /// The first illegal value, as [`Settings::new`] would name it.
    pub fn check(&self) -> Result<(), SettingsError> {
        Settings::try_from(self.over(Values::KERNEL_DEFAULT)).map(|_| ())
    }
}

/// Why a value is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// No probes: the kernel would drop a healthy idle connection.
    #[error(
        "probes {value} would drop healthy connections: with no probe to answer, the kernel drops \
         them as soon as they have been idle for `time`; use 1 to 255"
    )]
    NoProbes {
        /// What was asked for.
        value: i64,
    },
    /// A time or intvl below one second.
    #[error(
        "{setting} {value} s is too short: at 0 the kernel does not wait at all, and less has no \
         meaning; use 1 to 2147483 s"
    )]
    TooShort {
        /// `time` or `intvl`.
        setting: Setting,
        /// What was asked for, in seconds.
        value: i64,
    },
    /// A time or intvl that some kernels reject.
    #[error(
        "{setting} {value} s is too long: kernels with HZ=1000 reject more than 2147483 s (24 \
         days); use 1 to 2147483 s"
    )]
    TooLong {
        /// `time` or `intvl`.
        setting: Setting,
        /// What was asked for, in seconds.
        value: i64,
    },
    /// More probes than the kernel can count.
    #[error("probes {value} is too many: the kernel counts to 255; use 1 to 255")]
    TooManyProbes {
        /// What was asked for.
        value: i64,
    },
}

/// Three settings that are legal on every kernel and harm no healthy
/// connection. A `Settings` that exists is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Settings {
    #[serde(rename = "time_s")]
    time: u32,
    #[serde(rename = "intvl_s")]
    intvl: u32,
    probes: u8,
}

impl Settings {
    /// Checks and builds: `time` and `intvl` in seconds from 1 to
    /// [`MAX_SECONDS`], `probes` from 1 to [`MAX_PROBES`].
    ///
    /// # Errors
    /// The first value outside its range, with the reason.
    ///
    /// ```
    /// use keepalivectl::model::Settings;
    /// assert!(Settings::new(240, 30, 6).is_ok());
    /// assert!(Settings::new(240, 30, 0).is_err());
    /// ```
    pub fn new(time: i64, intvl: i64, probes: i64) -> Result<Settings, SettingsError> {
        Ok(Settings {
            time: seconds(Setting::Time, time)?,
            intvl: seconds(Setting::Intvl, intvl)?,
            probes: match u8::try_from(probes) {
                Ok(0) => return Err(SettingsError::NoProbes { value: probes }),
                Ok(count) => count,
                Err(_) if probes < 0 => return Err(SettingsError::NoProbes { value: probes }),
                Err(_) => return Err(SettingsError::TooManyProbes { value: probes }),
            },
        })
    }

    /// For the tables of this crate: an illegal value does not compile.
    pub(crate) const fn literal(time: u32, intvl: u32, probes: u8) -> Settings {
        assert!(time >= 1 && time <= MAX_SECONDS);
        assert!(intvl >= 1 && intvl <= MAX_SECONDS);
        assert!(probes >= 1);
        Settings {
            time,
            intvl,
            probes,
        }
    }

    /// Idle seconds before the first probe.
    pub fn time(&self) -> u32 {
        self.time
    }

    /// Seconds between unanswered probes.
    pub fn intvl(&self) -> u32 {
        self.intvl
    }

    /// Unanswered probes before the drop.
    pub fn probes(&self) -> u8 {
        self.probes
    }

    /// The same three as plain values.
    pub fn values(&self) -> Values {
        Values {
            time: self.time.into(),
            intvl: self.intvl.into(),
            probes: self.probes.into(),
        }
    }

    /// The settings that are legal here and that no program could set on its
    /// own socket (TCP_KEEPIDLE and TCP_KEEPINTVL end at 32767 s, TCP_KEEPCNT
    /// at 127): worth a warning, because the socket can then not be given the
    /// same value by hand.
    pub fn beyond_socket(&self) -> impl Iterator<Item = (Setting, i64)> {
        let values = self.values();
        Setting::ALL
            .into_iter()
            .map(move |s| (s, values.get(s)))
            .filter(|(s, v)| *v > s.max_on_socket())
    }
}

fn seconds(setting: Setting, value: i64) -> Result<u32, SettingsError> {
    match u32::try_from(value) {
        Ok(0) => Err(SettingsError::TooShort { setting, value }),
        Ok(s) if s <= MAX_SECONDS => Ok(s),
        Err(_) if value < 0 => Err(SettingsError::TooShort { setting, value }),
        _ => Err(SettingsError::TooLong { setting, value }),
    }
}

impl From<Values> for Partial {
    fn from(v: Values) -> Partial {
        Partial {
            time: Some(v.time),
            intvl: Some(v.intvl),
            probes: Some(v.probes),
        }
    }
}

impl TryFrom<Values> for Settings {
    type Error = SettingsError;

    fn try_from(v: Values) -> Result<Settings, SettingsError> {
        Settings::new(v.time, v.intvl, v.probes)
    }
}

impl From<Settings> for Values {
    fn from(s: Settings) -> Values {
        s.values()
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_end_where_the_kernel_ends() {
        assert!(Settings::new(1, 1, 1).is_ok());
        assert!(Settings::new(2_147_483, 2_147_483, 255).is_ok());
        for (time, intvl, probes) in [
            (0, 1, 1),
            (-1, 1, 1),
            (2_147_484, 1, 1),
            (i64::MAX, 1, 1),
            (1, 0, 1),
            (1, i64::MIN, 1),
            (1, 2_147_484, 1),
            (1, 1, 0),
            (1, 1, -1),
            (1, 1, 256),
        ] {
            assert!(
                Settings::new(time, intvl, probes).is_err(),
                "{time}/{intvl}/{probes}"
            );
        }
    }

    #[test]
    fn an_error_names_the_setting_and_the_value() {
        let error = Settings::new(60, 0, 5).unwrap_err();
        assert_eq!(
            error,
            SettingsError::TooShort {
                setting: Setting::Intvl,
                value: 0
            }
        );
        assert!(error.to_string().contains("intvl 0 s"));
    }

    #[test]
    fn a_socket_cannot_hold_all_that_the_sysctl_can() {
        let beyond = |t, i, p| {
            let settings = Settings::new(t, i, p).unwrap();
            settings.beyond_socket().map(|b| b.0).collect::<Vec<_>>()
        };
        assert_eq!(beyond(32_767, 32_767, 127), []);
        assert_eq!(beyond(32_768, 1, 128), [Setting::Time, Setting::Probes]);
    }

    #[test]
    fn a_partial_keeps_what_it_does_not_name() {
        let partial = Partial {
            intvl: Some(5),
            ..Partial::default()
        };
        let values = partial.over(Values::KERNEL_DEFAULT);
        assert_eq!(values.to_string(), "7200/5/9");
        assert_eq!(partial.complete(), None);
    }
}
