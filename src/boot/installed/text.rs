//! What a unit file or a drop-in says, line by line as systemd reads it.

use similar::{ChangeTag, TextDiff};

/// Lines that are named of a unit that differs.
const NAMED_LINES: usize = 4;

/// Directives that cannot keep the unit from running, or let it run anything
/// else. A distribution may set some for every service.
const HARMLESS: [&str; 10] = [
    "Description",
    "Documentation",
    "TimeoutStopSec",
    "TimeoutStopFailureMode",
    "TimeoutAbortSec",
    "CPUAccounting",
    "IOAccounting",
    "IPAccounting",
    "MemoryAccounting",
    "TasksAccounting",
];

/// The lines that say anything. systemd ends a line at a carriage return and at a
/// NUL too (`read_line` in `src/basic/fileio.c`), and looks for comments before it
/// looks for lines that go on (`config_parse` in `src/shared/conf-parser.c`).
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\n', '\r', '\0'])
        .map(|line| line.trim_matches([' ', '\t']))
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}

/// The program that the first command names.
pub(super) fn program(text: &str) -> Option<&str> {
    let command = lines(text).find_map(|line| line.strip_prefix("ExecStart="))?;
    command.split_whitespace().next()
}

/// The first lines that differ, if any does that says something.
pub(super) fn differences(found: &str, ours: &str) -> Option<String> {
    let [ours, found]: [Vec<&str>; 2] = [ours, found].map(|text| lines(text).collect());
    let diff = TextDiff::from_slices(&ours, &found);
    let mut named: Vec<String> = diff
        .iter_all_changes()
        .filter_map(|change| {
            let line = change.value();
            match change.tag() {
                ChangeTag::Equal => None,
                ChangeTag::Insert => Some(format!("it has `{line}`")),
                ChangeTag::Delete => Some(format!("it lacks `{line}`")),
            }
        })
        .collect();
    let more = named.len().saturating_sub(NAMED_LINES);
    named.truncate(NAMED_LINES);
    if more > 0 {
        named.push(format!("{more} more lines differ"));
    }
    (!named.is_empty()).then(|| named.join(", "))
}

/// The directives that may matter. A line that goes on is taken for a directive of
/// its own: one too many is named then, and never one too few.
pub(super) fn directives(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in lines(text).filter(|line| !line.starts_with('[')) {
        let name = line.split('=').next().unwrap_or_default().trim();
        if !HARMLESS.contains(&name) && !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_that_may_matter_are_named() {
        let text = "[Service]\nTimeoutStopFailureMode=abort\n# PrivateUsers=no\n";
        assert_eq!(directives(text), [""; 0]);
        let text = "[Service]\n ExecStart = \nExecStart=/bin/true\n# x \\\nNice=1\n";
        assert_eq!(directives(text), ["ExecStart", "Nice"]);
    }

    #[test]
    fn a_carriage_return_and_a_nul_end_a_line() {
        for end in ["\r", "\0"] {
            let text = format!("# note{end}[Service]{end}ExecStart={end}User=x\n");
            assert_eq!(directives(&text), ["ExecStart", "User"]);
            let text = format!("[Service]\nTimeoutStopSec=5{end}ExecStart=/bin/true\n");
            assert_eq!(directives(&text), ["ExecStart"]);
            let said = differences(&format!("# x{end}User=x\n"), "# x\n").unwrap();
            assert_eq!(said, "it has `User=x`");
        }
        assert_eq!(directives("[Service]\r\n# x\r\n"), [""; 0]);
    }

    #[test]
    fn the_lines_that_differ_are_named() {
        assert_eq!(differences("a\nb\n", "a\nb\n"), None);
        let said = differences("a\nx\n", "a\nb\n").unwrap();
        assert_eq!(said, "it lacks `b`, it has `x`");
        let said = differences("", "a\nb\nc\nd\ne\n").unwrap();
        assert!(said.ends_with("1 more lines differ"), "{said}");
    }

    #[test]
    fn comments_and_blank_lines_are_no_difference() {
        assert_eq!(
            differences("# old\na\n\n; x\nb", "# new\n\na\n \nb\n"),
            None
        );
        let said = differences("# old\na\n", "# new\na\nb\n").unwrap();
        assert_eq!(said, "it lacks `b`");
    }
}
