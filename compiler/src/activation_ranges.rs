//! What the inputs of activations were seen to be, and how many images leave the interval that a
//! polynomial is made for.

use fhec_ir::entity::Value;
use fhec_ir::interp::{InterpError, nn};
use fhec_ir::nn::Op;
use fhec_ir::plan::RangeRow;
use fhec_ir::tensor::Tensor;
use fhec_passes::nn::normalize_ranges::stored_inputs;
use fhec_passes::pipeline::NnResult;
use rayon::prelude::*;
use serde::Serialize;

/// Images that are looked at: enough for shares of a tenth of a percent.
const MOST_IMAGES: usize = 1000;

/// The input of one activation. Numbers are as the network computes them, or, where channels were
/// equalised for fits, divided by their channel's factor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActivationRange {
    /// Its name in the model file.
    pub value: String,
    /// Smallest seen.
    pub min: f64,
    /// Largest seen.
    pub max: f64,
    /// The polynomial is made for values up to this size.
    pub bound: f64,
    /// The bound over the largest size seen.
    pub margin: f64,
    /// Images with a value beyond the bound, of those that were looked at. Activations before are
    /// polynomials already.
    pub images_outside: usize,
}

/// The activations of a network in their order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActivationRanges {
    /// One per activation.
    pub rows: Vec<ActivationRange>,
    /// Images that were looked at.
    pub images: usize,
}

/// The activations of `result` on the first of `images`; `None` where not each of them is one
/// polynomial.
pub fn activation_ranges(
    result: &NnResult,
    images: &[Vec<Tensor>],
) -> Result<Option<ActivationRanges>, InterpError> {
    let func = &result.func;
    let operands = func.ops().iter().filter_map(|data| match &data.op {
        Op::Poly { x, .. } => Some(*x),
        _ => None,
    });
    let operands: Vec<Value> = operands.collect();
    // Parts of a clip take several, and a network may have polynomials of its own.
    if operands.len() != result.ranges.len() {
        return Ok(None);
    }
    let images = &images[..images.len().min(MOST_IMAGES)];
    let outside = |image: &Vec<Tensor>| {
        let mut beyond = vec![0usize; operands.len()];
        let image = stored_inputs(func, image).expect("a normalised network has a factor per input");
        nn::run_observed(func, &image, &mut |value, tensor| {
            let leaves = || tensor.data().iter().any(|x| x.abs() > 1.0);
            for (count, _) in beyond.iter_mut().zip(&operands).filter(|(_, operand)| **operand == value) {
                *count = usize::from(leaves());
            }
        })?;
        Ok(beyond)
    };
    let add = |mut sums: Vec<usize>, counts: Vec<usize>| {
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        Ok(sums)
    };
    let sums: Result<Vec<usize>, InterpError> =
        images.par_iter().map(outside).try_reduce(|| vec![0; operands.len()], add);
    let row = |(range, images_outside): (&RangeRow, usize)| ActivationRange {
        value: range.value.clone(),
        min: range.min,
        max: range.max,
        bound: range.bound,
        margin: range.bound / range.min.abs().max(range.max.abs()),
        images_outside,
    };
    let rows = result.ranges.iter().zip(sums?).map(row).collect();
    Ok(Some(ActivationRanges { rows, images: images.len() }))
}
