//! `fhec run`: encrypt, evaluate and decrypt on one machine, beside the plain network.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use fhec_ir::program::{Interface, Port, Program};
use fhec_passes::options::CompileOptions;
use fhec_runtime::exec::ProgramKeys;
use fhec_runtime::ring::Context as RingContext;
use rayon::prelude::*;
use serde::Serialize;

use super::args::{Checkpointing, Common};
use super::output::Output;
use super::prices::{elsewhere, learn};
use super::verdict::tied;
use super::{interrupt, progress};
use fhec_compiler::build;
use fhec_compiler::data::Dataset;
use fhec_compiler::embedded::Example;
use fhec_compiler::error::RehearsalError;
use fhec_compiler::layer_errors::{Inspector, LayerError};
use fhec_compiler::memory::{human_bytes, peak_rss_bytes};
use fhec_compiler::profile::{OpTime, Recorder, layer_seconds, write_trace};
use fhec_compiler::program::{
    argmax, image_shape, open_images, reference_outputs, rounded, tied_with_argmax,
};
use fhec_compiler::report::layer_errors::layer_errors;
use fhec_compiler::report::measured::{MeasuredLayer, measured, measured_layers};
use fhec_compiler::report::summary::human_seconds;
use fhec_compiler::save;
use fhec_roles::checkpoint::{CheckpointFolder, Checkpoints, Identity};
use fhec_roles::core_dumps::keep_secrets_from_core_dumps;
use fhec_roles::{Client, KeyFolder, Server, context, exchange};

/// Classify images under encryption, all roles on this machine
///
/// Makes fresh keys, encrypts each image, runs the program on ciphertexts, decrypts, and prints the
/// logits beside those of the plain network with its exact activations. Without arguments: a
/// ResNet-20 that comes with the program, and a picture.
///
/// With --checkpoint the keys are kept in DIR/keys as `fhec keygen` keeps them, secret.key readable
/// by its owner alone, so that what is computed already can be decrypted after an interruption. The
/// last checkpoint of each image is its answer; remove the folder when it has served.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program; default: a network that comes with this one, compiled on the spot
    #[arg(value_name = "PROGRAM")]
    program: Option<PathBuf>,
    /// Which of the networks that come with this program
    #[arg(long, value_enum, default_value_t = Example::Resnet20, conflicts_with = "program")]
    example: Example,
    /// Security level in bits at which it is compiled
    #[arg(long, value_name = "BITS", default_value = "128", value_parser = ["98", "128"], conflicts_with = "program")]
    security: String,
    /// Inputs: PNG, JPEG, a folder of them, .npy, .npz, CSV, WAV, CIFAR records or MNIST IDX
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// First image of the file
    #[arg(long, value_name = "I", default_value_t = 0)]
    index: usize,
    /// How many images
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: usize,
    /// Record every op: a trace for ui.perfetto.dev or chrome://tracing, and a table of measured
    /// and predicted time per layer
    #[arg(long, value_name = "TRACE.json")]
    profile: Option<PathBuf>,
    /// Write the answers: first outputs as an array (.npy), all outputs as arrays by name (.npz),
    /// or the first output of one input as a picture (.png)
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// With --checkpoint: print all digits of the logits. The key is kept then, and digits beyond
    /// those that are certain tell about it; without --checkpoint it is gone with the run, and all
    /// digits are printed anyway
    #[arg(long)]
    raw: bool,
    /// Decrypt the result of every layer and print its error in bits, against the program without
    /// noise and against the plain network, beside what was predicted; times then include the
    /// decryptions. For debugging where the secret key is: `fhec eval` has none and cannot do it
    #[arg(long)]
    layer_errors: bool,
    #[command(flatten)]
    checkpointing: Checkpointing,
}

/// Images whose logits are printed one by one.
const MOST_TABLES: usize = 20;

