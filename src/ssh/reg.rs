//! PuTTY's sessions on Windows, as regedit exports and imports them.

use std::path::Path;

use super::putty::{self, MINUTES, SECONDS, TCP_KEEPALIVE, Values};
use super::{Error, LIMIT, Line, Result};
use crate::root::Root;

/// The first line, of Windows 2000 and later.
const HEAD: &str = "Windows Registry Editor Version 5.00";
/// The same of an older one, which is still imported.
const OLD_HEAD: &str = "REGEDIT4";
const SESSIONS: &str = r"HKEY_CURRENT_USER\Software\SimonTatham\PuTTY\Sessions";

/// A file that regedit imports, with the values for one session.
pub fn text(session: &str, interval_s: u32, tcp_keepalive: Option<bool>) -> String {
    let mut lines = vec![
        HEAD.to_owned(),
        String::new(),
        format!(r"[{SESSIONS}\{}]", key(session)),
    ];
    for (key, value) in putty::wanted(interval_s, tcp_keepalive) {
        lines.push(format!("\"{key}\"=dword:{value:08x}"));
    }
    lines.push(String::new());
    lines.join("\r\n")
}

/// A session's key, as PuTTY's winstore.c escapes it.
fn key(session: &str) -> String {
    let plain = |byte: u8| (b'!'..=b'~').contains(&byte) && !b"\\*?%".contains(&byte);
    let escaped = putty::escaped(session, plain);
    match escaped.strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None => escaped,
    }
}

/// The values of a session in an export. Without a name: of the default settings,
/// or of the only session there is. Says which.
///
/// # Errors
/// It cannot be read, is no export, or has no such session.
pub fn read(root: &Root, file: &Path, session: Option<&str>) -> Result<(String, Values)> {
    let bytes = match root.read(file, 16 * LIMIT)? {
        Some(content) => content.bytes,
        None => {
            let source = std::io::Error::from(nix::errno::Errno::ENOENT);
            let path = root.display(file);
            return Err(crate::root::FileError::Read { path, source }.into());
        }
    };
    let shown = root.display(file);
    let fault = |line, reason| Error::NotReg {
        file: shown.clone(),
        line,
        reason,
    };
    let sessions = sessions(&decoded(&bytes), &shown.to_string_lossy())
        .map_err(|(line, reason)| fault(line, reason))?;
    let names: Vec<String> = sessions.iter().map(|(name, _)| name.clone()).collect();
    let wanted = session.unwrap_or(putty::DEFAULT);
    let at = names.iter().position(|name| same(name, wanted));
    let only = (session.is_none() && names.len() == 1).then_some(0);
    match at.or(only) {
        Some(at) => Ok((names[at].clone(), sessions[at].1.clone())),
        None => Err(putty::no_session(wanted, shown, &names)),
    }
}

/// regedit writes UTF-16 with a mark, and older ones what the code page has.
fn decoded(bytes: &[u8]) -> String {
    match bytes.strip_prefix(b"\xff\xfe") {
        Some(wide) => {
            let units = wide.chunks(2).map(|pair| match pair {
                [low, high] => u16::from_le_bytes([*low, *high]),
                _ => 0xfffd,
            });
            char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        None => String::from_utf8_lossy(bytes)
            .trim_start_matches('\u{feff}')
            .to_owned(),
    }
}

type Fault = (usize, &'static str);

/// All sessions of an export, each with its values.
fn sessions(text: &str, file: &str) -> std::result::Result<Vec<(String, Values)>, Fault> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .enumerate()
        .map(|(n, line)| (n + 1, line));
    match lines.next() {
        Some((_, HEAD | OLD_HEAD)) => {}
        _ => return Err((1, "this is no export of regedit: its first line says so")),
    }
    let mut sessions: Vec<(String, Vec<(&'static str, Line)>)> = Vec::new();
    let mut inside = false;
    for (number, line) in lines {
        if let Some(key) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            let name = session_of(key);
            inside = name.is_some();
            if let Some(name) = name {
                // A key that comes again goes on.
                let at = sessions.iter().position(|(known, _)| same(known, &name));
                let before = at.map(|at| sessions.remove(at).1);
                sessions.push((name, before.unwrap_or_default()));
            }
        } else if let (true, Some((key, value))) = (inside, line.split_once('=')) {
            let known = [MINUTES, SECONDS, TCP_KEEPALIVE]
                .into_iter()
                .find(|known| key.trim_matches('"') == *known);
            let (Some(known), Some((_, values))) = (known, sessions.last_mut()) else {
                continue;
            };
            let hex = value.strip_prefix("dword:");
            let number_there = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok());
            // The last one counts, and `-` takes the value away.
            values.retain(|(key, _)| *key != known);
            if value == "-" {
                continue;
            }
            let value = number_there.ok_or((number, "the value is no dword:00000000"))?;
            values.push((
                known,
                Line {
                    file: file.to_owned(),
                    line: number,
                    value: value.to_string(),
                },
            ));
        }
    }
    let named = sessions
        .into_iter()
        .map(|(name, found)| (name, Values::of(found)));
    Ok(named.collect())
}

/// Upper and lower case are alike in a registry's keys.
fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// The session that a key is of; none for other keys.
fn session_of(key: &str) -> Option<String> {
    let (folder, name) = key.split_at_checked(SESSIONS.len())?;
    let name = name
        .strip_prefix('\\')
        .filter(|name| !name.contains('\\'))?;
    folder
        .eq_ignore_ascii_case(SESSIONS)
        .then(|| putty::unescaped(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for name in [putty::DEFAULT, ".a\\b *%~é"] {
            let text = text(name, 61, Some(true));
            assert!(text.is_ascii() && text.contains("=dword:0000003d\r\n"));
            let sessions = sessions(&text, "f").unwrap();
            assert_eq!(sessions[0].0, name);
            let alive = sessions[0].1.effective().alive;
            assert_eq!((alive.interval_s, alive.tcp_keepalive), (61, true));
        }
    }

    #[test]
    fn an_export_in_utf_16_is_read() {
        let text = text("db", 60, None);
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decoded(&[b"\xff\xfe", wide.as_slice()].concat()), text);
        assert_eq!(decoded(text.as_bytes()), text);
    }

    #[test]
    fn what_is_no_export_says_where() {
        assert_eq!(sessions("x", "f").unwrap_err().0, 1);
        let broken = format!("{HEAD}\n[{SESSIONS}\\a]\n\"PingInterval\"=dword:x\n");
        assert_eq!(sessions(&broken, "f").unwrap_err().0, 3);
        let other = format!("{HEAD}\n[HKEY_CURRENT_USER\\Software]\n\"PingInterval\"=\"x\"\n");
        assert!(sessions(&other, "f").unwrap().is_empty());
    }
}
