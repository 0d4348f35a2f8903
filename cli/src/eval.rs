//! `fhec eval`: the server's part.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use super::args::{Checkpointing, Common};
use super::output::Output;
use super::prices::learn;
use super::{interrupt, progress};
use fhec_compiler::memory::peak_rss_bytes;
use fhec_compiler::profile::Recorder;
use fhec_roles::checkpoint::{Checkpoints, Identity};
use fhec_roles::{Server, context, exchange};

/// Run a compiled program on ciphertexts
///
/// Needs evaluation.keys alone: neither the secret key nor anything that tells about the image is
/// on this side.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program, or the server's part of one (`fhec server`)
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// Folder with evaluation.keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Ciphertext file with the encrypted image
    #[arg(value_name = "CT")]
    input: PathBuf,
    /// Ciphertext file to write the answer to; `-` for standard output
    #[arg(short, long, value_name = "ANSWER")]
    output: PathBuf,
    /// End the evaluation after so many seconds, at the next op; with a checkpoint it can be taken
    /// up again
    #[arg(long, value_name = "SECONDS")]
    deadline: Option<NonZeroU64>,
    #[command(flatten)]
    checkpointing: Checkpointing,
}

/// The checkpoint's name in its folder.
const CHECKPOINT: &str = "evaluation.checkpoint";

#[derive(Serialize)]
struct Report {
    load_seconds: f64,
    /// By all processes, where it was interrupted.
    seconds: f64,
    /// The op that a checkpoint said was the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    resumed_at_op: Option<usize>,
    peak_rss_bytes: Option<u64>,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let start = Instant::now();
    let folder = args.checkpointing.claim()?;
    let program = common.open(&args.program)?;
    common.require_memory("the evaluation", program.plan.predicted_peak_bytes)?;
    let context = context(&program.interface)?;
    let bundle = exchange::read_ciphertexts(&args.input, &context, &program.interface.input.ty)?;
    exchange::warn_of_secret_key(&args.keys);
    let keys = exchange::read_evaluation_keys(&args.keys, &context)?;
    let ops = &program.schedule;
    let mut checkpoints = folder.as_ref().map(|folder| {
        let identity = Identity::new(program.interface.program, keys.id(), &context, &bundle);
        let interval = args.checkpointing.interval();
        Checkpoints::new(folder.file(CHECKPOINT), &context, identity, ops, interval)
    });
    let session = Server::new(&program, &context)?.session(keys)?;
    let load_seconds = start.elapsed().as_secs_f64();
    let bar = progress::bar(common, "evaluating", ops.ops().len());
    let start = Instant::now();
    let resumed = checkpoints.as_mut().map(|checkpoints| checkpoints.resume(ops)).transpose()?.flatten();
    let resumed_at_op = resumed.as_ref().map(|checkpoint| checkpoint.next);
    let known = resumed.map(|checkpoint| checkpoint.values).unwrap_or_default();
    let mut recorder = Recorder::default();
    let mut observer = recorder.image(|done| bar.set_position(done as u64));
    let mut control = interrupt::control();
    if let Some(seconds) = args.deadline {
        control = control.with_deadline(start + Duration::from_secs(seconds.get()));
    }
    let answer = session.evaluate_from(bundle, known, &control, &mut observer, &mut checkpoints);
    bar.finish_and_clear();
    let answer = answer?;
    let seconds = checkpoints.as_ref().map_or(start.elapsed().as_secs_f64(), Checkpoints::seconds);
    exchange::write_ciphertexts(&args.output, &context, &answer)?;
    checkpoints.map(Checkpoints::remove).transpose()?;
    learn(&program.plan, &recorder.finish());
    let report = Report { load_seconds, seconds, resumed_at_op, peak_rss_bytes: peak_rss_bytes() };
    let out = Output::beside(common.json, &args.output);
    out.json(&report)?;
    out.text(&format!(
        "{}: evaluated in {seconds:.2} s, keys loaded in {load_seconds:.1} s\n",
        args.output.display()
    ))
}
