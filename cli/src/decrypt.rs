//! `fhec decrypt`: the answer in the clear.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};

use super::args::Common;
use super::output::Output;
use super::verdict::{self, Shown};
use fhec_compiler::memory::bundle_bytes;
use fhec_compiler::save;
use fhec_roles::core_dumps::keep_secrets_from_core_dumps;
use fhec_roles::verdict::REFUSED;
use fhec_roles::{Client, context, exchange};

/// Decrypt a program's answer
///
/// Refuses to name a class when the evaluation has gone wrong beyond doubt. Logits are rounded to
/// the digits that the plan's error leaves certain, because the others tell about the secret key.
/// Answers are counted in the key folder; docs/threat-model.md says why, and what a server must not
/// learn of them.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program, or the client's part of one (`fhec client`)
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// Folder with secret.key
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Ciphertext file with the answer
    #[arg(value_name = "ANSWER")]
    answer: PathBuf,
    /// How many images were encrypted [default: as many as the program takes at a time]
    #[arg(long, value_name = "N")]
    count: Option<NonZeroUsize>,
    /// Write the answers: first outputs as an array (.npy), all outputs as arrays by name (.npz),
    /// or the first output of one input as a picture (.png)
    #[arg(long, value_name = "FILE", conflicts_with = "class_only")]
    save: Option<PathBuf>,
    #[command(flatten)]
    shown: Shown,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    keep_secrets_from_core_dumps();
    args.save.as_deref().map_or(Ok(()), save::check_path)?;
    let interface = common.open_interface(&args.program)?;
    let batch = interface.batch.images;
    let count = args.count.map_or(batch, NonZeroUsize::get);
    ensure!(count <= batch, "the program answers {batch} images at a time, not {count}");
    let types = interface.answer_types();
    let bytes = types.iter().map(|ty| bundle_bytes(&interface.params, ty)).sum();
    common.require_memory("decrypting", bytes)?;
    let context = context(&interface)?;
    let secret = exchange::read_secret_key(&args.keys, &context)?;
    let bundle = exchange::read_answer(&args.answer, &context, &types)?;
    let client = Client::new(&interface, &context, secret);
    // Before the key is used: refused answers count, too.
    verdict::count_and_advise(&args.keys, &interface)?;
    let answer = client.decrypt(&bundle)?;
    if answer.overflow {
        // The same words whatever was wrong, and no numbers: they would tell the sender about the
        // key.
        bail!("{} is refused: {REFUSED}", args.answer.display());
    }
    let report = verdict::report(&interface, &answer, count, args.shown, common);
    if let Some(path) = &args.save {
        save::save(path, &verdict::outputs(&interface, &report), &interface.preprocess)?;
    }
    let out = Output::new(common.json);
    out.json(&report)?;
    verdict::print(&interface, &report, args.shown, out)
}
