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
/// What a file was like before a block came in, as the block's first line remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A text whose last line has its end, or that goes on below.
    Whole,
    /// The line above had no end, and got one.
    NotEnded,
    /// There was no file.
    NoFile,
}

impl Before {
    const ALL: [Before; 3] = [Before::Whole, Before::NotEnded, Before::NoFile];

    /// The end of a block's first line.
    fn mark(self) -> &'static str {
        match self {
            Before::Whole => "",
            Before::NotEnded => "; the line above had no end",
            Before::NoFile => "; the file is new",
        }
    }
}

/// Where a block is in a text.
struct Found {
    /// The first line's beginning.
    start: usize,
    /// What follows the last line.
    end: usize,
    before: Before,
}

impl Block<'_> {
    fn first(&self) -> String {
        format!("{FIRST}{}{WROTE}", self.name)
    }

    fn last(&self) -> String {
        format!("# end of what `keepalivectl {}{WROTE}", self.name)
    }

    fn text(&self, lines: &str, before: Before) -> String {
        format!(
            "{}{}\n{lines}{}\n",
            self.first(),
            before.mark(),
            self.last()
        )
    }

    fn find(&self, text: &str) -> Result<Option<Found>, Fault> {
        let (first, last) = (self.first(), self.last());
        let mut at = 0;
        let mut begin: Option<(usize, Found)> = None;
        let mut seen: Vec<&str> = Vec::new();
        for (n, line) in text.split_inclusive('\n').enumerate() {
            let (start, end) = (at, at + line.len());
            at = end;
            let line = line.trim_end();
            let Some((_, found)) = begin.as_mut() else {
                let rest = line.strip_prefix(&first);
                let before = Before::ALL.into_iter().find(|b| Some(b.mark()) == rest);
                let found = |before| Found { start, end, before };
                begin = before.map(|before| (n + 1, found(before)));
                continue;
            };
            found.end = end;
            if line == last {
                return Ok(begin.map(|(_, found)| found));
            }
            let known = self.keywords.iter().find(|known| {
                words(line).is_some_and(|(word, _)| word.eq_ignore_ascii_case(known))
            });
            match words(line) {
                // More than one line of an option is not ours.
                Some(_) if known.is_some_and(|k| *k == "Host" || !seen.contains(k)) => {
                    seen.extend(known);
                }
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

    /// The text of a file, if there is one, with this block, in place of an older one
    /// if there is one; at the top it stands before all others.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn put(&self, file: Option<&str>, lines: &str, place: Place) -> Result<String, Fault> {
        let Some(text) = file else {
            return Ok(self.text(lines, Before::NoFile));
        };
        Ok(match (self.find(text)?, place) {
            (Some(found), Place::End) => format!(
                "{}{}{}",
                &text[..found.start],
                self.text(lines, found.before),
                &text[found.end..]
            ),
            (Some(found), Place::Top) => {
                let before = match found.before {
                    Before::NoFile => Before::NoFile,
                    _ => Before::Whole,
                };
                format!("{}{}", self.text(lines, before), without(text, &found))
            }
            (None, Place::Top) => format!("{}{text}", self.text(lines, Before::Whole)),
            (None, Place::End) if !text.is_empty() && !text.ends_with('\n') => {
                format!("{text}\n{}", self.text(lines, Before::NotEnded))
            }
            (None, Place::End) => format!("{text}{}", self.text(lines, Before::Whole)),
        })
    }

    /// This block's own text; none if there is none.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn lines<'t>(&self, text: &'t str) -> Result<Option<&'t str>, Fault> {
        Ok(self.find(text)?.map(|found| &text[found.start..found.end]))
    }

    /// What is left of a file's text without this block; none if there is no such
    /// block.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn remove(&self, text: &str) -> Result<Option<Left>, Fault> {
        Ok(self.find(text)?.map(|found| {
            let left = without(text, &found);
            match left.is_empty() && found.before == Before::NoFile {
                true => Left::Nothing,
                false => Left::Text(left),
            }
        }))
    }
}

/// What is left of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left<T = String> {
    /// A text, which may be empty.
    Text(T),
    /// Nothing: there was no file before.
    Nothing,
}

