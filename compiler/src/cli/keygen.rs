//! `fhec keygen`: the client's keys for one program.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use super::args::Common;
use super::output::Output;
use super::progress;
use crate::memory::{human_bytes, peak_rss_bytes};
use crate::program::Program;
use crate::roles::{Client, KeyFolder, files};

/// Make the keys that a compiled program needs
///
/// Writes secret.key (stays with the client, readable by its owner alone), public.key (encrypts) and evaluation.keys
/// (goes to the server). Existing keys are never overwritten; what a key generation
/// left that was killed is replaced.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// Folder for the keys; made if it does not exist
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Serialize)]
struct Report {
    seconds: f64,
    evaluation_keys: usize,
    memory_bytes: usize,
    evaluation_key_bytes: Option<u64>,
    peak_rss_bytes: Option<u64>,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let start = Instant::now();
    let program = Program::open(&args.program)?;
    let folder = KeyFolder::claim(&args.dir)?;
    let spinner = progress::spinner(common, "making keys");
    let context = Arc::new(fhec_runtime::ring::Context::new(program.artifact.params.clone())?);
    let client = Client::generate(&program.artifact, &context)?;
    let keys = client.evaluation_keys()?;
    folder.write(&context, client.secret(), &client.public_key()?, &keys)?;
    drop(spinner);
    let report = Report {
        seconds: start.elapsed().as_secs_f64(),
        evaluation_keys: keys.count(),
        memory_bytes: keys.bytes(),
        evaluation_key_bytes: files::evaluation_key_bytes(&args.dir),
        peak_rss_bytes: peak_rss_bytes(),
    };
    let out = Output::new(common.json);
    out.json(&report)?;
    out.text(&format!(
        "{} evaluation keys, {} in memory, {} on disk, in {:.1} s\n{}: secret.key stays with you, evaluation.keys goes to the server\n",
        report.evaluation_keys,
        human_bytes(report.memory_bytes as u64),
        report.evaluation_key_bytes.map_or("unknown size".into(), human_bytes),
        report.seconds,
        args.dir.display(),
    ))
}
