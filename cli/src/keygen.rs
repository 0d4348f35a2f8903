//! `fhec keygen`: the client's keys for one program.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use fhec_ir::program::Interface;
use serde::Serialize;

use fhec_passes::options::ByteSize;

use super::args::Common;
use super::output::Output;
use super::progress;
use fhec_compiler::memory::{human_bytes, peak_rss_bytes};
use fhec_roles::core_dumps::keep_secrets_from_core_dumps;
use fhec_roles::{Client, KeyFolder, context, exchange};

/// Make the keys that a compiled program needs
///
/// Writes secret.key (stays with the client, readable by its owner alone), public.key (encrypts)
/// and evaluation.keys (goes to the server). Existing keys are never overwritten; what a key
/// generation left that was killed is replaced.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program, or the client's part of one (`fhec client`)
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// Folder for the keys; made if it does not exist
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Refuse programs whose evaluation keys take more memory than this [default: what memory there
    /// is]
    #[arg(long, value_name = "SIZE")]
    max_keys: Option<ByteSize>,
}

/// The keys that were made.
#[derive(Serialize)]
pub(super) struct Report {
    /// Name of the secret key; every file that belongs to it carries it.
    key: String,
    security_bits: u32,
    seconds: f64,
    evaluation_keys: usize,
    memory_bytes: usize,
    evaluation_key_bytes: Option<u64>,
    peak_rss_bytes: Option<u64>,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    keep_secrets_from_core_dumps();
    let interface = common.open_interface(&args.program)?;
    let out = Output::new(common.json);
    let report = make(&interface, &args.dir, args.max_keys, common, out)?;
    out.json(&report)?;
    out.text(&format!(
        "{}: secret.key stays with you, evaluation.keys goes to the server\n",
        args.dir.display()
    ))
}

/// Makes the keys of a program in the folder `dir`, and says what they are.
pub(super) fn make(
    interface: &Arc<Interface>,
    dir: &Path,
    max_keys: Option<ByteSize>,
    common: &Common,
    out: Output,
) -> Result<Report> {
    let start = Instant::now();
    let security_bits = interface.certificate()?.bits();
    let demand = &interface.keys;
    let bytes = demand.bytes(&interface.params);
    if let Some(ByteSize(most)) = max_keys {
        ensure!(
            bytes <= most,
            "the program asks for {} keys of {}, more than the {} of --max-keys",
            demand.count(),
            human_bytes(bytes),
            human_bytes(most)
        );
    }
    common.require_memory("making the keys", bytes)?;
    let folder = KeyFolder::claim(dir)?;
    // Said before the first key is made: what a program asks for may be more than anybody wants to
    // give.
    out.text(&format!(
        "{} evaluation keys of {} in memory, at {} bits of security\n",
        demand.count(),
        human_bytes(bytes),
        security_bits
    ))?;
    let spinner = progress::spinner(common, "making keys");
    let context = context(interface)?;
    let client = Client::generate(interface, &context)?;
    let keys = client.evaluation_keys()?;
    folder.write(&context, client.secret(), &client.public_key()?, &keys)?;
    drop(spinner);
    let report = Report {
        key: keys.id().to_string(),
        security_bits,
        seconds: start.elapsed().as_secs_f64(),
        evaluation_keys: keys.count(),
        memory_bytes: keys.bytes(),
        evaluation_key_bytes: exchange::evaluation_key_bytes(dir),
        peak_rss_bytes: peak_rss_bytes(),
    };
    out.text(&format!(
        "key {}: {} evaluation keys, {} on disk, made in {:.1} s\n",
        report.key,
        report.evaluation_keys,
        report.evaluation_key_bytes.map_or("unknown size".into(), human_bytes),
        report.seconds,
    ))?;
    Ok(report)
}
