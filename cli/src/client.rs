//! `fhec client`: the client's part of a program.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::args::Common;
use super::output::Output;
use fhec_compiler::memory::human_bytes;
use fhec_compiler::program::write_interface;

/// Write the client's part of a compiled program
///
/// What keygen, encrypt and decrypt need, and no more: parameters, layouts, the list of keys,
/// normalisation, names of classes. No weights, no layers, no plan. Of the model it tells the
/// shapes of input and output, the parameters, and which rotations its layers take.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// File to write; `-` for standard output
    #[arg(short, long, value_name = "CLIENT")]
    output: PathBuf,
}

#[derive(Serialize)]
struct Report {
    /// Name of the program, which its schedule and weights have.
    program: String,
    security_bits: u32,
    bytes: u64,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let interface = common.open_interface(&args.program)?;
    let bytes = write_interface(&interface, &args.output)?;
    let security_bits = interface.certificate()?.bits();
    let report = Report { program: interface.program.to_string(), security_bits, bytes };
    let out = Output::beside(common.json, &args.output);
    out.json(&report)?;
    out.text(&format!(
        "{}: {} for clients of program {}, {security_bits} bits of security\n",
        args.output.display(),
        human_bytes(bytes),
        report.program
    ))
}
