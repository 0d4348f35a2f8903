//! The `fhec` command, as the wheel's script runs it.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the command line `arguments`, the program's name first, and returns the exit code.
#[pyfunction]
pub fn command_line(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| fhec_cli::main(arguments))
}