#[derive(Serialize)]
struct Report {
    images: Vec<ImageReport>,
    /// Images that one evaluation answers.
    batch: usize,
    /// Evaluations, and the seconds of all of them.
    runs: usize,
    seconds: f64,
    keygen_seconds: f64,
    key_bytes: usize,
    predicted_seconds: f64,
    predicted_peak_bytes: u64,
    peak_rss_bytes: Option<u64>,
    /// With `--profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<MeasuredLayer>>,
}

#[derive(Serialize)]
struct ImageReport {
    index: usize,
    class: usize,
    /// Other classes whose rounded logit is as large.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tied_classes: Vec<usize>,
    logits: Vec<f64>,
    reference_class: usize,
    reference_logits: Vec<f64>,
    /// Outputs after the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_outputs: Vec<OutputReport>,
    label: Option<u32>,
    /// Of the evaluation, which answers all images of a batch; of all processes, where it was
    /// interrupted.
    seconds: f64,
    /// The op that a checkpoint said was the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    resumed_at_op: Option<usize>,
    /// With `--verbose`, as they are functions of the error alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    imaginary_residue: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spare_residue: Option<f64>,
    overflow: bool,
    /// With `--layer-errors`.
    #[serde(skip_serializing_if = "Option::is_none")]
    layer_errors: Option<Vec<LayerError>>,
}

