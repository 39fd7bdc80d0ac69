//! A table without lines that fits the terminal.

use std::fmt::Display;
use std::io::{IsTerminal, stdout};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use keepalivectl::text::line;

/// A table whose cells are values.
pub struct Rows(Table);

impl Rows {
    /// An empty one.
    pub fn new(head: &[&str]) -> Rows {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(head);
        if let Some(width) = terminal_width() {
            table.set_width(width);
        }
        Rows(table)
    }

    /// Adds a row.
    pub fn row<C: Display>(&mut self, cells: impl IntoIterator<Item = C>) {
        let cells = cells
            .into_iter()
            .map(|cell| line(&cell.to_string()).into_owned());
        self.0.add_row(cells);
    }

    /// Adds a row of cells that are escaped already.
    pub(super) fn row_as_it_is<'c>(&mut self, cells: impl Iterator<Item = &'c str>) {
        self.0.add_row(cells);
    }

    /// Never breaks what is in a column: it is there to be copied.
    pub fn keep(&mut self, column: usize) {
        if let Some(kept) = self.0.column_mut(column) {
            kept.set_constraint(ColumnConstraint::ContentWidth);
        }
    }

    /// Returns true if it has no row.
    pub fn is_empty(&self) -> bool {
        self.0.row_count() == 0
    }

    /// Its lines, without the blanks at their ends.
    pub(super) fn lines(&self) -> String {
        self.0
            .lines()
            .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end()))
            .collect()
    }
}

/// The columns of the terminal, if standard output is one.
pub fn terminal_width() -> Option<u16> {
    let terminal = terminal_size::terminal_size().filter(|_| stdout().is_terminal());
    terminal.map(|(width, _)| width.0)
}
