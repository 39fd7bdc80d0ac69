//! PuTTY's sessions on Linux: one file each, `Key=value` on a line.
//!
//! Where they are was watched with strace in PuTTY 0.78. What `set` changes is
//! remembered in a line of the same file that PuTTY passes over, so that `unset`
//! can bring it back; PuTTY drops that line when it saves the session.

mod edit;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use edit::{set, unset};

use super::{Effective, Error, LIMIT, Line, Origin, Result, Source, bytes};
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
pub(super) fn escaped(text: impl AsRef<[u8]>, plain: impl Fn(u8) -> bool) -> String {
    let escape = |byte: &u8| match plain(*byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.as_ref().iter().map(escape).collect()
}

/// `a%20b` as `a b`.
pub(super) fn unescaped(name: &str) -> String {
    String::from_utf8_lossy(&unescaped_bytes(name.as_bytes())).into_owned()
}

fn unescaped_bytes(name: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = name;
    while let Some((&first, more)) = rest.split_first() {
        let hex = more
            .get(..2)
            .filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
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
    bytes
}

/// The bytes of a session's file, to be edited; none if there is none, which is only
/// right for [`DEFAULT`].
///
/// # Errors
/// It cannot be read or is a link, or there is no such session.
pub fn read(root: &Root, folder: &Path, session: &str) -> Result<Option<Vec<u8>>> {
    let found = bytes(root, &file(folder, session))?;
    there(root, folder, session, found)
}

/// The same only to look at: through a link, too.
///
/// # Errors
/// It cannot be read, or there is no such session.
pub fn look(root: &Root, folder: &Path, session: &str) -> Result<Vec<u8>> {
    let found = root.read(file(folder, session), LIMIT)?;
    let found = found.map(|content| content.bytes);
    Ok(there(root, folder, session, found)?.unwrap_or_default())
}

fn there(
    root: &Root,
    folder: &Path,
    session: &str,
    found: Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>> {
    if found.is_some() || session == DEFAULT {
        return Ok(found);
    }
    let names = root.names(folder)?;
    let names: Vec<String> = names
        .iter()
        .map(|name| unescaped(&name.to_string_lossy()))
        .filter(|name| !name.starts_with('.'))
        .collect();
    Err(no_session(session, root.display(folder), &names))
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
pub fn values(file: &str, text: &[u8]) -> Values {
    let mut found: Vec<(&'static str, Line)> = Vec::new();
    for (n, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let Some((known, value)) = known_value(line) else {
            continue;
        };
        // Of two lines PuTTY takes the first.
        if found.iter().any(|(key, _)| *key == known) {
            continue;
        }
        found.push((
            known,
            Line {
                file: file.to_owned(),
                line: n + 1,
                value: String::from_utf8_lossy(value).into_owned(),
            },
        ));
    }
    Values { found }
}

/// The key and the value of a line, if it is one of the three.
fn known_value(line: &[u8]) -> Option<(&'static str, &[u8])> {
    let mut known = [MINUTES, SECONDS, TCP_KEEPALIVE].into_iter();
    known.find_map(|key| Some((key, value(line, key)?)))
}

/// The value of a line, without the line's end, if it is a key's.
fn value<'l>(line: &'l [u8], key: &str) -> Option<&'l [u8]> {
    let value = line.strip_prefix(key.as_bytes())?.strip_prefix(b"=")?;
    Some(&value[..value.len() - end(value).len()])
}

/// The end of a line: the line feed, and carriage returns before it.
fn end(line: &[u8]) -> &[u8] {
    let is_end = |byte: &&u8| matches!(**byte, b'\r' | b'\n');
    let length = line.iter().rev().take_while(is_end).count();
    &line[line.len() - length..]
}

/// The value that counts of a key.
fn first_value<'t>(text: &'t [u8], key: &str) -> Option<&'t [u8]> {
    text.split(|byte| *byte == b'\n')
        .find_map(|line| value(line, key))
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
        let spaces = [' ', '\t', '\r', '\x0b', '\x0c'];
        let text = self
            .line(key)
            .map_or("", |line| line.value.as_str())
            .trim_start_matches(spaces);
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

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "HostName=db1\nPingInterval=2\nPingIntervalSecs=30\nTCPKeepalives=0\n";

    #[test]
    fn minutes_and_seconds_are_added() {
        let of = |text: &str| values("f", text.as_bytes()).effective().alive;
        assert_eq!(
            (of(SESSION).interval_s, of(SESSION).tcp_keepalive),
            (150, false)
        );
        assert_eq!(of("").interval_s, 0);
        assert_eq!(of("PingIntervalSecs=60s\nTCPKeepalives=1\n").interval_s, 60);
        assert_eq!(of("PingInterval=-1\n").interval_s, 0);
        assert_eq!(of("PingInterval=99999999999\n").interval_s, 0);
        let origins = values("f", SESSION.as_bytes()).effective().origins;
        assert!(matches!(&origins[0].source, Source::File(line) if line.line == 2));
    }

    #[test]
    fn names_are_escaped_as_putty_does() {
        let name = "a b/é%~x";
        let file = file(Path::new("/s"), name);
        assert_eq!(file, Path::new("/s/a%20b%2F%C3%A9%25%7Ex"));
        assert_eq!(unescaped("a%20b%2F%C3%A9%25%7Ex%"), format!("{name}%"));
    }
}
