//! CSV: the numbers of one input per line, in the network's order, separated by commas, semicolons
//! or tabs.
//!
//! A first line that is no numbers names the columns. The one called `label`, `class`, `target` or
//! `y` holds classes, the others the input.

use csv::{ReaderBuilder, StringRecord, Trim};

use super::{Dataset, ImageShape, Problem, Samples};

/// Names of the column of classes.
const LABELS: [&str; 4] = ["label", "class", "target", "y"];

pub(super) fn read(bytes: &[u8], expected: ImageShape) -> Result<Dataset, Problem> {
    let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let delimiter = [b',', b';', b'\t'].into_iter().find(|byte| first.contains(byte)).unwrap_or(b',');
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .delimiter(delimiter)
        .comment(Some(b'#'))
        .trim(Trim::All)
        .from_reader(bytes);
    let count: usize = expected.iter().product();
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    let mut label_column = None;
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(|error| Problem::Table { reason: error.to_string() })?;
        let line = record.position().map_or(index as u64 + 1, csv::Position::line);
        if index == 0 && record.iter().any(|field| field.parse::<f64>().is_err()) {
            label_column = record.iter().position(is_label);
            continue;
        }
        let columns = record.len() - usize::from(label_column.is_some());
        if columns != count {
            return Err(Problem::Columns { line, columns, expected });
        }
        for (column, field) in record.iter().enumerate() {
            if Some(column) == label_column {
                labels.push(label(field, line)?);
            } else {
                values.push(number(field, line, &record)?);
            }
        }
    }
    Dataset::new(expected, Samples::Values(values), label_column.map(|_| labels))
}

fn is_label(name: &str) -> bool {
    LABELS.contains(&name.to_lowercase().as_str())
}

fn number(field: &str, line: u64, record: &StringRecord) -> Result<f32, Problem> {
    let number = field.parse().ok().filter(|value: &f32| value.is_finite());
    number.ok_or_else(|| {
        let column = record.iter().position(|other| other == field).unwrap_or(0) + 1;
        let reason = format!("line {line}, column {column} holds `{field}`, which is no finite number");
        Problem::Table { reason }
    })
}

/// A class; tables often have it as `3.0`.
fn label(field: &str, line: u64) -> Result<u32, Problem> {
    let number = field.parse().ok().filter(|value: &f64| value.fract() == 0.0);
    let class = number.filter(|value| (0.0..=f64::from(u32::MAX)).contains(value));
    let reason = || format!("line {line} holds the class `{field}`, which is no whole number from 0");
    Ok(class.ok_or_else(|| Problem::Table { reason: reason() })? as u32)
}
