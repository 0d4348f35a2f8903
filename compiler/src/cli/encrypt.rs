//! `fhec encrypt`: an image becomes ciphertexts.

use std::path::PathBuf;

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
    #[arg(value_name = "OUT")]
    program: PathBuf,
    /// Folder with secret.key or public.key
    #[arg(long, value_name = "D")]
    keys: PathBuf,
    /// Image file: PNG, JPEG, .npy, .npz, CIFAR-10 records or MNIST IDX
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Which image of the file
    #[arg(long, value_name = "I", default_value_t = 0)]
    index: usize,
    /// Ciphertext file to write
    #[arg(short, long, value_name = "CT")]
    output: PathBuf,
}

#[derive(Serialize)]
struct Report {
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
    let image = images.input(args.index, &program.preprocess)?;
    let context = fhec_runtime::ring::Context::new(program.artifact.params.clone())?;
    let bundle = if files::has_secret_key(&args.keys) {
        let secret = files::read_secret_key(&args.keys, &context)?;
        Client::new(&program.artifact, &context, secret).encrypt(&image)?
    } else {
        let public = files::read_public_key(&args.keys, &context)?;
        encrypt_with_public_key(&program.artifact, &context, &public, &image)?
    };
    files::write_ciphertexts(&args.output, &context, &bundle)?;
    let bytes = std::fs::metadata(&args.output).context("the ciphertext file is gone")?.len();
    let report = Report { ciphertexts: bundle.len(), bytes };
    let out = Output::new(common.json);
    out.json(&report)?;
    out.text(&format!("{}: {} ciphertexts, {bytes} bytes\n", args.output.display(), report.ciphertexts))
}
