//! A compile as the commands run it: model file, normalisation and calibration in, a [`Program`] out.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use fhec_ir::func::Func;
use fhec_ir::nn::Nn;
use fhec_ir::program::Program;
use fhec_ir::tensor::Tensor;
use fhec_ir::text::print_func;
use fhec_passes::analysis::cost::CostTable;
use fhec_passes::ckks::choose_params::ChooseParamsError;
use fhec_passes::ckks::place_bootstraps::BootstrapPlacement;
use fhec_passes::compile::{self, CompileError, Compiled, Options};
use fhec_passes::lower_nn::Packing;
use fhec_passes::nn::activations::Activations;
use fhec_passes::nn::approximate::ReluMethod;
use fhec_passes::nn::calibrate::{Range, Source};
use fhec_passes::nn::fit_network::Fitting;
use fhec_passes::nn::softmax::{TEMPERATURE, append_softmax};
use fhec_passes::pipeline::{NnOptions, run_nn};
use fhec_passes::preset::Preset;
use fhec_passes::schedule_network::ScheduleError;
use serde::Deserialize;

use crate::activation_ranges::{ActivationRanges, activation_ranges};
use crate::cli::Stage;
use crate::data::{Dataset, Preprocess};
use crate::embedded::Embedded;
use crate::files::{self, Access};
use crate::gates::out_of_memory;
use crate::onnx::{self, ImportOptions};
use crate::program::check_network;

/// Precision of ReLU in bits where levels allow it, the one of the 2021 ResNet-20 (arXiv 2106.07229).
const RELU_ALPHA: f64 = 13.0;
/// The least precise ReLU that is chosen without being asked for.
const LEAST_RELU_ALPHA: f64 = 8.0;
/// Files of ranges and of fitted activations are a few lines per activation.
const MAX_RANGES_BYTES: u64 = 16 << 20;

/// Where activation ranges come from.
#[derive(Clone, Debug)]
pub enum Calibration {
    /// Measured on the images of a file.
    Images(PathBuf),
    /// Read from a JSON file.
    Ranges(PathBuf),
    /// From `net.calibration.json` beside `net.onnx`, or else by interval arithmetic.
    BesideModel,
}

/// How ReLU is approximated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Relu {
    /// With calibration images, fitted so that [`AGREEMENT`] percent of images keep their class; as `net.activations.json` beside
    /// `net.onnx` says; or else to 13 bits, or less if levels are short.
    Default,
    /// To this many bits.
    Alpha(f64),
    /// Fitted to calibration images so that this share of images, in percent, keeps its class.
    Agreement(f64),
    /// One polynomial of this depth per activation, fitted to calibration images, or minimax without.
    Depth(u32),
}

/// Batches larger than this are laid out one pixel per ciphertext, unless told otherwise: by then all ciphertexts of deep networks are full, and
/// more images only make the program longer.
const MOST_IMAGES_IN_CHANNELS: usize = 32;

/// The share of images that keep their class where none is asked for, in percent.
pub const AGREEMENT: f64 = 99.5;

/// What is asked of a compile.
#[derive(Clone, Debug)]
pub struct Request {
    /// 98, 128, 192 or 256.
    pub security: u32,
    /// Where ranges come from.
    pub calibration: Calibration,
    /// What measured ranges are multiplied with.
    pub margin: f64,
    /// How ReLU is approximated.
    pub relu: Relu,
    /// Memory that evaluating may take: keys, ciphertexts, tables and encoded weights.
    pub ram_bytes: u64,
    /// What operations cost.
    pub costs: CostTable,
    /// How tensors are laid out.
    pub packing: Packing,
    /// Images of one run; `None` for one.
    pub batch: Option<NonZeroUsize>,
    /// How bootstraps are placed; `None`: as the preset does, or else in the least predicted time.
    pub bootstrap_placement: Option<BootstrapPlacement>,
    /// A published program to follow: it fixes parameters, packing and activations.
    pub preset: Option<Preset>,
    /// Evaluate a softmax at the end of the network under encryption.
    pub encrypt_softmax: bool,
    /// Verify after every pass.
    pub verify_each: bool,
    /// How a model file is read.
    pub import: ImportOptions,
    /// What the plan is to say beside the compiler's own notes.
    pub notes: Vec<String>,
}