/// The numbers of one output, under encryption and of the plain network.
#[derive(Serialize)]
struct OutputReport {
    name: String,
    shape: Vec<usize>,
    values: Vec<f64>,
    reference: Vec<f64>,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    keep_secrets_from_core_dumps();
    args.save.as_deref().map_or(Ok(()), save::check_path)?;
    let out = Output::new(common.json);
    let program = match &args.program {
        Some(path) => common.open(path)?,
        None => {
            let start = Instant::now();
            let network = args.example.network();
            let security = args.security.parse().context("--security")?;
            let request = CompileOptions { security: Some(security), ..CompileOptions::default() }.into();
            let program = build::embedded(network, &request)?.program;
            out.text(&format!(
                "compiled the embedded network {} at {} bits of security in {:.1} s\n",
                network.name,
                program.plan.security_bits,
                start.elapsed().as_secs_f64()
            ))?;
            program
        }
    };
    let (images, source) = images(&args, &program)?;
    let last = args.index.checked_add(args.count).filter(|&last| last <= images.len() && args.count > 0);
    let Some(last) = last else {
        bail!(
            "{source} has {} images; images {} and {} more were asked for",
            images.len(),
            args.index,
            args.count
        )
    };
    common.require_memory("the run", program.plan.predicted_peak_bytes)?;
    let folder = args.checkpointing.claim()?;
    // Of a key that lives on, no more than what is certain is shown.
    let step = (folder.is_some() && !args.raw).then(|| program.interface.certain_step());
    let verbose = common.verbose > 0;
    let context = context(&program.interface)?;
    // What a client sees of the program.
    let interface = Arc::new(program.interface.clone());
    let start = Instant::now();
    let (client, keys) = match &folder {
        Some(folder) => kept_keys(folder, &interface, &context)?,
        None => {
            let client = Client::generate(&interface, &context)?;
            let keys = client.evaluation_keys()?;
            (client, keys)
        }
    };
    let (keygen_seconds, key_bytes) = (start.elapsed().as_secs_f64(), keys.bytes());
    out.text(&format!(
        "N = 2^{}, log QP = {:.0}: {} evaluation keys, {} in memory, made in {keygen_seconds:.1} s\n",
        program.plan.log_n,
        program.plan.log_qp,
        keys.count(),
        human_bytes(key_bytes as u64)
    ))?;
    let start = Instant::now();
    let server = Server::new(&program, &context)?;
    let session = server.session(keys)?;
    out.text(&format!(
        "weights encoded in {:.1} s, {}\n",
        start.elapsed().as_secs_f64(),
        human_bytes(server.encoded_bytes() as u64)
    ))?;
    let batch = program.interface.batch.images;
    if args.layer_errors && batch > 1 {
        bail!("--layer-errors is for programs of one image, this one is compiled for {batch}");
    }
    let (mut reports, mut runs, mut total_seconds) = (Vec::new(), 0, 0.0);
    let mut recorder = Recorder::default();
    let inspector = args.layer_errors.then(|| Inspector::new(&program)).transpose()?;
    let control = interrupt::control();
    let ops = &program.schedule;
    for first in (args.index..last).step_by(batch) {
        let indices = first..last.min(first + batch);
        let inputs =
            indices.clone().into_par_iter().map(|index| images.input(index, &program.interface.preprocess));
        let inputs: Vec<Vec<f32>> = inputs.collect::<Result<_, _>>()?;
        let image = inputs.concat();
        let bundle = match &folder {
            Some(_) => client.encrypt_again(&image)?,
            None => client.encrypt(&image)?,
        };
        let mut checkpoints = folder.as_ref().map(|folder| {
            let identity = Identity::new(interface.program, client.secret().id(), &context, &bundle);
            let path = folder.file(&format!("image-{first}.checkpoint"));
            Checkpoints::new(path, &context, identity, ops, args.checkpointing.interval())
        });
        let bar = progress::bar(common, "evaluating", ops.ops().len());
        let start = Instant::now();
        let resumed = checkpoints.as_mut().map(|checkpoints| checkpoints.resume(ops)).transpose()?.flatten();
        let resumed_at_op = resumed.as_ref().map(|checkpoint| checkpoint.next);
        let known = resumed.map(|checkpoint| checkpoint.values).unwrap_or_default();
        let mut observer = recorder.image(|done| bar.set_position(done as u64));
        let mut layers = inspector.as_ref().map(|inspector| inspector.seen(&client));
        let mut witness = (&mut layers, &mut checkpoints);
        let answer = session.evaluate_from(bundle, known, &control, &mut observer, &mut witness);
        bar.finish_and_clear();
        let answer = answer?;
        let seconds = checkpoints.as_ref().map_or(start.elapsed().as_secs_f64(), Checkpoints::seconds);
        (runs, total_seconds) = (runs + 1, total_seconds + seconds);
        let answer = client.decrypt(&answer)?;
        let mut errors = match (&inspector, layers) {
            (Some(inspector), Some(seen)) => Some(inspector.errors(&image, first as u64, seen)?),
            _ => None,
        };
        let plain = inputs.par_iter().map(|image| reference_outputs(&program, image));
        let plain: Vec<Vec<Vec<f64>>> = plain.collect::<Result<_, RehearsalError>>()?;
        let shown = |values: &[f64]| -> Vec<f64> {
            values.iter().map(|&value| step.map_or(value, |step| rounded(value, step))).collect()
        };
        for (image, (index, mut plain)) in indices.zip(plain).enumerate() {
            let ports = program.interface.outputs.iter().zip(&answer.outputs);
            let of_image = |values: &[f64]| {
                let each = values.len() / batch;
                shown(&values[image * each..][..each])
            };
            let others = ports.zip(plain.split_off(1)).skip(1).map(|((port, values), reference)| {
                let (name, shape) = (port.name.clone(), port.shape.clone());
                OutputReport { name, shape, values: of_image(values), reference }
            });
            let (logits, reference_logits) = (of_image(answer.logits()), plain.remove(0));
            let report = ImageReport {
                index,
                class: argmax(&logits),
                tied_classes: tied_with_argmax(&logits),
                reference_class: argmax(&reference_logits),
                label: images.labels().map(|labels| labels[index]),
                logits,
                reference_logits,
                other_outputs: others.collect(),
                seconds,
                resumed_at_op,
                imaginary_residue: verbose.then_some(answer.imaginary_residue),
                spare_residue: verbose.then_some(answer.spare_residue),
                overflow: answer.overflow,
                layer_errors: errors.take(),
            };
            if reports.len() < MOST_TABLES || report.overflow {
                out.text(&table(&program, &source, &report))?;
            }
            if let Some(errors) = &report.layer_errors {
                out.text(&layer_errors(errors))?;
            }
            reports.push(report);
        }
    }
    if let Some(path) = &args.save {
        save::save(path, &saved(&program.interface, &reports), &program.interface.preprocess)?;
    }
    let times = recorder.finish();
    learn(&program.plan, &times);
    let layers = match &args.profile {
        Some(path) => Some(profile(path, &program, &times)?),
        None => None,
    };
    let report = Report {
        images: reports,
        batch,
        runs,
        seconds: total_seconds,
        keygen_seconds,
        key_bytes,
        predicted_seconds: program.plan.predicted_seconds,
        predicted_peak_bytes: program.plan.predicted_peak_bytes,
        peak_rss_bytes: peak_rss_bytes(),
        layers,
    };
    out.json(&report)?;
    if let Some(layers) = &report.layers {
        out.text(&measured(layers))?;
    }
    out.text(&closing(&report))?;
    if let Some(note) = elsewhere(&program.plan) {
        out.text(&format!("{note}\n"))?;
    }
    match report.images.iter().find(|image| image.overflow) {
        Some(image) => bail!(
            "image {} decrypts to noise: a value left its range (see fhec inspect --ranges)",
            image.index
        ),
        None => Ok(()),
    }
}

