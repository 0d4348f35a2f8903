//! Layers of a program whose values are known in the plain network too.

use std::collections::BTreeMap;

use anyhow::Result;
use fhec_ir::artifact::Artifact;
use fhec_ir::entity::Value;
use fhec_ir::func::Func;
use fhec_ir::interp;
use fhec_ir::layer_values::{LayerValue, layer_values};
use fhec_ir::nn::Nn;
use fhec_ir::tensor::{Tensor, element_count};

/// The layers of one artifact.
#[derive(Clone, Debug)]
pub struct Layers<'a> {
    network: &'a Func<Nn>,
    /// In program order, each with the value of the network of the same name and size.
    layers: Vec<(LayerValue, Value)>,
}

impl<'a> Layers<'a> {
    /// The layers of `artifact`.
    ///
    /// # Errors
    /// If its program does not say how it stores values: artifacts of older versions don't.
    pub fn of(artifact: &'a Artifact) -> Result<Self> {
        let network = &artifact.network;
        let named: BTreeMap<&str, Value> =
            network.ops().iter().filter_map(|d| Some((network.value_name(d.result)?, d.result))).collect();
        let plain = |layer: LayerValue| {
            let value = *named.get(layer.stored.name.as_str())?;
            let same = element_count(&network.ty(value).shape) == Some(layer.layout.elements());
            same.then_some((layer, value))
        };
        Ok(Layers {
            network,
            layers: layer_values(&artifact.program)?.into_iter().filter_map(plain).collect(),
        })
    }

    /// In program order.
    pub fn iter(&self) -> impl Iterator<Item = &LayerValue> {
        self.layers.iter().map(|(layer, _)| layer)
    }

    /// What the plain network computes for `image` (preprocessed, `[c][y][x]`), by layer, row-major.
    pub fn plain(&self, image: &[f32]) -> Result<Vec<Vec<f64>>> {
        let [c, h, w] = crate::program::image_shape(self.network)?;
        let wanted: BTreeMap<Value, usize> =
            self.layers.iter().enumerate().map(|(index, (_, value))| (*value, index)).collect();
        let mut found = vec![Vec::new(); self.layers.len()];
        let image = Tensor::new([1, c, h, w], image)?;
        interp::nn::run_observed(self.network, &[image], &mut |value, tensor| {
            if let Some(&index) = wanted.get(&value) {
                found[index] = tensor.data().iter().map(|&x| f64::from(x)).collect();
            }
        })?;
        Ok(found)
    }
}
