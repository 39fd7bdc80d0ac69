//! PuTTY's sessions on Linux: one file each, `Key=value` on a line.
//!
//! Where they are was watched with strace in PuTTY 0.78. What `set` changes is
//! remembered in a line of the same file that PuTTY passes over, so that `unset`
//! can bring it back; PuTTY drops that line when it saves the session.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::block::Left;
use super::{Effective, Error, Line, Origin, Result, Source, lossy, text};
use crate::model::similar::similar;
use crate::model::ssh::{Alive, Habits, Side};
use crate::root::Root;

/// What new sessions begin with.
pub const DEFAULT: &str = "Default Settings";

/// Minutes between messages; the seconds are added.
pub(super) const MINUTES: &str = "PingInterval";
/// Seconds between messages.
pub const SECONDS: &str = "PingIntervalSecs";
/// SO_KEEPALIVE.
pub(super) const TCP_KEEPALIVE: &str = "TCPKeepalives";

/// The line in which the values from before are kept.
const BEFORE: &str = "KeepalivectlBefore";

/// Values of a session: each as it is written, none where it is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// Each of the three that is there: its key, its line and its value.
    found: Vec<(&'static str, Line)>,
}

/// The folder of the sessions, its path absolute and the links of what is there of it
/// resolved.
///
/// `home` is the user's own folder, where the environment is another user's.
///
/// # Errors
/// HOME is not set.
pub fn folder(root: &Root, home: Option<&Path>) -> Result<PathBuf> {
    let folder = named_folder(root, home)?;
    let absolute = std::path::absolute(&folder).unwrap_or(folder);
    let mut ancestors = absolute.ancestors();
    let real = ancestors.find_map(|there| Some((there, there.canonicalize().ok()?)));
    let Some((there, real)) = real else {
        return Ok(absolute);
    };
    let rest = absolute.strip_prefix(there).unwrap_or(&absolute);
    Ok(real.components().chain(rest.components()).collect())
}

/// The same as it is named.
fn named_folder(root: &Root, home: Option<&Path>) -> Result<PathBuf> {
    let own = |name: &str| std::env::var_os(name).filter(|_| home.is_none());
    if let Some(sessions) = own("PUTTYSESSIONS") {
        return Ok(sessions.into());
    }
    if let Some(folder) = own("PUTTYDIR") {
        return Ok(PathBuf::from(folder).join("sessions"));
    }
    let set = |value: OsString| (!value.is_empty()).then(|| PathBuf::from(value));
    let home = match home {
        Some(home) => home.to_owned(),
        None => own("HOME").and_then(set).ok_or(Error::NoHome)?,
    };
    let config = own("XDG_CONFIG_HOME").and_then(set);
    let config = config.unwrap_or_else(|| home.join(".config")).join("putty");
    let folder = match root.exists(&config)? {
        true => config,
        false => home.join(".putty"),
    };
    Ok(folder.join("sessions"))
}

/// The file of a session.
pub fn file(folder: &Path, session: &str) -> PathBuf {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.@_".contains(&byte);
    folder.join(escaped(session, plain))
}

/// `a b` as `a%20b`.
pub(super) fn escaped(session: &str, plain: impl Fn(u8) -> bool) -> String {
    let escape = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    session.bytes().map(escape).collect()
}

