//! What the programs tell of their reading: which files, which lines, which
//! blocks apply.
//!
//! The client (`-vvv`) tells which file it opens, which Host lines apply, whether
//! each Match does, and what it includes; its files are read here along with that.
//! The server (`-ddd`) tells each line that counts. Both since long before the
//! versions in use; read in OpenSSH 9.2 and in the source of August 2026
//! (`process_config_line_depth` and `read_config_file_depth` in readconf.c,
//! `process_server_config_line_depth` in servconf.c).

use std::iter::Peekable;
use std::vec::IntoIter;

use super::effective::{Keyword, Line, Met};
use crate::model::ssh::Side;

/// What the client tells, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    /// It opens a file.
    Reads(String),
    /// The Host line there applies.
    Applies(String, usize),
    /// A Match line does, or does not.
    Matches(bool),
    /// The line there includes a file; whether that counts.
    Includes(String, usize, String, bool),
}

fn event(line: &str) -> Option<Event> {
    let (_, told) = line.strip_prefix("debug")?.split_once(": ")?;
    let told = told.trim_end();
    if let Some(file) = told.strip_prefix("Reading configuration data ") {
        return Some(Event::Reads(unescaped(file)));
    }
    match told {
        "match found" => return Some(Event::Matches(true)),
        "match not found" => return Some(Event::Matches(false)),
        _ => {}
    }
    let place = |at: usize| {
        let (file, number) = told[..at].rsplit_once(" line ")?;
        Some((unescaped(file), number.parse().ok()?))
    };
    if let Some(at) = told.find(": Applying options for ") {
        return place(at).map(|(file, line)| Event::Applies(file, line));
    }
    const INCLUDING: &str = ": Including file ";
    let at = told.find(INCLUDING)?;
    let (included, counts) = match told[at + INCLUDING.len()..].strip_suffix(" (parse only)") {
        Some(included) => (included, false),
        None => (&told[at + INCLUDING.len()..], true),
    };
    let (included, _) = included.rsplit_once(" depth ")?;
    let (file, line) = place(at)?;
    Some(Event::Includes(file, line, unescaped(included), counts))
}

/// The lines of the client's options, as they were met. None if what it tells does
/// not go with its files. `read` gives a file's text.
pub fn client(told: &str, read: impl Fn(&str) -> Option<String>) -> Option<Vec<Met>> {
    let events: Vec<Event> = told.lines().filter_map(event).collect();
    let mut walk = Walk {
        events: events.into_iter().peekable(),
        read,
        met: Vec::new(),
        top: String::new(),
    };
    while let Some(event) = walk.events.next() {
        let Event::Reads(file) = event else {
            return None;
        };
        walk.top.clone_from(&file);
        walk.file(&file, true, "")?;
    }
    Some(walk.met)
}

struct Walk<R> {
    events: Peekable<IntoIter<Event>>,
    read: R,
    met: Vec<Met>,
    top: String,
}

impl<R: Fn(&str) -> Option<String>> Walk<R> {
    /// Goes through one file. `counts` says whether anything in it can, and `above` is
    /// the block that it is included in.
    fn file(&mut self, file: &str, counts: bool, above: &str) -> Option<()> {
        let text = (self.read)(file)?;
        let mut active = counts;
        let mut block = above;
        for (n, line) in text.split('\n').enumerate() {
            let Some((word, value)) = words(line) else {
                continue;
            };
            let number = n + 1;
            if is_block(word) {
                block = line.trim();
            }
            if word.eq_ignore_ascii_case("host") {
                let applies = Event::Applies(file.to_owned(), number);
                active = self.events.next_if_eq(&applies).is_some();
            } else if word.eq_ignore_ascii_case("match") {
                let Some(Event::Matches(found)) = self.events.next() else {
                    return None;
                };
                active = found && counts;
            } else if word.eq_ignore_ascii_case("include") {
                self.included(file, number, block)?;
            } else if let Some(keyword) = Keyword::of(Side::Client, word) {
                self.met.push(Met {
                    keyword,
                    top: self.top.clone(),
                    line: Line {
                        file: file.to_owned(),
                        line: number,
                        value,
                    },
                    active,
                    block: block.to_owned(),
                });
            }
        }
        Some(())
    }

    /// The files that one line includes.
    fn included(&mut self, file: &str, number: usize, block: &str) -> Option<()> {
        while let Some(Event::Includes(from, line, included, counts)) = self.events.peek().cloned()
        {
            if (from.as_str(), line) != (file, number) {
                break;
            }
            self.events.next();
            // A file that is not there, or may not be read, is passed over.
            let read = Event::Reads(included.clone());
            if self.events.next_if_eq(&read).is_some() {
                self.file(&included, counts, block)?;
            }
        }
        Some(())
    }
}

