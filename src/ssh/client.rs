//! OpenSSH's client: what `ssh -G` says, and where it comes from.

use std::path::PathBuf;

use super::dump::Dump;
use super::effective::{Effective, Keyword, Source, origins};
use super::program::{Program, With, word};
use super::trace;
use super::{Error, Result, read_text};
use crate::model::ssh::{Habits, Side};

/// The system's file.
pub const SYSTEM: &str = "/etc/ssh/ssh_config";
/// Where packages and administrators drop their parts of it.
pub const DROPINS: &str = "/etc/ssh/ssh_config.d";
/// Ours. Its number sorts it before most others, and the first one wins.
pub const DROPIN: &str = "/etc/ssh/ssh_config.d/10-keepalivectl.conf";

/// The user's file, in the user's folder.
pub const IN_HOME: &str = ".ssh/config";

/// A host that no block names.
pub const ANY_HOST: &str = "any-host.invalid";

/// What is asked of the client.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The host; none for a host that no block names.
    pub host: Option<String>,
    /// Another configuration, as with `ssh -F`.
    pub file: Option<PathBuf>,
    /// Options, as with `ssh -o`.
    pub options: Vec<String>,
    /// The user's own folder, where the environment is another user's.
    pub home: Option<PathBuf>,
}

/// What is in effect for a host.
///
/// # Errors
/// There is no ssh, it gives no answer, or it refuses its configuration.
pub fn read(ssh: Program<'_>, asked: &Asked) -> Result<Effective> {
    let mut arguments: Vec<String> = ["-G", "-vvv"].map(str::to_owned).into();
    if let Some(file) = &asked.file {
        arguments.extend(["-F".to_owned(), word(file)]);
    }
    for option in &asked.options {
        arguments.extend(["-o".to_owned(), option.clone()]);
    }
    if asked.host.is_none() {
        // Or a name that does not exist would be looked up.
        arguments.extend(["-o", "CanonicalizeHostname=no"].map(str::to_owned));
    }
    let host = asked.host.as_deref().unwrap_or(ANY_HOST);
    arguments.extend(["--".to_owned(), host.to_owned()]);
    let with = With {
        home: asked.home.as_deref(),
        ..With::default()
    };
    let (dump, told) = Dump::of(ssh, &arguments, with)?;
    let mut alive = dump.alive(Side::Client, Habits::CLIENT)?;
    alive.socket_here = proxy(&dump).is_none();
    let given = |keyword| asked.options.iter().any(|option| sets(option, keyword));
    let met = trace::client(&told, read_text);
    let mut origins = origins(
        Side::Client,
        &dump,
        met.as_deref().unwrap_or_default(),
        given,
    );
    let batch = dump.value("batchmode") == Some("yes");
    for origin in &mut origins {
        let interval = origin.option == Keyword::Interval.name(Side::Client);
        match (&origin.source, &met) {
            (Source::Default, None) => origin.source = Source::Unknown,
            (Source::Unknown, Some(_)) if interval && batch && origin.value == "300" => {
                origin.source = Source::BatchMode;
            }
            _ => {}
        }
    }
    Ok(Effective {
        alive,
        origins,
        warnings: warnings(&dump),
        met: met.unwrap_or_default(),
    })
}

fn warnings(dump: &Dump) -> Vec<String> {
    let mut warnings = dump.timeouts();
    if let Some(proxy) = proxy(dump) {
        warnings.push(format!(
            "it goes by way of {proxy}, and so through a pipe: the kernel's part is played on that \
             way, with the settings there"
        ));
    }
    if is_set(dump.value("controlpath")) {
        warnings.push(
            "sessions share a connection (ControlPath): one that is open already keeps the settings \
             it was opened with"
                .to_owned(),
        );
    }
    warnings
}

/// What the session goes through, if it does.
fn proxy(dump: &Dump) -> Option<&str> {
    // Such a program gives its socket away.
    if dump.value("proxyusefdpass") == Some("yes") {
        return None;
    }
    let proxies = ["proxyjump", "proxycommand"].map(|name| dump.value(name));
    proxies
        .into_iter()
        .flatten()
        .find(|proxy| is_set(Some(proxy)))
}

fn is_set(value: Option<&str>) -> bool {
    value.is_some_and(|value| value != "none")
}

/// Whether an option as with `ssh -o` is about a keyword.
fn sets(option: &str, keyword: Keyword) -> bool {
    let Some((word, value)) = trace::words(option) else {
        return false;
    };
    let none = keyword == Keyword::Interval && value == "none";
    Keyword::of(Side::Client, word) == Some(keyword) && !none
}

/// The folder that ssh takes for the user's own, with all links resolved. It is
/// the one of the user database, whatever HOME says.
///
/// # Errors
/// There is no ssh, or it does not say.
pub fn home(ssh: Program<'_>) -> Result<PathBuf> {
    let arguments = ["-G", "-F", "none", "-o", "ControlPath=%d/", ANY_HOST];
    let (dump, _) = Dump::of(ssh, &arguments, With::default())?;
    let told = dump.value("controlpath").map(PathBuf::from);
    let home = told.ok_or_else(|| dump.not_told("the user's folder"))?;
    home.canonicalize().map_err(|source| {
        let path = home.clone();
        Error::File(crate::root::FileError::Read { path, source })
    })
}

/// The lines that a block for some hosts has.
pub fn block(patterns: &str, interval_s: u32, count_max: u32) -> String {
    format!(
        "Host {patterns}\n    {} {interval_s}\n    {} {count_max}\n",
        Keyword::Interval.name(Side::Client),
        Keyword::CountMax.name(Side::Client),
    )
}

/// The `-o` options for a single command.
pub fn options(interval_s: u32, count_max: u32) -> Vec<String> {
    vec![
        format!("{}={interval_s}", Keyword::Interval.name(Side::Client)),
        format!("{}={count_max}", Keyword::CountMax.name(Side::Client)),
    ]
}
