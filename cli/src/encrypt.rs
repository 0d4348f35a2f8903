//! `fhec encrypt`: an image becomes ciphertexts.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;

use super::args::Common;
use super::output::Output;
use fhec_compiler::memory::bundle_bytes;
use fhec_compiler::program::open_images;
use fhec_roles::core_dumps::keep_secrets_from_core_dumps;
use fhec_roles::{Client, context, encrypt_with_public_key, exchange};

/// Encrypt an image for a compiled program
///
/// With secret.key in the key folder the image is encrypted under it (less noise, and half as many
/// bytes, because uniform halves are sent as seeds); else public.key is used.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program, or the client's part of one (`fhec client`)
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// Folder with secret.key or public.key
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Inputs: PNG, JPEG, a folder of them, .npy, .npz, CSV, WAV, CIFAR records or MNIST IDX
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Which image of the file; for programs of a batch, the first one
    #[arg(long, value_name = "I", default_value_t = 0)]
    index: usize,
    /// How many images, up to those of the program's batch [default: all of them, as far as the
    /// file goes]
    #[arg(long, value_name = "N")]
    count: Option<NonZeroUsize>,
    /// Ciphertext file to write; `-` for standard output
    #[arg(short, long, value_name = "CT")]
    output: PathBuf,
}

#[derive(Serialize)]
struct Report {
    /// Name of the key that it is encrypted under: that of whoever can read it.
    key: String,
    images: usize,
    ciphertexts: usize,
    bytes: u64,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    keep_secrets_from_core_dumps();
    let interface = common.open_interface(&args.program)?;
    let images = open_images(&interface, &args.input)?;
    anyhow::ensure!(
        args.index < images.len(),
        "{} has {} images; there is no image {}",
        args.input.display(),
        images.len(),
        args.index
    );
    let whole = interface.batch.images.min(images.len() - args.index);
    let count = args.count.map_or(whole, NonZeroUsize::get);
    anyhow::ensure!(
        count <= whole,
        "{count} images are too many: the program takes {} at a time, {} has {} from image {} on",
        interface.batch.images,
        args.input.display(),
        images.len() - args.index,
        args.index
    );
    let indices = args.index..args.index + count;
    let inputs: Vec<Vec<f32>> =
        indices.map(|index| images.input(index, &interface.preprocess)).collect::<Result<_, _>>()?;
    let image = inputs.concat();
    common.require_memory("encrypting", bundle_bytes(&interface.params, &interface.input.ty))?;
    let context = context(&interface)?;
    let (key, ciphertexts, bytes) = if exchange::has_secret_key(&args.keys) {
        let secret = exchange::read_secret_key(&args.keys, &context)?;
        let bundle = Client::new(&interface, &context, secret).encrypt_seeded(&image)?;
        let bytes = exchange::write_seeded_ciphertexts(&args.output, &context, &bundle)?;
        (bundle.first().map(|ciphertext| ciphertext.key()), bundle.len(), bytes)
    } else {
        let public = Arc::new(exchange::read_public_key(&args.keys, &context)?);
        let bundle = encrypt_with_public_key(&interface, &context, &public, &image)?;
        let bytes = exchange::write_ciphertexts(&args.output, &context, &bundle)?;
        (bundle.first().map(|ciphertext| ciphertext.key()), bundle.len(), bytes)
    };
    let key = key.map(|key| key.to_string()).unwrap_or_default();
    let report = Report { key, images: count, ciphertexts, bytes };
    let out = Output::beside(common.json, &args.output);
    out.json(&report)?;
    out.text(&format!(
        "{}: {} ciphertexts, {bytes} bytes, under key {}\n",
        args.output.display(),
        report.ciphertexts,
        report.key
    ))
}