/// The answers of all images that have one, output by output.
fn saved(interface: &Interface, images: &[ImageReport]) -> Vec<save::Output> {
    let answered = || images.iter().filter(|image| !image.overflow);
    let output = |(index, port): (usize, &Port)| {
        let of_image = |image: &ImageReport| match index.checked_sub(1) {
            None => image.logits.clone(),
            Some(other) => image.other_outputs[other].values.clone(),
        };
        let values = answered().flat_map(of_image).collect();
        let classes = port.ending.classes_of_places();
        save::Output { name: port.name.clone(), shape: port.shape.clone(), classes, values }
    };
    interface.outputs.iter().enumerate().map(output).collect()
}

/// The keys in the folder of a run that may be resumed; made, if there are none yet.
fn kept_keys(
    folder: &CheckpointFolder,
    interface: &Arc<Interface>,
    context: &Arc<RingContext>,
) -> Result<(Client, ProgramKeys)> {
    let keys = folder.file("keys");
    if exchange::has_secret_key(&keys) {
        let secret = exchange::read_secret_key(&keys, context)?;
        return Ok((
            Client::new(interface, context, secret),
            exchange::read_evaluation_keys(&keys, context)?,
        ));
    }
    let unfinished = KeyFolder::claim(&keys)?;
    let client = Client::generate(interface, context)?;
    let evaluation = client.evaluation_keys()?;
    unfinished.write(context, client.secret(), &client.public_key()?, &evaluation)?;
    Ok((client, evaluation))
}

/// Writes the trace and sums it up by layer.
fn profile(path: &Path, program: &Program, ops: &[OpTime]) -> Result<Vec<MeasuredLayer>> {
    write_trace(path, program, ops)?;
    tracing::info!(path = %path.display(), ops = ops.len(), "trace written");
    Ok(measured_layers(&program.plan, &layer_seconds(&program.plan, ops)))
}

fn images(args: &Args, program: &Program) -> Result<(Dataset, String)> {
    match (&args.input, &args.program) {
        (Some(path), _) => Ok((open_images(&program.interface, path)?, path.display().to_string())),
        (None, None) => {
            let network = args.example.network();
            let shape = image_shape(&program.interface)?;
            let picture = Dataset::from_bytes(network.picture.to_vec(), network.picture_name, shape)?;
            Ok((picture, network.picture_name.to_string()))
        }
        (None, Some(_)) => bail!("--input FILE says which image to classify"),
    }
}

/// Classes in the table of one image.
const MOST_CLASSES: usize = 20;

