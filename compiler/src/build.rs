//! A compile as the commands run it: model file, normalisation and calibration in, a [`Program`]
//! out.

mod error;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use fhec_ir::ckks::Ckks;
use fhec_ir::func::Func;
use fhec_ir::nn::Nn;
use fhec_ir::params::Params;
use fhec_ir::plan::{OutputRow, Plan};
use fhec_ir::program::{Program, ProgramError};
use fhec_ir::tensor::Tensor;
use fhec_models::Network;
use fhec_passes::compile::{Compiled, compile};
use fhec_passes::error::PassError;
use fhec_passes::nn::activations::Activations;
use fhec_passes::nn::calibrate::{Range, Source};
use fhec_passes::nn::join_inputs::join_inputs;
use fhec_passes::options::{CompileOptions, Knowledge, NoiseProbe, Relu};
use fhec_passes::pipeline::run_nn;
use fhec_passes::report::Passed;
use serde::Deserialize;

pub use self::error::{Cause, CompileError, RangesError};

use crate::activation_ranges::{ActivationRanges, activation_ranges};
use crate::calibration_images::CalibrationImages;
use crate::data::{Dataset, ImageArray, Preprocess, preprocess};
use crate::onnx::{self, ImportOptions, Imported};
use crate::program::check_network;
use crate::rehearsal::{moved_by_noise, rehearse};
use fhec_roles::files::{self, Access};

/// Files of ranges and of fitted activations are a few lines per activation.
const MAX_RANGES_BYTES: u64 = 16 << 20;

/// A note for the plan where nothing tells the normalisation.
pub const NO_NORMALISATION: &str =
    "no normalisation given: pixels are only divided by 255 (see --mean, --std, --preprocess)";

/// Where activation ranges come from.
#[derive(Clone, Debug)]
pub enum Calibration {
    /// Measured on the images of a file.
    Images(PathBuf),
    /// Measured on images that are in memory.
    Array(ImageArray),
    /// Read from a JSON file.
    Ranges(PathBuf),
    /// From `net.calibration.json` beside `net.onnx`, or else by interval arithmetic.
    BesideModel,
}

/// What is asked of a compile, with the files that it reads beside the model.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the passes are asked for.
    pub options: CompileOptions,
    /// Where ranges come from.
    pub calibration: Calibration,
    /// How a model file is read.
    pub import: ImportOptions,
    /// What the plan is to say beside the compiler's own notes.
    pub notes: Vec<String>,
}

impl Default for Request {
    fn default() -> Self {
        CompileOptions::default().into()
    }
}

