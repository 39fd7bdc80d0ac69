//! Patterns of hosts, as on a Host line of ssh_config(5).

use std::str::FromStr;

use thiserror::Error;

/// One or more patterns: `db*`, `*.example.org !old.example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns(String);

/// Why a text is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    /// A character that no host name has, or that ssh reads in its own way.
    #[error("{0:?} has no place in a pattern of hosts: use letters, digits and .-_:%*?!")]
    Character(char),
    /// Only exclusions, or nothing.
    #[error("a pattern of hosts must name some, and not only exclude")]
    NamesNone,
}

impl Patterns {
    /// As on a Host line.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A host that they name, and do not exclude if that can be helped.
    pub fn example(&self) -> String {
        let excluded = |host: &str| {
            let mut patterns = self.0.split(' ').filter_map(|p| p.strip_prefix('!'));
            patterns.any(|p| glob::Pattern::new(p).is_ok_and(|p| p.matches(host)))
        };
        let named = || {
            self.0
                .split(' ')
                .filter(|pattern| !pattern.starts_with('!'))
        };
        let filled = |pattern: &str, star, one| pattern.replace('*', star).replace('?', one);
        let fillers = [("any", "x"), ("", "y"), ("z1", "1"), ("q-7", "q")];
        let mut examples = fillers
            .into_iter()
            .flat_map(|(star, one)| named().map(move |pattern| filled(pattern, star, one)));
        let first = examples.next().unwrap_or_default();
        [first.clone()]
            .into_iter()
            .chain(examples)
            .find(|host| !host.is_empty() && !excluded(host))
            .unwrap_or(first)
    }
}

impl FromStr for Patterns {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Patterns, PatternError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || " .-_:%*?!".contains(c);
        if let Some(other) = text.chars().find(|c| !allowed(*c)) {
            return Err(PatternError::Character(other));
        }
        let patterns: Vec<&str> = text.split_whitespace().collect();
        match patterns.iter().any(|pattern| !pattern.starts_with('!')) {
            true => Ok(Patterns(patterns.join(" "))),
            false => Err(PatternError::NamesNone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_a_host() {
        let example = |text: &str| Patterns::from_str(text).unwrap().example();
        assert_eq!(example("db1"), "db1");
        assert_eq!(example("!old.example.org *.example.org"), "any.example.org");
        assert_eq!(example("web?"), "webx");
        assert_eq!(example("*"), "any");
        assert_eq!(example("db* !dbany"), "db");
        assert_eq!(example("* !* "), "any");
    }

    #[test]
    fn what_ssh_would_read_otherwise_is_refused() {
        for text in [
            "",
            " ",
            "!db",
            "a\nHost b",
            "a#b",
            "a\"b",
            "a=b",
            "a,b",
            "a@b",
        ] {
            assert!(Patterns::from_str(text).is_err(), "{text:?}");
        }
    }
}
