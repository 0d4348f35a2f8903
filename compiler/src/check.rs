//! A look at a model before it is compiled: whether each of its ops has a form under encryption,
//! and what would cost what. Takes seconds; nothing is run, and no layouts or parameters are looked
//! for.

use std::collections::BTreeMap;
use std::path::Path;

use fhec_ir::func::{Func, OpData, StageOp};
use fhec_ir::nn::{Nn, Op};
use fhec_passes::nn::drop_softmax::without_arg_max;
use fhec_passes::pipeline::{NnOptions, fold_nn};
use serde::Serialize;

use crate::build::{CompileError, import};
use crate::data::Preprocess;
use crate::onnx::{ImportOptions, Imported};

/// Levels of an activation that is fitted to sample images: five to seven for most.
const ACTIVATION_LEVELS: usize = 6;
/// Slots of a ciphertext in the ring that most networks with bootstraps get, N = 2^15.
const SLOTS: usize = 1 << 14;

/// A tensor that goes in or comes out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tensor {
    /// Its name in the model.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// What a kind of op costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Kind {
    /// Its name.
    pub op: &'static str,
    /// How many there are.
    pub count: usize,
    /// Levels that each takes; an estimate for activations.
    pub levels: usize,
    /// What that means.
    pub note: &'static str,
}

/// A model whose every op has a form under encryption.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Version of the operator set.
    pub opset: i64,
    /// What wrote the model.
    pub producer: String,
    /// Inputs.
    pub inputs: Vec<Tensor>,
    /// Outputs.
    pub outputs: Vec<Tensor>,
    /// What is left of the network after folding, by the number of ops.
    pub kinds: Vec<Kind>,
    /// Numbers in weights.
    pub weights: usize,
    /// Levels from an input to an output, on the longest way.
    pub depth: usize,
    /// Ciphertexts of the largest tensor at N = 2^15.
    pub ciphertexts: usize,
    /// What to know, and what to change.
    pub advice: Vec<String>,
}

/// Looks at the model in `path`.
///
/// # Errors
/// [`CompileError`], as a compile would give: it names the node, the reason and what to change.
pub fn check(path: &Path, options: &ImportOptions, preprocess: Preprocess) -> Result<Check, CompileError> {
    let (imported, _) = import(path, options, preprocess)?;
    let folded = fold_nn(&without_arg_max(&imported.func), &NnOptions::default())
        .map_err(|error| CompileError::of_passes(path.display().to_string(), error))?;
    Ok(summary(&imported, &folded))
}

fn summary(imported: &Imported, folded: &Func<Nn>) -> Check {
    let tensors = |names: &[String], values: &[fhec_ir::entity::Value]| {
        let tensor = |(name, &value): (&String, &fhec_ir::entity::Value)| Tensor {
            name: name.clone(),
            shape: imported.func.ty(value).shape.clone(),
        };
        names.iter().zip(values).map(tensor).collect::<Vec<Tensor>>()
    };
    let mut kinds: BTreeMap<&'static str, Kind> = BTreeMap::new();
    let mut depth = vec![0; folded.value_count()];
    let mut constant = vec![false; folded.value_count()];
    let mut largest = 0;
    for data in folded.ops() {
        let (levels, note) = cost(data, &constant);
        constant[data.result.index()] = matches!(data.op, Op::Constant { .. });
        let before = data.op.operands().iter().map(|x| depth[x.index()]).max().unwrap_or(0);
        depth[data.result.index()] = before + levels;
        if constant[data.result.index()] {
            continue;
        }
        largest = largest.max(folded.ty(data.result).shape.iter().product::<usize>());
        let op = data.op.mnemonic();
        kinds.entry(op).or_insert(Kind { op, count: 0, levels, note }).count += 1;
    }
    let mut kinds: Vec<Kind> = kinds.into_values().collect();
    kinds.sort_by(|a, b| b.count.cmp(&a.count).then(a.op.cmp(b.op)));
    let depth = folded.outputs().iter().map(|output| depth[output.index()]).max().unwrap_or(0);
    let mut advice = Vec::new();
    if kinds.iter().any(|kind| kind.levels >= ACTIVATION_LEVELS) {
        advice.push(
            "activations are polynomials, fitted to sample images: compile with --calibration FILE, a few hundred images are enough"
                .into(),
        );
    }
    if depth > 20 {
        advice.push(format!(
            "about {depth} levels are more than a chain holds: ciphertexts are bootstrapped on the way, in rings of 2^15 and more"
        ));
    }
    let ciphertexts = largest.div_ceil(SLOTS);
    if ciphertexts > 16 {
        advice.push(format!(
            "the largest tensor takes {ciphertexts} ciphertexts, and every op and bootstrap on it as many times as long"
        ));
    }
    Check {
        opset: imported.opset,
        producer: imported.producer.clone(),
        inputs: tensors(&imported.inputs, imported.func.inputs()),
        outputs: tensors(&imported.outputs, imported.func.outputs()),
        kinds,
        weights: folded.consts.iter().map(|(_, tensor)| tensor.data().len()).sum(),
        depth,
        ciphertexts,
        advice,
    }
}

/// Levels of an op, and what it is under encryption.
fn cost(data: &OpData<Nn>, constant: &[bool]) -> (usize, &'static str) {
    match &data.op {
        Op::Activation { .. } => (ACTIVATION_LEVELS, "a polynomial; levels are an estimate"),
        Op::Softmax { .. } | Op::MaxPool { .. } => (ACTIVATION_LEVELS, "several polynomials"),
        Op::Poly { polynomial, .. } => (polynomial.depth() as usize, "a polynomial"),
        Op::Mul { x, y } | Op::Div { x, y } if constant[x.index()] || constant[y.index()] => {
            (1, "a product with constants")
        }
        Op::Mul { .. } | Op::Div { .. } => (1, "a product of two ciphertexts"),
        Op::Add { .. } | Op::Sub { .. } => (0, "free of levels"),
        Op::Constant { .. } | Op::Reshape { .. } => (0, "free"),
        _ => (1, "a linear map"),
    }
}
