//! What a decrypted answer says: classes and logits, rounded to the digits that are certain.

use std::path::Path;

use anyhow::Result;
use fhec_compiler::program::{argmax, rounded, tied_with_argmax};
use fhec_compiler::save;
use fhec_ir::program::{Interface, Port};
use fhec_roles::Answer;
use fhec_roles::answers::{advised_answers, count_answer};
use serde::Serialize;

use super::args::Common;
use super::output::Output;

/// How much of an answer is shown.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Shown {
    /// Print the class alone
    #[arg(long)]
    pub class_only: bool,
    /// Print all digits of the logits: never for anybody but the owner of the key
    #[arg(long, conflicts_with = "class_only")]
    pub raw: bool,
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
    /// Other classes whose rounded logit is as large.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tied_classes: Vec<usize>,
    /// Outputs after the first, without `--class-only`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_outputs: Vec<OutputValues>,
    /// Without `--class-only`.
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<Vec<f64>>,
}

/// The answers for all images.
#[derive(Serialize)]
pub struct Report {
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

/// The report of `answer`, which is intact, for the first `count` images.
pub fn report(interface: &Interface, answer: &Answer, count: usize, shown: Shown, common: &Common) -> Report {
    let batch = interface.batch.images;
    let step = (!shown.raw).then(|| interface.certain_step());
    if shown.raw {
        tracing::warn!(
            "raw logits tell about the secret key: do not show them to anybody who does not own it (docs/threat-model.md)"
        );
    }
    let verdict = |image: usize| {
        let of_image = |values: &[f64]| -> Vec<f64> {
            let each = values.len() / batch;
            let part = values[image * each..][..each].iter();
            part.map(|&value| step.map_or(value, |step| rounded(value, step))).collect()
        };
        let others = interface.outputs.iter().zip(&answer.outputs).skip(1).map(|(port, values)| {
            let (name, shape) = (port.name.clone(), port.shape.clone());
            OutputValues { name, shape, values: of_image(values) }
        });
        // Of what is shown: a tie that hidden digits break would show something of them.
        let logits = of_image(answer.logits());
        let class = argmax(&logits);
        Verdict {
            class,
            tied_classes: tied_with_argmax(&logits),
            class_name: interface.class_name(class),
            other_outputs: if shown.class_only { Vec::new() } else { others.collect() },
            logits: (!shown.class_only).then_some(logits),
        }
    };
    let images: Vec<Verdict> = (0..count).map(verdict).collect();
    let verbose = common.verbose > 0;
    Report {
        first: images[0].clone(),
        images: if batch > 1 { images.clone() } else { Vec::new() },
        logit_step: step.filter(|_| !shown.class_only),
        imaginary_residue: verbose.then_some(answer.imaginary_residue),
        spare_residue: verbose.then_some(answer.spare_residue),
        overflow: answer.overflow,
    }
}

/// The answers of all images of a report with logits, output by output.
pub fn outputs(interface: &Interface, report: &Report) -> Vec<save::Output> {
    let one = std::slice::from_ref(&report.first);
    let images = if report.images.is_empty() { one } else { &report.images };
    let output = |(index, port): (usize, &Port)| {
        let of_image = |image: &Verdict| match index.checked_sub(1) {
            None => image.logits.clone().unwrap_or_default(),
            Some(other) => image.other_outputs[other].values.clone(),
        };
        let (name, shape) = (port.name.clone(), port.shape.clone());
        let classes = port.ending.classes_of_places();
        save::Output { name, shape, classes, values: images.iter().flat_map(of_image).collect() }
    };
    interface.outputs.iter().enumerate().map(output).collect()
}

/// So many classes that share the largest logit are named.
const MOST_TIED: usize = 5;

/// What is said of classes that have the largest logit, too, where there are such.
pub fn tied(interface: &Interface, classes: &[usize]) -> String {
    let named = classes.iter().take(MOST_TIED).map(|&class| interface.class_name(class));
    let more = (classes.len() > MOST_TIED).then(|| format!("{} more", classes.len() - MOST_TIED));
    let names: Vec<String> = named.chain(more).collect();
    match &names[..] {
        [] => String::new(),
        names => format!(", or as well, by the digits that are certain: {}", names.join(", ")),
    }
}

/// Prints a report as text.
pub fn print(interface: &Interface, report: &Report, shown: Shown, out: Output) -> Result<()> {
    let batch = interface.batch.images;
    let one = std::slice::from_ref(&report.first);
    let images = if batch > 1 { &report.images[..] } else { one };
    let first = interface.output();
    let what = first.numbers();
    let words = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<String>>().join(" ");
    for (index, Verdict { class, class_name, tied_classes, logits, other_outputs }) in
        images.iter().enumerate()
    {
        let image = if batch > 1 { format!("image {index}: ") } else { String::new() };
        if first.is_class_list() || shown.class_only {
            let tied = tied(interface, tied_classes);
            out.text(&format!("{image}class {class} ({class_name}){tied}\n"))?;
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

/// Counts one more answer in the key folder `keys`, and says where that is enough for one key.
pub fn count_and_advise(keys: &Path, interface: &Interface) -> Result<()> {
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
