//! The ONNX backend test suite: every case whose operators are all supported, listed in
//! `tests/onnx_backend/cases.txt` as run or, with the reason, as left out. `name*` leaves out all
//! that begin so.
//!
//! Needs the cases as files: `tests/onnx_backend/export_cases.py` writes them (its head says how),
//! the directory is given in `ONNX_BACKEND_TESTS`. Skips without.
//!
//! Cases of single nodes pass weights as inputs. Each case is run with all inputs but the first
//! bound as constants, and again with all inputs of floats left variable where the importer allows
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fhec_compiler::onnx::{self, ImportError, ImportOptions, supported_operators};
use fhec_ir::interp;
use fhec_ir::tensor::Tensor;
use fhec_ir::verify::verify;
use onnx_protobuf::{ModelProto, TensorProto, ValueInfoProto, tensor_proto::DataType};
use protobuf::{Enum, Message};

/// Tolerances of the suite itself.
const RELATIVE: f32 = 1e-3;
const ABSOLUTE: f32 = 1e-7;

fn suite() -> Option<PathBuf> {
    match std::env::var_os("ONNX_BACKEND_TESTS").map(PathBuf::from) {
        Some(path) if path.join("node").is_dir() => Some(path),
        Some(path) => {
            eprintln!("skipped: `{}` does not hold the ONNX backend test suite", path.display());
            None
        }
        None => {
            eprintln!("skipped: ONNX_BACKEND_TESTS is not set (see tests/onnx_backend/export_cases.py)");
            None
        }
    }
}

/// The cases to run, and those left out with the reason.
fn listed() -> (BTreeSet<String>, BTreeMap<String, String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/onnx_backend/cases.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let (mut run, mut left_out) = (BTreeSet::new(), BTreeMap::new());
    let mut reason = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some("run") => reason = None,
            Some(heading) => {
                let heading = heading.strip_prefix("left out: ").expect("[run] or [left out: reason]");
                reason = Some(heading.to_string());
            }
            None => {
                let new = match &reason {
                    None => run.insert(line.to_string()),
                    Some(reason) => left_out.insert(line.to_string(), reason.clone()).is_none(),
                };
                assert!(new, "{line} is listed twice");
            }
        }
    }
    (run, left_out)
}

fn read<M: Message>(path: &Path) -> Result<M, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    M::parse_from_bytes(&bytes).map_err(|e| format!("{}: {e}", path.display()))
}

fn is_float(input: &ValueInfoProto) -> bool {
    let floats = [DataType::FLOAT, DataType::DOUBLE, DataType::FLOAT16, DataType::BFLOAT16];
    let ty = DataType::from_i32(input.type_.tensor_type().elem_type);
    ty.is_some_and(|ty| floats.contains(&ty))
}

/// A stored tensor as floats, decoded by importing a model that is only this constant.
fn tensor(proto: &TensorProto) -> Result<Tensor, ImportError> {
    let mut model = ModelProto::new();
    model.ir_version = 8;
    model.opset_import.push(Default::default());
    model.opset_import[0].version = 13;
    let graph = model.graph.mut_or_insert_default();
    graph.initializer.push(TensorProto { name: "t".into(), ..proto.clone() });
    graph.output.push(ValueInfoProto { name: "t".into(), ..Default::default() });
    let bytes = model.write_to_bytes().unwrap();
    let imported = onnx::import_bytes(&bytes, None, &ImportOptions::default())?;
    Ok(interp::nn::run(&imported.func, &[]).unwrap().remove(0))
}

