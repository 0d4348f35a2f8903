//! The `fhec` command line as a library: ONNX import, data files, subcommands.

pub mod data;
