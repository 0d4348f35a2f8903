//! `fhec decrypt`: the answer in the clear.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use serde::Serialize;

use super::args::Common;
use super::output::Output;
use crate::program::{Program, argmax};
use crate::roles::{Client, files};

/// Decrypt a program's answer
///
/// Refuses to name a class when the evaluation has gone wrong beyond doubt (slots out of range or far from real).
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program
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
}

/// The answer for an image.
#[derive(Clone, Serialize)]
struct Verdict {
    class: usize,
    class_name: String,
    logits: Vec<f64>,
}

#[derive(Serialize)]
struct Report {
    /// Of the first image.
    #[serde(flatten)]
    first: Verdict,
    /// Of all images, for programs of a batch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Verdict>,
    imaginary_residue: f64,
    spare_residue: f64,
    overflow: bool,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let program = Program::open(&args.program)?;
    let context = Arc::new(fhec_runtime::ring::Context::new(program.artifact.params.clone())?);
    let secret = files::read_secret_key(&args.keys, &context)?;
    let bundle = files::read_ciphertexts(&args.answer, &context)?;
    let answer = Client::new(&program.artifact, &context, secret).decrypt(&bundle)?;
    if answer.overflow {
        bail!(
            "{} decrypts to noise (imaginary residue {:.1e}): a value left its range, the keys do not belong together, \
             or the ciphertext was tampered with",
            args.answer.display(),
            answer.imaginary_residue
        );
    }
    let batch = program.batch.images;
    let count = args.count.map_or(batch, NonZeroUsize::get);
    ensure!(count <= batch, "the program answers {batch} images at a time, not {count}");
    let verdict = |logits: &[f64]| {
        let class = argmax(logits);
        Verdict { class, class_name: program.class_name(class), logits: logits.to_vec() }
    };
    let each = answer.logits.len() / batch;
    let images: Vec<Verdict> = answer.logits.chunks_exact(each).take(count).map(verdict).collect();
    let report = Report {
        first: images[0].clone(),
        images: if batch > 1 { images.clone() } else { Vec::new() },
        imaginary_residue: answer.imaginary_residue,
        spare_residue: answer.spare_residue,
        overflow: answer.overflow,
    };
    let out = Output::new(common.json);
    out.json(&report)?;
    for (index, Verdict { class, class_name, logits }) in images.iter().enumerate() {
        let image = if batch > 1 { format!("image {index}: ") } else { String::new() };
        let logits: Vec<String> = logits.iter().map(|logit| format!("{logit:.4}")).collect();
        out.text(&format!("{image}class {class} ({class_name})\nlogits {}\n", logits.join(" ")))?;
    }
    Ok(())
}
