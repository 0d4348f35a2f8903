//! Compiles.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fhec::costs::{Found, Prices};
use fhec::{Built, Calibration, CompileError, CompileOptions, Gates, ImportOptions, Preprocess, Request};
use pyo3::prelude::*;
use serde_json::{Map, Value};

use crate::errors::{self, Kind};
use crate::images::{Images, Source};
use crate::program::Program;
use crate::work::{self, Progress};

/// A model: a file, or its bytes.
#[derive(FromPyObject)]
pub enum Model {
    /// The bytes of an ONNX file.
    Bytes(Vec<u8>),
    /// Its path.
    File(PathBuf),
}

/// Options of a compile with their defaults, as JSON.
#[pyfunction]
pub fn option_defaults() -> PyResult<String> {
    serde_json::to_string(&CompileOptions::default()).map_err(|error| Kind::Fhec.of(&error))
}

/// Compiles a model.
///
/// `options` and `normalisation` are JSON, with the keys of `docs/options.md`. `limits` are the
/// largest predicted seconds, the largest number of bootstraps and the least agreement.
#[pyfunction]
#[pyo3(signature = (model, name, options, normalisation, calibration, ranges, costs, import_, limits))]
pub fn compile(
    py: Python<'_>,
    model: Model,
    name: String,
    options: &str,
    normalisation: &str,
    calibration: Option<Images<'_>>,
    ranges: Option<PathBuf>,
    costs: Option<String>,
    import_: (BTreeMap<String, Vec<usize>>, Vec<String>, bool),
    limits: (Option<f64>, Option<usize>, Option<f64>),
) -> PyResult<Program> {
    let options: CompileOptions = serde_json::from_str(options).map_err(|error| Kind::Option.of(&error))?;
    let (preprocess, known) = normalised(&model, normalisation)?;
    let calibration = match (calibration, ranges) {
        (Some(images), _) => match images.source()? {
            Source::Array(array) => Calibration::Array(array),
            Source::File(path) => Calibration::Images(path),
        },
        (None, Some(path)) => Calibration::Ranges(path),
        (None, None) => Calibration::BesideModel,
    };
    let prices = costs.map_or_else(Prices::of_environment, |costs| {
        let Ok(prices) = costs.parse();
        prices
    });
    let found = work::run(py, None, Progress::none(), move || fhec::costs::find(&prices))?;
    let Found { table: costs, note } = found.map_err(|error| Kind::File.of(&error))?;
    let options = CompileOptions { costs, ..options };
    let (max_seconds, max_bootstraps, min_agreement) = limits;
    let gates = Gates { max_seconds, max_bootstraps, min_agreement };
    let (input_shapes, end_at, keep_rounding) = import_;
    let import = ImportOptions { input_shapes, end_at, keep_rounding };
    let unknown = (!known).then(|| fhec::NO_NORMALISATION.to_string());
    let notes = unknown.into_iter().chain(note).collect();
    let request = Request { options, calibration, import, notes };
    let compile = move || {
        let built = match &model {
            Model::File(path) => fhec::from_file(path, preprocess, &request),
            Model::Bytes(bytes) => fhec::from_bytes(bytes, &name, preprocess, &request),
        }?;
        gates.check(&built.program.plan)?;
        Ok(built)
    };
    let built: Result<Built, CompileError> = work::run(py, None, Progress::none(), compile)?;
    Program::new(py, built.map_err(errors::of_compile)?.program)
}

/// What turns pixels into the input of `model`, and whether anything says so. `given` is JSON: what
/// it says of numbers takes the place of the file beside the model, all else is added to it.
fn normalised(model: &Model, given: &str) -> PyResult<(Preprocess, bool)> {
    let option = |error: serde_json::Error| Kind::Option.of(&error);
    let given: Map<String, Value> = serde_json::from_str(given).map_err(option)?;
    let numbers = ["mean", "std", "scale"].iter().any(|key| given.contains_key(*key));
    let beside = match model {
        Model::File(path) if !numbers => {
            fhec::preprocess::beside(path).map_err(|error| Kind::File.of(&error))?
        }
        _ => None,
    };
    let known = numbers || beside.is_some();
    let mut all = match serde_json::to_value(beside).map_err(option)? {
        Value::Object(beside) => beside,
        _ => Map::new(),
    };
    all.extend(given);
    Ok((serde_json::from_value(Value::Object(all)).map_err(option)?, known))
}
