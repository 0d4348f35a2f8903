//! `fhec encrypt`: an image becomes ciphertexts.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;

use super::args::Common;
use super::output::Output;
use crate::program::Program;
use crate::roles::{Client, encrypt_with_public_key, files};

/// Encrypt an image for a compiled program
///
/// With secret.key in the key folder the image is encrypted under it (less noise); else public.key is used.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// Folder with secret.key or public.key
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Image file: PNG, JPEG, .npy, .npz, CIFAR-10 records or MNIST IDX
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Which image of the file; for programs of a batch, the first one
    #[arg(long, value_name = "I", default_value_t = 0)]
    index: usize,
    /// How many images, up to those of the program's batch [default: all of them, as far as the file goes]
    #[arg(long, value_name = "N")]
    count: Option<NonZeroUsize>,
    /// Ciphertext file to write
    #[arg(short, long, value_name = "CT")]
    output: PathBuf,
}

#[derive(Serialize)]
struct Report {
    images: usize,
    ciphertexts: usize,
    bytes: u64,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let program = Program::open(&args.program)?;
    let images = program.open_images(&args.input)?;
    anyhow::ensure!(
        args.index < images.len(),
        "{} has {} images; there is no image {}",
        args.input.display(),
        images.len(),
        args.index
    );
    let whole = program.batch.images.min(images.len() - args.index);
    let count = args.count.map_or(whole, NonZeroUsize::get);
    anyhow::ensure!(
        count <= whole,
        "{count} images are too many: the program takes {} at a time, {} has {} from image {} on",
        program.batch.images,
        args.input.display(),
        images.len() - args.index,
        args.index
    );
    let indices = args.index..args.index + count;
    let inputs: Vec<Vec<f32>> =
        indices.map(|index| images.input(index, &program.preprocess)).collect::<Result<_, _>>()?;
    let image = inputs.concat();
    let context = Arc::new(fhec_runtime::ring::Context::new(program.artifact.params.clone())?);
    let bundle = if files::has_secret_key(&args.keys) {
        let secret = files::read_secret_key(&args.keys, &context)?;
        Client::new(&program.artifact, &context, secret).encrypt(&image)?
    } else {
        let public = Arc::new(files::read_public_key(&args.keys, &context)?);
        encrypt_with_public_key(&program.artifact, &context, &public, &image)?
    };
    files::write_ciphertexts(&args.output, &context, &bundle)?;
    let bytes = std::fs::metadata(&args.output).context("the ciphertext file is gone")?.len();
    let report = Report { images: count, ciphertexts: bundle.len(), bytes };
    let out = Output::new(common.json);
    out.json(&report)?;
    out.text(&format!("{}: {} ciphertexts, {bytes} bytes\n", args.output.display(), report.ciphertexts))
}
