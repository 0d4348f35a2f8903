//! Plaintexts that are added to or multiplied with packed tensors.

use crate::entity::Const;
use crate::layout::Layout;
use crate::record_attr;
use crate::tensor::ConstPool;

/// A plaintext tensor in some layout: one value per element, or one per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainTensor {
    /// `[C]` or `[C, H, W]`.
    pub values: Const,
    /// Where the elements go; slots outside hold zero.
    pub layout: Layout,
}

record_attr!(PlainTensor { values, layout });

impl PlainTensor {
    /// Checks that values and layout fit.
    pub fn validate(&self, consts: &ConstPool) -> Result<(), String> {
        self.layout.validate().map_err(|e| e.to_string())?;
        let shape = consts
            .get(self.values)
            .ok_or_else(|| format!("constant {} is not defined", self.values))?
            .shape();
        if shape == [self.layout.shape[0]] || shape == self.layout.shape {
            return Ok(());
        }
        Err(format!("plaintext of shape {shape:?} does not fit {:?}", self.layout.shape))
    }

    /// The packed vectors.
    pub fn pack(&self, consts: &ConstPool) -> Vec<Vec<f64>> {
        let tensor = &consts[self.values];
        let per_value = self.layout.elements() / tensor.data().len();
        let elements: Vec<f64> =
            (0..self.layout.elements()).map(|index| f64::from(tensor.data()[index / per_value])).collect();
        self.layout.pack(&elements)
    }
}
