//! PuTTY's sessions on Linux: one file each, `Key=value` on a line.
//!
//! Where they are was watched with strace in PuTTY 0.78. What `set` changes is
//! remembered in a line of the same file that PuTTY passes over, so that `unset`
//! can bring it back; PuTTY drops that line when it saves the session.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::block::Left;
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

/// A session's text with other values. What they were before is kept in it, unless
/// it is kept already. A new session has no text.
pub fn set(before: Option<&[u8]>, interval_s: u32, tcp_keepalive: Option<bool>) -> Vec<u8> {
    let mut after = before.unwrap_or_default().to_vec();
    let kept = Kept::find(&after);
    let mut kept = kept.map_or_else(|| Kept::new(before), |(kept, _)| kept);
    for (key, value) in wanted(interval_s, tcp_keepalive) {
        let value = value.to_string();
        let was = first_value(&after, key).map(<[u8]>::to_vec);
        match kept.values.iter_mut().find(|kept| kept.key == key) {
            Some(known) => known.written.clone_from(&value),
            None if was.as_deref() == Some(value.as_bytes()) => continue,
            None => kept.values.push(Value {
                key,
                written: value.clone(),
                was,
            }),
        }
        after = with(&after, key, Some(value.as_bytes()));
    }
    if !kept.values.is_empty() {
        kept.put(&mut after);
    }
    after
}

