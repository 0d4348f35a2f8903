//! What the exact network has on an image that polynomials are fitted to.
//!
//! Fits are tried many times over on the same images, and the exact network has the same on them
//! each time. What fits ask for is kept where it is not too much; else the exact network goes along
//! with every try.

use std::collections::BTreeMap;
use std::sync::Arc;

use fhec_ir::{
    entity::Value,
    func::{Func, StageOp},
    interp,
    nn::Nn,
    tensor::Tensor,
};

/// Values of one image.
#[derive(Clone, Debug)]
pub(super) enum ExactValues {
    /// Live values, by index.
    Along(Vec<Option<Tensor>>),
    /// Those that are asked for.
    Kept(Arc<BTreeMap<Value, Tensor>>),
}

impl ExactValues {
    /// With the inputs of `func`, to go along.
    pub(super) fn along(func: &Func<Nn>, image: &[Tensor]) -> Self {
        let mut values = vec![None; func.value_count()];
        for (tensor, &input) in image.iter().zip(func.inputs()) {
            values[input.index()] = Some(tensor.clone());
        }
        ExactValues::Along(values)
    }

    /// All of `wanted`, computed now.
    pub(super) fn kept(func: &Func<Nn>, image: &[Tensor], wanted: &[Value]) -> Self {
        let ends = func.last_uses();
        let mut along = ExactValues::along(func, image);
        let mut kept = BTreeMap::new();
        let mut scratch = Vec::new();
        let mut keep = |values: &ExactValues, value: Value| {
            if wanted.contains(&value) {
                kept.insert(value, values.of(value).clone());
            }
        };
        func.inputs().iter().for_each(|&input| keep(&along, input));
        for (index, data) in func.ops().iter().enumerate() {
            let operands = data.op.operands().into_iter();
            let ended: Vec<Value> = operands.filter(|value| ends[value.index()] == Some(index)).collect();
            along.step(func, index, &ended, &mut scratch);
            keep(&along, data.result);
        }
        ExactValues::Kept(Arc::new(kept))
    }

    /// The value; one that is neither wanted nor live is a fault of the caller.
    pub(super) fn of(&self, value: Value) -> &Tensor {
        let there = match self {
            ExactValues::Along(values) => values[value.index()].as_ref(),
            ExactValues::Kept(kept) => kept.get(&value),
        };
        there.expect("operands precede their uses and are kept until then")
    }

    /// Goes along with op `index`, and forgets the values in `ended`.
    pub(super) fn step(&mut self, func: &Func<Nn>, index: usize, ended: &[Value], scratch: &mut Vec<f32>) {
        let data = &func.ops()[index];
        if let ExactValues::Along(_) = self {
            let operands: Vec<&Tensor> = data.op.operands().iter().map(|value| self.of(*value)).collect();
            let result = interp::nn::eval_op(func, data, &operands, scratch);
            if let ExactValues::Along(values) = self {
                values[data.result.index()] = Some(result);
                ended.iter().for_each(|value| values[value.index()] = None);
            }
        }
    }
}
