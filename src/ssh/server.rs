//! OpenSSH's server: what `sshd -T` says, and where it comes from.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::geteuid;

use super::dump::Dump;
use super::effective::{Effective, Keyword, origins};
use super::program::{OWN_KEY, Program, With, word};
use super::trace::{self, split as words};
use super::{Error, Result, read_text};
use crate::model::ssh::{Habits, Side};
use crate::root::FileError;

/// The server's file.
pub const MAIN: &str = "/etc/ssh/sshd_config";
/// Ours. Its number sorts it before most others, and the first one wins.
pub const DROPIN: &str = "/etc/ssh/sshd_config.d/10-keepalivectl.conf";

/// What is asked of the server.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Another configuration, as with `sshd -f`.
    pub file: Option<PathBuf>,
    /// The connection, as with `sshd -C`: `user=alice,addr=192.0.2.1`.
    pub connection: Option<String>,
}

/// What the next connection meets once sshd has read its files again.
///
/// # Errors
/// There is no sshd, it gives no answer, refuses its configuration, or may not read
/// it.
pub fn read(sshd: Program<'_>, asked: &Asked) -> Result<Effective> {
    let mut arguments: Vec<String> = ["-T", "-ddd"].map(str::to_owned).into();
    if let Some(file) = &asked.file {
        arguments.extend(["-f".to_owned(), word(file)]);
    }
    if let Some(connection) = &asked.connection {
        arguments.extend(["-C".to_owned(), connection.clone()]);
    }
    let (dump, told) = match asked.file.is_some() && !geteuid().is_root() {
        true => with_own_key(sshd, &arguments)?,
        false => Dump::of(sshd, &arguments, With::default())?,
    };
    let met = trace::server(&told, read_text);
    Ok(Effective {
        alive: dump.alive(Side::Server, habits(sshd)?)?,
        origins: origins(Side::Server, &dump, &met, |_| false),
        warnings: dump.timeouts(),
        met,
    })
}

/// A host key that is no secret: that of the first test in RFC 8032, section 7.1. sshd
/// wants one to read a file with, and only root may read the machine's.
const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZWQyNTUxOQ
AAACDXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGgAAAIgAAAAAAAAAAAAAAAtzc2gtZWQy
NTUxOQAAACDXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGgAAAECdYbGd7/1aYLqESvSS7C
zEREnFaXsyaRlwO6wDHK5/YNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1EaAAAAAAECAwQF
-----END OPENSSH PRIVATE KEY-----
";

/// What sshd says of a file, run by a plain user: so it reads that file and all that it
/// includes as that user.
fn with_own_key(sshd: Program<'_>, arguments: &[String]) -> Result<(Dump, String)> {
    let failed = |source: io::Error| {
        let path = PathBuf::from("memfd:host-key");
        Error::File(FileError::Write { path, source })
    };
    let memory = memfd_create("host-key", MFdFlags::MFD_CLOEXEC).map_err(|e| failed(e.into()))?;
    let mut file = File::from(memory);
    // sshd takes no key that others can read.
    file.set_permissions(Permissions::from_mode(0o600))
        .and_then(|()| file.write_all(KEY.as_bytes()))
        .map_err(failed)?;
    let with = With {
        stdin: Some(file.into()),
        ..With::default()
    };
    let key = OWN_KEY.map(str::to_owned);
    let arguments: Vec<String> = arguments.iter().cloned().chain(key).collect();
    Dump::of(sshd, &arguments, with)
}

/// Has sshd check its configuration.
///
/// # Errors
/// [`Error::Refused`], with what it says.
pub fn check(sshd: Program<'_>) -> Result<()> {
    sshd.ask(&["-t"], With::default()).map(drop)
}

/// The file in which a running server keeps its number; none if it keeps none.
///
/// # Errors
/// As [`read`].
pub fn pid_file(sshd: Program<'_>) -> Result<Option<PathBuf>> {
    let (dump, _) = Dump::of(sshd, &["-T"], With::default())?;
    let told = dump.value("pidfile").filter(|file| *file != "none");
    Ok(told.map(PathBuf::from))
}

