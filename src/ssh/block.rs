//! Marked blocks in a file that is somebody else's.
//!
//! What is put in can be taken out again, byte for byte, and the rest of the file
//! is never touched.

use super::trace::words;

/// Where a block goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before everything, so that it wins.
    Top,
    /// After everything, so that more special lines keep their say.
    End,
}

/// Why a block is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It begins on this line and has lost its last one.
    Torn(usize),
    /// This line of it is somebody else's.
    Foreign(usize),
}

/// A block: the command that writes it, and the keywords that it may hold.
#[derive(Debug, Clone)]
pub struct Block<'b> {
    /// Such as `ssh set client`.
    pub name: &'b str,
    /// Such as `Host`.
    pub keywords: &'b [&'b str],
}

const FIRST: &str = "# begin of what `keepalivectl ";
const WROTE: &str = "` wrote";
/// Added to the first line where the line above had no end, and got one.
const ENDED: &str = "; the line above had no end";

/// Where a block is in a text.
struct Found {
    /// The first line's beginning.
    start: usize,
    /// What follows the last line.
    end: usize,
    /// Whether the line above had no end.
    ended: bool,
}

impl Block<'_> {
    fn first(&self) -> String {
        format!("{FIRST}{}{WROTE}", self.name)
    }

    fn last(&self) -> String {
        format!("# end of what `keepalivectl {}{WROTE}", self.name)
    }

    fn text(&self, lines: &str, ended: bool) -> String {
        let ended = if ended { ENDED } else { "" };
        format!("{}{ended}\n{lines}{}\n", self.first(), self.last())
    }

    fn find(&self, text: &str) -> Result<Option<Found>, Fault> {
        let (first, last) = (self.first(), self.last());
        let mut at = 0;
        let mut begin: Option<(usize, Found)> = None;
        for (n, line) in text.split_inclusive('\n').enumerate() {
            let (start, end) = (at, at + line.len());
            at = end;
            let line = line.trim_end();
            let Some((_, found)) = begin.as_mut() else {
                let ended = line.strip_prefix(&first);
                if let Some(ended @ ("" | ENDED)) = ended {
                    let ended = !ended.is_empty();
                    begin = Some((n + 1, Found { start, end, ended }));
                }
                continue;
            };
            found.end = end;
            if line == last {
                return Ok(begin.map(|(_, found)| found));
            }
            let known = |word: &str| self.keywords.iter().any(|k| k.eq_ignore_ascii_case(word));
            match words(line) {
                Some((word, _)) if known(word) => {}
                // Whatever follows, up to another block or the end of the text.
                None if line.starts_with(FIRST) => break,
                _ => return self.foreign(text, n + 1, begin.map_or(0, |(line, _)| line)),
            }
        }
        match begin {
            Some((line, _)) => Err(Fault::Torn(line)),
            None => Ok(None),
        }
    }

    /// A line that is not ours is in a block, or behind one that has lost its end.
    fn foreign(&self, text: &str, line: usize, begin: usize) -> Result<Option<Found>, Fault> {
        let ends = text
            .lines()
            .skip(line)
            .any(|line| line.trim_end() == self.last());
        Err(match ends {
            true => Fault::Foreign(line),
            false => Fault::Torn(begin),
        })
    }

    /// The text with this block, in place of an older one if there is one; at the
    /// top it stands before all others.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn put(&self, text: &str, lines: &str, place: Place) -> Result<String, Fault> {
        let found = self.find(text)?;
        Ok(match (found, place) {
            (Some(Found { start: 0, end, .. }), _) => {
                format!("{}{}", self.text(lines, false), &text[end..])
            }
            (Some(found), Place::End) => format!(
                "{}{}{}",
                &text[..found.start],
                self.text(lines, found.ended),
                &text[found.end..]
            ),
            (Some(found), Place::Top) => {
                format!("{}{}", self.text(lines, false), without(text, &found))
            }
            (None, Place::Top) => format!("{}{text}", self.text(lines, false)),
            (None, Place::End) if !text.is_empty() && !text.ends_with('\n') => {
                format!("{text}\n{}", self.text(lines, true))
            }
            (None, Place::End) => format!("{text}{}", self.text(lines, false)),
        })
    }

    /// This block's own text; none if there is none.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn lines<'t>(&self, text: &'t str) -> Result<Option<&'t str>, Fault> {
        Ok(self.find(text)?.map(|found| &text[found.start..found.end]))
    }

    /// The text without this block; none if there is none.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn remove(&self, text: &str) -> Result<Option<String>, Fault> {
        Ok(self.find(text)?.map(|found| without(text, &found)))
    }
}