/// Plain and encrypted logits side by side, of the first classes by the plain network; how far
/// outputs that are no lists of classes are apart.
fn table(program: &Program, source: &str, report: &ImageReport) -> String {
    let mut text = format!("\n{source}, image {}\n", report.index);
    let first = program.interface.output();
    let mut classes: Vec<usize> = (0..report.logits.len()).collect();
    if first.is_class_list() {
        let _ = writeln!(text, "{:>12} {:>10} {:>10} {:>10}", "class", "plain", "encrypted", "difference");
        if classes.len() > MOST_CLASSES {
            classes.sort_by(|&a, &b| report.reference_logits[b].total_cmp(&report.reference_logits[a]));
            classes.truncate(MOST_CLASSES);
        }
    } else {
        classes.clear();
        text += &apart(&first.name, &first.shape, &report.reference_logits, &report.logits);
    }
    for class in classes {
        let (plain, encrypted) = (report.reference_logits[class], report.logits[class]);
        let mark = if class == report.class { "  <-" } else { "" };
        let name = program.interface.class_name(class);
        // Writing to a String cannot fail.
        let _ =
            writeln!(text, "{name:>12} {plain:>10.4} {encrypted:>10.4} {:>10.1e}{mark}", encrypted - plain);
    }
    for OutputReport { name, shape, values, reference } in &report.other_outputs {
        text += &apart(name, shape, reference, values);
    }
    if report.overflow {
        let _ = writeln!(
            text,
            "encrypted answer: refused, it decrypts to noise: a value left its range, {:.2} s",
            report.seconds
        );
        return text;
    }
    if !first.is_class_list() {
        let _ = writeln!(text, "encrypted answer: {:.2} s", report.seconds);
        return text;
    }
    let verdict = match report.reference_class {
        class if class == report.class => "the same class as",
        class if report.tied_classes.contains(&class) => "of equal logit to the class of",
        _ => "ANOTHER CLASS THAN",
    };
    let _ = writeln!(
        text,
        "encrypted answer: {}{} ({verdict} the plain network: {}), {:.2} s",
        program.interface.class_name(report.class),
        tied(&program.interface, &report.tied_classes),
        program.interface.class_name(report.reference_class),
        report.seconds
    );
    text
}

/// How far an encrypted output is from that of the plain network.
fn apart(name: &str, shape: &[usize], plain: &[f64], encrypted: &[f64]) -> String {
    let differences = || plain.iter().zip(encrypted).map(|(a, b)| (a - b).abs());
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0f64, f64::max);
    let energy = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let decibels =
        10.0 * (energy(&mut plain.iter().copied()) / energy(&mut differences()).max(1e-300)).log10();
    format!(
        "output {name} {shape:?}: differences of at most {:.1e}, the largest number is {:.4}; {decibels:.0} dB\n",
        largest(&mut differences()),
        largest(&mut plain.iter().map(|x| x.abs()))
    )
}

fn closing(report: &Report) -> String {
    let &Report { batch, runs, seconds, predicted_seconds, .. } = report;
    let images = report.images.len();
    let each = |seconds: f64| human_seconds(seconds / batch as f64);
    let mean = seconds / runs.max(1) as f64;
    let mut text = String::new();
    if images > 1 {
        let same = report.images.iter().filter(|image| image.class == image.reference_class).count();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n{same} of {images} images have the class of the plain network");
    }
    let _ = match batch {
        1 => write!(text, "\n{images} image(s), {mean:.2} s each (predicted {predicted_seconds:.2} s)"),
        _ => write!(
            text,
            "\n{runs} run(s) of up to {batch} images, {mean:.2} s each (predicted {predicted_seconds:.2} s): {} per image of a whole batch \
             (predicted {})",
            each(mean),
            each(predicted_seconds)
        ),
    };
    let peak = report.peak_rss_bytes.map_or("unknown".into(), human_bytes);
    text + &format!(", peak memory {peak} (predicted {})\n", human_bytes(report.predicted_peak_bytes))
}