/// What depends on the version of the server that is installed. Before 9.2 it is
/// told with an error about the option.
///
/// # Errors
/// There is no sshd.
pub fn habits(sshd: Program<'_>) -> Result<Habits> {
    let (_, said) = sshd.run(&["-V"], With::default())?;
    let told = [said.stderr, said.stdout];
    let version = told.iter().find_map(|text| parse_version(text));
    Ok(Habits::of_server(version))
}

/// `OpenSSH_9.2p1 Debian-2, …`
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (_, version) = text.split_once("OpenSSH_")?;
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.');
    let mut parts = version[..end.unwrap_or(version.len())].split('.');
    let mut part = || parts.next()?.parse().ok();
    Some((part()?, part()?))
}

/// Whether the main file, before any Match, includes the folder of drop-ins.
pub fn includes_dropins(main: &str) -> bool {
    let global = main.split('\n').filter_map(words);
    let mut global = global.take_while(|(word, _)| !word.eq_ignore_ascii_case("match"));
    global.any(|(word, files)| {
        let mut files = files
            .split_whitespace()
            .take_while(|file| !file.starts_with('#'))
            .map(|file| file.trim_matches(['"', '\'']));
        word.eq_ignore_ascii_case("include") && files.any(takes_in_dropins)
    })
}

/// Whether a pattern of an Include takes our drop-in in.
fn takes_in_dropins(files: &str) -> bool {
    const AS_GLOB: glob::MatchOptions = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let absolute = Path::new("/etc/ssh").join(files);
    let pattern = glob::Pattern::new(&absolute.to_string_lossy());
    pattern.is_ok_and(|pattern| pattern.matches_with(DROPIN, AS_GLOB))
}

/// The first line of the drop-in, by which it is known.
pub const MARK: &str = "# Written by `keepalivectl ssh set server`";

/// The drop-in's text.
pub fn dropin(lines: &str) -> String {
    format!("{MARK}; `keepalivectl ssh unset server` removes it.\n{lines}")
}

/// Whether lines of ours turn TCPKeepAlive on or off; none if they do not say.
pub fn tcp_keepalive(lines: &str) -> Option<bool> {
    let name = Keyword::TcpKeepalive.name(Side::Server);
    let value = lines.lines().find_map(|line| line.strip_prefix(name));
    value.map(|value| value.trim() == "yes")
}

/// The lines that set what was asked for.
pub fn lines(interval_s: u32, count_max: u32, tcp_keepalive: Option<bool>) -> String {
    let name = |keyword: Keyword| keyword.name(Side::Server);
    let mut text = format!(
        "{} {interval_s}\n{} {count_max}\n",
        name(Keyword::Interval),
        name(Keyword::CountMax)
    );
    if let Some(on) = tcp_keepalive {
        let word = if on { "yes" } else { "no" };
        text.push_str(&format!("{} {word}\n", name(Keyword::TcpKeepalive)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let old = "unknown option -- V\nOpenSSH_8.0p1, OpenSSL 1.1.1k\nusage: sshd";
        assert_eq!(parse_version(old), Some((8, 0)));
        assert_eq!(parse_version("OpenSSH_10.2p1, OpenSSL"), Some((10, 2)));
        assert_eq!(parse_version("OpenSSH_for_Windows"), None);
    }

    #[test]
    fn an_include_counts_before_any_match() {
        assert!(includes_dropins("Include /etc/ssh/sshd_config.d/*.conf\n"));
        assert!(includes_dropins("Port 22\ninclude=\"sshd_config.d/*\"\n"));
        assert!(!includes_dropins(
            "#Include /etc/ssh/sshd_config.d/*.conf\n"
        ));
        assert!(!includes_dropins("Include /etc/ssh/other.d/*.conf\n"));
        assert!(!includes_dropins("Include /etc/ssh/*.conf\n"));
        assert!(includes_dropins(
            "Include other/*.conf sshd_config.d/*.conf # all\n"
        ));
        assert!(!includes_dropins(
            "Match User x\nInclude /etc/ssh/sshd_config.d/*.conf\n"
        ));
    }
}