impl From<CompileOptions> for Request {
    /// With the calibration beside the model.
    fn from(options: CompileOptions) -> Self {
        let (calibration, import) = (Calibration::BesideModel, ImportOptions::default());
        Request { options, calibration, import, notes: Vec::new() }
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

/// The network in `path`, if it can be run on images normalised by `preprocess`, and that for this
/// network.
pub(crate) fn import(
    path: &Path,
    options: &ImportOptions,
    preprocess: Preprocess,
) -> Result<(Imported, Preprocess), CompileError> {
    let model = path.display().to_string();
    let imported = onnx::import_with(path, options)
        .map_err(|error| CompileError::Import { model: model.clone(), source: Box::new(error) })?;
    runnable(model, imported, preprocess)
}

/// `imported`, if it can be run on images normalised by `preprocess`, and that for this network.
fn runnable(
    model: String,
    mut imported: Imported,
    preprocess: Preprocess,
) -> Result<(Imported, Preprocess), CompileError> {
    let joined = join_inputs(&imported.func);
    let Passed { func, report, .. } =
        joined.map_err(|error| CompileError::of_passes(model.clone(), error))?;
    imported.notes.extend(report.notes);
    imported.inputs = func.inputs().iter().map(|&x| func.value_name(x).unwrap_or("").into()).collect();
    imported.func = func;
    let preprocess = match *imported.func.inputs() {
        [input] => preprocess.for_input(&imported.func.ty(input).shape),
        _ => preprocess,
    };
    check_network(&imported.func, &preprocess)
        .map_err(|error| CompileError::Network { model, source: error.into() })?;
    Ok((imported, preprocess))
}

/// Compiles the model in `path`.
///
/// # Errors
/// [`CompileError`].
pub fn from_file(path: &Path, preprocess: Preprocess, request: &Request) -> Result<Built, CompileError> {
    let start = Instant::now();
    let (imported, preprocess) = import(path, &request.import, preprocess)?;
    tracing::debug!(step = "import", seconds = start.elapsed().as_secs_f64(), "model imported");
    let beside = path.with_extension("calibration.json");
    let ranges_file = match &request.calibration {
        Calibration::Ranges(file) => Some(file.clone()),
        Calibration::BesideModel if beside.is_file() => Some(beside),
        _ => None,
    };
    let ranges = ranges_file.map(|file| read_ranges(&file)).transpose()?;
    let beside = path.with_extension("activations.json");
    let activations = match (&request.calibration, &request.options.relu) {
        (Calibration::BesideModel, Relu::Default) if beside.is_file() => Some(read_activations(&beside)?),
        _ => None,
    };
    let name = path.file_stem().map_or("network".into(), |stem| stem.to_string_lossy().into_owned());
    from_imported(imported, &name, &path.display().to_string(), preprocess, (ranges, activations), request)
}

/// Compiles a model that is in memory and calls it `name`. [`Calibration::BesideModel`] means
/// interval arithmetic here, and external data are not found.
///
/// # Errors
/// [`CompileError`].
pub fn from_bytes(
    model: &[u8],
    name: &str,
    preprocess: Preprocess,
    request: &Request,
) -> Result<Built, CompileError> {
    let imported = onnx::import_bytes(model, None, &request.import)
        .map_err(|error| CompileError::Import { model: name.into(), source: Box::new(error) })?;
    let (imported, preprocess) = runnable(name.into(), imported, preprocess)?;
    let ranges = match &request.calibration {
        Calibration::Ranges(file) => Some(read_ranges(file)?),
        _ => None,
    };
    from_imported(imported, name, name, preprocess, (ranges, None), request)
}

/// Compiles what was imported from `model`; `known` are ranges and fitted activations from files.
fn from_imported(
    imported: Imported,
    name: &str,
    model: &str,
    preprocess: Preprocess,
    known: (Option<BTreeMap<String, Range>>, Option<Activations>),
    request: &Request,
) -> Result<Built, CompileError> {
    let Imported { func: network, input_limits, notes, .. } = imported;
    let start = Instant::now();
    let open = |file, shape| Dataset::open_for(file, shape, &preprocess);
    let images = match &request.calibration {
        Calibration::Images(file) => {
            let open = |shape| open(file, shape);
            Some(CalibrationImages::read(model, &network, &input_limits, &preprocess, open)?)
        }
        Calibration::Array(images) => {
            let open = |shape| Dataset::from_array(images, shape);
            Some(CalibrationImages::read(model, &network, &input_limits, &preprocess, open)?)
        }
        Calibration::Ranges(_) | Calibration::BesideModel => None,
    };
    tracing::debug!(step = "read-images", seconds = start.elapsed().as_secs_f64(), "images read");
    let (ranges, activations) = known;
    let mut request = request.clone();
    request.notes.extend(notes);
    let images = images.map(|CalibrationImages { images, note }| {
        request.notes.extend(note);
        images
    });
    let known = Known { images, ranges, activations };
    build(network, name, model.into(), preprocess, &known, &request)
}

/// What [`calibrate`] yields.
#[derive(Clone, Debug)]
pub struct Calibrated {
    /// The polynomials.
    pub activations: Activations,
    /// What their operands were seen to be, where each activation is one polynomial.
    pub ranges: Option<ActivationRanges>,
}

/// Fits polynomials to the ReLUs of the model in `path`, on the images of a file; `relu` is an
/// agreement or a depth.
///
/// # Errors
/// [`CompileError`].
pub fn calibrate(
    path: &Path,
    options: &ImportOptions,
    preprocess: &Preprocess,
    images: &Path,
    relu: Relu,
) -> Result<Calibrated, CompileError> {
    let (Relu::Agreement(_) | Relu::Depth(_)) = relu else { return Err(CompileError::NothingToFit) };
    let (Imported { func: network, input_limits, .. }, preprocess) =
        import(path, options, preprocess.clone())?;
    let model = path.display().to_string();
    let open = |shape| Dataset::open_for(images, shape, &preprocess);
    let CalibrationImages { images, note } =
        CalibrationImages::read(&model, &network, &input_limits, &preprocess, open)?;
    if let Some(note) = note {
        tracing::warn!("{note}");
    }
    let known = Source::Images(&images).into();
    let passes = CompileOptions { relu, ..CompileOptions::default() }.nn(&known);
    let result = run_nn(&network, &known.source, &passes, &mut |_, _| ())
        .map_err(|error| CompileError::Fit { model: model.clone(), source: Box::new(error) })?;
    let broken = |what| {
        let model = model.clone();
        move |source: Cause| CompileError::Broken { model, what, source }
    };
    let ranges = activation_ranges(&result, &images);
    let ranges = ranges.map_err(|error| broken("the fitted network cannot be run")(error.into()))?;
    let activations = result.activations.ok_or("there are no polynomials".into());
    let activations = activations.map_err(broken("nothing was fitted"))?;
    Ok(Calibrated { activations, ranges })
}

/// Compiles a network that comes with the program.
///
/// # Errors
/// [`CompileError`].
pub fn embedded(network: &Network, request: &Request) -> Result<Built, CompileError> {
    let model = format!("the embedded network {}", network.name);
    let broken = |what| {
        let model = model.clone();
        move |source: Cause| CompileError::Broken { model, what, source }
    };
    let imported = onnx::import_bytes(network.model, None, &ImportOptions::default())
        .map_err(|error| CompileError::Import { model: model.clone(), source: Box::new(error) })?;
    let ranges = parse_ranges(network.calibration);
    let ranges = ranges.map_err(|error| broken("its ranges cannot be read")(error.into()))?;
    let activations = network.activations.map(serde_json::from_str).transpose();
    let activations = activations.map_err(|error| broken("its activations cannot be read")(error.into()))?;
    let known = Known { images: None, ranges: Some(ranges), activations };
    let preprocess = preprocess::parse(network.preprocess, format!("models/{}.toml", network.name))?;
    build(imported.func, network.name, model, preprocess, &known, request)
}

/// What files say about a network's values.
struct Known {
    images: Option<Vec<Vec<Tensor>>>,
    ranges: Option<BTreeMap<String, Range>>,
    activations: Option<Activations>,
}

/// Compiles `network`, which is called `name` in the program and `model` in messages.
fn build(
    mut network: Func<Nn>,
    name: &str,
    model: String,
    preprocess: Preprocess,
    known: &Known,
    request: &Request,
) -> Result<Built, CompileError> {
    network.name = identifier(name);
    let input = input_range(&preprocess);
    let source = match (&known.images, &known.ranges) {
        (Some(images), _) => Source::Images(images),
        (None, Some(ranges)) => Source::Table { ranges, input },
        (None, None) => Source::Intervals(input),
    };
    let images = known.images.as_deref().unwrap_or_default();
    let noise = |program: &Func<Ckks>, params: &Params| {
        let plan = Plan::bare(program.ops().len());
        let program =
            Program::new(program.clone(), params.clone(), network.clone(), plan, preprocess.clone());
        moved_by_noise(&Arc::new(program.ok()?), images)
    };
    let noise = Some(NoiseProbe(&noise));
    let knowledge = Knowledge { source, activations: known.activations.as_ref(), noise };
    let compiled = compile(&network, &knowledge, &request.options, &mut |_, _| ())
        .map_err(|error| CompileError::of_passes(model.clone(), error))?;
    let program = program(&compiled, preprocess, &request.notes);
    let program = program.map_err(|source| {
        let what = "the program that was made does not fit together";
        CompileError::Broken { model: model.clone(), what, source: source.into() }
    })?;
    let mut program = Arc::new(program);
    if let Some(images) = &known.images {
        let start = Instant::now();
        let rehearsal = rehearse(&program, images).map_err(|source| {
            let what = "the program that was made cannot be rehearsed";
            CompileError::Broken { model: model.clone(), what, source: source.into() }
        })?;
        tracing::debug!(step = "rehearse", seconds = start.elapsed().as_secs_f64(), "program rehearsed");
        if !request.options.allow_inaccurate {
            rehearsal.outputs.iter().try_for_each(|row| not_lost(&model, row))?;
        }
        let plan = &mut Arc::make_mut(&mut program).plan;
        (plan.outputs, plan.agreement) = (rehearsal.outputs, rehearsal.agreement);
    }
    Ok(Built { program, compiled })
}

/// Errs where an output is lost that approximations alone leave whole.
fn not_lost(model: &str, row: &OutputRow) -> Result<(), CompileError> {
    if !row.is_lost() {
        return Ok(());
    }
    let remedy = "approximations alone leave it whole, but with the noise of encryption values leave their ranges: ask for more precision \
                  (`precision-bits = 16` in a file of --options), wider ranges (--margin 3), or give more inputs to --calibration";
    let lost = PassError::OutputLost {
        output: row.name.clone(),
        decibels: row.worst_db().unwrap_or_default(),
        judged: row.simulated_images,
        remedy: remedy.into(),
    };
    Err(CompileError::of_passes(model.into(), lost))
}

/// The program with its plan, which says `notes` as well.
fn program(compiled: &Compiled, preprocess: Preprocess, notes: &[String]) -> Result<Program, ProgramError> {
    let mut plan = compiled.plan.clone();
    plan.notes.extend(notes.iter().cloned());
    let Compiled { program, params, network, .. } = compiled;
    Program::new(program.clone(), params.clone(), network.clone(), plan, preprocess)
}

/// A name that the text form of programs takes.
fn identifier(name: &str) -> String {
    let word: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' }).collect();
    if word.starts_with(|c: char| c.is_ascii_alphabetic()) { word } else { format!("net_{word}") }
}

fn read_ranges(path: &Path) -> Result<BTreeMap<String, Range>, CompileError> {
    let bytes = files::read(path, MAX_RANGES_BYTES)?;
    let text = String::from_utf8(bytes).map_err(RangesError::from);
    let ranges = text.and_then(|text| parse_ranges(&text));
    ranges.map_err(|source| CompileError::Ranges { path: path.into(), source })
}

fn read_activations(path: &Path) -> Result<Activations, CompileError> {
    let bytes = files::read(path, MAX_RANGES_BYTES)?;
    let activations = serde_json::from_slice(&bytes);
    activations.map_err(|source| CompileError::Activations { path: path.into(), source })
}

/// Writes fitted activations, one per line, where a compile finds them when named
/// `net.activations.json` beside `net.onnx`.
///
/// # Errors
/// If the file cannot be written.
pub fn write_activations(path: &Path, activations: &Activations) -> Result<(), CompileError> {
    let malformed = |source| CompileError::Activations { path: path.into(), source };
    let rows: Result<Vec<String>, _> = activations.activations.iter().map(serde_json::to_string).collect();
    let rows = rows.map_err(malformed)?;
    let head = Activations { activations: Vec::new(), ..activations.clone() };
    let head = serde_json::to_string(&head).map_err(malformed)?;
    // The list comes last.
    let head = head.trim_end_matches("]}");
    let text = format!("{head}\n{}\n]}}\n", rows.join(",\n"));
    files::write_atomically(path, Access::Ordinary, |out| out.write_all(text.as_bytes()))?;
    Ok(())
}

fn parse_ranges(text: &str) -> Result<BTreeMap<String, Range>, RangesError> {
    let entries: Vec<RangeEntry> = serde_json::from_str(text)?;
    let mut ranges = BTreeMap::new();
    for RangeEntry { tensor, min, max } in entries {
        if !(min.is_finite() && max.is_finite() && min <= max) {
            return Err(RangesError::Range { tensor, min, max });
        }
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
