//! A table that may have a hundred thousand rows: laid out at once where they fit
//! the terminal, and by comfy-table, which breaks them, where they do not.

use std::borrow::Cow;
use std::fmt::{Display, Write};

use keepalivectl::text::line;

use super::rows::terminal_width;
use super::{Rows, Text};

/// Between two columns.
const GAP: usize = 2;

/// A table in the making.
pub struct Grid {
    head: Vec<&'static str>,
    /// The text of all cells, row by row.
    text: String,
    /// Where each ends in it.
    ends: Vec<usize>,
    widths: Vec<usize>,
}

impl Grid {
    /// An empty one.
    pub fn new(head: Vec<&'static str>) -> Grid {
        Grid {
            widths: head.iter().map(|title| title.len()).collect(),
            head,
            text: String::new(),
            ends: Vec::new(),
        }
    }

    /// Adds the next cell.
    pub fn cell(&mut self, content: impl Display) {
        let width = self.value(content);
        self.end(width);
    }

    /// Adds the next cell, with one value below the other.
    pub fn stacked(&mut self, above: impl Display, below: impl Display) {
        let above = self.value(above);
        self.text.push('\n');
        let below = self.value(below);
        self.end(above.max(below));
    }

    /// Adds a value and says how wide it is.
    fn value(&mut self, content: impl Display) -> usize {
        let start = self.text.len();
        // Writing to a String does not fail.
        let _ = write!(self.text, "{content}");
        if let Cow::Owned(escaped) = line(&self.text[start..]) {
            self.text.truncate(start);
            self.text.push_str(&escaped);
        }
        self.text[start..].chars().count()
    }

    fn end(&mut self, width: usize) {
        let column = self.ends.len() % self.head.len();
        self.widths[column] = self.widths[column].max(width);
        self.ends.push(self.text.len());
    }

    /// Whether the terminal is as wide as its rows.
    pub fn fits(&self) -> bool {
        terminal_width().is_none_or(|terminal| usize::from(terminal) >= self.width())
    }

    fn width(&self) -> usize {
        self.widths.iter().sum::<usize>() + GAP * (self.widths.len() - 1)
    }

    fn cells(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.text[start..*end])
    }

    /// The table, in which nothing is broken.
    pub fn straight(&self) -> Text {
        let width = self.width();
        let mut text = String::with_capacity((width + 1) * (1 + self.ends.len() / self.head.len()));
        let columns = self.widths.iter().enumerate().cycle();
        for (cell, (column, width)) in self.head.iter().copied().chain(self.cells()).zip(columns) {
            if column + 1 < self.widths.len() {
                let _ = write!(text, "{cell:<0$}", width + GAP);
            } else {
                text.push_str(cell);
                text.truncate(text.trim_end_matches(' ').len());
                text.push('\n');
            }
        }
        Text(text)
    }

    /// The table for a terminal that is too narrow: all but one column may be
    /// broken.
    pub fn broken(&self, whole: &str) -> Text {
        let mut rows = Rows::new(&self.head);
        let mut cells = self.cells();
        for _ in 0..self.ends.len() / self.head.len() {
            rows.row_as_it_is(cells.by_ref().take(self.head.len()));
        }
        if let Some(column) = self.head.iter().position(|title| *title == whole) {
            rows.keep(column);
        }
        Text(rows.lines())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_give_the_same_where_nothing_is_broken() {
        let mut grid = Grid::new(vec!["NAME", "B", "LAST"]);
        for cell in ["a", "longer than b", "", "né", "-", "x y"] {
            grid.cell(cell);
        }
        assert_eq!(
            grid.straight().as_str(),
            "NAME  B              LAST\na     longer than b\nné    -              x y\n"
        );
        assert_eq!(grid.straight().as_str(), grid.broken("B").as_str());
    }
}
