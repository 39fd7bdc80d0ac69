//! What others have named, as a text that can be shown.
//!
//! The name of a file, a host or a program may hold whatever a terminal obeys, or
//! what no eye sees. Such characters are shown by their numbers, as Rust writes
//! them: `\x1b`, `\u{202e}`. All other text stays as it is.

pub mod shell;

use std::borrow::Cow;
use std::fmt::Write;

/// Returns true if a character can be shown as it stands: it neither steers a
/// terminal, nor reorders what is beside it, nor is invisible.
pub fn is_plain(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\u{2028}' | '\u{2029}' => false,
        // Marks of annotation, which hide what is between them.
        '\u{fff9}'..='\u{fffb}' => false,
        // Unicode's Default_Ignorable_Code_Point: all that reorders (bidi), joins,
        // fills or selects, and is drawn as nothing.
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' => {
            false
        }
        '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => false,
        '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' => false,
        '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' => false,
        '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => false,
        other => !other.is_control(),
    }
}

/// A value as one line of text.
pub fn line(text: &str) -> Cow<'_, str> {
    with_numbers(text, is_plain, |c, to| {
        // Writing to a String does not fail.
        let _ = match c {
            '\n' | '\r' | '\t' | '\u{80}'.. => write!(to, "{}", c.escape_default()),
            _ => write!(to, "\\x{:02x}", u32::from(c)),
        };
    })
}

/// JSON with such characters as JSON writes them. Outside of strings it has none but
/// the ends of its lines, so its values stay the same.
pub fn json(text: &str) -> Cow<'_, str> {
    let stays = |c| c == '\n' || is_plain(c);
    // Nearly all text is, and to see that takes much less than a look at each character.
    if is_plain_ascii(text) {
        return Cow::Borrowed(text);
    }
    with_numbers(text, stays, |c, to| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(to, "\\u{unit:04x}");
        }
    })
}

/// Returns true for lines of printable ASCII.
fn is_plain_ascii(text: &str) -> bool {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n');
    // Without a way out in the middle, the compiler takes many bytes at once.
    text.as_bytes()
        .chunks(64)
        .all(|bytes| bytes.iter().fold(true, |all, byte| all & plain(byte)))
}

/// The text with each character that may not stay as it is written by `number`.
fn with_numbers(
    text: &str,
    stays: impl Fn(char) -> bool,
    number: impl Fn(char, &mut String),
) -> Cow<'_, str> {
    let Some(first) = text.find(|c| !stays(c)) else {
        return Cow::Borrowed(text);
    };
    let (good, rest) = text.split_at(first);
    let mut shown = good.to_owned();
    for c in rest.chars() {
        match stays(c) {
            true => shown.push(c),
            false => number(c, &mut shown),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_or_hides_is_shown_by_its_number() {
        for (text, shown) in [
            ("plain é 漢字 ✓ a\\b", "plain é 漢字 ✓ a\\b"),
            ("a\x1b[31mb\x07\x7f", r"a\x1b[31mb\x07\x7f"),
            ("a\nb\tc\rd\0", r"a\nb\tc\rd\x00"),
            ("\u{9b}31m\u{85}", r"\u{9b}31m\u{85}"),
            (
                "a\u{202e}b\u{2066}c\u{200f}",
                r"a\u{202e}b\u{2066}c\u{200f}",
            ),
            (
                "a\u{200b}\u{feff}\u{ad}\u{2028}",
                r"a\u{200b}\u{feff}\u{ad}\u{2028}",
            ),
            ("a\u{e0041}\u{fe0f}\u{3164}", r"a\u{e0041}\u{fe0f}\u{3164}"),
        ] {
            assert_eq!(line(text), shown);
            assert!(shown.chars().all(is_plain));
        }
    }

    #[test]
    fn json_keeps_its_values() {
        let all: String = ('\0'..=char::MAX).filter(|c| !is_plain(*c)).collect();
        let value = serde_json::json!({ &all: [&all, "é"] });
        let raw = serde_json::to_string_pretty(&value).unwrap();
        let shown = json(&raw);
        assert!(shown.chars().all(|c| c == '\n' || is_plain(c)));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
        assert!(matches!(json("{\n}\n"), Cow::Borrowed(_)));
        let long = "a".repeat(100);
        assert!(is_plain_ascii(&long) && is_plain_ascii(""));
        for other in ['\x1f', '\x7f', '\0', '\r', 'é', '\u{9b}'] {
            assert!(
                !is_plain_ascii(&format!("{long}{other}{long}")),
                "{other:?}"
            );
        }
    }

    #[test]
    fn all_that_reorders_is_known() {
        let bidi = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\
                    \u{2068}\u{2069}";
        assert!(!bidi.chars().any(is_plain));
        assert!(!('\0'..' ').chain('\x7f'..='\u{9f}').any(is_plain));
    }
}
