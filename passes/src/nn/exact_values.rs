//! What the exact network has on an image that polynomials are fitted to.
//!
//! Fits are tried many times over on the same images, and the exact network has the same on them
//! each time. What fits ask for is kept where it is not too much; else the exact network goes along
//! with every try.

use std::collections::BTreeMap;
use std::sync::Arc;

use fhec_ir::{entity::Value, func::Func, interp, nn::Nn, tensor::Tensor};

use super::live_values::LiveValues;

/// Values of one image.
#[derive(Clone, Debug)]
pub(super) enum ExactValues {
    /// Those that are alive.
    Along(LiveValues),
    /// Those that are asked for.
    Kept(Arc<BTreeMap<Value, Tensor>>),
}

impl ExactValues {
    /// All of `wanted`, computed now.
    ///
    /// # Errors
    /// If `image` is none of the network's.
    pub fn kept(func: &Func<Nn>, image: &[Tensor], wanted: &[Value]) -> Result<Self, interp::InterpError> {
        let mut kept = BTreeMap::new();
        interp::nn::run_observed(func, image, &mut |value, tensor| {
            if wanted.contains(&value) {
                kept.insert(value, tensor.clone());
            }
        })?;
        Ok(ExactValues::Kept(Arc::new(kept)))
    }

    /// The value; one that is neither wanted nor live is a fault of the caller.
    pub fn of(&self, value: Value) -> &Tensor {
        match self {
            ExactValues::Along(live) => live.of(value),
            ExactValues::Kept(kept) => kept.get(&value).expect("what is asked for is kept"),
        }
    }

    /// Goes along with op `index`, and forgets the values in `ended`.
    pub fn step(&mut self, func: &Func<Nn>, index: usize, ended: &[Value], scratch: &mut Vec<f32>) {
        if let ExactValues::Along(live) = self {
            live.step(func, index, None, ended, scratch);
        }
    }
}