/// `a%20b` as `a b`.
pub(super) fn unescaped(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        let hex = more.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The text of a session's file, to be edited. That of [`DEFAULT`] need not be there.
///
/// # Errors
/// It cannot be read or is no text, or there is no such session.
pub fn read(root: &Root, folder: &Path, session: &str) -> Result<String> {
    there(root, folder, session, text(root, &file(folder, session))?)
}

/// The same only to look at: through a link, too, and with what is no text replaced.
///
/// # Errors
/// It cannot be read, or there is no such session.
pub fn look(root: &Root, folder: &Path, session: &str) -> Result<String> {
    there(root, folder, session, lossy(root, &file(folder, session))?)
}

fn there(root: &Root, folder: &Path, session: &str, text: Option<String>) -> Result<String> {
    match text {
        Some(text) => Ok(text),
        None if session == DEFAULT => Ok(String::new()),
        None => {
            let names = root.names(folder)?;
            let names: Vec<String> = names
                .iter()
                .map(|name| unescaped(&name.to_string_lossy()))
                .filter(|name| !name.starts_with('.'))
                .collect();
            Err(no_session(session, root.display(folder), &names))
        }
    }
}

/// That a session is not there; it names those that are like it, or all if they
/// are few.
pub(super) fn no_session(session: &str, place: PathBuf, names: &[String]) -> Error {
    const FEW: usize = 5;
    let alike = similar(session, names.iter().map(String::as_str));
    let mut others: Vec<String> = match alike.is_empty() && names.len() <= FEW {
        true => names.to_vec(),
        false => alike.into_iter().map(str::to_owned).collect(),
    };
    others.sort();
    Error::NoSession {
        name: session.to_owned(),
        place,
        others,
    }
}

/// The three values of a session's text.
pub fn values(file: &str, text: &str) -> Values {
    let mut found: Vec<(&'static str, Line)> = Vec::new();
    for (n, line) in text.split('\n').enumerate() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let known = [MINUTES, SECONDS, TCP_KEEPALIVE]
            .into_iter()
            .find(|known| *known == key);
        let Some(known) = known else { continue };
        // Of two lines PuTTY takes the first.
        if found.iter().any(|(key, _)| *key == known) {
            continue;
        }
        found.push((
            known,
            Line {
                file: file.to_owned(),
                line: n + 1,
                value: value.trim_end_matches('\r').to_owned(),
            },
        ));
    }
    Values { found }
}

impl Values {
    /// The values of a registry's session, which are numbers.
    pub(super) fn of(found: Vec<(&'static str, Line)>) -> Values {
        Values { found }
    }

    fn line(&self, key: &str) -> Option<&Line> {
        let mut found = self.found.iter();
        found.find(|(found, _)| *found == key).map(|(_, line)| line)
    }

    /// A value, as atoi(3) takes it: 0 for what is no number.
    fn number(&self, key: &str) -> u32 {
        let text = self
            .line(key)
            .map_or("", |line| line.value.as_str())
            .trim_start();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        text[..digits].parse().unwrap_or(0)
    }

    /// What the session has in effect.
    pub fn effective(&self) -> Effective {
        let minutes = self.number(MINUTES);
        let interval_s = minutes
            .saturating_mul(60)
            .saturating_add(self.number(SECONDS));
        let tcp_keepalive = self.number(TCP_KEEPALIVE) != 0;
        let origin = |option: &str, value: String, source: Option<&Line>| Origin {
            option: option.to_owned(),
            value,
            source: source.map_or(Source::Default, |line| Source::File(line.clone())),
            shadows: Vec::new(),
        };
        let interval = self.line(SECONDS).filter(|_| minutes == 0);
        let interval = interval.or(self.line(MINUTES));
        let yes_no = if tcp_keepalive { "yes" } else { "no" };
        Effective {
            alive: Alive {
                side: Side::Putty,
                interval_s,
                count_max: None,
                habits: Habits::PUTTY,
                tcp_keepalive,
                socket_here: true,
            },
            origins: vec![
                origin(SECONDS, interval_s.to_string(), interval),
                origin(TCP_KEEPALIVE, yes_no.to_owned(), self.line(TCP_KEEPALIVE)),
            ],
            warnings: Vec::new(),
            met: Vec::new(),
        }
    }
}

/// The settings that are wanted of a session, key by key.
pub(super) fn wanted(interval_s: u32, tcp_keepalive: Option<bool>) -> Vec<(&'static str, u32)> {
    let tcp_keepalive = tcp_keepalive.map(|on| (TCP_KEEPALIVE, u32::from(on)));
    [(MINUTES, 0), (SECONDS, interval_s)]
        .into_iter()
        .chain(tcp_keepalive)
        .collect()
}

/// A session's text with other values. What they were before is kept in it, unless
/// it is kept already. A new session has no text.
pub fn set(before: &str, interval_s: u32, tcp_keepalive: Option<bool>) -> String {
    let had = values("", before);
    let mut kept = Kept::read(before).unwrap_or_else(|| Kept::new(before));
    let mut after = before.to_owned();
    for (key, value) in wanted(interval_s, tcp_keepalive) {
        let value = value.to_string();
        let was = had.line(key).map(|line| line.value.clone());
        let known = kept.values.iter_mut().find(|kept| kept.key == key);
        match known {
            Some(known) => known.written.clone_from(&value),
            None if was.as_deref() == Some(&value) => continue,
            None => kept.values.push(Value {
                key: key.to_owned(),
                written: value.clone(),
                was,
            }),
        }
        after = with(&after, key, Some(&value));
    }
    match kept.values.is_empty() {
        true => after,
        false => with(&after, BEFORE, Some(&kept.line())),
    }
}

/// A session's text with the values from before, where they are as they were written;
/// none if nothing of ours is in it.
pub fn unset(text: &str) -> Option<Left> {
    let kept = Kept::read(text)?;
    let mut left = text.to_owned();
    for value in kept.values.iter().rev() {
        let found = values("", &left);
        let now = found.line(&value.key).map(|line| line.value.as_str());
        if now == Some(&value.written) {
            left = with(&left, &value.key, value.was.as_deref());
        }
    }
    left = with(&left, BEFORE, None);
    Some(match kept.before {
        Before::NoText if left.is_empty() => Left::Nothing,
        Before::NotEnded => Left::Text(left.strip_suffix('\n').unwrap_or(&left).to_owned()),
        _ => Left::Text(left),
    })
}

/// What is kept of a session's text from before, in a line of it.
struct Kept {
    before: Before,
    values: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Whole,
    /// Its last line had no end.
    NotEnded,
    /// There was none.
    NoText,
}

/// One value that was changed.
struct Value {
    key: String,
    written: String,
    /// As it was written before; none if it was not there.
    was: Option<String>,
}

impl Kept {
    fn new(text: &str) -> Kept {
        let before = match text.ends_with('\n') {
            true => Before::Whole,
            false if text.is_empty() => Before::NoText,
            false => Before::NotEnded,
        };
        let values = Vec::new();
        Kept { before, values }
    }

    /// `whole,PingIntervalSecs:60:0,TCPKeepalives:1` for a 0 and for nothing.
    fn line(&self) -> String {
        let before = match self.before {
            Before::Whole => "whole",
            Before::NotEnded => "not-ended",
            Before::NoText => "no-text",
        };
        let plain = |byte: u8| !b",%\r".contains(&byte);
        let values = self.values.iter().map(|value| {
            let was = value
                .was
                .as_ref()
                .map(|was| format!(":{}", escaped(was, plain)));
            format!("{}:{}{}", value.key, value.written, was.unwrap_or_default())
        });
        let parts: Vec<String> = [before.to_owned()].into_iter().chain(values).collect();
        parts.join(",")
    }

    fn read(text: &str) -> Option<Kept> {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(BEFORE)?.strip_prefix('='))?;
        let (before, values) = line.split_once(',').unwrap_or((line, ""));
        let value = |part: &str| {
            let (key, rest) = part.split_once(':')?;
            let (written, was) = match rest.split_once(':') {
                Some((written, was)) => (written, Some(unescaped(was))),
                None => (rest, None),
            };
            Some(Value {
                key: key.to_owned(),
                written: written.to_owned(),
                was,
            })
        };
        Some(Kept {
            before: match before {
                "not-ended" => Before::NotEnded,
                "no-text" => Before::NoText,
                _ => Before::Whole,
            },
            values: values.split(',').filter_map(value).collect(),
        })
    }
}

/// A text with another value on the first line of a key, with such a line at its end,
/// or without it.
fn with(text: &str, key: &str, value: Option<&str>) -> String {
    let is_key = |line: &str| line.split_once('=').is_some_and(|(found, _)| found == key);
    let mut found = false;
    let mut after = String::new();
    for line in text.split_inclusive('\n') {
        if found || !is_key(line) {
            after.push_str(line);
            continue;
        }
        found = true;
        if let Some(value) = value {
            let end = line.trim_end_matches(['\r', '\n']).len();
            after.push_str(&format!("{key}={value}{}", &line[end..]));
        }
    }
    if let Some(value) = value.filter(|_| !found) {
        if !after.is_empty() && !after.ends_with('\n') {
            after.push('\n');
        }
        after.push_str(&format!("{key}={value}\n"));
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "HostName=db1\nPingInterval=2\nPingIntervalSecs=30\nTCPKeepalives=0\n";

    #[test]
    fn minutes_and_seconds_are_added() {
        let of = |text: &str| values("f", text).effective().alive;
        assert_eq!(
            (of(SESSION).interval_s, of(SESSION).tcp_keepalive),
            (150, false)
        );
        assert_eq!(of("").interval_s, 0);
        assert_eq!(of("PingIntervalSecs=60s\nTCPKeepalives=1\n").interval_s, 60);
        assert_eq!(of("PingInterval=-1\n").interval_s, 0);
        assert_eq!(of("PingInterval=99999999999\n").interval_s, 0);
        let origins = values("f", SESSION).effective().origins;
        assert!(matches!(&origins[0].source, Source::File(line) if line.line == 2));
    }

    #[test]
    fn what_is_set_can_be_unset() {
        for before in [
            SESSION,
            "HostName=x",
            "TCPKeepalives=0",
            "PingIntervalSecs=5, 6:7%2C\nPingInterval=:1\n",
            "PingIntervalSecs=5\r\nHostName=x\r\nPingIntervalSecs=6\r\n",
            "",
            "HostName=x\n",
            "PingIntervalSecs=60\nPingInterval=0\n",
        ] {
            let after = set(before, 60, Some(true));
            let alive = values("f", &after).effective().alive;
            assert_eq!((alive.interval_s, alive.tcp_keepalive), (60, true));
            assert_eq!(set(&after, 60, Some(true)), after);
            let again = set(&after, 30, None);
            assert_eq!(values("f", &again).effective().alive.interval_s, 30);
            let left = match before {
                "" => Left::Nothing,
                _ => Left::Text(before.to_owned()),
            };
            assert_eq!(unset(&again), Some(left));
        }
        assert_eq!(
            set("PingIntervalSecs=60\nPingInterval=0\n", 60, None)
                .lines()
                .count(),
            2
        );
        assert_eq!(unset(SESSION), None);
        // What was changed since stays.
        let edited = set(SESSION, 60, None).replace("Secs=60", "Secs=90");
        let left = SESSION.replace("Secs=30", "Secs=90");
        assert_eq!(unset(&edited), Some(Left::Text(left)));
    }

    #[test]
    fn names_are_escaped_as_putty_does() {
        let name = "a b/é%~x";
        let file = file(Path::new("/s"), name);
        assert_eq!(file, Path::new("/s/a%20b%2F%C3%A9%25%7Ex"));
        assert_eq!(unescaped("a%20b%2F%C3%A9%25%7Ex%"), format!("{name}%"));
    }
}