/// Runs one data set with the inputs that `bound` selects as constants; `Err` is what went wrong.
fn run(
    model: &ModelProto,
    data: &Path,
    bound: impl Fn(usize, &ValueInfoProto) -> bool,
) -> Result<(), String> {
    let mut model = model.clone();
    let graph = model.graph.mut_or_insert_default();
    let mut values = Vec::new();
    let stored: BTreeSet<String> = graph.initializer.iter().map(|tensor| tensor.name.clone()).collect();
    let inputs: Vec<_> = graph.input.iter().filter(|input| !stored.contains(&input.name)).cloned().collect();
    for (index, input) in inputs.iter().enumerate() {
        let proto: TensorProto = read(&data.join(format!("input_{index}.pb")))?;
        if bound(index, input) {
            graph.initializer.push(TensorProto { name: input.name.clone(), ..proto });
        } else {
            values.push(tensor(&proto).map_err(|e| e.to_string())?);
        }
    }
    let bytes = model.write_to_bytes().unwrap();
    let imported = onnx::import_bytes(&bytes, None, &ImportOptions::default()).map_err(|e| match e {
        ImportError::Unsupported { what, .. }
            if ["depends on the network's input", "a decision about"]
                .iter()
                .any(|part| what.contains(part)) =>
        {
            "not constant".to_string()
        }
        other => other.to_string(),
    })?;
    verify(&imported.func).map_err(|e| e.to_string())?;
    let outputs = interp::nn::run(&imported.func, &values).map_err(|e| e.to_string())?;
    for (index, output) in outputs.iter().enumerate() {
        let expected = tensor(&read(&data.join(format!("output_{index}.pb")))?).map_err(|e| e.to_string())?;
        if output.shape() != expected.shape() {
            return Err(format!("output {index}: {:?}, expected {:?}", output.shape(), expected.shape()));
        }
        for (place, (&x, &y)) in output.data().iter().zip(expected.data()).enumerate() {
            let equal = x == y || (x - y).abs() <= ABSOLUTE + RELATIVE * y.abs();
            if !equal {
                return Err(format!("output {index}, element {place}: {x}, expected {y}"));
            }
        }
    }
    Ok(())
}

/// Runs all data sets of a case; returns how many runs had all inputs variable.
fn run_case(folder: &Path) -> Result<usize, String> {
    let model: ModelProto = read(&folder.join("model.onnx"))?;
    let mut all_variable = 0;
    for index in 0.. {
        let data = folder.join(format!("test_data_set_{index}"));
        if !data.is_dir() {
            break;
        }
        run(&model, &data, |index, input| index > 0 || !is_float(input))?;
        match run(&model, &data, |_, input| !is_float(input)) {
            Err(reason) if reason == "not constant" => {}
            result => {
                result?;
                all_variable += 1;
            }
        }
    }
    Ok(all_variable)
}

#[test]
fn every_listed_case_passes_and_none_is_missing() {
    let Some(suite) = suite() else { return };
    let (listed, left_out) = listed();
    let operators = supported_operators();
    let mut relevant = BTreeSet::new();
    for kind in ["node", "simple", "pytorch-converted", "pytorch-operator"] {
        for entry in std::fs::read_dir(suite.join(kind)).unwrap() {
            let folder = entry.unwrap().path();
            let model = folder.join("model.onnx");
            if !model.is_file() {
                continue;
            }
            let model: ModelProto = read(&model).unwrap();
            let supported = |op: &str| operators.contains(&op);
            if model.graph.node.iter().all(|node| supported(&node.op_type)) {
                relevant.insert(format!("{kind}/{}", folder.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    let mut failures = Vec::new();
    let mut all_variable = 0;
    for case in &listed {
        match run_case(&suite.join(case)) {
            Ok(count) => all_variable += count,
            Err(reason) => failures.push(format!("{case}: {reason}")),
        }
    }
    let is_left_out = |case: &str| {
        let starts = |listed: &String| listed.strip_suffix('*').is_some_and(|start| case.starts_with(start));
        left_out.contains_key(case) || left_out.keys().any(starts)
    };
    for case in &relevant {
        if !listed.contains(case) && !is_left_out(case) {
            let result = run_case(&suite.join(case));
            failures.push(format!("{case} is not listed; it gives {result:?}"));
        }
    }
    eprintln!(
        "{} cases run, {all_variable} of them also with all inputs variable; {} cases and groups left out for {} reasons",
        listed.len(),
        left_out.len(),
        left_out.values().collect::<BTreeSet<_>>().len()
    );
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn cases_left_out_have_reasons() {
    let (run, left_out) = listed();
    assert!(run.len() > 200, "{} cases", run.len());
    assert!(left_out.keys().all(|case| !run.contains(case)));
}
