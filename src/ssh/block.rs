//! Marked blocks in a file that is somebody else's.
//!
//! What is put in can be taken out again, byte for byte, and the rest of the file
//! is never touched.

/// Where a block goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before everything, so that it wins.
    Top,
    /// After everything, so that more special lines keep their say.
    End,
}

/// A block that has lost its last line: the line that it begins on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torn(pub usize);

/// The first and the last line of a block; `name` is the command that wrote it.
fn marks(name: &str) -> (String, String) {
    (
        format!("# begin of what `keepalivectl {name}` wrote\n"),
        format!("# end of what `keepalivectl {name}` wrote"),
    )
}

/// The place of a block of that name in a text, its last line without its end.
fn find(text: &str, name: &str) -> Result<Option<(usize, usize)>, Torn> {
    let (first, last) = marks(name);
    let starts_line = |at: &usize| *at == 0 || text.as_bytes()[*at - 1] == b'\n';
    let mut found = text.match_indices(&first).map(|(at, _)| at);
    let Some(start) = found.find(starts_line) else {
        return Ok(None);
    };
    let rest = &text[start..];
    let last = format!("\n{last}");
    let mut ends = rest.match_indices(&last).map(|(at, _)| at + last.len());
    let ends_line = |at: &usize| matches!(rest.as_bytes().get(*at), None | Some(b'\n'));
    match ends.find(ends_line) {
        Some(end) => Ok(Some((start, start + end))),
        None => Err(Torn(text[..start].split('\n').count())),
    }
}

/// The text with a block of that name, in place of an older one if there is one.
///
/// # Errors
/// [`Torn`].
pub fn put(text: &str, name: &str, lines: &str, place: Place) -> Result<String, Torn> {
    let (first, last) = marks(name);
    let block = format!("{first}{lines}{last}");
    Ok(match (find(text, name)?, place) {
        (Some((start, end)), _) => format!("{}{block}{}", &text[..start], &text[end..]),
        (None, Place::Top) => format!("{block}\n{text}"),
        // A last line without its end stays so: `remove` can tell.
        (None, Place::End) if !text.is_empty() && !text.ends_with('\n') => {
            format!("{text}\n{block}")
        }
        (None, Place::End) => format!("{text}{block}\n"),
    })
}

/// The text without the block of that name; none if there is none.
///
/// # Errors
/// [`Torn`].
pub fn remove(text: &str, name: &str) -> Result<Option<String>, Torn> {
    let Some((start, end)) = find(text, name)? else {
        return Ok(None);
    };
    let (before, after) = (&text[..start], &text[end..]);
    Ok(Some(match after.strip_prefix('\n') {
        Some(after) => format!("{before}{after}"),
        None => before.strip_suffix('\n').unwrap_or(before).to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_block_is_found_by_its_whole_line() {
        let text = put("Host a\n", "x", "Host *\n", Place::End).unwrap();
        assert!(text.starts_with("Host a\n# begin of"));
        assert_eq!(remove(&text, "x --host b"), Ok(None));
        assert_eq!(
            remove(&format!(" {text}"), "x").unwrap().unwrap(),
            " Host a\n"
        );
        let indented = text.replace("# begin", " # begin");
        assert_eq!(remove(&indented, "x"), Ok(None));
    }

    #[test]
    fn without_its_end_it_is_torn() {
        let text = put("a\n", "x", "b\n", Place::End).unwrap();
        let torn = text.replace("# end", "# the end");
        assert_eq!(remove(&torn, "x"), Err(Torn(2)));
        assert_eq!(put(&torn, "x", "c\n", Place::Top), Err(Torn(2)));
    }

    proptest! {
        #[test]
        fn what_is_put_in_can_be_taken_out(
            text in "(Host \\PC{0,9}\n|\n|# x|\r\n){0,6}",
            top in any::<bool>(),
        ) {
            let place = if top { Place::Top } else { Place::End };
            let once = put(&text, "x", "Host *\n    A 1\n", place).unwrap();
            prop_assert_eq!(&put(&once, "x", "Host *\n    A 1\n", place).unwrap(), &once);
            let other = put(&once, "x", "Host *\n    A 2\n", place).unwrap();
            prop_assert_eq!(remove(&other, "x").unwrap().unwrap(), text.clone());
            let two = put(&once, "y", "B\n", place).unwrap();
            let one = remove(&two, "x").unwrap().unwrap();
            prop_assert_eq!(remove(&one, "y").unwrap().unwrap(), text);
        }
    }
}
