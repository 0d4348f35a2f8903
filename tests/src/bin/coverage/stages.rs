//! From the file to the encrypted answer, as far as a model goes.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use fhec_compiler::build::{self, Calibration, Request};
use fhec_compiler::data::ImageArray;
use fhec_compiler::onnx::{self, ImportOptions};
use fhec_compiler::simulator::Simulator;
use fhec_ir::interp;
use fhec_ir::program::{Preprocess, Program};
use fhec_ir::tensor::Tensor;
use fhec_passes::nn::agreement::class;
use fhec_passes::options::{ByteSize, CompileOptions};
use fhec_roles::{Client, Server, context};
use serde::{Deserialize, Serialize};

use crate::case::{Case, array};

/// Inputs that are rehearsed.
const REHEARSED: usize = 8;

/// Outputs below this are none: errors are absolute then.
const LEAST_OUTPUT: f64 = 1e-12;

/// How far a model went. An absent number: it did not get there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// Whether it was read.
    pub imported: bool,
    /// Largest difference to the expected outputs in the clear, over their largest magnitude.
    pub clear: Option<f64>,
    /// Seconds of the compile.
    pub compile_seconds: Option<f64>,
    /// `log2 N`, bootstraps, seconds and GiB as the plan predicts them.
    pub plan: Option<(u32, usize, f64, f64)>,
    /// As `clear`, of the simulated program.
    pub simulated: Option<f64>,
    /// Inputs whose largest output is at the same place as expected, of how many.
    pub classes: Option<(usize, usize)>,
    /// Of the same inputs, those that the network in the clear says the expected class of.
    pub clear_classes: usize,
    /// Operands that left their ranges in the simulation.
    pub overflows: usize,
    /// As `clear`, of the encrypted run.
    pub encrypted: Option<f64>,
    /// Seconds of the encrypted run, keys and weights included.
    pub encrypted_seconds: Option<f64>,
    /// Of these, those of the evaluation.
    pub evaluation_seconds: Option<f64>,
    /// Whether the largest output of the encrypted run is where it is expected.
    pub encrypted_class: Option<bool>,
    /// Whether outputs are a list of classes.
    pub is_class_list: bool,
    /// Whether the client refused the encrypted answer.
    pub refused: bool,
    /// The error that ended it.
    pub error: Option<String>,
    /// Why it was ended from outside.
    pub stopped: Option<String>,
}

impl Row {
    /// Inputs of the class that was expected, of how many, where the output is a list of classes.
    pub fn class_counts(&self) -> Option<(usize, usize)> {
        self.classes.filter(|_| self.is_class_list)
    }

    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("numbers and words are JSON")
    }

    pub fn parse(line: &str) -> Option<Row> {
        serde_json::from_str(line).ok()
    }
}

/// What is run under encryption: programs predicted below both.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub seconds: f64,
    pub gib: f64,
    /// Whether programs are asked to be within the memory.
    pub asked: bool,
}

/// Runs all stages, and shows the row after each.
pub fn run(case: &Case, limits: Limits, show: &mut dyn FnMut(&Row)) {
    let mut row = Row::default();
    if let Err(error) = stages(case, limits, &mut row, show) {
        row.error = Some(error);
    }
    show(&row);
}

fn stages(case: &Case, asked: Limits, row: &mut Row, show: &mut dyn FnMut(&Row)) -> Result<(), String> {
    let (inputs, expected) = (array(&case.inputs), array(&case.expected));
    let mut options = ImportOptions::default();
    let mut imported = onnx::import(&case.model);
    // A network for a batch of another size is not run on one input.
    let one_input = imported.as_ref().is_ok_and(|imported| match *imported.func.inputs() {
        [input] => imported.func.ty(input).shape.first() == Some(&1),
        _ => true,
    });
    if let (false, Ok(inputs)) = (one_input, &inputs) {
        // What a user does where dimensions are open or fixed: she gives the shape of one input.
        let shape = [&[1], &inputs.shape()[1..]].concat();
        let with_shape =
            ImportOptions { input_shapes: [(String::new(), shape)].into(), ..ImportOptions::default() };
        if let Ok(again) = onnx::import_with(&case.model, &with_shape) {
            (imported, options) = (Ok(again), with_shape);
        }
    }
    let imported = imported.map_err(in_words)?;
    row.imported = true;
    show(row);
    if !case.has_inputs() {
        return Ok(());
    }
    let shapes: Vec<Vec<usize>> =
        imported.func.inputs().iter().map(|&input| imported.func.ty(input).shape.clone()).collect();
    let limits = imported.input_limits.first().copied().flatten();
    let samples = match (&inputs, &shapes[..]) {
        (Ok(inputs), [shape]) => samples(&within(inputs, limits), shape),
        _ => Vec::new(),
    };
    let answers = match &expected {
        Ok(expected) if !samples.is_empty() => parts(expected, samples.len()),
        _ => Vec::new(),
    };
    let largest = answers.iter().flatten().fold(0.0f64, |m, x| m.max(f64::from(x.abs())));
    // Errors are relative, of nothing to what a program of real numbers tells from it.
    let largest = if largest < LEAST_OUTPUT { 1.0 } else { largest };
    let mut worst = None;
    for (sample, expected) in samples.iter().zip(&answers).take(REHEARSED) {
        let found = interp::nn::run(&imported.func, std::slice::from_ref(sample)).map_err(in_words)?;
        let found: Vec<f64> = found[0].data().iter().map(|&x| f64::from(x)).collect();
        worst = Some(distance(&found, expected)?.max(worst.unwrap_or(0.0)));
        row.clear_classes += usize::from(is_class(&found, expected));
    }
    row.clear = worst.map(|worst| worst / largest);
    show(row);

    let start = Instant::now();
    let calibration = match limits {
        Some(_) => {
            let inputs = within(&array(&case.calibration)?, limits);
            Calibration::Array(ImageArray::values(inputs.shape().to_vec(), inputs.data().to_vec()))
        }
        None => Calibration::Images(case.calibration.clone()),
    };
    let program = compile(&case.model, calibration, options, asked)?;
    row.compile_seconds = Some(start.elapsed().as_secs_f64());
    let plan = &program.plan;
    let gib = plan.predicted_peak_bytes as f64 / (1u64 << 30) as f64;
    row.plan = Some((plan.log_n, plan.bootstraps, plan.predicted_seconds, gib));
    show(row);

    row.is_class_list = program.interface.output().is_class_list();
    let simulator = Simulator::new(&program, false);
    let (mut worst, mut same, mut of) = (None, 0, 0);
    for (index, (sample, expected)) in samples.iter().zip(&answers).take(REHEARSED).enumerate() {
        let simulated = simulator.answer(sample.data(), index as u64).map_err(in_words)?;
        row.overflows += simulated.overflows.len();
        worst = Some(distance(simulated.logits(), expected)?.max(worst.unwrap_or(0.0)));
        same += usize::from(is_class(simulated.logits(), expected));
        of += 1;
    }
    row.simulated = worst.map(|worst: f64| worst / largest);
    row.classes = (of > 0).then_some((same, of));
    show(row);

    if program.plan.predicted_seconds < asked.seconds
        && gib < asked.gib
        && let (Some(sample), Some(expected)) = (samples.first(), answers.first())
    {
        let start = Instant::now();
        let context = context(&program.interface).map_err(in_words)?;
        let client = Client::generate(&Arc::new(program.interface.clone()), &context).map_err(in_words)?;
        let server = Server::new(&program, &context).map_err(in_words)?;
        let session = server.session(client.evaluation_keys().map_err(in_words)?).map_err(in_words)?;
        let encrypted = client.encrypt(sample.data()).map_err(in_words)?;
        let evaluation = Instant::now();
        let answer = session.evaluate(encrypted).map_err(in_words)?;
        row.evaluation_seconds = Some(evaluation.elapsed().as_secs_f64());
        let answer = client.decrypt(&answer).map_err(in_words)?;
        row.encrypted_seconds = Some(start.elapsed().as_secs_f64());
        row.refused = answer.overflow;
        row.encrypted = Some(distance(answer.logits(), expected)? / largest);
        row.encrypted_class = Some(is_class(answer.logits(), expected));
    }
    Ok(())
}

