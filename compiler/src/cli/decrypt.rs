//! `fhec decrypt`: the answer in the clear.

use std::path::PathBuf;

use anyhow::{Result, bail};
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
    #[arg(value_name = "OUT")]
    program: PathBuf,
    /// Folder with secret.key
    #[arg(long, value_name = "D")]
    keys: PathBuf,
    /// Ciphertext file with the answer
    #[arg(value_name = "CT2")]
    answer: PathBuf,
}

#[derive(Serialize)]
struct Report {
    class: usize,
    class_name: String,
    logits: Vec<f64>,
    imaginary_residue: f64,
    spare_residue: f64,
    overflow: bool,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let program = Program::open(&args.program)?;
    let context = fhec_runtime::ring::Context::new(program.artifact.params.clone())?;
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
    let class = argmax(&answer.logits);
    let report = Report {
        class,
        class_name: program.class_name(class),
        logits: answer.logits,
        imaginary_residue: answer.imaginary_residue,
        spare_residue: answer.spare_residue,
        overflow: answer.overflow,
    };
    let out = Output::new(common.json);
    out.json(&report)?;
    let logits: Vec<String> = report.logits.iter().map(|logit| format!("{logit:.4}")).collect();
    out.text(&format!("class {} ({})\nlogits {}\n", report.class, report.class_name, logits.join(" ")))
}