impl Default for Request {
    fn default() -> Self {
        Request {
            security: 128,
            calibration: Calibration::BesideModel,
            margin: 1.5,
            relu: Relu::Default,
            ram_bytes: 16 << 30,
            costs: CostTable::default(),
            packing: Packing::Auto,
            batch: None,
            bootstrap_placement: None,
            preset: None,
            encrypt_softmax: false,
            verify_each: false,
            import: ImportOptions::default(),
            notes: Vec::new(),
        }
    }
}

/// A compile's result with the stages in between.
#[derive(Debug)]
pub struct Built {
    /// What is written to the file.
    pub program: Arc<Program>,
    /// The stages.
    pub compiled: Compiled,
}

impl Built {
    /// The program at `stage`, as text.
    pub fn emit(&self, stage: Stage) -> String {
        match stage {
            Stage::Nn => print_func(&self.compiled.nn),
            Stage::Packed => print_func(&self.compiled.packed),
            Stage::Ckks => print_func(&self.compiled.program),
        }
    }
}

/// Ranges of values, as `net.calibration.json` has them: a list of these.
#[derive(Clone, Debug, Deserialize)]
struct RangeEntry {
    tensor: String,
    min: f64,
    max: f64,
}

/// Ranges of an image's numbers after normalisation: pixels are 0 to 255.
fn input_range(preprocess: &Preprocess) -> Range {
    let at = |list: &[f32], c: usize| f64::from(if list.len() == 1 { list[0] } else { list[c] });
    let channels = preprocess.mean().len().max(preprocess.std().len());
    let ends = (0..channels).flat_map(|c| {
        let scale = f64::from(preprocess.scale());
        [0.0, 255.0].map(|p| (p / scale - at(preprocess.mean(), c)) / at(preprocess.std(), c))
    });
    ends.fold(Range::new(0.0, 0.0), |range, x| Range::new(range.min.min(x), range.max.max(x)))
}

/// The network in `path`, if it can be run on images normalised by `preprocess`.
fn import(path: &Path, options: &ImportOptions, preprocess: &Preprocess) -> Result<Func<Nn>> {
    let imported =
        onnx::import_with(path, options).with_context(|| format!("cannot import {}", path.display()))?;
    check_network(&imported.func, preprocess)
        .with_context(|| format!("cannot run the network in {}", path.display()))?;
    Ok(imported.func)
}

/// Compiles the model in `path`.
pub fn from_file(path: &Path, preprocess: Preprocess, request: &Request) -> Result<Built> {
    let network = import(path, &request.import, &preprocess)?;
    let beside = path.with_extension("calibration.json");
    let ranges_file = match &request.calibration {
        Calibration::Ranges(file) => Some(file.clone()),
        Calibration::BesideModel if beside.is_file() => Some(beside),
        _ => None,
    };
    let images = match &request.calibration {
        Calibration::Images(file) => Some(open_calibration(&network, file, &preprocess)?),
        _ => None,
    };
    let ranges = ranges_file.map(|file| read_ranges(&file)).transpose()?;
    let beside = path.with_extension("activations.json");
    let known = match (&request.calibration, request.relu) {
        (Calibration::BesideModel, Relu::Default) if beside.is_file() => Some(read_activations(&beside)?),
        _ => None,
    };
    let name = path.file_stem().map_or("network".into(), |stem| stem.to_string_lossy().into_owned());
    build(network, &name, preprocess, images, ranges, known, request)
        .with_context(|| format!("cannot compile {}", path.display()))
}

/// What [`calibrate`] yields.
#[derive(Clone, Debug)]
pub struct Calibrated {
    /// The polynomials.
    pub activations: Activations,
    /// What their operands were seen to be, where each activation is one polynomial.
    pub ranges: Option<ActivationRanges>,
}

/// Fits polynomials to the ReLUs of the model in `path`, on the images of a file; `relu` is an agreement or a depth.
pub fn calibrate(
    path: &Path,
    options: &ImportOptions,
    preprocess: &Preprocess,
    images: &Path,
    relu: Relu,
) -> Result<Calibrated> {
    let network = import(path, options, preprocess)?;
    let images = open_calibration(&network, images, preprocess)?;
    let mut passes = NnOptions::default();
    passes.fit.fitting = match relu {
        Relu::Agreement(percent) => Fitting::Agreement(percent / 100.0),
        Relu::Depth(depth) => Fitting::Depth(depth),
        Relu::Default | Relu::Alpha(_) => bail!("fits are made for an agreement or a depth"),
    };
    let result = run_nn(&network, &Source::Images(&images), &passes, &mut |_, _| ())
        .with_context(|| format!("cannot fit the activations of {}", path.display()))?;
    let ranges = activation_ranges(&result, &images)?;
    let activations = result.activations.context("no polynomial was fitted")?;
    Ok(Calibrated { activations, ranges })
}

