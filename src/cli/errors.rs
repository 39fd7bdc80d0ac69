//! Errors for people: what failed, why, and what to do next.

use std::error::Error;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use keepalivectl::chain::{causes, chain};
use keepalivectl::kernel;
use keepalivectl::model::plan::Impossible;
use keepalivectl::ops;
use keepalivectl::root::FileError;
use keepalivectl::ssh;
use keepalivectl::text::{line, shell};
use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Gid, getegid, geteuid, getgroups};

/// Prints an error with its causes, then the advice.
pub fn explain(error: &ops::Error) {
    complain(&chain(error));
    for line in advice(error) {
        hint(&line);
    }
}

/// Prints one complaint.
pub fn complain(text: &str) {
    // If standard error is gone, there is nobody left to tell.
    let _ = writeln!(io::stderr(), "keepalivectl: {}", line(text));
}

fn hint(text: &str) {
    let _ = writeln!(io::stderr(), "  {}", line(text));
}

/// What to do next, if anything helps.
fn advice(error: &(dyn Error + 'static)) -> Vec<String> {
    let kernel = causes(error).find_map(kernel_error);
    let not_permitted = matches!(kernel, Some(kernel::Error::NotPermitted { .. }));
    if let Some(kernel::Error::ReadOnly { setting, value }) = kernel {
        let (key, word) = (setting.key(), "keepalivectl apply … --netns pid:N");
        return vec![
            format!("set it from outside: docker run --sysctl {key}={value} …"),
            format!(
                "or in the pod's spec: securityContext: {{sysctls: [{{name: {key}, value: \
                 \"{value}\"}}]}}"
            ),
            format!("or from the host, with the container's process N: sudo {word}"),
        ];
    }
    if let Some(kernel::Error::Lab { source, .. }) = kernel {
        return lab_advice(source);
    }
    if let Some(advice) = error.downcast_ref().and_then(plan_advice) {
        return vec![advice];
    }
    if let Some(advice) = causes(error).find_map(ssh_advice) {
        return vec![advice];
    }
    let denied = causes(error)
        .filter_map(|e| e.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::PermissionDenied);
    if let Some(kernel::Error::Enter { source, .. }) = kernel
        && source.kind() == io::ErrorKind::NotFound
    {
        return vec!["`ip netns list` names them; pid:N takes that of a process".to_owned()];
    }
    if (not_permitted || denied) && geteuid().is_root() {
        return vec![
            "root has not all capabilities here, as in a container: run it on the host".to_owned(),
        ];
    }
    if not_permitted || denied {
        return vec![as_root()];
    }
    Vec::new()
}

/// What `measure` needs.
fn lab_advice(cause: &io::Error) -> Vec<String> {
    match cause.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EACCES | Errno::ENOSYS) if geteuid().is_root() => {
            vec![
                "new namespaces are forbidden here, as in most containers: run it on the host"
                    .to_owned(),
            ]
        }
        Some(Errno::EPERM | Errno::EACCES) => vec![
            as_root(),
            "or allow user namespaces: kernel.unprivileged_userns_clone=1, or \
             kernel.apparmor_restrict_unprivileged_userns=0"
                .to_owned(),
        ],
        Some(Errno::EROFS) => {
            vec!["/proc/sys is read-only, as in most containers: run it on the host".to_owned()]
        }
        Some(Errno::ETIMEDOUT) => vec![
            "the kernel drops it while the peer lives: give less --alive-for, more --retries2 or a \
             longer --user-timeout"
                .to_owned(),
        ],
        Some(Errno::ENOSPC) => {
            vec![
                "user.max_net_namespaces and user.max_user_namespaces limit them: raise both"
                    .to_owned(),
            ]
        }
        _ => Vec::new(),
    }
}

