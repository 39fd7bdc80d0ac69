//! Texts for people, which hold no control character but our own.
//!
//! A [`Text`] is all that can be printed, and there are only two ways into it: what
//! is written in this program, and values, which are escaped and stay on their line.
//! So no name can steer the terminal or pretend to be another line, whoever renders
//! it, and nobody has to think of it.

mod grid;
mod rows;

use std::fmt::{Display, Write};

use anstyle::{AnsiColor, Color, Style};
use keepalivectl::text::line;

pub use grid::Grid;
pub use rows::{Rows, terminal_width};

const BOLD: Style = Style::new().bold();
const WARN: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Yellow)));

/// Text for people.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// With the answer as its first line.
    pub fn answer(answer: impl Display) -> Text {
        Text(format!("{BOLD}{}{BOLD:#}\n", line(&answer.to_string())))
    }

    /// With lines of our own.
    pub fn of(ours: &'static str) -> Text {
        Text(ours.to_owned())
    }

    /// Adds one line, whatever is in it.
    pub fn line(&mut self, content: impl Display) {
        self.part(content);
        self.0.push('\n');
    }

    /// Adds a part of a line.
    pub fn part(&mut self, content: impl Display) {
        self.0.push_str(&line(&content.to_string()));
    }

    /// Adds lines of our own, as they are.
    pub fn ours(&mut self, lines: &'static str) {
        self.0.push_str(lines);
    }

    /// Adds lines of a file.
    pub fn lines_of(&mut self, file: &str) {
        for content in file.lines() {
            // Tabs steer nothing, and are what a diff is about.
            for (n, part) in content.split('\t').enumerate() {
                self.0.push_str(if n > 0 { "\t" } else { "" });
                self.part(part);
            }
            self.0.push('\n');
        }
    }

    /// Adds a table.
    pub fn table(&mut self, rows: &Rows) {
        self.0.push_str(&rows.lines());
    }

    /// Adds a table without its header, which is empty.
    pub fn body(&mut self, rows: &Rows) {
        let table = rows.lines();
        self.0
            .push_str(table.split_once('\n').map_or("", |(_, body)| body));
    }

    /// Adds warnings, one line each.
    pub fn warnings<W: Display>(&mut self, warnings: impl IntoIterator<Item = W>) {
        for warning in warnings {
            // Writing to a String does not fail.
            let _ = write!(self.0, "{WARN}warning:{WARN:#} ");
            self.line(warning);
        }
    }

    /// Adds another text.
    pub fn text(&mut self, other: &Text) {
        self.0.push_str(&other.0);
    }

    /// With an empty line before it, unless it is empty.
    pub fn apart(self) -> Text {
        match self.0.is_empty() {
            true => self,
            false => Text(format!("\n{}", self.0)),
        }
    }

    /// As it is printed, with the style for a terminal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that would clear the screen, go on in another line and turn the rest
    /// around.
    const EVIL: &str = "a\x1b[2J\nwarning: b\u{202e}\u{9b}1m";
    const SHOWN: &str = r"a\x1b[2J\nwarning: b\u{202e}\u{9b}1m";

    /// What is left without our own style.
    fn unstyled(text: &Text) -> String {
        anstream::adapter::strip_str(text.as_str()).to_string()
    }

    #[test]
    fn no_value_leaves_its_line_or_steers() {
        let mut text = Text::answer(EVIL);
        text.line(EVIL);
        text.warnings([EVIL]);
        text.lines_of("a\tb\n+\x1b\u{85}\n");
        assert_eq!(
            unstyled(&text),
            format!("{SHOWN}\n{SHOWN}\nwarning: {SHOWN}\na\tb\n+\\x1b\\u{{85}}\n")
        );
        let ours = [BOLD, WARN].map(|style| style.render().to_string());
        let escapes = text.as_str().matches('\x1b').count();
        assert_eq!(escapes, 4);
        assert!(ours.iter().all(|style| text.as_str().contains(style)));
    }

    #[test]
    fn no_cell_leaves_its_row() {
        let mut rows = Rows::new(&["NAME", "B"]);
        rows.row([EVIL, "b"]);
        let mut table = Text::default();
        table.table(&rows);
        let width = SHOWN.chars().count();
        assert_eq!(
            unstyled(&table),
            format!("{:width$}  B\n{SHOWN}  b\n", "NAME")
        );
        let mut grid = Grid::new(vec!["NAME", "B"]);
        grid.cell(EVIL);
        grid.cell("b");
        assert_eq!(grid.straight().as_str(), table.as_str());
        assert_eq!(grid.broken("NAME").as_str(), table.as_str());
    }
}
