//! Layers of a program whose values are known in the plain network too.

use std::collections::BTreeMap;

use fhec_ir::entity::Value;
use fhec_ir::func::Func;
use fhec_ir::interp;
use fhec_ir::layer_values::{LayerValue, layer_values};
use fhec_ir::nn::Nn;
use fhec_ir::program::Program;
use fhec_ir::tensor::{Tensor, element_count};

use crate::error::RehearsalError;

/// The layers of one program.
#[derive(Clone, Debug)]
pub struct Layers<'a> {
    network: &'a Func<Nn>,
    /// In program order, each with the value of the network of the same name and size.
    layers: Vec<(LayerValue, Value)>,
}

impl<'a> Layers<'a> {
    /// The layers of `program`.
    ///
    /// # Errors
    /// If it does not say how it stores values, or was made for a server, without the plain
    /// network.
    pub fn of(program: &'a Program) -> Result<Self, RehearsalError> {
        let network = program.reference()?;
        let named: BTreeMap<&str, Value> =
            network.ops().iter().filter_map(|d| Some((network.value_name(d.result)?, d.result))).collect();
        let plain = |layer: LayerValue| {
            let value = *named.get(layer.stored.name.as_str())?;
            let same = element_count(&network.ty(value).shape) == Some(layer.layout.elements());
            same.then_some((layer, value))
        };
        Ok(Layers {
            network,
            layers: layer_values(&program.schedule)?.into_iter().filter_map(plain).collect(),
        })
    }

    /// In program order.
    pub fn iter(&self) -> impl Iterator<Item = &LayerValue> {
        self.layers.iter().map(|(layer, _)| layer)
    }

    /// What the plain network computes for `image` (preprocessed, `[c][y][x]`), by layer,
    /// row-major.
    pub fn plain(&self, image: &[f32]) -> Result<Vec<Vec<f64>>, RehearsalError> {
        let wanted: BTreeMap<Value, usize> =
            self.layers.iter().enumerate().map(|(index, (_, value))| (*value, index)).collect();
        let mut found = vec![Vec::new(); self.layers.len()];
        let shape = self.network.inputs().first().map(|&input| self.network.ty(input).shape.clone());
        let image = Tensor::new(shape.unwrap_or_default(), image)?;
        interp::nn::run_observed(self.network, &[image], &mut |value, tensor| {
            if let Some(&index) = wanted.get(&value) {
                found[index] = tensor.data().iter().map(|&x| f64::from(x)).collect();
            }
        })?;
        Ok(found)
    }
}