fn without(text: &str, found: &Found) -> String {
    let (before, after) = (&text[..found.start], &text[found.end..]);
    // With other lines behind it, the line above needs its end by now.
    let before = match found.ended && after.is_empty() {
        true => before.strip_suffix('\n').unwrap_or(before),
        false => before,
    };
    format!("{before}{after}")
}

/// The commands that wrote the blocks of a text.
pub fn names(text: &str) -> Vec<&str> {
    let named = |line| {
        let (name, _): (&str, &str) = str::strip_prefix(line, FIRST)?.split_once(WROTE)?;
        Some(name)
    };
    text.lines().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(name: &str) -> Block<'_> {
        Block {
            name,
            keywords: &["Host", "A"],
        }
    }

    #[test]
    fn a_block_is_found_by_its_whole_line() {
        let text = block("x").put("Host a\n", "Host *\n", Place::End).unwrap();
        assert!(text.starts_with("Host a\n# begin of"));
        assert_eq!(block("x --host b").remove(&text), Ok(None));
        assert_eq!(names(&text), ["x"]);
        let removed = block("x").remove(&format!(" {text}")).unwrap();
        assert_eq!(removed.unwrap(), " Host a\n");
        let indented = text.replace("# begin", " # begin");
        assert_eq!(block("x").remove(&indented), Ok(None));
    }

    #[test]
    fn without_its_end_it_is_torn() {
        let text = block("x").put("a\n", "A 1\n", Place::End).unwrap();
        let torn = text.replace("# end", "# the end");
        assert_eq!(block("x").remove(&torn), Err(Fault::Torn(2)));
        assert_eq!(
            block("x").put(&torn, "A 2\n", Place::Top),
            Err(Fault::Torn(2))
        );
        let more = format!("{torn}Host b\n B 1\n");
        assert_eq!(block("x").remove(&more), Err(Fault::Torn(2)));
        let other = block("y").put(&torn, "A 3\n", Place::End).unwrap();
        assert_eq!(block("x").remove(&other), Err(Fault::Torn(2)));
    }

    #[test]
    fn a_line_of_somebody_elses_is_not_thrown_away() {
        let text = block("x").put("", "Host *\n", Place::End).unwrap();
        let edited = text.replace("Host *\n", "Host *\n    ForwardAgent yes\n");
        assert_eq!(block("x").remove(&edited), Err(Fault::Foreign(3)));
    }

    #[test]
    fn what_is_added_below_stays_whole() {
        let text = block("x").put("Host a", "Host *\n", Place::End).unwrap();
        assert_eq!(block("x").remove(&text).unwrap().unwrap(), "Host a");
        let more = format!("{text}Host b\n");
        assert_eq!(
            block("x").remove(&more).unwrap().unwrap(),
            "Host a\nHost b\n"
        );
    }

    #[test]
    fn the_last_one_at_the_top_stands_first() {
        let one = block("x").put("c\n", "A 1\n", Place::Top).unwrap();
        let two = block("y").put(&one, "A 2\n", Place::Top).unwrap();
        assert_eq!(names(&two), ["y", "x"]);
        let again = block("x").put(&two, "A 1\n", Place::Top).unwrap();
        assert_eq!(names(&again), ["x", "y"]);
        assert!(again.ends_with("\nc\n"));
    }

    proptest! {
        #[test]
        fn what_is_put_in_can_be_taken_out(
            text in "(Host \\PC{0,9}\n|\n|# x|\r\n){0,6}",
            top in any::<bool>(),
        ) {
            let (x, y) = (block("x"), block("y"));
            let place = if top { Place::Top } else { Place::End };
            let once = x.put(&text, "Host *\n    A 1\n", place).unwrap();
            prop_assert_eq!(&x.put(&once, "Host *\n    A 1\n", place).unwrap(), &once);
            let other = x.put(&once, "Host *\n    A 2\n", place).unwrap();
            prop_assert_eq!(x.remove(&other).unwrap().unwrap(), text.clone());
            let two = y.put(&once, "A\n", place).unwrap();
            let second = y.remove(&two).unwrap().unwrap();
            prop_assert_eq!(x.remove(&second).unwrap().unwrap(), text);
        }
    }
}