fn without(text: &str, found: &Found) -> String {
    let (before, after) = (&text[..found.start], &text[found.end..]);
    // With other lines behind it, the line above needs its end by now.
    let before = match found.before == Before::NotEnded && after.is_empty() {
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

    fn text(left: Result<Option<Left>, Fault>) -> String {
        match left {
            Ok(Some(Left::Text(text))) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_that_was_not_there_goes_and_an_empty_one_stays() {
        let new = block("x").put(None, "A 1\n", Place::End).unwrap();
        let new = block("x").put(Some(&new), "A 2\n", Place::Top).unwrap();
        assert_eq!(block("x").remove(&new), Ok(Some(Left::Nothing)));
        let empty = block("x").put(Some(""), "A 1\n", Place::End).unwrap();
        assert_eq!(text(block("x").remove(&empty)), "");
        let more = format!("{new}Host b\n");
        assert_eq!(text(block("x").remove(&more)), "Host b\n");
    }

    #[test]
    fn a_block_is_found_by_its_whole_line() {
        let put = block("x")
            .put(Some("Host a\n"), "Host *\n", Place::End)
            .unwrap();
        assert!(put.starts_with("Host a\n# begin of"));
        assert_eq!(block("x --host b").remove(&put), Ok(None));
        assert_eq!(names(&put), ["x"]);
        let removed = text(block("x").remove(&format!(" {put}")));
        assert_eq!(removed, " Host a\n");
        let indented = put.replace("# begin", " # begin");
        assert_eq!(block("x").remove(&indented), Ok(None));
    }

    #[test]
    fn without_its_end_it_is_torn() {
        let put = block("x").put(Some("a\n"), "A 1\n", Place::End).unwrap();
        let torn = put.replace("# end", "# the end");
        assert_eq!(block("x").remove(&torn), Err(Fault::Torn(2)));
        assert_eq!(
            block("x").put(Some(&torn), "A 2\n", Place::Top),
            Err(Fault::Torn(2))
        );
        let more = format!("{torn}Host b\n B 1\n");
        assert_eq!(block("x").remove(&more), Err(Fault::Torn(2)));
        let other = block("y").put(Some(&torn), "A 3\n", Place::End).unwrap();
        assert_eq!(block("x").remove(&other), Err(Fault::Torn(2)));
    }

    #[test]
    fn a_line_of_somebody_elses_is_not_thrown_away() {
        let put = block("x").put(Some(""), "Host *\n", Place::End).unwrap();
        let edited = put.replace("Host *\n", "Host *\n    ForwardAgent yes\n");
        assert_eq!(block("x").remove(&edited), Err(Fault::Foreign(3)));
        let more = put.replace("Host *\n", "Host b\nA 1\nHost *\nA 2\n");
        assert_eq!(block("x").remove(&more), Err(Fault::Foreign(5)));
    }

    #[test]
    fn what_is_added_below_stays_whole() {
        let put = block("x")
            .put(Some("Host a"), "Host *\n", Place::End)
            .unwrap();
        assert_eq!(text(block("x").remove(&put)), "Host a");
        let more = format!("{put}Host b\n");
        assert_eq!(text(block("x").remove(&more)), "Host a\nHost b\n");
    }

    #[test]
    fn the_last_one_at_the_top_stands_first() {
        let one = block("x").put(Some("c\n"), "A 1\n", Place::Top).unwrap();
        let two = block("y").put(Some(&one), "A 2\n", Place::Top).unwrap();
        assert_eq!(names(&two), ["y", "x"]);
        let again = block("x").put(Some(&two), "A 1\n", Place::Top).unwrap();
        assert_eq!(names(&again), ["x", "y"]);
        assert!(again.ends_with("\nc\n"));
    }

    proptest! {
        #[test]
        fn what_is_put_in_can_be_taken_out(
            before in "(Host \\PC{0,9}\n|\n|# x|\r\n){0,6}",
            top in any::<bool>(),
        ) {
            let (x, y) = (block("x"), block("y"));
            let place = if top { Place::Top } else { Place::End };
            let once = x.put(Some(&before), "Host *\n    A 1\n", place).unwrap();
            prop_assert_eq!(&x.put(Some(&once), "Host *\n    A 1\n", place).unwrap(), &once);
            let other = x.put(Some(&once), "Host *\n    A 2\n", place).unwrap();
            prop_assert_eq!(x.remove(&other).unwrap().unwrap(), Left::Text(before.clone()));
            let two = y.put(Some(&once), "A\n", place).unwrap();
            let second = super::tests::text(y.remove(&two));
            prop_assert_eq!(x.remove(&second).unwrap().unwrap(), Left::Text(before));
        }
    }
}