/// What a program of OpenSSH needs, and what else can be done about its files.
fn ssh_advice(link: &(dyn Error + 'static)) -> Option<String> {
    match job_error(link) {
        Some(ops::Error::NotInEffect { line, .. }) => Some(other_line_advice(line.as_ref()?)),
        Some(ops::Error::Ssh(ssh::Error::File(e)) | ops::Error::File(e)) => owner_advice(e),
        Some(ops::Error::Ssh(ssh::Error::Refused { command, message })) => {
            refused_advice(command, message)
        }
        Some(ops::Error::Ssh(ssh::Error::NoAnswer {
            command, during, ..
        })) => Some(no_answer_advice(command, during.is_some())),
        _ => None,
    }
}

/// The job's error in one link of a chain; what is undone is boxed.
fn job_error<'e>(link: &'e (dyn Error + 'static)) -> Option<&'e ops::Error> {
    let boxed = || link.downcast_ref::<Box<ops::Error>>();
    link.downcast_ref()
        .or_else(|| boxed().map(|boxed| &**boxed))
}

fn other_line_advice(line: &ssh::Line) -> String {
    let change = "change or remove that line".to_owned();
    match line.file.ends_with(".ssh/config") {
        true => format!("{change}; or give --host '*', which goes before all lines of that file"),
        false => change,
    }
}

fn refused_advice(command: &str, message: &str) -> Option<String> {
    if message.contains("privilege separation directory") {
        return Some(
            "it is made when the service starts: start it once, or sudo mkdir -m 0755 /run/sshd"
                .to_owned(),
        );
    }
    // It may not read its own keys. A file that is named is read as the user.
    let own_files = command.starts_with("sshd") && !command.contains(" -f ");
    let unprivileged = own_files && !geteuid().is_root();
    unprivileged.then(as_root)
}

/// How to find out why a program does not answer.
fn no_answer_advice(command: &str, in_match_exec: bool) -> String {
    match (in_match_exec, command.starts_with("ssh ")) {
        (true, _) => "make that command end, or leave that file out with -F FILE".to_owned(),
        // What comes after `--` is no option.
        (false, true) => format!(
            "a Match exec or CanonicalizeHostname may wait for something: {}",
            command.replacen("ssh ", "ssh -vvv ", 1)
        ),
        (false, false) => format!("to see what it waits for: sudo {command} -ddd"),
    }
}

/// A user's own file that is somebody else's. Through sudo it is acted as the user all
/// the same, so to say `sudo` would not help.
fn owner_advice(error: &FileError) -> Option<String> {
    let (FileError::Read { path, source } | FileError::Write { path, source }) = error else {
        return None;
    };
    let refused = source.kind() == io::ErrorKind::PermissionDenied;
    let users = path.components().any(|part| part.as_os_str() == ".ssh")
        || path.components().any(|part| part.as_os_str() == "sessions");
    if !refused || !users || geteuid().is_root() {
        return None;
    }
    let status = path.metadata();
    let path = shell::operand(path);
    Some(match status {
        Ok(status) if status.uid() != geteuid().as_raw() => chown_advice(&path),
        Err(_) => chown_advice(&path),
        // fchown(2), where the mode does not count.
        Ok(status) if source.raw_os_error() == Some(libc::EPERM) && !is_own_group(status.gid()) => {
            format!(
                "its group, {}, cannot be kept, as the user is not in it: chgrp {} {path}",
                status.gid(),
                getegid()
            )
        }
        Ok(_) => format!("chmod u+rw {path}"),
    })
}

fn chown_advice(path: &str) -> String {
    format!("if it belongs to another user: sudo chown \"$USER:\" {path}")
}

fn is_own_group(group: u32) -> bool {
    let others = getgroups().unwrap_or_default();
    group == getegid().as_raw() || others.contains(&Gid::from_raw(group))
}

/// What else can be done where no settings help.
fn plan_advice(error: &ops::Error) -> Option<String> {
    let advice = match error {
        ops::Error::CountsBytes { path } if path.configurable.is_empty() => {
            "let the program send something itself, such as SSH's ServerAliveInterval or a ping of the \
             protocol"
                .to_owned()
        }
        ops::Error::CountsBytes { path } => format!(
            "raise its timeout ({}), or let the program send something itself, such as SSH's \
             ServerAliveInterval or a ping of the protocol",
            path.configurable
        ),
        ops::Error::Impossible(Impossible::DetectWithin { lost_probes, .. }) if *lost_probes > 0 => {
            "allow more time, or fewer --lost-probes; faster still is only a heartbeat of the program's \
             own"
            .to_owned()
        }
        ops::Error::Impossible(Impossible::DetectWithin { .. }) => {
            "allow more time; faster is only a heartbeat of the program's own".to_owned()
        }
        ops::Error::Impossible(Impossible::IdleTimeout { lost_probes, .. }) => {
            let fewer = if *lost_probes > 0 { "allow fewer --lost-probes, " } else { "" };
            format!("{fewer}raise the idle timeout, or let the program send something itself")
        }
        _ => return None,
    };
    Some(advice)
}

/// The kernel's error in one link of a chain; `ops::Error` shows it through.
fn kernel_error<'e>(link: &'e (dyn Error + 'static)) -> Option<&'e kernel::Error> {
    if let Some(ops::Error::Kernel(e)) = job_error(link) {
        return Some(e);
    }
    link.downcast_ref()
}

/// That root may do it. Through sudo a user's own files are that user's all the same.
fn as_root() -> String {
    let own = geteuid();
    let called_sudo = std::env::var("SUDO_UID")
        .ok()
        .and_then(|uid| uid.parse().ok());
    match called_sudo == Some(own.as_raw()) {
        true => format!(
            "through sudo too it is done as the user who called it, and user {} lacks the right: \
             change whose it is or its mode, or take a copy that is the user's",
            std::env::var("SUDO_USER").unwrap_or_else(|_| own.to_string())
        ),
        false => format!("run it as root: sudo {}", command_line()),
    }
}

/// What was typed.
fn command_line() -> String {
    let typed = std::env::args_os().skip(1);
    shell::command(std::iter::once("keepalivectl".into()).chain(typed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_comes_before_the_host() {
        let advice = no_answer_advice("ssh -G -F f -- ssh", false);
        assert!(advice.ends_with(": ssh -vvv -G -F f -- ssh"), "{advice}");
        let advice = no_answer_advice("sshd -T", false);
        assert!(advice.ends_with(": sudo sshd -T -ddd"), "{advice}");
    }
}