fn compile(
    model: &Path,
    calibration: Calibration,
    import: ImportOptions,
    limits: Limits,
) -> Result<Arc<Program>, String> {
    let max_ram = limits.asked.then(|| ByteSize((limits.gib * f64::from(1 << 30)) as u64));
    let request = Request {
        options: CompileOptions { max_ram, ..CompileOptions::default() },
        calibration,
        import,
        notes: Vec::new(),
    };
    let built = build::from_file(model, Preprocess::default(), &request).map_err(in_words)?;
    // What counts is what a file holds.
    let program = Program::from_bytes(&built.program.to_bytes(), 98).map_err(in_words)?;
    Ok(Arc::new(program))
}

/// An error with what caused it, on one line.
fn in_words(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        if !text.contains(&next.to_string()) {
            text = format!("{text}: {next}");
        }
        cause = next.source();
    }
    text.replace('\n', " ")
}

/// The numbers of an array as inputs of this shape.
fn samples(inputs: &Tensor, shape: &[usize]) -> Vec<Tensor> {
    let each: usize = shape.iter().product();
    let tensor = |chunk: &[f32]| Tensor::new(shape.to_vec(), chunk).ok();
    if each == 0 { Vec::new() } else { inputs.data().chunks_exact(each).filter_map(tensor).collect() }
}

/// The numbers of an array in the limits of an input of integers, as whoever made the expected
/// outputs gave them to the model.
fn within(inputs: &Tensor, limits: Option<[i64; 2]>) -> Tensor {
    let Some([low, high]) = limits.map(|limits| limits.map(|limit| limit as f32)) else {
        return inputs.clone();
    };
    Tensor::from_fn(inputs.shape(), |index| inputs.data()[index].clamp(low, high))
}

/// The numbers of an array in as many equal parts.
fn parts(expected: &Tensor, count: usize) -> Vec<Vec<f32>> {
    let each = expected.data().len() / count.max(1);
    if each == 0 { Vec::new() } else { expected.data().chunks_exact(each).map(<[f32]>::to_vec).collect() }
}

/// The largest difference; where a class was expected and numbers of classes came out, whether the
/// largest of them is that class: 0, or else infinity.
fn distance(found: &[f64], expected: &[f32]) -> Result<f64, String> {
    if let (&[expected], [_, _, ..]) = (expected, found) {
        return Ok(if class(found) as f32 == expected { 0.0 } else { f64::INFINITY });
    }
    if found.len() != expected.len() {
        return Err(format!("{} numbers came out, {} were expected", found.len(), expected.len()));
    }
    let differences = found.iter().zip(expected).map(|(a, b)| (a - f64::from(*b)).abs());
    Ok(differences.fold(0.0, |m, d| if d.is_nan() { f64::INFINITY } else { d.max(m) }))
}

/// Whether the largest number is where it is expected: a quantised network often has several
/// largest ones, any of which is right.
fn is_class(found: &[f64], expected: &[f32]) -> bool {
    match (expected, expected.get(class(found))) {
        // The class itself was expected, as an ArgMax says it.
        (&[expected], _) if found.len() > 1 => class(found) as f32 == expected,
        (_, Some(there)) if expected.len() == found.len() => *there >= expected[class(expected)],
        _ => class(found) == class(expected),
    }
}
