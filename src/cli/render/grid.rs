//! A table that may have a hundred thousand rows: laid out at once where they fit
//! the terminal, and by comfy-table, which breaks them, where they do not.

use std::fmt::{Display, Write};

use comfy_table::ColumnConstraint;

use super::{lines, table, terminal_width};

/// Between two columns.
const GAP: usize = 2;

/// A table in the making.
pub(super) struct Grid {
    head: Vec<&'static str>,
    /// The text of all cells, row by row.
    text: String,
    /// Where each ends in it.
    ends: Vec<usize>,
    widths: Vec<usize>,
}

impl Grid {
    pub(super) fn new(head: Vec<&'static str>) -> Grid {
        Grid {
            widths: head.iter().map(|title| title.len()).collect(),
            head,
            text: String::new(),
            ends: Vec::new(),
        }
    }

    /// Adds the next cell.
    pub(super) fn cell(&mut self, content: impl Display) {
        let start = self.text.len();
        // Writing to a String does not fail.
        let _ = write!(self.text, "{content}");
        let column = self.ends.len() % self.head.len();
        let lines = self.text[start..].lines();
        let width = lines.map(|line| line.chars().count()).max().unwrap_or(0);
        self.widths[column] = self.widths[column].max(width);
        self.ends.push(self.text.len());
    }

    /// Whether the terminal is as wide as its rows.
    pub(super) fn fits(&self) -> bool {
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
    pub(super) fn straight(&self) -> String {
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
        text
    }

    /// The table for a terminal that is too narrow: all but one column may be
    /// broken.
    pub(super) fn broken(&self, whole: &str) -> String {
        let mut rows = table(&self.head);
        let mut cells = self.cells();
        for _ in 0..self.ends.len() / self.head.len() {
            rows.add_row(cells.by_ref().take(self.head.len()));
        }
        let column = self.head.iter().position(|title| *title == whole);
        if let Some(kept) = column.and_then(|column| rows.column_mut(column)) {
            kept.set_constraint(ColumnConstraint::ContentWidth);
        }
        lines(&rows)
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
            grid.straight(),
            "NAME  B              LAST\na     longer than b\nné    -              x y\n"
        );
        assert_eq!(grid.straight(), grid.broken("B"));
    }
}