/// The lines of the server's options, as they were met. Those in Match blocks that
/// apply come first: they overrule the others. Those in Match blocks that do not are
/// added, found in the files' texts, which `read` gives.
pub fn server(told: &str, read: impl Fn(&str) -> Option<String>) -> Vec<Met> {
    /// How it calls its main file when it looks at the Match blocks.
    const AGAIN: &str = "reprocess config";
    let mut matched = Vec::new();
    let mut global = Vec::new();
    let mut in_blocks = Vec::new();
    // The file that it begins with.
    let mut main: Option<String> = None;
    let mut again = false;
    for line in told.lines() {
        let Some(line) = line.strip_prefix("debug").and_then(|l| l.get(3..)) else {
            continue;
        };
        if let Some(file) = line.strip_prefix("load_server_config: filename ") {
            let file = unescaped(file.trim_end());
            let text = read(&file).unwrap_or_default();
            in_blocks.extend(in_match_blocks(&file, &text));
            main.get_or_insert(file);
        }
        again |= line.contains(&format!(": config {AGAIN} len "));
        let Some(met) = server_line(line) else {
            continue;
        };
        match again {
            // A Match block may not set it (SSHCFG_GLOBAL).
            true if met.keyword == Keyword::TcpKeepalive => {}
            true => matched.push(met),
            false => global.push(met),
        }
    }
    matched.extend(global);
    let main = main.unwrap_or_default();
    for met in &mut matched {
        if met.line.file == AGAIN {
            met.line.file.clone_from(&main);
        }
        met.top.clone_from(&main);
    }
    in_blocks.retain(|other: &Met| !matched.iter().any(|met| met.line == other.line));
    matched.extend(in_blocks);
    matched
}

/// The lines in Match blocks, none of which counts.
fn in_match_blocks(file: &str, text: &str) -> Vec<Met> {
    let mut met = Vec::new();
    let mut block = "";
    for (n, line) in text.split('\n').enumerate() {
        let Some((word, value)) = words(line) else {
            continue;
        };
        if is_block(word) {
            block = line.trim();
        }
        let keyword = Keyword::of(Side::Server, word).filter(|_| !block.is_empty());
        met.extend(keyword.map(|keyword| Met {
            keyword,
            top: String::new(),
            line: Line {
                file: file.to_owned(),
                line: n + 1,
                value,
            },
            active: false,
            block: block.to_owned(),
        }));
    }
    met
}

/// Whether a line with this keyword says for whom the next ones are.
fn is_block(word: &str) -> bool {
    word.eq_ignore_ascii_case("host") || word.eq_ignore_ascii_case("match")
}

