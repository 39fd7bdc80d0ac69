//! Globs, as the readers of sysctl.d follow them: within limits, for a glob with
//! braces stands for many more texts than it has characters.

use glob::{MatchOptions, Pattern};

/// The longest glob that is followed, in bytes: PATH_MAX.
const LONGEST: usize = 4096;
/// The most texts that the braces of one glob may stand for.
const MOST_TEXTS: usize = 1000;
/// The most globs that are followed in all files together.
const MOST_GLOBS: usize = 10_000;
/// The most bytes of texts that all globs together may stand for.
const MOST_BYTES: usize = 4 << 20;

/// What is left of the limits for all globs together.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    globs: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            globs: MOST_GLOBS,
            bytes: MOST_BYTES,
        }
    }
}

/// Which keys a glob matches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Matches {
    /// As glob(3) does.
    pub plain: [bool; 3],
    /// With GLOB_BRACE, which systemd asks for.
    pub braces: [bool; 3],
}

/// Returns true if a key of sysctl.d is a glob.
pub(super) fn is_glob(key: &str) -> bool {
    key.contains(['*', '?', '['])
}

/// Which of three keys a glob matches; `None` if that goes beyond the limits.
pub(super) fn matches(glob: &str, keys: &[String; 3], budget: &mut Budget) -> Option<Matches> {
    budget.globs = budget.globs.checked_sub(1)?;
    if glob.len() > LONGEST {
        return None;
    }
    let plain = matched(glob, keys);
    let mut braces = [false; 3];
    let mut open = vec![glob.to_owned()];
    let mut texts = 1;
    while let Some(text) = open.pop() {
        budget.bytes = budget.bytes.checked_sub(text.len())?;
        let Some((before, inner, after)) = innermost_braces(&text) else {
            for (found, now) in braces.iter_mut().zip(matched(&text, keys)) {
                *found |= now;
            }
            continue;
        };
        texts += 1 + inner.matches(',').count();
        if texts > MOST_TEXTS {
            return None;
        }
        let parts = inner.split(',');
        open.extend(parts.map(|part| format!("{before}{part}{after}")));
    }
    Some(Matches { plain, braces })
}

/// `a{b,c}d` as `a`, `b,c` and `d`.
fn innermost_braces(text: &str) -> Option<(&str, &str, &str)> {
    let close = text.find('}')?;
    let start = text[..close].rfind('{')?;
    Some((&text[..start], &text[start + 1..close], &text[close + 1..]))
}

/// No wildcard matches a slash.
fn matched(glob: &str, keys: &[String; 3]) -> [bool; 3] {
    let options = MatchOptions {
        require_literal_separator: true,
        ..MatchOptions::new()
    };
    match pattern(glob) {
        Some(pattern) => keys
            .each_ref()
            .map(|key| pattern.matches_with(key, options)),
        None => [false; 3],
    }
}

/// The crate's syntax differs from glob(3) in two ways: `**` is special, and a
/// class is negated by `!` only.
fn pattern(glob: &str) -> Option<Pattern> {
    let mut text = glob.replace("[^", "[!");
    while text.contains("**") {
        text = text.replace("**", "*");
    }
    Pattern::new(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Setting;

    fn of(glob: &str) -> Option<Matches> {
        matches(
            glob,
            &Setting::ALL.map(Setting::path),
            &mut Budget::default(),
        )
    }

    #[test]
    fn braces_stand_for_each_of_their_parts() {
        let found = of("net/ipv4/tcp_keepalive_{intvl,t{i,x}me}*").unwrap();
        assert_eq!(found.braces, [true, true, false]);
        assert_eq!(found.plain, [false; 3]);
    }

    #[test]
    fn what_grows_beyond_all_bounds_is_not_followed() {
        assert_eq!(of(&"{a,b}".repeat(40)), None);
        assert_eq!(of(&format!("*{}", "a".repeat(LONGEST))), None);
        let deep = format!("{}*{}", "{".repeat(2000), "}".repeat(2000));
        assert_eq!(of(&deep), None);
        let mut budget = Budget::default();
        let keys = Setting::ALL.map(Setting::path);
        let followed = (0..).take_while(|_| matches("*", &keys, &mut budget).is_some());
        assert_eq!(followed.count(), MOST_GLOBS);
    }

    #[test]
    fn all_globs_together_have_a_limit_too() {
        let keys = Setting::ALL.map(Setting::path);
        let mut budget = Budget::default();
        let glob = format!("{{{}}}*{}", ",".repeat(900), "x".repeat(3000));
        let followed = (0..).take_while(|_| matches(&glob, &keys, &mut budget).is_some());
        assert!(followed.count() < 5);
    }
}
