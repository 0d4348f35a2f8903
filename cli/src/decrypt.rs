//! `fhec decrypt`: the answer in the clear.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use fhec_ir::program::{Ending, Interface, Port};
use serde::Serialize;

use super::args::Common;
use super::output::Output;
use fhec_compiler::memory::bundle_bytes;
use fhec_compiler::program::{argmax, rounded};
use fhec_compiler::save;
use fhec_roles::answers::{advised_answers, count_answer};
use fhec_roles::core_dumps::keep_secrets_from_core_dumps;
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
    /// Print the class alone
    #[arg(long)]
    class_only: bool,
    /// Print all digits of the logits: never for anybody but the owner of the key
    #[arg(long, conflicts_with = "class_only")]
    raw: bool,
}

/// The numbers of one output.
#[derive(Clone, Serialize)]
struct OutputValues {
    name: String,
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// The answer for an image.
#[derive(Clone, Serialize)]
struct Verdict {
    class: usize,
    class_name: String,
    /// Outputs after the first, without `--class-only`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_outputs: Vec<OutputValues>,
    /// Without `--class-only`.
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<Vec<f64>>,
}

#[derive(Serialize)]
struct Report {
    /// Of the first image.
    #[serde(flatten)]
    first: Verdict,
    /// Of all images, for programs of a batch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Verdict>,
    /// What logits are multiples of; without `--raw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    logit_step: Option<f64>,
    /// With `--verbose`, as they are functions of the error alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    imaginary_residue: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spare_residue: Option<f64>,
    overflow: bool,
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
    count_and_advise(&args.keys, &interface)?;
    let answer = client.decrypt(&bundle)?;
    if answer.overflow {
        // The same words whatever was wrong, and no numbers: they would tell the sender about the
        // key.
        bail!(
            "{} is refused: it is no answer of this program that these keys can read, or a value left its range; \
             do not tell the server (docs/threat-model.md)",
            args.answer.display()
        );
    }
    let step = (!args.raw).then(|| interface.certain_step());
    if args.raw {
        tracing::warn!(
            "raw logits tell about the secret key: do not show them to anybody who does not own it (docs/threat-model.md)"
        );
    }
    let verdict = |image: usize| {
        let of_image = |values: &[f64]| -> Vec<f64> {
            let each = values.len() / batch;
            let shown = values[image * each..][..each].iter();
            shown.map(|&value| step.map_or(value, |step| rounded(value, step))).collect()
        };
        let others = interface.outputs.iter().zip(&answer.outputs).skip(1).map(|(port, values)| {
            let (name, shape) = (port.name.clone(), port.shape.clone());
            OutputValues { name, shape, values: of_image(values) }
        });
        let each = answer.logits().len() / batch;
        let class = argmax(&answer.logits()[image * each..][..each]);
        Verdict {
            class,
            class_name: interface.class_name(class),
            other_outputs: if args.class_only { Vec::new() } else { others.collect() },
            logits: (!args.class_only).then(|| of_image(answer.logits())),
        }
    };
    let images: Vec<Verdict> = (0..count).map(verdict).collect();
    if let Some(path) = &args.save {
        save::save(path, &saved(&interface, &images), &interface.preprocess)?;
    }
    let verbose = common.verbose > 0;
    let report = Report {
        first: images[0].clone(),
        images: if batch > 1 { images.clone() } else { Vec::new() },
        logit_step: step.filter(|_| !args.class_only),
        imaginary_residue: verbose.then_some(answer.imaginary_residue),
        spare_residue: verbose.then_some(answer.spare_residue),
        overflow: answer.overflow,
    };
    let out = Output::new(common.json);
    out.json(&report)?;
    let first = interface.output();
    let what = match first.ending {
        _ if !first.is_class_list() => "values",
        Ending::Nothing => "logits",
        Ending::Softmax => "probabilities",
        Ending::LogSoftmax => "log-probabilities",
    };
    let words = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<String>>().join(" ");
    for (index, Verdict { class, class_name, logits, other_outputs }) in images.iter().enumerate() {
        let image = if batch > 1 { format!("image {index}: ") } else { String::new() };
        if first.is_class_list() || args.class_only {
            out.text(&format!("{image}class {class} ({class_name})\n"))?;
        }
        if let Some(logits) = logits {
            out.text(&format!("{what} {}\n", words(logits)))?;
        }
        for OutputValues { name, shape, values } in other_outputs {
            out.text(&format!("{image}output {name} {shape:?} {}\n", words(values)))?;
        }
    }
    Ok(())
}

/// The answers of all images, output by output.
fn saved(interface: &Interface, images: &[Verdict]) -> Vec<save::Output> {
    let output = |(index, port): (usize, &Port)| {
        let of_image = |image: &Verdict| match index.checked_sub(1) {
            None => image.logits.clone().unwrap_or_default(),
            Some(other) => image.other_outputs[other].values.clone(),
        };
        let (name, shape) = (port.name.clone(), port.shape.clone());
        save::Output { name, shape, values: images.iter().flat_map(of_image).collect() }
    };
    interface.outputs.iter().enumerate().map(output).collect()
}

/// Counts one more answer in the key folder `keys`, and says where that is enough for one key.
fn count_and_advise(keys: &Path, interface: &Interface) -> Result<()> {
    let advised = advised_answers(&interface.params, &interface.certificate()?);
    match count_answer(keys) {
        Ok(answers) if answers > advised => tracing::warn!(
            "these keys have decrypted {answers} answers: after {advised} new ones are advised if the server learns anything of them \
             (docs/threat-model.md)"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!("answers cannot be counted in {}: {error}", keys.display()),
    }
    Ok(())
}
