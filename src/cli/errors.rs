//! Errors for people: what failed, why, and what to do next.

use std::error::Error;
use std::io::{self, Write};

use keepalivectl::chain::{causes, chain};
use keepalivectl::kernel;
use keepalivectl::ops;

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
    let _ = writeln!(io::stderr(), "keepalivectl: {text}");
}

fn hint(text: &str) {
    let _ = writeln!(io::stderr(), "  {text}");
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
    let denied = causes(error)
        .filter_map(|e| e.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::PermissionDenied);
    if not_permitted || denied {
        return vec![format!("run it as root: sudo {}", command_line())];
    }
    Vec::new()
}

/// The kernel's error in one link of a chain; `ops::Error` shows it through.
fn kernel_error<'e>(link: &'e (dyn Error + 'static)) -> Option<&'e kernel::Error> {
    if let Some(ops::Error::Kernel(e)) = link.downcast_ref() {
        return Some(e);
    }
    link.downcast_ref()
}

/// What was typed, quoted where a shell needs it.
fn command_line() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+".contains(c);
    let quote = |word: String| {
        if !word.is_empty() && word.chars().all(plain) {
            return word;
        }
        format!("'{}'", word.replace('\'', r"'\''"))
    };
    let words = std::env::args_os().skip(1);
    let typed: Vec<String> = words
        .map(|w| quote(w.to_string_lossy().into_owned()))
        .collect();
    format!("keepalivectl {}", typed.join(" "))
        .trim_end()
        .to_owned()
}
