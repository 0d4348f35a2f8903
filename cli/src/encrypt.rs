//! `fhec encrypt`: an image becomes ciphertexts.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;

use super::args::Common;
use super::images::{Chosen, Selection};
use super::output::Output;
use fhec_compiler::memory::bundle_bytes;
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
    #[command(flatten)]
    images: Selection,
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
    let Chosen { numbers: image, count } = args.images.which.of(&args.images.input, &interface)?;
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
