//! `fhec eval`: the server's part.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use super::args::Common;
use super::output::Output;
use super::progress;
use crate::memory::peak_rss_bytes;
use crate::program::Program;
use crate::roles::{Server, files};

/// Run a compiled program on ciphertexts
///
/// Needs evaluation.keys alone: neither the secret key nor anything that tells about the image is on this side.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program
    #[arg(value_name = "OUT")]
    program: PathBuf,
    /// Folder with evaluation.keys
    #[arg(long, value_name = "D")]
    keys: PathBuf,
    /// Ciphertext file with the encrypted image
    #[arg(value_name = "CT")]
    input: PathBuf,
    /// Ciphertext file to write the answer to
    #[arg(short, long, value_name = "CT2")]
    output: PathBuf,
}

#[derive(Serialize)]
struct Report {
    load_seconds: f64,
    seconds: f64,
    peak_rss_bytes: Option<u64>,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let start = Instant::now();
    let program = Program::open(&args.program)?;
    let context = fhec_runtime::ring::Context::new(program.artifact.params.clone())?;
    let bundle = files::read_ciphertexts(&args.input, &context)?;
    let keys = files::read_evaluation_keys(&args.keys, &context)?;
    let server = Server::new(&program.artifact, &context, keys);
    let evaluation = server.ready()?;
    let load_seconds = start.elapsed().as_secs_f64();
    let bar = progress::bar(common, "evaluating", program.artifact.program.ops().len());
    let start = Instant::now();
    let answer = evaluation.evaluate(bundle, |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    let answer = answer?;
    let seconds = start.elapsed().as_secs_f64();
    files::write_ciphertexts(&args.output, &context, &answer)?;
    let report = Report { load_seconds, seconds, peak_rss_bytes: peak_rss_bytes() };
    let out = Output::new(common.json);
    out.json(&report)?;
    out.text(&format!(
        "{}: evaluated in {seconds:.2} s, keys loaded in {load_seconds:.1} s\n",
        args.output.display()
    ))
}