/// Compiles a network that comes with the program.
pub fn embedded(network: &Embedded, request: &Request) -> Result<Built> {
    let imported = onnx::import_bytes(network.model, None, &ImportOptions::default())
        .context("cannot import the embedded network")?;
    let ranges = parse_ranges(network.calibration).context("the embedded network's ranges")?;
    let activations = network.activations.map(serde_json::from_str).transpose();
    let activations = activations.context("the embedded network's activations")?;
    build(imported.func, network.name, network.preprocess()?, None, Some(ranges), activations, request)
}

fn build(
    mut network: Func<Nn>,
    name: &str,
    preprocess: Preprocess,
    images: Option<Vec<Vec<Tensor>>>,
    mut ranges: Option<BTreeMap<String, Range>>,
    known: Option<Activations>,
    request: &Request,
) -> Result<Built> {
    network.name = identifier(name);
    if request.encrypt_softmax || request.preset.is_some() {
        add_softmax(&mut network, ranges.as_mut())?;
    }
    let input = input_range(&preprocess);
    let source = match (&images, &ranges) {
        (Some(images), _) => Source::Images(images),
        (None, Some(ranges)) => Source::Table { ranges, input },
        (None, None) => Source::Intervals(input),
    };
    let mut options = Options::default();
    options.nn.calibrate.margin = request.margin;
    options.nn.verify_each = request.verify_each;
    options.schedule.verify_each = request.verify_each;
    options.schedule.costs = request.costs.clone();
    options.schedule.packing = match (request.packing, request.batch) {
        (Packing::Auto, Some(images)) if images.get() > MOST_IMAGES_IN_CHANNELS => Packing::Pixel,
        (packing, _) => packing,
    };
    options.schedule.images = request.batch;
    options.schedule.params.security_bits = request.security;
    options.schedule.params.ram = Some(request.ram_bytes);
    options.nn.fit.fitting = match (request.relu, known) {
        (_, Some(activations)) => Fitting::Known(activations),
        (Relu::Agreement(percent), None) => Fitting::Agreement(percent / 100.0),
        (Relu::Depth(depth), None) => Fitting::Depth(depth),
        (Relu::Default, None) if images.is_some() => Fitting::Agreement(AGREEMENT / 100.0),
        (Relu::Default | Relu::Alpha(_), None) => Fitting::Off,
    };
    options.nn.encrypt_softmax = request.encrypt_softmax;
    if let Some(preset) = request.preset {
        preset.apply(&mut options).context("cannot make the preset's parameters")?;
    }
    if let Some(placement) = request.bootstrap_placement {
        options.schedule.bootstrap_placement = placement;
    }
    let mut alpha = match request.relu {
        Relu::Alpha(alpha) => alpha,
        _ => RELU_ALPHA,
    };
    // Only a precision that nobody asked for is lowered.
    let lowered =
        request.relu == Relu::Default && request.preset.is_none() && options.nn.fit.fitting == Fitting::Off;
    let compiled = loop {
        if request.preset.is_none() {
            options.nn.approximate.relu = ReluMethod::Alpha(alpha);
        }
        let too_deep = match compile::compile(&network, &source, &options, &mut |_, _| ()) {
            Ok(compiled) => break compiled,
            Err(CompileError::Schedule(ScheduleError::Params(
                error @ (ChooseParamsError::TooDeep { .. } | ChooseParamsError::Precision { .. }),
            ))) => error,
            Err(CompileError::Schedule(ScheduleError::Params(ChooseParamsError::Memory {
                ram,
                nearest,
                ..
            }))) => return Err(out_of_memory(ram, &nearest).into()),
            Err(error) => return Err(error.into()),
        };
        // A shallower ReLU helps where the depth is near what a ring holds, not where it is a multiple of that.
        let hopeless = matches!(too_deep, ChooseParamsError::TooDeep { depth, max_levels, .. } if depth > 2 * max_levels);
        if !lowered || hopeless || alpha - 1.0 < LEAST_RELU_ALPHA {
            return Err(too_deep.into());
        }
        alpha -= 1.0;
    };
    let mut plan = compiled.plan.clone();
    plan.network = network.name.clone();
    if lowered && alpha < RELU_ALPHA {
        plan.notes.push(format!(
            "ReLU has {alpha} bits of precision instead of {RELU_ALPHA}: more levels do not fit"
        ));
    }
    let measured =
        images.is_some() || ranges.is_some() || matches!(options.nn.fit.fitting, Fitting::Known(_));
    if !measured {
        // Only what is approximated has a row.
        let cost = match plan.ranges.is_empty() {
            true => "which costs precision",
            false => "so activations are approximated on much larger domains than needed",
        };
        plan.notes.push(format!(
            "no sample images: ranges are by interval arithmetic, sound but wide, {cost}; give some by --calibration FILE, a few hundred are \
             enough"
        ));
    }
    plan.notes.extend(request.notes.iter().cloned());
    let (schedule, params) = (compiled.program.clone(), compiled.params.clone());
    Ok(Built { program: Arc::new(Program::new(schedule, params, network, plan, preprocess)?), compiled })
}

