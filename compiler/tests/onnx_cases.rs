//! Models of other people, and small forms of what exporters write: everything that can be imported
//! and run in the clear answers as onnxruntime does.
//!
//! Needs the folder of cases (`fhec_test_data::cases_with`), and says so where there is none. What
//! cannot be imported is listed on standard error with the reason.

use std::path::{Path, PathBuf};

use fhec_compiler::onnx::{self, ImportError, ImportOptions, Imported};
use fhec_ir::interp;
use fhec_ir::tensor::Tensor;
use fhec_ir::verify::verify;
use ndarray::ArrayD;
use onnx_protobuf::ModelProto;
use onnx_protobuf::tensor_proto::DataType;
use protobuf::Message;

/// Largest accepted difference, relative to the largest answer.
const TOLERANCE: f32 = 1e-4;

/// That of models that compute in half precision, by onnxruntime.
const HALF_TOLERANCE: f32 = 1e-3;

/// That of models that round to steps, which fhec does not, for differences by root mean square.
const QUANTISED_TOLERANCE: f32 = 0.1;

/// Share of the models that must be importable.
const IMPORTED: f64 = 0.95;

/// What was found of one model.
enum Found {
    /// It was imported; the number is the largest relative difference, if there are answers.
    Imported(Option<f32>),
    Refused(String),
    Wrong(String),
}

#[test]
fn what_is_imported_answers_as_onnxruntime_does() {
    let Some(cases) = fhec_test_data::cases_with("forms") else { return };
    let mut models = Vec::new();
    for kind in ["forms", "models", "failing"] {
        let folders = std::fs::read_dir(cases.join(kind)).unwrap().map(|entry| entry.unwrap().path());
        let files = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = folders.filter(|folder| folder.is_dir()).flat_map(files);
        models.extend(files.filter(|file| file.extension().is_some_and(|extension| extension == "onnx")));
    }
    models.sort();
    let (mut imported, mut compared, mut wrong) = (0, 0, Vec::new());
    for model in &models {
        let name = model.strip_prefix(&cases).unwrap().display().to_string();
        match judge(model) {
            Found::Imported(difference) => {
                imported += 1;
                compared += usize::from(difference.is_some());
            }
            Found::Refused(reason) => eprintln!("{name}: {reason}"),
            Found::Wrong(reason) => wrong.push(format!("{name}: {reason}")),
        }
    }
    eprintln!("{} models, {imported} imported, {compared} compared", models.len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(imported as f64 >= IMPORTED * models.len() as f64);
}

fn judge(model: &Path) -> Found {
    let folder = model.parent().unwrap();
    let stem = model.file_stem().unwrap().to_string_lossy().into_owned();
    // Inputs and answers of a cut network, or of one behind another input, have its prefix.
    let prefix = stem.split_once('_').map_or("", |(prefix, _)| prefix);
    let beside = |names: &[String]| names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    let inputs = beside(&[format!("{prefix}_inputs.npy"), "inputs.npy".into()]).map(|path| array(&path));
    let imported = match import(model, inputs.as_ref().map(|(shape, _)| shape.as_slice())) {
        Ok(imported) => imported,
        Err(reason) => return Found::Refused(reason.to_string()),
    };
    if let Err(errors) = verify(&imported.func) {
        return Found::Wrong(errors.to_string());
    }
    let own = beside(&[format!("{stem}_expected.npy"), format!("{prefix}_expected.npy")]);
    let other = || beside(&["expected.npy".into(), "expected_0.npy".into()]);
    let is_part = matches!(prefix, "cut" | "wrap");
    let expected = if is_part { own } else { other() };
    let (Some((shape, inputs)), Some(expected)) = (inputs, expected) else { return Found::Imported(None) };
    let proto = ModelProto::parse_from_bytes(&std::fs::read(model).unwrap()).unwrap();
    let (graph, types) = (&proto.graph, &[DataType::INT8 as i32, DataType::FLOAT16 as i32]);
    let input = graph.input.iter().find(|input| input.name == imported.inputs[0]);
    let bytes = input.is_some_and(|input| input.type_.tensor_type().elem_type == types[0]);
    let half = graph.initializer.iter().any(|tensor| tensor.data_type == types[1]);
    let inputs: Vec<f32> = match bytes {
        // The answers are of what bytes can be; which of two a number between them is nobody says.
        true if inputs.iter().any(|x| x.fract() != 0.0) => return Found::Imported(None),
        true => inputs.into_iter().map(|x| x.clamp(-128.0, 127.0)).collect(),
        false => inputs,
    };
    let quantised = !imported.notes.is_empty();
    let tolerance = match half {
        true => HALF_TOLERANCE,
        false if quantised => QUANTISED_TOLERANCE,
        false => TOLERANCE,
    };
    compare(&imported, &shape, inputs, &array(&expected).1, tolerance, quantised)
}

/// The model as it is, or with open dimensions as the inputs at hand have them.
fn import(model: &Path, inputs: Option<&[usize]>) -> Result<Imported, ImportError> {
    let plain = onnx::import(model);
    let Some([_, rest @ ..]) = inputs else { return plain };
    let shape = [&[1], rest].concat();
    let fits = |imported: &Imported| {
        let inputs = imported.func.inputs();
        inputs.len() != 1 || imported.func.ty(inputs[0]).shape == shape
    };
    if plain.as_ref().is_ok_and(fits) {
        return plain;
    }
    let options = ImportOptions { input_shapes: [(String::new(), shape)].into(), ..ImportOptions::default() };
    // What it says without the shape is what counts.
    plain
        .and_then(|_| onnx::import_with(model, &options))
        .or_else(|error| onnx::import_with(model, &options).map_err(|_| error))
}

fn array(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let array: ArrayD<f32> =
        ndarray_npy::read_npy(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (array.shape().to_vec(), array.into_iter().collect())
}

fn compare(
    imported: &Imported,
    shape: &[usize],
    inputs: Vec<f32>,
    expected: &[f32],
    tolerance: f32,
    quantised: bool,
) -> Found {
    let func = &imported.func;
    let &[input] = func.inputs() else { return Found::Imported(None) };
    let declared = &func.ty(input).shape;
    let count: usize = declared.iter().product();
    if !inputs.len().is_multiple_of(count) {
        return Found::Wrong(format!("inputs {shape:?} for an input {declared:?}"));
    }
    let mut found = Vec::new();
    for image in inputs.chunks(count) {
        let image = Tensor::new(declared.clone(), image.to_vec()).unwrap();
        found.extend_from_slice(interp::nn::run(func, &[image]).unwrap()[0].data());
    }
    if found.len() != expected.len() {
        return Found::Wrong(format!("{} numbers, expected {}", found.len(), expected.len()));
    }
    let magnitude = expected.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let differences = || found.iter().zip(expected).map(|(x, y)| (x - y).abs());
    let difference = match quantised {
        true => (differences().map(|d| d * d).sum::<f32>() / found.len() as f32).sqrt(),
        false => differences().fold(0.0, f32::max),
    };
    match difference <= tolerance * magnitude {
        true => Found::Imported(Some(difference / magnitude)),
        false => Found::Wrong(format!("off by {difference}, answers reach {magnitude}")),
    }
}
