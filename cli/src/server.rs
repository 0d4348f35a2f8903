//! `fhec server`: the server's part of a program.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::args::Common;
use super::output::Output;
use fhec_compiler::memory::human_bytes;
use fhec_compiler::program::{open, write};

/// Write the server's part of a compiled program
///
/// What eval needs: the scheduled function with its encoded weights, and the plan. Without the
/// plain network, so that `run` and `simulate` do not work with it.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// File to write; `-` for standard output
    #[arg(short, long, value_name = "SERVER")]
    output: PathBuf,
}

#[derive(Serialize)]
struct Report {
    /// Name of the program, which its schedule and weights have.
    program: String,
    bytes: u64,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let program = open(&args.program, common.min_security)?.without_reference();
    let bytes = write(&program, &args.output)?;
    let report = Report { program: program.interface.program.to_string(), bytes };
    let out = Output::beside(common.json, &args.output);
    out.json(&report)?;
    out.text(&format!(
        "{}: {} for servers of program {}\n",
        args.output.display(),
        human_bytes(bytes),
        report.program
    ))
}
