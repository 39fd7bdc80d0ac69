//! Profiles as values, and their one text form.
//!
//! A profile is an ordinary sysctl.d file: the first comment line describes
//! it, the three keys follow. So every tool that reads sysctl.d reads a profile
//! too, and what is kept for boot is a profile as it stands. Parsing is strict:
//! whoever keeps a profile means its three values, and a line that would be
//! skipped is a setting that would be missing.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::settings::{Setting, Settings, SettingsError, Values};

/// The longest file that is read as a profile, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// The name of a profile: 1 to 64 of `a-z 0-9 - _ .`, starting with a letter
/// or a digit, so that it is a file name and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProfileName(String);

/// A name that no profile can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a profile name: use 1 to 64 of a-z, 0-9, '-', '_' and '.', starting with a \
     letter or a digit"
)]
pub struct ProfileNameError(pub String);

impl ProfileName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProfileName {
    type Err = ProfileNameError;

    fn from_str(s: &str) -> Result<ProfileName, ProfileNameError> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ok = (1..=64).contains(&s.len())
            && s.bytes().all(|b| legal(b) || b"-_.".contains(&b))
            && legal(s.as_bytes()[0]);
        if ok {
            Ok(ProfileName(s.to_owned()))
        } else {
            Err(ProfileNameError(s.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for ProfileName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

/// A named set of the three settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: ProfileName,
    /// One line for people.
    pub description: String,
    /// The three settings.
    pub settings: Settings,
}

/// The text of a profile file, `comments` first (one line each), then the keys.
pub fn to_text(comments: &[&str], values: Values) -> String {
    let mut text = String::new();
    for comment in comments {
        // Writing to a String does not fail.
        let _ = writeln!(text, "# {}", one_line(comment));
    }
    for setting in Setting::ALL {
        let _ = writeln!(text, "{} = {}", setting.key(), values.get(setting));
    }
    text
}

/// A comment must stay one line, and a short one, whatever is in it.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    short(text).chars().map(plain).collect()
}

/// As much of a comment as is shown.
pub(crate) fn short(text: &str) -> String {
    const MOST: usize = 200;
    text.trim().chars().take(MOST).collect()
}

/// What a profile file says, before its values are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The comment lines before the first key, without their marks.
    pub comments: Vec<String>,
    /// The three values.
    pub values: Values,
    /// The lines, from 1, on which time, intvl and probes stand.
    pub lines: [usize; 3],
}

impl Parsed {
    /// The first comment, or nothing.
    pub fn description(&self) -> &str {
        self.comments.first().map_or("", String::as_str)
    }

    /// The line on which a setting stands.
    pub fn line(&self, setting: Setting) -> usize {
        self.lines[setting as usize]
    }

    /// The three values as legal settings.
    ///
    /// # Errors
    /// The first illegal value, with its line.
    pub fn settings(&self) -> Result<Settings, ParseError> {
        Settings::try_from(self.values).map_err(|why| {
            let setting = match why {
                SettingsError::TooShort { setting, .. }
                | SettingsError::TooLong { setting, .. } => setting,
                SettingsError::NoProbes { .. } | SettingsError::TooManyProbes { .. } => {
                    Setting::Probes
                }
            };
            ParseError {
                line: Some(self.line(setting)),
                reason: Reason::Refused(why),
            }
        })
    }
}

/// Why a text is not a profile, and on which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Counted from 1; `None` where no line is to blame.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => self.reason.fmt(f),
        }
    }
}

impl std::error::Error for ParseError {}

/// What is wrong with a profile file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Reason {
    /// More than [`MAX_BYTES`].
    #[error("it is larger than 64 KiB, which no profile is")]
    TooLarge,
    /// Bytes that are not UTF-8.
    #[error("the byte 0x{0:02x} is not UTF-8 text")]
    NotText(u8),
    /// Neither a comment nor `key = value`.
    #[error("{0:?} is neither a comment nor `key = value`")]
    NotAnAssignment(String),
    /// A key that is not one of the three.
    #[error(
        "{0:?} does not belong in a profile, which has net.ipv4.tcp_keepalive_time, _intvl and \
         _probes only"
    )]
    UnknownKey(String),
    /// The same key again.
    #[error("{key} is set a second time, after line {first}")]
    Duplicate {
        /// The sysctl key.
        key: &'static str,
        /// Where it stood first.
        first: usize,
    },
    /// A value that is not a decimal whole number.
    #[error("{0:?} is not a whole number")]
    NotANumber(String),
    /// A key that is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A value outside its range.
    #[error("{0}")]
    Refused(SettingsError),
}

