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
    #[error("{0:?} has no place in a pattern of hosts: use letters, digits and .-_:%@*?!")]
    Character(char),
    /// Only exclusions, or nothing.
    #[error("a pattern of hosts must name some, and not only exclude")]
    NamesNone,
}

impl Patterns {
    /// Every host.
    pub fn all() -> Patterns {
        Patterns("*".to_owned())
    }

    /// As on a Host line.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is every host.
    pub fn is_all(&self) -> bool {
        self.0 == "*"
    }

    /// A host that they name.
    pub fn example(&self) -> String {
        let named = self.0.split(' ').find(|pattern| !pattern.starts_with('!'));
        named
            .unwrap_or_default()
            .replace('*', "any")
            .replace('?', "x")
    }
}

impl FromStr for Patterns {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Patterns, PatternError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || " .-_:%@*?!".contains(c);
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
        assert_eq!(Patterns::all().example(), "any");
    }

    #[test]
    fn what_ssh_would_read_otherwise_is_refused() {
        for text in ["", " ", "!db", "a\nHost b", "a#b", "a\"b", "a=b", "a,b"] {
            assert!(Patterns::from_str(text).is_err(), "{text:?}");
        }
    }
}