/// A session's text with the values from before, where they are as they were written;
/// none if nothing of ours is in it.
pub fn unset(text: &[u8]) -> Option<Left<Vec<u8>>> {
    let (kept, line) = Kept::find(text)?;
    let mut left = [&text[..line.start], &text[line.end..]].concat();
    for value in kept.values.iter().rev() {
        if first_value(&left, value.key) == Some(value.written.as_bytes()) {
            left = with(&left, value.key, value.was.as_deref());
        }
    }
    Some(match kept.before {
        Before::NoText if left.is_empty() => Left::Nothing,
        Before::NotEnded if left.ends_with(b"\n") => {
            left.pop();
            Left::Text(left)
        }
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
    key: &'static str,
    written: String,
    /// As it was written before; none if it was not there.
    was: Option<Vec<u8>>,
}

impl Kept {
    fn new(text: Option<&[u8]>) -> Kept {
        let before = match text {
            None => Before::NoText,
            Some(text) if text.is_empty() || text.ends_with(b"\n") => Before::Whole,
            Some(_) => Before::NotEnded,
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
        let plain = |byte: u8| byte.is_ascii_graphic() && !b",%".contains(&byte);
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

    /// What is kept in a text, and where the line is that keeps it. A line that only
    /// looks like it is somebody else's.
    fn find(text: &[u8]) -> Option<(Kept, Range<usize>)> {
        let mut start = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let range = start..start + line.len();
            start = range.end;
            let kept = value(line, BEFORE).and_then(Kept::parse);
            if let Some(kept) = kept {
                return Some((kept, range));
            }
        }
        None
    }

    fn parse(value: &[u8]) -> Option<Kept> {
        let mut parts = value.split(|byte| *byte == b',');
        let before = match parts.next()? {
            b"whole" => Before::Whole,
            b"not-ended" => Before::NotEnded,
            b"no-text" => Before::NoText,
            _ => return None,
        };
        let values: Option<Vec<Value>> = parts.map(Value::parse).collect();
        let values = values.filter(|values| !values.is_empty())?;
        Some(Kept { before, values })
    }

    /// Puts the line in a text, in place of the one that is there.
    fn put(&self, text: &mut Vec<u8>) {
        let line = format!("{BEFORE}={}\n", self.line()).into_bytes();
        match Kept::find(text) {
            Some((_, there)) => {
                text.splice(there, line);
            }
            None => {
                end_last_line(text);
                text.extend(line);
            }
        }
    }
}

impl Value {
    fn parse(part: &[u8]) -> Option<Value> {
        let mut fields = part.splitn(3, |byte| *byte == b':');
        let key = fields.next()?;
        let mut known = [MINUTES, SECONDS, TCP_KEEPALIVE].into_iter();
        let key = known.find(|known| known.as_bytes() == key)?;
        let written = std::str::from_utf8(fields.next()?).ok()?;
        let is_number = !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| Value {
            key,
            written: written.to_owned(),
            was: fields.next().map(unescaped_bytes),
        })
    }
}

/// A text with another value on the first line of a key, with such a line at its end,
/// or without it.
fn with(text: &[u8], key: &str, wanted: Option<&[u8]>) -> Vec<u8> {
    let mut found = false;
    let mut after = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if found || value(line, key).is_none() {
            after.extend(line);
            continue;
        }
        found = true;
        if let Some(wanted) = wanted {
            after.extend([key.as_bytes(), b"=", wanted, end(line)].concat());
        }
    }
    if let Some(wanted) = wanted.filter(|_| !found) {
        end_last_line(&mut after);
        after.extend([key.as_bytes(), b"=", wanted, b"\n"].concat());
    }
    after
}

fn end_last_line(text: &mut Vec<u8>) {
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    /// What is left where something was put in; as it was where nothing was.
    fn left(after: &[u8]) -> Left<Vec<u8>> {
        unset(after).unwrap_or_else(|| Left::Text(after.to_owned()))
    }

    fn as_before(before: Option<&[u8]>) -> Left<Vec<u8>> {
        before.map_or(Left::Nothing, |text| Left::Text(text.to_owned()))
    }

    #[test]
    fn what_is_set_can_be_unset() {
        let texts: [Option<&[u8]>; 13] = [
            Some(SESSION.as_bytes()),
            Some(b"HostName=x"),
            Some(b"TCPKeepalives=0"),
            Some(b"PingIntervalSecs=5, 6:7%2C\nPingInterval=:1\n"),
            Some(b"PingIntervalSecs=5\r\nHostName=x\r\nPingIntervalSecs=6\r\n"),
            None,
            Some(b""),
            Some(b"\n"),
            Some(b"HostName=x\n"),
            Some(b"PingIntervalSecs=60\nPingInterval=0\n"),
            Some("HostName=Köln\nPingInterval=fünf\n".as_bytes()),
            Some(b"HostName=K\xf6ln\nPingInterval=f\xfcnf\r\r\n\0\n"),
            Some(b"KeepalivectlBefore=somebody's\nKeepalivectlBefore=whole,PingInterval:x\n"),
        ];
        for before in texts {
            let after = set(before, 60, Some(true));
            let alive = values("f", &after).effective().alive;
            assert_eq!((alive.interval_s, alive.tcp_keepalive), (60, true));
            assert_eq!(set(Some(&after), 60, Some(true)), after);
            let again = set(Some(&after), 30, None);
            assert_eq!(values("f", &again).effective().alive.interval_s, 30);
            assert_eq!(left(&again), as_before(before));
        }
        let after = set(Some(b"PingIntervalSecs=60\nPingInterval=0\n"), 60, None);
        assert_eq!(after.split_inclusive(|byte| *byte == b'\n').count(), 2);
        assert_eq!(unset(SESSION.as_bytes()), None);
        // What was changed since stays.
        let edited = String::from_utf8(set(Some(SESSION.as_bytes()), 60, None)).unwrap();
        let edited = edited.replace("Secs=60", "Secs=90");
        let left = SESSION.replace("Secs=30", "Secs=90").into_bytes();
        assert_eq!(unset(edited.as_bytes()), Some(Left::Text(left)));
    }

    /// A line of a session's file, ours left out: any bytes, or one of the keys.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        let value =
            prop::collection::vec(any::<u8>().prop_filter("one line", |b| *b != b'\n'), 0..9);
        let key = prop_oneof![
            Just(MINUTES),
            Just(SECONDS),
            Just(TCP_KEEPALIVE),
            Just("HostName"),
            Just("KeepalivectlBefore"),
            Just(""),
        ];
        let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n")];
        (key, prop_oneof![Just("="), Just("")], value, end).prop_map(|(key, is, value, end)| {
            [key.as_bytes(), is.as_bytes(), &value, end.as_bytes()].concat()
        })
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(
            lines in prop::collection::vec(line(), 0..6),
            cut in 0usize..3,
            first in 1u32..=2_147_483,
            second in 1u32..=2_147_483,
            tcp_keepalive in any::<Option<bool>>(),
            new in any::<bool>(),
        ) {
            let text = lines.concat();
            let text = &text[..text.len().saturating_sub(cut)];
            prop_assume!(Kept::find(text).is_none());
            let before = (!new).then_some(text);
            let after = set(before, first, tcp_keepalive);
            prop_assert_eq!(values("f", &after).effective().alive.interval_s, first);
            prop_assert_eq!(left(&after), as_before(before));
            let again = set(Some(&after), second, tcp_keepalive.map(|on| !on));
            prop_assert_eq!(values("f", &again).effective().alive.interval_s, second);
            // Where the first changed nothing, the second knows of no other state.
            prop_assert_eq!(left(&again), as_before(before));
        }
    }

    #[test]
    fn names_are_escaped_as_putty_does() {
        let name = "a b/é%~x";
        let file = file(Path::new("/s"), name);
        assert_eq!(file, Path::new("/s/a%20b%2F%C3%A9%25%7Ex"));
        assert_eq!(unescaped("a%20b%2F%C3%A9%25%7Ex%"), format!("{name}%"));
    }
}
