//! What root's programs find in their environment.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;

use nix::unistd::{User, geteuid};

use super::find::FOLDERS;

/// Variables that tell the loader, libc, OpenSSL, a shell or a language what else to
/// load or to run, or how to read what is given (`ld.so(8)`, `bash(1)`, `zsh(1)`).
const STEERING: [&str; 19] = [
    "GCONV_PATH",
    "GETCONF_DIR",
    "LOCPATH",
    "NLSPATH",
    "TZDIR",
    "GLIBC_TUNABLES",
    "RESOLV_HOST_CONF",
    "LOCALDOMAIN",
    "RES_OPTIONS",
    "HOSTALIASES",
    "ENV",
    "SHELLOPTS",
    "BASHOPTS",
    "PS4",
    "IFS",
    "CDPATH",
    "GLOBIGNORE",
    "ZDOTDIR",
    "FPATH",
];
/// The beginnings of others. Bash takes functions from `BASH_FUNC_…`.
const STEERING_PREFIXES: [&str; 6] = ["LD_", "MALLOC_", "OPENSSL_", "BASH_", "PERL", "PYTHON"];

/// Leaves nothing in it that tells a program what else to load or to run.
pub(super) fn clear(command: &mut Command) {
    command.env_clear().env("LANG", "C");
    fix(command);
}

/// Leaves in it what a configuration may ask for, and nothing that steers. The shell
/// is root's own, whatever SHELL says.
pub(super) fn keep(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| steers(name)) {
        command.env_remove(name);
    }
    let user = User::from_uid(geteuid()).ok().flatten();
    match user.map(|user| user.shell) {
        Some(shell) if shell != PathBuf::new() => command.env("SHELL", shell),
        _ => command.env_remove("SHELL"),
    };
    fix(command);
}

fn fix(command: &mut Command) {
    command.env("PATH", FOLDERS.join(":")).env("HOME", "/root");
}

fn steers(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let mut beginnings = STEERING_PREFIXES.iter();
    STEERING.iter().any(|steering| name == steering.as_bytes())
        || beginnings.any(|beginning| name.starts_with(beginning.as_bytes()))
}
