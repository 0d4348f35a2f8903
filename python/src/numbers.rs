//! Numbers that go to Python.

use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

/// Rows of equal length as an array `[rows, length]`.
pub fn rows<'py>(py: Python<'py>, rows: Vec<Vec<f64>>) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let shape = [rows.len(), rows.first().map_or(0, Vec::len)];
    PyArray1::from_vec(py, rows.concat()).reshape(shape)
}

/// The 95 % confidence interval of a share of which `part` of `count` were seen, after Wilson.
#[pyfunction]
pub fn wilson(part: usize, count: usize) -> (f64, f64) {
    fhec::wilson(part, count).into()
}
