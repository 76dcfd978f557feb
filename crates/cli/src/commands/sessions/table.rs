//! Columns for people.

#![forbid(unsafe_code)]

use anstyle::Style;

use crate::term::console::{Console, styled};

/// Writes rows in columns as wide as they need to be, below their bold heads. A column
/// whose head begins with a blank is one of numbers.
pub(crate) fn write<const N: usize>(console: &mut Console, heads: [&str; N], rows: &[[String; N]]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(heads[column].chars().count())
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (column, cell) in cells.into_iter().enumerate() {
            let width = widths[column];
            line += &match heads[column].starts_with(' ') {
                true => format!("{cell:>width$}  "),
                false => format!("{cell:width$}  "),
            };
        }
        line.trim_end().to_owned()
    };
    console.line(styled(Style::new().bold(), line(heads)));
    for row in rows {
        console.line(line(row.each_ref().map(String::as_str)));
    }
}