/// Parses a profile file.
///
/// # Errors
/// The first thing that is wrong, with its line: any line that is not blank, a
/// comment or one of the three keys; a key twice or missing; a value that is
/// not a decimal number. Whether the values are legal is
/// [`Parsed::settings`]'s to say.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ParseError> {
    if bytes.len() > MAX_BYTES {
        return Err(ParseError {
            line: None,
            reason: Reason::TooLarge,
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|e| not_text(bytes, e.valid_up_to()))?;
    let mut comments = Vec::new();
    let mut found: [Option<(i64, usize)>; 3] = [None; 3];
    for (line, raw) in (1..).zip(text.lines()) {
        let fail = |reason| ParseError {
            line: Some(line),
            reason,
        };
        let content = raw.trim();
        if content.is_empty() {
            continue;
        }
        if let Some(comment) = content.strip_prefix(['#', ';']) {
            if found == [None; 3] {
                comments.push(comment.trim().to_owned());
            }
            continue;
        }
        let (setting, value) = assignment(content).map_err(fail)?;
        if let Some((_, first)) = found[setting as usize] {
            let key = setting.key();
            return Err(fail(Reason::Duplicate { key, first }));
        }
        found[setting as usize] = Some((value, line));
    }
    let of = |setting: Setting| {
        found[setting as usize].ok_or(ParseError {
            line: None,
            reason: Reason::Missing(setting.key()),
        })
    };
    let [time, intvl, probes] = [
        of(Setting::Time)?,
        of(Setting::Intvl)?,
        of(Setting::Probes)?,
    ];
    Ok(Parsed {
        comments,
        values: Values {
            time: time.0,
            intvl: intvl.0,
            probes: probes.0,
        },
        lines: [time.1, intvl.1, probes.1],
    })
}

fn assignment(content: &str) -> Result<(Setting, i64), Reason> {
    let Some((key, value)) = content.split_once('=') else {
        return Err(Reason::NotAnAssignment(shortened(content)));
    };
    let (key, value) = (key.trim(), value.trim());
    let setting = Setting::ALL
        .into_iter()
        .find(|s| s.key() == key || s.path() == key)
        .ok_or_else(|| Reason::UnknownKey(shortened(key)))?;
    let digits = value.strip_prefix('-').unwrap_or(value);
    // A leading 0 would be octal to the kernel, and decimal to every reader.
    let octal = digits.len() > 1 && digits.starts_with('0');
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && !octal;
    let number = plain.then(|| value.parse().ok()).flatten();
    match number {
        Some(number) => Ok((setting, number)),
        None => Err(Reason::NotANumber(shortened(value))),
    }
}

fn not_text(bytes: &[u8], at: usize) -> ParseError {
    let line = 1 + bytes[..at].iter().filter(|b| **b == b'\n').count();
    ParseError {
        line: Some(line),
        reason: Reason::NotText(bytes[at]),
    }
}

/// Enough of a value to find it, and no more than a line.
fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# a profile\n; and more\n\n\
        net.ipv4.tcp_keepalive_time = 240\n\
        net/ipv4/tcp_keepalive_intvl=30\n\
        # between\n\
        \tnet.ipv4.tcp_keepalive_probes =\t6 \n";

    fn wrong(text: &str) -> (Option<usize>, Reason) {
        let error = parse(text.as_bytes())
            .and_then(|p| p.settings())
            .unwrap_err();
        (error.line, error.reason)
    }

    #[test]
    fn reads_both_spellings_of_a_key() {
        let parsed = parse(GOOD.as_bytes()).unwrap();
        assert_eq!(parsed.comments, ["a profile", "and more"]);
        assert_eq!(parsed.settings().unwrap().to_string(), "240/30/6");
        assert_eq!(parsed.lines, [4, 5, 7]);
    }

    #[test]
    fn what_is_written_reads_back() {
        let values = Values {
            time: 60,
            intvl: 10,
            probes: 3,
        };
        let text = to_text(&["one\nnet.ipv4.tcp_keepalive_time = 1", "two"], values);
        let parsed = parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.values, values);
        assert_eq!(parsed.comments.len(), 2, "a newline starts no line");
    }

    #[test]
    fn each_fault_is_named_with_its_line() {
        let t = "net.ipv4.tcp_keepalive_time";
        let i = "net.ipv4.tcp_keepalive_intvl";
        let p = "net.ipv4.tcp_keepalive_probes";
        let whole = format!("{t}=240\n{i}=30\n{p}=6\n");
        assert_eq!(
            wrong(&format!("{whole}nonsense\n")),
            (Some(4), Reason::NotAnAssignment("nonsense".into()))
        );
        assert_eq!(
            wrong(&format!("{whole}vm.swappiness = 1\n")),
            (Some(4), Reason::UnknownKey("vm.swappiness".into()))
        );
        assert_eq!(
            wrong(&format!("{whole}{t}=240\n")),
            (
                Some(4),
                Reason::Duplicate {
                    key: Setting::Time.key(),
                    first: 1
                }
            )
        );
        assert_eq!(
            wrong(&format!("{t}=240\n{i}=30\n")),
            (None, Reason::Missing(Setting::Probes.key()))
        );
        for bad in [
            "",
            "2m",
            "0x10",
            "010",
            "+5",
            "1e3",
            "٣",
            "99999999999999999999",
        ] {
            let (line, reason) = wrong(&format!("{t}={bad}\n{i}=30\n{p}=6\n"));
            assert_eq!(line, Some(1));
            assert_eq!(reason, Reason::NotANumber(bad.into()));
        }
        let (line, reason) = wrong(&format!("{t}=240\n{i}=30\n{p}=0\n"));
        assert_eq!(line, Some(3));
        assert!(matches!(reason, Reason::Refused(_)));
    }

    #[test]
    fn noise_is_refused() {
        assert_eq!(
            parse(&vec![b'x'; 1 << 20]).unwrap_err().reason,
            Reason::TooLarge
        );
        let error = parse(b"# ok\n\xff\n").unwrap_err();
        assert_eq!((error.line, error.reason), (Some(2), Reason::NotText(0xff)));
        let long = "y".repeat(10_000);
        let shown = parse(long.as_bytes()).unwrap_err().to_string();
        assert!(shown.len() < 200, "{shown}");
    }

    #[test]
    fn a_name_is_a_file_name_and_nothing_else() {
        for good in ["a", "aws-nat", "0x", "pg_15.2"] {
            assert!(good.parse::<ProfileName>().is_ok(), "{good}");
        }
        for bad in [
            "", ".", "..", "../x", "a/b", "-x", "A", "ä", " ", "a b", "a\n",
        ] {
            assert!(bad.parse::<ProfileName>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(65).parse::<ProfileName>().is_err());
    }
}
