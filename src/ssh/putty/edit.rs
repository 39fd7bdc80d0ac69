//! Other values in a session's file, and those from before in their place again.

use std::ops::Range;

use super::{
    MINUTES, SECONDS, TCP_KEEPALIVE, end, escaped, first_value, unescaped_bytes, value, wanted,
};
use crate::ssh::block::Left;

/// The line in which the values from before are kept.
const BEFORE: &str = "KeepalivectlBefore";

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

    use super::super::values;
    use super::*;

    const SESSION: &str = "HostName=db1\nPingInterval=2\nPingIntervalSecs=30\nTCPKeepalives=0\n";

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
}
