//! Columns of text.

/// A table: numbers to the right, words to the left.
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

#[derive(Clone, Debug)]
struct Column {
    title: &'static str,
    right: bool,
}

impl Table {
    /// A table of columns with these titles; those that start with `<` are words.
    pub fn new(titles: &[&'static str]) -> Self {
        let column = |title: &&'static str| match title.strip_prefix('<') {
            Some(title) => Column { title, right: false },
            None => Column { title, right: true },
        };
        Table { columns: titles.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Appends a row.
    ///
    /// # Panics
    /// If it has not one cell per column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.columns.len(), "a cell per column");
        self.rows.push(cells);
    }

    /// Titles in order, each with whether its cells are numbers.
    pub fn titles(&self) -> impl Iterator<Item = (&'static str, bool)> + '_ {
        self.columns.iter().map(|column| (column.title, column.right))
    }

    /// Rows in order.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// As lines, columns aligned, two blanks between them, none at the end of lines.
    pub fn text(&self) -> String {
        let width = |(index, column): (usize, &Column)| {
            let cells = self.rows.iter().map(|row| row[index].chars().count());
            cells.chain([column.title.chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = self.columns.iter().enumerate().map(width).collect();
        let titles: Vec<String> = self.columns.iter().map(|column| column.title.to_string()).collect();
        let mut text = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let cell = |((cell, column), width): ((&String, &Column), &usize)| match column.right {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            };
            let cells: Vec<String> = row.iter().zip(&self.columns).zip(&widths).map(cell).collect();
            text += cells.join("  ").trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["n", "<word", "ms"]);
        table.row(["1".into(), "ä".into(), "10.5".into()]);
        table.row(["200".into(), "longer".into(), "".into()]);
        assert_eq!(table.text(), "  n  word      ms\n  1  ä       10.5\n200  longer\n");
    }
}