/// A file's name as it was before a log made it fit to print (`strnvis` with VIS_OCTAL).
fn unescaped(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        let octal = more
            .get(..3)
            .and_then(|octal| std::str::from_utf8(octal).ok());
        let byte = octal.and_then(|octal| u8::from_str_radix(octal, 8).ok());
        match (first, byte, more.first()) {
            (b'\\', Some(byte), _) => {
                bytes.push(byte);
                rest = &more[3..];
            }
            (b'\\', None, Some(b'\\')) => {
                bytes.push(first);
                rest = &more[1..];
            }
            _ => {
                bytes.push(first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `FILE:7 setting ClientAliveInterval 60`
fn server_line(told: &str) -> Option<Met> {
    let (place, setting) = told.split_once(" setting ")?;
    let (file, number) = place.rsplit_once(':')?;
    let (word, value) = words(setting)?;
    Some(Met {
        keyword: Keyword::of(Side::Server, word)?,
        top: String::new(),
        line: Line {
            file: unescaped(file),
            line: number.parse().ok()?,
            value,
        },
        active: true,
        block: String::new(),
    })
}

/// The keyword and the first argument of a line; none for comments and blank lines.
pub(super) fn words(line: &str) -> Option<(&str, String)> {
    split(line).map(|(word, rest)| (word, argument(rest)))
}

/// The keyword of a line and the rest (`strdelim` in misc.c); none for comments and
/// blank lines.
pub(super) fn split(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_matches([' ', '\t', '\r', '\x0c']);
    if line.starts_with('#') {
        return None;
    }
    let (word, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => {
            let end = line.find([' ', '\t', '=', '"']).unwrap_or(line.len());
            line.split_at(end)
        }
    };
    if word.is_empty() {
        return None;
    }
    let rest = rest.trim_start_matches([' ', '\t']);
    Some((word, rest.strip_prefix('=').unwrap_or(rest)))
}

/// The first argument, without its quotes.
fn argument(rest: &str) -> String {
    let rest = rest.trim_start_matches([' ', '\t']);
    for quote in ['"', '\''] {
        if let Some(quoted) = rest.strip_prefix(quote) {
            return quoted.split(quote).next().unwrap_or_default().to_owned();
        }
    }
    let end = rest.find([' ', '\t', '#']).unwrap_or(rest.len());
    rest[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line met that counts: its place and value.
    fn counting(met: &[Met]) -> Vec<String> {
        let counting = met.iter().filter(|met| met.active);
        counting.map(|met| met.line.to_string()).collect()
    }

    fn walk(told: &str, files: &[(&str, &str)]) -> Option<Vec<String>> {
        let read = |name: &str| {
            let found = files.iter().find(|(file, _)| *file == name);
            found.map(|(_, text)| (*text).to_owned())
        };
        client(told, read).map(|met| counting(&met))
    }

    const FILE: &str = "Host a\n ServerAliveInterval 1\nHost b\n ServerAliveInterval=\"2\" # x\r\n\
                        Match user x\n ProtocolKeepAlives 3\nMatch all\n Include i\nsetuptimeout 4\n";

    #[test]
    fn what_applies_is_what_the_client_tells() {
        let told = "debug1: Reading configuration data f\r\n\
                    debug1: f line 3: Applying options for b\n\
                    debug2: checking match for 'user x' host b originally b\n\
                    debug2: match not found\ndebug2: match found\n\
                    debug3: f line 8: Including file i depth 0\n\
                    debug1: Reading configuration data i\n\
                    debug1: Reading configuration data system\n";
        let files = [
            ("f", FILE),
            (
                "i",
                "ServerAliveInterval 7\nHost c\nServerAliveInterval 8\n",
            ),
            ("system", "KeepAlive no"),
        ];
        let met = walk(told, &files).unwrap();
        assert_eq!(met, ["f:4 (2)", "i:1 (7)", "f:9 (4)", "system:1 (no)"]);
    }

    #[test]
    fn nothing_counts_in_a_file_that_is_only_parsed() {
        let told = "debug1: Reading configuration data f\n\
                    debug3: f line 2: Including file i depth 0 (parse only)\n\
                    debug1: Reading configuration data i\ndebug2: match found\n";
        let files = [
            (
                "f",
                "Host a\nInclude i gone\nHost b\nServerAliveInterval 1\n",
            ),
            (
                "i",
                "ServerAliveInterval 2\nMatch all\nServerAliveInterval 3\n",
            ),
        ];
        assert_eq!(walk(told, &files), Some(Vec::new()));
    }

    #[test]
    fn an_include_that_leads_nowhere_is_passed_over() {
        let told = "debug1: Reading configuration data f\n\
                    debug3: f line 2: Including file gone depth 0 (parse only)\n\
                    debug1: Reading configuration data system\n";
        let files = [
            ("f", "Host a\nInclude gone\n"),
            ("system", "KeepAlive no\n"),
        ];
        assert_eq!(walk(told, &files).unwrap(), ["system:1 (no)"]);
    }

    #[test]
    fn a_trace_that_does_not_go_with_the_files_is_no_answer() {
        let reads = "debug1: Reading configuration data f\n";
        assert_eq!(walk(reads, &[]), None);
        assert_eq!(walk(reads, &[("f", "Match all\n")]), None);
        let more = format!("{reads}debug2: match found\n");
        assert_eq!(walk(&more, &[("f", "Host a\n")]), None);
        assert_eq!(walk("", &[]), Some(Vec::new()));
    }

    #[test]
    fn what_a_match_of_the_servers_says_comes_first() {
        let told = "debug2: load_server_config: filename /etc/ssh/sshd_config\n\
                    debug2: parse_server_config_depth: config /etc/ssh/sshd_config len 9\n\
                    debug3: /etc/ssh/sshd_config:1 setting Port 22\n\
                    debug3: /etc/ssh/d/a b.conf:2 setting ClientAliveInterval 30\n\
                    debug3: /etc/ssh/sshd_config:3 setting KeepAlive no\n\
                    debug2: parse_server_config_depth: config reprocess config len 9\n\
                    debug3: reprocess config:7 setting ClientAliveInterval 5m\n";
        let text = "\n\nKeepAlive no\nMatch User a\nTCPKeepAlive no\nMatch User b\n\
                    ClientAliveInterval 5m\n";
        let main = "/etc/ssh/sshd_config";
        let met = server(told, |file| (file == main).then(|| text.to_owned()));
        let not: Vec<usize> = met
            .iter()
            .filter(|m| !m.active)
            .map(|m| m.line.line)
            .collect();
        assert_eq!(not, [5]);
        assert_eq!(
            counting(&met),
            [
                "/etc/ssh/sshd_config:7 (5m)",
                "/etc/ssh/d/a b.conf:2 (30)",
                "/etc/ssh/sshd_config:3 (no)"
            ]
        );
    }

    #[test]
    fn words_are_taken_as_ssh_takes_them() {
        let taken = |line| words(line).map(|(word, value)| format!("{word}|{value}"));
        for (line, expected) in [
            ("Host a b", Some("Host|a")),
            ("\t\"Host\" \"a b\"", Some("Host|a b")),
            ("Host=a", Some("Host|a")),
            ("Host = 'a b'", Some("Host|a b")),
            ("  # Host a", None),
            ("", None),
            ("\x0c", None),
            ("Host", Some("Host|")),
        ] {
            assert_eq!(taken(line).as_deref(), expected, "{line:?}");
        }
    }
}