/// Ends the network with a softmax, whose operand's range follows from that of the logits.
fn add_softmax(network: &mut Func<Nn>, ranges: Option<&mut BTreeMap<String, Range>>) -> Result<()> {
    let (logits, scaled) = append_softmax(network).map_err(anyhow::Error::msg)?;
    if let Some(ranges) = ranges
        && let Some(&Range { min, max }) = ranges.get(&logits)
    {
        ranges.insert(scaled, Range::new(min / TEMPERATURE, max / TEMPERATURE));
    }
    Ok(())
}

/// A name that the text form of programs takes.
fn identifier(name: &str) -> String {
    let word: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' }).collect();
    if word.starts_with(|c: char| c.is_ascii_alphabetic()) { word } else { format!("net_{word}") }
}

fn open_calibration(network: &Func<Nn>, path: &Path, preprocess: &Preprocess) -> Result<Vec<Vec<Tensor>>> {
    let [c, h, w] = check_network(network, preprocess)?;
    let dataset = Dataset::open(path, [c, h, w])?;
    let image = |index| Ok(vec![Tensor::new([1, c, h, w], dataset.input(index, preprocess)?)?]);
    (0..dataset.len()).map(image).collect()
}

fn read_ranges(path: &Path) -> Result<BTreeMap<String, Range>> {
    let bytes = files::read(path, MAX_RANGES_BYTES)?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))?;
    parse_ranges(&text).with_context(|| format!("cannot read the ranges in {}", path.display()))
}

fn read_activations(path: &Path) -> Result<Activations> {
    let bytes = files::read(path, MAX_RANGES_BYTES)?;
    serde_json::from_slice(&bytes)
        .with_context(|| format!("cannot read the fitted activations in {}", path.display()))
}

/// Writes fitted activations, one per line, where a compile finds them when named `net.activations.json` beside `net.onnx`.
pub fn write_activations(path: &Path, activations: &Activations) -> Result<()> {
    let Activations { fitted_images, judged_images, agreeing_images, activations } = activations;
    let rows: Result<Vec<String>, _> = activations.iter().map(serde_json::to_string).collect();
    let text = format!(
        "{{\"fitted_images\": {fitted_images}, \"judged_images\": {judged_images}, \"agreeing_images\": {agreeing_images}, \"activations\": [\n{}\n]}}\n",
        rows?.join(",\n")
    );
    files::write_atomically(path, Access::Ordinary, |out| out.write_all(text.as_bytes()))?;
    Ok(())
}

fn parse_ranges(text: &str) -> Result<BTreeMap<String, Range>> {
    let entries: Vec<RangeEntry> = serde_json::from_str(text)?;
    let mut ranges = BTreeMap::new();
    for RangeEntry { tensor, min, max } in entries {
        ensure!(min.is_finite() && max.is_finite() && min <= max, "{tensor}: [{min}, {max}] is no range");
        ranges.insert(tensor, Range::new(min, max));
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_words() {
        assert_eq!(identifier("mnist_cnn"), "mnist_cnn");
        assert_eq!(identifier("2 nets/ü"), "net_2_nets__");
    }

    #[test]
    fn pixel_ends_bound_the_input() {
        let range = input_range(&Preprocess::new(255.0, vec![0.5, 0.25], vec![0.5, 0.5]).unwrap());
        assert_eq!((range.min, range.max), (-1.0, 1.5));
    }

    #[test]
    fn bad_ranges_are_refused() {
        assert!(parse_ranges(r#"[{"tensor": "a", "min": 2, "max": 1}]"#).is_err());
        assert!(parse_ranges(r#"[{"tensor": "a"}]"#).is_err());
        assert_eq!(parse_ranges(r#"[{"tensor": "a", "min": -1, "max": 1, "images": 7}]"#).unwrap().len(), 1);
    }
}
